"""The newest batches, in memory: who follows a topic reads what was just written, and so do a thousand others.

Bounded in bytes over all partitions, the oldest go first.  What was taken apart for one reader is so for all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, Any

from brokerkit.log.codec import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.log.codec import Row

FEW = 16  # batches that are not worth the room
EACH = 300  # bytes that a record takes beside its own once it was taken apart


class Tail:
    """Batches by partition."""

    def __init__(self, most: int) -> None:
        """Hold about so many bytes."""
        self._most = most
        self._parts: dict[int, _Held] = {}
        self._order: deque[tuple[int, Batch]] = deque()
        self.size = 0

    def add(self, part: int, rows: Sequence[Row]) -> None:
        """Take in what was just written."""
        if not self._most:
            return
        held = self._parts.get(part)
        if held is None:
            held = self._parts[part] = _Held()
        for row in rows:
            batch = Batch(row)
            held.batches.append(batch)
            self._order.append((part, batch))
            self.size += _cost(batch)
        while self.size > self._most:
            self._drop()

    def _drop(self) -> None:
        part, batch = self._order.popleft()
        self.size -= _cost(batch)
        held = self._parts.get(part)
        if held is not None and held.batches[held.start] is batch:
            held.drop()
            if held.start == len(held.batches):
                del self._parts[part]

    def forget(self, part: int) -> None:
        """Forget a partition, since it was rewritten on disk."""
        self._parts.pop(part, None)

    def since(self, part: int, offset: int, most: int) -> list[Batch] | None:
        """Give the batches from that offset on, of ``most`` bytes or a little more; ``None`` if they are not here."""
        held = self._parts.get(part)
        if held is None or offset < held.batches[held.start].row.base:
            return None
        found: list[Batch] = []
        start = bisect_left(held.batches, offset, lo=held.start, key=_last)
        for i in range(start, len(held.batches)):
            batch = held.batches[i]
            found.append(batch)
            most -= len(batch.row.body)
            if most <= 0:
                break
        return found


class _Held:
    """The batches of a partition: those from ``start`` on, since taking away the first of a list costs its length."""

    __slots__ = ("batches", "start")

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.start = 0

    def drop(self) -> None:
        self.batches[self.start] = None
        self.start += 1
        if self.start > FEW and self.start * 2 > len(self.batches):
            del self.batches[: self.start]
            self.start = 0


def _last(batch: Batch) -> int:
    return batch.row.last


def _cost(batch: Batch) -> int:
    return 2 * len(batch.row.body) + EACH * batch.row.records
