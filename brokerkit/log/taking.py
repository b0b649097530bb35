"""The way of the router's messages into the log: payloads to one topic, for whose answer nobody waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from brokerkit.bodies import Bodies, together
from brokerkit.holding import EACH
from brokerkit.log.codec import KINDS, Piece
from brokerkit.log.partitioning import pick
from brokerkit.log.writing import Append, number

if TYPE_CHECKING:
    from brokerkit.log.spread import Spread
    from brokerkit.log.state import Kept, Part
    from brokerkit.log.writing import Writing


class Share(NamedTuple):
    """What goes to one partition, and where it stood among the rest; ``None``: it is all."""

    part: Part
    values: Bodies
    senders: list[bytes] | bytes
    places: list[int] | None


def size_of(values: Bodies) -> int:
    """Give the bytes that payloads count for."""
    return len(values.joined) + len(values) * EACH


def take(
    kept: Kept,
    values: Bodies,
    senders: list[bytes] | bytes,
    given: Spread | None,
    now: int,
    writing: Writing,
    delay: float,
) -> None:
    """Give payloads their numbers and put them into the queue, where they may wait ``delay`` seconds.

    There is room for them, and none is too large.  ``senders`` is that of all, or a list.  With ``given`` those are
    their sequences already.  ``now`` is in ms since 1970.
    """
    stream, kind = kept.stream, KINDS.index(kept.topic.settings.timestamps)
    parts = _sorted(kept, values, senders)
    sequences: Spread | range | None = given
    if given is None and len(parts) > 1:
        sequences = range(stream.coming + 1, stream.coming + 1 + len(values))
        stream.coming += len(values)
    numbered = []
    for part, some, own_senders, places in parts:
        if part.owed:
            writing.pay(part)
        piece = Piece(some, None, b"", own_senders, b"", now, kind, size_of(some))
        numbered.append(number(part, piece))
        if sequences is not None:
            piece.sequences = sequences if places is None else [sequences[i] for i in places]
            stream.coming -= len(some)
    writing.put(Append(numbered, size_of(values)), delay)


def _sorted(kept: Kept, values: Bodies, senders: list[bytes] | bytes) -> list[Share]:
    """Give what goes to each partition."""
    parts, partitioner = kept.parts, kept.topic.settings.partitioner
    if isinstance(senders, bytes):
        return [Share(parts[pick(partitioner, len(parts), None, senders)], values, senders, None)]
    if len(parts) == 1:
        return [Share(parts[0], values, senders, None)]
    found: dict[int, list[int]] = {}
    for i, sender in enumerate(senders):
        found.setdefault(pick(partitioner, len(parts), None, sender), []).append(i)
    each = list(values)
    return [
        Share(parts[one], together([each[i] for i in places]), [senders[i] for i in places], places)
        for one, places in found.items()
    ]
