"""The turn: everything that happens in the broker because of one thing that came in.

A chunk, a request, a timer, a nested publish: whatever enters the heart does so inside ``with turn:``.  Deliveries only
fill outboxes; when the outermost ``with`` ends, each outbox that was touched is written once.  What a write causes (a
connection that turns out to be dead, whose subscriptions must go) waits in ``later`` until the writing is done, so
nothing changes under the feet of whoever walks a route.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from brokerkit.outbox import Outbox

log = Logger()

SMALL = 2048  # bytes of a chunk whose consequences may wait


class Turn:
    """One for each broker, shared by its tenants, entered again and again."""

    __slots__ = ("behind", "congested", "depth", "later", "more", "touched")

    def __init__(self) -> None:
        """Begin outside of any turn."""
        self.depth = 0
        self.touched: list[Outbox] = []
        self.later: deque[Callable[[], None]] = deque()
        self.congested: list[Outbox] = []
        self.behind = 0  # outboxes whose readers are
        self.more = False  # whether another small chunk is known to follow, so that writing may wait for it

    def __enter__(self) -> None:
        """Begin, or nest."""
        self.depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Flush what was touched when the outermost turn ends, also when it ends by an error."""
        self.leave()

    def leave(self, *, small: bool = False) -> None:
        """Flush what was touched if this was the outermost turn.

        ``small`` says that little has come in, so that the flushing may wait where more is known to come.  It never
        waits while a reader is behind: its publishers are to be paced.
        """
        try:
            if self.depth == 1 and not (small and self.more and not (self.behind or self.later)):
                self._end()
        finally:
            self.depth -= 1

    def write(self) -> None:
        """Flush what was left to wait."""
        if self.touched or self.later:
            with self:
                pass

    def after(self, work: Callable[[], None]) -> None:
        """Do ``work`` when the outboxes have been written; at once if no turn is going on."""
        if self.depth:
            self.later.append(work)
        else:
            with self:
                work()

    def _end(self) -> None:
        """Write and work until nothing is left: what is put off may touch outboxes again."""
        if self.congested:
            self.congested = []
        while self.touched or self.later:
            touched, self.touched = self.touched, []
            for outbox in touched:
                self.flush(outbox)
            if self.later:
                self._do(self.later.popleft())

    def flush(self, outbox: Outbox) -> None:
        """Write one outbox; also before the turn ends, where so much is in it that waiting gains nothing."""
        try:
            if outbox.flush():
                self.congested.append(outbox)
        except Exception:
            log.failure("writing to {peer} failed", peer=outbox.peer)
            outbox.abort("error")

    @staticmethod
    def _do(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            log.failure("work put off to the end of a turn failed")
