"""How long a peer may take over a frame that it has begun.

An upload by a slow sensor gets on, if slowly; a peer that holds a half-sent frame and sends nothing, or a byte a
second, does not.  So what counts is progress: every ``PROGRESS`` bytes the peer has its full time again.  While nothing
was read from it because the broker made it wait, it is excused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

PROGRESS = 4096  # bytes by which an unfinished frame has to grow in its time


class Unfinished:
    """The frame of one connection that has begun and has not ended; ``size`` is its bytes so far, 0 for none.

    ``held`` says whether the peer is made to wait, ``too_slow`` is called when the frame does not get on.
    """

    __slots__ = ("_alarm", "_clock", "_excused", "_from", "_held", "_since", "_timeout", "_too_slow", "size")

    def __init__(
        self, clock: IReactorTime, timeout: float, held: Callable[[], bool], too_slow: Callable[[], None]
    ) -> None:
        """Take the seconds that ``PROGRESS`` bytes may take; 0 for as long as it likes."""
        self._clock = clock
        self._timeout = timeout
        self._held = held
        self._too_slow = too_slow
        self.size = 0
        self._from = 0  # bytes when it was last seen to get on
        self._since = 0.0  # the moment of that
        self._excused = False
        self._alarm: IDelayedCall | None = None

    def excuse(self) -> None:
        """Take note that the peer is made to wait: it is not for the peer that nothing comes."""
        self._excused = True

    def grow(self, came: int, size: int) -> None:
        """Take note that ``size`` bytes are unfinished now, of which ``came`` have just been read."""
        begun = not self.size or size < self.size + came  # or else something before it has ended
        self.size = size
        if begun or size - self._from >= PROGRESS or not self._alarm:
            self._from = size
            self._since = self._clock.seconds()
            if self._timeout and self._alarm is None:
                self._alarm = self._clock.callLater(self._timeout, self._look)

    def _look(self) -> None:
        """See whether the frame gets on; look again when it next could have stood still for too long."""
        self._alarm = None
        if not self.size:
            return
        now = self._clock.seconds()
        if self._excused:
            self._excused = self._held()
            self._since = now
        left = self._since + self._timeout - now
        if left > 0:
            self._alarm = self._clock.callLater(left, self._look)
        else:
            self._too_slow()

    def stop(self) -> None:
        """Look no more."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
