"""The client's side, without I/O: for ``brokerkit pub`` and ``sub --server line://...``, and for the contract.

A protocol can do without one; then nobody but its own clients can speak it, and the contract cannot be run.
"""

from brokerkit.errors import ClientError
from brokerkit.run import Message
from brokerkit.unread import Unread
from brokerkit_line.wire import MAX_LINE, MAX_PAYLOAD


class LineCaller:
    """One client."""

    def __init__(self, name: str, secret: str) -> None:
        """Take name and secret; raise ``ValueError`` where the protocol cannot say them."""
        if " " in name or "\n" in name + secret:
            raise ValueError("a name is one word, and a secret one line")
        self._hello = f"login {name} {secret}\n".encode()
        self._unread = Unread()
        self.ready = False

    def receive(self, chunk: bytes) -> tuple[list[Message], bytes]:
        """Take what came; give the messages in it and what to send now."""
        messages = []
        self._unread.feed(chunk)
        while (message := self._next()) is not None:
            messages.append(message)
        self._unread.settle()
        hello, self._hello = self._hello, b""
        return messages, hello

    def _next(self) -> Message | None:
        """Read up to the next message that is all there."""
        unread = self._unread
        while (line := unread.upto(b"\n", MAX_LINE)) is not None:
            start = unread.pos + len(line) + 1
            match line.split(b" ", 2):
                case [b"msg", topic, size]:
                    end = start + int(size)
                    if unread.lacks(end - unread.pos):
                        break
                    unread.pos = end
                    return Message(topic, unread.chunk[start:end])
                case [b"ok"]:
                    self.ready = True
                    unread.pos = start
                case _:
                    raise ClientError(line.removeprefix(b"error ").decode(errors="replace"))
        return None

    def publish(self, topic: bytes, payload: bytes) -> bytes:
        """Give a ``pub`` with its payload."""
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"a payload has at most {MAX_PAYLOAD} bytes")
        return b"pub %b %d\n%b" % (_word(topic), len(payload), payload)

    def subscribe(self, pattern: bytes) -> bytes:
        """Give a ``sub``."""
        return b"sub %b\n" % _word(pattern)

    def settle(self) -> bytes:
        """Give nothing: the protocol has no sign of life to ask for."""
        return b""

    def settled(self) -> bool:
        """Say yes, for the same reason."""
        return True


def _word(name: bytes) -> bytes:
    if not name or b" " in name or b"\n" in name:
        raise ValueError("a topic is one word, not empty")
    return name
