"""Which entries end when: one alarm for the earliest, however many there are.

An entry stands in the heap once; one that got more time stays where it is and is put back when its turn comes.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from brokerkit.registry.words import Entry

SPARE = 1024  # places in the heap that may mean nothing any more, beside as many as there are leases
LEAST = 0.001  # seconds that an alarm is set ahead


class Leases:
    """Calls ``ended`` with the names whose time has passed, when it has."""

    def __init__(self, clock: IReactorTime, entries: Mapping[str, Entry], ended: Callable[[list[str]], None]) -> None:
        """Look at those entries."""
        self._clock = clock
        self._entries = entries
        self._ended = ended
        self._heap: list[tuple[float, str]] = []
        self._awaited: dict[str, float] = {}  # of each name, its earliest place in the heap
        self._alarm: IDelayedCall | None = None

    def __len__(self) -> int:
        """Give the number of places in the heap."""
        return len(self._heap)

    def note(self, name: str, expires: float) -> None:
        """Take note of when an entry ends."""
        if expires >= self._awaited.get(name, float("inf")):
            return
        self._awaited[name] = expires
        heappush(self._heap, (expires, name))
        if len(self._heap) > 2 * len(self._awaited) + SPARE:
            self._heap = [(moment, name) for name, moment in self._awaited.items()]
            heapify(self._heap)
        if self._heap[0][0] == expires:
            self._set()

    def again(self, names: list[str], after: float) -> None:
        """Call ``ended`` again for these, so many seconds from now."""
        for name in names:
            self.note(name, self._clock.seconds() + after)

    def stop(self) -> None:
        """Call no more."""
        alarm, self._alarm = self._alarm, None
        if alarm is not None and alarm.active():
            alarm.cancel()
        self._heap.clear()
        self._awaited.clear()

    def _set(self) -> None:
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._alarm = None
        if self._heap:
            self._alarm = self._clock.callLater(max(LEAST, self._heap[0][0] - self._clock.seconds()), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now = self._clock.seconds()
        over = []
        while self._heap and self._heap[0][0] <= now:
            moment, name = heappop(self._heap)
            if self._awaited.get(name) != moment:
                continue
            del self._awaited[name]
            entry = self._entries.get(name)
            if entry is None or entry.expires is None:
                continue
            if entry.is_over(now):
                over.append(name)
            else:
                self._awaited[name] = entry.expires
                heappush(self._heap, (entry.expires, name))
        self._set()
        if over:
            self._ended(over)
