"""hpfeeds, the client's side, without I/O: for ``brokerkit pub`` and ``sub``, and for tests that cross protocols."""

from __future__ import annotations

from hashlib import sha1

from brokerkit.errors import LoginFailed
from brokerkit.protocols.hpfeeds import wire
from brokerkit.run import Message


class HpfeedsCaller:
    """One client.  The protocol never says that a login worked: it is ready when it has sent its answer."""

    def __init__(self, name: str, secret: str) -> None:
        """Take the ident and its secret."""
        self._ident = name.encode()
        self._secret = secret.encode()
        self._wire = wire.Wire()
        self.ready = False

    def receive(self, chunk: bytes) -> tuple[list[Message], bytes]:
        """Take what came; give the messages in it and what to send now."""
        messages: list[Message] = []
        answer = b""
        self._wire.feed(chunk)
        while (item := self._wire.next()) is not None:
            if isinstance(item, wire.Publish):
                messages.append(Message(item.channel, item.payload))
            elif isinstance(item, wire.Info):
                digest = sha1(item.nonce + self._secret).digest()  # noqa: S324  the protocol's own
                answer = wire.spell(wire.Auth(self._ident, digest))
                self.ready = True
            elif isinstance(item, wire.Error):
                raise LoginFailed(item.text.decode(errors="replace"))
        self._wire.settle()
        return messages, answer

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
