"""How NATS writes topics: a subject is a topic or a pattern, without blanks and empty tokens."""

from __future__ import annotations

from brokerkit import topics


def notation(name: bytes, prefix: bytes) -> tuple[bytes, bool]:
    """Give the topic or pattern of a subject; raise ``ValueError`` if it is none."""
    if not _is_subject(name):
        text = "a subject of NATS has no blank and no empty token, and > only at its end"
        raise ValueError(text)
    return topics.under(prefix, name), not topics.has_wildcard(name)


def spelling(topic: bytes, prefix: bytes, literal: bool) -> bytes | None:
    """Give the subject of a topic or pattern; there is none for a literal name that looks like a pattern."""
    subject = topics.beneath(prefix, topic)
    if subject is None or not _is_subject(subject) or (literal and topics.has_wildcard(subject)):
        return None
    return subject


def _is_subject(name: bytes) -> bool:
    return topics.is_pattern(name) and len(name.split()) == 1 and b"\0" not in name and name == name.strip()
