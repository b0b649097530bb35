"""Appends: records sorted by partition, numbered, remembered where they are to be done once, and put into the queue.

What is appended is written together or not at all, and answered as the policies of its topics say.
"""

from __future__ import annotations

from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred

from brokerkit.log.answers import Done, Noted, digest
from brokerkit.log.bulk import Bulk, Places
from brokerkit.log.columns import columns_of, piece_of, taken, time_of
from brokerkit.log.partitioning import pick
from brokerkit.log.words import (
    COMMIT,
    INTERVAL,
    NONE,
    Ack,
    Idempotency,
    Placed,
    Producer,
    TooLarge,
    TopicSettings,
)
from brokerkit.log.writing import Append, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from brokerkit.log.answers import Answers
    from brokerkit.log.cells import Cells
    from brokerkit.log.codec import Piece
    from brokerkit.log.state import Part, State
    from brokerkit.log.words import Limits, Write
    from brokerkit.log.writing import Writing

    Pieces = dict[Part, tuple[Piece, Sequence[int]]]  # with the places of the records in the append

_placed = partial(tuple.__new__, Placed)  # past the constructor, which is a function of Python


@attrs.frozen(eq=False)
class Admitted:
    """An append that was numbered: ``placed`` is where each record will be, ``done`` fires as the policy says.

    ``duplicate``: it had been done before, and nothing is written.
    """

    placed: Sequence[Placed]
    duplicate: bool
    done: Deferred[Sequence[Placed]]


class Appending:
    """Takes appends."""

    def __init__(self, limits: Limits, state: State, cells: Cells, answers: Answers, writing: Writing) -> None:
        """Put them into that queue."""
        self._limits = limits
        self._state = state
        self._cells = cells
        self._answers = answers
        self._writing = writing
        self.duplicates = 0  # appends that had been done before

    def admit(
        self,
        writes: Sequence[Write],
        now: int,
        producer: Producer | Idempotency | None,
        cells: Mapping[tuple[str, bytes], bytes | None] | None,
    ) -> Admitted:
        """Take an append; see ``Log.admit``.  ``now`` is in ms since 1970."""
        pieces, ack, size = self._pieces(writes, now)
        made = digest(writes) if isinstance(producer, Producer) else b""
        if producer is not None:
            former = self._answers.find(
                producer, made or producer.digest if isinstance(producer, Idempotency) else made
            )
            if former is not None:
                return self._repeated(writes, former)
        self._writing.room(size)
        changed = self._cells.change(cells) if cells else []
        for part in pieces:
            if part.owed:
                self._writing.pay(part)
        append = Append(_numbered(pieces, len(writes)), size)
        append.placed = _places(pieces, append, writes, ack)
        if cells:
            append.cells, append.former = cells, changed
        if producer is not None:
            self._remember(append, producer, made, now)
        return self._put(append, ack)

    def _put(self, append: Append, ack: Ack) -> Admitted:
        limits = self._limits
        done: Deferred[Sequence[Placed]] = Deferred()
        if ack == COMMIT:
            append.answer = done
            self._writing.put(append, limits.linger)
        else:
            self._writing.put(append, limits.interval if ack == INTERVAL else limits.lazily)
            done.callback(append.placed)
        return Admitted(append.placed, duplicate=False, done=done)

    def forget(self, gone: list[tuple[int, bytes]], undo: list[Any]) -> Deferred[Any]:
        """Have the store forget appends that are remembered no more."""
        append = Append([], 0)
        append.noted = Noted(None, gone, undo)
        append.answer = Deferred()
        self._writing.put(append)
        return append.answer

    # -- sorting by partition -----------------------------------------------------------------------------------------

    def _pieces(self, writes: Sequence[Write], now: int) -> tuple[Pieces, Ack, int]:
        """Sort writes by partition; give the piece of each, the strictest policy, and the bytes of all."""
        if len(writes) > self._limits.append_records:
            raise TooLarge(f"an append may have {self._limits.append_records} records, this has {len(writes)}")
        pieces: Pieces = {}
        only = self._only_part(writes)
        if only is not None:
            pieces[only] = piece_of(columns_of(writes), only.kept.topic.settings, now), range(len(writes))
        elif writes:
            columns = columns_of(writes)
            indexes: dict[Part, list[int]] = {}
            for index, write in enumerate(writes):
                indexes.setdefault(self._part_of(write), []).append(index)
            for part, some in indexes.items():
                pieces[part] = piece_of(taken(columns, some), part.kept.topic.settings, now), some
        total = sum(piece.size for piece, _ in pieces.values())
        if total > self._limits.queue_bytes:
            raise TooLarge(f"an append may have {self._limits.queue_bytes} bytes, this has {total}")
        acks = {part.kept.topic.settings.ack for part in pieces}
        return pieces, COMMIT if COMMIT in acks or not acks else INTERVAL if INTERVAL in acks else NONE, total

    def _only_part(self, writes: Sequence[Write]) -> Part | None:
        """Give the partition of all writes; ``None`` if each has to be asked."""
        if not writes:
            return None
        tenant, name, partition, _ = writes[0]
        if type(writes) is not Bulk and any(w[1] != name or w[0] != tenant or w[2] != partition for w in writes):
            return None
        kept = self._state.writable(tenant, name)
        if partition is None and len(kept.parts) > 1:
            return None
        return self._state.part(tenant, name, partition or 0)

    def _part_of(self, write: Write) -> Part:
        tenant, name, partition, record = write
        kept = self._state.writable(tenant, name)
        if partition is not None:
            return self._state.part(tenant, name, partition)
        return kept.parts[pick(kept.topic.settings.partitioner, len(kept.parts), record.key, record.sender)]

    # -- what is done once --------------------------------------------------------------------------------------------

    def _remember(self, append: Append, producer: Producer | Idempotency, made: bytes, now: int) -> None:
        sequence = producer.sequence if isinstance(producer, Producer) else 0
        made = made if isinstance(producer, Producer) else producer.digest
        append.done = Done(sequence, made, now, _runs(append.placed), append)
        append.noted = self._answers.note(producer, append.done)

    def _repeated(self, writes: Sequence[Write], former: Done) -> Admitted:
        """Give the first result again, once it is on disk."""
        self.duplicates += 1
        places = [(topic, part, first + i) for topic, part, first, count in former.runs for i in range(count)]
        times = [time_of(w.record.timestamp, former.at, TopicSettings()) for w in writes]
        times += [former.at] * (len(places) - len(times))
        placed = [Placed(*place, time, True, COMMIT) for place, time in zip(places, times, strict=False)]
        done: Deferred[Sequence[Placed]] = Deferred()
        if former.pending is None:
            done.callback(placed)
        else:
            former.pending.followers.append(done)
            done.addCallback(lambda _: placed)
        return Admitted(placed, duplicate=True, done=done)


def _numbered(pieces: Pieces, count: int) -> list[tuple[Part, Piece, int]]:
    """Give pieces their offsets and sequences."""
    found = []
    bases: dict[Any, int] = {}
    for part, (piece, _) in pieces.items():
        bases.setdefault(part.kept.stream, part.kept.stream.coming + 1)
        found.append(number(part, piece))
    if len(pieces) > 1:
        _put_in_order(pieces, bases, count)
    return found


def _put_in_order(pieces: Pieces, bases: dict[Any, int], count: int) -> None:
    """Give records of several partitions their sequences in the order in which they were given."""
    streams: list[Any] = [None] * count
    for part, (_, indexes) in pieces.items():
        for index in indexes:
            streams[index] = part.kept.stream
    sequences = [0] * count
    for index, stream in enumerate(streams):
        sequences[index] = bases[stream]
        bases[stream] += 1
    for piece, indexes in pieces.values():
        piece.sequences = [sequences[index] for index in indexes]


def _places(pieces: Pieces, append: Append, writes: Sequence[Write], ack: Ack) -> Sequence[Placed]:
    """Give where each record will be, in the order in which they were given."""
    if type(writes) is Bulk and len(pieces) == 1:
        ((part, piece, base),) = append.pieces
        return Places(writes.topic, part.number, range(base, base + piece.count), piece.timestamps, ack)
    found: list[Any] = [None] * len(writes)
    for part, piece, base in append.pieces:
        times = piece.timestamps
        columns = (
            repeat(part.kept.topic.name, piece.count),
            repeat(part.number),
            range(base, base + piece.count),
            repeat(times) if isinstance(times, int) else times,
            repeat(False),
            repeat(ack),
        )
        placed = map(_placed, zip(*columns, strict=False))
        if len(pieces) == 1:
            return list(placed)
        for index, one in zip(pieces[part][1], placed, strict=True):
            found[index] = one
    return found


def _runs(placed: Sequence[Placed]) -> tuple[tuple[bytes, int, int, int], ...]:
    """Give places as runs: topic, partition, first offset, count."""
    if type(placed) is Places:
        return ((placed.topic, placed.partition, placed.offsets.start, len(placed)),)
    runs: list[list[Any]] = []
    for topic, partition, offset, _, _, _ in placed:
        if runs:
            last = runs[-1]
            if last[0] == topic and last[1] == partition and last[2] + last[3] == offset:
                last[3] += 1
                continue
        runs.append([topic, partition, offset, 1])
    return tuple((a, b, c, d) for a, b, c, d in runs)
