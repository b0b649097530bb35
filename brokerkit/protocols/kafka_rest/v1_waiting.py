"""Waiting for records: who waits is woken by the commit that brings them, and by nothing else.

One ear at the log for all who wait; each topic has its own list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from brokerkit.protocols.kafka_rest.v1_reading import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.log.words import Topic
    from brokerkit.protocols.kafka_rest.v1_here import Here
    from brokerkit.protocols.kafka_rest.v1_reading import Page

    Heard = Callable[[int], None]  # is told the partition


class Waiting:
    """Those who wait for records of topics."""

    def __init__(self, here: Here) -> None:
        """Listen to that log."""
        self._here = here
        self._clock: Any = here.clock
        self._heard: dict[tuple[str, bytes], dict[object, Heard]] = {}
        self._asleep: dict[Deferred[None], None] = {}
        self._deaf: Callable[[], None] | None = None

    def __len__(self) -> int:
        """Give the number of those who want to hear."""
        return sum(map(len, self._heard.values()))

    @property
    def asleep(self) -> int:
        """The number of requests that wait."""
        return len(self._asleep)

    def start(self) -> None:
        """Listen."""
        self._deaf = self._here.log.listen(self._grown)

    def stop(self) -> None:
        """Wake everybody, and listen no more."""
        if self._deaf is not None:
            self._deaf()
            self._deaf = None
        for one in list(self._asleep):
            _wake(one)
        self._heard.clear()

    def hear(self, topic: Topic, heard: Heard) -> Callable[[], None]:
        """Have ``heard`` called when there are records of a topic; gives what takes that back."""
        key, mark = (topic.tenant, topic.name), object()
        self._heard.setdefault(key, {})[mark] = heard

        def forget() -> None:
            some = self._heard.get(key, {})
            some.pop(mark, None)
            if not some:
                self._heard.pop(key, None)

        return forget

    def _grown(self, topic: Any, partition: int, *_: object) -> None:  # noqa: ANN401  a Topic
        some = self._heard.get((topic.tenant, topic.name))
        if some:
            for heard in list(some.values()):
                heard(partition)

    async def read(self, topic: Topic, page: Page, most: int, most_bytes: int, seconds: float) -> Page:
        """Read on behind a page that is empty, when there is something, or give it when the time is over."""
        until = self._clock.seconds() + seconds
        positions = page.after
        while not page:
            left = until - self._clock.seconds()
            if left <= 0 or not await self.sleep(topic, positions, left):
                return page
            page = await read(self._here.log, topic, positions, most, most_bytes)
            positions = page.after
        return page

    async def sleep(self, topic: Topic, positions: Any, seconds: float) -> bool:  # noqa: ANN401  partitions
        """Wait for records in some partitions; give whether there may be some before the time is over."""
        woken: Deferred[None] = Deferred()
        said = [False]

        def heard(partition: int) -> None:
            if partition in positions:
                said[0] = True
                _wake(woken)

        forget = self.hear(topic, heard)
        self._asleep[woken] = None
        alarm = self._clock.callLater(seconds, _wake, woken)
        try:
            await woken
        finally:
            forget()
            self._asleep.pop(woken, None)
            if alarm.active():
                alarm.cancel()
        return said[0]


def _wake(asleep: Deferred[None]) -> None:
    if not asleep.called:
        asleep.callback(None)
