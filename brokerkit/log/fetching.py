"""Reading: from the tail at once, from disk in a few threads that only read; what is read is taken apart afterwards.

A batch that is not what was written (its CRC is wrong) is not passed over in silence: it is read as one record that
says how many are missing.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from brokerkit.errors import OperatorError, TooBusy
from brokerkit.log.codec import Batch, gap
from brokerkit.log.words import Busy, Fetched, OutOfRange, Unwritable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.python.failure import Failure

    from brokerkit.log.codec import Row
    from brokerkit.log.state import Part
    from brokerkit.log.tail import Tail
    from brokerkit.log.words import Limits
    from brokerkit.stores.topiclog import TopicLogStore

log = Logger()

MOST_RECORDS = 100_000  # in one fetch that names no bound
SOON = 1.0  # seconds after which it is worth to ask again
EACH = 16  # bytes that a record counts for beside its key and value


class Raw(NamedTuple):
    """Batches as they were read, of which only what was asked for is shown; else as ``Fetched``."""

    batches: list[Batch]
    first: int
    next: int
    after: int


class Fetching:
    """Reads partitions."""

    def __init__(self, limits: Limits, tail: Tail) -> None:
        """Read nothing until ``open`` gives a store."""
        self._limits = limits
        self._tail = tail
        self._store: TopicLogStore | None = None
        self._threads: Any = None
        self._waiting = 0
        self.from_tail = 0  # fetches
        self.from_disk = 0
        self.damaged = 0  # batches that were found not to be what was written

    def open(self, store: TopicLogStore, threads: Any) -> None:  # noqa: ANN401  Threads, or what calls at once
        """Read that store, in those threads."""
        self._store = store
        self._threads = threads

    def close(self) -> None:
        """Read no more."""
        self._store = None

    def _call(self, work: Callable[[TopicLogStore], Any]) -> Deferred[Any]:
        store = self._store
        if store is None:
            return fail(Unwritable("the log is closed"))
        if self._waiting >= self._limits.reading:
            return fail(Busy(SOON))
        self._waiting += 1
        done: Deferred[Any] = self._threads.call(lambda: work(store))
        return done.addBoth(self._done).addErrback(_in_words)

    def _done(self, result: Any) -> Any:  # noqa: ANN401  whatever was read
        self._waiting -= 1
        return result

    def raw(self, part: Part, offset: int, max_bytes: int, max_records: int | None) -> Deferred[Raw]:
        """Give batches from that offset on; see ``Log.raw``."""
        if not part.first <= offset <= part.next:
            return fail(OutOfRange(offset, part.first, part.next))
        if offset == part.next:
            return succeed(Raw([], part.first, part.next, offset))
        most = max(1, min(max_bytes, self._limits.fetch_bytes))
        count = MOST_RECORDS if max_records is None else max(1, max_records)
        batches = self._tail.since(part.id, offset, most)
        if batches is not None:
            self.from_tail += 1
            return succeed(self._cut(part, batches, offset, part.next, most, count))
        self.from_disk += 1
        done = self._call(lambda store: _read(store, part.id, offset, most, count))
        return done.addCallback(self._read, part, offset, part.next, most, count)

    def _read(
        self, rows: list[tuple[Row, bool]], part: Part, offset: int, stop: int, max_bytes: int, max_records: int
    ) -> Raw:
        if part.first > offset:
            raise OutOfRange(offset, part.first, part.next)
        batches, place = [], offset
        for row, sound in rows:
            batches.append(Batch(row) if sound else self._gap(part, row, place))
            place = row.last + 1
        return self._cut(part, batches, offset, stop, max_bytes, max_records)

    def _gap(self, part: Part, row: Row, place: int) -> Batch:
        """Give what stands for a batch that is damaged."""
        self.damaged += 1
        topic = part.kept.topic.name.decode(errors="replace")
        text = "the log is damaged: topic {topic}, partition {partition}, offsets {first} to {last} cannot be read"
        log.error(text, topic=topic, partition=part.number, first=place, last=row.last)
        return Batch(gap(part.id, place, row.last, part.stored, part.peak))

    def _cut(self, part: Part, batches: Sequence[Batch], offset: int, stop: int, most: int, count: int) -> Raw:
        """Take the records ``offset`` to ``stop`` out of the batches, as far as the bounds go, at least one."""
        found: list[Batch] = []
        after = offset
        for batch in batches:
            row = batch.row
            begin, end = 0, row.records
            if row.base < offset or row.last >= stop:
                begin, end = batch.find(offset), batch.find(stop)
            if end <= begin:
                after = min(row.last + 1, stop)
                continue
            taken = _fitting(batch, begin, min(end, begin + count), most, first=not found)
            if taken == begin:
                return Raw(found, part.first, part.next, after)
            view = batch.part(begin, taken)
            found.append(view)
            if taken < end:
                return Raw(found, part.first, part.next, view.offsets[-1] + 1)
            after = min(row.last + 1, stop)
            most -= len(row.body)
            count -= taken - begin
            if most <= 0 or count <= 0:
                return Raw(found, part.first, part.next, after)
        return Raw(found, part.first, part.next, stop if not batches else after)

    def rows(self, part: Part, offset: int, most: int, count: int) -> Deferred[list[tuple[Row, bool]]]:
        """Give whole rows from disk, each with whether it is sound."""
        return self._call(lambda store: _read(store, part.id, offset, most, count))

    def at(self, part: Part, timestamp: int) -> Deferred[int]:
        """Give the first offset whose record is of that time (in ms) or later; the next offset if there is none."""
        first, stop = part.first, part.next
        done = self._call(lambda store: _at(store, part.id, first, stop, timestamp))
        return done.addCallback(lambda found: max(found, part.first))


def _in_words(failure: Failure) -> Failure:
    failure.trap(TooBusy, OperatorError)
    if failure.check(TooBusy):
        raise Busy(SOON)
    raise Unwritable("the log is closed")


def _read(store: TopicLogStore, part: int, offset: int, most: int, count: int) -> list[tuple[Row, bool]]:
    with store.reader() as reader:
        return reader.rows(part, offset, most, count)


def _at(store: TopicLogStore, part: int, first: int, stop: int, timestamp: int) -> int:
    place = first
    with store.reader() as reader:
        while (row := reader.at(part, place, stop, timestamp)) is not None:
            batch = Batch(row)
            for offset, time in zip(batch.offsets, batch.timestamps, strict=True):
                if time >= timestamp and first <= offset < stop:
                    return offset
            place = row.last + 1
    return stop


def _fitting(batch: Batch, begin: int, end: int, most: int, *, first: bool) -> int:
    """Give where the records end that have no more bytes than ``most``; at least one is taken if it is the first."""
    if len(batch.row.body) <= most:
        return end
    view = batch.part(begin, end)
    sizes = (len(k or b"") + len(v or b"") + EACH for k, v in zip(view.keys, view.values, strict=True))
    fitting = begin
    for total in accumulate(sizes):
        if total > most:
            break
        fitting += 1
    return max(fitting, begin + 1) if first else fitting


def fetched(raw: Raw) -> Fetched:
    """Take batches apart into records."""
    records = [record for batch in raw.batches for record in batch.records()]
    return Fetched(records, raw.first, raw.next, raw.after)
