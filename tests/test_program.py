"""The program as twistd and the ``brokerkit`` command run it: starting, failing to start, stopping."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from brokerkit.place import demo_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PATIENCE = 20  # seconds
NATS = "--nats=tcp:port=0:interface=127.0.0.1"
HPFEEDS = "--hpfeeds=tcp:port=0:interface=127.0.0.1"


def _environment(place: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    home = {"HOME": str(place), "XDG_DATA_HOME": str(place / "share")}
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **home}


def twistd(*flags: str) -> list[str]:
    """Give the command line of ``twistd brokerkit``."""
    return [
        sys.executable,
        "-c",
        "from twisted.scripts.twistd import run; run()",
        "-n",
        "--pidfile=",
        "brokerkit",
        *flags,
    ]


def command(*arguments: str) -> list[str]:
    """Give a command line of the ``brokerkit`` command."""
    return [sys.executable, "-m", "brokerkit", *arguments]


def _run(place: Path, line: list[str]) -> subprocess.CompletedProcess[str]:
    """Run something to its end."""
    return subprocess.run(
        line, cwd=place, env=_environment(place), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


class Running:
    """A program that runs, and the addresses that it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Wait until it is ready."""
        self.process = process
        self.output = ""
        self.addresses: dict[str, tuple[str, int]] = {}
        deadline = time.monotonic() + PATIENCE
        assert process.stdout is not None
        for line in process.stdout:
            self.output += line
            if found := re.search(r"(\w+) listening on (\S+):(\d+)", line):
                self.addresses[found[1]] = found[2], int(found[3])
            if "brokerkit ready" in line:
                return
            assert time.monotonic() < deadline, self.output
        pytest.fail("it has ended: " + self.output)

    def connect(self, protocol: str) -> socket.socket:
        """Connect to a listener."""
        return socket.create_connection(self.addresses[protocol], timeout=PATIENCE)

    def stop(self) -> None:
        """Stop it, and see that it ends soon and without a complaint."""
        self.process.send_signal(signal.SIGTERM)
        alarm = threading.Timer(PATIENCE, self.process.kill)
        alarm.start()
        assert self.process.stdout is not None
        self.output += self.process.stdout.read()  # not communicate(), which knows nothing of what is buffered
        self.process.wait()
        alarm.cancel()
        assert self.process.returncode in {0, -signal.SIGTERM}
        assert "Traceback" not in self.output
        assert "Unhandled" not in self.output


@contextmanager
def running(place: Path, line: list[str], **more: object) -> Iterator[Running]:
    """Run a program for the length of a with."""
    process = subprocess.Popen(  # type: ignore[call-overload]
        line, cwd=place, env=_environment(place), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
    )
    try:
        program = Running(process)
        yield program
        program.stop()
    finally:
        process.kill()
        process.communicate()


def test_a_port_in_use(tmp_path: Path) -> None:
    """A port that is taken ends the start with one line that names it, exit code 1 and nothing left behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = [HPFEEDS, f"--nats=tcp:port={port}:interface=127.0.0.1", "--auth=anonymous"]
        done = _run(tmp_path, twistd(*flags))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "nothing to listen for"),
        ([NATS], "nobody could log in"),
        ([NATS, "--auth=jsn:users"], "did you mean json"),
        ([NATS, "--auth=json:missing.json"], "missing.json"),
        (["--nats=tpc:port=1", "--auth=anonymous"], "did you mean tcp?"),
        (["--nats=tcp:port=nonsense", "--auth=anonymous"], "nonsense"),
        ([NATS, "--auth=anonymous", "--exporter=nonsense"], "exporter"),
        (["--config=missing.toml"], "missing.toml"),
    ],
)
def test_a_wrong_flag(tmp_path: Path, flags: list[str], words: str) -> None:
    """What cannot work ends the start with one line that says what to do, and exit code 1."""
    done = _run(tmp_path, twistd(*flags))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
    assert done.stderr.startswith("brokerkit: ")
    assert words in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nmae = 'x'", "did you mean name?"),
        ("[[listen]]\nprotocol = 'nats'\nmax_payloda = 3", "did you mean max_payload?"),
        ("[[listen]]\nprotocol = 'nats'\nmax_payload = 'big'", "'big'"),
        ("[[listen]]\nprotocol = 'nast'", "did you mean nats?"),
        ("name =\n", "line 1"),
        ("auth = 'anonymous'", "broker.toml: add a [[listen]] table"),
        ("auth = ['anonymous']\n[[listen]]\nprotocol = 'nats'\nendpoint = 'tcp:x'", "listen[0]"),
    ],
)
def test_a_wrong_file(tmp_path: Path, text: str, words: str) -> None:
    """A mistake in the file is one line with the file's name, and exit code 1."""
    (tmp_path / "broker.toml").write_text(text)
    done = _run(tmp_path, twistd("--config=broker.toml"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done
    assert "broker.toml" in done.stderr
    assert words in done.stderr


def test_a_file_says_all(tmp_path: Path) -> None:
    """A file can say everything that flags can; flags are added."""
    (tmp_path / "broker.toml").write_text(
        "name = 'filed'\nauth = ['anonymous']\nexporter = '0'\ndata_dir = 'data'\n"
        "[[listen]]\nprotocol = 'nats'\nendpoint = 'tcp:port=0:interface=127.0.0.1'\nmax_payload = 1234\n"
    )
    with running(tmp_path, twistd("--config=broker.toml", HPFEEDS)) as broker:
        with broker.connect("nats") as nats:
            info = json.loads(nats.recv(4096).split(b" ", 1)[1])
        assert (info["max_payload"], info["server_name"]) == (1234, "filed")
        with broker.connect("hpfeeds") as hpfeeds:
            assert b"filed" in hpfeeds.recv(4096)
        with broker.connect("metrics") as metrics:
            metrics.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert b"200 OK" in metrics.recv(65536)
        listening = json.loads((tmp_path / "data" / "running.json").read_text())["listening"]
        assert set(listening) == {"nats", "hpfeeds"}
    assert not (tmp_path / "data" / "running.json").exists()


def test_stopping_with_clients(tmp_path: Path) -> None:
    """Clients that stay connected do not keep the program from ending."""
    with running(tmp_path, twistd(NATS, HPFEEDS, "--auth=anonymous")) as broker:
        idle = [broker.connect(name) for name in ("nats", "hpfeeds") for _ in range(3)]
        for connection in idle:
            connection.recv(4096)
        broker.stop()
        for connection in idle:
            assert connection.recv(4096) == b""
            connection.close()


def test_hangup_is_survived(tmp_path: Path) -> None:
    """SIGHUP means to look at the users again: one that has just been added can log in, and nobody is cut off."""
    users = tmp_path / "users.json"
    users.write_text("{}")
    with running(tmp_path, twistd(NATS, "--auth=json:users.json")) as broker:
        users.write_text(json.dumps({"ann": {"secret": "s", "publish": [], "subscribe": []}}))
        broker.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with broker.connect("nats") as nats:
                nats.recv(4096)
                nats.sendall(b'CONNECT {"user":"ann","pass":"s","verbose":false}\r\nPING\r\n')
                if nats.recv(4096) == b"PONG\r\n":
                    return
        pytest.fail("the new user is not known")


def test_lame_duck(tmp_path: Path) -> None:
    """SIGUSR2 means to go slowly: clients are told, closed one by one, and then the program ends by itself."""
    (tmp_path / "lame.toml").write_text(
        'auth = ["anonymous"]\n[[listen]]\nprotocol = "nats"\nendpoint = "tcp:port=0:interface=127.0.0.1"\n'
        "lame_duck_duration = 0.6\nlame_duck_grace_period = 0.3\n"
    )
    with running(tmp_path, twistd("--config=lame.toml")) as broker:
        with broker.connect("nats") as nats:
            heard = nats.makefile("rb")
            heard.readline()
            nats.sendall(b'CONNECT {"verbose":false,"protocol":1}\r\nPING\r\n')
            assert heard.readline() == b"PONG\r\n"
            assert b'"connect_info":true' in heard.readline()
            broker.process.send_signal(signal.SIGUSR2)
            assert b'"ldm":true' in heard.readline()
            assert heard.readline() == b""
        broker.process.wait(PATIENCE)
        assert broker.process.returncode == 0


def test_no_descriptors_left(tmp_path: Path) -> None:
    """A broker that has run out of descriptors goes on, and accepts again when there are some."""
    limit = (64, 64)

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)

    with running(tmp_path, twistd(NATS, "--auth=anonymous"), preexec_fn=few) as broker:
        many = [broker.connect("nats") for _ in range(100)]
        first = many[0]
        first.recv(4096)
        first.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
        assert first.recv(4096) == b"PONG\r\n"
        for connection in many:
            connection.close()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with broker.connect("nats") as again:
                if again.recv(4096).startswith(b"INFO"):
                    break
        else:
            pytest.fail("nobody is accepted any more")


def test_run_makes_a_demo_user(tmp_path: Path) -> None:
    """``brokerkit run`` makes a secret for its owner's eyes alone, keeps it, and prints a table and commands."""
    line = command("run", "--data-dir", "data", NATS, HPFEEDS)
    with running(tmp_path, line) as broker:
        users = tmp_path / "data" / "users.sqlite"
        assert users.stat().st_mode & 0o777 == 0o600
        before = demo_secret(tmp_path / "data")
    assert "PROTOCOL" in broker.output
    assert "brokerkit pub" in broker.output or "pub --server" in broker.output
    assert before
    assert before not in broker.output
    with running(tmp_path, line):
        assert demo_secret(tmp_path / "data") == before


def test_users_of_an_earlier_version(tmp_path: Path) -> None:
    """A users.json that an earlier version has left in the data directory goes on to let its users in."""
    (tmp_path / "data").mkdir()
    users = {"demo": {"owner": "", "secret": "hush", "publish": [">"], "subscribe": [">"]}}
    (tmp_path / "data" / "users.json").write_text(json.dumps(users))
    with running(tmp_path, command("run", "--data-dir", "data", NATS)) as broker:
        server = "nats://{}:{}".format(*broker.addresses["nats"])
        done = _run(tmp_path, command("pub", "--data-dir", "data", "--server", server, "demo.x", "hello"))
        assert done.returncode == 0, done.stderr


def test_users_come_and_go(tmp_path: Path) -> None:
    """A user who is added can log in at once, and one who is removed is cut off at once."""
    with running(tmp_path, command("run", "--data-dir", "data", NATS)) as broker:
        added = _run(tmp_path, command("user", "add", "ann", "--generate", "--data-dir", "data"))
        assert added.returncode == 0, added.stderr
        with broker.connect("nats") as nats:
            nats.recv(4096)
            login = {"user": "ann", "pass": added.stdout.strip(), "verbose": False}
            nats.sendall(b"CONNECT " + json.dumps(login).encode() + b"\r\nPING\r\n")
            assert nats.recv(4096) == b"PONG\r\n"
            removed = _run(tmp_path, command("user", "remove", "ann", "--data-dir", "data"))
            assert removed.returncode == 0, removed.stderr
            assert b"User Authentication Revoked" in nats.recv(4096)
            assert nats.recv(4096) == b""
        assert added.stdout.strip() not in broker.output


def test_pub_and_sub(tmp_path: Path) -> None:
    """``brokerkit pub`` and ``sub`` find the broker of this host, cross protocols, and say by exit codes what was."""
    with running(tmp_path, command("run", "--data-dir", "data", NATS, HPFEEDS)) as broker:
        hpfeeds = "hpfeeds://{}:{}".format(*broker.addresses["hpfeeds"])
        listening = subprocess.Popen(
            command("sub", "--data-dir", "data", "demo.>", "--count", "2", "--json", "--timeout", "15"),
            cwd=tmp_path,
            env=_environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert listening.stderr is not None
        assert "listening" in listening.stderr.readline()
        for server in (["--server", hpfeeds], []):
            done = _run(tmp_path, command("pub", "--data-dir", "data", *server, "demo.x", "hello"))
            assert done.returncode == 0, done.stderr
        output, _ = listening.communicate(timeout=PATIENCE)
        assert [json.loads(line) for line in output.splitlines()] == [{"topic": "demo.x", "payload": "hello"}] * 2
        wrong = hpfeeds.replace("//", "//demo:wrong@")
        assert _run(tmp_path, command("pub", "--server", wrong, "demo.x", "no")).returncode == 1
        late = _run(tmp_path, command("sub", "--data-dir", "data", "demo.x", "--count", "1", "--timeout", "0.5"))
        assert late.returncode == 4
    assert _run(tmp_path, command("pub", "--data-dir", "data", "demo.x", "hello")).returncode == 3
    assert _run(tmp_path, command("pub", "--server", "nast://x", "demo.x", "hello")).returncode == 2
