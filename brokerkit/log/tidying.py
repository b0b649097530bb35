"""What the log does by itself: taking away what is too old or too much, compacting by key, and checkpoints.

All of it in slices of some milliseconds each, between which commits are done, and one thing at a time.  Records are
taken away whole batches at once, in the order of their offsets.

Compaction looks at what is new since the last time, notes the last offset of each key, and leaves out of the batches
before whatever has a later one.  A bounded number of keys at once: a pass that meets more ends there, and the next goes
on.  The last record of a partition always stays, so that there is one to ask for.
"""

from __future__ import annotations

from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from brokerkit.log.codec import Batch, rewrite
from brokerkit.log.words import LogError, NoRoom
from brokerkit.stores.topiclog import Numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.log.codec import Row
    from brokerkit.log.service import Log
    from brokerkit.log.state import Part
    from brokerkit.stores.topiclog import TopicLogStore, Trimmed

log = Logger()

SHORT = 16  # bytes of a key that are noted as they are; of a longer one a hash
MANY = 8  # batches that are put together though nothing is left out
SELDOM = 3600  # seconds after which a partition is compacted though little is new
AT_ONCE = 500  # batches that are put together at most
SLICE_BYTES = 1024 * 1024


class Tidying:
    """Looks after a log, every few seconds."""

    def __init__(self, owner: Log) -> None:
        """Do nothing before ``start``."""
        self._log = owner
        self._lock = DeferredLock()
        self._loop: LoopingCall | None = None
        self._grown: dict[Part, None] = {}
        self._oldest: dict[int, int] = {}  # partition → when its first batch was put there, in ms
        self._compacted_at: dict[int, int] = {}  # partition → when, in ms
        self._stopping = False
        self._checkpointing = False
        self.doomed: list[int] = []  # partitions of topics that are gone
        self.trimmed = 0  # records that retention has taken away
        self.compacted = 0  # records that compaction has left out
        self.checkpoints = 0

    @property
    def oldest(self) -> int:
        """When the oldest record was put here, in ms, as far as retention has looked; 0 where it has not."""
        return min(self._oldest.values(), default=0)

    def start(self) -> None:
        """Look again and again."""
        limits = self._log.limits
        self._stopping = False
        if limits.tidy_every > 0:
            self._loop = LoopingCall(self.run)
            self._loop.clock = self._log._clock  # noqa: SLF001  a part of it
            self._loop.start(limits.tidy_every, now=False).addErrback(
                lambda failure: log.failure("tidying failed because of a bug", failure)
            )

    def stop(self) -> Deferred[None]:
        """Look no more; done when nothing is under way."""
        self._stopping = True
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        return self._lock.run(lambda: None)

    def grew(self, part: Part) -> None:
        """Note that something was written to a partition."""
        self._grown[part] = None
        store = self._log._store  # noqa: SLF001
        if store is not None and store.written > self._log.limits.checkpoint_bytes and not self._checkpointing:
            self._checkpoint()

    def doom(self, parts: Sequence[int]) -> None:
        """Have partitions taken away whose topic is gone, at the next look."""
        self.doomed.extend(parts)
        for part in parts:
            self._oldest.pop(part, None)
            self._compacted_at.pop(part, None)

    def run(self) -> Deferred[None]:
        """Look now."""
        return self._lock.run(lambda: Deferred.fromCoroutine(self._run()))

    async def _run(self) -> None:
        writing = self._log.writing
        if not writing.is_open or self._stopping:
            return
        writing.pay_all()
        try:
            await self._trim_all()
            await self._remove_doomed()
            await self._compact_due()
            await self._forget()
        except LogError as error:
            if writing.is_writable:  # else it was said already
                log.error("the log cannot be tidied: {error}", error=str(error))
        except Exception:
            log.failure("the log cannot be tidied because of a bug")

    async def _forget(self) -> None:
        """Forget appends that are too old to be repeated."""
        owner = self._log
        undo: list[Any] = []
        gone = owner._answers.forget(owner._now(), undo)  # noqa: SLF001
        if gone:
            await owner.appending.forget(gone, undo)

    # -- retention ----------------------------------------------------------------------------------------------------

    async def _trim_all(self) -> None:
        parts = list(self._log._state.parts.values())  # noqa: SLF001
        now = self._log._now()  # noqa: SLF001
        for part in parts:
            if self._is_due(part, now):
                await self._trim(part, now)
            if self._stopping:
                return

    def _is_due(self, part: Part, now: int) -> bool:
        settings = part.kept.topic.settings
        if part.first == part.next or part.kept.gone:
            return False
        if settings.retention_bytes and part.bytes > settings.retention_bytes:
            return True
        if settings.retention_messages and part.next - part.first > settings.retention_messages:
            return True
        if not settings.retention_seconds:
            return False
        return self._oldest.get(part.id, 0) < now - settings.retention_seconds * 1000

    async def _trim(self, part: Part, now: int) -> None:
        settings = part.kept.topic.settings
        first = part.next - settings.retention_messages if settings.retention_messages else 0
        before = int(now - settings.retention_seconds * 1000) if settings.retention_seconds else 0
        most = self._log.limits.slice_records
        more = True
        while more and not self._stopping:
            numbers = _numbers(part)
            trim = partial(_trim, numbers, settings.retention_bytes, first, before, most)
            done: Trimmed = await self._log._do(trim)  # noqa: SLF001
            part.first = done.first
            part.bytes -= done.bytes
            part.records -= done.records
            self.trimmed += done.records
            self._oldest[part.id] = done.oldest
            more = done.more

    async def _remove_doomed(self) -> None:
        most = self._log.limits.slice_records
        while self.doomed and not self._stopping:
            part = self.doomed[-1]
            more = await self._log._do(partial(_remove, part, most))  # noqa: SLF001
            if not more:
                self.doomed.remove(part)

    # -- compaction ---------------------------------------------------------------------------------------------------

    async def _compact_due(self) -> None:
        grown, self._grown = self._grown, {}
        now = self._log._now()  # noqa: SLF001
        for part in list(self._log._state.parts.values()):  # noqa: SLF001
            settings = part.kept.topic.settings
            if not settings.compact or part.kept.gone or self._stopping:
                continue
            is_old = part.tombstones and part.tombstones + settings.tombstone_seconds * 1000 < now
            if is_old or self._is_worth_it(part, now, is_idle=part not in grown):
                await self._compact(part, now)

    def _is_worth_it(self, part: Part, now: int, *, is_idle: bool) -> bool:
        """Say whether so much is new that all of a partition is to be read for it."""
        new = part.next - max(part.cleaned, part.first)
        if new <= 0:
            return False
        if new * 2 >= part.records or now - self._compacted_at.setdefault(part.id, now) > SELDOM * 1000:
            return True
        return is_idle and (new * 10 >= part.records or part.records <= self._log.limits.slice_records)

    def compact(self, name: bytes, tenant: str = "") -> Deferred[None]:
        """Compact a topic now, whatever its settings say; fails as ``Log.fetch`` does, and with ``NoRoom``."""

        async def each() -> None:
            for part in self._log._state.kept(tenant, name).parts:  # noqa: SLF001
                await self._compact(part, self._log._now())  # noqa: SLF001

        return self._lock.run(lambda: Deferred.fromCoroutine(each()))

    async def _compact(self, part: Part, now: int) -> None:
        newest, end = await self._newest(part)
        dead = now - part.kept.topic.settings.tombstone_seconds * 1000
        place, tombstones, left_out = part.first, 0, self.compacted
        while place < end and not self._stopping:
            group, place = await self._group(part, place, end)
            if not group:
                continue
            kept = []
            for batch in group:
                places, stones = _kept(batch, newest, part.first, end, part.next - 1, dead)
                kept.append(places)
                if stones and (not tombstones or batch.row.stored < tombstones):
                    tombstones = batch.row.stored
            await self._rewrite(part, group, kept)
        if self._stopping:
            return
        if self.compacted != left_out:
            self._log._tail.forget(part.id)  # noqa: SLF001
        await self._log._do(lambda store: store.cleaned(part.id, end, tombstones))  # noqa: SLF001
        part.cleaned, part.tombstones = end, tombstones
        self._compacted_at[part.id] = now

    async def _newest(self, part: Part) -> tuple[dict[bytes, int], int]:
        """Give the last offset of each key in what is new, and where that ends."""
        most = self._log.limits.compaction_keys
        newest: dict[bytes, int] = {}
        place, end = max(part.cleaned, part.first), part.next
        while place < end and len(newest) < most and not self._stopping:
            rows = await self._rows(part, place)
            for row, sound in rows:
                place = row.last + 1
                if sound:
                    batch = Batch(row)
                    for key, offset in zip(batch.keys, batch.offsets, strict=True):
                        if key is not None:
                            newest[_short(key)] = offset
            if not rows:
                place = end
        return newest, min(place, end)

    def _rows(self, part: Part, place: int) -> Deferred[list[tuple[Row, bool]]]:
        return self._log.fetching.rows(part, place, SLICE_BYTES, self._log.limits.slice_records)

    async def _group(self, part: Part, place: int, end: int) -> tuple[list[Batch], int]:
        """Give batches of one kind that may become one, and the offset behind them."""
        most, records = self._log.limits.batch_bytes, self._log.limits.slice_records
        group: list[Batch] = []
        rows = await self._rows(part, place)
        if not rows:
            return [], end
        size = count = 0
        for row, sound in rows:
            if not sound:  # it stays for `brokerkit log repair`
                return (group, place) if group else ([], row.last + 1)
            batch = Batch(row)
            size += len(row.body)
            count += row.records
            if group and (
                size > most
                or count > records
                or len(group) >= AT_ONCE
                or batch.kind != group[0].kind
                or row.base >= end
            ):
                break
            group.append(batch)
            place = row.last + 1
        return group, place

    async def _rewrite(self, part: Part, group: list[Batch], kept: list[list[int]]) -> None:
        out = sum(batch.row.records - len(places) for batch, places in zip(group, kept, strict=True))
        if not out and len(group) < MANY:
            return
        row = rewrite(group, kept, group[-1].row.peak)
        former = [batch.row.last for batch in group]
        less, fewer = await self._log._do(lambda store: store.replace(part.id, former, row))  # noqa: SLF001
        part.bytes -= less
        part.records -= fewer
        self.compacted += fewer

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def _checkpoint(self) -> None:
        """Bring what was written to its place, in a thread of its own; and begin the WAL anew if it is too large."""
        self._checkpointing = True
        done = Deferred.fromCoroutine(self._checkpointed())
        done.addErrback(lambda failure: log.failure("a checkpoint failed because of a bug", failure))
        done.addBoth(self._may_checkpoint)

    def _may_checkpoint(self, _: object) -> None:
        self._checkpointing = False

    async def _checkpointed(self) -> None:
        owner = self._log
        store = owner._store  # noqa: SLF001
        if store is None:
            return
        try:
            size = await maybeDeferred(owner._checkpointing.call, store.checkpoint)  # noqa: SLF001
            self.checkpoints += 1
            if size > owner.limits.wal_bytes:
                await owner._do(lambda store: store.restart())  # noqa: SLF001
        except NoRoom:
            log.warn("a checkpoint of the log was not done: the disk is full")
        except LogError as error:
            log.warn("a checkpoint of the log was not done: {error}", error=str(error))


def _numbers(part: Part) -> Numbers:
    names = (part.id, part.number, part.first, part.next, part.bytes, part.records)
    return Numbers(*names, part.peak, part.stored, part.cleaned, part.tombstones)


def _trim(numbers: Numbers, size: int, first: int, before: int, most: int, store: TopicLogStore) -> Trimmed:
    return store.trim(numbers, bytes_=size, first=first, before=before, most=most)


def _remove(part: int, most: int, store: TopicLogStore) -> bool:
    return store.remove(part, most)


def _short(key: bytes) -> bytes:
    """Give what stands for a key: itself if it is short, so that memory is bounded by the number of keys."""
    return key if len(key) < SHORT else blake2b(key, digest_size=SHORT).digest()


def _kept(
    batch: Batch, newest: dict[bytes, int], first: int, end: int, last: int, dead: float
) -> tuple[list[int], int]:
    """Give the places in a batch of what stays, and how many tombstones are among it.

    ``last`` is the offset of the partition's last record, which stays; tombstones of ``dead`` or before go.
    """
    found, stones = [], 0
    is_dead = batch.row.stored <= dead
    columns = zip(batch.offsets, batch.keys, batch.values, strict=True)
    for place, (offset, key, value) in enumerate(columns):
        if key is not None and offset < end:
            if newest.get(_short(key), -1) > offset or offset < first:
                continue
            if value is None:
                if is_dead and offset != last:
                    continue
                stones += 1
        found.append(place)
    return found, stones
