"""How a sender rests that has published faster than its user may.

It is read from later, in steps: meanwhile the user may be given another rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

SHORT = 0.001  # seconds that nobody rests for
STEP = 1.0  # seconds of rest at a time


class Rest:
    """One sender's rest; ``left`` gives the seconds that it still has to rest, ``go_on`` is called when it need not."""

    __slots__ = ("_alarm", "_clock", "_go_on", "_left")

    def __init__(self, clock: IReactorTime, left: Callable[[], float], go_on: Callable[[], None]) -> None:
        """Begin awake."""
        self._clock = clock
        self._left = left
        self._go_on = go_on
        self._alarm: IDelayedCall | None = None

    @property
    def resting(self) -> bool:
        """Whether it rests."""
        return self._alarm is not None

    def begin(self, seconds: float) -> None:
        """Rest for so long; must not be resting yet."""
        self._alarm = self._clock.callLater(min(seconds, STEP), self._look)

    def _look(self) -> None:
        self._alarm = None
        seconds = self._left()
        if seconds > SHORT:
            self.begin(seconds)
        else:
            self._go_on()

    def stop(self) -> None:
        """Rest no more, and do not go on either."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
