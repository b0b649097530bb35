"""A broker in memory, and the two kinds of things that connect to it.

A ``Peer`` is raw bytes over a transport in memory that can stop reading, hang up or be reset.  A ``Client`` is a peer
that speaks a protocol by its caller.  Time stands still unless a test moves it (``MemoryBroker.advance``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from brokerkit.allowance import UNBOUNDED, Allowance
from brokerkit.app import make_broker
from brokerkit.checkers.known import Known, Users
from brokerkit.checkers.source import Source
from brokerkit.client import User
from brokerkit.config import Config, structure
from brokerkit.errors import OperatorError
from brokerkit.grants import ALL
from brokerkit.plugin import StreamProtocol, protocols

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted.cred.credentials import ICredentials
    from twisted.internet.defer import Deferred

    from brokerkit.broker import Broker
    from brokerkit.client import Client as BrokerClient
    from brokerkit.grants import Grants
    from brokerkit.run import Message

ADDRESS = "192.0.2.1"  # of a peer, unless a test says another
HIGH_WATER = 64 * 1024  # bytes that a transport takes before it asks its producer to stop, as Twisted's do
USERS = {"ann": "ann's secret", "bob": "bob's secret"}


@implementer(IPushProducer)
class Pipe:
    """The broker's end of a connection in memory: a transport."""

    TLS = False
    connected = True

    def __init__(self, peer: Peer, protocol: Any, clock: Any, address: str) -> None:  # noqa: ANN401
        """Connect ``protocol`` to that peer, at that address; ``clock`` is a test's."""
        self.protocol = protocol
        self._address = address
        self._peer = peer
        self._clock = clock
        self._producer: Any = None
        self._held = bytearray()
        self._stopped = False
        self._losing = False
        self.reading = True

    def write(self, data: bytes) -> None:
        """Bring bytes to the peer, or hold them while it does not read."""
        if not self.connected or self._losing:
            return
        if self._peer.reads:
            self._peer.received += data
            return
        self._held += data
        if len(self._held) > HIGH_WATER and self._producer is not None and not self._stopped:
            self._stopped = True
            self._producer.pauseProducing()

    @property
    def disconnecting(self) -> bool:
        """Whether it is about to be closed; twisted's line receivers ask."""
        return self._losing

    @property
    def pending(self) -> int:
        """The number of bytes that the peer has not read."""
        return len(self._held)

    def writeSequence(self, iovec: Any) -> None:  # noqa: ANN401  ITransport's
        """Write several."""
        self.write(b"".join(iovec))

    def drain(self) -> None:
        """Bring what was held to the peer, which reads again."""
        while self._held:
            held, self._held = bytes(self._held), bytearray()
            self._peer.received += held
            if self._stopped and self._producer is not None:
                self._stopped = False
                self._producer.resumeProducing()
        if self._losing:
            self.lost(ConnectionDone())

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: ANN401, ARG002
        """Remember whom to ask to stop."""
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Forget it."""
        self._producer = None

    def pauseProducing(self) -> None:
        """Stop reading from the peer."""
        self.reading = False

    def resumeProducing(self) -> None:
        """Read from the peer again."""
        self.reading = True
        self._clock.callLater(0, self._peer.push)

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    def loseConnection(self) -> None:
        """Close when all is delivered."""
        self._losing = True
        if not self._held:
            self._clock.callLater(0, self.lost, ConnectionDone())

    def abortConnection(self) -> None:
        """Close at once."""
        self._losing = True
        self._held.clear()
        self._peer.aborted = True
        self._clock.callLater(0, self.lost, ConnectionAborted())

    def lost(self, why: Exception) -> None:
        """Tell both ends, once."""
        if self.connected:
            self.connected = False
            self._peer.closed = True
            self.protocol.connectionLost(Failure(why))

    def getPeer(self) -> IPv4Address:
        """Give the peer's address."""
        return IPv4Address("TCP", self._address, 54321)

    def getHost(self) -> IPv4Address:
        """Give the broker's address."""
        return IPv4Address("TCP", "192.0.2.2", 4000)


class Peer:
    """The other end of a connection: bytes.

    ``protocol`` is the session; ``received`` is what has come and was not taken; ``closed`` and ``aborted`` say whether
    and how the broker hung up.
    """

    def __init__(self, memory: MemoryBroker, protocol: Any, address: str = ADDRESS) -> None:  # noqa: ANN401
        """Connect ``protocol``, the broker's side, to this peer; it may be what stands before a session."""
        self.received = b""
        self.closed = False
        self.aborted = False
        self.reads = True
        self.protocol = getattr(protocol, "session", protocol)
        self._memory = memory
        self._unsent = b""
        self.transport = Pipe(self, protocol, memory.reactor, address)
        protocol.makeConnection(self.transport)
        memory.advance()

    def send(self, *chunks: bytes) -> None:
        """Send chunk by chunk; what the broker does not read yet goes when it reads again."""
        for chunk in chunks:
            self._unsent += chunk
            self.push()
            self._memory.advance()

    def push(self) -> None:
        """Deliver what could not be delivered before."""
        if self._unsent and self.transport.reading and self.transport.connected:
            data, self._unsent = self._unsent, b""
            self.transport.protocol.dataReceived(data)

    def take(self) -> bytes:
        """Give what has come, and forget it."""
        data, self.received = self.received, b""
        return data

    def stop_reading(self) -> None:
        """Read no more, as a stalled program does."""
        self.reads = False

    def read(self) -> bytes:
        """Read again, and give all that has come."""
        self.reads = True
        self.transport.drain()
        self._memory.advance()
        return self.take()

    def hang_up(self) -> None:
        """Close the connection from this side."""
        self.transport.lost(ConnectionDone())
        self._memory.advance()


class Client:
    """A peer that speaks a protocol by its caller, and collects the messages that it gets."""

    def __init__(self, peer: Peer, caller: Any) -> None:  # noqa: ANN401  an ICaller
        """Log in."""
        self.peer = peer
        self.caller = caller
        self._messages: list[Message] = []
        self._hear(b"")
        self.pump()

    def pump(self) -> None:
        """Take what has come and answer it, until nothing more comes."""
        while data := self.peer.take():
            self._hear(data)

    def _hear(self, data: bytes) -> None:
        messages, answer = self.caller.receive(data)
        self._messages += messages
        if answer:
            self.peer.send(answer)

    def publish(self, topic: bytes, payload: bytes) -> None:
        """Publish."""
        self.peer.send(self.caller.publish(topic, payload))
        self.pump()

    def subscribe(self, pattern: bytes) -> None:
        """Subscribe."""
        self.peer.send(self.caller.subscribe(pattern))
        self.pump()

    def messages(self) -> list[Message]:
        """Give the messages that have come since the last time."""
        self.pump()
        messages, self._messages = self._messages, []
        return messages


class Directory(Source):
    """A source of users that a test changes while the broker runs; ``up`` says whether it answers."""

    source = "memory"

    def __init__(
        self, secrets: Mapping[str, str], grants: Mapping[str, Grants], allowances: Mapping[str, Allowance]
    ) -> None:
        """Take secrets, and for some names grants and allowances; all rights and no limits for the others."""
        self.up = True
        self.version: int = 0
        self._known: dict[str, Known] = {}
        self._users = Users()
        for name, secret in secrets.items():
            self.put(name, secret, grants.get(name, ALL), allowances.get(name, UNBOUNDED))
        self.version = 0

    def put(
        self,
        name: str,
        secret: str,
        grants: Grants = ALL,
        allowance: Allowance = UNBOUNDED,
        *,
        valid_until: float = 0.0,
    ) -> None:
        """Add a user, or put another record in the place of its."""
        user = User(name.encode(), self.source, grants, allowance=allowance, valid_until=valid_until)
        self._known[name] = Known(user, secret.encode())
        self._changed()

    def remove(self, name: str) -> None:
        """Remove a user."""
        del self._known[name]
        self._changed()

    def _changed(self) -> None:
        self._users = Users(self._known.values())
        self.version += 1

    def find(self, credentials: Any) -> Known | None:  # noqa: ANN401  any that it takes
        """Give the user whom the credentials name."""
        self._answer()
        return self._users.find(credentials)

    def users(self, names: Iterable[bytes]) -> dict[bytes, Known]:
        """Give those of the names that are known."""
        self._answer()
        return self._users.among(names)

    def _answer(self) -> None:
        if not self.up:
            text = "the directory of the test is down"
            raise OperatorError(text)


@implementer(ICredentialsChecker)
class Slow:
    """A source of users that takes its time, as a database does."""

    def __init__(self, users: Source, clock: Any, seconds: float) -> None:  # noqa: ANN401  a test's clock
        """Give the answers of ``users`` so many seconds late."""
        self.credentialInterfaces = users.credentialInterfaces
        self._users = users
        self._clock = clock
        self._seconds = seconds

    def requestAvatarId(self, credentials: ICredentials) -> Deferred[Any]:
        """Give the user of the credentials, later."""
        return deferLater(self._clock, self._seconds, self._users.requestAvatarId, credentials)


def streams() -> dict[str, Any]:
    """Give the protocols of one connection, one session: what a ``Peer`` can talk to."""
    return {name: plugin for name, plugin in protocols().items() if isinstance(plugin, StreamProtocol)}


class MemoryBroker:
    """A broker on a test's reactor, with one listener for each stream protocol that is installed.

    ``users`` are names and secrets, each with ``grants`` or, without any, all rights, and perhaps ``allowances``; they
    can be changed in ``source``.  ``settings`` are keys of a ``[[listen]]`` table, by protocol.  Logins are decided at
    once, or after so many seconds of ``thinking``.  ``sources`` are asked after the users, those of ``auth`` last.
    A ``reactor`` is given where sources need its clock, or time is not to begin at 0.  ``keep`` are the ``[[keep]]``
    tables; what is kept is in memory.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, str] = USERS,
        grants: Mapping[str, Grants] | None = None,
        allowances: Mapping[str, Allowance] | None = None,
        settings: Mapping[str, Mapping[str, object]] | None = None,
        auth: tuple[str, ...] = (),
        plugins: Mapping[str, Any] | None = None,
        thinking: float | None = None,
        sources: Iterable[Any] = (),
        reactor: MemoryReactorClock | None = None,
        keep: Iterable[Mapping[str, object]] = (),
    ) -> None:
        """Build and start it."""
        self.reactor = MemoryReactorClock() if reactor is None else reactor
        self.plugins = dict(streams() if plugins is None else plugins)
        self.users = dict(users)
        listen = [
            {"protocol": name, "endpoint": f"tcp:port={5000 + i}:interface=127.0.0.1", **(settings or {}).get(name, {})}
            for i, name in enumerate(self.plugins)
        ]
        config: Config = structure({"listen": listen, "auth": list(auth), "keep": list(keep)}, self.plugins, "test")
        self.source = Directory(users, grants or {}, allowances or {})
        checker = self.source if thinking is None else Slow(self.source, self.reactor, thinking)
        self.broker: Broker = make_broker(config, self.reactor, [checker, *sources], self.plugins)
        self.broker.privilegedStartService()
        self.broker.startService()

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass, and do what is due."""
        self.reactor.advance(seconds)

    def connect(self, protocol: str, address: str = ADDRESS) -> Peer:
        """Connect raw bytes to the listener of a protocol; raise ``ConnectionRefusedError`` where it closes at once."""
        listener = self.broker.listener(protocol)
        if listener.turns_away(address):
            text = f"{protocol} closes connections from {address}"
            raise ConnectionRefusedError(text)
        return Peer(self, listener.factory.buildProtocol(None), address)

    def client(self, protocol: str, name: str = "ann") -> Client:
        """Connect a client that speaks the protocol, and log it in as one of the users."""
        return Client(self.connect(protocol), self.plugins[protocol].caller(name, self.users.get(name, "")))

    def local(self, name: str = "local") -> BrokerClient:
        """Give an in-process client with all rights."""
        return self.broker.client(name)
