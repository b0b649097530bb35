"""Records for the members of groups: each is given what comes behind what it was given, from each of its partitions.

A poll that has nothing to give waits: for records, or for a partition that another member still works on.  How far a
member has been given records beyond what it has committed is not durable: after a restart it is given those again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred

from brokerkit.log.groups_table import LOOK_EVERY
from brokerkit.log.groups_words import LONGEST_SESSION, Commit, Polled, Skipped
from brokerkit.log.words import OutOfRange, UnknownPartition, UnknownTopic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerkit.log.groups_live import Live, Reader
    from brokerkit.log.groups_table import Table
    from brokerkit.log.groups_words import Place
    from brokerkit.log.words import Fetched, Stored

    Found = list[tuple[Place, tuple[Stored, ...]]]

PAUSE = 0.05  # seconds before it is looked again whether enough has come, where there is something, and too little


@attrs.frozen
class Bounds:
    """What one poll is to give: ``most`` records and about ``most_bytes``; ``least`` bytes before ``until``."""

    most: int
    most_bytes: int
    least: int
    until: float


class Reading:
    """Answers polls of members."""

    def __init__(self, table: Table) -> None:
        """Read what members of those groups have."""
        self._table = table
        self._log = table.log
        self._clock = table.clock
        self._waiting: dict[tuple[str, bytes], dict[Reader, None]] = {}  # who waits for records of a topic
        self._deaf: Callable[[], None] | None = None
        self.asleep = 0  # polls that wait

    async def poll(
        self, live: Live, member: str, reader: Reader, bounds: Bounds, *, commit: bool, seen: int | None
    ) -> Polled:
        """Give a member its next records, one poll at a time; a former one that still waits is ended by this."""
        reader.turns += 1
        turn = reader.turns
        reader.wake()
        with self._table.answering(live, member):
            await reader.lock.acquire()
            try:
                reader.go_back(seen)
                if commit and reader.positions:
                    await self._commit_given(live, member, reader)
                reader.before = {}
                return await self._poll(live, member, reader, turn, bounds)
            finally:
                reader.lock.release()

    async def _commit_given(self, live: Live, member: str, reader: Reader) -> None:
        """Commit what was given and is not committed, of partitions that are still this member's."""
        offsets = {}
        for place, position in reader.positions.items():
            holding, former = live.group.held.get(place), live.commits.get(place)
            if holding is not None and holding.member == member and (former is None or former.offset != position):
                offsets[place] = Commit(position, former.metadata if former else "")
        if offsets:
            await self._table.write(live, offsets)

    async def _poll(self, live: Live, member: str, reader: Reader, turn: int, bounds: Bounds) -> Polled:
        group, table = live.group, self._table
        skipped: list[Skipped] = []
        while True:
            table.look(live)
            if group.release(member):  # also what is to go while it waits: it asks for more, so it is done with it
                live.wake()
            await table.save(live)
            group.member(member)
            mine = group.readable(member)
            places = [place for place in mine if reader.may is None or reader.may(place[0])]
            reader.forget_others(mine)
            records, full = await self._gather(live, reader, places, bounds, skipped)
            left = bounds.until - self._clock.seconds()
            enough = bool(skipped) or full or (bool(records) and _bytes(records) >= bounds.least)
            if enough or left <= 0 or turn != reader.turns or not table.is_open:
                break
            await self._wait(live, reader, places, left, some=bool(records))
        group.member(member)
        reader.number += 1
        positions = reader.following
        reader.before = {place: reader.positions[place] for place in positions}
        reader.positions.update(positions)
        group.renew(member, self._clock.seconds())
        return Polled(group.membership(member), tuple(records), positions, tuple(skipped), reader.number)

    async def _gather(
        self, live: Live, reader: Reader, places: list[Place], bounds: Bounds, skipped: list[Skipped]
    ) -> tuple[Found, bool]:
        """Give what is there for a member, from each of its partitions in turn, and whether no more would fit."""
        found: Found = []
        full = False
        reader.following = {}
        most, most_bytes = bounds.most, bounds.most_bytes
        begin = reader.number % len(places) if places else 0  # not always the same first
        for place in places[begin:] + places[:begin]:
            if most <= 0 or (most_bytes <= 0 and found):
                return found, bool(found)
            if live.committing[place]:
                continue
            position = await self._position(live, reader, place, skipped)
            if position is None:
                continue
            fetched = await self._fetch(live, place, position, most_bytes, most)
            if fetched is None or place not in live.group.held:
                continue
            if not fetched.records:
                reader.positions[place] = fetched.after
                continue
            found.append((place, tuple(fetched.records)))
            reader.following[place] = fetched.after
            most -= len(fetched.records)
            most_bytes -= sum(map(_size, fetched.records))
            full = full or fetched.after < fetched.next
        return found, full

    async def _fetch(self, live: Live, place: Place, position: int, most_bytes: int, most: int) -> Fetched | None:
        """Read from a partition, over what compaction has left empty; ``None`` if it has changed in this moment."""
        while True:
            try:
                fetched: Fetched = await self._log.fetch(
                    place[0], place[1], position, max(1, most_bytes), most, tenant=live.group.tenant
                )
            except (UnknownTopic, UnknownPartition, OutOfRange):
                return None
            if fetched.records or fetched.after >= fetched.next or fetched.after == position:
                return fetched
            position = fetched.after

    async def _position(self, live: Live, reader: Reader, place: Place, skipped: list[Skipped]) -> int | None:
        """Give the offset from which a member goes on, ``None`` if there is nothing there to read."""
        try:
            span = self._log.span(place[0], place[1], tenant=live.group.tenant)
        except (UnknownTopic, UnknownPartition):
            return None
        position = reader.positions.get(place)
        if position is None:
            commit = live.commits.get(place)
            if commit is None:
                position = await self._begin(live, place, span)
            else:
                position = commit.offset
        if position < span.first:
            skipped.append(Skipped(place, position, span.first))
            position = span.first
        elif position > span.next:  # a topic that was deleted and made again
            position = span.first
        reader.positions[place] = position
        return position if position < span.next else None

    async def _begin(self, live: Live, place: Place, span: Any) -> int:  # noqa: ANN401  a Span
        """Write down where a group begins: a restart between here and the first commit skips nothing.

        That is the first record: what was not to be read from its beginning got its place when it was asked for.
        """
        position: int = span.first
        await self._table.write(live, {place: Commit(position)})
        return position

    # -- waiting ------------------------------------------------------------------------------------------------------

    async def _wait(self, live: Live, reader: Reader, places: list[Place], seconds: float, *, some: bool) -> None:
        """Wait until there may be something, or so many seconds; where there is ``some``, not for each record alone."""
        began = self._clock.seconds()
        if any(member.patterns for member in live.group.members.values()):
            seconds = min(seconds, LOOK_EVERY)  # a new topic may be one of them
        await self._sleep(reader, {(live.group.tenant, topic) for topic, _ in places}, seconds)
        soon = min(PAUSE, seconds) - (self._clock.seconds() - began)
        if some and soon > 0:
            await self._sleep(reader, (), soon)

    async def _sleep(self, reader: Reader, keys: Iterable[tuple[str, bytes]], seconds: float) -> None:
        for key in keys:
            self._waiting.setdefault(key, {})[reader] = None
        self._listen()
        reader.asleep = Deferred()
        alarm = self._clock.callLater(max(0.001, min(seconds, LONGEST_SESSION)), reader.wake)
        self.asleep += 1
        try:
            await reader.asleep
        finally:
            self.asleep -= 1
            reader.asleep = None
            if alarm.active():
                alarm.cancel()
            for key in keys:
                some = self._waiting.get(key, {})
                some.pop(reader, None)
                if not some:
                    self._waiting.pop(key, None)
            self._listen()

    def _listen(self) -> None:
        """Hear of new records as long as somebody waits for some."""
        if self._waiting and self._deaf is None:
            self._deaf = self._log.listen(self._grown)
        elif not self._waiting and self._deaf is not None:
            self._deaf()
            self._deaf = None

    def _grown(self, topic: Any, *_: object) -> None:  # noqa: ANN401  a Topic
        """Wake those who wait for records of a topic."""
        for reader in list(self._waiting.get((topic.tenant, topic.name), ())):
            reader.wake()


def _size(record: Stored) -> int:
    return len(record.value or b"") + len(record.key or b"") + 32


def _bytes(found: Found) -> int:
    return sum(len(one.value or b"") + len(one.key or b"") for _, records in found for one in records)
