"""Ascending numbers with holes, as one number and what each is above it: no object for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterator


class Spread:
    """The numbers ``first`` + each of ``places``, which ascend; there is one at the least."""

    __slots__ = ("first", "places")

    def __init__(self, first: int, places: array[int]) -> None:
        """Take an array of type ``I``."""
        self.first = first
        self.places = places

    def __len__(self) -> int:
        """Give how many there are."""
        return len(self.places)

    def __iter__(self) -> Iterator[int]:
        """Give one after the other."""
        return (self.first + place for place in self.places)

    def __getitem__(self, index: int) -> int:
        """Give one of them."""
        return self.first + self.places[index]

    def part(self, start: int, stop: int) -> Spread:
        """Give some that follow each other."""
        return Spread(self.first, self.places[start:stop])

    def run(self) -> range | None:
        """Give them as a range, if there are no holes."""
        begin, end = self[0], self[-1] + 1
        return range(begin, end) if end - begin == len(self) else None
