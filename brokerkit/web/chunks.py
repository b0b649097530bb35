"""The body of a request that comes in chunks (RFC 9112, section 7.1).

What is held is never more than one line of it: the size of a chunk, or a trailer, of which none is kept.
"""

from __future__ import annotations

import re

from brokerkit.web.head import NoRequest

LINE = 1024  # bytes of one line: the size of a chunk with its extensions, or a trailer
TRAILERS = 64  # lines behind the last chunk
END = b"\r\n"

# A line ends in CR LF, and nothing that another reader could take for the end of one is in it.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*")


class Chunks:
    """Reads one body; ``done`` when its last line has come."""

    def __init__(self) -> None:
        """Begin before the first chunk."""
        self.done = False
        self._left = 0  # bytes of the chunk that are still to come, with the line's end behind them
        self._last = False
        self._trailers = 0

    def read(self, held: bytearray, body: bytearray, room: int) -> bool:
        """Move what is there from ``held`` to the body; say whether the body still fits into ``room`` bytes.

        Raises ``NoRequest`` for what is no chunk.
        """
        while held and not self.done:
            if self._left:
                if not self._take(held, body):
                    return True
            else:
                line = _line(held)
                if line is None:
                    return True
                self._read_line(line)
                if len(body) + self._left - len(END) > room:
                    return False
        return True

    def _read_line(self, line: bytes) -> None:
        if not self._last:
            found = _SIZE.fullmatch(line)
            if found is None:
                raise NoRequest("a chunk does not begin with its size")
            size = int(found[1], 16)
            self._last = not size
            self._left = size + len(END) if size else 0
        elif not line:
            self.done = True
        else:
            self._trailers += 1
            if self._trailers > TRAILERS or _TRAILER.fullmatch(line) is None:
                raise NoRequest("what follows the last chunk is no trailer")

    def _take(self, held: bytearray, body: bytearray) -> bool:
        """Take from the chunk, and then the end of its line; say whether it is whole."""
        part = min(self._left - len(END), len(held))
        body += held[:part]
        del held[:part]
        self._left -= part
        if self._left > len(END):
            return False
        if not END.startswith(bytes(held[: len(END)])):
            raise NoRequest("a chunk is longer than it says")
        if len(held) < len(END):
            return False
        del held[: len(END)]
        self._left = 0
        return True


def _line(held: bytearray) -> bytes | None:
    """Take a line; ``None`` if its end has not come."""
    end = held.find(END, 0, LINE + len(END))
    if end < 0:
        if len(held) > LINE:
            raise NoRequest("a line between chunks is too long")
        return None
    line = bytes(held[:end])
    del held[: end + len(END)]
    return line
