"""How hpfeeds spells messages for its subscribers: nothing is the subscriber's own, so all share one frame.

A run that came in by hpfeeds with the same topic prefix is passed on as it is: ident and channel have been checked, and
consecutive frames on one channel are one slice of the chunk.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from brokerkit.protocols.hpfeeds.wire import (
    HEAD,
    HEADER,
    MAX_PUBLISH,
    PUBLISH,
    HpfeedsRun,
    form,
    short,
)
from brokerkit.topics import beneath

if TYPE_CHECKING:
    from brokerkit.run import Batch

LONGEST = 255  # bytes of a short string


class HpfeedsFraming:
    """PUBLISH frames for the subscribers of all listeners with one topic prefix."""

    frame = staticmethod(bytes.join)

    def __init__(self, prefix: bytes) -> None:
        """Spell the topics under ``prefix`` without it."""
        self.prefix = prefix
        self.form = form(prefix)
        self.headed = self.around = None

    def head(self, topic: bytes, tag: bytes) -> bytes | None:  # noqa: ARG002  all subscribers are alike
        """Give the empty head, if the topic is a channel of at most 255 bytes."""
        channel = beneath(self.prefix, topic)
        if channel is None or len(channel) > LONGEST:
            return None
        return b""

    def pieces(self, batch: Batch) -> list[bytes] | None:
        """Give the frames of a batch; ``None`` if sender or payload are too long for the fields of a frame."""
        run = batch.run
        if run.__class__ is HpfeedsRun and run.prefix == self.prefix:
            return [run.chunk[run.starts[batch.start] : run.ending(batch.stop - 1)]]
        sender = batch.sender
        channel = beneath(self.prefix, batch.topic)
        if channel is None or len(sender) > LONGEST:
            return None
        address = short(sender) + short(channel)
        least = HEAD + len(address)
        frames = [b""]
        for message in batch:
            size = least + len(message.payload)
            if size > MAX_PUBLISH:
                return None
            frames += HEADER.pack(size, PUBLISH), address, message.payload
        return frames


@cache
def hpfeeds_framing(prefix: bytes) -> HpfeedsFraming:
    """Give the one framing of a topic prefix: subscribers of all its listeners share frames."""
    return HpfeedsFraming(prefix)
