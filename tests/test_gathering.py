"""Putting off the writing of small turns to the end of the reactor's round."""

from __future__ import annotations

from twisted.internet.task import Clock

from brokerkit.gathering import ENOUGH, EVERY, MOST, Gathering
from brokerkit.outbox import Limits, Outbox
from brokerkit.turn import Turn


class Socket:
    """A transport that takes so many bytes."""

    def __init__(self) -> None:
        """Take everything at first."""
        self.writes: list[bytes] = []
        self.room = 1_000_000

    def writeSomeData(self, data: bytes) -> int:
        """Take what there is room for."""
        taken = bytes(data[: self.room])
        if taken:
            self.writes.append(taken)
        return len(taken)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Ask nobody."""


def _desk() -> tuple[Clock, Turn, Socket, Outbox]:
    clock, turn, socket = Clock(), Turn(), Socket()
    turn.gathering = Gathering(clock, turn.write)
    return clock, turn, socket, Outbox(socket, turn, clock, Limits(), lambda _: None, direct=True)


def _small(turn: Turn, outbox: Outbox, data: bytes = b"x") -> None:
    """Do one turn of a small chunk."""
    turn.depth += 1
    outbox.put(data)
    turn.leave(small=True)


def test_one_after_the_other_is_written_at_once() -> None:
    """While rounds bring one turn each, nearly every turn is written when it ends."""
    clock, turn, socket, outbox = _desk()
    at_once = 0
    for i in range(EVERY * 10):
        before = len(socket.writes)
        _small(turn, outbox, b"%d" % i)
        at_once += len(socket.writes) > before
        clock.advance(0)
    assert b"".join(socket.writes) == b"".join(b"%d" % i for i in range(EVERY * 10))
    assert at_once >= EVERY * 10 - 11


def test_many_in_a_round_are_gathered() -> None:
    """When rounds bring many turns, they are written together, in order, and nothing waits beyond the round."""
    clock, turn, socket, outbox = _desk()
    for _ in range(EVERY):
        _small(turn, outbox, b".")
    clock.advance(0)
    for _ in range(ENOUGH + 5):
        _small(turn, outbox, b".")
    clock.advance(0)
    socket.writes.clear()
    for i in range(ENOUGH):
        _small(turn, outbox, b"%d" % i)
    clock.advance(0)
    assert b"".join(socket.writes) == b"0123"
    assert len(socket.writes) <= ENOUGH


def test_so_many_and_no_more() -> None:
    """What waits is bounded by the number of turns."""
    clock = Clock()
    gathering = Gathering(clock, lambda: None)
    gathering._on = True
    assert [gathering.puts_off() for _ in range(MOST)].count(False) == 1


def test_nothing_waits_while_a_reader_is_behind() -> None:
    """A reader that has not taken everything ends the gathering: its publishers are to be paced."""
    clock, turn, socket, outbox = _desk()
    slow = Socket()
    slow.room = 0
    behind = Outbox(slow, turn, clock, Limits(), lambda _: None, direct=True)
    with turn:
        behind.put(b"x")
    assert turn.behind == 1
    for i in range(EVERY * 2):
        _small(turn, outbox)
        assert len(socket.writes) == i + 1
    behind.forget()
    assert turn.behind == 0


def test_a_large_turn_writes_what_waits() -> None:
    """A turn that may not wait writes what others have put off, in order."""
    _, turn, socket, outbox = _desk()
    assert turn.gathering is not None
    turn.gathering._on = True
    _small(turn, outbox, b"first ")
    assert socket.writes == []
    with turn:
        outbox.put(b"second")
    assert b"".join(socket.writes) == b"first second"
