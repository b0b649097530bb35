"""One endpoint of one stream protocol: it listens, makes sessions, counts, and closes what it opened.

The counts are plain integers that sessions add to and the metrics page reads.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Port
from twisted.logger import Logger

from brokerkit.departure import Departure
from brokerkit.endpoints import opening, said, tune
from brokerkit.entrance import BOTH, Entrance, barred, read_networks
from brokerkit.errors import ConfigError, Words
from brokerkit.listening import Listening
from brokerkit.outbox import Limits
from brokerkit.securing import Layers
from brokerkit.tls import clients

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress, IListeningPort

    from brokerkit.broker import Broker
    from brokerkit.config import Listen
    from brokerkit.session import Session, Settings

log = Logger()

GRACE = 2.0  # seconds that connections get to take their last bytes when the listener stops


@attrs.define
class Counts:
    """What has happened at one listener since the start; ``errors`` and ``slow`` by a fixed few words."""

    accepted: int = 0
    logins: int = 0
    logins_refused: int = 0
    messages_in: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    paced: int = 0
    errors: Counter[str] = attrs.field(factory=Counter)
    slow_readers: Counter[str] = attrs.field(factory=Counter)

    def error(self, kind: str) -> None:
        """Count something that a peer did wrong."""
        self.errors[kind] += 1

    def slow(self, why: str) -> None:
        """Count a reader that was given up."""
        self.slow_readers[why] += 1


class Listener(Listening):
    """Listens as a ``Listen`` says and makes a ``session`` for each connection.

    ``shared`` is whatever the sessions of this listener have in common (``Session.prepare``).
    """

    def __init__(self, broker: Broker, listen: Listen, session: type[Session], settings: Settings) -> None:
        """Take what to listen for; nothing is opened before the service starts."""
        self.broker = broker
        self.clock: Any = broker.reactor
        self.seconds: Callable[[], float] = broker.reactor.seconds
        self.protocol = listen.protocol
        self.listen = listen
        self.settings = settings
        self.prefix = listen.topic_prefix.encode()
        self.limits = Limits(settings.outbox_limit, settings.outbox_deadline)
        self.counts = Counts()
        mode, networks = self._said()
        self.barred = barred(mode, listen.protocol)
        self.entrance = Entrance(
            listen.protocol,
            read_networks(networks, listen.protocol),
            settings.max_connections,
            settings.max_connections_per_address,
            broker.reactor,
        )
        self.sessions: set[Session] = set()
        self.factory = SessionFactory(self, session)
        self.shared = session.prepare(self)
        self._waiting: list[Deferred[None]] = []  # for the last connection to be gone
        self._departure: Departure | None = None
        asked = clients(listen)
        self.asks_certificates = asked is not None and asked.required
        self.naming = asked.naming if asked is not None else None
        found = opening(listen.endpoint, broker.reactor, listen.protocol, asked, broker.renewal)
        self.served = found.served  # what makes TLS, if there is TLS
        self.is_tls = found.served is not None
        self.terms = session.terms(self, found.served)
        self.layers: Any = None if self.terms is None else Layers(self, self.terms)
        self._endpoint = found.whole if self.terms is None else found.below

    def become(self, listen: Listen, settings: Settings) -> None:
        """Go on as another ``Listen`` says: what begins from now on follows it, and the port stays open.

        Where it listens has to be the same; a certificate may be in other files only where TLS begins in the midst of
        a connection.  Raises ``ConfigError``, and changes nothing, for what cannot be.
        """
        fresh = type(self)(self.broker, listen, self.factory.session, settings)
        if fresh.terms is None and (self.is_tls or fresh.is_tls) and listen.endpoint != self.listen.endpoint:
            raise ConfigError(self.protocol, "endpoint", Words("other files of TLS"), "those that it was opened with")
        for name in ("listen", "settings", "limits", "barred", "shared", "asks_certificates", "naming", "is_tls"):
            setattr(self, name, getattr(fresh, name))
        self.terms = fresh.terms
        self.layers = None if self.terms is None else Layers(self, self.terms)
        self.entrance.bound(settings.max_connections, settings.max_connections_per_address)

    def _said(self) -> tuple[str, tuple[str, ...]]:
        """Give mode and networks, which stand in the endpoint or beside it, but not in both."""
        listen, here = self.listen, said(self.listen.endpoint, self.protocol)
        for key, found, usual in (("mode", here.mode, BOTH), ("networks", here.networks, ())):
            if found and getattr(listen, key) != usual:
                raise ConfigError(self.protocol, key, getattr(listen, key), "it once, here or in the endpoint")
        return here.mode or listen.mode, here.networks or listen.networks

    @property
    def bytes_out(self) -> int:
        """Bytes written to all connections there have been."""
        return self.counts.bytes_out + sum(s.outbox.sent for s in self.sessions)

    def begin(self) -> tuple[Any, str]:
        """Begin to listen at the endpoint."""
        return self._endpoint.listen(self.factory), self.listen.endpoint

    def opened_port(self, port: IListeningPort) -> None:
        """Have its connections kept alive, read together and looked at when they come; and say where it listens."""
        if isinstance(port, Port):
            port.factory = AtTheDoor(self, port.factory)  # type: ignore[assignment]
        tune(port, self.settings.keepalive)
        self.broker.reading.take_over(port)
        log.info("{protocol} listening on {address}", protocol=self.protocol, address=self.address)

    def turns_away(self, host: str) -> bool:
        """Say whether to close a connection from there at once; empty where there are no addresses."""
        return self.entrance.turns_away(host, len(self.sessions) - self.entrance.inside)

    def opened(self, session: Session) -> bool:
        """Take note of a connection; say whether there is room for it."""
        self.counts.accepted += 1
        self.sessions.add(session)
        self.broker.census.enter(session)
        return self.entrance.enter(session.host)

    def closed(self, session: Session, *, inside: bool) -> None:
        """Take note of the end of a connection, one that there was room for or not."""
        if session in self.sessions:
            self.sessions.discard(session)
            self.counts.bytes_out += session.outbox.sent
            self.broker.census.leave(session)
            if inside:
                self.entrance.leave(session.host)
        if self._waiting and not self.sessions:
            waiting, self._waiting = self._waiting, []
            for emptied in waiting:
                emptied.callback(None)

    def stopService(self) -> Deferred[None]:
        """Listen no more, let every connection take its last bytes, then cut it; done when all are gone."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.shut()
        if self._departure is not None:
            self._departure.stop()
        if not self.sessions:
            return
        with self.broker.turn:
            for session in list(self.sessions):
                session.close("shutdown")
        alarm = self.clock.callLater(GRACE, self._cut)
        await self._emptied()
        if alarm.active():
            alarm.cancel()

    def lame_duck(self, duration: float | None = None, grace: float | None = None) -> Deferred[None]:
        """Listen no more, and close the connections one by one over ``duration`` seconds; done when all are gone.

        For the first ``grace`` seconds of those they are only told, if their protocol has words for it.  Without times
        they are those of the settings.  Asked for again, it goes on as it was.
        """
        settings = self.settings
        duration = settings.lame_duck_duration if duration is None else duration
        grace = settings.lame_duck_grace_period if grace is None else grace
        return Deferred.fromCoroutine(self._depart(duration, grace))

    async def _depart(self, duration: float, grace: float) -> None:
        await self.shut()
        if self._departure is None:
            log.info("{protocol}: lame duck mode: no new connections", protocol=self.protocol)
            self.broker.census.will_go()
            self._departure = Departure(self, duration, grace)
            self._departure.begin()
        if self.sessions:
            await self._emptied()
        self._departure.stop()

    def _emptied(self) -> Deferred[None]:
        """Give what is done when the last connection is gone."""
        emptied = Deferred[None]()
        self._waiting.append(emptied)
        return emptied

    def _cut(self) -> None:
        for session in list(self.sessions):
            session.drop()


class AtTheDoor:
    """The factory of a port, before which it is decided who is closed at once; also where TLS stands between."""

    def __init__(self, listener: Listener, factory: Any) -> None:  # noqa: ANN401  any factory
        """Stand before that factory."""
        self._listener = listener
        self._factory = factory

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever a factory has
        """Give what the factory has."""
        return getattr(self._factory, name)

    def buildProtocol(self, addr: IAddress | None) -> Any:  # noqa: ANN401  whatever the factory makes
        """Give the protocol of a new connection, or nothing, and it is closed."""
        if self._listener.turns_away(getattr(addr, "host", "")):
            return None
        return self._factory.buildProtocol(addr)


class SessionFactory(Factory):
    """What Twisted asks for a protocol."""

    noisy = False

    def __init__(self, listener: Listener, session: type[Session]) -> None:
        """Make sessions of that class, belonging to that listener."""
        self._listener = listener
        self.session = session

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002
        """Give the session of a new connection, or what stands before it."""
        return self.session.make(self._listener)
