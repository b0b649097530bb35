"""A conversation with a broker over a socket: a caller without I/O gets its bytes, and what it hears is waited for.

Whoever waits is woken while the bytes are taken in, and has used up what came before more is read: nothing piles up.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.protocol import Protocol

from brokerkit.cli.trust import Trust
from brokerkit.errors import BrokerError, ClientError
from brokerkit.plugin import protocols
from brokerkit.tls import failed_handshake

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from brokerkit.cli.talk import Server
    from brokerkit.run import Message

CONNECT_TIMEOUT = 5  # seconds
SILENCE = 1.0  # seconds: who has not spoken by then waits for TLS to begin, and cuts the connection after two
GREETING_TIMEOUT = 10  # seconds until a broker has said so much that one can log in


class Unreachable(BrokerError):
    """There is nobody at that address."""


class Untrusted(Unreachable):
    """Whoever is there has not shown a certificate that counts."""


class Refused(BrokerError):
    """The broker said no, or hung up."""


class HungUp(Refused):
    """The broker hung up without a word."""


class TimedOut(BrokerError):
    """It took too long."""


class Interrupted(BrokerError):
    """A signal came before it was done."""


class Talk(Protocol):
    """One connection; every way it can end is an exception in whoever waits."""

    def __init__(self, caller: Any, upgrade: Upgrade | None = None) -> None:  # noqa: ANN401  an ICaller
        """Speak by that caller; ``upgrade`` begins TLS where the protocol has it begin later."""
        self.caller = caller
        self._upgrade = upgrade
        self._messages: deque[Message] = deque()
        self._waiting: Deferred[None] | None = None
        self._problem: BrokerError | None = None
        self._leaving = False
        self._lost = False

    def connectionMade(self) -> None:
        """Say the first words, if the client has them."""
        if self._upgrade is not None:
            self._upgrade.begin(self.transport, self.caller)
        self.dataReceived(b"")

    def dataReceived(self, chunk: bytes) -> None:
        """Hear."""
        try:
            messages, answer = self.caller.receive(chunk)
            if self._upgrade is not None:
                answer += self._upgrade.answer()
        except ClientError as error:
            self._end(Refused(str(error) or "what it says is not the protocol"))
            return
        except Unreachable as error:
            self._end(error)
            return
        self._messages += messages
        if answer:
            self.send(answer)
        self._wake()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """End; it was in order only if this side left first and the broker then closed, as it does when all is read."""
        self._lost = True
        if self._upgrade is not None:
            self._upgrade.stop()
        self._end(None if self._leaving and reason.check(ConnectionDone) else _ending(reason))

    def _end(self, problem: BrokerError | None) -> None:
        self._problem = self._problem or problem
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is so; raise what went wrong."""
        while not true():
            if self._problem is not None:
                raise self._problem
            self._waiting = Deferred()
            await self._waiting

    def send(self, data: bytes) -> None:
        """Say."""
        self.transport.write(data)  # type: ignore[union-attr]

    async def message(self) -> Message:
        """Wait for the next message."""
        await self.until(lambda: bool(self._messages))
        return self._messages.popleft()

    async def settle(self) -> None:
        """Wait until the broker has done all that was said so far, or raise what it refused.

        Where the protocol has no sign of life to ask for, this side hangs up and waits for the broker to do the same:
        it does so when it has read everything.
        """
        question = self.caller.settle()
        if question:
            self.send(question)
            await self.until(self.caller.settled)
        else:
            self._leaving = True
            self._say_goodbye()
            await self.until(lambda: self._lost)
        if self._problem is not None:
            raise self._problem

    def _say_goodbye(self) -> None:
        transport: Any = self.transport
        if hasattr(transport, "getPeerCertificate"):
            transport.loseConnection()  # TLS goes on reading until the other side has said goodbye too
        else:
            transport.loseWriteConnection()


class Upgrade:
    """TLS that begins when the broker has said that it has it; at once if it is silent, as one is that wants TLS first.

    A login is never sent without TLS where TLS is wanted, by whichever side.
    """

    def __init__(self, reactor: Any, server: Server) -> None:  # noqa: ANN401  any reactor
        """Trust whom the server is told to trust, and those whom the system trusts if it is told nothing."""
        self._reactor = reactor
        self._wanted = server.trust is not None
        self._creator = (server.trust or Trust()).creator(server.host)
        self._transport: Any = None
        self._caller: Any = None
        self._alarm: IDelayedCall | None = None
        self._done = False

    def begin(self, transport: Any, caller: Any) -> None:  # noqa: ANN401  a transport, an ICaller
        """Keep the login back; do not wait for long if TLS is wanted."""
        self._transport, self._caller = transport, caller
        caller.hold = True
        if self._wanted:
            self._alarm = self._reactor.callLater(SILENCE, self._secure)

    def answer(self) -> bytes:
        """Give what is to be said now, in TLS if it is to be; raise ``Unreachable`` where that is not to be had."""
        caller = self._caller
        if caller.offered is None:
            return b""
        self.stop()
        if not self._done:
            if self._wanted and not caller.offered:
                raise Untrusted("it offers no TLS there")
            if self._wanted or caller.required:
                self._secure()
        login: bytes = caller.login()
        return login

    def _secure(self) -> None:
        self._alarm = None
        self._done = True
        self._transport.startTLS(self._creator)

    def stop(self) -> None:
        """Wait no longer."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


def converse(server: Server, timeout: float | None, speak: Callable[[Talk], Coroutine[Any, Any, None]]) -> None:
    """Run a reactor for one conversation; raise what went wrong."""
    react(timeout, lambda reactor: talk(reactor, server, usual_caller(server), speak))


def usual_caller(server: Server) -> Any:  # noqa: ANN401  an ICaller
    """Give the caller of the server's protocol; raise ``Unreachable`` if it has none."""
    caller = protocols()[server.protocol].caller(server.name, server.secret)
    if caller is None:
        raise Unreachable(f"there is no client for {server.protocol}")
    return caller


def react(timeout: float | None, work: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
    """Run a reactor until some work is done, for so many seconds at the most; raise what went wrong."""
    outcome: list[BrokerError | None] = []

    async def main(reactor: Any) -> None:  # noqa: ANN401  the reactor of task.react
        try:
            await _within(reactor, timeout, TimedOut(), work(reactor))
            outcome.append(None)
        except BrokerError as error:
            outcome.append(error)
        except CancelledError:
            outcome.append(Interrupted())

    def start(reactor: Any) -> Deferred[None]:  # noqa: ANN401  the reactor of task.react
        doing = Deferred.fromCoroutine(main(reactor))
        # By a signal: before the connections are closed, which would look as if the broker had hung up.
        reactor.addSystemEventTrigger("before", "shutdown", doing.cancel)
        return doing

    try:
        task.react(start, [])
    except SystemExit as exit_:
        if exit_.code:
            raise
    problem = outcome[0]
    if problem is not None:
        raise problem


async def _within(
    reactor: Any,  # noqa: ANN401  any reactor
    seconds: float | None,
    otherwise: BrokerError,
    work: Coroutine[Any, Any, None],
) -> None:
    """Do something, and raise ``otherwise`` if it is not done in so many seconds."""
    doing = Deferred.fromCoroutine(work)
    if seconds is not None:

        def late(_: object, __: float) -> object:
            raise otherwise from None

        doing.addTimeout(seconds, reactor, late)
    await doing


async def talk(
    reactor: Any,  # noqa: ANN401  any reactor
    server: Server,
    caller: Any,  # noqa: ANN401  an ICaller
    speak: Callable[[Talk], Coroutine[Any, Any, None]],
) -> None:
    """Connect, log in and speak; raise what went wrong."""
    endpoint: Any = HostnameEndpoint(reactor, server.host, server.port, timeout=CONNECT_TIMEOUT)
    upgrade = Upgrade(reactor, server) if getattr(caller, "upgrades", False) else None
    if server.trust is not None and upgrade is None:
        endpoint = wrapClientTLS(server.trust.creator(server.host), endpoint)
    try:
        talking = await connectProtocol(endpoint, Talk(caller, upgrade))
    except (ConnectError, OSError) as error:
        raise Unreachable(str(error)) from None
    try:
        await _within(reactor, GREETING_TIMEOUT, _silence(server), talking.until(lambda: caller.ready))
        await speak(talking)
    finally:
        talking.transport.abortConnection() if talking.transport.connected else None


def _silence(server: Server) -> Unreachable:
    hint = "is there TLS on that port? then give --tls" if server.trust is None else f"is that {server.protocol}?"
    return Unreachable(f"it has said nothing for {GREETING_TIMEOUT} s ({hint})")


def _ending(reason: Failure) -> BrokerError:
    """Say why a connection ended: who is there is not trusted, or does not want us."""
    if type(reason.value).__module__.startswith("service_identity"):
        if type(reason.value).__name__ == "CertificateError":
            return Untrusted("its certificate names no host: make one with -addext subjectAltName=DNS:NAME")
        return Untrusted("its certificate is not for that name (--tls-name says which name to expect)")
    why = failed_handshake(reason)
    if why and "alert" not in why:  # an alert is what the other side says
        hint = {"wrong version number": "is there no TLS on that port?"}.get(why, "--ca says whom to trust")
        return Untrusted(f"TLS failed: {why} ({hint})")
    return Refused(f"TLS failed: {why}") if why else HungUp(f"it hung up ({reason.getErrorMessage()})")
