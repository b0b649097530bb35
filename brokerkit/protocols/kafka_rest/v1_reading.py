"""Reading some partitions of a topic from given offsets on, in the order in which the log took the records.

Partitions are merged by the log's own sequence.  Of each only a part is fetched, so a record may be given only when no
partition can hold an earlier one that was not fetched: what comes behind the end of a partition that has more is left
for the next time.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from brokerkit.log.codec import Batch
    from brokerkit.log.words import Stored, Topic
    from brokerkit.protocols.kafka_rest.v1_place import Positions

LEAST = 16  # records that are fetched of a partition, however many there are
_TURNS = 8  # times that it is looked behind what compaction has left empty


@attrs.define
class Page:
    """What was read: ``runs`` are records of one partition each, in order; ``after`` is where to go on."""

    runs: list[tuple[int, list[Stored]]]
    after: Positions
    spans: dict[int, tuple[int, int]]

    batches: list[tuple[int, Batch]] = attrs.field(factory=list)  # in place of runs, where they were asked for

    def __bool__(self) -> bool:
        """Whether there is any record."""
        return bool(self.runs or self.batches)

    @property
    def count(self) -> int:
        """The number of records."""
        return sum(len(some) for _, some in self.runs) + sum(len(some) for _, some in self.batches)

    @property
    def more(self) -> bool:
        """Whether there is more to read now."""
        return any(offset < self.spans[partition][1] for partition, offset in self.after.items())


async def read(
    log: Any,  # noqa: ANN401  a Log
    topic: Topic,
    positions: Positions,
    most: int,
    most_bytes: int,
    *,
    raw: bool = False,
) -> Page:
    """Read at most so many records and about so many bytes, at least one record if there is one.

    With ``raw`` they are given as batches where one partition has some, which is faster.
    Raises ``OutOfRange`` for a position that is not there any more, ``UnknownTopic``, ``Busy``.
    """
    spans = {one: log.span(topic.name, one, tenant=topic.tenant) for one in positions}
    behind = [one for one, offset in positions.items() if offset < spans[one].next or offset > spans[one].next]
    if not behind:
        return Page([], dict(positions), {one: tuple(span) for one, span in spans.items()})
    if raw and len(behind) == 1:
        return await _batches(log, topic, behind[0], positions, spans, most, most_bytes)
    each = most if len(behind) == 1 else min(most, max(LEAST, 2 * most // len(behind)))
    each_bytes = max(1, most_bytes // len(behind))
    after = dict(positions)
    found: dict[int, list[Stored]] = {}
    for one in behind:
        found[one], after[one], spans[one] = await _fetch(log, topic, one, positions[one], each, each_bytes)
    shown = {one: (span[0], span[1]) for one, span in spans.items()}
    there = [one for one in behind if found[one]]
    if len(there) == 1:
        return Page([(there[0], found[there[0]])], after, shown)
    return _merged(found, there, positions, after, shown, most)


async def _batches(
    log: Any,  # noqa: ANN401  a Log
    topic: Topic,
    partition: int,
    positions: Positions,
    spans: dict[int, Any],
    most: int,
    most_bytes: int,
) -> Page:
    """Read from one partition, in batches."""
    offset = positions[partition]
    for _ in range(_TURNS):
        found = await log.raw(topic.name, partition, offset, most_bytes, most, tenant=topic.tenant)
        if found.batches or found.after == offset or found.after >= found.next:
            break
        offset = found.after
    shown = {one: (span[0], span[1]) for one, span in spans.items()}
    shown[partition] = (found.first, found.next)
    batches = [(partition, batch) for batch in found.batches if len(batch)]
    return Page([], {**positions, partition: found.after}, shown, batches)


async def _fetch(
    log: Any,  # noqa: ANN401  a Log
    topic: Topic,
    partition: int,
    offset: int,
    most: int,
    most_bytes: int,
) -> tuple[list[Stored], int, Any]:
    """Give records of a partition, where to go on, and its span."""
    for _ in range(_TURNS):
        fetched = await log.fetch(topic.name, partition, offset, most_bytes, most, tenant=topic.tenant)
        if fetched.records or fetched.after == offset or fetched.after >= fetched.next:
            break
        offset = fetched.after
    return fetched.records, fetched.after, (fetched.first, fetched.next)


_sequence = itemgetter(7)  # of a Stored


def _merged(
    found: dict[int, list[Stored]],
    there: list[int],
    positions: Positions,
    after: Positions,
    spans: dict[int, tuple[int, int]],
    most: int,
) -> Page:
    """Put partitions together, as far as nothing can come between."""
    open_ended = [found[one][-1].sequence for one in there if after[one] < spans[one][1]]
    end = min(open_ended, default=None)
    pairs = [(record.sequence, one, record) for one in there for record in found[one]]
    if end is not None:
        pairs = [pair for pair in pairs if pair[0] <= end]
    pairs.sort(key=itemgetter(0, 1))
    left = pairs[most:]
    cut = bool(left) or end is not None
    runs: list[tuple[int, list[Stored]]] = []
    last: dict[int, int] = {}
    for _, one, record in pairs[:most]:
        if not runs or runs[-1][0] != one:
            runs.append((one, []))
        runs[-1][1].append(record)
        last[one] = record.offset
    if cut:
        for one in there:
            if last.get(one) != found[one][-1].offset:  # else all that was fetched is given
                after[one] = last[one] + 1 if one in last else positions[one]
    return Page(runs, after, spans)
