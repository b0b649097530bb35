"""Any stream connection: chunk in, runs and commands out to a table of methods, one write for each outbox.

This is the only superclass that a stream protocol has.  It pulls from its wire: first a run of well-spelled
publishes, then one other item, and so on until the wire has nothing more.  It stops pulling while a login is being
decided and after a fatal error, so nothing behind those is ever parsed; what arrives meanwhile is held as bytes, with
reading paused.

A protocol gives ``make_wire``, the ``commands`` table (type of item → name of method) and the few methods below that
are marked as its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from twisted.cred.credentials import Anonymous, ICredentials
from twisted.cred.error import LoginFailed as NotAccepted
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger

from brokerkit.errors import (
    ClientError,
    LoginFailed,
    NotAllowed,
    OverAllowance,
    ProtocolViolation,
    TenantFull,
    Throttled,
    TooManyConnections,
    TooSlow,
    TryAgain,
)
from brokerkit.notation import shown
from brokerkit.outbox import Outbox
from brokerkit.pacing import Pace
from brokerkit.realm import Mind
from brokerkit.resting import SHORT, Rest
from brokerkit.run import Spoken
from brokerkit.securing import Securing
from brokerkit.tls import NoName, failed_handshake, peer_names
from brokerkit.topics import beneath, is_pattern, under
from brokerkit.turn import SMALL
from brokerkit.unfinished import Unfinished

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from brokerkit.allowance import Meter
    from brokerkit.client import Client
    from brokerkit.framing import Framing
    from brokerkit.listener import Listener
    from brokerkit.run import Batch, Message, Run
    from brokerkit.securing import Terms
    from brokerkit.subscription import Subscription
    from brokerkit.tally import Teller

log = Logger()

PAUSE = 1.0  # seconds that a login waits for its answer where too many have failed: clients try again at once
LOGGED = 400  # characters of an answer in the log
LINGER = 1.0  # seconds for the peer to read its last words before the connection is cut


@attrs.frozen
class Settings:
    """What every stream listener can be told; a protocol subclasses it for its own.  Bytes and seconds."""

    max_connections: int = 65536
    max_connections_per_address: int = 16384
    max_subscriptions: int = 65536
    outbox_limit: int = 64 * 1024 * 1024
    outbox_deadline: float = 10.0
    login_timeout: float = 10.0
    frame_timeout: float = 60.0
    keepalive: int = attrs.field(default=10, validator=attrs.validators.le(32767))  # the most that Linux takes
    lame_duck_duration: float = 120.0
    lame_duck_grace_period: float = 10.0


class Session(Protocol):
    """One connection.  ``client`` is there after the login and only then."""

    settings: ClassVar[type[Settings]] = Settings
    commands: ClassVar[dict[type, str]] = {}

    def __init__(self, listener: Listener) -> None:
        """Belong to a listener; nothing happens before the connection is made."""
        self.listener = listener
        self.wire: Any = None
        self.client: Client | None = None
        self.outbox: Outbox  # set when the connection is made
        self.peer = ""
        self.host = ""  # the peer's address, empty where it has none
        self.needs_login = True  # whether a peer must log in in time
        self.eager = True  # whether publishes may be taken in runs
        self.heard = True  # whether anything has come since somebody looked
        self.prelude = False  # whether something has to be agreed upon first: what does so then calls the session
        self.received = 0  # bytes
        self.messages = 0  # that it has published
        self.cid = 0  # its number among all connections of the broker
        self.started = self.heard_at = 0.0  # seconds since 1970
        self.rtt = 0.0  # seconds that a question to the peer took last, 0 while that is not known
        self.stalls = 0  # times that it was made to wait, because of slow readers or its own rate
        self.cause: object = None  # what ends it: an error, or one word
        self.teller: Teller | None = None  # what counts by name, if somebody wants to know
        self._turn = listener.broker.turn
        self._counts = listener.counts
        self._asking = False
        self._deciding = False
        self._pace: Pace | None = None  # made when first needed
        self._rest = Rest(listener.clock, self._ahead, self._release)
        self._closing = False
        self._gone = False
        self._told = False
        self._inside = False  # whether it counts among the connections that there may be
        timeout = listener.settings.frame_timeout
        self._unfinished = Unfinished(listener.clock, timeout, lambda: self.held, self._too_slow)
        self._postponed: object | None = None
        self._credentials: ICredentials | None = None
        self._timer: IDelayedCall | None = None

    # -- a protocol's own -------------------------------------------------------------------------------------------

    @classmethod
    def prepare(cls, listener: Listener) -> Any:  # noqa: ANN401, ARG003  the protocol's own business
        """Make what all sessions of one listener share (``listener.shared``)."""
        return None

    @classmethod
    def terms(cls, listener: Listener, served: Any) -> Terms | None:  # noqa: ANN401, ARG003  what makes TLS, or None
        """Say how TLS begins where it is not beneath the whole connection; ``served`` is ``None`` without TLS.

        Raises ``ConfigError`` for settings that cannot be meant.
        """
        return None

    @classmethod
    def make(cls, listener: Listener) -> Protocol:
        """Give what a new connection begins with: a session, or something that stands before one."""
        session = cls(listener)
        return session if listener.terms is None else Securing(session, listener.terms, listener.layers)

    def make_wire(self) -> Any:  # noqa: ANN401  any object with feed, scan, next, settle and drop
        """Give this connection's wire."""
        raise NotImplementedError

    def greet(self) -> None:
        """Say the first words, if the protocol has the broker speak first."""

    def welcome(self) -> None:
        """Do what follows a login."""

    def unwelcome(self, credentials: ICredentials) -> ClientError:  # noqa: ARG002
        """Give the error that answers refused credentials."""
        return LoginFailed("login refused")

    def undecided(self) -> ClientError:
        """Give the error that answers credentials about which nothing can be said now."""
        return LoginFailed("try again later")

    def sent_away(self, why: str) -> ClientError:
        """Give the last words to a user who may no longer be here: ``revoked``, ``expired`` or ``kicked``."""
        return LoginFailed(f"login {why}")

    def lost(self, subscription: Subscription) -> None:
        """Tell the peer that a subscription has ended, because the right to it has."""
        name = beneath(self.listener.prefix, subscription.pattern)
        self.refuse(NotAllowed(f"you may no longer subscribe to {name!r}", fatal=False))

    def too_late(self) -> ClientError:
        """Give the error that answers a peer which did not log in in time."""
        return LoginFailed("login timed out")

    def too_many(self) -> ClientError:
        """Give the error that answers one connection too many."""
        return ClientError("too many connections")

    def introduced(self) -> tuple[str, str, str]:
        """Give what the peer says of its program: the connection's name, the language, the version of its library."""
        return "", "", ""

    def claimed(self) -> str:
        """Give the name that the peer wants to log in by, as far as one is known; never a secret."""
        return ""

    def tenant_full(self) -> ClientError:
        """Give the error that answers one connection too many of a tenant."""
        return self.too_many()

    def too_slow(self) -> ClientError:
        """Give the error that answers a frame which was begun and does not get on."""
        return TooSlow("too slow")

    def will_go(self) -> None:
        """Tell the peer, if the protocol has words for it, that the broker leaves soon: it had better go elsewhere."""

    def spell(self, error: ClientError) -> bytes:  # noqa: ARG002
        """Give the bytes that answer an error; empty for silence."""
        return b""

    def may_not(self, batch: Batch) -> bool:
        """Answer a publish that is not allowed; say whether what follows it is still published."""
        topic = beneath(self.listener.prefix, batch.topic)
        self.refuse(NotAllowed(f"you may not publish to {topic!r}", fatal=False))
        return True

    # -- from Twisted -----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Begin."""
        listener = self.listener
        self.cid = listener.broker.census.number()
        self.started = self.heard_at = listener.seconds()
        transport: Any = self.transport
        peer = transport.getPeer()
        self.peer = f"{listener.protocol} {_address(peer)}"
        self.host = getattr(peer, "host", "")
        self._direct = isinstance(transport, Connection) and not transport.TLS
        self._make_room: Callable[[int], None] = getattr(transport, "make_room", _unheeded)
        self.outbox = Outbox(
            transport,
            self._turn,
            listener.clock,
            listener.limits,
            self._stopped,
            peer=self.peer,
            direct=self._direct,
        )
        self.wire = self.make_wire()
        self._inside = listener.opened(self)
        if not self.prelude:
            self.speak()
            self.expect()

    def speak(self) -> None:
        """Say the first words; whoever is one too many is told so then."""
        with self._turn:
            self.greet()
            if not self._inside:
                self._told = not self.listener.entrance.seldom.may_say(self.host)
                self.refuse(self.too_many())

    def expect(self) -> None:
        """Wait for the peer's words from now on: nothing more has to be agreed upon before."""
        if self.needs_login and self.client is None and not self._closing:
            timeout = self.listener.settings.login_timeout
            self._timer = self.listener.clock.callLater(timeout, self._late)

    def move(self, transport: Any) -> bool:  # noqa: ANN401  any transport
        """Go on upon another transport; say whether that is possible: nothing of what was said may be unsent."""
        if self._closing:
            return False
        if self.outbox.pending:
            self.disagree("tls", "it has not read what was said before")
            return False
        self.transport = transport
        self._direct = False
        self.outbox.move(transport)
        return True

    def come_from(self, host: str) -> None:
        """Take this for the peer's address: a proxy that is trusted has said so."""
        if self._inside:
            self.listener.entrance.leave(self.host)
            self._inside = self.listener.entrance.enter(host)
        self.peer = self.outbox.peer = f"{self.listener.protocol} {host} by {self.host}"
        self.host = host

    def disagree(self, what: str, problem: str) -> None:
        """Hang up without a word, since ``what`` has to come before the first one (``tls``) came to nothing."""
        if not self._closing:
            self._not_agreed(what, problem)
            self.close()

    def _not_agreed(self, what: str, problem: str) -> None:
        self.cause = self.cause or what
        self._counts.error(what)
        if not self._told:
            self._told = True
            log.info("{peer}: {what}: {problem}", peer=self.peer, what=what, problem=problem)

    def dataReceived(self, chunk: bytes) -> None:
        """Parse and do what has come in, and write what that caused."""
        size = len(chunk)
        self._counts.bytes_in += size
        self.received += size
        if self._closing:
            return
        self.heard = True
        self.heard_at = self.listener.seconds()
        turn, wire = self._turn, self.wire
        turn.depth += 1  # what `with turn:` does, at a third of the price: this is the message path
        try:
            wire.feed(chunk)
            self._advance()
            if wire.chunk:
                self._unfinished.grow(size, len(wire))
                self._make_room(wire.need)
            elif self._unfinished.size:
                self._unfinished.size = 0
                self._make_room(0)
        finally:
            turn.leave(small=size <= SMALL)
        if turn.congested and not turn.depth:
            self._wait_for(turn.congested)
        client = self.client
        if client is not None and client.meter is not None:
            self._slow_down(client.meter)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End: the subscriptions go, and nothing that is under way comes back."""
        if not self._told and (problem := failed_handshake(reason)):
            self._not_agreed("tls", problem)
        self.cause = self.cause or ("closed" if reason.check(ConnectionDone) else "lost")
        self._gone = self._closing = True
        self._stop_timer()
        self._stop_waiting()
        self._unfinished.stop()
        self.outbox.forget()
        self.wire.drop()
        self.listener.closed(self, inside=self._inside)
        self._turn.after(self._leave)

    # -- pulling ----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Pull from the wire until it has nothing more, or nothing more may be read."""
        wire = self.wire
        try:
            while not (self._deciding or self._closing):
                if self.eager and self.client is not None and self._postponed is None:
                    run = wire.scan()
                    if run is not None:
                        self.publish(run)
                        if wire.pos == len(wire.chunk):
                            break
                        continue
                item, self._postponed = self._postponed, None
                if item is None and (item := wire.next()) is None:
                    break
                self._obey(item)
        except ClientError as error:
            self.refuse(error)
        except Exception:
            log.failure("{peer}: dropped because of a bug", peer=self.peer)
            self.cause = "bug"
            self._counts.error("bug")
            self.drop()
        wire.settle()

    def _obey(self, item: object) -> None:
        """Do one command; what follows it is read also when it is refused, unless the error is fatal."""
        try:
            getattr(self, self.commands[item.__class__])(item)
        except ClientError as error:
            self.refuse(error)

    def publish(self, run: Run) -> None:
        """Publish a run, of the wire's own or not."""
        client: Any = self.client
        try:
            count = client.deliver(run)
            self._counts.messages_in += count  # what `_passed` does, without the call: this is the message path
            self.messages += count
            if self.teller is not None:
                self.teller.published(run, count)
        except OverAllowance as error:
            self._passed(run, error.passed)
            raise
        finally:
            run.clear()

    def _passed(self, run: Run, count: int) -> None:
        """Count the first messages of a run: those that were let through."""
        self._counts.messages_in += count
        self.messages += count
        if self.teller is not None:
            self.teller.published(run, count)

    def postpone(self, item: object) -> None:
        """Take ``item`` again when the login that is being decided is done."""
        self._postponed = item

    # -- in the broker's own words: for protocols that do not prescribe others -----------------------------------------

    def logged_in(self) -> Client:
        """Give the client; raise ``LoginFailed`` where there is none yet."""
        if self.client is None:
            raise LoginFailed("log in first")
        return self.client

    def say(self, message: Message) -> None:
        """Publish one message, its names being this listener's; raise ``LoginFailed`` before the login."""
        self.logged_in()
        prefix = self.listener.prefix
        reply = under(prefix, message.reply) if message.reply else b""
        self.publish(Spoken([message._replace(topic=under(prefix, message.topic), reply=reply)]))

    def subscribe(self, name: bytes, framing: Framing, *, tag: bytes = b"", literal: bool = False) -> Subscription:
        """Subscribe this connection to a name of this listener's: a pattern, unless it is said to be ``literal``.

        Raises the ``ClientError`` that answers it: not logged in, not a pattern, one too many, not allowed.
        """
        client = self.logged_in()
        if not (literal or is_pattern(name)):
            raise ProtocolViolation(f"{name!r} is not a pattern", fatal=False)
        if len(client.subscriptions) >= self.listener.settings.max_subscriptions:
            raise NotAllowed("too many subscriptions", fatal=False)
        try:
            return client.subscribe(under(self.listener.prefix, name), framing=framing, tag=tag, literal=literal)
        except NotAllowed:
            raise NotAllowed(f"you may not subscribe to {name!r}", fatal=False) from None

    # -- logging in -------------------------------------------------------------------------------------------------

    def certified(self) -> bytes:
        """Give the name in the peer's certificate; empty if it has shown none, or if the listener reads no names.

        Raises the ``ClientError`` that answers a certificate which does not name exactly one user.
        """
        return next(iter(self.certified_names()), b"")

    def certified_names(self) -> tuple[bytes, ...]:
        """Give all names in the peer's certificate, where several may count, the first to be tried first."""
        try:
            return peer_names(self.transport, self.listener.naming)
        except NoName as error:
            if not self._told:
                self._told = True
                log.info("{peer}: login: its certificate has {why}", peer=self.peer, why=error)
            self._counts.logins_refused += 1
            raise self.unwelcome(Anonymous()) from None

    def login(self, credentials: ICredentials) -> None:
        """Ask the portal.  Nothing more is parsed before it has answered."""
        self._deciding = self._asking = True
        self._credentials = credentials
        listener = self.listener
        mind = Mind(self.outbox, address=self.host, protocol=listener.protocol, tenant=listener.listen.tenant)
        decision = listener.broker.login(credentials, mind)
        decision.addCallbacks(self._let_in, self._turn_away)
        decision.addErrback(self._failed)
        self._asking = False
        if self._deciding and not self._closing:
            self._hold()

    def _let_in(self, client: Client) -> None:
        if self._closing:
            client.leave()
            return
        former, self.client = self.client, client
        self._stop_timer()
        self.outbox.peer = f"{self.peer} ({shown(client.user.name)})"
        client.bar(self.listener.barred)
        client.gate.refused = self._refused
        client.ended = self._sent_away
        client.lost = self.lost
        client.rtt = self.rtt
        if former is not None:
            client.take_over(former)
            former.leave()
        self._counts.logins += 1
        self.listener.broker.census.logged_in(self)
        self._decided(self.welcome)

    def _turn_away(self, failure: Failure) -> None:
        if self._closing:
            return
        if failure.check(Throttled):
            self._stop_timer()
            self._timer = self.listener.clock.callLater(PAUSE, self._refuse_late, failure)
        else:
            self._refuse_login(failure)

    def _refuse_late(self, failure: Failure) -> None:
        self._timer = None
        self._refuse_login(failure)

    def _refuse_login(self, failure: Failure) -> None:
        if not failure.check(NotAccepted):
            log.failure("{peer}: the users cannot be asked", failure, peer=self.peer)
        self._counts.logins_refused += 1
        error = self._answer(failure)
        self._decided(lambda: self.refuse(error))

    def _answer(self, failure: Failure) -> ClientError:
        """Give the protocol's own words for a login that did not come about."""
        if failure.check(TenantFull):
            return self.tenant_full()
        if failure.check(TooManyConnections):
            return self.too_many()
        if failure.check(TryAgain) or not failure.check(NotAccepted):
            error = self.undecided()
            error.why = getattr(failure.value, "why", TryAgain.why)
            return error
        error = self.unwelcome(self._credentials or Anonymous())
        if why := getattr(failure.value, "why", ""):
            error.why = f"{error.why or error.reply}: {why}"
        return error

    def _sent_away(self, why: str) -> None:
        """Hear that the user may no longer be here."""
        self.cause = why
        error = self.sent_away(why)
        if self.client is not None:
            error.why = f"{shown(self.client.user.name)} is sent away: {why}"
        self.refuse(error)
        self.close()

    def _failed(self, failure: Failure) -> None:
        log.failure("{peer}: dropped because of a bug", failure, peer=self.peer)
        self.drop()

    def _decided(self, then: Callable[[], None]) -> None:
        """Go on with what was held; at once if the decision came while it was being asked for."""
        self._credentials = None
        if self._asking:
            self._deciding = False
            then()
            return
        with self._turn:
            self._deciding = False
            then()
            self._advance()
        self._release()

    def _late(self) -> None:
        self._timer = None
        with self._turn:
            self.refuse(self.too_late())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refused(self, batch: Batch) -> bool:
        return self.may_not(batch) and not self._closing

    # -- holding and pacing -----------------------------------------------------------------------------------------

    def _hold(self) -> None:
        self._unfinished.excuse()
        self.transport.pauseProducing()  # type: ignore[union-attr]

    def _release(self) -> None:
        if not (self.held or self._gone):
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def _stop_waiting(self) -> None:
        if self._pace is not None:
            self._pace.stop()
        self._rest.stop()

    def _slow_down(self, meter: Meter) -> None:
        """Read no more for as long as what was published is ahead of the user's rate."""
        seconds = meter.wait(self.listener.clock.seconds())
        if seconds > SHORT and not (self._rest.resting or self._gone or self._closing):
            self._counts.paced += 1
            self.stalls += 1
            self._hold()
            self._rest.begin(seconds)

    def _ahead(self) -> float:
        """Give the seconds that what was published is ahead of the rate which the user has now."""
        client = self.client
        meter = client.meter if client is not None and not self._closing else None
        return meter.wait(self.listener.clock.seconds()) if meter is not None else 0.0

    def _too_slow(self) -> None:
        """Hang up on a peer whose frame does not get on."""
        if not self._closing:
            with self._turn:
                self.refuse(self.too_slow())
                self.close()

    @property
    def closing(self) -> bool:
        """Whether it is being hung up on, or is gone: nothing more is read."""
        return self._closing

    @property
    def unread(self) -> int:
        """Bytes that have come in and are not yet parsed."""
        return len(self.wire)

    @property
    def held(self) -> bool:
        """Whether nothing is read from this peer now: it is made to wait, so it cannot be heard either."""
        return self._deciding or self._rest.resting or (self._pace is not None and self._pace.waiting)

    def _wait_for(self, congested: list[Outbox]) -> None:
        """Read no more until the outboxes that this chunk filled have drained, or the time is up."""
        if self._gone or self.client is None or (self._pace is not None and self._pace.waiting):
            return
        if self._pace is None:
            self._pace = Pace(self.listener.clock, self._release)
        self._counts.paced += 1
        self.stalls += 1
        self._hold()
        self._pace.wait_for(congested)

    # -- ending -----------------------------------------------------------------------------------------------------

    def refuse(self, error: ClientError) -> None:
        """Answer an error, count it, say it once in the log, and hang up if it is fatal."""
        if self._closing:
            return
        self._counts.error(error.kind)
        if not self._told:
            self._told = True
            why = _for_the_log(error.why or error.reply)
            log.info("{peer}: {kind}: {why}", peer=self.peer, kind=error.kind, why=why)
        answer = self.spell(error)
        if answer:
            self.outbox.put(answer)
        if error.fatal:
            self.close(error)

    def close(self, cause: object = None) -> None:
        """Hang up when what is queued has been written; read nothing more.  ``cause`` is an error, or one word."""
        if self._closing:
            return
        self._closing = True
        self.cause = self.cause or cause
        self._stop_timer()
        self.listener.broker.census.leave(self)
        self.wire.drop()
        self._leave()
        self.outbox.finish()
        if self.client is None and not self.outbox.closed:
            # A stranger that reads nothing, or never agrees on TLS, is not waited for as a slow reader would be.
            self._timer = self.listener.clock.callLater(LINGER, self._cut)

    def drop(self) -> None:
        """Cut the connection at once."""
        self._closing = True
        self._stop_timer()
        self.outbox.forget()
        self.transport.abortConnection()  # type: ignore[union-attr]

    def _stopped(self, why: str) -> None:
        """Hear from the outbox that it has been written out, or has given the reader up."""
        if self._gone:
            return
        if why != "finished":
            self.cause = self.cause or why
            self._counts.slow(why)
            self.drop()
        elif self._direct:
            self._linger()
        else:
            self._stop_timer()
            # TLS says goodbye and waits for the peer to do so too, which it need not do.
            self._timer = self.listener.clock.callLater(LINGER, self._cut)
            self.transport.loseConnection()  # type: ignore[union-attr]

    def _linger(self) -> None:
        """Say that nothing more comes, and let the peer read it: closing over unread input would be a reset."""
        self._stop_timer()
        self.transport.loseWriteConnection()  # type: ignore[union-attr]
        self._timer = self.listener.clock.callLater(LINGER, self._cut)
        self._deciding = False
        self._stop_waiting()
        self._release()

    def _cut(self) -> None:
        self._timer = None
        self.transport.abortConnection()  # type: ignore[union-attr]

    def _leave(self) -> None:
        if self.client is not None:
            self.client.leave()


def _unheeded(size: int) -> None:
    """Tell nobody how large the frame is: the transport reads as it likes."""


def _for_the_log(reply: str | None) -> str:
    """Give an answer as one short line: a peer's own words may be in it, which could be made for a terminal."""
    line = shown((reply or "").encode(errors="surrogateescape"))
    return line if len(line) <= LOGGED else f"{line[:LOGGED]}..."


def _address(address: Any) -> str:  # noqa: ANN401  whatever a transport calls its peer
    host = getattr(address, "host", None)
    return f"{host}:{address.port}" if host is not None else str(address)
