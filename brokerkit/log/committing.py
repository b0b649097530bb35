"""What one commit writes: gathered in the reactor's thread, encoded and written in the writer's.

Nothing of it changes meanwhile: one commit is under way at a time, and what a partition is at its beginning is noted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from brokerkit.log.codec import Piece, Row, encode
from brokerkit.stores.topiclog import Answer, Commit, Grown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from brokerkit.log.state import Part
    from brokerkit.log.writing import Append
    from brokerkit.stores.topiclog import TopicLogStore


class Growing(NamedTuple):
    """The pieces for one partition: ``base`` is the offset of the first record, ``peak`` is the partition's until now.

    ``stored`` is when all of it is put there, in ms since 1970.
    """

    part: Part
    base: int
    peak: int
    stored: int
    pieces: list[Piece]


class Written(NamedTuple):
    """What a partition has got: ``base`` is the first offset of it, ``rows`` are as they are on disk."""

    part: Part
    base: int
    grown: Grown
    rows: list[Row]


@attrs.frozen
class Gathered:
    """All that one commit is to write: the records by partition, and what stands beside them."""

    growing: list[Growing]
    streams: Sequence[tuple[str, str, int]]
    cells: Sequence[tuple[str, bytes, bytes | None]]
    answers: Sequence[Answer]
    forgotten: Sequence[tuple[int, bytes]]

    def write(self, store: TopicLogStore, batch_bytes: int) -> list[Written]:
        """Write it, in rows of about so many bytes, and say what was written; raises what ``commit`` does."""
        written = [_encoded(one, batch_bytes) for one in self.growing]
        rows = [row for one in written for row in one.rows]
        grown = [one.grown for one in written]
        store.commit(Commit(rows, grown, self.streams, self.cells, self.answers, self.forgotten))
        return written


def gathered(appends: Iterable[Append], now: int) -> Gathered:
    """Gather what appends have to write; ``now`` is in ms since 1970."""
    parts: dict[Part, Growing] = {}
    streams: dict[Any, int] = {}
    cells: dict[tuple[str, bytes], bytes | None] = {}
    answers: dict[tuple[int, bytes], Answer] = {}
    forgotten: dict[tuple[int, bytes], None] = {}
    for append in appends:
        for part, piece, base in append.pieces:
            known = parts.get(part)
            if known is None:
                parts[part] = Growing(part, base, part.peak, max(now, part.stored), [piece])
            else:
                known.pieces.append(piece)
            stream, last = part.kept.stream, piece.last_sequence
            if last > streams.get(stream, 0):
                streams[stream] = last
        cells.update(append.cells)
        noted = append.noted
        if noted is not None:
            for gone in noted.forgotten:
                answers.pop(gone, None)
                forgotten[gone] = None
            if noted.answer is not None:
                name = noted.answer.kind, noted.answer.key
                forgotten.pop(name, None)
                answers[name] = noted.answer
    return Gathered(
        list(parts.values()),
        [(stream.tenant, stream.name, last) for stream, last in streams.items()],
        [(space, key, value) for (space, key), value in cells.items()],
        list(answers.values()),
        list(forgotten),
    )


def _encoded(growing: Growing, batch_bytes: int) -> Written:
    part, base, peak, stored, pieces = growing
    rows, following = [], base
    for group in grouped(pieces, batch_bytes):
        row = encode(part.id, following, group, stored, peak)
        rows.append(row)
        peak, following = row.peak, row.last + 1
    size = sum(len(row.body) for row in rows)
    return Written(part, base, Grown(part.id, following, size, following - base, peak, stored), rows)


def grouped(pieces: list[Piece], most: int) -> list[list[Piece]]:
    """Put together what shall be one row: of one kind, and of about so many bytes."""
    groups: list[list[Piece]] = []
    group: list[Piece] = []
    size = 0
    for whole in pieces:
        for piece in whole.split(most) if whole.size > most else (whole,):
            if group and (size + piece.size > most or piece.kind != group[0].kind):
                groups.append(group)
                group, size = [], 0
            group.append(piece)
            size += piece.size
    groups.append(group)
    return groups
