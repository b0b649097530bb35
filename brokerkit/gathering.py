"""Whether the writing at the end of a turn can wait until the reactor has gone through all that is readable.

With many connections that each send a little, a write at the end of each turn wakes a sleeping peer each time, which
costs more than the turn.  Written one after the other when everything that was readable has been read, only the first
write wakes anybody.  With one busy connection there is nothing to wait for, and waiting costs a timer.

So it is tried out: every so often one round of the reactor is gathered, and as long as rounds bring several turns, so
are the next.  Only small chunks are put off, and none while any reader is behind: what waits stays small, and pacing
sees every publisher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

SMALL = 2048  # bytes of a chunk whose consequences may wait
EVERY = 32  # turns between two trials
MOST = 32  # turns that are put off before something is written all the same
ENOUGH = 4  # turns of a round that make gathering worth it


class Gathering:
    """Puts off writing, for one reactor."""

    __slots__ = ("_count", "_on", "_reactor", "_turns", "_write")

    def __init__(self, reactor: IReactorTime, write: Callable[[], None]) -> None:
        """Call ``write`` when a round is over."""
        self._reactor = reactor
        self._write = write
        self._on = False
        self._turns = 0
        self._count = 0

    def puts_off(self) -> bool:
        """Say whether this turn's writing is put off; if so, ``write`` will be called."""
        if not self._on:
            self._turns += 1
            if self._turns < EVERY:
                return False
            self._turns = 0
            self._on = True
        if not self._count:
            self._reactor.callLater(0, self._over)
        self._count += 1
        return bool(self._count % MOST)

    def _over(self) -> None:
        self._on = self._count >= ENOUGH
        self._count = 0
        self._write()
