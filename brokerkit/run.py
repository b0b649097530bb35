"""What one sender said consecutively: topics mixed, order kept, cut lazily from the chunk that was read.

A wire's scanner fills a ``Run`` with places instead of objects; who needs a message asks for it.  The router walks a
run batch by batch: a *batch* is a view of consecutive messages that share topic and kind (with headers or without),
so that permission, match and rendering are decided once for all of them.  ``cuts`` marks where batches begin.

Runs and their batches are used again after a delivery: whoever wants to keep something keeps the ``Message``, not the
view.  So no chunk stays in memory for the sake of a slice of it.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from brokerkit.fields import Places

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Message(NamedTuple):
    """One message, by itself: bytes throughout, ``reply`` and ``headers`` empty where there are none."""

    topic: bytes
    payload: bytes
    reply: bytes = b""
    headers: bytes = b""


class Origin(Enum):
    """Where a run or a subscription comes from."""

    CLIENT = "client"
    SERVICE = "service"
    LOG = "log"
    LEAF = "leaf"
    ROUTE = "route"
    GATEWAY = "gateway"

    __hash__ = object.__hash__  # members are compared by identity; an Enum's own is a call of Python for each look-up


_MESH = (Origin.ROUTE, Origin.GATEWAY)


def may_cross(source: Origin, target: Origin) -> bool:
    """Say whether what came from ``source`` may leave by ``target``: the mesh is full, nothing is forwarded twice."""
    return not (source in _MESH and target in _MESH)


Path = tuple[object, ...]
"""What has carried a message from one tenant to the next; nothing does so twice."""


class Run(Places):
    """Consecutive messages of one sender.

    A protocol's own run subclasses this and implements ``__len__``, ``__getitem__`` and ``clear``.  Its scanner notes
    where batches begin: the index of the first message in ``cuts``, its topic in ``topics``, one of each per batch.
    """

    __slots__ = ()

    path: Path = ()

    def __init__(self) -> None:
        """Begin empty; sender, name and origin are set by the client that publishes it."""
        super().__init__()
        self.sender = None
        self.name = b""
        self.origin = Origin.CLIENT

    def __getitem__(self, index: int) -> Message:
        """Cut out one message."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Message]:
        """Cut out one message after the other."""
        return (self[i] for i in range(len(self)))

    def headed(self, index: int) -> bool:
        """Say whether the message at ``index`` carries headers (as every message of its batch does, or none)."""
        return bool(self[index].headers)

    def bare(self, start: int, stop: int) -> bool:
        """Say whether the messages ``start`` to ``stop``, which are of one batch, have neither headers nor replies."""
        return not any(message.headers or message.reply for message in (self[i] for i in range(start, stop)))

    def octets(self, start: int, stop: int) -> int:
        """Give the bytes of payload of messages ``start`` to ``stop``, which are of one batch."""
        return sum(self.sizes(start, stop))

    def largest(self, start: int, stop: int) -> int:
        """Give the bytes of payload of the largest of the messages ``start`` to ``stop``, which are of one batch."""
        return max(self.sizes(start, stop))

    def sizes(self, start: int, stop: int) -> list[int]:
        """Give the bytes of payload of each of the messages ``start`` to ``stop``, which are of one batch."""
        return [len(self[i].payload) for i in range(start, stop)]

    def payloads(self, start: int, stop: int) -> list[bytes]:
        """Cut out the payloads of the messages ``start`` to ``stop``, which are of one batch."""
        return [self[i].payload for i in range(start, stop)]

    def batches(self) -> Iterator[Batch]:
        """Give a view of each batch, in order."""
        ends = [*self.cuts, len(self)][1:]
        for topic, start, stop in zip(self.topics, self.cuts, ends, strict=True):
            yield Batch(self, topic, start, stop)

    def clear(self) -> None:
        """Forget all messages, and the chunk that they were cut from."""
        self.sender = None
        self.empty()


class Batch:
    """A view of messages ``start`` to ``stop`` of a run: consecutive, one topic, all with headers or all without.

    It is good for as long as the call lasts that it was handed to.
    """

    __slots__ = ("run", "start", "stop", "topic")

    def __init__(self, run: Run, topic: bytes, start: int, stop: int) -> None:
        """Look at that part of the run."""
        self.run = run
        self.topic = topic
        self.start = start
        self.stop = stop

    def __len__(self) -> int:
        """Give the number of messages."""
        return self.stop - self.start

    def __iter__(self) -> Iterator[Message]:
        """Cut out one message after the other."""
        run = self.run
        return (run[i] for i in range(self.start, self.stop))

    @property
    def sender(self) -> bytes:
        """The name of the user who published."""
        return self.run.name

    @property
    def headed(self) -> bool:
        """Whether the messages carry headers."""
        return self.run.headed(self.start)


class Renamed(Run):
    """The messages of another run, all under one other topic: what a tenant makes of them by a mapping or an import.

    A framing whose pieces have nothing of the topic in them may take them from the batch ``as_it_was``.
    """

    __slots__ = ("_before", "_run", "_topic", "path")

    def __init__(self, batch: Batch, topic: bytes) -> None:
        """Show the run of that batch as if its topic were this one."""
        run = batch.run  # without the constructor of a run: this one has no lists to fill
        self.sender = run.sender
        self.name = run.name
        self.origin = run.origin
        self.path = run.path
        self._run = run
        self._before = batch.topic
        self._topic = topic

    def __len__(self) -> int:
        """Give the number of messages."""
        return len(self._run)

    def __getitem__(self, index: int) -> Message:
        """Give the message under its other topic."""
        return self._run[index]._replace(topic=self._topic)

    def headed(self, index: int) -> bool:
        """Say whether the message at ``index`` carries headers."""
        return self._run.headed(index)

    def sizes(self, start: int, stop: int) -> list[int]:
        """Give the bytes of payload of each of the messages ``start`` to ``stop``."""
        return self._run.sizes(start, stop)

    def bare(self, start: int, stop: int) -> bool:
        """Say whether the messages ``start`` to ``stop`` have neither headers nor replies."""
        return self._run.bare(start, stop)

    def payloads(self, start: int, stop: int) -> list[bytes]:
        """Cut out the payloads of the messages ``start`` to ``stop``."""
        return self._run.payloads(start, stop)

    def as_it_was(self, batch: Batch) -> Batch:
        """Give the same messages as a batch of the run that they came in."""
        return Batch(self._run, self._before, batch.start, batch.stop)


def renamed(batch: Batch, topic: bytes) -> Batch:
    """Give a view of the same messages under another topic."""
    return Batch(Renamed(batch, topic), topic, batch.start, batch.stop)


class Scanned(Run):
    """A run of places in the chunk that was read: where each message starts, and where the last one ends.

    A wire's own run subclasses this and says what stands at a place (``__getitem__``).  The wire fills it, again and
    again.
    """

    __slots__ = ()


class Spoken(Run):
    """A run made of whole messages: what an in-process client, an HTTP request or an odd spelling publishes."""

    __slots__ = ("messages",)

    def __init__(self, messages: Sequence[Message]) -> None:
        """Take the messages in the order in which they shall be delivered."""
        super().__init__()
        self.messages = list(messages)
        last = None
        for i, m in enumerate(self.messages):
            kind = m.topic, bool(m.headers)
            if kind != last:
                self.cuts.append(i)
                self.topics.append(m.topic)
                last = kind

    def __len__(self) -> int:
        """Give the number of messages."""
        return len(self.messages)

    def __getitem__(self, index: int) -> Message:
        """Give the message."""
        return self.messages[index]

    def clear(self) -> None:
        """Forget all messages."""
        super().clear()
        self.messages.clear()


class Carried(Spoken):
    """What an import has carried from one tenant to another."""

    __slots__ = ("path",)
