"""For tests: what a pool of threads does, done at once and here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, fail, maybeDeferred

if TYPE_CHECKING:
    from collections.abc import Callable


class AtOnce:
    """Calls in place of threads; with ``hangs``, none is ever answered."""

    most = 1

    def __init__(self) -> None:
        """Answer everything."""
        self.calls = 0
        self.hangs = False
        self.stopped = False

    def call(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Do it."""
        self.calls += 1
        if self.stopped:
            return fail(RuntimeError("stopped"))
        return Deferred() if self.hangs else maybeDeferred(work)

    def start(self) -> None:
        """Begin."""
        self.stopped = False

    def stop(self) -> None:
        """End."""
        self.stopped = True
