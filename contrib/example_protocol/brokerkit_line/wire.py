"""The wire: words in a line, and behind the line of a message its payload.

Words are parted by one blank, and the secret, the last word of its line, may hold blanks itself.  A payload is as long
as its line says and may be any bytes; the next line begins right behind it.

Nothing is taken before it is all there: ``pos`` is moved last.  So a chunk may end anywhere.
"""

from typing import NamedTuple

from twisted.cred.credentials import UsernamePassword

from brokerkit.errors import ProtocolViolation
from brokerkit.run import Message
from brokerkit.unread import Unread

MAX_LINE = 4096  # bytes, with the newline
MAX_PAYLOAD = 1024 * 1024  # bytes


class Subscribe(NamedTuple):
    """``sub PATTERN``; the other two commands are what brokerkit and Twisted have classes for."""

    pattern: bytes


Command = UsernamePassword | Subscribe | Message


class Wire(Unread):
    """One connection's input."""

    def next(self) -> Command | None:
        """Read one command; ``None`` if it is not all there yet."""
        line = self.upto(b"\n", MAX_LINE)
        if line is None:
            return None
        end = self.pos + len(line) + 1
        item: Command
        match line.split(b" ", 2):
            case [b"login", name, secret]:
                item = UsernamePassword(name, secret)
            case [b"sub", pattern]:
                item = Subscribe(pattern)
            case [b"pub", topic, size] if topic and size.isdigit() and int(size) <= MAX_PAYLOAD:
                start, end = end, end + int(size)
                if self.lacks(end - self.pos):
                    return None
                item = Message(topic, self.chunk[start:end])
            case _:
                raise ProtocolViolation("expected login NAME SECRET, sub PATTERN or pub TOPIC SIZE")
        self.pos = end
        return item
