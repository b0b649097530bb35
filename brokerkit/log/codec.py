"""Batches as bytes and back: columns, not records, so that Python does a few calls for each batch, not for each field.

A batch is what one row of the store holds: records of one partition, in the order of their offsets.  Its body is a
head that says how each column is written, and the columns.  What most batches have in common takes next to nothing: one
sender, no keys, no headers, offsets and sequences without holes, one length for all.  Numbers are little-endian.

Whoever reads much (JSON for a thousand records) takes the columns of a ``Batch`` and needs no object for each record.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_left, bisect_right
from functools import partial
from itertools import accumulate, chain, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from brokerkit.bodies import Bodies, united
from brokerkit.log.spread import Spread
from brokerkit.log.words import Headers, Kind, Stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.bodies import United

VERSION = 1
NULL = 0xFFFFFFFF  # a length that says: null
KINDS: tuple[Kind, Kind] = ("create", "append")
SMALL = 4  # less than that part of a row is taken apart by itself
SWAPPED = sys.byteorder == "big"

# How a column is written.
NOTHING = 0  # null, or 0, throughout
SAME = 1  # one value for all
EVEN = 2  # bytes of one length; numbers that are consecutive
UNEVEN = 3  # bytes with their lengths; numbers as differences to the least
WIDE = 4  # numbers as they are

_HEAD = struct.Struct("<BBI9B")  # version, kind, count, the form of each column
_LENGTH = struct.Struct("<I")
_NUMBER = struct.Struct("<q")
_PAIR = struct.Struct("<II")
_ROW = struct.Struct("<9q")

_stored = partial(tuple.__new__, Stored)  # past the constructor, which is a function of Python


class Corrupt(ValueError):
    """The bytes are no batch."""


class Piece:
    """Records on their way to the store: values, and for every other column one value for all, or a list.

    ``headers`` are packed; values may stand one behind the other (``Bodies``).  ``size`` is the bytes of all of it, as
    they count against bounds.
    """

    __slots__ = (
        "count",
        "headers",
        "keys",
        "kind",
        "missing",
        "replies",
        "senders",
        "sequences",
        "size",
        "timestamps",
        "values",
    )

    def __init__(
        self,
        values: list[bytes | None] | Bodies,
        keys: list[bytes | None] | None,
        headers: list[bytes] | bytes,
        senders: list[bytes] | bytes,
        replies: list[bytes] | bytes,
        timestamps: list[int] | int,
        kind: int,
        size: int,
    ) -> None:
        """Take the columns; sequences are given later: the number of the first, all, or all in the form of a Spread."""
        self.values = values
        self.count = len(values)
        self.keys = keys
        self.headers = headers
        self.senders = senders
        self.replies = replies
        self.timestamps = timestamps
        self.kind = kind
        self.size = size
        self.sequences: Sequence[int] | Spread | int = 0
        self.missing: list[int] | int = 0

    @property
    def last_sequence(self) -> int:
        """The place of the last record in the stream."""
        given = self.sequences
        return given + self.count - 1 if isinstance(given, int) else given[-1]

    def split(self, most: int) -> list[Piece]:
        """Give pieces of about so many bytes each, of one record at the least."""
        values = self.values
        sizes = values.sizes if isinstance(values, Bodies) else [len(value) if value else 0 for value in values]
        total = sum(sizes)
        others = (self.size - total) // self.count  # bytes of keys and the like
        if sizes.count(sizes[0]) == self.count:  # mostly they are alike
            each = max(sizes[0] + others, 1)
            ends: Sequence[int] = range(0, each * self.count + 1, each)
        else:
            ends = list(accumulate([size + others for size in sizes], initial=0))
        found, start = [], 0
        while start < self.count:
            stop = max(bisect_right(ends, ends[start] + most) - 1, start + 1)
            found.append(self._cut(start, stop, ends[stop] - ends[start]))
            start = stop
        return found

    def _cut(self, start: int, stop: int, size: int) -> Piece:
        columns: tuple[Any, ...] = (self.headers, self.senders, self.replies, self.timestamps)
        headers, senders, replies, timestamps = (c[start:stop] if isinstance(c, list) else c for c in columns)
        keys = None if self.keys is None else self.keys[start:stop]
        piece = Piece(self.values[start:stop], keys, headers, senders, replies, timestamps, self.kind, size)
        given = self.sequences
        if isinstance(given, Spread):
            piece.sequences = given.part(start, stop)
        else:
            piece.sequences = given + start if isinstance(given, int) else given[start:stop]
        piece.missing = self.missing[start:stop] if isinstance(self.missing, list) else self.missing
        return piece


# -- headers ----------------------------------------------------------------------------------------------------------


def pack_headers(headers: Headers) -> bytes:
    """Give the bytes of the headers of one record; none are ``b""``."""
    parts: list[bytes] = []
    for name, value in headers:
        parts += (_PAIR.pack(len(name), NULL if value is None else len(value)), name, value or b"")
    return b"".join(parts)


def unpack_headers(packed: bytes) -> Headers:
    """Undo ``pack_headers``."""
    found: list[tuple[bytes, bytes | None]] = []
    place, end = 0, len(packed)
    while place < end:
        named, valued = _PAIR.unpack_from(packed, place)
        place += 8
        name = packed[place : place + named]
        place += named
        if valued == NULL:
            found.append((name, None))
        else:
            found.append((name, packed[place : place + valued]))
            place += valued
    return tuple(found)


# -- columns ----------------------------------------------------------------------------------------------------------


def _little(numbers: array[int]) -> bytes:
    if SWAPPED:
        numbers.byteswap()
    return numbers.tobytes()


def _pack_united(column: United, out: list[bytes]) -> int:
    joined, lengths = column
    is_even = isinstance(lengths, int)
    out.append(_LENGTH.pack(lengths) if is_even else _little(lengths))  # type: ignore[arg-type]  # a number or not
    out += joined
    return EVEN if is_even else UNEVEN


def _pack_bytes(column: Sequence[bytes | None] | bytes | None, out: list[bytes]) -> int:
    """Add the column to ``out`` and give its form; one value stands for all."""
    if column is None:
        return NOTHING
    if isinstance(column, bytes):
        out += (_LENGTH.pack(len(column)), column)
        return SAME
    if None in column:
        if column.count(None) == len(column):
            return NOTHING
        lengths = array("I", [NULL if one is None else len(one) for one in column])
        out += (_little(lengths), b"".join(filter(None, column)))
        return UNEVEN
    lengths = array("I", map(len, column))  # type: ignore[arg-type]  # none is null
    first = lengths[0]
    if lengths.count(first) == len(lengths):
        out += (_LENGTH.pack(first), b"".join(column))  # type: ignore[arg-type]
        return EVEN
    out += (_little(lengths), b"".join(column))  # type: ignore[arg-type]
    return UNEVEN


def _pack_numbers(column: Sequence[int] | Spread | _Repeated | int, out: list[bytes]) -> int:
    if isinstance(column, int):
        if not column:
            return NOTHING
        out.append(_NUMBER.pack(column))
        return SAME
    if isinstance(column, (_Repeated, Spread)):
        return _pack_repeated(column, out) if isinstance(column, _Repeated) else _pack_places(column, out)
    first, count = column[0], len(column)
    if column.count(first) == count:
        return _pack_numbers(first, out)
    if isinstance(column, range) or (column[-1] - first == count - 1 and column == list(range(first, first + count))):
        out.append(_NUMBER.pack(first))
        return EVEN
    return _pack_spread(column, out)


def _pack_places(column: Spread, out: list[bytes]) -> int:
    numbers = column.run()
    if numbers is not None:
        return _pack_numbers(numbers, out)
    out += (_NUMBER.pack(column.first), _little(column.places[:]))
    return UNEVEN


def _pack_spread(column: Sequence[int], out: list[bytes]) -> int:
    least = min(column)
    if max(column) - least <= NULL:
        out += (_NUMBER.pack(least), _little(array("I", [one - least for one in column])))
        return UNEVEN
    out.append(_little(array("q", column)))
    return WIDE


def _pack_repeated(column: _Repeated, out: list[bytes]) -> int:
    least = min(column.numbers)
    narrow = max(column.numbers) - least <= NULL
    written = array("I" if narrow else "q")
    for number, count in zip(column.numbers, column.counts, strict=True):
        written += array(written.typecode, [number - least if narrow else number]) * count
    if narrow:
        out.append(_NUMBER.pack(least))
    out.append(_little(written))
    return UNEVEN if narrow else WIDE


class _Reader:
    """Where one is in a body; of each column the records ``start`` to ``stop`` are taken out."""

    __slots__ = ("body", "count", "place", "start", "stop")

    def __init__(self, body: bytes, place: int, count: int, start: int, stop: int) -> None:
        self.body = body
        self.place = place
        self.count = count
        self.start = start
        self.stop = stop

    def length(self) -> int:
        value: int = _LENGTH.unpack_from(self.body, self.place)[0]
        self.place += 4
        return value

    def number(self) -> int:
        value: int = _NUMBER.unpack_from(self.body, self.place)[0]
        self.place += 8
        return value

    def column(self, code: str, start: int, stop: int) -> array[int]:
        """Give numbers ``start`` to ``stop`` of a column, and go behind all of it."""
        numbers = array(code)
        size, begin = numbers.itemsize, self.place
        self.place = end = begin + self.count * size
        if end > len(self.body):
            raise Corrupt("a column ends too early")
        numbers.frombytes(self.body[begin + start * size : begin + stop * size])
        if SWAPPED:
            numbers.byteswap()
        return numbers

    def texts(self, form: int, nothing: bytes | None) -> list[Any]:
        wanted = self.stop - self.start
        if form == NOTHING:
            return [nothing] * wanted
        if form == SAME:
            length, begin = self.length(), self.place
            self.place += length
            return [self.body[begin : begin + length]] * wanted
        if form == EVEN:
            return self._even(self.length())
        if form != UNEVEN:
            raise Corrupt("a column has no known form")
        lengths = self.column("I", 0, self.count)
        if NULL in lengths:
            return self._with_nulls(lengths)
        body, places = self.body, list(accumulate(lengths, initial=self.place))
        self.place = places[-1]
        return [body[a:b] for a, b in pairwise(places[self.start : self.stop + 1])]

    def _even(self, length: int) -> list[bytes]:
        body, begin = self.body, self.place
        self.place += length * self.count
        if not length:
            return [b""] * (self.stop - self.start)
        places = range(begin + self.start * length, begin + self.stop * length, length)
        return [body[i : i + length] for i in places]

    def _with_nulls(self, lengths: array[int]) -> list[bytes | None]:
        found: list[bytes | None] = []
        body, place = self.body, self.place
        for length in lengths:
            if length == NULL:
                found.append(None)
            else:
                found.append(body[place : place + length])
                place += length
        self.place = place
        return found[self.start : self.stop]

    def numbers(self, form: int) -> Sequence[int]:
        wanted = self.stop - self.start
        if form == NOTHING:
            return [0] * wanted
        if form == SAME:
            return [self.number()] * wanted
        if form == EVEN:
            first = self.number()
            return range(first + self.start, first + self.stop)
        if form == UNEVEN:
            least = self.number()
            return [least + one for one in self.column("I", self.start, self.stop)]
        if form != WIDE:
            raise Corrupt("a column has no known form")
        return self.column("q", self.start, self.stop).tolist()


def _joined(pieces: Sequence[Piece], name: str, nothing: Any) -> Any:  # noqa: ANN401  a column of any kind
    """Give a column of several pieces: one value if all have it, else a list."""
    columns = [getattr(piece, name) for piece in pieces]
    first = columns[0]
    if not isinstance(first, list) and all(not isinstance(one, list) and one == first for one in columns):
        return first
    found: list[Any] = []
    for piece, column in zip(pieces, columns, strict=True):
        if isinstance(column, list):
            found += column
        else:
            found += [nothing if column is None else column] * piece.count
    return found


def _values(pieces: Sequence[Piece]) -> Any:  # noqa: ANN401  a column
    """Give the values of several pieces, not taken apart where all stand one behind the other."""
    columns = [piece.values for piece in pieces]
    if all(type(column) is Bodies for column in columns):
        return united(columns)  # type: ignore[arg-type]
    return columns[0] if len(columns) == 1 else list(chain.from_iterable(columns))


def _sequences(pieces: Sequence[Piece]) -> Sequence[int] | Spread:
    first = pieces[0].sequences
    if len(pieces) == 1:
        return range(first, first + pieces[0].count) if isinstance(first, int) else first
    runs = [(piece.sequences, piece.count) for piece in pieces]
    if all(isinstance(given, int) for given, _ in runs) and all(a + n == b for (a, n), (b, _) in pairwise(runs)):  # type: ignore[operator]
        return range(first, runs[-1][0] + runs[-1][1])  # type: ignore[arg-type, operator]
    found: list[int] = []
    for given, count in runs:
        found += range(given, given + count) if isinstance(given, int) else given
    return found


class _Repeated(NamedTuple):
    """A column of numbers, each so many times in a row: there may be far fewer of them than records."""

    numbers: list[int]
    counts: list[int]


def _timestamps(pieces: Sequence[Piece]) -> Any:  # noqa: ANN401  a column of any kind
    if any(isinstance(piece.timestamps, list) for piece in pieces):
        return _joined(pieces, "timestamps", 0)
    times: list[Any] = [piece.timestamps for piece in pieces]
    if times.count(times[0]) == len(times):
        return times[0]
    return _Repeated(times, [piece.count for piece in pieces])


# -- whole batches ----------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A batch as the store has it: the offsets ``base`` to ``last``, ``records`` of them; times in ms since 1970.

    ``low`` and ``high`` are the least and the greatest timestamp, ``peak`` is the greatest of all records up to here.
    ``stored`` is when it was put here.  ``sequence`` is that of the first record.
    """

    part: int
    last: int
    base: int
    records: int
    low: int
    high: int
    peak: int
    stored: int
    sequence: int
    crc: int
    body: bytes


def checksum(row: Row) -> int:
    """Give the CRC-32 of all that is in a row."""
    return crc32(row.body, crc32(_ROW.pack(*row[:9])))


def is_sound(row: Row) -> bool:
    """Say whether a row is what was written; damage may have made its columns be of any type."""
    try:
        return checksum(row) == row.crc
    except (struct.error, TypeError):
        return False


def encode(part: int, base: int, pieces: Sequence[Piece], stored: int, peak: int) -> Row:
    """Give the row of records that follow each other, from the offset ``base`` on; ``peak`` is that of the row before.

    The pieces are of one kind.
    """
    first = pieces[0]
    if len(pieces) == 1:
        values, keys, timestamps = _values(pieces), first.keys, first.timestamps
        headers, senders, replies, missing = first.headers, first.senders, first.replies, first.missing
    else:
        values = _values(pieces)
        keys = _joined(pieces, "keys", None)
        timestamps = _timestamps(pieces)
        headers, senders = _joined(pieces, "headers", b""), _joined(pieces, "senders", b"")
        replies, missing = _joined(pieces, "replies", b""), _joined(pieces, "missing", 0)
    texts = (values, keys, headers, senders, replies)
    count = sum([piece.count for piece in pieces])
    numbers = (timestamps, _sequences(pieces), range(base, base + count), missing)
    return _row(part, first.kind, texts, numbers, stored, peak)


def _row(part: int, kind: int, texts: Sequence[Any], numbers: Sequence[Any], stored: int, peak: int) -> Row:
    timestamps, sequences, offsets, _ = numbers
    out: list[bytes] = [b""]
    values, *others = texts
    forms = [_pack_united(values, out) if isinstance(values, tuple) else _pack_bytes(values, out)]
    forms += [_pack_bytes(column, out) for column in others]
    forms += [_pack_numbers(column, out) for column in numbers]
    out[0] = _HEAD.pack(VERSION, kind, len(offsets), *forms)
    times = timestamps.numbers if isinstance(timestamps, _Repeated) else timestamps
    low, high = (times, times) if isinstance(times, int) else (min(times), max(times))
    base, last = offsets[0], offsets[-1]
    peak = max(peak, high)
    row = Row(part, last, base, len(offsets), low, high, peak, stored, sequences[0], 0, b"".join(out))
    return row._replace(crc=checksum(row))


def gap(part: int, first: int, last: int, stored: int, peak: int) -> Row:
    """Give the row of one record that stands for the offsets ``first`` to ``last``, all of which are lost."""
    piece = Piece([None], None, b"", b"", b"", stored, 0, 0)
    piece.missing = last - first + 1
    row = encode(part, first, [piece], stored, peak)._replace(last=last)
    return row._replace(crc=checksum(row))


class Batch:
    """A row, taken apart where it is looked at: ``raw`` fetches give these.

    ``start`` and ``stop`` are the part that was asked for: the columns have only that.  A small part of a row is taken
    apart by itself, a larger one with all of the row, which other views have then, too.
    """

    __slots__ = ("_before", "_columns", "kind", "row", "start", "stop")

    def __init__(self, row: Row) -> None:
        """Take a sound row."""
        self.row = row
        self._columns: tuple[Sequence[Any], ...] | None = None
        self._before = 0  # the records of the row before those in the columns
        self.start = 0
        self.stop = row.records
        version, kind = row.body[0], row.body[1]
        if version != VERSION or kind > 1:
            raise Corrupt("the batch is of another version")
        self.kind: Kind = KINDS[kind]

    def __len__(self) -> int:
        """Give the number of records."""
        return self.stop - self.start

    def whole(self) -> tuple[Sequence[Any], ...]:
        """Give all columns of the row, in the order in which they are written."""
        if self._columns is None or not self._has_whole():
            self._columns, self._before = _columns(self.row, 0, self.row.records), 0
        return self._columns

    def _column(self, index: int) -> Sequence[Any]:
        if self._columns is None:
            self._columns, self._before = _columns(self.row, self.start, self.stop), self.start
        column: Sequence[Any] = self._columns[index]
        if self.stop - self.start == len(column):
            return column
        return column[self.start - self._before : self.stop - self._before]

    @property
    def values(self) -> Sequence[bytes | None]:
        """The values; ``None`` is null."""
        return self._column(0)

    @property
    def keys(self) -> Sequence[bytes | None]:
        """The keys; ``None`` is null."""
        return self._column(1)

    @property
    def headers(self) -> Sequence[Headers]:
        """The headers, unpacked."""
        return _unpacked(self._column(2))

    @property
    def senders(self) -> Sequence[bytes]:
        """The names of the users who published."""
        return self._column(3)

    @property
    def replies(self) -> Sequence[bytes]:
        """Where an answer was expected, ``b""`` for nowhere."""
        return self._column(4)

    @property
    def timestamps(self) -> Sequence[int]:
        """In ms since 1970."""
        return self._column(5)

    @property
    def sequences(self) -> Sequence[int]:
        """The places in the stream."""
        return self._column(6)

    @property
    def offsets(self) -> Sequence[int]:
        """The offsets, with holes where a topic was compacted."""
        return self._column(7)

    @property
    def missing(self) -> Sequence[int]:
        """For each record how many messages it stands for that are missing, 0 for what is a record."""
        return self._column(8)

    @property
    def has_headers(self) -> bool:
        """Whether any record has headers."""
        return any(self._column(2))

    def part(self, start: int, stop: int) -> Batch:
        """Give a view of the records ``start`` to ``stop``, counted in the row."""
        view = Batch(self.row)
        if (stop - start) * SMALL >= self.row.records or self._has_whole():
            view._columns = self.whole()
        view.start, view.stop = start, stop
        return view

    def _has_whole(self) -> bool:
        return self._columns is not None and len(self._columns[0]) == self.row.records

    def find(self, offset: int) -> int:
        """Give the place in the row of the first record with that offset, or a later one."""
        row = self.row
        if row.last - row.base + 1 == row.records:
            return min(max(offset - row.base, 0), row.records)
        return bisect_left(self.whole()[7], offset)

    def records(self) -> list[Stored]:
        """Give an object for each record."""
        count = len(self)
        columns = (
            self.offsets,
            self.timestamps,
            [self.kind] * count,
            self.keys,
            self.values,
            self.headers,
            self.senders,
            self.sequences,
            self.replies,
            self.missing,
        )
        return list(map(_stored, zip(*columns, strict=True)))


def _columns(row: Row, start: int, stop: int) -> tuple[Sequence[Any], ...]:
    try:
        _, _, count, *forms = _HEAD.unpack_from(row.body)
        if count != row.records:
            raise Corrupt("the batch counts its records wrongly")
        reader = _Reader(row.body, _HEAD.size, count, start, stop)
        texts = [reader.texts(form, nothing) for form, nothing in zip(forms, _NOTHINGS, strict=False)]
        numbers = [reader.numbers(form) for form in forms[len(texts) :]]
    except (struct.error, IndexError) as error:
        raise Corrupt(str(error)) from None
    return (*texts, *numbers)


_NOTHINGS: tuple[bytes | None, ...] = (None, None, b"", b"", b"")


def _unpacked(packed: Sequence[bytes]) -> Sequence[Headers]:
    """Unpack headers, those that are alike once."""
    first = packed[0]
    if packed.count(first) == len(packed):
        return [unpack_headers(first)] * len(packed)
    known: dict[bytes, Headers] = {}
    found = []
    for one in packed:
        headers = known.get(one)
        if headers is None:
            known[one] = headers = unpack_headers(one)
        found.append(headers)
    return found


def rewrite(batches: Sequence[Batch], kept: Sequence[Sequence[int]], peak: int) -> Row | None:
    """Give one row of the records of several batches that are to be kept (places in each); ``None`` if there are none.

    The batches follow each other and are of one kind; ``peak`` is that of the last.
    """
    columns: list[list[Any]] = [[] for _ in range(_WIDTH)]
    for batch, places in zip(batches, kept, strict=True):
        if not places:
            continue
        whole = batch.whole()
        if len(places) == batch.row.records:
            for target, column in zip(columns, whole, strict=True):
                target.extend(column)
        else:
            take = itemgetter(*places) if len(places) > 1 else None
            for target, column in zip(columns, whole, strict=True):
                target.extend(take(column) if take is not None else (column[places[0]],))
    if not columns[0]:
        return None
    stored = max(batch.row.stored for batch in batches)
    kind = KINDS.index(batches[0].kind)
    texts = [_as_one(column) for column in columns[: len(_NOTHINGS)]]
    return _row(batches[0].row.part, kind, texts, columns[len(_NOTHINGS) :], stored, peak)


_WIDTH = 9


def _as_one(column: list[Any]) -> Any:  # noqa: ANN401  a column
    """Give one value for a column in which all are alike and not null."""
    first = column[0]
    return first if first is not None and column.count(first) == len(column) else column
