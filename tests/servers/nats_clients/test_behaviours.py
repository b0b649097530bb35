"""Clients that others wrote see the same of brokerkit as of nats-server, whatever they do.

One list of behaviours, each by the NATS clients for Go and JavaScript, over TCP and WebSocket, and from a page in a
browser; each server is told what to do by the same file.  A behaviour must succeed, and what the client makes of it
(answers, errors, the order of things) must be what it makes of nats-server's.  tests/clients/test_nats_py.py is the
same for Python.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.nats_clients import programs
from tests.servers.nats_clients.brokers import BROKERS, Broker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers.nats_clients.programs import Told

    Heard = Callable[[str, str], dict[str, Told]]

CLIENTS = {
    "go": (programs.go, "tcp"),
    "go over websocket": (programs.go, "websocket"),
    "node": (programs.node, "tcp"),
    "node over websocket": (programs.node, "websocket"),
    "chromium": (programs.chromium, "websocket"),
}
BEHAVIOURS = [
    "connect",
    "publish and subscribe",
    "payload sizes",
    "wildcards",
    "queue group",
    "request and reply",
    "request many",
    "headers",
    "no responders",
    "request without an answer",
    "auto-unsubscribe",
    "unsubscribe",
    "no echo",
    "drain a subscription",
    "drain a connection",
    "flush and round trip",
    "many messages in order",
    "many subscriptions",
    "verbose and pedantic",
    "payload over the limit",
    "user and password",
    "bcrypt password",
    "refused logins",
    "token",
    "nkey",
    "no credentials where somebody stands for them",
    "denied publish",
    "denied subscription",
    "a request that is denied",
    "a deny within an allow",
    "answers that are allowed",
    "accounts are separate",
    "stream of another account",
    "service of another account",
    "service of another account that nobody gives",
    "mapped subject",
    "credentials file",
    "credentials that are refused",
    "credentials that end",
    "TLS",
    "reconnect after a restart",
    "lame duck",
    "too many connections",
]
OVER_TCP = ["TLS that nobody vouches for", "TLS first", "client certificate", "TLS for those who want it"]
AS_TOOLS = [  # of the Go client, by the types that nats-server's own tools read the answers into
    "the list of servers",
    "information about a server",
    "the report of connections",
    "monitoring by HTTP",
    "events of accounts",
]
MORE = {"go": OVER_TCP + AS_TOOLS, "node": OVER_TCP}
TRIALS = [(client, behaviour) for client in CLIENTS for behaviour in BEHAVIOURS + MORE.get(client, [])]


@pytest.fixture(scope="session")
def broker() -> Iterator[Callable[[str], Broker]]:
    """Give what gives the broker of a kind, which is started once."""
    running: dict[str, Broker] = {}
    with ExitStack() as stack:

        def start(kind: str) -> Broker:
            if kind not in running:
                home = Path(tempfile.mkdtemp(prefix="brokerkit-"))
                running[kind] = stack.enter_context(Broker(kind, home))
            return running[kind]

        yield start


@pytest.fixture(scope="session")
def heard(broker: Callable[[str], Broker]) -> Heard:
    """Give what says what a client told of a kind of broker, by behaviour; it is asked once."""
    known: dict[tuple[str, str], Any] = {}

    def told(client: str, kind: str) -> dict[str, Told]:
        if (client, kind) not in known:
            program, transport = CLIENTS[client]
            running = broker(kind)
            try:
                lines = program(running, running.config() | {"transport": transport})
                known[client, kind] = {line["behaviour"]: line for line in lines}
            except AssertionError as problem:  # it would be the same for each behaviour, and take its time
                known[client, kind] = problem
        found: dict[str, Told] = known[client, kind]
        if isinstance(found, AssertionError):
            raise found
        return found

    return told


@pytest.mark.parametrize("kind", BROKERS)
def test_every_place_opens(broker: Callable[[str], Broker], kind: str) -> None:
    """Both brokers read every file and open what it says."""
    running = broker(kind)
    running.config()
    assert running.broken == {}


@pytest.mark.parametrize("client", CLIENTS)
def test_the_list_is_whole(heard: Heard, client: str) -> None:
    """A client does all behaviours of the list, and no others."""
    assert set(heard(client, "nats-server")) == {behaviour for name, behaviour in TRIALS if name == client}


@pytest.mark.parametrize(("client", "behaviour"), TRIALS)
def test_behaviour(heard: Heard, client: str, behaviour: str) -> None:
    """The client gets through with both brokers, and what it sees of them is the same."""
    expected, found = heard(client, "nats-server")[behaviour], heard(client, "brokerkit")[behaviour]
    assert "failed" not in expected
    assert "failed" not in found, found["failed"]
    assert found["seen"] == expected["seen"]
