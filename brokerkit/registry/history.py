"""What has changed lately, in memory: bounded by number, by age and by size, the oldest are forgotten first.

Revisions follow each other without a gap, so the place of one is found by subtraction.  Whoever watches keeps no queue
of its own, but its place in here: a slow one costs nothing, and has lost its place when it is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.registry.words import HIDDEN, Compacted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.registry.words import Change

SPARE = 256  # changes that may be too many before they are cut away together


class History:
    """The last changes, in the order of their revisions."""

    def __init__(self, most: int, most_bytes: int, age: float) -> None:
        """Keep at most so many changes of so many bytes, and none older than ``age`` seconds; nought and less: none."""
        self._most = most
        self._most_bytes = most_bytes
        self._age = age
        self._changes: list[Change | None] = []  # those that are forgotten, a few, are None until they are cut away
        self._sizes: list[int] = []
        self._gone = 0
        self._bytes = 0
        self.newest = 0  # revision

    def __len__(self) -> int:
        """Give the number of changes that are known."""
        return len(self._changes) - self._gone

    @property
    def oldest(self) -> int:
        """The revision after which everything is known."""
        return self.newest - len(self)

    def begin(self, revision: int, changes: Iterable[tuple[Change, int]]) -> None:
        """Take what was stored: the last revision, and changes up to it with their sizes, without gaps."""
        self._changes, self._sizes, self._gone, self._bytes = [], [], 0, 0
        self.newest = revision
        given = list(changes)
        first = revision - len(given) + 1
        if all(change.revision == first + i for i, (change, _) in enumerate(given)):  # better to know nothing than half
            for change, size in given:
                self._append(change, size)

    def add(self, change: Change, size: int, now: float) -> None:
        """Add the next change, of about ``size`` bytes, and forget what is too much."""
        self._append(change, size)
        self.newest = change.revision
        while self._gone < len(self._changes) and self._is_too_much(now):
            self._bytes -= self._sizes[self._gone]
            self._changes[self._gone] = None
            self._gone += 1
        if self._gone > SPARE:
            del self._changes[: self._gone]
            del self._sizes[: self._gone]
            self._gone = 0

    def _append(self, change: Change, size: int) -> None:
        self._changes.append(change)
        self._sizes.append(size)
        self._bytes += size

    def _is_too_much(self, now: float) -> bool:
        oldest = self._changes[self._gone]
        old = oldest is not None and oldest.ts < now - self._age
        return old or len(self) > self._most or self._bytes > self._most_bytes

    def since(self, revision: int, prefix: str = "", most: int = 0) -> list[Change]:
        """Give what came after that revision, of names that begin with ``prefix``; with ``most``, among so many only.

        What is hidden is left out, unless the prefix is.  Raises ``Compacted`` if not all of it is known, or if it is a
        revision that has not been given yet.
        """
        if not self.oldest <= revision <= self.newest:
            raise Compacted(self.oldest)
        start = len(self._changes) - (self.newest - revision)
        hidden = prefix.startswith(HIDDEN)
        return [
            change
            for change in self._changes[start : start + most if most else None]
            if change is not None and change.name.startswith(prefix) and (hidden or not change.name.startswith(HIDDEN))
        ]

    def of(self, name: str) -> list[Change]:
        """Give what is known of one name, oldest first."""
        return [change for change in self._changes if change is not None and change.name == name]
