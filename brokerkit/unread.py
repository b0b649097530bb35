"""The bytes that have come in and are not yet parsed: what every wire stands on.

A session feeds chunks; a wire looks at ``chunk`` from ``pos`` on and moves ``pos``.  When it knows that it cannot go on
before so many bytes are there (the payload of a large message), it says so in ``need``, and chunks are only collected
until then: joining happens once, however many pieces a message came in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.errors import TooLarge

if TYPE_CHECKING:
    from brokerkit.run import Run


class Unread:
    """The state that wires share; a wire subclasses it and gives ``next``, and ``scan`` where it wants to be fast."""

    __slots__ = ("_more", "_parts", "chunk", "need", "pos")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.chunk = b""
        self.pos = 0
        self.need = 0
        self._parts: list[bytes] = []
        self._more = 0

    def __len__(self) -> int:
        """Give the number of bytes held."""
        return len(self.chunk) - self.pos + self._more

    def __bool__(self) -> bool:
        """Say yes: a wire that holds nothing is a wire all the same."""
        return True

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        if not self._parts and self.pos == len(self.chunk):
            self.chunk = data
            self.pos = self.need = 0
            return
        self._parts.append(data)
        self._more += len(data)
        if len(self) >= self.need:
            self.chunk = b"".join((self.chunk[self.pos :], *self._parts))
            self.pos = 0
            self.need = 0
            self._parts.clear()
            self._more = 0

    def settle(self) -> None:
        """Let go of what has been parsed: a large chunk is not kept for the sake of a small rest."""
        pos = self.pos
        if pos:
            self.chunk = self.chunk[pos:]
            self.pos = 0

    def lacks(self, size: int) -> bool:
        """Say whether fewer than ``size`` bytes are there from ``pos`` on; if so, remember that so many are needed."""
        if len(self.chunk) - self.pos >= size:
            return False
        self.need = size
        return True

    def upto(self, mark: bytes, limit: int) -> bytes | None:
        """Give the bytes before the next ``mark``, which stay unread; ``None`` if it has not come yet.

        Raises ``TooLarge`` when it is not within ``limit`` bytes.
        """
        end = self.chunk.find(mark, self.pos, self.pos + limit)
        if end >= 0:
            return self.chunk[self.pos : end]
        if len(self) < limit:
            return None
        raise TooLarge(f"more than {limit} bytes where an end was expected")

    def scan(self) -> Run | None:
        """Give the publishes that stand next and need no look at each; here none, so that all is left to ``next``."""
        return None

    def drop(self) -> None:
        """Throw everything away: nothing behind a fatal error is read."""
        self.chunk = b""
        self.pos = self.need = self._more = 0
        self._parts.clear()
