"""Health checks: who is well is found by looking, only where that is allowed; what is not well is not discovered."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerkit.entrance import read_networks
from brokerkit.registry import Delete, Put, Registry, Unusable
from brokerkit.registry.health import AT_ONCE, Health
from brokerkit.registry.probes import read_probe
from tests.protocols.bpbroker.v1_world import World

ANYWHERE = read_networks(("10.0.0.0/8", "fd00::/8"), "test")


@implementer(IHostnameResolver)
class Names:
    """Knows where some hosts are."""

    known: ClassVar = {"web.test": ["192.0.2.7", "10.0.0.7"], "far.test": ["192.0.2.8"]}

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, *_: Any) -> None:  # type: ignore[override]
        """Say what is known."""
        receiver.resolutionBegan(None)
        for host in self.known.get(hostName, ()):
            receiver.addressResolved(IPv4Address("TCP", host, portNumber))
        receiver.resolutionComplete()


class Clinic:
    """A registry with health checks on a test's reactor."""

    def __init__(self) -> None:
        """Open it."""
        self.reactor = MemoryReactorClock()
        self.reactor.installNameResolver(Names())
        self.registry = Registry(None, self.reactor)
        self.health = Health(self.registry, self.reactor, ANYWHERE)
        self.health.startService()

    def put(self, name: str, **check: Any) -> None:
        """Give a new entry a check."""
        self.registry.write([Put(name, {}), Put(f"_check/{name}", check)])

    def advance(self, seconds: float) -> None:
        """Let time pass, in steps."""
        for _ in range(int(seconds * 2)):
            self.reactor.advance(0.5)

    def connections(self) -> list[tuple[str, int, Any]]:
        """Take the connections that are wanted."""
        wanted, self.reactor.tcpClients[:] = list(self.reactor.tcpClients), []
        return [(host, port, factory) for host, port, factory, *_ in wanted]

    def accept(self, answer: bytes = b"") -> StringTransport:
        """Accept the only connection, and answer."""
        ((_, _, factory),) = self.connections()
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        if answer:
            protocol.dataReceived(answer)
        return transport

    def refuse(self) -> None:
        """Refuse the only connection."""
        ((_, _, factory),) = self.connections()
        factory.clientConnectionFailed(None, Failure(Refused()))

    def state(self, name: str) -> tuple[bool, str]:
        """Give whether it is well, and why not."""
        shown = self.health.shown(name)
        assert shown is not None
        assert shown["passing"] is self.health.passes(name)
        return shown["passing"], shown["why"]


@pytest.fixture
def clinic() -> Clinic:
    """Give one."""
    return Clinic()


def test_without_a_check(clinic: Clinic) -> None:
    """An entry without one is discoverable while it is there, and a hidden one never is."""
    clinic.registry.write([Put("a", {}, ttl=5), Put("_h", {})])
    assert clinic.registry.discoverable("a")
    assert not clinic.registry.discoverable("b")
    assert not clinic.registry.discoverable("_h")
    clinic.reactor.advance(5)
    assert not clinic.registry.discoverable("a")


def test_tcp(clinic: Clinic) -> None:
    """A connection that comes about is well, at its own pace; one that is refused is not."""
    clinic.put("a", kind="tcp", address="10.0.0.5:80", interval=10)
    assert clinic.state("a") == (False, "not looked at yet")
    assert not clinic.registry.discoverable("a")
    clinic.advance(1)
    assert clinic.accept().disconnecting
    assert clinic.registry.discoverable("a")
    clinic.advance(9)
    assert clinic.connections() == []
    clinic.advance(1)
    clinic.refuse()
    assert clinic.state("a") == (False, "no connection: ConnectionRefusedError")
    assert clinic.health.failing == 1


def test_http(clinic: Clinic) -> None:
    """A status of 2xx is well; any other, nonsense, silence and endless lines are not."""
    clinic.put("a", kind="http", url="http://10.0.0.5:8080/health?x=1", interval=1, timeout=2)
    clinic.advance(1)
    sent = clinic.accept(b"HTTP/1.1 204 No Content\r\n").value()
    assert sent.startswith(b"GET /health?x=1 HTTP/1.1\r\nHost: 10.0.0.5:8080\r\n")
    assert sent.endswith(b"\r\n\r\n")
    assert clinic.state("a") == (True, "")
    for answer, why in (
        (b"HTTP/1.1 302 Found\r\n", "status 302"),
        (b"HTTP/1.0 503 \r\n", "status 503"),
        (b"hello\r\n", "the answer is not HTTP"),
        (b"x" * 5000, "the answer is not HTTP"),
    ):
        clinic.advance(1)
        clinic.accept(answer)
        assert clinic.state("a") == (False, why)


def test_where_it_may_look(clinic: Clinic) -> None:
    """What is in no allowed network is not connected to, whatever its name says."""
    for name, address in {
        "loop": "127.0.0.1:80",
        "cloud": "169.254.169.254:80",
        "mapped": "[::ffff:127.0.0.1]:80",
        "out": "192.0.2.1:80",
        "far": "far.test:80",
    }.items():
        clinic.put(name, kind="tcp", address=address)
        clinic.advance(1)
        assert clinic.state(name) == (False, "its address is in none of the networks that may be looked at")
    clinic.put("unknown", kind="tcp", address="unknown.test:80")
    clinic.advance(1)
    assert clinic.state("unknown") == (False, "its name is not known")
    assert clinic.connections() == []
    clinic.put("web", kind="tcp", address="web.test:80")
    clinic.advance(1)
    assert [host for host, _, _ in clinic.connections()] == ["10.0.0.7"]


def test_heartbeats(clinic: Clinic) -> None:
    """With a ttl it is well from one heartbeat to the end of its time, or until it says that it is not."""
    clinic.put("a", kind="ttl", ttl=30)
    assert not clinic.health.passes("a")
    assert clinic.health.report("a", passing=True)
    clinic.advance(29)
    assert clinic.state("a") == (True, "")
    clinic.advance(1)
    assert clinic.state("a") == (False, "no heartbeat in time")
    clinic.health.report("a", passing=True)
    clinic.health.report("a", passing=False)
    assert clinic.state("a") == (False, "it says so itself")
    assert not clinic.health.report("b", passing=True)


def test_a_check_goes_with_its_entry(clinic: Clinic) -> None:
    """When the entry is deleted or ends, so does its check, and nothing of it runs on."""
    clinic.put("a", kind="tcp", address="10.0.0.5:80")
    clinic.registry.write([Delete("a")])
    assert len(clinic.health) == 0
    assert clinic.registry.list("_check/") == []
    assert clinic.reactor.getDelayedCalls() == []


def test_a_check_that_is_replaced_while_it_looks(clinic: Clinic) -> None:
    """What the former found out does not count."""
    clinic.put("a", kind="tcp", address="10.0.0.5:80")
    clinic.advance(1)
    former = clinic.connections()
    clinic.put("a", kind="ttl", ttl=30)
    former[0][2].buildProtocol(None).makeConnection(StringTransport())
    assert clinic.state("a") == (False, "not looked at yet")


def test_only_so_many_at_once(clinic: Clinic) -> None:
    """Many checks that hang hold few connections."""
    for i in range(AT_ONCE + 20):
        clinic.put(f"a{i}", kind="tcp", address="10.0.0.5:80")
    clinic.advance(1)
    first = clinic.connections()
    assert len(first) == AT_ONCE
    for _, _, factory in first:
        factory.clientConnectionFailed(None, Failure(Refused()))
    assert len(clinic.connections()) == 20


def test_a_start(clinic: Clinic) -> None:
    """Checks that are stored are there again, and nothing is well before it is looked at."""
    clinic.put("a", kind="ttl", ttl=30)
    clinic.registry.write([Put("b", {}), Put("_check/b", {"kind": "of tomorrow"})])
    clinic.health.report("a", passing=True)
    clinic.health.stopService()
    clinic.health.startService()
    assert list(clinic.health.names()) == ["a"]
    assert not clinic.health.passes("a")


@pytest.mark.parametrize(
    "check",
    [
        {},
        {"kind": "script", "run": "rm"},
        {"kind": []},
        {"kind": "ttl"},
        {"kind": "ttl", "ttl": 0.1},
        {"kind": "ttl", "ttl": True},
        {"kind": "ttl", "ttl": 5, "more": 1},
        {"kind": "tcp", "address": "host"},
        {"kind": "tcp", "address": "host:0"},
        {"kind": "tcp", "address": "host:99999"},
        {"kind": "tcp", "address": "a b:80"},
        {"kind": "tcp", "address": "host:80", "interval": 0},
        {"kind": "tcp", "address": "host:80", "timeout": 1000},
        {"kind": "http", "url": "https://host/"},
        {"kind": "http", "url": "file:///etc/passwd"},
        {"kind": "http", "url": "http://user:secret@host/"},
        {"kind": "http", "url": "http://host/\r\nX: y"},
        {"kind": "http", "url": "http://[::1/"},
        {"kind": "http", "url": "http://host:x/"},
    ],
)
def test_what_is_no_check(check: dict[str, Any]) -> None:
    """It is refused."""
    with pytest.raises(Unusable):
        read_probe(check, 10)


def test_by_the_api() -> None:
    """A check is given, seen, fed and taken away; an entry without one, or that is not there, is 404."""
    world = World()
    world.health.startService()
    world.put("a", {})
    assert world.ask("GET", "/v1/health/a").status == 404
    assert world.ask("PUT", "/v1/health/b", {"kind": "ttl", "ttl": 5}).status == 404
    assert world.ask("PUT", "/v1/health/a", {"kind": "x"}).status == 400
    made = world.ask("PUT", "/v1/health/a", {"kind": "ttl", "ttl": 5})
    assert (made.status, made.json["passing"]) == (200, False)
    assert world.ask("POST", "/v1/health/a/pass").json["passing"] is True
    assert [one["name"] for one in world.ask("GET", "/v1/health").json["checks"]] == ["a"]
    assert world.ask("GET", "/v1/health", key="only-a").json["checks"]
    assert world.ask("GET", "/v1/health", key="nobody").json["checks"] == []
    assert world.ask("POST", "/v1/health/a/fail").json["why"] == "it says so itself"
    assert world.ask("PUT", "/v1/health/a", {"kind": "tcp", "address": "10.0.0.1:80"}).status == 200
    assert world.ask("POST", "/v1/health/a/pass").status == 409
    assert world.ask("DELETE", "/v1/health/a").status == 204
    assert world.ask("DELETE", "/v1/health/a").status == 404
    assert world.ask("GET", "/v1/kv?keys").json["names"] == ["a"]
