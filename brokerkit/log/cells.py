"""A small durable table: what has to be on disk in the same commit as records, such as who has read how far.

All of it is in memory, and bounded.  What is read is the newest, also if it is not on disk yet: an answer that comes of
it is given after a write of its own, which comes behind, and fails if what it was built on fails.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from brokerkit.log.words import NoRoom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from twisted.internet.defer import Deferred

OVERHEAD = 150  # bytes that each takes beside its key and value


Former = tuple[str, bytes, "bytes | None"]


class Cells:
    """``(space, key)`` → bytes."""

    def __init__(self, most: int, write: Callable[[Mapping[tuple[str, bytes], bytes | None]], Deferred[None]]) -> None:
        """Hold at most so many bytes; ``write`` is what has changes written."""
        self._most = most
        self._write = write
        self._spaces: dict[str, dict[bytes, bytes]] = {}
        self.size = 0  # bytes, about

    def get(self, space: str, key: bytes) -> bytes | None:
        """Give a value, ``None`` if there is none."""
        return self._spaces.get(space, {}).get(key)

    def items(self, space: str) -> Mapping[bytes, bytes]:
        """Give all of a space: a view, good until the next write."""
        return MappingProxyType(self._spaces.get(space, {}))

    def write(self, changes: Mapping[tuple[str, bytes], bytes | None]) -> Deferred[None]:
        """Change cells, all or none; ``None`` takes one away.

        Done when it is on disk.  Fails with ``NoRoom`` if they would take too many bytes or the disk is full, ``Busy``
        or ``Unwritable`` if it cannot be done now.
        """
        return self._write(changes)

    # -- for the log --------------------------------------------------------------------------------------------------

    def load(self, cells: Iterable[tuple[str, bytes, bytes]]) -> None:
        """Take in what the store has."""
        for space, key, value in cells:
            self._put(space, bytes(key), bytes(value))

    def change(self, changes: Mapping[tuple[str, bytes], bytes | None]) -> list[Former]:
        """Have the values from now on, and give what ``take_back`` needs; raises ``NoRoom``."""
        self._refuse_too_much(changes)
        return [(space, key, self._put(space, key, value)) for (space, key), value in changes.items()]

    def take_back(self, former: list[Former]) -> None:
        """Have the values of before; of several changes, the last first."""
        for space, key, value in reversed(former):
            self._put(space, key, value)

    def _refuse_too_much(self, changes: Mapping[tuple[str, bytes], bytes | None]) -> None:
        size = self.size
        for (space, key), value in changes.items():
            size += _cost(key, value) - _cost(key, self.get(space, key))
        if size > self._most and size > self.size:
            raise NoRoom(f"there is room for {self._most} bytes of states of groups and the like, and it is used up")

    def _put(self, space: str, key: bytes, value: bytes | None) -> bytes | None:
        held = self._spaces.setdefault(space, {})
        former = held.get(key)
        if value is None:
            held.pop(key, None)
            if not held:
                del self._spaces[space]
        else:
            held[key] = value
        self.size += _cost(key, value) - _cost(key, former)
        return former


def _cost(key: bytes, value: bytes | None) -> int:
    return 0 if value is None else len(key) + len(value) + OVERHEAD
