"""A reactor for one command, and sources of users that are started and stopped in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from twisted.application.service import IService
from twisted.internet import task
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from brokerkit.app import make_sources
from brokerkit.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from brokerkit.config import Config

T = TypeVar("T")


class Opened:
    """The sources of a configuration, started; ``close`` them when done."""

    def __init__(self, told: Config, reactor: Any) -> None:  # noqa: ANN401  any reactor
        """Make and start them; raise ``OperatorError`` if one cannot be used."""
        self.sources = make_sources(told, reactor)
        self._started: list[Any] = []

    async def start(self) -> None:
        """Start those that are services; raise ``OperatorError``, with all stopped again, if one cannot be used."""
        try:
            for source in self.sources:
                if IService.providedBy(source):
                    self._started.append(source)
                    source.privilegedStartService()
                    await maybeDeferred(source.startService)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop them."""
        started, self._started = self._started, []
        for source in reversed(started):
            if source.running:
                await maybeDeferred(source.stopService)


@implementer(ILogObserver)
class Warnings:
    """Collects what is said in the log that somebody should know of."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.lines: list[str] = []

    def __call__(self, event: Any) -> None:  # noqa: ANN401  a log event
        """Take an event."""
        if event.get("log_level", LogLevel.debug) >= LogLevel.warn:
            self.lines.append(formatEvent(event))

    def __enter__(self) -> list[str]:
        """Begin to listen; give the list that is filled."""
        globalLogPublisher.addObserver(self)
        return self.lines

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        globalLogPublisher.removeObserver(self)


def react(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Run a reactor until some work is done, and give its result; raises its ``BrokerError``."""
    results: list[T] = []
    errors: list[BrokerError] = []

    async def main(reactor: Any) -> None:  # noqa: ANN401  the reactor of task.react
        try:
            results.append(await work(reactor))
        except BrokerError as error:
            errors.append(error)

    try:
        task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)), [])
    except SystemExit as exit_:
        if exit_.code:
            raise
    if errors:
        raise errors[0]
    return results[0]
