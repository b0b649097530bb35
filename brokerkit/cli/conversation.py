"""A conversation with a broker over a socket: a caller without I/O gets its bytes, and what it hears is waited for."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol

from brokerkit.errors import BrokerError, ClientError
from brokerkit.plugin import protocols

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from twisted.python.failure import Failure

    from brokerkit.cli.talk import Server
    from brokerkit.run import Message

CONNECT_TIMEOUT = 5  # seconds


class Unreachable(BrokerError):
    """There is nobody at that address."""


class Refused(BrokerError):
    """The broker said no, or hung up."""


class TimedOut(BrokerError):
    """It took too long."""


class Talk(Protocol):
    """One connection; every way it can end is an exception in whoever waits."""

    def __init__(self, caller: Any) -> None:  # noqa: ANN401  an ICaller
        """Speak by that caller."""
        self.caller = caller
        self._messages: deque[Message] = deque()
        self._waiting: Deferred[None] | None = None
        self._problem: BrokerError | None = None
        self._leaving = False

    def connectionMade(self) -> None:
        """Say the first words, if the client has them."""
        self.dataReceived(b"")

    def dataReceived(self, chunk: bytes) -> None:
        """Hear."""
        try:
            messages, answer = self.caller.receive(chunk)
        except ClientError as error:
            self._end(Refused(str(error)))
            return
        self._messages += messages
        if answer:
            self.send(answer)
        self._wake()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """End."""
        self._end(None if self._leaving else Refused(f"it hung up ({reason.getErrorMessage()})"))

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
            self.transport.loseWriteConnection()  # type: ignore[union-attr]
            await self.until(lambda: not self.transport.connected)  # type: ignore[union-attr]
        if self._problem is not None:
            raise self._problem


def converse(server: Server, timeout: float | None, speak: Callable[[Talk], Coroutine[Any, Any, None]]) -> None:
    """Run a reactor for one conversation; raise what went wrong."""
    outcome: list[BrokerError] = []

    async def main(reactor: Any) -> None:  # noqa: ANN401  the reactor of task.react
        try:
            await _within(reactor, timeout, lambda: _talk(reactor, server, speak))
        except BrokerError as error:
            outcome.append(error)

    def start(reactor: Any) -> Deferred[None]:  # noqa: ANN401  the reactor of task.react
        return Deferred.fromCoroutine(main(reactor))

    try:
        task.react(start, [])
    except SystemExit as exit_:
        if exit_.code:
            raise
    if outcome:
        raise outcome[0]


async def _within(reactor: Any, seconds: float | None, work: Callable[[], Coroutine[Any, Any, None]]) -> None:  # noqa: ANN401
    """Do something, and raise ``TimedOut`` if it is not done in so many seconds."""
    doing = Deferred.fromCoroutine(work())
    if seconds is not None:

        def late(_: object, __: float) -> object:
            raise TimedOut from None

        doing.addTimeout(seconds, reactor, late)
    await doing


async def _talk(reactor: Any, server: Server, speak: Callable[[Talk], Coroutine[Any, Any, None]]) -> None:  # noqa: ANN401
    caller = protocols()[server.protocol].caller(server.name, server.secret)
    if caller is None:
        text = f"there is no client for {server.protocol}"
        raise Unreachable(text)
    endpoint = HostnameEndpoint(reactor, server.host, server.port, timeout=CONNECT_TIMEOUT)
    try:
        talk = await connectProtocol(endpoint, Talk(caller))
    except (ConnectError, OSError) as error:
        raise Unreachable(str(error)) from None
    try:
        await talk.until(lambda: caller.ready)
        await speak(talk)
    finally:
        talk.transport.abortConnection() if talk.transport.connected else None
