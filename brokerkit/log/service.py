"""The log in the process: topics that are kept, written in groups, read by offset and by time.

What is asked about topics and spans is answered from memory; appends are numbered at once and answered when they are on
disk (or as the topic's policy says); reading is done in threads that only read.  ``brokerkit.log.words`` has the words.

Without a path the log is in memory, by the same code, can be used at once, and answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from brokerkit.checkers.threads import Threads
from brokerkit.log.answers import Answers
from brokerkit.log.appending import Admitted, Appending
from brokerkit.log.cells import Cells
from brokerkit.log.codec import KINDS
from brokerkit.log.fetching import Fetching, fetched
from brokerkit.log.spread import Spread
from brokerkit.log.state import State, Topics, span
from brokerkit.log.tail import Tail
from brokerkit.log.taking import size_of, take
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
    Unusable,
    Unwritable,
    Write,
)
from brokerkit.log.writing import Writing
from brokerkit.stores.topiclog import Numbers, TopicLogStore

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from brokerkit.bodies import Bodies
    from brokerkit.log.codec import Row
    from brokerkit.log.fetching import Raw
    from brokerkit.log.state import Part
    from brokerkit.log.words import Fetched

    Told = Callable[[Topic, int, int, int], None]
    Watching = Callable[[str, bytes, Topic | None], None]

log = Logger()

LONGEST = 1024  # bytes of a topic's name


class _AtOnce:
    """In the place of threads, for what is in memory."""

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def call(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Do it now."""
        return maybeDeferred(work)


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
        self._listeners: dict[object, tuple[Told, str | None, bytes | None]] = {}
        self._watching: list[Watching] = []
        self._after_commits: list[Callable[[], None]] = []
        self._before_commits: list[Callable[[], None]] = []
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
        self.writing.before, self.writing.after = self._before_commits, self._after_commits
        self.writing.told = self._tell
        self.appending = Appending(limits, self._state, self.cells, self._answers, self.writing)
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
        self.writing.gather()  # what came before is kept until it is deleted
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
    ) -> Deferred[Sequence[Placed]]:
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
        return self.appending.admit(writes, self._now(), producer, cells)

    def take(
        self,
        name: bytes,
        tenant: str,
        values: Bodies,
        sender: list[bytes] | bytes,
        *,
        order: array[int] | None = None,
        before: int = 0,
    ) -> None:
        """Take what was published to one topic, and answer nobody: the way of the router's messages.

        ``sender`` is that of all, or a list; what one sender says goes to one partition.  They may wait a little
        (``delay``) for company.  Where messages to several topics of one stream came in turn, ``order`` is the place of
        each among all of them, and ``before`` is what ``reserve`` gave for them.  Raises ``UnknownTopic``, ``TooLarge``
        if one of the messages is, ``Busy`` or ``Unwritable``; what is lost later, when the disk is full, is followed by
        a gap record.
        """
        kept = self._state.writable(tenant, name)
        settings = kept.topic.settings
        if values.largest > settings.max_message_bytes:
            most = settings.max_message_bytes
            raise TooLarge(f"a record of this topic may have {most} bytes, one has {values.largest}")
        self.writing.room(size_of(values))
        sequences = None if order is None else Spread(before + 1, order)
        delay = self.writing.patient(self.delay(settings.ack))
        take(kept, values, sender, sequences, self._now(), self.writing, delay)

    def reserve(self, name: bytes, tenant: str, count: int) -> int:
        """Set so many sequences of a topic's stream aside, and give the one before them; raises ``UnknownTopic``."""
        stream = self._state.kept(tenant, name).stream
        stream.coming += count
        return stream.coming - count

    def gather(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have ``call`` called before each commit, so that it appends what has been held until then.

        Gives what ends that.
        """
        self._before_commits.append(call)

        def stop() -> None:
            if call in self._before_commits:
                self._before_commits.remove(call)

        return stop

    def soon(self, delay: float) -> bool:
        """Have a commit begin after so many seconds, if none does before; say whether it will be later than now."""
        return self.writing.soon(delay)

    def delay(self, ack: Ack) -> float:
        """Give the seconds that a message may wait for others to share its commit, by the policy of its topic."""
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
            waiting: Deferred[Sequence[Placed]] = Deferred()
            append.followers.append(waiting)
            waiting.addCallbacks(lambda _: done.callback(None), done.errback)
            return done
        return succeed(None)

    def _write_cells(self, changes: Mapping[tuple[str, bytes], bytes | None]) -> Deferred[None]:
        return self.append((), cells=changes).addCallback(lambda _: None)

    @property
    def duplicates(self) -> int:
        """The appends that had been done before."""
        return self.appending.duplicates

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
