"""What came to several topics in turn, sorted by topic: each is handed to the log in one go, and the order with it.

Within a topic messages keep their order, whoever sent them.  Topics that share a stream share one count, so of each
message its place among all of that stream is noted.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.keeping.intake import Entry, Lane


class Together:
    """The messages for one topic: ``senders`` is who sent all of them, or a list; ``order`` their places, if needed."""

    __slots__ = ("lane", "order", "senders", "size", "values")

    def __init__(self, lane: Lane, sender: bytes, *, ordered: bool) -> None:
        """Begin with none."""
        self.lane = lane
        self.values: list[bytes | None] = []
        self.senders: list[bytes] | bytes = sender
        self.order: list[int] | None = [] if ordered else None
        self.size = 0

    def note(self, sender: bytes, count: int) -> None:
        """Note who has sent the next ones, which are not all of one sender."""
        if isinstance(self.senders, bytes):
            self.senders = [self.senders] * len(self.values)
        self.senders += [sender] * count


def sorted_by_lane(entries: Sequence[Entry]) -> list[Together]:
    """Sort payloads by topic."""
    lanes = dict.fromkeys([entry[0] for entry in entries])
    shared = Counter([lane.stream for lane in lanes])
    found: dict[Lane, Together] = {}
    places = dict.fromkeys(shared, 0)
    for lane, sender, values, _, size in entries:
        stream = lane.stream
        one = found.get(lane)
        if one is None:
            one = found[lane] = Together(lane, sender, ordered=shared[stream] > 1)
        if one.senders != sender:
            one.note(sender, len(values))
        one.size += size
        place, count = places[stream], len(values)
        places[stream] = place + count
        if count == 1:
            one.values.append(values[0])
            if one.order is not None:
                one.order.append(place)
            continue
        one.values += values
        if one.order is not None:
            one.order += range(place, place + count)
    return list(found.values())
