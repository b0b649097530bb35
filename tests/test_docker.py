"""What contrib/docker says is done here without a container: the same commands, variables and working directory.

The Dockerfile and the compose files are read; where they say /app/bin and /app/var there are directories of the test,
and ports are of the system's choosing.  ORIGINAL has what the compose examples of the original's documentation have
beside the image's name: they and our own files are tried alike.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sqlite3
import ssl
import subprocess
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from cryptography import x509

from tests.certificates import Authority
from tests.exchange import heard
from tests.test_program import PATIENCE, running

yaml = pytest.importorskip("yaml")
links = import_module("brokerkit.cli.links")

DOCKER = Path(__file__).parent.parent / "contrib" / "docker"
OURS = {path.stem: path.read_text(encoding="utf-8") for path in sorted((DOCKER / "compose").glob("*.yml"))}
PLAIN = {"ports": ["0.0.0.0:10000:10000"]}
WITH_METRICS = {"ports": ["0.0.0.0:10000:10000", "127.0.0.1:9431:9431"]}
VOLUME = {"volumes": ["hpfeeds_userdb:/app/var"]}
SPAM = {
    "environment": {
        "HPFEEDS_TEST_SECRET": "test",
        "HPFEEDS_TEST_SUBCHANS": "spam",
        "HPFEEDS_TEST_PUBCHANS": "spam",
    }
}
PROGRAM = "/app/bin/hpfeeds-broker"
BY_TLS = "--endpoint=tls:port=10000:key=broker.key:cert=broker.crt"
ORIGINAL: dict[str, dict[str, Any]] = {
    "first": PLAIN,
    "sqlite": {**PLAIN, **VOLUME},
    "env": {**PLAIN, **SPAM, "command": [PROGRAM, "--endpoint=tcp:port=10000", "--auth=env"]},
    "tls": {**PLAIN, **VOLUME, "command": [PROGRAM, BY_TLS]},
    "metrics": {**WITH_METRICS, **VOLUME},
    "exporter": {
        **WITH_METRICS,
        **SPAM,
        "command": [PROGRAM, "--endpoint=tcp:port=10000", "--exporter=0.0.0.0:9431", "--auth=env"],
    },
    "interfaces": {**PLAIN, **VOLUME, "command": [PROGRAM, BY_TLS, "--endpoint=tcp:port=20000:device=lan0"]},
    # What the package pytest-hpfeeds starts.
    "pytest": {"ports": ["0.0.0.0:20000:20000"], **SPAM, "command": [PROGRAM, "--bind=0.0.0.0:20000", "--auth=env"]},
}
SERVICES = {
    **{f"ours-{name}": yaml.safe_load(text)["services"]["hpfeeds"] for name, text in OURS.items()},
    **{f"original-{name}": service for name, service in ORIGINAL.items()},
}


def instructions() -> dict[str, list[str]]:
    """Give what the last stage of the Dockerfile says, by instruction."""
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.rpartition("\nFROM ")[2].splitlines()[1:]:
        word, _, rest = line.partition(" ")
        if word.isupper():
            found.setdefault(word, []).append(" ".join(rest.split()))
    return found


def variables() -> dict[str, str]:
    """Give the environment of the image."""
    words = shlex.split(" ".join(instructions()["ENV"]))
    return {name: value for name, _, value in (word.partition("=") for word in words)}


class Container:
    """A directory with a bin and a var in place of those of the image."""

    def __init__(self, place: Path, service: dict[str, Any]) -> None:
        """Make them, with a certificate, a client's view of it, and the commands of the image."""
        self.bin, self.var = place / "bin", place / "var"
        self.bin.mkdir()
        self.var.mkdir()
        links.make(self.bin)
        authority = Authority(place)
        authority.issue("broker", "", [x509.DNSName("localhost")])
        for name in ("broker.key", "broker.crt"):
            (place / name).rename(self.var / name)
        self.tls = ssl.create_default_context(cafile=authority.path)
        self.tls.check_hostname = False  # the test connects by address
        self.command = service.get("command") or json.loads(instructions()["CMD"][0])
        self.environ = {**variables(), **service.get("environment", {})}

    def line(self) -> list[str]:
        """Give the command with its environment; ports become 0, and the interface one that every machine has."""
        words = [word.replace("/app/bin", str(self.bin)).replace("=lan0", "=lo") for word in self.command]
        words = [re.sub(r"port=\d+", "port=0", word) for word in words]
        words = [re.sub(r"^(--(?:bind|exporter)=.*):\d+$", r"\1:0", word) for word in words]
        exporter = re.sub(r":\d+$", ":0", self.environ["BROKERKIT_EXPORTER"])
        environ = {**self.environ, "PATH": os.environ["PATH"], "BROKERKIT_EXPORTER": exporter}
        return ["env", *(f"{name}={value}" for name, value in environ.items()), *words]

    def endpoints(self) -> list[tuple[int, bool]]:
        """Give the ports in the order in which they are opened, and whether each has TLS."""
        found = [(re.search(r"port=(\d+)", word), "=tls:" in word) for word in self.command]
        bound = [int(word.rpartition(":")[2]) for word in self.command if word.startswith("--bind=")]
        return [*((port, False) for port in bound), *((int(port[1]), tls) for port, tls in found if port)]

    def add_user(self) -> tuple[str, str, str]:
        """Give a user with a channel: that of the environment, or one that is inserted as the documentation has it."""
        if "HPFEEDS_TEST_SECRET" in self.environ:
            return "test", "test", "spam"
        statement = """INSERT INTO authkeys (owner, ident, secret, pubchans, subchans)
            VALUES ('owner', 'ident', 'secret', '["chan1"]', '["chan1"]')"""
        if program := shutil.which("sqlite3"):
            subprocess.run([program, "sqlite.db", statement], cwd=self.var, timeout=PATIENCE, check=True)
        else:
            with closing(sqlite3.connect(self.var / "sqlite.db")) as database, database:
                database.execute(statement)
        return "ident", "secret", "chan1"


@pytest.mark.parametrize("name", SERVICES)
def test_compose(tmp_path: Path, name: str) -> None:
    """Every compose file runs: a client logs in at each endpoint and hears itself; /metrics and /healthz answer.

    The ports that it publishes are those that something listens on.
    """
    service = SERVICES[name]
    container = Container(tmp_path, service)
    published = {int(text.rpartition(":")[2]) for text in service["ports"]}
    assert published <= {port for port, _ in container.endpoints()} | {9431}
    with running(container.var, container.line()) as program:
        who = container.add_user()
        opened = [int(port) for port in re.findall(r"hpfeeds listening on \S+:(\d+)", program.output)]
        assert len(opened) == len(container.endpoints())
        for port, (_, tls) in zip(opened, container.endpoints(), strict=True):
            ident, _, channel = who
            said = heard(("127.0.0.1", port), *who, container.tls if tls else None)
            assert said == (ident, channel, b"\x00hello\xff")
        _, metrics = program.addresses["metrics"]
        for page in ("metrics", "healthz"):
            with urlopen(f"http://127.0.0.1:{metrics}/{page}", timeout=PATIENCE) as answer:
                assert answer.status == 200


def test_the_original_s_examples_are_all_there() -> None:
    """Each example of the original has a file of ours that does the same, but for the comments."""
    mine = [yaml.safe_load(text)["services"]["hpfeeds"] for text in OURS.values()]
    for name, service in ORIGINAL.items():
        if name != "pytest":
            assert {**service, "image": "brokerkit/hpfeeds-broker"} in mine, name


def test_image() -> None:
    """The image has the original's paths, ports and programs, and metrics that are on."""
    found = instructions()
    assert found["WORKDIR"] == found["VOLUME"] == ["/app/var"]
    assert {"10000", "20000", "9431"} <= set(found["EXPOSE"][0].split())
    assert "sqlite3" in " ".join(found["RUN"])
    assert variables()["BROKERKIT_EXPORTER"] == "0.0.0.0:9431"
    command = json.loads(found["CMD"][0])
    assert command == [PROGRAM, "--endpoint=tcp:port=10000", "--endpoint=tcp:port=20000"]
    assert "links /app/bin" in (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    copied = {word for line in found["COPY"] for word in line.split() if word.startswith("contrib/")}
    assert copied == {"contrib/docker/entrypoint", "contrib/docker/healthcheck"}
    assert all(os.access(DOCKER / Path(word).name, os.X_OK) for word in copied)


def test_context() -> None:
    """Everything that the Dockerfile copies is there and is sent to the builder."""
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    sent = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    copies = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.+) \S+$", text, re.MULTILINE)
    for word in " ".join(copies).split():
        assert (DOCKER.parent.parent / word).exists(), word
        assert f"!{word}" in sent


def stubs(place: Path, uid: int) -> dict[str, str]:
    """Give an environment in which nobody is changed and nothing is given to others: it is written down instead."""
    for name, does in (("id", f"echo {uid}"), ("find", 'echo "find $*"'), ("setpriv", 'echo "setpriv $*"')):
        (place / name).write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        (place / name).chmod(0o755)
    return {"PATH": f"{place}:{os.environ['PATH']}"}


def entrypoint(environ: dict[str, str], *words: str) -> list[str]:
    """Run it and give the lines that it printed."""
    line = ["/bin/sh", str(DOCKER / "entrypoint"), *words]
    done = subprocess.run(line, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return done.stdout.splitlines()


def test_nothing_runs_as_root(tmp_path: Path) -> None:
    """What begins as root, the command and any other program, goes on as the user brokerkit."""
    said = entrypoint(stubs(tmp_path, 0), "sqlite3", "sqlite.db")[-1]
    assert said.startswith("setpriv --reuid=brokerkit --regid=brokerkit --init-groups --no-new-privs ")
    assert said.endswith("-- sqlite3 sqlite.db")


def test_another_user(tmp_path: Path) -> None:
    """What begins as another user stays that, with its words as they are."""
    assert entrypoint(stubs(tmp_path, 1000), "printf", "%s|", "a b", "$c") == ["a b|$c|"]


@pytest.mark.parametrize(
    ("words", "variable", "code"),
    [
        ([], "HOST:PORT", 0),
        (["--exporter=HOST:PORT"], "127.0.0.1:1", 0),
        (["--exporter", "HOST:PORT"], "", 0),
        ([], "", 0),
        (["--exporter="], "127.0.0.1:1", 0),
        ([], "127.0.0.1:1", 1),
    ],
)
def test_health(tmp_path: Path, words: list[str], variable: str, code: int) -> None:
    """The check asks where the broker was told to answer; nobody there is not healthy, and nothing to ask is."""
    line = [
        sys.executable,
        "-m",
        "brokerkit",
        "hpfeeds-broker",
        "--bind=127.0.0.1:0",
        "--exporter=127.0.0.1:0",
        "--auth=env",
    ]
    with running(tmp_path, line) as program:
        address = ":".join(map(str, program.addresses["metrics"]))
        (tmp_path / "cmdline").write_text("\0".join(["hpfeeds-broker", *words]).replace("HOST:PORT", address) + "\0")
        script = (DOCKER / "healthcheck").read_text(encoding="utf-8").replace("/proc/1/cmdline", f"{tmp_path}/cmdline")
        environ = {"BROKERKIT_EXPORTER": variable.replace("HOST:PORT", address)}
        done = subprocess.run([sys.executable, "-c", script], env=environ, timeout=PATIENCE, check=False)
    assert done.returncode == code
