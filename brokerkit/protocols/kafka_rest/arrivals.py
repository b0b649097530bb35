"""Waiting for a record to arrive: those who wait for one partition are found by one look-up after each commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from brokerkit.log import Log
    from brokerkit.log.words import Topic

    Place = tuple[str, bytes, int]  # tenant, topic, partition


class Arrivals:
    """Tells those who wait that there is more; listens to the log only while somebody does."""

    def __init__(self, log: Log, clock: IReactorTime) -> None:
        """Wait for records of that log."""
        self._log = log
        self._clock = clock
        self._waiting: dict[Place, set[Deferred[bool]]] = {}
        self._stop: Callable[[], object] | None = None

    def __len__(self) -> int:
        """Give the number of those who wait."""
        return sum(map(len, self._waiting.values()))

    async def more(self, tenant: str, topic: bytes, partition: int, seconds: float) -> bool:
        """Wait until something is committed there, or so many seconds; say whether something was."""
        place = (tenant, topic, partition)
        waiting: Deferred[bool] = Deferred(lambda _: None)
        self._waiting.setdefault(place, set()).add(waiting)
        if self._stop is None:
            self._stop = self._log.listen(self._arrived)
        alarm = self._clock.callLater(seconds, waiting.callback, False)
        try:
            return await waiting
        finally:
            if alarm.active():
                alarm.cancel()
            self._forget(place, waiting)

    def _forget(self, place: Place, waiting: Deferred[bool]) -> None:
        there = self._waiting.get(place)
        if there is not None:
            there.discard(waiting)
            if not there:
                del self._waiting[place]
        if not self._waiting and self._stop is not None:
            stop, self._stop = self._stop, None
            stop()

    def _arrived(self, topic: Topic, partition: int, _: int, __: int) -> None:
        for waiting in list(self._waiting.get((topic.tenant, topic.name, partition), ())):
            if not waiting.called:
                waiting.callback(True)
