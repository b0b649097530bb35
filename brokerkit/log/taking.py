"""The way of the router's messages into the log: payloads to one topic, for whose answer nobody waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.log.codec import KINDS, Piece
from brokerkit.log.columns import EACH
from brokerkit.log.partitioning import pick
from brokerkit.log.words import TooLarge
from brokerkit.log.writing import Append, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.log.state import Kept, Part
    from brokerkit.log.writing import Writing


class Payloads:
    """What was published to one topic: values, who sent them (one, or a list), and how many bytes they have."""

    __slots__ = ("senders", "size", "values")

    def __init__(self, values: list[bytes | None], senders: list[bytes] | bytes, size: int) -> None:
        """Take them; none of the values is null."""
        self.values = values
        self.senders = senders
        self.size = size


def payloads(values: list[bytes | None], senders: list[bytes] | bytes, weight: int | None, most: int) -> Payloads:
    """Measure payloads; raise ``TooLarge`` if one has more than ``most`` bytes.

    ``weight`` is what all have in bytes, or a little more, where that is known.
    """
    if weight is None or weight > most:
        largest = max(map(len, values))  # type: ignore[arg-type]  # none is null
        if largest > most:
            raise TooLarge(f"a record of this topic may have {most} bytes, one has {largest}")
        weight = sum(map(len, values))  # type: ignore[arg-type]
    return Payloads(values, senders, weight + len(values) * EACH)


def take(
    kept: Kept, given: Payloads, sequences: Sequence[int] | None, now: int, writing: Writing, delay: float
) -> None:
    """Give payloads their numbers and put them into the queue, where they may wait ``delay`` seconds.

    There is room for them.  With ``sequences`` those are theirs already.  ``now`` is in ms since 1970.
    """
    settings, stream = kept.topic.settings, kept.stream
    kind = KINDS.index(settings.timestamps)
    parts = _sorted(kept, given)
    if sequences is None and len(parts) > 1:
        sequences = range(stream.coming + 1, stream.coming + 1 + len(given.values))
        stream.coming += len(given.values)
    numbered, each = [], given.size // len(given.values)
    for part, places in parts:
        if part.owed:
            writing.pay(part)
        values, senders, size, own = given.values, given.senders, given.size, sequences
        if places is not None:
            values, size = [values[i] for i in places], each * len(places)
            senders = [senders[i] for i in places]  # type: ignore[misc]  # they are not all of one
            own = [sequences[i] for i in places] if sequences is not None else None
        piece = Piece(values, None, b"", senders, b"", now, kind, size)
        numbered.append(number(part, piece))
        if own is not None:
            piece.sequences = list(own)
            stream.coming -= len(values)
    writing.put(Append(numbered, given.size), delay)


def _sorted(kept: Kept, given: Payloads) -> list[tuple[Part, list[int] | None]]:
    """Give the partitions with the places of what goes there; ``None``: all of it."""
    parts, senders, partitioner = kept.parts, given.senders, kept.topic.settings.partitioner
    if isinstance(senders, bytes):
        return [(parts[pick(partitioner, len(parts), None, senders)], None)]
    if len(parts) == 1:
        return [(parts[0], None)]
    found: dict[int, list[int]] = {}
    for i, sender in enumerate(senders):
        found.setdefault(pick(partitioner, len(parts), None, sender), []).append(i)
    return [(parts[one], places) for one, places in found.items()]
