"""Payloads one behind the other in one bytes object, instead of an object for each.

What goes to the log is written just so: of what many messages carry nothing is taken apart on its way to the disk.
"""

from __future__ import annotations

from array import array
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Lengths = int | array[int]
    United = tuple[list[bytes], Lengths]  # what is to be joined, and the length of each payload in it


class Bodies:
    """Some payloads: ``joined`` has them all, ``lengths`` is that of each in bytes, one number where all have it."""

    __slots__ = ("_ends", "count", "joined", "lengths")

    def __init__(self, joined: bytes, lengths: Lengths, count: int) -> None:
        """Take ``count`` payloads, one at the least."""
        self.joined = joined
        self.lengths = lengths
        self.count = count
        self._ends: Sequence[int] | None = None

    def __len__(self) -> int:
        """Give the number of payloads."""
        return self.count

    def __iter__(self) -> Iterator[bytes]:
        """Cut out one after the other."""
        return (self.joined[a:b] for a, b in pairwise(self.ends))

    @property
    def ends(self) -> Sequence[int]:
        """Where each begins, and where the last one ends."""
        if self._ends is None:
            self._ends = list(accumulate(self.sizes, initial=0))
        return self._ends

    @property
    def sizes(self) -> Sequence[int]:
        """The bytes of each."""
        return [self.lengths] * self.count if isinstance(self.lengths, int) else self.lengths

    @property
    def largest(self) -> int:
        """The bytes of the largest."""
        return self.lengths if isinstance(self.lengths, int) else max(self.lengths)

    def __getitem__(self, part: slice) -> Bodies:
        """Give some that follow each other."""
        start, stop, _ = part.indices(self.count)
        lengths = self.lengths if isinstance(self.lengths, int) else self.lengths[start:stop]
        return Bodies(self.joined[self.ends[start] : self.ends[stop]], lengths, stop - start)


def together(payloads: Sequence[bytes]) -> Bodies:
    """Put payloads one behind the other."""
    lengths = array("I", map(len, payloads))
    first = lengths[0]
    return Bodies(b"".join(payloads), first if lengths.count(first) == len(lengths) else lengths, len(lengths))


def united(some: Sequence[Bodies]) -> United:
    """Give what is to be joined, and the lengths of all of it: nothing is copied yet."""
    first = some[0].lengths
    if isinstance(first, int) and all(isinstance(one.lengths, int) and one.lengths == first for one in some):
        return [one.joined for one in some], first
    lengths = array("I")
    for one in some:
        lengths += array("I", [one.lengths]) * one.count if isinstance(one.lengths, int) else one.lengths
    return [one.joined for one in some], lengths
