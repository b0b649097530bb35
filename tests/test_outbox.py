"""Outboxes, on the transport that Twisted has: its ``FileDescriptor``, with a kernel that takes what a test says."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.abstract import FileDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from brokerkit import outbox as module
from brokerkit.outbox import BLOCK, SMALL, Limits, Outbox
from brokerkit.turn import Turn

KIB = 1024
LIMITS = Limits(limit=400 * KIB, deadline=10.0, patience=2.0)  # mark 100 KiB, brim 300 KiB
DIRECT = [True, False]


class Selector:
    """What a descriptor needs of a reactor: to remember whether it wants to write."""

    def __init__(self) -> None:
        """Begin idle."""
        self.writers: set[FileDescriptor] = set()

    def addWriter(self, writer: FileDescriptor) -> None:
        """Remember it."""
        self.writers.add(writer)

    def removeWriter(self, writer: FileDescriptor) -> None:
        """Forget it."""
        self.writers.discard(writer)

    def addReader(self, reader: FileDescriptor) -> None:
        """Ignore it."""

    removeReader = addReader


class Socket(FileDescriptor):
    """A transport over a kernel with ``room`` for so many bytes, which takes ``sizes`` at a time if there are any."""

    def __init__(self, room: int) -> None:
        """Connect."""
        super().__init__(Selector())  # type: ignore[arg-type]
        self.connected = 1
        self.room = room
        self.sizes: deque[int] = deque()
        self.got = b""
        self.writes: list[bytes] = []
        self.calls: list[Any] = []
        self.lost = False

    def writeSomeData(self, data: Any) -> int | BaseException:
        """Take what there is room for, at most a block."""
        self.calls.append(data)
        if self.lost:
            return CONNECTION_LOST
        taken = bytes(data)[: min(self.sizes.popleft() if self.sizes else self.room, self.room, self.SEND_LIMIT)]
        self.room -= len(taken)
        self.got += taken
        return len(taken)

    def write(self, data: bytes) -> None:
        """Note what is given, as it is."""
        self.writes.append(data)
        super().write(data)

    def turn(self) -> None:
        """Let the reactor find the socket writable once."""
        if self in self.reactor.writers:
            self.doWrite()  # type: ignore[no-untyped-call]

    def drain(self, room: int = 1 << 40) -> None:
        """Let the peer read so many bytes more."""
        self.room += room
        while self in self.reactor.writers and self.room:
            self.turn()

    @property
    def held(self) -> int:
        """Give the number of bytes that the transport itself holds."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen


class Desk:
    """An outbox with all that is around it."""

    def __init__(self, *, direct: bool = True, room: int = 0, limits: Limits = LIMITS) -> None:
        """Connect."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.turn = Turn()
        self.socket = Socket(room)
        self.ends: list[str] = []
        self.outbox = Outbox(
            self.socket,
            self.turn,
            self.clock,
            limits,
            self.ends.append,
            peer="a peer",
            direct=direct,  # type: ignore[arg-type]
        )

    def put(self, *data: bytes) -> None:
        """Put something within one turn."""
        with self.turn:
            for piece in data:
                self.outbox.put(piece)

    def close(self) -> None:
        """Do what a session does when the connection is lost."""
        self.outbox.forget()


@pytest.fixture
def warnings() -> Any:
    """Give the warnings that are logged."""
    seen: list[Any] = []

    def observer(event: Any) -> None:
        if event.get("log_namespace") == "brokerkit.outbox":
            seen.append(event)

    globalLogPublisher.addObserver(observer)
    yield seen
    globalLogPublisher.removeObserver(observer)


# -- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direct", DIRECT)
def test_nothing_is_written_before_the_turn_ends(direct: bool) -> None:
    """A turn's frames go out together, by one write."""
    desk = Desk(direct=direct, room=BLOCK)
    with desk.turn:
        desk.outbox.put(b"one ")
        desk.outbox.put(b"two")
        assert desk.outbox.pending == 7
        assert not desk.socket.calls
        assert not desk.socket.writes
    desk.socket.turn()
    assert desk.socket.got == b"one two"
    assert len(desk.socket.calls) == 1
    assert (desk.outbox.pending, desk.outbox.sent) == (0, 7)


def test_a_plain_socket_is_written_to_at_once() -> None:
    """No turn of the reactor lies between a message and the kernel."""
    desk = Desk(room=BLOCK)
    desk.put(b"hello")
    assert desk.socket.got == b"hello"
    assert not desk.socket.writes
    assert desk.socket.producer is None


def test_a_lone_piece_is_not_copied() -> None:
    """What is shared with other outboxes goes to the kernel as it is."""
    desk = Desk(room=BLOCK)
    desk.put(piece := b"x" * 1000)
    assert desk.socket.calls == [piece]
    assert desk.socket.calls[0] is piece


def test_big_pieces_are_not_joined() -> None:
    """From ``SMALL`` on a piece is kept as it is, small neighbours are joined up to a block."""
    desk = Desk()
    big = b"x" * SMALL
    desk.put(b"warm up")
    small = [b"y" * 1000] * 200
    desk.put(b"s1", b"s2", big, *small, big, b"s3")
    blocks = list(desk.outbox._backlog or ())
    assert b"".join(blocks) == b"warm ups1s2" + big + b"".join(small) + big + b"s3"
    assert [block is big for block in blocks].count(True) == 2
    assert all(len(block) < BLOCK + SMALL for block in blocks)
    sizes = [len(b) for b in blocks if b is not big]
    assert (sizes[:2], sum(sizes[2:4]), sizes[4:]) == ([7, 4], 200_000, [2])
    assert BLOCK - 1000 < sizes[2] < BLOCK + 1000


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 5])
def test_more_than_a_block_goes_at_once(size: int) -> None:
    """Twisted offers the kernel a block at a time; as long as it takes them whole, more are offered."""
    limits = Limits(limit=64 * BLOCK)
    desk = Desk(room=size, limits=limits)
    desk.put(data := bytes(i % 251 for i in range(size)))
    assert desk.socket.got == data
    assert desk.outbox.pending == 0
    assert not desk.socket.writes


def test_a_full_kernel_is_asked_once() -> None:
    """A kernel that takes nothing is not asked again in the same turn."""
    desk = Desk(room=0)
    desk.put(b"hello")
    assert len(desk.socket.calls) == 1


def test_the_transport_holds_nothing() -> None:
    """All that the kernel does not take waits in the outbox, where it is counted and can be thrown away at once."""
    desk = Desk(room=0, limits=Limits(limit=64 * BLOCK))
    desk.put(b"x" * (10 * BLOCK))
    assert (desk.socket.held, desk.outbox.pending) == (0, 10 * BLOCK)
    desk.socket.drain(BLOCK + 1)
    assert (desk.socket.held, desk.outbox.pending) == (0, 9 * BLOCK - 1)
    desk.socket.drain()
    assert len(desk.socket.got) == 10 * BLOCK
    assert desk.outbox.pending == 0


def test_small_pieces_of_many_turns_are_written_together() -> None:
    """What came in a thousand turns while the peer was slow does not take a thousand system calls."""
    desk = Desk(room=0)
    for i in range(1000):
        desk.put(b"%4d" % i)
    desk.socket.calls.clear()
    desk.socket.drain()
    assert desk.socket.got == b"".join(b"%4d" % i for i in range(1000))
    assert len(desk.socket.calls) < 10


@pytest.mark.parametrize("direct", DIRECT)
def test_what_is_empty_is_nothing(direct: bool) -> None:
    """Putting no bytes neither writes nor stops what waits behind."""
    desk = Desk(direct=direct, room=3)
    desk.put(b"")
    assert not desk.socket.calls
    desk.put(b"x" * 100_000)
    desk.put(b"", b"")
    desk.put(b"y")
    desk.socket.drain()
    assert desk.socket.got == b"x" * 100_000 + b"y"


@pytest.mark.parametrize("direct", DIRECT)
@settings(deadline=None)
@given(
    turns=st.lists(st.lists(st.integers(1, 90), max_size=6), max_size=8),
    sizes=st.lists(st.integers(0, 80), max_size=30),
    reads=st.lists(st.integers(0, 200), max_size=8),
)
def test_short_writes_resume_where_they_stopped(
    *, turns: list[list[int]], sizes: list[int], reads: list[int], direct: bool
) -> None:
    """Whatever the kernel takes and whenever, the peer gets the same bytes, and the counts are right."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 64)
        patch.setattr(module, "SMALL", 16)
        patch.setattr(Socket, "SEND_LIMIT", 64)
        patch.setattr(Socket, "bufferSize", 64)
        desk = Desk(direct=direct, room=100)
        socket, outbox = desk.socket, desk.outbox
        socket.sizes.extend(sizes)
        put, number, reading = b"", 0, deque(reads)
        for lengths in turns:
            pieces = []
            for length in lengths:
                number += 1
                pieces.append(bytes([number]) * length)
            desk.put(*pieces)
            put += b"".join(pieces)
            assert put.startswith(socket.got)
            assert outbox.pending == len(put) - outbox.sent
            if reading:
                socket.room += reading.popleft()
                socket.turn()
        socket.sizes.clear()
        socket.drain()
        assert socket.got == put
        assert (outbox.pending, outbox.sent) == (0, len(put))
        assert (socket.producer is None) is direct
        room, sizes = socket.room, len(socket.calls)
        desk.put(b"end")
        socket.turn()
        assert socket.got == put + b"end"
        assert (socket.room, len(socket.calls)) == (room - 3, sizes + 1)


@pytest.mark.parametrize("direct", DIRECT)
def test_a_lost_connection_raises_nothing(direct: bool) -> None:
    """That the peer has gone is the reactor's to say: a write that finds out first is quiet about it."""
    desk = Desk(direct=direct, room=BLOCK)
    desk.socket.lost = True
    desk.put(b"hello")
    desk.put(b"hello")
    assert desk.socket in desk.socket.reactor.writers
    assert desk.socket.doWrite() is CONNECTION_LOST  # type: ignore[no-untyped-call]
    desk.close()
    desk.put(b"hello")
    assert desk.outbox.pending == 0
    assert not desk.clock.getDelayedCalls()
    assert desk.ends == []


def test_a_connection_that_is_lost_in_the_middle() -> None:
    """What the kernel took before is counted, and nothing raises."""
    desk = Desk(room=BLOCK, limits=Limits(limit=64 * BLOCK))
    write = desk.socket.writeSomeData

    def once(data: Any) -> int | BaseException:
        taken = write(data)
        desk.socket.lost = True
        return taken

    desk.socket.writeSomeData = once  # type: ignore[method-assign]
    desk.put(b"x" * (3 * BLOCK))
    assert desk.socket.got == b"x" * BLOCK


def test_a_transport_that_is_gone_already() -> None:
    """A transport that refuses its producer makes no trouble; the deadline ends it if nobody else does."""
    desk = Desk(room=0)
    desk.socket.disconnected = 1
    desk.put(b"hello")
    desk.clock.advance(LIMITS.deadline)
    assert desk.ends == ["deadline"]


# -- the slow ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direct", DIRECT)
def test_the_limit(direct: bool, warnings: list[Any]) -> None:
    """A reader for whom too much waits is given up: its memory is free at once, and nothing is put any more."""
    desk = Desk(direct=direct)
    desk.put(b"x" * 200 * KIB)
    outbox = desk.outbox
    with desk.turn:
        outbox.put(b"y" * 150 * KIB)
        assert outbox.open
        outbox.put(b"z" * 300 * KIB)
        assert (outbox.pending, outbox.open, outbox.closed) == (0, False, True)
        assert not outbox._pieces
        assert not outbox._backlog
        outbox.put(b"more")
        assert outbox.pending == 0
        assert desk.ends == []
    assert desk.ends == ["limit"]
    assert not desk.clock.getDelayedCalls()
    assert [(w["peer"], w["why"]) for w in warnings] == [("a peer", "limit")]
    assert warnings[0]["lost"] >= 400 * KIB
    written = desk.socket.held
    desk.socket.drain()
    assert len(desk.socket.got) == written
    outbox.abort("limit")
    assert len(warnings) == 1


@pytest.mark.parametrize("direct", DIRECT)
def test_exactly_the_limit(direct: bool) -> None:
    """As many bytes as the limit says may wait."""
    desk = Desk(direct=direct)
    with desk.turn:
        desk.outbox.put(b"x" * LIMITS.limit)
        assert desk.outbox.open
    assert desk.ends == []


@pytest.mark.parametrize("direct", DIRECT)
def test_the_deadline(direct: bool, warnings: list[Any]) -> None:
    """A reader that takes nothing for so long is given up, however little waits for it."""
    desk = Desk(direct=direct)
    desk.put(b"x" * 100_000)
    desk.clock.advance(LIMITS.deadline - 0.1)
    desk.put(b"more")
    assert desk.outbox.open
    desk.clock.advance(0.1)
    assert desk.ends == ["deadline"]
    assert desk.outbox.pending == 0
    assert [w["why"] for w in warnings] == ["deadline"]
    assert not desk.clock.getDelayedCalls()


@pytest.mark.parametrize("direct", DIRECT)
def test_a_reader_that_moves_is_not_given_up(direct: bool) -> None:
    """As long as it takes what the transport holds within the deadline, a reader may be as slow as it likes."""
    desk = Desk(direct=direct, limits=Limits(limit=16 * BLOCK))
    desk.put(*[b"x" * 80 * KIB] * 20)
    for _ in range(5):
        desk.clock.advance(LIMITS.deadline - 1)
        desk.socket.drain(2 * BLOCK)
    assert desk.ends == []
    desk.socket.drain()
    desk.clock.advance(100)
    assert desk.ends == []
    assert not desk.clock.getDelayedCalls()


@pytest.mark.parametrize("direct", DIRECT)
def test_a_reader_that_moves_through_one_big_piece_is_not_given_up(direct: bool) -> None:
    """Progress is bytes, not pieces: a big message over a slow line is no reason to hang up."""
    desk = Desk(direct=direct, limits=Limits(limit=64 * BLOCK))
    desk.put(b"x" * (16 * BLOCK))
    for _ in range(15):
        desk.clock.advance(2.0)
        desk.socket.drain(BLOCK)
    assert desk.ends == []


def test_one_alarm_at_the_most() -> None:
    """However often a reader stops and goes on, one timer watches it."""
    desk = Desk()
    for _ in range(5):
        desk.put(b"x")
        assert len(desk.clock.getDelayedCalls()) == 1
        desk.socket.drain(10)
        desk.socket.room = 0
        desk.clock.advance(1)
    desk.clock.advance(100)
    assert desk.ends == []


# -- pacing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direct", DIRECT)
def test_congested(direct: bool) -> None:
    """From the mark on, publishers are paced, as long as the reader has taken something within its patience."""
    desk = Desk(direct=direct, room=10 * KIB, limits=Limits(limit=16 * BLOCK))
    desk.put(*[b"x" * (BLOCK // 4)] * 12)
    assert desk.turn.congested == []
    desk.put(*[b"x" * (BLOCK // 4)] * 28)
    assert desk.turn.congested == [desk.outbox]
    assert desk.outbox.congested
    desk.clock.advance(LIMITS.patience)
    assert not desk.outbox.congested
    desk.put(b"x")
    assert desk.turn.congested == []
    desk.socket.drain(2 * BLOCK)
    assert desk.outbox.congested
    desk.put(b"x")
    assert desk.turn.congested == [desk.outbox]
    desk.socket.drain()
    assert not desk.outbox.congested


def test_other_limits() -> None:
    """Limits that are given later hold for what is waiting: who publishes is paced before the reader is given up."""
    desk = Desk()
    desk.put(b"x" * 20 * KIB)
    assert not desk.outbox.congested
    desk.outbox.follow(Limits(limit=40 * KIB, deadline=5.0, patience=2.0))
    assert desk.outbox.congested
    assert not desk.outbox.brimming
    desk.put(b"x" * 15 * KIB)
    assert desk.outbox.brimming
    desk.clock.advance(5.0)
    assert desk.outbox.open  # an alarm that is set already goes by the time that it was set for
    desk.put(b"x" * 15 * KIB)
    assert desk.outbox.closed


def test_able() -> None:
    """A member of a queue group gets messages until the brim, and none when its connection is being closed."""
    desk = Desk()
    desk.put(b"x" * 20 * KIB)
    assert desk.outbox.able
    desk.put(b"x" * LIMITS.brim)
    assert not desk.outbox.able
    desk.socket.drain()
    assert desk.outbox.able
    desk.outbox.finish()
    assert not desk.outbox.able


@pytest.mark.parametrize("direct", DIRECT)
def test_waiting_for_room(direct: bool) -> None:
    """Who waits is called once, when less than the mark is left."""
    desk, calls = Desk(direct=direct), []
    desk.put(*[b"x" * 20 * KIB] * 15)
    desk.outbox.when_drained(lambda outbox: calls.append(outbox.pending))
    desk.socket.drain(40 * KIB)
    assert calls == []
    desk.socket.drain(180 * KIB)
    assert len(calls) == 1
    assert calls[0] < LIMITS.mark
    desk.put(*[b"x" * 20 * KIB] * 15)
    desk.socket.drain()
    assert len(calls) == 1


def test_waiting_is_asked_for_once_and_can_be_called_off() -> None:
    """Who asks again and again is called once, so that nothing piles up behind a slow reader; or not at all."""
    desk, calls, others = Desk(), [], []
    desk.put(*[b"x" * 20 * KIB] * 15)
    for _ in range(100):
        desk.outbox.when_drained(calls.append)
        desk.outbox.when_drained(others.append)
    desk.outbox.never_mind(others.append)
    desk.outbox.never_mind(print)
    desk.socket.drain()
    assert calls == [desk.outbox]
    assert others == []
    desk.outbox.never_mind(calls.append)


def test_brimming() -> None:
    """Publishers wait without a bound only for a reader that is nearly at its limit and makes progress."""
    desk = Desk()
    desk.put(b"x" * (LIMITS.brim - 1))
    assert not desk.outbox.brimming
    desk.put(b"x")
    assert desk.outbox.brimming
    desk.clock.advance(LIMITS.patience)
    assert not desk.outbox.brimming


@pytest.mark.parametrize("how", ["abort", "forget", "finish"])
def test_nobody_waits_for_who_is_gone(how: str) -> None:
    """Those who wait for room go on when the reader is given up or lost, or has all it can get."""
    desk, calls = Desk(), []
    desk.put(b"x" * LIMITS.brim)
    desk.put(b"x" * 100)
    desk.outbox.when_drained(lambda _: calls.append(1))
    if how == "abort":
        desk.outbox.abort("test")
    elif how == "forget":
        desk.outbox.forget()
    else:
        desk.outbox.finish()
        desk.socket.drain()
    assert calls == [1]


# -- leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direct", DIRECT)
@pytest.mark.parametrize("size", [1, 50_000, 70_000, 300_000])
@pytest.mark.parametrize("room", [0, 1, 1 << 30])
def test_finishing_writes_everything_first(direct: bool, size: int, room: int) -> None:
    """All that was put is written, then the end is told, once; what is put behind that is not."""
    desk = Desk(direct=direct, room=room)
    with desk.turn:
        desk.outbox.put(b"x" * size)
        desk.outbox.finish()
        desk.outbox.put(b"too late")
        desk.outbox.finish()
    desk.put(b"too late")
    desk.socket.drain()
    assert desk.socket.got == b"x" * size
    assert desk.ends == ["finished"]
    assert desk.socket.producer is None
    assert desk.outbox.closed
    assert not desk.clock.getDelayedCalls()


@pytest.mark.parametrize("direct", DIRECT)
def test_finishing_behind_a_short_rest(direct: bool) -> None:
    """Also where the last of what waits fits into the transport, which then has no reason to ask for more."""
    desk = Desk(direct=direct)
    desk.put(b"x" * 200_000)
    desk.put(b"rest")
    desk.outbox.finish()
    assert desk.ends == []
    desk.socket.drain()
    assert desk.socket.got == b"x" * 200_000 + b"rest"
    assert desk.ends == ["finished"]


@pytest.mark.parametrize("direct", DIRECT)
def test_finishing_when_there_is_nothing(direct: bool) -> None:
    """An empty outbox is done at once, and frees the transport to close."""
    desk = Desk(direct=direct)
    desk.outbox.finish()
    assert desk.ends == ["finished"]
    assert desk.socket.producer is None


@pytest.mark.parametrize("direct", DIRECT)
def test_who_does_not_read_the_end_is_given_up(direct: bool) -> None:
    """Finishing does not wait for ever: the deadline holds there too."""
    desk = Desk(direct=direct)
    desk.put(b"x" * 200_000)
    desk.outbox.finish()
    assert desk.ends == []
    desk.clock.advance(LIMITS.deadline)
    assert desk.ends == ["deadline"]


@pytest.mark.parametrize("direct", DIRECT)
def test_a_closed_outbox_accepts_nothing(direct: bool) -> None:
    """Nothing that is put, nothing that the transport or the clock still calls, does anything behind the end."""
    desk = Desk(direct=direct)
    desk.put(b"x" * 100_000)
    desk.outbox.forget()
    desk.put(b"more")
    desk.outbox.finish()
    desk.outbox.abort("test")
    desk.outbox.pauseProducing()
    desk.outbox.resumeProducing()
    desk.outbox.stopProducing()
    desk.clock.advance(100)
    assert desk.outbox.pending == 0
    assert desk.ends == []


def test_nothing_is_allocated_before_it_is_needed() -> None:
    """A connection that only listens costs no buffers, and one that has caught up gives them back."""
    desk = Desk(room=BLOCK)
    assert desk.outbox._backlog is None
    desk.put(b"x")
    assert desk.outbox._backlog is None
    desk.socket.room = 0
    desk.put(b"x")
    assert desk.outbox._backlog is not None
    desk.socket.drain()
    assert desk.outbox._backlog is None
