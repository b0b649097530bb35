"""What one turn puts into an outbox, until it is flushed: the part of an outbox that every delivery touches.

The compiled twin copies small frames into blocks as they come, so that the end of the turn has one piece to write; this
one keeps them in a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.compiled import twin

if TYPE_CHECKING:
    from brokerkit.turn import Turn

SMALL = 16 * 1024  # bytes: pieces from this size on are never copied together with others
BLOCK = 128 * 1024  # bytes: what Twisted sends by one system call, and what one write is joined to


@twin
class Pile:
    """Pieces in order.  ``pending`` counts their bytes and whatever the outbox has kept of earlier turns."""

    __slots__ = ("_pieces", "_turn", "brim", "limit", "open", "pending")

    def __init__(self, turn: Turn, limit: int, brim: int) -> None:
        """Begin empty; more than ``limit`` bytes are too much, from ``brim`` on there is hardly any room."""
        self._turn = turn
        self._pieces: list[bytes] = []
        self.limit = limit
        self.brim = brim
        self.pending = 0
        self.open = True

    def put(self, data: bytes) -> None:
        """Queue bytes for the end of the turn; a closed outbox accepts nothing."""
        if not data or not self.open:
            return
        if not self._pieces:
            self._turn.touched.append(self)  # type: ignore[arg-type]  # an outbox stands on this
        self._pieces.append(data)
        self.pending += len(data)
        if self.pending > self.limit and self.pending > len(data):  # one frame may always wait, however large
            self.abort("limit")

    @property
    def able(self) -> bool:
        """Whether a member of a queue group can take a message here."""
        return self.open and self.pending < self.brim

    def take(self) -> list[bytes]:
        """Give the pieces, and begin anew; ``pending`` counts them still.

        A compiled pile gives other objects than bytes, too, with the same bytes in their buffer.
        """
        pieces, self._pieces = self._pieces, []
        return pieces

    def abort(self, why: str) -> None:
        """Give the reader up."""
        raise NotImplementedError
