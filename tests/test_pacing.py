"""How a publisher waits for slow readers."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from brokerkit.pacing import STEP, Pace


class Box:
    """An outbox as far as a pace looks at it."""

    def __init__(self) -> None:
        """Begin with nobody waiting, and room."""
        self.waiting: list[Any] = []
        self.brimming = False

    def when_drained(self, call: Any) -> None:
        """Remember."""
        self.waiting.append(call)

    def never_mind(self, call: Any) -> None:
        """Forget."""
        self.waiting.remove(call)


def _pace() -> tuple[Clock, list[str], Pace]:
    clock, gone_on = Clock(), list[str]()
    return clock, gone_on, Pace(clock, lambda: gone_on.append("on"))


def test_over_when_all_have_drained() -> None:
    """The waiting ends with the last outbox that drains, and only once."""
    clock, gone_on, pace = _pace()
    one, two = Box(), Box()
    pace.wait_for([one, two])  # type: ignore[list-item]
    pace.drained(one)  # type: ignore[arg-type]
    assert (gone_on, pace.waiting) == ([], True)
    pace.drained(two)  # type: ignore[arg-type]
    assert (gone_on, pace.waiting) == (["on"], False)
    clock.advance(1)
    assert gone_on == ["on"]
    assert not clock.getDelayedCalls()


def test_over_when_the_time_is_up() -> None:
    """A reader that is merely slow holds a publisher back for one step, and forgets it then."""
    clock, gone_on, pace = _pace()
    box = Box()
    pace.wait_for([box])  # type: ignore[list-item]
    clock.advance(STEP)
    assert gone_on == ["on"]
    assert box.waiting == []


def test_a_full_outbox_is_waited_for() -> None:
    """As long as an outbox is close to its limit and its reader moves, the publisher waits."""
    clock, gone_on, pace = _pace()
    box = Box()
    box.brimming = True
    pace.wait_for([box])  # type: ignore[list-item]
    clock.pump([STEP] * 50)
    assert gone_on == []
    box.brimming = False
    clock.advance(STEP)
    assert gone_on == ["on"]


def test_stop() -> None:
    """Whoever hangs up while waiting leaves nothing behind."""
    clock, gone_on, pace = _pace()
    box = Box()
    pace.wait_for([box])  # type: ignore[list-item]
    pace.stop()
    clock.advance(1)
    assert (gone_on, box.waiting, clock.getDelayedCalls()) == ([], [], [])


def test_again_and_again() -> None:
    """Waiting a hundred times for one slow reader collects nothing in its outbox."""
    clock, _, pace = _pace()
    box = Box()
    for _ in range(100):
        pace.wait_for([box])  # type: ignore[list-item]
        assert len(box.waiting) == 1
        clock.advance(STEP)
    assert box.waiting == []
