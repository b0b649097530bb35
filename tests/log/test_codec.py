"""Batches as bytes: what goes in comes out, and what is damaged is noticed."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokerkit.bodies import together
from brokerkit.log.codec import Batch, Corrupt, Piece, encode, is_sound, pack_headers, rewrite, unpack_headers
from brokerkit.log.committing import grouped
from brokerkit.log.partitioning import murmur2, pick
from brokerkit.log.spread import Spread

if TYPE_CHECKING:
    from brokerkit.log.codec import Row

TEXT = st.binary(max_size=6)
MAYBE = st.none() | TEXT
HEADERS = st.lists(st.tuples(TEXT, MAYBE), max_size=3).map(tuple)
NUMBER = st.integers(-(2**62), 2**62)
RECORD = st.tuples(MAYBE, MAYBE, HEADERS, TEXT, TEXT, NUMBER | st.integers(0, 3))
VALUES = st.lists(TEXT, min_size=1, max_size=4) | st.lists(st.just(b"even"), min_size=1, max_size=4)
RECORDS = st.lists(RECORD, min_size=1, max_size=8)


def _piece(records: list[tuple[Any, ...]], sequences: list[int] | int = 7) -> Piece:
    values, keys, headers, senders, replies, timestamps = (list(column) for column in zip(*records, strict=True))
    packed = [pack_headers(one) for one in headers]
    piece = Piece(values, keys, packed, senders, replies, timestamps, 0, sum(len(v or b"") + 10 for v in values))
    piece.sequences = sequences
    return piece


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=9, unique=True).map(sorted), NUMBER, st.data())
def test_places_in_an_order(places: list[int], first: int, data: st.DataObject) -> None:
    """Sequences that are given by what they are above one number are what is read, of a part of them too."""
    piece = Piece(together([b"x"] * len(places)), None, b"", b"me", b"", 1, 0, 1)
    piece.sequences = Spread(first, array("I", places))
    assert piece.last_sequence == first + places[-1]
    assert list(Batch(encode(3, 0, [piece], 5, 0)).sequences) == [first + one for one in places]
    for part in piece.split(1):
        at = places.index(part.sequences[0] - first)  # type: ignore[index]  # a Spread too
        assert list(part.sequences) == [first + one for one in places[at : at + part.count]]  # type: ignore[arg-type]
    twice = encode(3, 0, [piece, piece], 5, 0)
    assert list(Batch(twice).sequences) == [first + one for one in places] * 2
    start = data.draw(st.integers(0, len(places) - 1))
    assert Batch(twice).part(start, start + 1).sequences[0] == first + places[start]


def _content(row: Row) -> list[tuple[Any, ...]]:
    return [(r.value, r.key, r.headers, r.sender, r.reply, r.timestamp) for r in Batch(row).records()]


@settings(deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=4), st.integers(0, 2**40))
def test_what_goes_in_comes_out(pieces: list[list[tuple[Any, ...]]], base: int) -> None:
    """Of any records, in however many pieces: every column, offsets without holes, and times that bound them."""
    records = [record for piece in pieces for record in piece]
    row = encode(3, base, [_piece(piece) for piece in pieces], stored=5, peak=-(2**62))
    assert is_sound(row)
    assert _content(row) == records
    assert list(Batch(row).offsets) == list(range(base, base + len(records)))
    times = [record[5] for record in records]
    assert (row.low, row.high, row.peak) == (min(times), max(times), max(times))
    assert (row.base, row.last, row.records) == (base, base + len(records) - 1, len(records))


@settings(deadline=None)
@given(st.lists(st.tuples(VALUES, TEXT, NUMBER, st.booleans(), st.booleans()), min_size=1, max_size=5))
def test_pieces_of_one_sender(pieces: list[tuple[list[bytes], bytes, int, bool, bool]]) -> None:
    """What a router brings, one sender and one time for many values, is written like any other."""
    made, expected, sequence = [], [], 1
    for contents, sender, time, is_apart, is_joined in pieces:
        sequence += 100 * is_apart
        piece = Piece(together(contents) if is_joined else list(contents), None, b"", sender, b"", time, 0, 1)
        piece.sequences = sequence
        made.append(piece)
        expected += [(value, None, (), sender, b"", time, sequence + i) for i, value in enumerate(contents)]
        sequence += len(contents)
    row = encode(3, 0, made, 5, 0)
    assert is_sound(row)
    assert [(*content, r.sequence) for content, r in zip(_content(row), Batch(row).records(), strict=True)] == expected
    assert (row.low, row.high) == (min(one[5] for one in expected), max(one[5] for one in expected))


@settings(deadline=None)
@given(RECORDS, st.data())
def test_a_view_is_a_part(records: list[tuple[Any, ...]], data: st.DataObject) -> None:
    """A part of a batch has the records of that part in every column."""
    row = encode(3, 100, [_piece(records, sequences=[9 + 2 * i for i in range(len(records))])], 5, 0)
    start = data.draw(st.integers(0, len(records) - 1))
    stop = data.draw(st.integers(start + 1, len(records)))
    view = Batch(row).part(start, stop)
    assert view.records() == Batch(row).records()[start:stop]
    assert [record.sequence for record in view.records()] == [9 + 2 * i for i in range(start, stop)]


@settings(deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=3), st.data())
def test_leaving_records_out(pieces: list[list[tuple[Any, ...]]], data: st.DataObject) -> None:
    """Rewriting keeps the records that it is told to, with their offsets and sequences."""
    batches, kept, expected, place = [], [], [], 0
    for records in pieces:
        batch = Batch(encode(3, place, [_piece(records, sequences=place + 1)], 5, 0))
        places = [i for i in range(len(records)) if data.draw(st.booleans())]
        expected += [batch.records()[i] for i in places]
        batches.append(batch)
        kept.append(places)
        place += len(records)
    row = rewrite(batches, kept, peak=0)
    assert (row is None) == (not expected)
    if row is not None:
        assert is_sound(row)
        assert Batch(row).records() == expected
        assert (row.base, row.last) == (expected[0].offset, expected[-1].offset)


@settings(deadline=None)
@given(RECORDS, st.data())
def test_damage_is_noticed(records: list[tuple[Any, ...]], data: st.DataObject) -> None:
    """One bit that is another one makes a row unsound."""
    row = encode(3, 0, [_piece(records)], 5, 0)
    place = data.draw(st.integers(0, len(row.body) - 1))
    body = bytearray(row.body)
    body[place] ^= 1 << data.draw(st.integers(0, 7))
    assert not is_sound(row._replace(body=bytes(body)))
    assert not is_sound(row._replace(base=row.base + 1))


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_batch_or_refused(body: bytes) -> None:
    """Whatever stands in a row whose CRC happens to be right, nothing but ``Corrupt`` comes of it."""
    row = encode(3, 0, [_piece([(b"v", None, (), b"", b"", 1)])], 5, 0)
    try:
        found = Batch(row._replace(body=b"\x01\x00\x01\x00\x00\x00" + body))
        assert len(found.values) <= 1
    except Corrupt:
        pass


@settings(deadline=None)
@given(HEADERS)
def test_headers(headers: tuple[tuple[bytes, bytes | None], ...]) -> None:
    """Order, repetition, and null beside empty are kept."""
    assert unpack_headers(pack_headers(headers)) == headers


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20), st.integers(1, 100))
def test_rows_of_a_bounded_size(contents: list[bytes], most: int) -> None:
    """What is written together is cut into rows of about the size, in order, and none is lost."""
    pieces = [_piece([(value, None, (), b"", b"", 1) for value in contents], sequences=1) for _ in range(2)]
    pieces[1].values = together(contents)
    pieces[1].sequences = len(contents) + 1
    groups = grouped(pieces, most)
    flat = [piece for group in groups for piece in group]
    assert [value for piece in flat for value in piece.values] == contents * 2
    assert [piece.sequences for piece in flat] == [1 + sum(p.count for p in flat[:i]) for i in range(len(flat))]
    assert all(sum(p.size for p in group) <= most or sum(p.count for p in group) == 1 for group in groups)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2(key: bytes, expected: int) -> None:
    """It gives the numbers that Kafka's clients give (as signed ones, from the tests of its Java client)."""
    assert murmur2(key) == expected % 2**32


def test_which_partition() -> None:
    """A key decides, else the sender; both always say the same, and many of them use every partition."""
    for partitioner in ("sender", "murmur2"):
        assert {pick(partitioner, 4, b"k%d" % i, b"me") for i in range(99)} == {0, 1, 2, 3}
        assert {pick(partitioner, 4, None, b"s%d" % i) for i in range(99)} == {0, 1, 2, 3}
        assert {pick(partitioner, 4, b"k", b"s%d" % i) for i in range(99)} == {murmur2(b"k") % 2**31 % 4}
    assert {pick("random", 4, b"k", b"me") for _ in range(999)} == {0, 1, 2, 3}
    assert pick("random", 1, b"k", b"me") == 0
