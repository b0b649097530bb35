"""hpfeeds, the client's side, without I/O: for the commands that talk to a broker, and for tests that cross protocols.

A broker may be hostile too: it gets one answer, and can say nothing before that.
"""

from __future__ import annotations

from hashlib import sha1

from brokerkit.errors import LoginFailed, ProtocolViolation
from brokerkit.protocols.hpfeeds import wire
from brokerkit.run import Message


class HpfeedsCaller:
    """One client.  The protocol never says that a login worked: it is ready when it has sent its answer."""

    def __init__(self, name: str, secret: str) -> None:
        """Take the ident and its secret."""
        self._ident = name.encode(errors="surrogateescape")
        self._secret = secret.encode(errors="surrogateescape")
        self._wire = wire.Wire()
        self.ready = False

    def receive(self, chunk: bytes) -> tuple[list[Message], bytes]:
        """Take what came; give the messages in it and what to send now."""
        messages: list[Message] = []
        answer = b""
        self._wire.feed(chunk)
        while (item := self._wire.next()) is not None:
            if isinstance(item, wire.Error):
                raise LoginFailed(item.text.decode(errors="replace"))
            if isinstance(item, wire.Publish) and self.ready:
                messages.append(self.heard(item))
            elif isinstance(item, wire.Info) and not self.ready:
                digest = sha1(item.nonce + self._secret).digest()  # noqa: S324  the protocol's own
                answer = wire.spell(wire.Auth(self._ident, digest))
                self.ready = True
            else:
                raise ProtocolViolation(f"the broker sent {type(item).__name__.upper()} where it has no place")
        self._wire.settle()
        return messages, answer

    def heard(self, item: wire.Publish) -> Message:
        """Give the message of a PUBLISH frame."""
        return Message(item.channel, item.payload)

    def publish(self, topic: bytes, payload: bytes) -> bytes:
        """Give a PUBLISH frame."""
        if len(topic) > 255:  # noqa: PLR2004
            text = "an hpfeeds channel has at most 255 bytes"
            raise ValueError(text)
        data = wire.spell(wire.Publish(self._ident, topic, payload))
        if len(data) > wire.MAX_PUBLISH:
            text = f"an hpfeeds frame has at most {wire.MAX_PUBLISH} bytes"
            raise ValueError(text)
        return data

    def subscribe(self, pattern: bytes) -> bytes:
        """Give a SUBSCRIBE frame; a channel is always literal."""
        return wire.spell(wire.Subscribe(self._ident, pattern))

    def settle(self) -> bytes:
        """Give nothing: hpfeeds has no sign of life to ask for."""
        return b""

    def settled(self) -> bool:
        """Say yes, for the same reason."""
        return True
