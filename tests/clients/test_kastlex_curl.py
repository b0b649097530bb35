"""The command lines of KastleX's documentation, each as it stands there, against ``brokerkit kastlex``.

The port is one of the kernel's choosing; nothing else in the lines is changed.  ``jq`` is replaced where there is none.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")

START, TALK = 60, 30  # seconds
# The documentation's own, but for what its own command lines need: anonymous may produce to foo.
PASSWD = """\
user1:
  password_hash: "$2b$12$3iR64t7Sm.cAHtZs5jkxZehdWQ7knmN/NxmK.X7NBUHfiIAxT4T9y"
admin:
  password_hash: "$2b$12$gp5pJc/AGclJradJC9DuHe6xJoIe5HOwtAUGe2z7QFeAjvw1eZUKW"
"""
PERMISSIONS = """\
anonymous:
  list_topics: true
  fetch: all
  produce:
    - foo
user1:
  produce:
    - kastlex
admin:
  reload: true
  revoke: true
"""


class Running:
    """The program, and a shell beside it."""

    def __init__(self, directory: Path, **variables: str) -> None:
        """Start it, and wait for the line that says that it is ready."""
        self.directory = directory
        (directory / "passwd.yml").write_text(PASSWD)
        (directory / "permissions.yml").write_text(PERMISSIONS)
        bin_ = directory / "bin"
        bin_.mkdir(exist_ok=True)
        if shutil.which("jq") is None:
            shim = f"#!/bin/sh\nexec {sys.executable} -c 'import json, sys; print(json.load(sys.stdin)[\"token\"])'\n"
            (bin_ / "jq").write_text(shim)
            (bin_ / "jq").chmod(0o755)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("KASTLEX_")},
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "KASTLEX_HTTP_PORT": "0",
            **variables,
        }
        command = ["kastlex", "--data-dir", "data", "--interface", "127.0.0.1", "--topic", "kastlex", "--topic", "foo"]
        self.errors = (directory / "errors").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "brokerkit", *command],
            cwd=directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=self.errors,
        )
        self.said = self._ready()
        self.place = self.said.rpartition("http://")[2].split()[0]

    def _ready(self) -> str:
        assert self.process.stdout is not None
        there, _, _ = select.select([self.process.stdout], [], [], START)
        line = self.process.stdout.readline().decode() if there else ""
        assert "ready" in line, (self.directory / "errors").read_text()
        return line

    def sh(self, line: str) -> str:
        """Run a line of the documentation; gives what it prints, also on standard error."""
        text = line.replace("localhost:8092", self.place)
        ended = subprocess.run(
            ["sh", "-c", text], env=self.environment, capture_output=True, text=True, timeout=TALK, check=True
        )
        return ended.stdout + ended.stderr

    def stop(self) -> None:
        """Stop it by a signal, as a supervisor does; it has to end well."""
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(TALK) == 0
        finally:
            self.process.kill()
            self.errors.close()
        assert "Traceback" not in (self.directory / "errors").read_text()


@pytest.fixture(scope="module")
def kastlex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Give the program, with storage for tokens."""
    running = Running(tmp_path_factory.mktemp("kastlex"), KASTLEX_ENABLE_TOKEN_STORAGE="1")
    yield running
    running.stop()


def test_produce(kastlex: Running) -> None:
    """The first line of all."""
    shown = kastlex.sh(
        'curl -s -i -H "Content-Type: application/binary" localhost:8092/api/v1/messages/foo -d bar'
    ).lower()
    assert shown.startswith("http/1.1 204 ")
    assert "x-kafka-partition: 0" in shown
    assert "x-message-offset: 0" in shown


def test_login(kastlex: Running) -> None:
    """A token, in JSON."""
    shown = kastlex.sh('curl -s localhost:8092/login --data "username=user1&password=user1"')
    assert json.loads(shown)["token"].count(".") == 2


def test_produce_with_a_token_and_fetch(kastlex: Running) -> None:
    """What is written with a token is read without one."""
    shown = kastlex.sh(
        'JWT=$(curl -s localhost:8092/login --data "username=user1&password=user1" | jq -r .token)\n'
        'curl -s -i -H "Authorization: Bearer $JWT" localhost:8092/api/v1/messages/kastlex/0 '
        '-H "Content-type: application/binary" -d 1'
    )
    assert "204 No Content" in shown
    shown = kastlex.sh('curl -v -H "Accept: application/binary" localhost:8092/api/v2/messages/kastlex/0')
    assert "content-type: application/binary; charset=utf-8" in shown.lower()
    assert "x-message-ts-type: :create" in shown.lower()


@pytest.mark.parametrize(("name", "status"), [("user1", "403 Forbidden"), ("admin", "204 No Content")])
def test_reload(kastlex: Running, name: str, status: str) -> None:
    """With the documented rights it is the administrator's."""
    shown = kastlex.sh(
        f'JWT=$(curl -s localhost:8092/login --data "username={name}&password={name}" | jq -r .token)\n'
        'curl -s -i -H "Authorization: Bearer $JWT" localhost:8092/admin/reload'
    )
    assert status in shown


def test_revoke(kastlex: Running) -> None:
    """A token that was taken back is refused."""
    shown = kastlex.sh(
        'JWT=$(curl -s localhost:8092/login --data "username=user1&password=user1" | jq -r .token)\n'
        'ADMIN=$(curl -s localhost:8092/login --data "username=admin&password=admin" | jq -r .token)\n'
        'curl -s -i -X DELETE -H "Authorization: Bearer $ADMIN" localhost:8092/admin/tokens/user1\n'
        'curl -s -i -H "Authorization: Bearer $JWT" localhost:8092/api/v1/messages/kastlex/0 -d 1'
    )
    assert "204 No Content" in shown
    assert "401 Unauthorized" in shown


def test_tokens_by_command(kastlex: Running) -> None:
    """A token that the operator makes is as good as one by login; its own command shows and revokes it."""
    brokerkit = f"{sys.executable} -m brokerkit token"
    shown = kastlex.sh(
        f"cd {kastlex.directory}\n"
        f"JWT=$({brokerkit} make user1 --data-dir data)\n"
        f'echo "$JWT" | {brokerkit} show --data-dir data\n'
        'curl -s -o /dev/null -w "%{http_code} " -H "Authorization: Bearer $JWT" '
        "localhost:8092/api/v1/messages/kastlex/0 -d 1\n"
        f"{brokerkit} revoke user1 --data-dir data\n"
        'curl -s -o /dev/null -w "%{http_code}" -H "Authorization: Bearer $JWT" localhost:8092/api/v1/topics'
    )
    assert "user1: good until" in shown
    assert "204 401" in shown


def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    """Messages, the key, and stored tokens are there after a restart; what was taken back stays so."""
    running = Running(tmp_path, KASTLEX_ENABLE_TOKEN_STORAGE="1")
    login = 'curl -s localhost:8092/login --data "username={0}&password={0}" | jq -r .token'
    user, admin = (running.sh(login.format(name)).strip() for name in ("user1", "admin"))
    produce = f'curl -s -i -H "Authorization: Bearer {user}" localhost:8092/api/v1/messages/kastlex -d kept'
    assert "x-message-offset: 0" in running.sh(produce).lower()
    running.stop()
    running = Running(tmp_path, KASTLEX_ENABLE_TOKEN_STORAGE="1")
    assert "x-message-offset: 1" in running.sh(produce).lower()
    assert "kept" in running.sh("curl -s localhost:8092/api/v1/messages/kastlex/0/0")
    running.sh(f'curl -s -X DELETE -H "Authorization: Bearer {admin}" localhost:8092/admin/tokens/user1')
    running.stop()
    running = Running(tmp_path, KASTLEX_ENABLE_TOKEN_STORAGE="1")
    assert "401 Unauthorized" in running.sh(produce)
    running.stop()


def test_https(tmp_path: Path) -> None:
    """The switch has it served by TLS, too, with the files that are named."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    make = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout server.key -out server.crt"
    )
    subprocess.run(["openssl", *make.split()], cwd=tmp_path, capture_output=True, timeout=TALK, check=True)
    running = Running(
        tmp_path,
        KASTLEX_USE_HTTPS="true",
        KASTLEX_HTTPS_PORT="0",
        KASTLEX_CERTFILE=str(tmp_path / "server.crt"),
        KASTLEX_KEYFILE=str(tmp_path / "server.key"),
    )
    try:
        secure = running.said.rpartition("https://")[2].split()[0]
        shown = running.sh(f"curl -s --cacert {tmp_path}/server.crt https://{secure}/api/v1/topics")
        assert json.loads(shown) == ["foo", "kastlex"]
    finally:
        running.stop()
