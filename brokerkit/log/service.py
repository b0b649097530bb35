"""The log in the process: topics that are kept, written in groups, read by offset and by time.

What is asked about topics and spans is answered from memory; appends are numbered at once and answered when they are on
disk (or as the topic's policy says); reading is done in threads that only read.  ``brokerkit.log.words`` has the words.

Without a path the log is in memory, by the same code, can be used at once, and answers at once.
"""

from __future__ import annotations

from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from brokerkit.checkers.threads import Threads
from brokerkit.log.answers import Answers, Done, Noted, digest
from brokerkit.log.cells import Cells
from brokerkit.log.codec import KINDS, Piece, pack_headers
from brokerkit.log.fetching import Fetching, fetched
from brokerkit.log.partitioning import pick
from brokerkit.log.state import State, Topics, span
from brokerkit.log.tail import Tail
from brokerkit.log.tidying import Tidying
from brokerkit.log.words import (
    COMMIT,
    INTERVAL,
    NONE,
    Ack,
    Idempotency,
    Limits,
    LogError,
    NoRoom,
    OutOfRange,
    Placed,
    Producer,
    Span,
    TooLarge,
    Topic,
    TopicExists,
    TopicSettings,
    UnknownTopic,
    Unusable,
    Unwritable,
    Write,
)
from brokerkit.log.writing import Append, Writing, number
from brokerkit.stores.topiclog import Numbers, TopicLogStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from brokerkit.log.codec import Row
    from brokerkit.log.fetching import Raw
    from brokerkit.log.state import Kept, Part
    from brokerkit.log.words import Fetched, Headers, Record

    Told = Callable[[Topic, int, int, int], None]
    Watching = Callable[[str, bytes, Topic | None], None]

log = Logger()

EACH = 32  # bytes that a record counts for beside what it carries
LONGEST = 1024  # bytes of a topic's name
_placed = partial(tuple.__new__, Placed)  # past the constructor, which is a function of Python


class _AtOnce:
    """In the place of threads, for what is in memory."""

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def call(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Do it now."""
        return maybeDeferred(work)


@attrs.frozen(eq=False)
class Admitted:
    """An append that was numbered: ``placed`` is where each record will be, ``done`` fires as the policy says.

    ``duplicate``: it had been done before, and nothing is written.
    """

    placed: list[Placed]
    duplicate: bool
    done: Deferred[list[Placed]]


class _Group:
    """The records of one append that go to one partition, in columns; ``indexes`` are their places in the append."""

    __slots__ = ("headers", "indexes", "keys", "replies", "senders", "size", "timestamps", "values")

    def __init__(self) -> None:
        self.values: list[bytes | None] = []
        self.keys: list[bytes | None] | None = []
        self.headers: list[bytes] | bytes = []
        self.senders: list[bytes] | bytes = []
        self.replies: list[bytes] | bytes = []
        self.timestamps: list[int] | int = []
        self.indexes: Sequence[int] = ()
        self.size = 0


class Log(Service):
    """Kept topics; a service, child of the broker.

    With ``path`` it is kept in that file, which is opened when the service starts.  ``threads`` is what does what
    blocks, in the place of its own threads: something with the methods of ``brokerkit.checkers.threads.Threads``.
    ``reactor`` is the clock, too.
    """

    def __init__(
        self,
        path: Path | None,
        reactor: Any,  # noqa: ANN401  any reactor, also a test's
        limits: Limits | None = None,
        threads: Any = None,  # noqa: ANN401  Threads, or a test's
    ) -> None:
        """Take what is needed; nothing is opened yet, unless the log is in memory."""
        self.path = path
        self.limits = limits = limits or Limits()
        self._clock = reactor
        at_once = _AtOnce() if path is None else threads
        self._writer: Any = at_once or Threads(reactor, 1)
        self._reading: Any = at_once or Threads(reactor, limits.readers)
        self._checkpointing: Any = at_once or Threads(reactor, 1)
        self._store: TopicLogStore | None = None
        self.created = 0  # topics
        self.deleted = 0
        self.duplicates = 0  # appends that had been done before
        self._listeners: dict[object, tuple[Told, str | None, bytes | None]] = {}
        self._watching: list[Watching] = []
        self._after_commits: list[Callable[[], None]] = []
        self._was_open = False
        self._build()
        if path is None:
            self._open()

    def _build(self) -> None:
        limits = self.limits
        self._state = State()
        self.cells = Cells(limits.cell_bytes, self._write_cells)
        self._answers = Answers(limits)
        self._tail = Tail(limits.tail_bytes)
        self.writing = Writing(self._clock, limits, self._state, self.cells, self._answers)
        self.writing.after = self._after_commits
        self.writing.told = self._tell
        self.fetching = Fetching(limits, self._tail)
        self.tidying = Tidying(self)
        self._making: dict[tuple[str, bytes], Deferred[None]] = {}

    # -- starting and stopping ----------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Open the file and read what stands beside the batches; raise ``OperatorError`` if it cannot be used."""
        super().startService()  # type: ignore[no-untyped-call]
        if self.path is None:
            log.warn("the log is in memory only, since there is no data directory: what is kept does not last")
        else:
            if self._was_open:
                self._build()
            for threads in (self._writer, self._reading, self._checkpointing):
                threads.start()
            self._open()
        self.tidying.start()

    def _open(self) -> None:
        self._was_open = True
        limits = self.limits
        most = limits.memory_bytes if self.path is None else 0
        store = TopicLogStore.open(self.path, cache=limits.cache_bytes, wal=limits.wal_bytes, most=most)
        try:
            self._load(store)
        except BaseException:
            store.close()
            raise
        self._store = store
        self.writing.open(store, self._writer)
        self.fetching.open(store, self._reading)

    def _load(self, store: TopicLogStore) -> None:
        loaded = store.load()
        for tenant, name, sequence in loaded.streams:
            stream = self._state.stream(tenant, name)
            stream.sequence = stream.coming = sequence
        for id_, topic, numbers in loaded.topics:
            self._state.put(id_, topic, numbers)
        self.cells.load(loaded.cells)
        self._answers.load(loaded.answers)
        self.tidying.doomed.extend(loaded.doomed)

    def stopService(self) -> Deferred[None]:
        """Write what was taken, and close the file."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.tidying.stop()
        if self.path is None:  # what is in memory is there until the end
            return
        await self.writing.close()
        self.fetching.close()
        store, self._store = self._store, None
        if store is not None:
            await maybeDeferred(self._writer.call, store.close)
        for threads in (self._writer, self._reading, self._checkpointing):
            threads.stop()

    # -- topics -------------------------------------------------------------------------------------------------------

    def topics(self, tenant: str = "") -> Mapping[bytes, Topic]:
        """Give the topics of a tenant by their names: a view, good until the caller has to wait for something."""
        return Topics(self._state.tenants.get(tenant, {}))

    def tenants(self) -> Sequence[str]:
        """Give the tenants that have topics."""
        return sorted(self._state.tenants)

    def topic(self, name: bytes, tenant: str = "") -> Topic:
        """Give a topic; raises ``UnknownTopic``."""
        return self._state.kept(tenant, name).topic

    def keeps(self, name: bytes, tenant: str = "") -> bool:
        """Say whether there is such a topic."""
        return name in self._state.tenants.get(tenant, {})

    def span(self, name: bytes, partition: int, tenant: str = "") -> Span:
        """Give the offsets of what is on disk; raises ``UnknownTopic`` or ``UnknownPartition``."""
        return span(self._state.part(tenant, name, partition))

    def numbers(self, name: bytes, partition: int, tenant: str = "") -> Numbers:
        """Give what is known of a partition beside its span: bytes, records, times."""
        part = self._state.part(tenant, name, partition)
        return Numbers(
            part.id,
            part.number,
            part.first,
            part.next,
            part.bytes,
            part.records,
            part.peak,
            part.stored,
            part.cleaned,
            part.tombstones,
        )

    def create(self, topic: Topic) -> Deferred[Topic]:
        """Make a topic; fails with ``TopicExists``, ``Unusable``, ``NoRoom`` or ``Unwritable``."""
        return Deferred.fromCoroutine(self._create(topic))

    async def _create(self, topic: Topic) -> Topic:
        name = topic.tenant, topic.name
        while name in self._making:
            await self._after(name)
        self._refuse(topic)
        if self.keeps(topic.name, topic.tenant):
            raise TopicExists(self.topic(topic.name, topic.tenant))
        if self._state.topics + len(self._making) >= self.limits.topics:
            raise NoRoom(f"there are {self.limits.topics} topics already, and no room for more")
        if len(self._state.parts) + topic.partitions > self.limits.all_partitions:
            raise NoRoom(f"all topics together may have {self.limits.all_partitions} partitions")
        with _Making(self, name):
            made, parts = await self._do(lambda store: store.create(topic))
            numbers = [Numbers(id_, i, 0, 0, 0, 0, 0, 0, 0, 0) for i, id_ in enumerate(parts)]
            self._state.put(made, topic, numbers)
            self.created += 1
        self._say(topic.tenant, topic.name, topic)
        return topic

    def alter(
        self, name: bytes, tenant: str = "", *, settings: TopicSettings | None = None, partitions: int | None = None
    ) -> Deferred[Topic]:
        """Give a topic other settings, or more partitions.

        Fails with ``UnknownTopic``, ``Unusable``, ``NoRoom`` or ``Unwritable``.
        """
        return Deferred.fromCoroutine(self._alter(name, tenant, settings, partitions))

    async def _alter(self, name: bytes, tenant: str, settings: TopicSettings | None, partitions: int | None) -> Topic:
        while (tenant, name) in self._making:
            await self._after((tenant, name))
        kept = self._state.kept(tenant, name)
        topic = attrs.evolve(
            kept.topic, settings=settings or kept.topic.settings, partitions=partitions or kept.topic.partitions
        )
        self._refuse(topic)
        former = len(kept.parts)
        if topic.partitions < former:
            raise Unusable(f"the topic has {former} partitions, and their number can only grow")
        if len(self._state.parts) + topic.partitions - former > self.limits.all_partitions:
            raise NoRoom(f"all topics together may have {self.limits.all_partitions} partitions")
        with _Making(self, (tenant, name)):
            parts = await self._do(lambda store: store.alter(kept.id, topic, former))
            kept.topic = topic
            self._state.grow(kept, [Numbers(id_, former + i, 0, 0, 0, 0, 0, 0, 0, 0) for i, id_ in enumerate(parts)])
        self._say(tenant, name, topic)
        return topic

    def delete(self, name: bytes, tenant: str = "") -> Deferred[None]:
        """Take a topic away, with all that is in it; fails with ``UnknownTopic`` or ``Unwritable``."""
        return Deferred.fromCoroutine(self._delete(name, tenant))

    async def _delete(self, name: bytes, tenant: str) -> None:
        while (tenant, name) in self._making:
            await self._after((tenant, name))
        kept = self._state.kept(tenant, name)
        with _Making(self, (tenant, name)):
            kept.gone = True
            try:
                await self.writing.settled()
                await self._do(lambda store: store.delete(kept.id))
            except LogError:
                kept.gone = False
                raise
            self._state.remove(kept)
            self.deleted += 1
            for part in kept.parts:
                self._tail.forget(part.id)
            self.tidying.doom([part.id for part in kept.parts])
        self._say(tenant, name, None)

    def watch(self, call: Watching) -> Callable[[], None]:
        """Have ``call(tenant, name, topic)`` called when a topic was made or altered; with ``None``: it is gone.

        Gives what ends that.
        """
        self._watching.append(call)

        def stop() -> None:
            if call in self._watching:
                self._watching.remove(call)

        return stop

    def _say(self, tenant: str, name: bytes, topic: Topic | None) -> None:
        for call in list(self._watching):
            try:
                call(tenant, name, topic)
            except Exception:  # what one does must not cost the others
                log.failure("who watches the topics failed")

    def _after(self, name: tuple[str, bytes]) -> Deferred[None]:
        """Give what is done when nobody makes or changes that topic."""
        own: Deferred[None] = Deferred()
        self._making[name].addCallback(lambda _: own.callback(None))
        return own

    def _refuse(self, topic: Topic) -> None:
        """Raise ``Unusable`` for a topic that cannot be."""
        settings = topic.settings
        if not 0 < len(topic.name) <= LONGEST:
            raise Unusable(f"the name of a topic has 1 to {LONGEST} bytes, this has {len(topic.name)}")
        if not 0 < topic.partitions <= self.limits.partitions:
            raise Unusable(f"a topic has 1 to {self.limits.partitions} partitions, not {topic.partitions}")
        if settings.ack not in (COMMIT, INTERVAL, NONE):
            raise Unusable(f"found ack {settings.ack!r}, expected commit, interval or none")
        if settings.timestamps not in KINDS:
            raise Unusable(f"found timestamps {settings.timestamps!r}, expected create or append")
        if settings.partitioner not in ("sender", "murmur2", "random"):
            raise Unusable(f"found partitioner {settings.partitioner!r}, expected sender, murmur2 or random")
        for name in ("retention_bytes", "retention_seconds", "retention_messages", "tombstone_seconds"):
            if not 0 <= getattr(settings, name) < 2**62:
                raise Unusable(f"found {name} {getattr(settings, name)!r}, expected a number that is not negative")
        if not 0 < settings.max_message_bytes <= self.limits.queue_bytes:
            text = f"found max_message_bytes {settings.max_message_bytes}, expected 1 to {self.limits.queue_bytes}"
            raise Unusable(text)

    def _now(self) -> int:
        return int(self._clock.seconds() * 1000)

    def _forget(self, gone: list[tuple[int, bytes]], undo: list[Any]) -> Deferred[Any]:
        """Have the store forget appends that are remembered no more."""
        append = Append([], 0)
        append.noted = Noted(None, gone, undo)
        append.answer = Deferred()
        self.writing.put(append)
        return append.answer

    def _do(self, work: Callable[[TopicLogStore], Any]) -> Deferred[Any]:
        """Have the store do something in the writer's thread."""
        store = self._store
        if store is None:
            return fail(Unwritable("the log is closed"))
        done: Deferred[Any] = self._writer.call(lambda: work(store))
        return done

    # -- writing ------------------------------------------------------------------------------------------------------

    def append(
        self,
        writes: Sequence[Write],
        *,
        producer: Producer | Idempotency | None = None,
        cells: Mapping[tuple[str, bytes], bytes | None] | None = None,
    ) -> Deferred[list[Placed]]:
        """Write records, all of them or none, in one commit with ``cells``; give where each was put.

        It fires as the topic's policy says, that of the strictest if there are several.  Fails with ``UnknownTopic``,
        ``UnknownPartition``, ``TooLarge``, ``Unusable``, ``WrongSequence``, ``Busy``, ``NoRoom`` or ``Unwritable``.
        """
        try:
            return self.admit(writes, producer=producer, cells=cells).done
        except LogError:
            return fail(Failure())

    def admit(
        self,
        writes: Sequence[Write],
        *,
        producer: Producer | Idempotency | None = None,
        cells: Mapping[tuple[str, bytes], bytes | None] | None = None,
    ) -> Admitted:
        """Do what ``append`` does, and say at once where the records will be, and whether they were there before.

        Raises at once what can be known at once; what the disk says comes by ``done``.
        """
        now = self._now()
        groups, ack, size = self._grouped(writes, now)
        made = digest(writes) if isinstance(producer, Producer) else b""
        if producer is not None:
            former = self._answers.find(
                producer, made or producer.digest if isinstance(producer, Idempotency) else made
            )
            if former is not None:
                return self._repeated(writes, former)
        self.writing.room(size)
        changed = self.cells.change(cells) if cells else []
        for part in groups:
            if part.owed:
                self.writing.pay(part)
        append = self._numbered(groups, len(writes), size)
        append.placed = self._places(groups, append, len(writes), ack)
        if cells:
            append.cells, append.former = cells, changed
        if producer is not None:
            self._remember(append, producer, made, now)
        done: Deferred[list[Placed]] = Deferred()
        if ack == COMMIT:
            append.answer = done
            self.writing.put(append, self.limits.linger)
        else:
            self.writing.put(append, self.limits.interval if ack == INTERVAL else self.limits.lazily)
            done.callback(append.placed)
        return Admitted(append.placed, duplicate=False, done=done)

    def _grouped(self, writes: Sequence[Write], now: int) -> tuple[dict[Part, _Group], Ack, int]:
        """Sort writes by partition; give the columns of each, the strictest policy, and the bytes of all."""
        if len(writes) > self.limits.append_records:
            raise TooLarge(f"an append may have {self.limits.append_records} records, this has {len(writes)}")
        parts = self._parts_of(writes)
        groups: dict[Part, _Group] = {}
        if len(set(parts)) == 1:
            groups[parts[0]] = self._columns([write[3] for write in writes], parts[0].kept.topic.settings, now)
            groups[parts[0]].indexes = range(len(writes))
        elif parts:
            indexes: dict[Part, list[int]] = {}
            for index, part in enumerate(parts):
                indexes.setdefault(part, []).append(index)
            for part, some in indexes.items():
                groups[part] = self._columns([writes[index][3] for index in some], part.kept.topic.settings, now)
                groups[part].indexes = some
        total = sum(group.size for group in groups.values())
        if total > self.limits.queue_bytes:
            raise TooLarge(f"an append may have {self.limits.queue_bytes} bytes, this has {total}")
        acks = {part.kept.topic.settings.ack for part in groups}
        return groups, COMMIT if COMMIT in acks or not acks else INTERVAL if INTERVAL in acks else NONE, total

    def _parts_of(self, writes: Sequence[Write]) -> list[Part]:
        """Give the partition of each write."""
        if not writes:
            return []
        tenant, name, partition, _ = writes[0]
        if all(w[1] == name and w[0] == tenant and w[2] == partition for w in writes):
            kept = self._open_topic(tenant, name)
            if partition is not None or len(kept.parts) == 1:
                return [self._state.part(tenant, name, partition or 0)] * len(writes)
        return [self._part_of(write) for write in writes]

    def _part_of(self, write: Write) -> Part:
        tenant, name, partition, record = write
        kept = self._open_topic(tenant, name)
        if partition is not None:
            return self._state.part(tenant, name, partition)
        return kept.parts[pick(kept.topic.settings.partitioner, len(kept.parts), record.key, record.sender)]

    def _open_topic(self, tenant: str, name: bytes) -> Kept:
        """Give a topic that can be written to."""
        kept = self._state.kept(tenant, name)
        if kept.gone:
            raise UnknownTopic(name)
        return kept

    def _columns(self, records: list[Record], settings: TopicSettings, now: int) -> _Group:
        """Give the columns of records for one partition; raises ``TooLarge`` or ``Unusable``."""
        values, keys, headers, timestamps, senders, replies = (list(column) for column in zip(*records, strict=True))
        group = _Group()
        count = len(records)
        group.values = values
        group.keys = None if keys.count(None) == count else keys
        group.headers = _alike([pack_headers(one) for one in headers]) if any(headers) else b""
        group.senders = _alike(senders)
        group.replies = _alike(replies)
        group.timestamps = _times(timestamps, now, settings)
        columns = (values, group.keys, group.headers, group.senders, group.replies)
        group.size = sum(_size(column, count) for column in columns) + EACH * count
        if sum(_largest(column) for column in columns) > settings.max_message_bytes:
            for i in range(count):  # the largest of each column need not be of one record
                size = sum(_largest(column[i : i + 1] if isinstance(column, list) else column) for column in columns)
                if size > settings.max_message_bytes:
                    text = f"a record of this topic may have {settings.max_message_bytes} bytes, this has {size}"
                    raise TooLarge(text)
        return group

    def _numbered(self, groups: dict[Part, _Group], count: int, size: int) -> Append:
        pieces = []
        bases: dict[Any, int] = {}
        for part, group in groups.items():
            kind = KINDS.index(part.kept.topic.settings.timestamps)
            times = group.timestamps
            piece = Piece(
                group.values, group.keys, group.headers, group.senders, group.replies, times, kind, group.size
            )
            bases.setdefault(part.kept.stream, part.kept.stream.coming + 1)
            pieces.append(number(part, piece))
        if len(groups) > 1:
            self._in_order(groups, pieces, bases, count)
        return Append(pieces, size)

    def _in_order(
        self, groups: dict[Part, _Group], pieces: list[tuple[Part, Piece, int]], bases: dict[Any, int], count: int
    ) -> None:
        """Give records of several partitions their sequences in the order in which they were given."""
        streams: list[Any] = [None] * count
        for part, group in groups.items():
            for index in group.indexes:
                streams[index] = part.kept.stream
        sequences = [0] * count
        for index, stream in enumerate(streams):
            sequences[index] = bases[stream]
            bases[stream] += 1
        for part, piece, _ in pieces:
            piece.sequences = [sequences[index] for index in groups[part].indexes]

    def _places(self, groups: dict[Part, _Group], append: Append, count: int, ack: Ack) -> list[Placed]:
        """Give where each record will be, in the order in which they were given."""
        found: list[Any] = [None] * count
        for part, piece, base in append.pieces:
            times = piece.timestamps
            columns = (
                repeat(part.kept.topic.name, piece.count),
                repeat(part.number),
                range(base, base + piece.count),
                repeat(times) if isinstance(times, int) else times,
                repeat(False),
                repeat(ack),
            )
            placed = map(_placed, zip(*columns, strict=False))
            if len(groups) == 1:
                return list(placed)
            for index, one in zip(groups[part].indexes, placed, strict=True):
                found[index] = one
        return found

    def _remember(self, append: Append, producer: Producer | Idempotency, made: bytes, now: int) -> None:
        sequence = producer.sequence if isinstance(producer, Producer) else 0
        made = made if isinstance(producer, Producer) else producer.digest
        append.done = Done(sequence, made, now, _runs(append.placed), append)
        append.noted = self._answers.note(producer, append.done)

    def _repeated(self, writes: Sequence[Write], former: Done) -> Admitted:
        """Give the first result again, once it is on disk."""
        self.duplicates += 1
        places = [(topic, part, first + i) for topic, part, first, count in former.runs for i in range(count)]
        times = [_time(w.record.timestamp, former.at, TopicSettings()) for w in writes]
        times += [former.at] * (len(places) - len(times))
        placed = [Placed(*place, time, True, COMMIT) for place, time in zip(places, times, strict=False)]
        done: Deferred[list[Placed]] = Deferred()
        if former.pending is None:
            done.callback(placed)
        else:
            former.pending.followers.append(done)
            done.addCallback(lambda _: placed)
        return Admitted(placed, duplicate=True, done=done)

    def take(
        self,
        name: bytes,
        tenant: str,
        values: list[bytes | None],
        sender: bytes,
        *,
        headers: Sequence[Headers] | None = None,
        replies: list[bytes] | None = None,
        partition: int | None = None,
        weight: int | None = None,
        order: Sequence[int] | None = None,
        before: int = 0,
    ) -> None:
        """Take what was published to one topic by one sender, and answer nobody: the way of the router's messages.

        All go to one partition, the sender's.  ``weight`` is what the values have in bytes, or a little more, where
        that is known and there are no headers.  They may wait a little (``Limits.gather``) for company.
        Where messages to several topics of one stream came in turn, ``order`` is the place of each among all of them,
        and ``before`` is what ``reserve`` gave for them.  Raises
        ``UnknownTopic``, ``TooLarge`` if one of the messages is, ``Busy`` or ``Unwritable``; what is lost later, when
        the disk is full, is followed by a gap record.
        """
        kept = self._state.kept(tenant, name)
        if kept.gone:
            raise UnknownTopic(name)
        settings = kept.topic.settings
        count = len(values)
        packed: list[bytes] | bytes = b""
        if weight is None or weight > settings.max_message_bytes:
            largest = max(map(len, values))  # type: ignore[arg-type]  # none is null here
            weight = sum(map(len, values))  # type: ignore[arg-type]
        else:
            largest = weight
        size = weight + count * EACH
        if headers is not None:
            packed = [pack_headers(one) if one else b"" for one in headers]
            size += sum(map(len, packed))
            largest += max(map(len, packed))
        if replies is not None:
            size += sum(map(len, replies))
        if largest > settings.max_message_bytes:
            raise TooLarge(f"a record of this topic may have {settings.max_message_bytes} bytes, one has {largest}")
        self.writing.room(size)
        if partition is None:
            part = kept.parts[pick(settings.partitioner, len(kept.parts), None, sender)]
        else:
            part = self._state.part(tenant, name, partition)
        if part.owed:
            self.writing.pay(part)
        now = self._now()
        kind = KINDS.index(settings.timestamps)
        piece = Piece(values, None, packed, sender, b"" if replies is None else replies, now, kind, size)
        place = number(part, piece)
        if order is not None:
            piece.sequences = [before + 1 + one for one in order]
            part.kept.stream.coming -= count
        self.writing.put(Append([place], size), self._delay(settings.ack))

    def reserve(self, name: bytes, tenant: str, count: int) -> int:
        """Set so many sequences of a topic's stream aside, and give the one before them; raises ``UnknownTopic``."""
        stream = self._state.kept(tenant, name).stream
        stream.coming += count
        return stream.coming - count

    def _delay(self, ack: Ack) -> float:
        limits = self.limits
        return limits.gather if ack == COMMIT else limits.interval if ack == INTERVAL else limits.lazily

    def gap(self, name: bytes, count: int, tenant: str = "", partition: int = 0) -> Deferred[None]:
        """Keep a record that says that so many messages are missing there."""
        try:
            part = self._state.part(tenant, name, partition)
            self.writing.room(0)
        except LogError:
            return fail(Failure())
        append = self.writing.gap(part, count + part.owed)
        part.owed = 0
        done: Deferred[None] = Deferred()
        if append.pieces:
            waiting: Deferred[list[Placed]] = Deferred()
            append.followers.append(waiting)
            waiting.addCallbacks(lambda _: done.callback(None), done.errback)
            return done
        return succeed(None)

    def _write_cells(self, changes: Mapping[tuple[str, bytes], bytes | None]) -> Deferred[None]:
        return self.append((), cells=changes).addCallback(lambda _: None)

    @property
    def queued(self) -> int:
        """The bytes of records that wait to be written."""
        return self.writing.queued

    @property
    def retry_after(self) -> float:
        """The seconds after which it is worth to try again when it was ``Busy``."""
        return self.writing.retry_after()

    def notify(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have ``call`` called after each commit, or failure: there may be room again.  Gives what ends that."""
        self.writing.after.append(call)

        def stop() -> None:
            if call in self.writing.after:
                self.writing.after.remove(call)

        return stop

    # -- reading ------------------------------------------------------------------------------------------------------

    def fetch(
        self,
        name: bytes,
        partition: int,
        offset: int,
        max_bytes: int = 1024 * 1024,
        max_records: int | None = None,
        tenant: str = "",
    ) -> Deferred[Fetched]:
        """Give the records from an offset on, at least one if there is one, of about ``max_bytes`` together.

        What is newest is read from memory, and the Deferred has fired already.  Fails with ``UnknownTopic``,
        ``UnknownPartition``, ``OutOfRange``, ``Busy`` or ``Unwritable``.
        """
        return self.raw(name, partition, offset, max_bytes, max_records, tenant).addCallback(fetched)

    def raw(
        self,
        name: bytes,
        partition: int,
        offset: int,
        max_bytes: int = 1024 * 1024,
        max_records: int | None = None,
        tenant: str = "",
    ) -> Deferred[Raw]:
        """Do what ``fetch`` does, but give batches, of which one takes columns: for whoever reads much."""
        try:
            part = self._state.part(tenant, name, partition)
        except LogError:
            return fail(Failure())
        return self.fetching.raw(part, offset, max_bytes, max_records)

    def at(self, name: bytes, partition: int, timestamp_ms: int, tenant: str = "") -> Deferred[int]:
        """Give the offset of the first record of that time or later; the next offset if there is none.

        Fails with ``UnknownTopic``, ``UnknownPartition``, ``Busy`` or ``Unwritable``.
        """
        try:
            part = self._state.part(tenant, name, partition)
        except LogError:
            return fail(Failure())
        return self.fetching.at(part, timestamp_ms)

    def resolve(self, name: bytes, partition: int, where: str | int, tenant: str = "") -> int:
        """Give the offset that is meant.

        ``first`` (``earliest``), ``next`` (``latest``), ``last`` (the newest record), a number less than 0, which
        counts back from the next offset and stops at the first, or the offset itself.  Raises ``UnknownTopic``,
        ``UnknownPartition``, ``OutOfRange`` for the last of what is empty, ``Unusable`` for any other word.
        """
        first, following = self.span(name, partition, tenant)
        if isinstance(where, int):
            return where if where >= 0 else max(first, following + where)
        if where in ("first", "earliest"):
            return first
        if where in ("next", "latest"):
            return following
        if where == "last":
            if first == following:
                raise OutOfRange(following - 1, first, following)
            return following - 1
        raise Unusable(f"found the offset {where!r}, expected a number, first, earliest, last, next or latest")

    def listen(self, call: Told, *, name: bytes | None = None, tenant: str | None = None) -> Callable[[], None]:
        """Have ``call(topic, partition, first, next)`` called after each commit: what is new are those offsets.

        ``first`` is the first that is new, ``next`` the one behind the last.  With ``name`` and ``tenant`` it is told
        of that topic, or of that tenant's topics, alone.  It is called in the reactor's thread, and before those who
        wait for an answer to what they wrote.  Gives what ends that.
        """
        key = object()
        self._listeners[key] = (call, tenant, name)

        def stop() -> None:
            self._listeners.pop(key, None)

        return stop

    def _tell(self, part: Part, first: int, following: int, rows: Sequence[Row]) -> None:
        if part.kept.gone:
            return
        self._tail.add(part.id, rows)
        self.tidying.grew(part)
        topic = part.kept.topic
        for call, tenant, name in list(self._listeners.values()):
            if (name is None or name == topic.name) and (tenant is None or tenant == topic.tenant):
                try:
                    call(topic, part.number, first, following)
                except Exception:  # what one listener does must not cost the others
                    log.failure("a listener of the log failed")


class _Making:
    """While this lasts nobody else makes, changes or deletes that topic."""

    def __init__(self, owner: Log, name: tuple[str, bytes]) -> None:
        self._owner = owner
        self._name = name
        self._done: Deferred[None] = Deferred()

    def __enter__(self) -> None:
        self._owner._making[self._name] = self._done  # noqa: SLF001  a part of it

    def __exit__(self, *_: object) -> None:
        del self._owner._making[self._name]  # noqa: SLF001
        self._done.callback(None)


def _time(given: int | None, now: int, settings: TopicSettings) -> int:
    """Give the time of a record in ms; raise ``Unusable`` for one that no clock shows."""
    if given is None or settings.timestamps == "append":
        return now
    if not -(2**62) < given < 2**62:
        raise Unusable(f"found the timestamp {given}, expected milliseconds since 1970")
    return given


def _times(given: list[int | None], now: int, settings: TopicSettings) -> list[int] | int:
    """Give the times of records in ms, one if all are alike."""
    if settings.timestamps == "append" or given.count(None) == len(given):
        return now
    return _alike([_time(one, now, settings) for one in given])  # type: ignore[no-any-return]


def _size(column: list[Any] | bytes | None, count: int) -> int:
    """Give the bytes of a column."""
    if isinstance(column, list):
        return sum(map(len, filter(None, column)))
    return len(column or b"") * count


def _largest(column: list[Any] | bytes | None) -> int:
    """Give the bytes of the largest in a column."""
    if isinstance(column, list):
        return max(map(len, filter(None, column)), default=0)
    return len(column or b"")


def _alike(column: list[Any]) -> Any:  # noqa: ANN401  a column
    """Give one value for a column in which all are alike."""
    first = column[0]
    return first if column.count(first) == len(column) else column


def _runs(placed: Sequence[Placed]) -> tuple[tuple[bytes, int, int, int], ...]:
    """Give places as runs: topic, partition, first offset, count."""
    runs: list[list[Any]] = []
    for topic, partition, offset, _, _, _ in placed:
        if runs:
            last = runs[-1]
            if last[0] == topic and last[1] == partition and last[2] + last[3] == offset:
                last[3] += 1
                continue
        runs.append([topic, partition, offset, 1])
    return tuple((a, b, c, d) for a, b, c, d in runs)
