"""Records of one partition in columns, on their way to be a ``Piece``: measured, and one value where all are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.log.bulk import Bulk
from brokerkit.log.codec import KINDS, Piece, pack_headers
from brokerkit.log.words import TooLarge, Unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.log.words import TopicSettings, Write

EACH = 32  # bytes that a record counts for beside what it carries


def columns_of(writes: Sequence[Write]) -> Sequence[Any]:
    """Give the columns of records, as ``Record`` has them; what is no list is that of all."""
    if type(writes) is Bulk:
        return writes.values, writes.keys, (), writes.timestamps, writes.sender, b""
    return [list(column) for column in zip(*[write[3] for write in writes], strict=True)]


def taken(columns: Sequence[Any], places: Sequence[int]) -> Sequence[Any]:
    """Give columns that have only the records at some places."""
    return [[column[i] for i in places] if isinstance(column, list) else column for column in columns]


def piece_of(columns: Sequence[Any], settings: TopicSettings, now: int) -> Piece:
    """Give the piece that the columns make; raise ``TooLarge`` or ``Unusable``.  ``now`` is in ms since 1970."""
    values, keys, headers, timestamps, senders, replies = columns
    count = len(values)
    keys = None if keys is None or keys.count(None) == count else keys
    headers = alike([pack_headers(one) for one in headers]) if any(headers) else b""
    senders, replies = alike(senders), alike(replies)
    found = values, keys, headers, senders, replies
    measured = [_measured(column, count) for column in found]
    if sum(largest for _, largest in measured) > settings.max_message_bytes:
        _see_each(found, count, settings.max_message_bytes)
    size = sum(size for size, _ in measured) + EACH * count
    times = _times(timestamps, now, settings)
    return Piece(values, keys, headers, senders, replies, times, KINDS.index(settings.timestamps), size)


def _see_each(columns: Sequence[Any], count: int, most: int) -> None:
    """Raise ``TooLarge`` if a record is: the largest of each column need not be of one record."""
    for i in range(count):
        size = sum(_measured(c[i : i + 1] if isinstance(c, list) else c, 1)[1] for c in columns)
        if size > most:
            raise TooLarge(f"a record of this topic may have {most} bytes, this has {size}")


def _measured(column: list[Any] | bytes | None, count: int) -> tuple[int, int]:
    """Give the bytes of a column, and those of the largest in it."""
    if isinstance(column, list):
        sizes = list(map(len, filter(None, column)))
        return sum(sizes), max(sizes, default=0)
    size = len(column or b"")
    return size * count, size


def alike(column: Any) -> Any:  # noqa: ANN401  a column
    """Give one value for a column in which all are alike."""
    if not isinstance(column, list):
        return column
    first = column[0]
    return first if column.count(first) == len(column) else column


def time_of(given: int | None, now: int, settings: TopicSettings) -> int:
    """Give the time of a record in ms; raise ``Unusable`` for one that no clock shows."""
    if given is None or settings.timestamps == "append":
        return now
    if not -(2**62) < given < 2**62:
        raise Unusable(f"found the timestamp {given}, expected milliseconds since 1970")
    return given


def _times(given: list[int | None] | None, now: int, settings: TopicSettings) -> list[int] | int:
    """Give the times of records in ms, one if all are alike."""
    if given is None or settings.timestamps == "append" or given.count(None) == len(given):
        return now
    return alike([time_of(one, now, settings) for one in given])  # type: ignore[no-any-return]
