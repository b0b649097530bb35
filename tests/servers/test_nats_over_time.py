"""What a connection hears when time passes or the server goes: the same from nats-server and from brokerkit."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.protocols.nats.transcript import normalised
from tests.servers.nats import SECONDS, Brokerkit, NatsServer, Program, find
from tests.servers.programs import NO_SERVER, missing

if TYPE_CHECKING:
    from pathlib import Path

QUIET = b'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\n'
OLD = QUIET.replace(b":1}", b":0}")

CONF = """
host: "127.0.0.1", port: -1
ping_interval: "300ms", ping_max: 2
max_connections: 3
lame_duck_duration: "30s", lame_duck_grace_period: "500ms"
"""
TOML = """
[[listen]]
protocol = "nats"
endpoint = "tcp:port=0:interface=127.0.0.1"
ping_interval = 0.3
ping_max = 2
max_connections = 3
lame_duck_duration = 30.0
lame_duck_grace_period = 0.5
"""


def server(kind: str, place: Path, conf: str, toml: str) -> Program:
    """Give one of the two, with its configuration."""
    if kind == "brokerkit":
        file = place / "brokerkit.toml"
        file.write_text(toml)
        return Brokerkit(file)
    program = find()
    if program is None:
        missing(NO_SERVER)
    assert program is not None
    file = place / "nats.conf"
    file.write_text(conf)
    return NatsServer(program, file)


def connect(port: int, said: bytes = b"") -> socket.socket:
    """Connect, and say that."""
    connection = socket.create_connection(("127.0.0.1", port), SECONDS)
    connection.sendall(said)
    return connection


def heard(connection: socket.socket, end: bytes = b"") -> bytes:
    """Give what comes, up to some words or to the end of the connection."""
    text = b""
    while not (end and end in text):
        try:
            data = connection.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            break
        text += data
    return text


SERVERS = pytest.mark.parametrize("kind", ["nats-server", "brokerkit"])


@SERVERS
def test_stale(kind: str, tmp_path: Path) -> None:
    """Two PINGs without an answer, then the error and the end."""
    with server(kind, tmp_path, CONF, 'auth = ["anonymous"]' + TOML) as running:
        said = heard(connect(running.port, QUIET)).partition(b"\r\n")[2]
    assert said == b"PING\r\nPING\r\n-ERR 'Stale Connection'\r\n"


@SERVERS
def test_one_connection_too_many(kind: str, tmp_path: Path) -> None:
    """It is told INFO and the reason; those who are there stay."""
    with server(kind, tmp_path, CONF, 'auth = ["anonymous"]' + TOML) as running:
        there = [connect(running.port, QUIET + b"PING\r\n") for _ in range(3)]
        for connection in there:
            assert b"PONG\r\n" in heard(connection, b"PONG\r\n")
        first, _, rest = heard(connect(running.port)).partition(b"\r\n")
        assert first.startswith(b"INFO {")
        assert rest == b"-ERR 'maximum connections exceeded'\r\n"
        there[0].sendall(b"SUB a 1\r\nPUB a 0\r\n\r\n")
        assert b"MSG a 1 0\r\n\r\n" in heard(there[0], b"MSG a 1 0\r\n\r\n")


@SERVERS
def test_no_login_in_time(kind: str, tmp_path: Path) -> None:
    """Who says nothing is told so and closed."""
    conf = 'host: "127.0.0.1", port: -1\nauthorization { user: ann, password: secret, timeout: 0.3 }'
    toml = '[[users]]\nname = "ann"\nsecret = "secret"\n' + TOML + "login_timeout = 0.3\n"
    with server(kind, tmp_path, conf, toml) as running:
        said = heard(connect(running.port)).partition(b"\r\n")[2]
    assert said == b"-ERR 'Authentication Timeout'\r\n"


@SERVERS
def test_lame_duck(kind: str, tmp_path: Path) -> None:
    """Clients of protocol 1 are told by INFO, others are not; no new ones come in; then all end, and so does it."""
    conf, toml = CONF.replace("300ms", "300s"), 'auth = ["anonymous"]' + TOML.replace("= 0.3", "= 300")
    with server(kind, tmp_path, conf, toml) as running:
        new, old = connect(running.port, QUIET + b"PING\r\n"), connect(running.port, OLD + b"PING\r\n")
        assert b"connect_info" in heard(new, b"connect_info")
        heard(old, b"PONG\r\n")
        running.process.send_signal(signal.SIGUSR2)
        told = normalised(heard(new, b"} \r\n"))
        assert b'"ldm":true' in told
        assert b"connect_info" not in told
        assert b"-ERR" not in heard(new)
        assert heard(old).replace(b"PING\r\n", b"") == b""
        with pytest.raises(ConnectionRefusedError):
            connect(running.port)
        assert running.process.wait(SECONDS) == 0


@SERVERS
def test_stopped(kind: str, tmp_path: Path) -> None:
    """Clients see the end, and not a word."""
    with server(kind, tmp_path, CONF, 'auth = ["anonymous"]' + TOML) as running:
        connection = connect(running.port, QUIET + b"PING\r\n")
        heard(connection, b"connect_info")
        running.process.send_signal(signal.SIGTERM)
        assert b"-ERR" not in heard(connection)
