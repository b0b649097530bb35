"""Bytes that came in and are not yet parsed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerkit.unread import Unread


class Blocks(Unread):
    """A wire of blocks: one byte that says how long, and so many more."""

    def next(self) -> bytes | None:
        """Read one block, if it is all there."""
        if self.lacks(1) or self.lacks(1 + self.chunk[self.pos]):
            return None
        start, self.pos = self.pos + 1, self.pos + 1 + self.chunk[self.pos]
        return self.chunk[start : self.pos]


@given(blocks=st.lists(st.binary(max_size=20)), cuts=st.lists(st.integers(1, 9), min_size=1), settle=st.booleans())
def test_any_chunking_gives_the_same_blocks(blocks: list[bytes], cuts: list[int], *, settle: bool) -> None:
    """However the bytes are cut, what is parsed is what was sent, and nothing is left."""
    data = b"".join(bytes([len(b)]) + b for b in blocks)
    wire, found, fed = Blocks(), [], 0
    while fed < len(data):
        chunk = data[fed : fed + cuts[fed % len(cuts)]]
        fed += len(chunk)
        wire.feed(chunk)
        while (block := wire.next()) is not None:
            found.append(block)
        assert len(wire) == fed - sum(1 + len(b) for b in found)
        if settle:
            wire.settle()
    assert found == blocks
    assert len(wire) == 0


def test_joining_happens_once() -> None:
    """While more bytes are known to be needed, what comes is only collected."""
    wire = Unread()
    wire.feed(b"x")
    assert wire.lacks(1000)
    for _ in range(998):
        wire.feed(b"x")
        assert len(wire.chunk) == 1
    wire.feed(b"x")
    assert len(wire.chunk) == 1000
    assert not wire.lacks(1000)


def test_a_need_that_is_met_is_forgotten() -> None:
    """What was needed once does not hold back what comes later."""
    wire = Unread()
    assert wire.lacks(4)
    wire.feed(b"12345")
    wire.pos = 4
    wire.feed(b"67")
    assert wire.chunk[wire.pos :] == b"567"


def test_a_chunk_is_not_copied() -> None:
    """A chunk that comes when everything before it is parsed is looked at as it is."""
    wire = Unread()
    wire.feed(first := b"x" * 100)
    assert wire.chunk is first
    wire.pos = len(first)
    wire.feed(second := b"y" * 100)
    assert wire.chunk is second
    assert wire.pos == 0


def test_settling_lets_go_of_what_is_parsed() -> None:
    """Only the rest of a chunk is kept."""
    wire = Unread()
    wire.feed(b"x" * 1000 + b"rest")
    wire.pos = 1000
    wire.settle()
    assert (wire.chunk, wire.pos, len(wire)) == (b"rest", 0, 4)


def test_dropping_throws_all_away() -> None:
    """Behind a drop it is as if nothing had come."""
    wire = Unread()
    wire.feed(b"x")
    wire.lacks(5)
    wire.feed(b"y")
    wire.drop()
    assert len(wire) == 0
    wire.feed(b"z")
    assert wire.chunk == b"z"
