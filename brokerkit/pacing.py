"""How a publisher is made to wait for slow readers.

When a chunk has filled outboxes beyond their mark, its sender is read from no more until all of them have drained, or
for 10 ms at the most, as nats-server does it; while one of them is close to its limit and its reader still makes
progress, for as long as that takes.  A reader that has stopped holds nobody back (``Outbox.congested``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from brokerkit.outbox import Outbox

STEP = 0.01  # seconds


class Pace:
    """One publisher's waiting; ``waiting`` says whether it does."""

    __slots__ = ("_alarm", "_clock", "_go_on", "_outboxes", "waiting")

    def __init__(self, clock: IReactorTime, go_on: Callable[[], None]) -> None:
        """Call ``go_on`` each time the waiting is over."""
        self._clock = clock
        self._go_on = go_on
        self._outboxes: set[Outbox] = set()
        self._alarm: IDelayedCall | None = None
        self.waiting = False

    def wait_for(self, outboxes: Iterable[Outbox]) -> None:
        """Begin to wait; must not be waiting yet."""
        self.waiting = True
        self._outboxes.update(outboxes)
        for outbox in self._outboxes:
            outbox.when_drained(self.drained)
        self._alarm = self._clock.callLater(STEP, self._look)

    def drained(self, outbox: Outbox) -> None:
        """Hear that an outbox has room again, or is gone."""
        self._outboxes.discard(outbox)
        if self.waiting and not self._outboxes:
            self.stop()
            self._go_on()

    def _look(self) -> None:
        self._alarm = None
        if any(outbox.brimming for outbox in self._outboxes):
            self._alarm = self._clock.callLater(STEP, self._look)
        else:
            self.stop()
            self._go_on()

    def stop(self) -> None:
        """Wait no more."""
        self.waiting = False
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for outbox in self._outboxes:
            outbox.never_mind(self.drained)
        self._outboxes.clear()
