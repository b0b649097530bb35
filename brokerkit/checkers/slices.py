"""Long work in short slices: a generator of steps that the broker's other work goes on between.

A step is whatever the generator does between two ``yield``; the result is what it returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Generator

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

T = TypeVar("T")

SLICE = 0.004  # seconds


def at_once(steps: Generator[None, None, T]) -> T:
    """Take all steps and give the result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def in_slices(steps: Generator[None, None, T], clock: IReactorTime, seconds: float = SLICE) -> Deferred[T]:
    """Begin to take the steps, for so many ``seconds`` at a time; give the result.  It can be cancelled."""
    work = _Work(steps, clock, seconds)
    work.go_on()
    return work.done


class _Work(Generic[T]):
    """Steps that are being taken."""

    def __init__(self, steps: Generator[None, None, T], clock: IReactorTime, seconds: float) -> None:
        self.done: Deferred[T] = Deferred(self._cancelled)
        self._steps = steps
        self._clock = clock
        self._seconds = seconds
        self._next: IDelayedCall | None = None

    def go_on(self) -> None:
        """Take the steps of one slice."""
        self._next = None
        end = self._clock.seconds() + self._seconds
        try:
            next(self._steps)
            while self._clock.seconds() < end:
                next(self._steps)
        except StopIteration as last:
            self.done.callback(last.value)
        except Exception:
            self.done.errback()
        else:
            self._next = self._clock.callLater(0, self.go_on)

    def _cancelled(self, _: Deferred[Any]) -> None:
        if self._next is not None:
            self._next.cancel()
        self._steps.close()
