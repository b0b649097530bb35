"""What the log knows without reading: topics, their partitions, and up to where each is written.

Of each number there are two: what is on disk, and what will be there when all that waits is written (``coming``).  New
records are numbered by the latter.  When a commit fails all that waits fails with it, and both are the same again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from brokerkit.log.words import Span, Topic, UnknownPartition, UnknownTopic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.stores.topiclog import Numbers


class Stream:
    """One sequence for the topics that share it."""

    __slots__ = ("coming", "name", "sequence", "tenant")

    def __init__(self, tenant: str, name: str, sequence: int = 0) -> None:
        """Begin behind that sequence."""
        self.tenant = tenant
        self.name = name
        self.sequence = sequence
        self.coming = sequence


class Part:
    """One partition; the fields are those of ``brokerkit.stores.topiclog.Numbers``.

    ``owed`` counts messages that were promised a place and could not be kept, for which no gap record stands yet.
    """

    __slots__ = (
        "bytes",
        "cleaned",
        "coming",
        "first",
        "id",
        "kept",
        "next",
        "number",
        "owed",
        "peak",
        "records",
        "stored",
        "tombstones",
    )

    def __init__(self, kept: Kept, numbers: Numbers) -> None:
        """Take what the store says."""
        self.kept = kept
        self.id, self.number, self.first, self.next, self.bytes, self.records = numbers[:6]
        self.peak, self.stored, self.cleaned, self.tombstones = numbers[6:]
        self.coming = self.next
        self.owed = 0


class Kept:
    """One topic, with its partitions and its stream."""

    __slots__ = ("gone", "id", "parts", "stream", "topic")

    def __init__(self, id_: int, topic: Topic, stream: Stream) -> None:
        """Begin without partitions."""
        self.id = id_
        self.topic = topic
        self.stream = stream
        self.parts: list[Part] = []
        self.gone = False


class State:
    """All topics of all tenants."""

    def __init__(self) -> None:
        """Begin with none."""
        self.tenants: dict[str, dict[bytes, Kept]] = {}
        self.streams: dict[tuple[str, str], Stream] = {}
        self.parts: dict[int, Part] = {}
        self.topics = 0

    def stream(self, tenant: str, name: str) -> Stream:
        """Give a stream, which begins when it is first asked for."""
        found = self.streams.get((tenant, name))
        if found is None:
            found = self.streams[tenant, name] = Stream(tenant, name)
        return found

    def put(self, id_: int, topic: Topic, numbers: Iterable[Numbers]) -> Kept:
        """Take a topic in."""
        kept = Kept(id_, topic, self.stream(topic.tenant, topic.stream or _own_stream(topic)))
        self.grow(kept, numbers)
        self.tenants.setdefault(topic.tenant, {})[topic.name] = kept
        self.topics += 1
        return kept

    def grow(self, kept: Kept, numbers: Iterable[Numbers]) -> None:
        """Take further partitions in."""
        for one in numbers:
            part = Part(kept, one)
            kept.parts.append(part)
            self.parts[part.id] = part

    def remove(self, kept: Kept) -> None:
        """Forget a topic."""
        kept.gone = True
        names = self.tenants[kept.topic.tenant]
        del names[kept.topic.name]
        if not names:
            del self.tenants[kept.topic.tenant]
        for part in kept.parts:
            del self.parts[part.id]
        self.topics -= 1

    def kept(self, tenant: str, name: bytes) -> Kept:
        """Give a topic, or raise ``UnknownTopic``."""
        try:
            return self.tenants[tenant][name]
        except KeyError:
            raise UnknownTopic(name) from None

    def writable(self, tenant: str, name: bytes) -> Kept:
        """Give a topic that can be written to, or raise ``UnknownTopic``."""
        kept = self.kept(tenant, name)
        if kept.gone:
            raise UnknownTopic(name)
        return kept

    def part(self, tenant: str, name: bytes, number: int) -> Part:
        """Give a partition, or raise ``UnknownTopic`` or ``UnknownPartition``."""
        parts = self.kept(tenant, name).parts
        if not 0 <= number < len(parts):
            raise UnknownPartition(name, number, len(parts))
        return parts[number]

    def fall_back(self) -> None:
        """Give what comes next the numbers that it would have if nothing had waited."""
        for part in self.parts.values():
            part.coming = part.next
        for stream in self.streams.values():
            stream.coming = stream.sequence


def _own_stream(topic: Topic) -> str:
    """Give the name of the stream of a topic that is in none: one of its own."""
    return "\0" + topic.name.decode("latin-1")


def span(part: Part) -> Span:
    """Give the offsets of what is on disk."""
    return Span(part.first, part.next)


class Topics(Mapping[bytes, Topic]):
    """The topics of one tenant by their names, as they are whenever somebody looks."""

    def __init__(self, kept: Mapping[bytes, Kept]) -> None:
        """Look at that mapping."""
        self._kept = kept

    def __getitem__(self, name: bytes) -> Topic:
        """Give a topic."""
        return self._kept[name].topic

    def __iter__(self) -> Iterator[bytes]:
        """Give the names: those of this moment, whatever is made meanwhile."""
        return iter(list(self._kept))

    def __len__(self) -> int:
        """Give how many there are."""
        return len(self._kept)

    def __contains__(self, name: object) -> bool:
        """Say whether there is such a topic."""
        return name in self._kept
