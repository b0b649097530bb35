"""A turn writes each outbox once, and does what is put off behind the writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.logger import globalLogPublisher

from brokerkit.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Box:
    """An outbox that notes in a diary when it is flushed or aborted."""

    peer = "a box"

    def __init__(self, turn: Turn, diary: list[str], name: str = "flush", *, congested: bool = False) -> None:
        """Belong to a turn."""
        self.turn = turn
        self.diary = diary
        self.name = name
        self.congested = congested
        self.full = False
        self.on_flush: Callable[[], None] = lambda: None

    def put(self) -> None:
        """Touch the box, as putting bytes into an outbox does."""
        if not self.full:
            self.full = True
            self.turn.touched.append(self)  # type: ignore[arg-type]

    def flush(self) -> bool:
        """Note it, and do what the test wants."""
        self.full = False
        self.diary.append(self.name)
        self.on_flush()
        return self.congested

    def abort(self, why: str) -> None:
        """Note it."""
        self.diary.append(f"abort {self.name}: {why}")


@pytest.fixture
def turn() -> Turn:
    """Give a turn."""
    return Turn()


@pytest.fixture
def diary() -> list[str]:
    """Give what happens, in order."""
    return []


@pytest.fixture
def failures() -> Iterator[list[Any]]:
    """Give the failures that are logged."""
    seen: list[Any] = []

    def observer(event: Any) -> None:
        if "log_failure" in event:
            seen.append(event["log_failure"].value)

    globalLogPublisher.addObserver(observer)
    yield seen
    globalLogPublisher.removeObserver(observer)


def test_each_outbox_is_written_once(turn: Turn, diary: list[str]) -> None:
    """However often it is filled, an outbox is flushed once, when the outermost turn ends."""
    one, two = Box(turn, diary, "one"), Box(turn, diary, "two")
    with turn:
        for _ in range(3):
            with turn:
                one.put()
                two.put()
            one.put()
            assert diary == []
    assert diary == ["one", "two"]


def test_a_turn_that_touches_nothing_writes_nothing(turn: Turn, diary: list[str]) -> None:
    """An outbox is not flushed again by a turn that did not fill it."""
    box = Box(turn, diary)
    with turn:
        box.put()
    with turn:
        pass
    assert diary == ["flush"]


def test_work_is_done_behind_the_flushes(turn: Turn, diary: list[str]) -> None:
    """What is put off waits until everything has been written, and is done in order."""
    box = Box(turn, diary)
    with turn:
        turn.after(lambda: diary.append("first"))
        with turn:
            turn.after(lambda: diary.append("second"))
        box.put()
    assert diary == ["flush", "first", "second"]


def test_what_work_puts_is_written_too(turn: Turn, diary: list[str]) -> None:
    """Work may fill outboxes and put off more; the turn ends when nothing is left."""
    box = Box(turn, diary)

    def work() -> None:
        diary.append("work")
        box.put()
        turn.after(lambda: diary.append("more work"))

    with turn:
        turn.after(work)
    assert diary == ["work", "flush", "more work"]


def test_what_a_flush_causes_is_put_off(turn: Turn, diary: list[str]) -> None:
    """Work that a write causes is not done between the writes of others."""
    one, two = Box(turn, diary, "one"), Box(turn, diary, "two")
    one.on_flush = lambda: turn.after(lambda: diary.append("work"))
    with turn:
        one.put()
        two.put()
    assert diary == ["one", "two", "work"]


def test_an_outbox_that_is_filled_while_flushing(turn: Turn, diary: list[str]) -> None:
    """It is flushed again in the same turn."""
    one, two = Box(turn, diary, "one"), Box(turn, diary, "two")
    two.on_flush = one.put
    with turn:
        one.put()
        two.put()
    assert diary == ["one", "two", "one"]


def test_work_outside_of_a_turn_is_done_at_once(turn: Turn, diary: list[str]) -> None:
    """It makes a turn of its own, at whose end what it filled is written."""
    box = Box(turn, diary)

    def work() -> None:
        box.put()
        diary.append("work")

    turn.after(work)
    assert diary == ["work", "flush"]


def test_an_error_does_not_keep_anything_from_being_written(turn: Turn, diary: list[str]) -> None:
    """A turn that ends by an error flushes all the same, and the next turn is an outermost one."""
    box = Box(turn, diary)

    def fail() -> None:
        with turn:
            box.put()
            with turn:
                raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert diary == ["flush"]
    assert turn.depth == 0


def test_a_flush_that_fails_costs_no_other(turn: Turn, diary: list[str], failures: list[Any]) -> None:
    """Its outbox is given up, the others are written, the work is done."""
    one, two = Box(turn, diary, "one"), Box(turn, diary, "two")
    error = RuntimeError()

    def fail() -> None:
        raise error

    one.on_flush = fail
    with turn:
        one.put()
        two.put()
        turn.after(lambda: diary.append("work"))
    assert diary == ["one", "abort one: error", "two", "work"]
    assert failures == [error]


def test_work_that_fails_costs_no_other(turn: Turn, diary: list[str], failures: list[Any]) -> None:
    """The rest of what was put off is done."""
    error = RuntimeError()

    def fail() -> None:
        raise error

    with turn:
        turn.after(fail)
        turn.after(lambda: diary.append("work"))
    assert diary == ["work"]
    assert failures == [error]


def test_even_the_worst_does_not_leave_a_turn_open(turn: Turn, diary: list[str]) -> None:
    """After an interrupt in the midst of writing, the broker still writes in the next turn."""
    box = Box(turn, diary)

    def interrupt() -> None:
        raise KeyboardInterrupt

    box.on_flush = interrupt
    with pytest.raises(KeyboardInterrupt), turn:
        box.put()
    box.on_flush = lambda: None
    with turn:
        box.put()
    assert diary == ["flush", "flush"]


def test_congestion_is_that_of_the_last_turn(turn: Turn, diary: list[str]) -> None:
    """Whoever published finds the congested outboxes behind its turn; the next turn begins without any."""
    slow, fast = Box(turn, diary, "slow", congested=True), Box(turn, diary, "fast")
    with turn:
        slow.put()
        fast.put()
    assert turn.congested == [slow]
    with turn:
        fast.put()
    assert turn.congested == []
