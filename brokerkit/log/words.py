"""The words of the log: topics and their settings, records, where they were put, and what can go wrong.

Names, keys, values and senders are bytes.  ``None`` is null, and something else than ``b""``, everywhere.  Offsets
count the records of one partition, from 0 on.  A sequence counts the records of all topics of one stream, from 1 on: it
is the order in which they came.

What there is much of (records) is a named tuple: one is made in 0.1 µs where the fields stand in columns.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import attrs

from brokerkit.errors import BrokerError

Ack = Literal["commit", "interval", "none"]
Kind = Literal["create", "append"]
Partitioner = Literal["sender", "murmur2", "random"]
Headers = tuple[tuple[bytes, bytes | None], ...]

COMMIT: Ack = "commit"
INTERVAL: Ack = "interval"
NONE: Ack = "none"


@attrs.frozen
class TopicSettings:
    """How a topic is kept; 0 means no bound.

    ``ack`` says when a producer is answered: ``commit``: it is on disk; ``interval`` and ``none``: it is in the queue,
    and will be on disk after ``Limits.interval`` or ``Limits.lazily`` at the latest.  ``retention_bytes`` and
    ``retention_messages`` are for each partition; ``retention_seconds`` counts from when the record was put here, not
    from the time that its sender gave it.  ``compact`` keeps the last record of each key; one whose value is null
    deletes the key, and is itself kept for ``tombstone_seconds``.  ``timestamps`` is whose count: those that the sender
    gave (``create``), or when it was put here (``append``).  ``partitioner`` is for records without a partition: by
    key, else by sender (``sender``), by key as Kafka's clients do, else by sender (``murmur2``), or any (``random``).
    """

    ack: Ack = "commit"
    retention_bytes: int = 0
    retention_seconds: float = 0
    retention_messages: int = 0
    compact: bool = False
    timestamps: Kind = "create"
    partitioner: Partitioner = "sender"
    max_message_bytes: int = 8 * 1024 * 1024
    tombstone_seconds: float = 86_400


@attrs.frozen
class Topic:
    """A topic that is kept: ``name`` is that of the router.  ``stream`` names what shares one sequence with it."""

    tenant: str
    name: bytes
    stream: str = ""
    partitions: int = 1
    settings: TopicSettings = TopicSettings()


class Record(NamedTuple):
    """What is to be kept; ``timestamp`` is in ms since 1970, ``None``: now."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    timestamp: int | None = None
    sender: bytes = b""
    reply: bytes = b""


class Write(NamedTuple):
    """A record and where it goes; ``partition`` ``None``: as the topic's partitioner says."""

    tenant: str
    topic: bytes
    partition: int | None
    record: Record


class Stored(NamedTuple):
    """A record as it is kept; ``kind`` says whose ``timestamp`` (in ms since 1970) it is.

    Where ``missing`` is not 0 it stands for so many messages that could not be kept: it has neither key nor value.
    """

    offset: int
    timestamp: int
    kind: Kind
    key: bytes | None
    value: bytes | None
    headers: Headers
    sender: bytes
    sequence: int
    reply: bytes = b""
    missing: int = 0


class Placed(NamedTuple):
    """Where a record was put, and what is true of it now (``ack``); ``duplicate``: it had been put there before."""

    topic: bytes
    partition: int
    offset: int
    timestamp: int
    duplicate: bool
    ack: Ack


class Span(NamedTuple):
    """The offsets of a partition: of the first record that there is, and of the next that will be."""

    first: int
    next: int


class Fetched(NamedTuple):
    """What was read; ``first`` and ``next`` are the partition's span, ``after`` is the offset to go on from.

    ``after`` may be behind the last record, and even move on without one, where a topic is compacted.
    """

    records: list[Stored]
    first: int
    next: int
    after: int


@attrs.frozen
class Producer:
    """Who numbers its appends: ``sequence`` counts the calls of ``append``, one up for each, whatever is in it.

    A new ``epoch`` begins at sequence 0, and shuts out whoever still has a former one.
    """

    id: bytes
    epoch: int
    sequence: int


@attrs.frozen
class Idempotency:
    """A key that is used once; ``digest`` stands for what it was used for (a hash of the body)."""

    key: bytes
    digest: bytes


@attrs.frozen
class Limits:
    """What bounds the log; bytes and seconds.  Memory does not grow beyond this, whatever there is on disk."""

    queue_bytes: int = 64 * 1024 * 1024  # of records that wait to be written; then Busy
    commit_bytes: int = 4 * 1024 * 1024  # of records in one commit; the append that goes over it is the last
    batch_bytes: int = 128 * 1024  # of records in one row; a larger record has a row of its own
    append_records: int = 100_000  # in one append
    linger: float = 0.0  # how long the first record waits for others to share its commit; 0: to the end of the turn
    gather: float = 0.005  # the same for what is published by a protocol that answers nobody
    gather_most: float = 0.05  # how long that may become where a commit takes long, since one for each topic does
    interval: float = 0.1  # how much later than its answer a record of ack "interval" is on disk, at most
    lazily: float = 1.0  # the same for "none"
    tail_bytes: int = 16 * 1024 * 1024  # of the newest records, which are read from memory
    topics: int = 10_000
    partitions: int = 1024  # of one topic
    all_partitions: int = 100_000
    readers: int = 4  # threads
    reading: int = 1024  # fetches that may wait for one of them
    fetch_bytes: int = 100 * 1024 * 1024  # that one fetch may ask for
    cell_bytes: int = 64 * 1024 * 1024  # of all cells
    producers: int = 10_000  # whose sequences are remembered
    keys: int = 100_000  # of Idempotency that are remembered
    remembered: float = 86_400.0  # for how long, at most
    cache_bytes: int = 8 * 1024 * 1024  # of SQLite's pages, for each connection
    checkpoint_bytes: int = 8 * 1024 * 1024  # that are written between checkpoints
    wal_bytes: int = 64 * 1024 * 1024  # of the file that SQLite writes first
    memory_bytes: int = 256 * 1024 * 1024  # of a log without a file
    tidy_every: float = 5.0  # how often retention and compaction look
    slice_records: int = 5_000  # that they take away in one go
    compaction_keys: int = 200_000  # that one pass of compaction can tell apart


# -- what can go wrong ------------------------------------------------------------------------------------------------


class LogError(BrokerError):
    """What was asked of the log was not done, and nothing of it."""


class UnknownTopic(LogError):
    """There is no such topic."""

    def __init__(self, name: bytes) -> None:
        """Take the name."""
        super().__init__(f"there is no topic {name.decode(errors='replace')!r}")
        self.name = name


class UnknownPartition(LogError):
    """The topic has no such partition."""

    def __init__(self, name: bytes, partition: int, partitions: int) -> None:
        """Take the topic's name, the partition that was asked for, and the number that there is."""
        text = f"the topic {name.decode(errors='replace')!r} has {partitions} partitions, and no partition {partition}"
        super().__init__(text)
        self.name = name
        self.partition = partition


class TopicExists(LogError):
    """There is a topic with that name already; ``topic`` is it."""

    def __init__(self, topic: Topic) -> None:
        """Take the one that there is."""
        super().__init__(f"there is a topic {topic.name.decode(errors='replace')!r} already")
        self.topic = topic


class OutOfRange(LogError):
    """The offset is not among those of the partition, nor the next one; ``first`` and ``next`` are its span."""

    def __init__(self, offset: int, first: int, next: int) -> None:  # noqa: A002  as in Span
        """Take the offset that was asked for, and the span."""
        super().__init__(
            f"the offset {offset} is out of range: the partition has {first} to {next - 1}, next is {next}"
        )
        self.offset = offset
        self.first = first
        self.next = next


class Unusable(LogError):
    """What was asked for can never be done; the text says why."""


class TooLarge(Unusable):
    """A record, or all of an append, is larger than may be."""


class WrongSequence(Unusable):
    """A producer's number is not the next one, or its epoch is over, or a key was used for something else."""

    def __init__(self, text: str, expected: int | None = None) -> None:
        """Take the reason, and the sequence that was expected, where there is one."""
        super().__init__(text)
        self.expected = expected


class Unwritable(LogError):
    """It cannot be done now: the disk reports an error, or the log is closed."""


class NoRoom(Unwritable):
    """The disk is full, or a bound is reached; it can be read, and written to when there is room."""


class Busy(Unwritable):
    """Too much waits already; it may work after ``retry_after`` seconds."""

    def __init__(self, retry_after: float = 1.0) -> None:
        """Take the seconds."""
        super().__init__(f"too much waits to be written already; try again in {retry_after:.3g} s")
        self.retry_after = retry_after
