"""Threads for what blocks: few, bounded, and never waited for at the end."""

from __future__ import annotations

import threading
import time
from queue import Queue
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import CancelledError

from brokerkit.checkers import threads
from brokerkit.checkers.threads import Threads, within
from brokerkit.errors import OperatorError, TooBusy

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

SECONDS = 10


class Loop:
    """What a reactor does for threads; a test turns it by hand."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self.calls: Queue[tuple[Callable[..., object], tuple[Any, ...]]] = Queue()

    def callFromThread(self, call: Callable[..., object], *arguments: Any) -> None:
        """Note what a thread wants done."""
        self.calls.put((call, arguments))

    def turn(self, count: int = 1) -> None:
        """Do the next few things that threads want done."""
        for _ in range(count):
            call, arguments = self.calls.get(timeout=SECONDS)
            call(*arguments)


def results(answer: Deferred[Any]) -> list[Any]:
    """Give what has come so far."""
    found: list[Any] = []
    answer.addBoth(found.append)
    return found


def failure(answer: Deferred[Any]) -> type:
    """Give what the answer has failed with."""
    (found,) = results(answer)
    return found.type


class Stuck:
    """Work that takes until it is released."""

    def __init__(self) -> None:
        """Begin stuck."""
        self.begun = threading.Semaphore(0)
        self.end = threading.Event()

    def __call__(self) -> str:
        """Wait."""
        self.begun.release()
        self.end.wait(SECONDS)
        return "late"

    def wait_begun(self, count: int) -> None:
        """Wait until that many threads are in it."""
        for _ in range(count):
            assert self.begun.acquire(timeout=SECONDS)


def test_answers() -> None:
    """What the work returns or raises comes by the loop, from another thread."""
    loop = Loop()
    pool = Threads(loop)
    answer = pool.call(threading.get_ident)
    got = results(answer)
    assert got == []
    loop.turn()
    assert got != [threading.get_ident()]
    answer = pool.call(lambda: 1 // 0)
    loop.turn()
    assert failure(answer) is ZeroDivisionError
    pool.stop()


def test_one_thread_for_one_call_at_a_time() -> None:
    """A thread that has nothing to do takes the next call: no second one is made."""
    loop = Loop()
    pool = Threads(loop)
    idents = set()
    for _ in range(20):
        got = results(pool.call(threading.get_ident))
        loop.turn()
        idents |= {*got}
        for _ in range(SECONDS * 1000):  # what a thread does after its answer shows nowhere else
            if pool._idle:
                break
            time.sleep(0.001)
    assert len(idents) == 1
    pool.stop()


def test_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all threads stuck calls wait, as many as may; who gives up frees the place, and is never called."""
    monkeypatch.setattr(threads, "WAITING", 2)
    loop, stuck, called = Loop(), Stuck(), []
    pool = Threads(loop, 2)
    late = [results(pool.call(stuck)) for _ in range(2)]
    stuck.wait_begun(2)
    waiting = [pool.call(lambda: called.append(1)) for _ in range(2)]
    assert failure(pool.call(list)) is TooBusy
    waiting[0].cancel()
    assert failure(waiting[0]) is CancelledError
    third = results(pool.call(lambda: "third"))
    stuck.end.set()
    loop.turn(4)
    assert late == [["late"], ["late"]]
    assert third == ["third"]
    assert called == [1]
    pool.stop()


def test_given_up_while_it_is_done() -> None:
    """An answer that nobody waits for any more is dropped."""
    loop, stuck = Loop(), Stuck()
    pool = Threads(loop)
    answer = pool.call(stuck)
    stuck.wait_begun(1)
    answer.cancel()
    assert failure(answer) is CancelledError
    stuck.end.set()
    loop.turn()
    pool.stop()


def test_stop() -> None:
    """Stopping waits for nobody: what waited is given up, a stuck thread is left alone, a new call fails."""
    loop, stuck = Loop(), Stuck()
    pool = Threads(loop, 1)
    pool.call(stuck)
    stuck.wait_begun(1)
    waiting = pool.call(list)
    pool.stop()
    assert failure(waiting) is CancelledError
    assert failure(pool.call(list)) is OperatorError
    stuck.end.set()


def test_start_again() -> None:
    """After a stop it can be started again."""
    loop = Loop()
    pool = Threads(loop)
    pool.stop()
    pool.start()
    got = results(pool.call(lambda: 7))
    loop.turn()
    assert got == [7]
    pool.stop()


def test_threads_do_not_hold_up_the_end() -> None:
    """All threads are daemons."""
    stuck = Stuck()
    pool = Threads(Loop())
    pool.call(stuck)
    stuck.wait_begun(1)
    assert all(t.daemon for t in threading.enumerate() if t.name.startswith("brokerkit"))
    stuck.end.set()
    pool.stop()


def test_within() -> None:
    """Blocking work is waited for so long and no longer; what it raises is raised."""
    stuck = Stuck()
    assert within(SECONDS, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        within(SECONDS, lambda: 1 // 0)
    with pytest.raises(TimeoutError):
        within(0.01, stuck)
    stuck.end.set()
