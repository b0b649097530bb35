"""The table of logins with a JWT, said to a nats-server in operator mode: it accepts and refuses the same ones."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.protocols.nats.jwt_logins import LOGINS, SYSTEM, Login, World
from tests.protocols.nats.rights import BLANKS, RIGHTS, Right
from tests.protocols.nats.test_nats_jwt import connecting, said
from tests.protocols.nats.test_nats_nkeys import nonce_in
from tests.servers.nats import SECONDS, NatsServer, find
from tests.servers.programs import missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


TOO_MANY = b"-ERR 'maximum subscriptions exceeded'\r\n"


def configuration(world: World) -> str:
    """Give the configuration of a nats-server with that world's operator, and its accounts in memory."""
    accounts = {**world.accounts, **world.bad_accounts}
    return f"""
    host: "127.0.0.1", port: -1
    operator: "{world.operator}"
    system_account: {SYSTEM.public}
    resolver: MEMORY
    resolver_preload: {json.dumps(accounts)}
    """


@pytest.fixture(scope="module")
def world() -> World:
    """Give tokens that are true now."""
    return World(int(time.time()))


@pytest.fixture(scope="module")
def server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Give the port of a nats-server."""
    program = find()
    if program is None:
        missing("no nats-server")
    path: Path = tmp_path_factory.mktemp("jwt") / "nats.conf"
    path.write_text(configuration(world))
    assert program is not None
    with NatsServer(program, path) as running:
        yield running.port


def ask(port: int, login: Login, world: World) -> bytes:
    """Say a login; give the first line of the answer."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        stream = connection.makefile("rb")
        connection.sendall(said(login, world, nonce_in(stream.readline())))
        return stream.readline()


@pytest.mark.parametrize("login", LOGINS, ids=lambda login: login.id)
def test_login(login: Login, server: int, world: World) -> None:
    """A nats-server decides as the table says."""
    assert ask(server, login, world) == login.answer


@pytest.mark.parametrize("right", [*RIGHTS, *BLANKS], ids=lambda right: right.id)
def test_rights(right: Right, server: int) -> None:
    """A nats-server allows what the table allows, in the same words."""
    with socket.create_connection(("127.0.0.1", server), SECONDS) as connection:
        stream = connection.makefile("rb")
        stream.readline()
        connection.sendall(connecting(right) + right.said + b"PING\r\n")
        heard = b""
        while not heard.endswith(b"PONG\r\n"):
            line = stream.readline()
            assert line, heard
            heard += line
    # Of a user without any subscriptions, nats-server says so twice now and then.
    assert heard.replace(TOO_MANY * 2, TOO_MANY) == right.heard + b"PONG\r\n"
