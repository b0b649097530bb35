"""Many writes of one sender to one topic, and where they were put: columns, without an object for each record.

Both are sequences of what they stand for, made when somebody asks; so whoever knows nothing of them takes them for
lists.  Who knows them does a few calls for all records, not a few for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from brokerkit.log.words import Placed, Record, Write

if TYPE_CHECKING:
    from brokerkit.log.words import Ack


class Bulk(Sequence[Write]):
    """Writes without headers: ``keys`` and ``timestamps`` (ms since 1970) are ``None`` where no record has one."""

    __slots__ = ("keys", "partition", "sender", "tenant", "timestamps", "topic", "values")

    def __init__(
        self,
        tenant: str,
        topic: bytes,
        values: list[bytes | None],
        sender: bytes,
        *,
        keys: list[bytes | None] | None = None,
        timestamps: list[int | None] | None = None,
        partition: int | None = None,
    ) -> None:
        """Take the columns, which are as long as ``values``; ``partition`` is that of all, as in ``Write``."""
        self.tenant = tenant
        self.topic = topic
        self.values = values
        self.sender = sender
        self.keys = keys
        self.timestamps = timestamps
        self.partition = partition

    def __len__(self) -> int:
        """Give the number of writes."""
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Write: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Write]: ...
    def __getitem__(self, index: int | slice) -> Write | Sequence[Write]:
        """Make one write, or a list of some."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        value = self.values[index]
        key = None if self.keys is None else self.keys[index]
        timestamp = None if self.timestamps is None else self.timestamps[index]
        return Write(self.tenant, self.topic, self.partition, Record(value, key, (), timestamp, self.sender))

    def sent_by(self, sender: bytes) -> Bulk:
        """Give the same as that sender's."""
        more: dict[str, Any] = {"keys": self.keys, "timestamps": self.timestamps, "partition": self.partition}
        return Bulk(self.tenant, self.topic, self.values, sender, **more)


class Places(Sequence[Placed]):
    """Where records are that were put behind each other: their ``offsets``, and their time, or their times (ms)."""

    __slots__ = ("ack", "offsets", "partition", "timestamps", "topic")

    def __init__(self, topic: bytes, partition: int, offsets: range, timestamps: Sequence[int] | int, ack: Ack) -> None:
        """Take what is said of all of them."""
        self.topic = topic
        self.partition = partition
        self.offsets = offsets
        self.timestamps = timestamps
        self.ack = ack

    def __len__(self) -> int:
        """Give the number of records."""
        return len(self.offsets)

    @overload
    def __getitem__(self, index: int) -> Placed: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Placed]: ...
    def __getitem__(self, index: int | slice) -> Placed | Sequence[Placed]:
        """Make one place, or a list of some."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        times = self.timestamps
        timestamp = times if isinstance(times, int) else times[index]
        return Placed(self.topic, self.partition, self.offsets[index], timestamp, False, self.ack)
