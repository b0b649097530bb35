"""The log: topics that are kept, in partitions with offsets, on disk.

``Log`` is a service of the broker.  What is asked about topics is answered from memory; what is appended is answered
when it is on disk; what is read is read in threads, or from memory where it is new.
"""

from brokerkit.log.appending import Admitted
from brokerkit.log.service import Log
from brokerkit.log.words import (
    Ack,
    Busy,
    Fetched,
    Headers,
    Idempotency,
    Kind,
    Limits,
    LogError,
    NoRoom,
    OutOfRange,
    Partitioner,
    Placed,
    Producer,
    Record,
    Span,
    Stored,
    TooLarge,
    Topic,
    TopicExists,
    TopicSettings,
    UnknownPartition,
    UnknownTopic,
    Unusable,
    Unwritable,
    Write,
    WrongSequence,
)

__all__ = [
    "Ack",
    "Admitted",
    "Busy",
    "Fetched",
    "Headers",
    "Idempotency",
    "Kind",
    "Limits",
    "Log",
    "LogError",
    "NoRoom",
    "OutOfRange",
    "Partitioner",
    "Placed",
    "Producer",
    "Record",
    "Span",
    "Stored",
    "TooLarge",
    "Topic",
    "TopicExists",
    "TopicSettings",
    "UnknownPartition",
    "UnknownTopic",
    "Unusable",
    "Unwritable",
    "Write",
    "WrongSequence",
]
