"""Reading for a consumer instance: as a member of a group where it has subscribed, by itself where it was assigned.

What is subscribed to is looked up at each poll, so that a topic which comes to be later is read, too, and from its
beginning: it was not there when "latest" was said.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from brokerkit.grants import SUBSCRIBE
from brokerkit.log.groups_reading import PAUSE
from brokerkit.log.groups_words import FIRST, LAST, Commit, Joining, UnknownGroup, UnknownMember
from brokerkit.log.words import OutOfRange, UnknownPartition, UnknownTopic
from brokerkit.protocols.kafka_rest.confluent_errors import ILLEGAL_STATE, refused
from brokerkit.protocols.kafka_rest.confluent_instances import PARTITIONS, PATTERN, TOPICS
from brokerkit.protocols.kafka_rest.confluent_pattern import matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from brokerkit.client import Client
    from brokerkit.log.words import Stored
    from brokerkit.protocols.kafka_rest.confluent_errors import Refused
    from brokerkit.protocols.kafka_rest.confluent_instances import Instance, Instances, Place

MOST = 5_000  # records of one answer
NEW_TOPICS = 5.0  # seconds that a reader of a pattern waits before it looks for new topics
Given = list[tuple["Place", tuple["Stored", ...]]]


class Reading:
    """What instances read from one log."""

    def __init__(self, log: Any, groups: Any, instances: Instances, clock: Any) -> None:  # noqa: ANN401
        """Take the log, its groups, and any reactor."""
        self._log = log
        self._groups = groups
        self._instances = instances
        self._clock = clock
        self.asleep = 0  # requests that wait for records, beside those of groups
        self.names: Callable[[bytes], str | None] = lambda name: name.decode(errors="replace")

    # -- subscribing --------------------------------------------------------------------------------------------------

    async def subscribe(self, instance: Instance, client: Client, topics: tuple[bytes, ...], pattern: str) -> None:
        """Have an instance read topics, or those that a pattern stands for, in place of what it has subscribed to."""
        if instance.reads == PARTITIONS:
            raise _illegal()
        if pattern:
            matcher(pattern)
        instance.reads, instance.topics, instance.pattern = (PATTERN if pattern else TOPICS), topics, pattern
        instance.joined = None
        await self._instances.save(instance)
        await self._join(instance, client, begin_last=not instance.earliest)

    async def unsubscribe(self, instance: Instance) -> None:
        """Have an instance read nothing; its partitions go to others at once."""
        if instance.auto_commit:
            await self.commit_given(instance)
        if instance.reads in {TOPICS, PATTERN}:
            with suppress(UnknownGroup, UnknownMember):  # its lease may have ended
                await self._groups.leave(instance.group, instance.name, tenant=instance.tenant)
        instance.reads, instance.topics, instance.pattern, instance.joined = "", (), "", None
        for places in (instance.positions, instance.kept, instance.given):
            places.clear()
        await self._instances.save(instance)

    def wanted(self, instance: Instance, client: Client) -> tuple[bytes, ...]:
        """Give the topics that are there, and that an instance has subscribed to and may read."""
        there = self._log.topics(instance.tenant)
        if instance.reads == TOPICS:
            found: Iterable[bytes] = (name for name in instance.topics if name in there)
        else:
            fits = matcher(instance.pattern)
            found = (name for name in there if (shown := self.names(name)) is not None and fits(shown))
        return tuple(sorted(name for name in found if client.grants.permits(SUBSCRIBE, name)))

    async def _join(self, instance: Instance, client: Client, *, begin_last: bool) -> None:
        """See that the instance is a member of its group with what it wants now."""
        wanted = self.wanted(instance, client)
        if instance.joined == wanted and self._is_member(instance):
            return
        instance.joined = wanted
        joining = Joining(
            wanted,
            (),
            instance.name,
            instance.timeout,
            LAST if begin_last else FIRST,
            instance.owner,
            instance.name,
        )
        may = _may(client)
        await self._groups.join(instance.group, joining, instance.tenant, may)

    def _is_member(self, instance: Instance) -> bool:
        try:
            self._groups.member(instance.group, instance.name, tenant=instance.tenant)
        except (UnknownGroup, UnknownMember):
            return False
        return True

    # -- assigning by hand --------------------------------------------------------------------------------------------

    async def assign(self, instance: Instance, places: Iterable[Place]) -> None:
        """Have an instance read just those partitions; raise ``UnknownTopic``, ``UnknownPartition``."""
        if instance.reads in {TOPICS, PATTERN}:
            raise _illegal()
        positions = {place: self._beginning(instance, place) for place in places}
        if instance.auto_commit:
            await self.commit_given(instance)
        instance.positions = {place: instance.positions.get(place, at) for place, at in positions.items()}
        instance.kept, instance.given = dict(instance.positions), {}
        instance.reads = PARTITIONS if positions else ""
        await self._instances.save(instance)

    def _beginning(self, instance: Instance, place: Place) -> int:
        span = self._log.span(place[0], place[1], tenant=instance.tenant)
        commit = self.commits(instance).get(place)
        if commit is not None:
            return max(int(span.first), min(commit.offset, int(span.next)))
        return int(span.first if instance.earliest else span.next)

    def assigned(self, instance: Instance) -> tuple[Place, ...]:
        """Give what an instance reads now."""
        if instance.reads == PARTITIONS:
            return tuple(instance.positions)
        if not instance.reads:
            return ()
        try:
            found = self._groups.member(instance.group, instance.name, tenant=instance.tenant)
        except (UnknownGroup, UnknownMember):
            return ()
        return tuple(found.assigned)

    # -- positions ----------------------------------------------------------------------------------------------------

    async def seek(self, instance: Instance, client: Client, offsets: Mapping[Place, int]) -> None:
        """Have an instance go on from there; raise ``Problem`` 40903 for a partition that is not its own."""
        if instance.reads != PARTITIONS:
            if not instance.reads:
                raise _not_assigned(next(iter(offsets), None))
            await self._join(instance, client, begin_last=False)
            await self._groups.seek(instance.group, instance.name, offsets, tenant=instance.tenant)
            return
        for place, offset in offsets.items():
            if place not in instance.positions:
                raise _not_assigned(place)
            span = self._log.span(place[0], place[1], tenant=instance.tenant)
            if offset > span.next:
                raise refused(422, f"the offset {offset} is behind the end of the partition, {span.next}")
        instance.positions.update(offsets)
        instance.kept.update(offsets)
        for place in offsets:
            instance.given.pop(place, None)
        await self._instances.save(instance)

    def ends(self, instance: Instance, places: Iterable[Place], *, last: bool) -> dict[Place, int]:
        """Give the first or the next offsets of partitions."""
        found = {}
        for place in places:
            span = self._log.span(place[0], place[1], tenant=instance.tenant)
            found[place] = span.next if last else span.first
        return found

    # -- polling ------------------------------------------------------------------------------------------------------

    async def poll(self, instance: Instance, client: Client, wait: float, most_bytes: int) -> Given:
        """Give the next records; with "auto.commit.enable", what was given before is committed first."""
        if not instance.reads:
            raise refused(ILLEGAL_STATE, "the consumer is not subscribed to any topics or assigned any partitions")

        may = _may(client)
        if instance.reads == PARTITIONS:
            return await self._poll_assigned(instance, may, wait, most_bytes)
        await self._join(instance, client, begin_last=False)
        looks = instance.least <= 1  # else it may not answer before it has as much
        if looks and (instance.reads == PATTERN or len(instance.joined or ()) < len(instance.topics)):
            wait = min(wait, NEW_TOPICS)
        polled = await self._groups.poll(
            instance.group,
            instance.name,
            tenant=instance.tenant,
            most=MOST,
            most_bytes=most_bytes,
            least=instance.least,
            wait=wait,
            commit=instance.auto_commit,
            may=may,
        )
        return list(polled.records)

    async def _poll_assigned(
        self, instance: Instance, may: Callable[[bytes], bool], wait: float, most_bytes: int
    ) -> Given:
        if instance.auto_commit:
            await self.commit_given(instance)
        until = self._clock.seconds() + wait
        while True:
            found, full = await self._fetch(instance, may, most_bytes)
            left = until - self._clock.seconds()
            enough = full or (bool(found) and sum(_size(one.records) for one in found) >= instance.least)
            if enough or left <= 0 or not self._instances.is_there(instance):
                return _given(instance, found)
            await self._wait(instance, left, some=bool(found))

    async def _fetch(
        self, instance: Instance, may: Callable[[bytes], bool], most_bytes: int
    ) -> tuple[list[_Found], bool]:
        """Give what is there, and whether no more would fit; nothing of it is given yet."""
        found: list[_Found] = []
        count, full = 0, False
        for place, position in list(instance.positions.items()):
            if count >= MOST or (found and most_bytes <= 0):
                return found, True
            at = self._readable(instance, place, position) if may(place[0]) else None
            if at is None:
                continue
            try:
                fetched = await self._log.fetch(
                    place[0], place[1], at, most_bytes, MOST - count, tenant=instance.tenant
                )
            except (UnknownTopic, UnknownPartition, OutOfRange):
                continue  # it has changed in this moment
            if fetched.records:
                records = tuple(fetched.records)
                found.append(_Found(place, at, records, fetched.after))
                count += len(records)
                most_bytes -= _size(records)
                full = full or fetched.after < fetched.next
            elif instance.positions.get(place) == position:
                instance.positions[place] = fetched.after  # what was there has been compacted away
        return found, full

    def _readable(self, instance: Instance, place: Place, position: int) -> int | None:
        """Give the offset to read at, ``None`` where there is nothing."""
        try:
            span = self._log.span(place[0], place[1], tenant=instance.tenant)
        except (UnknownTopic, UnknownPartition):
            return None
        if not span.first <= position <= span.next:  # it is not kept any more, or the topic is another
            position = instance.positions[place] = int(span.first)
        return position if position < span.next else None

    async def _wait(self, instance: Instance, seconds: float, *, some: bool) -> None:
        """Wait until there may be something, or so many seconds; where there is ``some``, not for each record alone."""
        began = self._clock.seconds()
        await self._sleep(instance, seconds)
        soon = min(PAUSE, seconds) - (self._clock.seconds() - began)
        if some and soon > 0:
            await deferLater(self._clock, soon)

    async def _sleep(self, instance: Instance, seconds: float) -> None:
        """Wait until something was put into a partition that is read, or so many seconds."""
        awake: Deferred[None] = Deferred()

        def wake(*_: object) -> None:
            if not awake.called:
                awake.callback(None)

        def heard(topic: Any, partition: int, *_: object) -> None:  # noqa: ANN401  a Topic
            if topic.tenant == instance.tenant and (topic.name, partition) in instance.positions:
                wake()

        deaf = self._log.listen(heard)
        alarm = self._clock.callLater(seconds, wake)
        self.asleep += 1
        try:
            await awake
        finally:
            self.asleep -= 1
            deaf()
            if alarm.active():
                alarm.cancel()

    # -- committing ---------------------------------------------------------------------------------------------------

    async def commit(self, instance: Instance, offsets: Mapping[Place, Commit]) -> None:
        """Commit offsets of next records for what an instance reads."""
        if instance.reads in {TOPICS, PATTERN}:
            await self._groups.commit(instance.group, offsets, member=instance.name, tenant=instance.tenant)
            return
        mine = {place: one.offset for place, one in offsets.items() if place in instance.kept}
        former = dict(instance.kept)
        instance.kept.update(mine)

        def write(cells: Mapping[tuple[str, bytes], bytes | None]) -> Deferred[None]:
            done: Deferred[None] = self._log.cells.write({**cells, **self._instances.cells(instance)})
            return done

        try:
            await self._groups.commit(
                instance.group, offsets, tenant=instance.tenant, owner=instance.owner, through=write
            )
        except BaseException:
            instance.kept.update({place: former[place] for place in mine})
            raise
        for place in offsets:
            instance.given.pop(place, None)

    async def commit_given(self, instance: Instance) -> None:
        """Commit all that was given."""
        if instance.reads == PARTITIONS:
            given, instance.given = instance.given, {}
            if given:
                try:
                    await self.commit(instance, {place: Commit(at) for place, at in given.items()})
                except BaseException:
                    instance.given = {**given, **instance.given}
                    raise
        elif instance.reads:
            with suppress(UnknownGroup, UnknownMember):  # its lease may have ended, and what it read is another's
                await self._groups.poll(
                    instance.group, instance.name, tenant=instance.tenant, most=0, most_bytes=0, commit=True
                )

    def commits(self, instance: Instance) -> Mapping[Place, Commit]:
        """Give what is committed in the instance's group."""
        try:
            found: Mapping[Place, Commit] = self._groups.commits(instance.group, instance.tenant)
        except UnknownGroup:
            return {}
        return found


def _may(client: Client) -> Callable[[bytes], bool]:
    """Give what says which topics a client may read, now and later."""
    return lambda topic: client.grants.permits(SUBSCRIBE, topic)


class _Found(NamedTuple):
    """Records of one partition that begin at ``at``; ``after`` is the offset behind them."""

    place: Place
    at: int
    records: tuple[Stored, ...]
    after: int


def _given(instance: Instance, found: Iterable[_Found]) -> Given:
    """Take note of what is given, and give it, but for partitions that were sought elsewhere meanwhile."""
    given: Given = []
    for one in found:
        if instance.positions.get(one.place) == one.at:
            instance.positions[one.place] = instance.given[one.place] = one.after
            given.append((one.place, one.records))
    return given


def _size(records: Iterable[Stored]) -> int:
    return sum(len(one.value or b"") + len(one.key or b"") for one in records)


def _illegal() -> Refused:
    return refused(ILLEGAL_STATE, "Subscription to topics, partitions and pattern are mutually exclusive")


def _not_assigned(place: Place | None) -> Refused:
    where = f"partition {place[1]} of {place[0].decode(errors='replace')}" if place else "any partition"
    return refused(ILLEGAL_STATE, f"No current assignment for {where}")
