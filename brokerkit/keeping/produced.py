"""What a request publishes to kept topics: a run that carries the records along.

Live subscribers see messages: a payload, and the record's headers where their protocol has headers.  The log's own
subscription meets the same run: in the tenant that it was published in, the topics of ``kept`` are in the log already,
or on their way, since the request asked for that itself; anywhere else it is kept as a record with its key and time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.log.bulk import Bulk
from brokerkit.log.heads import block_of, headers_of
from brokerkit.log.words import Record
from brokerkit.router import Gate
from brokerkit.run import Message, Renamed, Run, Spoken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.log.words import Write
    from brokerkit.route import Route
    from brokerkit.run import Batch


class Produced(Spoken):
    """The messages of some writes of one tenant; a null value is said as an empty payload."""

    __slots__ = ("kept", "tenant", "writes")

    def __init__(self, tenant: str, writes: Sequence[Write]) -> None:
        """Take the writes in their order."""
        self.tenant = tenant
        self.writes = writes
        if type(writes) is Bulk and writes:  # messages are made when somebody wants one
            Run.__init__(self)
            self.messages = []
            self.topics.append(writes.topic)
            self.cuts.append(0)
            self.kept = {writes.topic}
        else:
            super().__init__([_message(write) for write in writes])
            self.kept = set(self.topics)

    def __len__(self) -> int:
        """Give the number of messages."""
        return len(self.writes)

    def __getitem__(self, index: int) -> Message:
        """Give the message."""
        if not self.messages:
            self.messages = [_message(write) for write in self.writes]
        return self.messages[index]

    def clear(self) -> None:
        """Forget all messages."""
        super().clear()
        self.writes = ()


def _message(write: Write) -> Message:
    record = write.record
    headers = block_of(record.headers) if record.headers else b""
    return Message(write.topic, record.value or b"", record.reply, headers)


def is_kept(batch: Batch, tenant: str) -> bool:
    """Say whether a batch has its way to the log already."""
    run = batch.run
    return run.__class__ is Produced and run.tenant == tenant and batch.topic in run.kept


def records_of(batch: Batch) -> list[Record]:
    """Give the messages of a batch as records; those of a request with all that was said of them."""
    sender = batch.sender or b"-"  # as in ``Keeping``
    inner = batch
    while isinstance(inner.run, Renamed):
        inner = inner.run.as_it_was(inner)
    run = inner.run
    if isinstance(run, Produced):
        return [write.record._replace(sender=sender) for write in run.writes[inner.start : inner.stop]]
    return [Record(m.payload, None, headers_of(m.headers), None, sender, m.reply) for m in batch]


class Direct(Gate):
    """Where a request publishes: what it may, and where mappings lead, has been decided before."""

    __slots__ = ()

    def miss(self, topic: bytes) -> Route | None:
        """Give the route of a topic."""
        route = self.router.route(topic)
        if route.kept:
            self._keep(topic, route)
        return route
