"""How hpfeeds writes topics: a channel is one literal name, whatever it looks like."""

from __future__ import annotations

from brokerkit import topics

MAX_CHANNEL = 255  # bytes: a frame gives the length in one byte


def notation(name: bytes, prefix: bytes) -> tuple[bytes, bool]:
    """Give the topic of a channel; raise ``ValueError`` if it is none."""
    if len(name) > MAX_CHANNEL:
        text = f"a channel of hpfeeds has at most {MAX_CHANNEL} bytes, and this one {len(name)}"
        raise ValueError(text)
    return topics.under(prefix, name), True


def spelling(topic: bytes, prefix: bytes, literal: bool) -> bytes | None:
    """Give the channel of a topic; there is none for a pattern."""
    channel = topics.beneath(prefix, topic)
    if channel is None or len(channel) > MAX_CHANNEL or not (literal or not topics.has_wildcard(channel)):
        return None
    return channel
