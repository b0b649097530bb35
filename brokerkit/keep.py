"""The word for what is kept: a rule names topics by patterns and says how the log keeps what is published there.

These are words only: they are read from a file (``brokerkit.keep_tables``) and put to work by ``brokerkit.keeping``.
"""

from __future__ import annotations

import attrs

PACE, DROP = "pace", "drop"
OVERFLOWS = (PACE, DROP)
ACKS = ("commit", "interval", "none")
PARTITIONERS = ("sender", "murmur2", "random")
TIMESTAMPS = ("create", "append")
MAX_TOPICS = 1000  # of one rule, where it does not say another number
MOST_PARTITIONS = 1024
LARGEST = 8 * 1024 * 1024  # bytes of a record, with its headers: more than the protocols let through
TOMBSTONES = 86_400.0  # seconds that a null value is kept in a compacted topic


@attrs.frozen(kw_only=True)
class Keep:
    """One ``[[keep]]`` table: the messages on these topics of one tenant, in one order, on disk.

    ``topics`` are patterns, ``stream`` is the name of the order that they share.  Sizes are bytes, times seconds, and 0
    stands for no bound.  ``overflow`` says what happens when the disk does not keep up: publishers wait (``pace``), or
    messages are missing from the log (``drop``).  At most ``max_topics`` topics are made for the rule.
    """

    topics: tuple[str, ...] = ()
    stream: str = ""
    tenant: str = ""
    partitions: int = 1
    ack: str = "commit"
    overflow: str = PACE
    partitioner: str = "sender"
    timestamps: str = "create"
    compact: bool = False
    max_topics: int = MAX_TOPICS
    max_message_bytes: int = LARGEST
    retention_bytes: int = 0
    retention_seconds: float = 0.0
    retention_messages: int = 0
    tombstone_seconds: float = TOMBSTONES

    @property
    def patterns(self) -> tuple[bytes, ...]:
        """The patterns, as the router has them."""
        return tuple(topic.encode() for topic in self.topics)
