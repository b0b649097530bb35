"""A few threads for what blocks, such as asking a database, which nobody ever waits for at the end.

A database behind a dead network may hold a thread for minutes.  So there are at most a few, what waits for one is
bounded and gives up its place when its time is over, and all are daemons: neither ``stop`` nor the end of the process
waits for a thread that is stuck.  (Twisted's pool joins its threads.)
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from brokerkit.errors import OperatorError, TooBusy

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

MOST = 4
WAITING = 1024  # calls that may wait for a thread


@attrs.define(eq=False)
class _Call:
    work: Callable[[], Any]
    answer: Deferred[Any]

    def finish(self, result: object) -> None:
        """Give the result, or the ``Failure``, if somebody still wants it."""
        if not self.answer.called:
            self.answer.callback(result)


class Threads:
    """At most ``most`` threads, each made when there is work for it."""

    def __init__(self, reactor: Any, most: int = MOST) -> None:  # noqa: ANN401  what has callFromThread
        """Answer in that reactor's thread."""
        self.most = most
        self._reactor = reactor
        self._changed = Condition()
        self._waiting: deque[_Call] = deque()
        self._there = 0
        self._idle = 0
        self._stopped = False

    def call(self, work: Callable[[], T]) -> Deferred[T]:
        """Give what ``work`` returns or raises in one of the threads.

        Fails with ``TooBusy`` if too much waits already.  A call that is cancelled before a thread has taken it is not
        made.
        """
        with self._changed:
            if self._stopped:
                return fail(OperatorError("stopped"))
            if len(self._waiting) >= WAITING:
                return fail(TooBusy())
            call = _Call(work, Deferred(self._forget))
            self._waiting.append(call)
            if len(self._waiting) > self._idle and self._there < self.most:
                self._there += 1
                Thread(target=self._serve, daemon=True, name="brokerkit users").start()
            self._changed.notify()
        return call.answer

    def start(self) -> None:
        """Take calls, again."""
        self._stopped = False

    def stop(self) -> None:
        """Take no more calls, forget those that wait, and let the threads end, each when it can."""
        with self._changed:
            self._stopped = True
            forgotten = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for call in forgotten:
            call.answer.cancel()

    def _forget(self, answer: Deferred[Any]) -> None:
        with self._changed:
            for call in self._waiting:
                if call.answer is answer:
                    self._waiting.remove(call)
                    return

    def _serve(self) -> None:
        while (call := self._next()) is not None:
            try:
                result = call.work()
            except BaseException:  # whatever it is, the thread is needed for the next call
                result = Failure()
            with suppress(Exception):  # a reactor that is gone
                self._reactor.callFromThread(call.finish, result)
            del call, result

    def _next(self) -> _Call | None:
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._waiting or self._stopped)
            self._idle -= 1
            if self._waiting:
                return self._waiting.popleft()
            self._there -= 1
            return None


def within(seconds: float, work: Callable[[], T]) -> T:
    """Give what ``work`` returns or raises, or raise ``TimeoutError``: for the start, when nobody else has to wait.

    Work that takes longer goes on in a thread of its own, which nobody waits for.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, daemon=True, name="brokerkit start").start()
    return done.result(seconds)
