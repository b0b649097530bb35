"""The table of logins about which somebody else decides, said to a nats-server with ``auth_callout``."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.protocols.nats.callouts import ISSUER, LOGINS, PONG, REFUSED, SUBJECT, Asked, answered, body
from tests.protocols.nats.test_nats_callout import Delegating, connecting
from tests.servers.nats import SECONDS, NatsServer, find
from tests.servers.programs import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATION = f"""
host: "127.0.0.1", port: -1
authorization {{
  users: [ {{ user: auth, password: s3cret }} ]
  auth_callout {{ issuer: {ISSUER.public}, auth_users: [ auth ] }}
}}
"""


class Service:
    """Somebody who answers at a nats-server."""

    def __init__(self, port: int) -> None:
        """Log in and listen."""
        self.requests: list[bytes] = []
        self._connection = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._stream = self._connection.makefile("rb")
        self._stream.readline()
        login = b'CONNECT {"verbose":false,"user":"auth","pass":"s3cret"}\r\nSUB %b 1\r\nPING\r\n'
        self._connection.sendall(login % SUBJECT)
        while self._stream.readline() != PONG:
            pass
        self._connection.settimeout(None)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while line := self._stream.readline():
            if line.startswith(b"MSG "):
                _, _, _, reply, size = line.split()
                request = self._stream.read(int(size) + 2)[:-2]
                self.requests.append(request)
                answer = answered(request)
                self._connection.sendall(b"PUB %b %d\r\n%b\r\n" % (reply, len(answer), answer))
            elif line == b"PING\r\n":
                self._connection.sendall(PONG)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Service]]:
    """Give the port of a nats-server, and who answers there."""
    program = find()
    if program is None:
        missing("no nats-server")
    path = tmp_path_factory.mktemp("callout") / "nats.conf"
    path.write_text(CONFIGURATION)
    assert program is not None
    with NatsServer(program, path) as running:
        yield running.port, Service(running.port)


@pytest.mark.parametrize("login", LOGINS, ids=lambda login: login.user)
def test_login(login: Asked, service: tuple[int, Service]) -> None:
    """A nats-server believes the same answers."""
    with socket.create_connection(("127.0.0.1", service[0]), SECONDS) as connection:
        stream = connection.makefile("rb")
        stream.readline()
        connection.sendall(connecting(login.user))
        assert stream.readline() == (PONG if login.accepted or login.stricter else REFUSED)


def test_requests(service: tuple[int, Service]) -> None:
    """A nats-server asks with the same words: what brokerkit says is there, with values of the same types."""
    with socket.create_connection(("127.0.0.1", service[0]), SECONDS) as connection:
        stream = connection.makefile("rb")
        stream.readline()
        connection.sendall(connecting("good"))
        assert stream.readline() == PONG
    memory = Delegating()
    memory.try_("good")
    theirs, ours = body(service[1].requests[-1].decode()), body(memory.requests[-1].decode())
    for said, also in ((ours, theirs), *((ours["nats"][key], theirs["nats"][key]) for key in _PARTS)):
        assert {key: type(value) for key, value in said.items()}.items() <= {
            key: type(value) for key, value in also.items()
        }.items(), json.dumps(also)
    assert ours["aud"] == theirs["aud"]


_PARTS = ("client_info", "connect_opts", "server_id")
