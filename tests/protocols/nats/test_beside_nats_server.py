"""The table of odd inputs, said to a nats-server: it is the world that the table describes, not our wishes.

Runs where a nats-server of 2.12 or later is found ($NATS_SERVER, the PATH, ~/go/bin); elsewhere there is nothing to
run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .odd_inputs import (
    ALLOW_PUBLISH,
    ALLOW_SUBSCRIBE,
    DENY_PUBLISH,
    DENY_SUBSCRIBE,
    OPEN,
    USERS,
    USERS_ONLY,
    Row,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 10
SINCE = (2, 12)
CONFIGURATION = f"""
host: "127.0.0.1", port: -1
authorization {{ users: [
  {{ user: ann, password: {USERS["ann"]}, permissions: {{
    publish: {{ allow: {json.dumps(ALLOW_PUBLISH)}, deny: {json.dumps(DENY_PUBLISH)} }},
    subscribe: {{ allow: {json.dumps(ALLOW_SUBSCRIBE)}, deny: {json.dumps(DENY_SUBSCRIBE)} }} }} }},
  {{ user: bob, password: {USERS["bob"]} }} ] }}
"""


def find() -> str | None:
    """Give the path of a nats-server that is new enough."""
    program = os.environ.get("NATS_SERVER") or shutil.which("nats-server")
    path = Path(program) if program else Path.home() / "go/bin/nats-server"
    if not path.is_file():
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=SECONDS, check=False).stdout
    version = re.search(r"v(\d+)\.(\d+)", said)
    return str(path) if version and (int(version[1]), int(version[2])) >= SINCE else None


@contextmanager
def running(program: str, configuration: Path) -> Iterator[int]:
    """Run a nats-server; give its port."""
    process = subprocess.Popen([program, "-c", configuration], stderr=subprocess.PIPE, text=True)
    alarm = threading.Timer(6 * SECONDS, process.kill)
    alarm.start()
    try:
        log = process.stderr
        assert log is not None
        said = next((line for line in log if "Listening for client connections" in line), "")
        assert said, "nats-server did not start"
        threading.Thread(target=log.read, daemon=True).start()  # what nobody reads would stop it
        yield int(said.rpartition(":")[2])
    finally:
        alarm.cancel()
        process.kill()
        process.wait(SECONDS)


def talk(port: int, row: Row) -> tuple[bytes, bool]:
    """Say it; give what comes, up to the answer to a last PING where the connection is to stay, and if it ended."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        heard = b""
        while not heard.endswith(b"\r\n"):
            heard += connection.recv(65536)
        heard = b""
        connection.sendall(row.before + row.said + (b"" if row.closed else b"PING\r\n"))
        expected = len(row.answer) + len(b"PONG\r\n")
        while row.closed or len(heard) < expected:
            try:
                data = connection.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return heard, True
            heard += data
        return heard, False


SERVERS = [program] if (program := find()) else []


@pytest.mark.parametrize("server", SERVERS, ids=["nats-server"] * len(SERVERS))
@pytest.mark.parametrize("login", [False, True], ids=["open", "users"])
def test_beside_nats_server(server: str, login: bool, tmp_path: Path) -> None:
    """A nats-server gives the answers of the table."""
    configuration = tmp_path / "nats.conf"
    configuration.write_text(CONFIGURATION if login else 'host: "127.0.0.1", port: -1')
    with running(server, configuration) as port:
        for group in (USERS_ONLY if login else OPEN).values():
            for row in group:
                heard, closed = talk(port, row)
                assert heard == row.answer + (b"" if row.closed else b"PONG\r\n"), row
                assert closed == row.closed, row
