"""The broker's side: what follows from each command, and how messages are spelled for those who subscribed.

``ok`` answers a login.  Whatever else works is not answered; what does not is answered by a line that begins with
``error``.
"""

from typing import ClassVar

from twisted.cred.credentials import UsernamePassword

from brokerkit.errors import ClientError
from brokerkit.framing import Rendering
from brokerkit.run import Batch, Message
from brokerkit.session import Session
from brokerkit.topics import beneath
from brokerkit_line.wire import Subscribe, Wire


def render(batch: Batch, prefix: bytes) -> bytes:
    """Spell a batch for the listeners with that topic prefix; empty if its topic is not one word in a line."""
    topic = beneath(prefix, batch.topic)
    if not topic or b" " in topic or b"\n" in topic:
        return b""
    return b"".join(b"msg %b %d\n%b" % (topic, len(message.payload), message.payload) for message in batch)


LINES = Rendering(render)


class LineSession(Session):
    """One connection."""

    commands: ClassVar[dict[type, str]] = {UsernamePassword: "login", Subscribe: "on_subscribe", Message: "say"}

    def make_wire(self) -> Wire:
        """Give the wire."""
        return Wire()

    def welcome(self) -> None:
        """Say that the login worked."""
        self.outbox.put(b"ok\n")

    def spell(self, error: ClientError) -> bytes:
        """Say what did not."""
        return b"error %b\n" % (error.reply or error.kind).encode()

    def on_subscribe(self, subscribe: Subscribe) -> None:
        """Subscribe; the tag tells ``render`` the prefix, and all who share it share what is rendered."""
        self.subscribe(subscribe.pattern, LINES, tag=self.listener.prefix)
