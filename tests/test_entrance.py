"""Who may connect to a listener, and what may be done there: networks, numbers, modes; in memory and on sockets."""

from __future__ import annotations

import contextlib
import errno
import socket
from hashlib import sha1
from pathlib import Path
from ssl import SSLContext, create_default_context
from struct import pack
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor, ssl, tcp
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SkipTest, TestCase

from brokerkit.app import make_broker
from brokerkit.checkers.memory import MemoryUsers
from brokerkit.config import Config, Listen
from brokerkit.device import OPTION
from brokerkit.endpoints import Said, said
from brokerkit.entrance import AGAIN, NAMED, TOLD, Entrance, Seldom, is_within, read_networks
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.grants import ALL
from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from brokerkit.testing import Peer

USERS = {"ann": "secret", "bob": "other"}


def frame(opcode: int, *fields: bytes) -> bytes:
    """Spell an hpfeeds frame; all fields but the last get a length byte."""
    body = b"".join(bytes([len(field)]) + field for field in fields[:-1]) + fields[-1]
    return pack("!iB", 5 + len(body), opcode) + body


def broker(**settings: object) -> MemoryBroker:
    """Give a broker whose listeners are all told the same."""
    return MemoryBroker(users=USERS, settings={"hpfeeds": settings, "nats": settings})


def hpfeeds(memory: MemoryBroker) -> Peer:
    """Connect to the hpfeeds listener and log in as ann."""
    peer = memory.connect("hpfeeds")
    nonce = peer.take()[-4:]
    peer.send(frame(2, b"ann", sha1(nonce + b"secret").digest()))  # noqa: S324  the protocol's own
    return peer


def nats(memory: MemoryBroker) -> Peer:
    """Connect to the NATS listener and log in as bob."""
    peer = memory.connect("nats")
    peer.take()
    peer.send(b'CONNECT {"verbose":false,"pedantic":false,"user":"bob","pass":"other"}\r\n')
    return peer


# -- modes ------------------------------------------------------------------------------------------------------------


def test_where_one_can_only_push() -> None:
    """Publishing works, subscribing gets each protocol's words for what is not allowed."""
    memory = broker(mode="push")
    heard: list[bytes] = []
    memory.local().subscribe(b">", lambda batch: heard.extend(message.payload for message in batch))
    sensor, producer = hpfeeds(memory), nats(memory)
    sensor.send(frame(3, b"ann", b"a", b"1"), frame(4, b"ann", b"a"))
    producer.send(b"PUB a 1\r\n2\r\nSUB a 1\r\nPUB a 1\r\n3\r\n")
    assert heard == [b"1", b"2", b"3"]
    assert sensor.take() == frame(0, b"Authkey not allowed to sub here. ident=ann, chan=a")
    assert producer.take() == b"-ERR 'Permissions Violation for Subscription to \"a\"'\r\n"
    assert not producer.closed


def test_where_one_can_only_pull() -> None:
    """Subscribing works, publishing gets each protocol's words for what is not allowed."""
    memory = broker(mode="pull")
    collector, consumer = hpfeeds(memory), nats(memory)
    collector.send(frame(4, b"ann", b"a"))
    consumer.send(b"SUB a 1\r\n")
    memory.local("local").publish(b"a", b"x")
    assert collector.take() == frame(3, b"local", b"a", b"x")
    assert consumer.take() == b"MSG a 1 1\r\nx\r\n"
    consumer.send(b"PUB a 1\r\ny\r\n")
    collector.send(frame(3, b"ann", b"a", b"z"))
    assert consumer.take() == b"-ERR 'Permissions Violation for Publish to \"a\"'\r\n"
    assert collector.take() == frame(0, b"Authkey not allowed to pub here. ident=ann, chan=a")


def test_a_verbose_client_cannot_push_either() -> None:
    """What is not taken in runs is refused as well."""
    memory = broker(mode="pull")
    peer = memory.connect("nats")
    peer.take()
    peer.send(b'CONNECT {"user":"bob","pass":"other"}\r\n')
    peer.send(b"PUB a 1\r\ny\r\n")
    assert peer.take() == b"+OK\r\n-ERR 'Permissions Violation for Publish to \"a\"'\r\n"


def test_a_change_of_the_user_changes_nothing_about_it() -> None:
    """A user that is given more rights while connected has none of them where the mode takes them away."""
    memory = broker(mode="push")
    producer = nats(memory)
    memory.source.put("bob", "other", ALL)
    [client] = [client for there in memory.broker.realm.clients.values() for client in there]
    client.become(client.user)
    producer.send(b"SUB a 1\r\nPUB a 1\r\ny\r\n")
    assert b"Permissions Violation for Subscription" in producer.take()
    assert not client.subscriptions


def test_a_second_login_changes_nothing_about_it() -> None:
    """Whoever logs in again on the same connection is still at the same listener."""
    memory = broker(mode="push")
    producer = nats(memory)
    producer.send(b'CONNECT {"verbose":false,"pedantic":false,"user":"ann","pass":"secret"}\r\nSUB a 1\r\n')
    assert b"Permissions Violation for Subscription" in producer.take()


def test_each_listener_has_its_own_mode() -> None:
    """The same user may push at one endpoint and pull at the other."""
    memory = MemoryBroker(users=USERS, settings={"hpfeeds": {"mode": "push"}, "nats": {"mode": "pull"}})
    sensor, consumer = hpfeeds(memory), nats(memory)
    consumer.send(b"SUB a 1\r\n")
    sensor.send(frame(3, b"ann", b"a", b"x"))
    assert consumer.take() == b"MSG a 1 1\r\nx\r\n"


# -- what an endpoint says --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp:port=1", Said()),
        ("tcp:port=1:mode=push", Said("push")),
        ("tls:port=1:mode=pull:key=a:cert=b", Said("pull")),
        ("tcp:port=1:networks=10.0.0.0/8", Said(networks=("10.0.0.0/8",))),
        ("tcp:networks=10.0.0.0/8,::1:port=1", Said(networks=("10.0.0.0/8", "::1"))),
        ("tcp:networks=::1,fd00::/8,10.1.2.3:mode=push:port=1", Said("push", ("::1", "fd00::/8", "10.1.2.3"))),
        (r"tcp:networks=\:\:1:port=1", Said(networks=("::1",))),
        ("tcp:port=1:device=lan0:interface=::1", Said(device="lan0")),
        ("unix:/run/x:mode=660", Said()),
        ("unix:/run/x:mode=660:mode=pull", Said("pull")),
    ],
)
def test_endpoints_that_say_it(text: str, expected: Said) -> None:
    """Mode, networks and device may stand in the endpoint, IPv6 with its colons as they are."""
    assert said(text, "here") == expected


@given(st.text(alphabet="tcp:=/,.0123456789abmodepushnetworkdvi\\[]", max_size=60))
def test_no_endpoint_is_anything_but_read_or_refused(text: str) -> None:
    """Whatever is written, the answer is what it says or one line about it."""
    with contextlib.suppress(ConfigError):  # by its name `suppress`, trial would take it for its own
        assert isinstance(said("tcp:" + text, "here"), Said)


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ({"mode": "psh"}, "mode: found 'psh', expected push, pull or both"),
        ({"networks": ["10.0.0.1/8"]}, "networks: found '10.0.0.1/8', expected addresses and networks such as"),
        ({"networks": ["lan"]}, "networks: found 'lan'"),
        ({"networks": "10.0.0.0/8"}, "networks: found '10.0.0.0/8', expected a list of strings"),
        ({"endpoint": "tcp:port=1:mode=push", "mode": "pull"}, "mode: found 'pull', expected it once"),
        ({"endpoint": "tcp:port=1:networks=::1", "networks": ["::1"]}, "expected it once, here or in the endpoint"),
        ({"keepalive": 99999}, "keepalive"),
    ],
)
def test_what_cannot_be_meant(listen: dict[str, object], expected: str) -> None:
    """It ends the start with one line."""
    with pytest.raises(ConfigError) as caught:
        broker(**listen)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


# -- networks and numbers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("::1", True),
        ("fe80::7%eth0", True),
        ("2001:db8::1", False),
        ("/run/x", False),
    ],
)
def test_addresses_within_networks(host: str, inside: bool) -> None:
    """An address of IPv4 is the same behind a socket of IPv6; the scope of an address does not matter."""
    assert is_within(host, read_networks(["10.0.0.0/8", "::1", "fe80::/10"], "here")) is inside


@pytest.mark.parametrize(
    ("network", "host", "inside"),
    [
        ("::ffff:10.0.0.0/104", "10.1.2.3", True),
        ("::ffff:10.0.0.0/104", "::ffff:11.1.2.3", False),
        ("::ffff:127.0.0.1", "127.0.0.1", True),
        ("::/0", "127.0.0.1", False),
        ("::/0", "2001:db8::1", True),
    ],
)
def test_networks_of_ipv4_that_are_written_as_ipv6(network: str, host: str, inside: bool) -> None:
    """A network may be written as a socket of IPv6 shows it; all of IPv6 is not all of IPv4."""
    assert is_within(host, read_networks([network], "here")) is inside


def entrance(clock: Clock, *networks: str, most: int = 100, each: int = 0) -> Entrance:
    """Give an entrance."""
    return Entrance("test", read_networks(networks, "test"), most, each, clock)


def test_other_networks_are_turned_away_and_counted() -> None:
    """It is decided before anything else; a unix socket has no address and is not asked for one."""
    door = entrance(Clock(), "10.0.0.0/8")
    assert door.turns_away("192.0.2.1", 0)
    assert not door.turns_away("10.0.0.1", 0)
    assert not door.turns_away("", 0)
    assert door.refused == {"network": 1}


def test_a_source_is_named_once_in_a_while() -> None:
    """A thousand connections from one source are one line, and one more when the while has passed."""
    clock, lines = Clock(), []

    def observe(event: Any) -> None:
        lines.append(formatEvent(event))

    door = entrance(clock, "10.0.0.0/8")
    globalLogPublisher.addObserver(observe)
    try:
        for _ in range(1000):
            door.turns_away("192.0.2.1", 0)
        clock.advance(AGAIN)
        door.turns_away("192.0.2.1", 0)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert lines == ["test 192.0.2.1: closed at once: is in none of the networks"] * 2
    assert door.refused == {"network": 1001}


def test_sources_that_are_remembered_are_bounded() -> None:
    """Of more sources than are remembered, the rest is counted only, until there is room again."""
    clock = Clock()
    seldom = Seldom(clock)
    assert [seldom.may_say(str(i)) for i in range(NAMED + 10)] == [True] * NAMED + [False] * 10
    clock.advance(AGAIN)
    assert seldom.may_say("again")


def test_so_many_are_told() -> None:
    """While so many are being told that there is no room, further ones are closed at once, those with room never."""
    door = entrance(Clock(), most=3, each=1)
    assert door.enter("192.0.2.1")
    assert not door.enter("192.0.2.1")
    assert not door.turns_away("192.0.2.1", TOLD - 1)
    assert door.turns_away("192.0.2.1", TOLD)
    assert not door.turns_away("192.0.2.2", TOLD)
    door.leave("192.0.2.1")
    assert not door.turns_away("192.0.2.1", TOLD)
    assert not door.from_address
    assert door.refused == {"address": 2}


def test_a_memory_broker_refuses_too() -> None:
    """What is closed when accepted never becomes a session."""
    memory = broker(networks=["10.0.0.0/8"])
    with pytest.raises(ConnectionRefusedError):
        memory.connect("hpfeeds")
    assert memory.connect("hpfeeds", "10.1.1.1").take()
    assert memory.broker.listener("hpfeeds").counts.accepted == 1


# -- on sockets -------------------------------------------------------------------------------------------------------


class Listening(Protocol):
    """A client that waits for the first bytes, or for the end."""

    def __init__(self) -> None:
        """Have heard nothing."""
        self.heard: Deferred[bytes] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Take them."""
        if not self.heard.called:
            self.heard.callback(data)

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ARG002  Twisted's
        """Take the end for nothing."""
        self.dataReceived(b"")
        self.gone.callback(None)


class OnSockets(TestCase):
    """What only the kernel can answer; each port is one that the system chooses."""

    timeout = 20

    def start(self, *endpoints: str, **more: Any) -> list[Any]:
        """Run a broker with hpfeeds listeners there; give them."""
        config = Config(listen=tuple(Listen("hpfeeds", text, **more) for text in endpoints))
        made = make_broker(config, reactor, [MemoryUsers({"ann": "secret"})])
        made.privilegedStartService()
        made.startService()
        self.addCleanup(lambda: Deferred.fromCoroutine(made.stop()))
        return made.listeners

    async def greeting(self, listener: Any, host: str = "127.0.0.1") -> bytes:
        """Connect in plain text, and give the first bytes; none if the broker hangs up."""
        where = HostnameEndpoint(reactor, host.encode(), listener.port.getHost().port)
        caller = await connectProtocol(where, Listening())
        heard = await caller.heard
        caller.transport.abortConnection()
        await caller.gone
        return heard

    def test_ipv4_and_ipv6_at_once(self) -> Deferred[None]:
        """One broker listens at several endpoints, each with its mode."""
        if not has_ipv6_loopback():
            raise SkipTest("no ::1 here")
        return Deferred.fromCoroutine(self.both())

    async def both(self) -> None:
        """Connect to both."""
        four, six = self.start("tcp:port=0:interface=127.0.0.1:mode=push", "tcp:port=0:interface=::1:mode=pull")
        assert (four.barred, six.barred) == ({"subscribe"}, {"publish"})
        assert b"brokerkit" in await self.greeting(four)
        assert b"brokerkit" in await self.greeting(six, "::1")

    def test_networks_of_a_plain_endpoint(self) -> Deferred[None]:
        """From another network a connection is closed without a word; from one that is named it is served."""
        return Deferred.fromCoroutine(self.plain())

    async def plain(self) -> None:
        """Connect to both."""
        closed, opened = self.start(
            "tcp:port=0:interface=127.0.0.1:networks=10.0.0.0/8,::1",
            "tcp:port=0:interface=127.0.0.1:networks=127.0.0.0/8",
        )
        assert await self.greeting(closed) == b""
        assert closed.entrance.refused == {"network": 1}
        assert closed.counts.accepted == 0
        assert b"brokerkit" in await self.greeting(opened)

    def test_networks_of_a_tls_endpoint(self) -> Deferred[None]:
        """The same before the handshake."""
        return Deferred.fromCoroutine(self.tls())

    async def tls(self) -> None:
        """Connect to both, by TLS."""
        from tests.test_endpoints import write_certificates

        made = TemporaryDirectory()
        self.addCleanup(made.cleanup)
        directory = Path(made.name)
        write_certificates(directory)
        text = f"tls:port=0:interface=127.0.0.1:key={directory}/own.key:cert={directory}/own.crt:networks="
        closed, opened = self.start(f"{text}10.0.0.0/8", f"{text}127.0.0.1")
        assert await self.secret_greeting(closed, directory) == b""
        assert b"brokerkit" in await self.secret_greeting(opened, directory)
        assert closed.entrance.refused == {"network": 1}

    async def secret_greeting(self, listener: Any, directory: Path) -> bytes:
        """Give the first words by TLS, to a client that trusts the certificate in a directory."""
        trust = ssl.Certificate.loadPEM((directory / "own.crt").read_bytes())
        here = TCP4ClientEndpoint(reactor, "127.0.0.1", listener.port.getHost().port)
        options = ssl.optionsForClientTLS("localhost", trustRoot=trust)
        caller = await connectProtocol(wrapClientTLS(options, here), Listening())
        heard = await caller.heard
        caller.transport.abortConnection()
        await caller.gone
        return heard

    def test_a_handshake_that_never_comes(self) -> Deferred[None]:
        """The time there is to log in begins when the connection is accepted, not when TLS is agreed on."""
        return Deferred.fromCoroutine(self.no_handshake())

    async def no_handshake(self) -> None:
        """Connect to TLS and say nothing."""
        from brokerkit.protocols.hpfeeds.session import Settings
        from tests.test_endpoints import write_certificates

        made = TemporaryDirectory()
        self.addCleanup(made.cleanup)
        write_certificates(Path(made.name))
        text = f"tls:port=0:interface=127.0.0.1:key={made.name}/own.key:cert={made.name}/own.crt"
        [listener] = self.start(text, settings=Settings(login_timeout=0.2))
        here = TCP4ClientEndpoint(reactor, "127.0.0.1", listener.port.getHost().port)
        caller = await connectProtocol(here, Listening())
        await caller.gone
        assert not listener.sessions
        assert listener.counts.errors == {"login": 1}

    def test_keepalive_is_the_listeners(self) -> None:
        """Its seconds reach the sockets that are accepted; nought switches it off."""
        from brokerkit.protocols.hpfeeds.session import Settings

        text = "tcp:port=0:interface=127.0.0.1"
        [slow] = self.start(text, settings=Settings(keepalive=60))
        [off] = self.start(text, settings=Settings(keepalive=0))
        options = [getattr(socket, name) for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")]
        assert [slow.port.socket.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [60, 30, 3]
        assert slow.port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not off.port.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def test_a_device(self) -> Deferred[None]:
        """A listener of the loopback device is bound to it, and serves what comes in there."""
        if OPTION is None:
            raise SkipTest("not Linux")
        return Deferred.fromCoroutine(self.device())

    async def device(self) -> None:
        """Connect over loopback, plain and by TLS."""
        from tests.test_endpoints import write_certificates

        made = TemporaryDirectory()
        self.addCleanup(made.cleanup)
        directory = Path(made.name)
        write_certificates(directory)
        text = f"tls:port=0:key={directory}/own.key:cert={directory}/own.crt:device=lo"
        try:
            plain, secret = self.start("tcp:port=0:device=lo", text)
        except OperatorError as error:
            assert "CAP_NET_RAW" in str(error)  # noqa: PT017
            raise SkipTest(str(error)) from None
        for listener in (plain, secret):
            bound = listener.port.socket.getsockopt(socket.SOL_SOCKET, OPTION or 0, 16)
            assert bound.rstrip(b"\0") == b"lo"
        assert b"brokerkit" in await self.greeting(plain)
        assert b"brokerkit" in await self.secret_greeting(secret, directory)

    def test_a_device_that_may_not_be_used(self) -> None:
        """Where the kernel refuses, the start ends with one line that names the right which is missing."""
        if OPTION is None:
            raise SkipTest("not Linux")

        class Forbidden(socket.socket):
            def setsockopt(self, level: int, option: int, *value: Any) -> None:
                if option == OPTION:
                    raise PermissionError(errno.EPERM, "Operation not permitted")
                super().setsockopt(level, option, *value)

        self.patch(tcp.socket, "socket", Forbidden)
        with pytest.raises(OperatorError) as caught:
            self.start("tcp:port=0:device=lo")
        expected = "device lo cannot be used: permission denied, give the program CAP_NET_RAW (tcp:port=0:device=lo)"
        assert str(caught.value) == expected

    def test_a_reader_that_has_stopped_is_reset(self) -> Deferred[None]:
        """At its deadline the peer's system gets a reset, and the memory is free."""
        return Deferred.fromCoroutine(self.stopped("tcp:port=0:interface=127.0.0.1", None))

    def test_a_reader_that_has_stopped_by_tls_is_reset(self) -> Deferred[None]:
        """The same, without waiting for TLS to say goodbye."""
        from tests.test_endpoints import write_certificates

        made = TemporaryDirectory()
        self.addCleanup(made.cleanup)
        write_certificates(Path(made.name))
        context = create_default_context(cafile=f"{made.name}/own.crt")
        text = f"tls:port=0:interface=127.0.0.1:key={made.name}/own.key:cert={made.name}/own.crt"
        return Deferred.fromCoroutine(self.stopped(text, context))

    async def stopped(self, text: str, context: SSLContext | None) -> None:
        """Subscribe, read no more, and let others publish."""
        from brokerkit.protocols.hpfeeds.session import Settings

        [listener] = self.start(text, settings=Settings(outbox_deadline=0.5))
        caller = socket.create_connection(("127.0.0.1", listener.port.getHost().port), timeout=5)
        self.addCleanup(caller.close)
        if context is not None:
            caller = await deferToThread(context.wrap_socket, caller, server_hostname="localhost")
            self.addCleanup(caller.close)
        while not listener.sessions:
            await deferLater(reactor, 0.01)
        nonce = (await deferToThread(caller.recv, 1000))[-4:]
        digest = sha1(nonce + b"secret").digest()  # noqa: S324  the protocol's own
        await deferToThread(caller.sendall, frame(2, b"ann", digest) + frame(4, b"ann", b"a"))
        local = listener.broker.client()
        [session] = listener.sessions
        while session.client is None or not session.client.subscriptions:
            await deferLater(reactor, 0.01)
        for _ in range(20):
            local.publish(b"a", bytes(1000_000))
        assert session.outbox.pending > 1000_000
        while listener.sessions:
            await deferLater(reactor, 0.02)
        assert session.outbox.pending == 0
        assert listener.counts.slow_readers == {"deadline": 1}
        raw = socket.socket(fileno=caller.detach())  # beneath TLS, which takes a reset for an end
        self.addCleanup(raw.close)
        with pytest.raises(ConnectionResetError):
            await deferToThread(read_on, raw)

    def test_no_such_device(self) -> None:
        """The start ends with one line that says so."""
        if OPTION is None:
            raise SkipTest("not Linux")
        with pytest.raises(OperatorError) as caught:
            self.start("tcp:port=0:device=none0")
        said = str(caught.value)
        assert said.startswith("device none0 cannot be used: ")
        assert "no such network interface" in said or "CAP_NET_RAW" in said
        assert said.endswith("(tcp:port=0:device=none0)")


def read_on(caller: socket.socket) -> None:
    """Read until the other side has closed in good order."""
    while caller.recv(1 << 20):
        pass


def has_ipv6_loopback() -> bool:
    """Say whether this machine can listen on ::1."""
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True
