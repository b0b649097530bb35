"""Consumer groups at the log: members and committed offsets in its cells, records for whoever polls.

What is durable: who is a member, who reads what, and what is committed; each is on disk before it is answered.  What is
not: how far a member has been given records beyond what it has committed.  After a restart it is given those again.

No answer depends on a connection.  A poll that has nothing to give waits: for records, or for a partition that another
member still works on.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from brokerkit import topics as topic_words
from brokerkit.log import groups_stored as stored
from brokerkit.log.groups_decide import Group
from brokerkit.log.groups_words import (
    FIRST,
    GROUPS,
    LAST,
    LONGEST_SESSION,
    METADATA,
    NAME,
    PLACES,
    SHORTEST_SESSION,
    Commit,
    Described,
    Full,
    InUse,
    NotOwner,
    Polled,
    Share,
    Skipped,
    Unfit,
    UnknownGroup,
)
from brokerkit.log.words import OutOfRange, UnknownPartition, UnknownTopic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from brokerkit.log.groups_words import Joining, Member, Membership, Place
    from brokerkit.log.words import Fetched, Stored

    Cells = Mapping[tuple[str, bytes], bytes | None]

log = Logger()

T = TypeVar("T")

LARGEST = (1 << 62) - 1  # of offsets
MOST, MOST_BYTES = 500, 1024 * 1024  # records and bytes of one poll, where nothing else is said
LOOK_EVERY = 1.0  # seconds after which it is looked again whether there are new topics for a group


@attrs.define(eq=False)
class _Reader:
    """How far one member has been given records; ``before`` is where it was before its last answer."""

    lock: DeferredLock = attrs.field(factory=DeferredLock)
    number: int = 0
    positions: dict[Place, int] = attrs.field(factory=dict)
    before: dict[Place, int] = attrs.field(factory=dict)
    following: dict[Place, int] = attrs.field(factory=dict)  # where it is behind the answer that is being made
    asleep: Deferred[None] | None = None
    turns: int = 0  # polls that have come; only the last one waits


@attrs.define(eq=False)
class _Live:
    """A group, and what is known of it in memory."""

    group: Group
    commits: dict[Place, Commit] = attrs.field(factory=dict)
    readers: dict[str, _Reader] = attrs.field(factory=dict)
    busy: Counter[str] = attrs.field(factory=Counter)  # members that are being answered
    committing: Counter[Place] = attrs.field(factory=Counter)
    looked: float = float("-inf")
    alarm: Any = None
    written: bytes = b""  # as it stands in the log

    def reader(self, member: str) -> _Reader:
        return self.readers.setdefault(member, _Reader())


class Groups(Service):
    """All consumer groups of one log; a service, started after it.

    Coroutines that write fail as the log's own writes do (``Busy``, ``NoRoom``), and nothing has happened then.
    ``reactor`` is the clock, too.
    """

    def __init__(self, log: Any, reactor: Any) -> None:  # noqa: ANN401  a Log; any reactor, also a test's
        """Take the log; its cells are read when something is asked first."""
        self._log = log
        self._clock = reactor
        self._live: dict[tuple[str, str], _Live] | None = None
        self._waiting: dict[tuple[str, bytes], dict[_Reader, None]] = {}  # who waits for records of a topic
        self._deaf: Callable[[], None] | None = None

    def stopService(self) -> None:
        """Wait for nothing any more; who waits is answered with what there is."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._deaf is not None:
            self._deaf()
            self._deaf = None
        lives, self._live = self._live or {}, None
        for live in lives.values():
            if live.alarm is not None and live.alarm.active():
                live.alarm.cancel()
            self._wake(live)
        self._waiting.clear()

    # -- what there is ------------------------------------------------------------------------------------------------

    def names(self, tenant: str = "") -> list[str]:
        """Give the names of all groups of a tenant, in order."""
        return sorted(name for of, name in self._all() if of == tenant)

    def member(self, name: str, member: str, *, tenant: str = "", owner: str | None = None) -> Membership:
        """Give one member; raise ``UnknownGroup``, ``UnknownMember``, or ``NotOwner`` if it is not ``owner``'s."""
        live = self._find(name, tenant)
        _see_owner(live.group.member(member), owner)
        return live.group.membership(member)

    def commits(self, name: str, tenant: str = "") -> Mapping[Place, Commit]:
        """Give what is committed; raise ``UnknownGroup``."""
        return self._find(name, tenant).commits

    def describe(self, name: str, tenant: str = "") -> Described:
        """Give all of a group; raise ``UnknownGroup``."""
        live = self._find(name, tenant)
        group = live.group
        members = tuple(group.membership(member) for member in group.members)
        places = sorted({*live.commits, *group.held})
        shares = tuple(share for share in (self._share(live, place) for place in places) if share is not None)
        return Described(name, tenant, group.generation, group.state, members, shares)

    def _share(self, live: _Live, place: Place) -> Share | None:
        try:
            span = self._log.span(place[0], place[1], tenant=live.group.tenant)
        except (UnknownTopic, UnknownPartition):
            return None
        holding = live.group.held.get(place)
        return Share(place, live.commits.get(place), span.first, span.next, holding.member if holding else "")

    # -- members ------------------------------------------------------------------------------------------------------

    async def join(self, name: str, joining: Joining, tenant: str = "") -> Membership:
        """Take a member in, or change what one wants; done when that is on disk.

        Raises ``Unfit``, ``Full``, ``NotOwner``, and ``UnknownTopic`` for a topic that is named and is not there.
        """
        _see_name(name, "group")
        _see_joining(joining)
        for topic in joining.topics:
            self._log.topic(topic, tenant=tenant)
        live = self._found(name, tenant)
        joining = joining if joining.member else attrs.evolve(joining, member=token_urlsafe(12))
        former = live.group.members.get(joining.member)
        if former is not None:
            _see_owner(former, joining.owner)
        live.group.join(joining, self._clock.seconds())
        try:
            self._rebalance(live)
        except Full:
            if former is None:
                live.group.leave(joining.member)
            else:
                live.group.members[former.id] = former
            self._forget_if_empty(live)
            raise
        await self._save(live)
        return live.group.membership(joining.member)

    async def leave(self, name: str, member: str, *, tenant: str = "", owner: str | None = None) -> None:
        """Let a member go at once, its partitions to others; raise as ``member``."""
        live = self._find(name, tenant)
        _see_owner(live.group.member(member), owner)
        live.group.leave(member)
        self._drop_reader(live, member)
        self._rebalance(live)
        await self._save(live)

    def renew(self, name: str, member: str, *, tenant: str = "", owner: str | None = None) -> Membership:
        """Take note that a member lives; raise as ``member``.  Poll and commit do so, too."""
        live = self._find(name, tenant)
        _see_owner(live.group.member(member), owner)
        live.group.renew(member, self._clock.seconds())
        self._set_alarm(live)
        return live.group.membership(member)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def poll(
        self,
        name: str,
        member: str,
        *,
        tenant: str = "",
        owner: str | None = None,
        most: int = MOST,
        most_bytes: int = MOST_BYTES,
        wait: float = 0.0,
        commit: bool = False,
        seen: int | None = None,
        may: Callable[[bytes], bool] | None = None,
    ) -> Polled:
        """Give a member the next records of its partitions, in bounds of number and bytes; at least one if there is.

        ``wait`` is the seconds to wait for records, or for partitions, where there are none.  ``commit`` first commits
        all that was given before.  ``seen`` is the number of the last answer that the member has got: another one than
        the last that was given has that one repeated.  ``may`` says which topics may be read (by who asks, now): the
        records of others are not given.  A poll ends an earlier one of the same member that still waits.  Raises
        as ``member``, and ``Unfit`` for a ``seen`` that was never given.
        """
        live = self._find(name, tenant)
        _see_owner(live.group.member(member), owner)
        reader = live.reader(member)
        reader.turns += 1
        turn = reader.turns
        _wake(reader)
        with self._answering(live, member):
            await reader.lock.acquire()
            try:
                _go_back(reader, seen)
                if commit and reader.positions:
                    await self._commit_given(live, member, reader)
                reader.before = {}
                return await self._poll(live, member, reader, turn, most, most_bytes, wait, may)
            finally:
                reader.lock.release()

    async def _commit_given(self, live: _Live, member: str, reader: _Reader) -> None:
        """Commit what was given and is not committed, of partitions that are still this member's."""
        offsets = {}
        for place, position in reader.positions.items():
            holding, former = live.group.held.get(place), live.commits.get(place)
            if holding is not None and holding.member == member and (former is None or former.offset != position):
                offsets[place] = Commit(position, former.metadata if former else "")
        if offsets:
            await self._write(live, offsets, None)

    async def _poll(
        self,
        live: _Live,
        member: str,
        reader: _Reader,
        turn: int,
        most: int,
        most_bytes: int,
        wait: float,
        may: Callable[[bytes], bool] | None,
    ) -> Polled:
        group = live.group
        until = self._clock.seconds() + wait
        skipped: list[Skipped] = []
        if group.release(member):
            self._wake(live)
        while True:
            self._look(live)
            await self._save(live)
            group.member(member)
            places = [place for place in group.readable(member) if may is None or may(place[0])]
            _forget_others(reader, group.readable(member))
            records = await self._gather(live, reader, places, most, most_bytes, skipped)
            left = until - self._clock.seconds()
            if records or skipped or left <= 0 or turn != reader.turns or self._live is None:
                break
            await self._sleep(live, reader, places, left)
        group.member(member)
        reader.number += 1
        positions = reader.following
        reader.before = {place: reader.positions[place] for place in positions}
        reader.positions.update(positions)
        group.renew(member, self._clock.seconds())
        return Polled(group.membership(member), tuple(records), positions, tuple(skipped), reader.number)

    async def _gather(
        self, live: _Live, reader: _Reader, places: list[Place], most: int, most_bytes: int, skipped: list[Skipped]
    ) -> list[tuple[Place, tuple[Stored, ...]]]:
        """Give what is there for a member, from each of its partitions in turn."""
        found: list[tuple[Place, tuple[Stored, ...]]] = []
        reader.following = {}
        begin = reader.number % len(places) if places else 0  # not always the same first
        for place in places[begin:] + places[:begin]:
            if most <= 0 or (most_bytes <= 0 and found):
                break
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
        return found

    async def _fetch(self, live: _Live, place: Place, position: int, most_bytes: int, most: int) -> Fetched | None:
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

    async def _position(self, live: _Live, reader: _Reader, place: Place, skipped: list[Skipped]) -> int | None:
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

    async def _begin(self, live: _Live, place: Place, span: Any) -> int:  # noqa: ANN401  a Span
        """Decide where a group begins, and write it down: a restart between here and the first commit skips nothing."""
        holding = live.group.held[place]
        start = live.group.members[holding.member].start
        position: int = span.first if start == FIRST else span.next
        await self._write(live, {place: Commit(position)}, None)
        return position

    async def seek(
        self, name: str, member: str, offsets: Mapping[Place, int], *, tenant: str = "", owner: str | None = None
    ) -> None:
        """Have a member given records from other offsets on; raise as ``member``, and ``Fenced``, ``Unfit``."""
        live = self._find(name, tenant)
        _see_owner(live.group.member(member), owner)
        for place, offset in offsets.items():
            live.group.see_holder(place, member, None)
            self._see_offset(place, offset, tenant)
        reader = live.reader(member)
        reader.positions.update(offsets)
        for place in offsets:
            reader.before.pop(place, None)
        self.renew(name, member, tenant=tenant)
        _wake(reader)

    # -- committing ---------------------------------------------------------------------------------------------------

    async def commit(
        self,
        name: str,
        offsets: Mapping[Place, Commit | int],
        *,
        member: str = "",
        generation: int | None = None,
        tenant: str = "",
        owner: str | None = None,
        through: Callable[[Cells], Deferred[Any]] | None = None,
    ) -> Any:  # noqa: ANN401  what `through` gives
        """Commit the offsets of the next records to read; done when they are on disk, all or none.

        As a ``member`` for what it holds, if it has known the ``generation`` ever since; without one, for a group that
        has no members, which is made if it is not there.  ``through`` writes the cells in place of the log's own
        ``cells.write``: with records, for example, in one commit; what it gives is given.  Raises as ``member``, and
        ``Fenced``, ``InUse``, ``Unfit``, ``Full``, ``UnknownTopic``, ``UnknownPartition``.
        """
        _see_name(name, "group")
        for place, offset in offsets.items():
            self._see_offset(place, offset.offset if isinstance(offset, Commit) else offset, tenant)
        live = self._find(name, tenant) if member else self._found(name, tenant)
        try:
            if member:
                _see_owner(live.group.member(member), owner)
                for place in offsets:
                    live.group.see_holder(place, member, generation)
            elif live.group.members:
                raise InUse(f"the group {name!r} has members, and only they can commit")
            given = {place: one if isinstance(one, Commit) else Commit(one) for place, one in offsets.items()}
            with self._answering(live, member):
                return await self._write(live, given, through)
        finally:
            self._forget_if_empty(live)

    async def reset(self, name: str, offsets: Mapping[Place, int], *, tenant: str = "", force: bool = False) -> None:
        """Have a group go on from other offsets; raise ``InUse`` if it has members, unless ``force`` is given.

        With ``force``, members go on from there, and what they commit of what they had before is refused.
        """
        _see_name(name, "group")
        for place, offset in offsets.items():
            self._see_offset(place, offset, tenant)
        live = self._found(name, tenant)
        if live.group.members and not force:
            raise InUse(f"the group {name!r} has members: stop them first, or force it")
        live.group.fence(offsets)
        for reader in live.readers.values():
            for place in offsets:
                reader.positions.pop(place, None)
                reader.before.pop(place, None)
        await self._save(live)
        await self._write(live, {place: Commit(offset) for place, offset in offsets.items()}, None)

    async def delete(self, name: str, *, tenant: str = "", places: tuple[Place, ...] | None = None) -> None:
        """Forget a group, or what it has committed for ``places``; raise ``UnknownGroup``, ``InUse``."""
        live = self._find(name, tenant)
        if live.group.members:
            raise InUse(f"the group {name!r} has members: a group can be deleted when all have left")
        gone = tuple(live.commits) if places is None else tuple(place for place in places if place in live.commits)
        cells: dict[tuple[str, bytes], bytes | None] = {
            (stored.OFFSET, stored.offset_key(tenant, name, place)): None for place in gone
        }
        if places is None:
            cells[stored.GROUP, stored.group_key(tenant, name)] = None
        await self._log.cells.write(cells)
        for place in gone:
            live.commits.pop(place, None)
        if places is None and not live.group.members:
            live.written = b""
            self._forget_if_empty(live)

    async def _write(
        self, live: _Live, offsets: Mapping[Place, Commit], through: Callable[[Cells], Deferred[Any]] | None
    ) -> Any:  # noqa: ANN401  what `through` gives
        """Write offsets; nobody reads on from what was committed before until that is done."""
        if len({*live.commits, *offsets}) > PLACES:
            raise Full(f"a group can commit for {PLACES} partitions")
        group, now = live.group, int(self._clock.seconds() * 1000)
        commits = {place: attrs.evolve(one, at=now) for place, one in offsets.items()}
        cells: dict[tuple[str, bytes], bytes | None] = {
            (stored.OFFSET, stored.offset_key(group.tenant, group.name, place)): stored.write_commit(one)
            for place, one in commits.items()
        }
        if not live.written:
            live.written = stored.write_group(group)
            cells[stored.GROUP, stored.group_key(group.tenant, group.name)] = live.written
        live.committing.update(commits.keys())
        try:
            result = await (through or self._log.cells.write)(cells)
            live.commits.update(commits)
        except BaseException:
            if (stored.GROUP, stored.group_key(group.tenant, group.name)) in cells:
                live.written = b""
            raise
        finally:
            live.committing -= Counter(commits.keys())
            self._wake(live)
        return result

    def _see_offset(self, place: Place, offset: int, tenant: str) -> None:
        """Refuse what is no offset of a partition that is there: from 0 to the one behind its last record."""
        following = self._log.span(place[0], place[1], tenant=tenant).next
        if not 0 <= offset <= following:
            where = f"partition {place[1]} of {place[0].decode(errors='backslashreplace')}"
            raise Unfit(f"{where}: found the offset {offset}, expected one from 0 to {following}")

    # -- the groups themselves ----------------------------------------------------------------------------------------

    def _all(self) -> dict[tuple[str, str], _Live]:
        if self._live is None:
            self._live = self._load()
            self._deaf = self._log.listen(self._grown)
            for live in self._live.values():
                self._set_alarm(live)
        return self._live

    def _load(self) -> dict[tuple[str, str], _Live]:
        found: dict[tuple[str, str], _Live] = {}
        now = self._clock.seconds()
        for key, cell in self._log.cells.items(stored.GROUP).items():
            try:
                tenant, name = stored.read_group_key(key)
                found[tenant, name] = _Live(stored.read_group(tenant, name, cell, now), written=cell)
            except ValueError as error:
                log.error("a consumer group cannot be read, and is left out: {key!r}: {error}", key=key, error=error)
        for key, cell in self._log.cells.items(stored.OFFSET).items():
            try:
                tenant, name, place = stored.read_offset_key(key)
                commit = stored.read_commit(cell)
            except ValueError as error:
                log.error("an offset cannot be read, and is left out: {key!r}: {error}", key=key, error=error)
            else:
                found.setdefault((tenant, name), _Live(Group(name, tenant))).commits[place] = commit
        return found

    def _find(self, name: str, tenant: str) -> _Live:
        live = self._all().get((tenant, name))
        if live is None:
            raise UnknownGroup(name)
        return live

    def _found(self, name: str, tenant: str) -> _Live:
        """Give a group, made if it is not there; raise ``Full``."""
        lives = self._all()
        if (tenant, name) not in lives:
            if len(lives) >= GROUPS:
                raise Full(f"there are {GROUPS} groups already: delete some")
            lives[tenant, name] = _Live(Group(name, tenant))
        return lives[tenant, name]

    def _forget_if_empty(self, live: _Live) -> None:
        """Forget a group of which nothing was ever written."""
        group = live.group
        if not (live.written or group.members or live.commits or live.committing.total()) and self._live is not None:
            self._live.pop((group.tenant, group.name), None)

    async def _save(self, live: _Live) -> None:
        """Write who reads what, if it has changed; done when it is on disk."""
        group = live.group
        cell = stored.write_group(group)
        if cell == live.written:
            return
        former, live.written = live.written, cell
        try:
            await self._log.cells.write({(stored.GROUP, stored.group_key(group.tenant, group.name)): cell})
        except BaseException:
            if live.written == cell:
                live.written = former
            raise

    # -- who reads what -----------------------------------------------------------------------------------------------

    def _rebalance(self, live: _Live) -> None:
        """Decide anew who reads what; raise ``Full``."""
        live.looked = self._clock.seconds()
        if live.group.rebalance(self._partitions(live.group)):
            self._wake(live)
        self._set_alarm(live)

    def _look(self, live: _Live) -> None:
        """See whether there are other topics than before, now and then."""
        if self._clock.seconds() - live.looked >= LOOK_EVERY:
            try:
                self._rebalance(live)
            except Full as error:
                log.warn("{error}; new topics are left out", error=str(error))

    def _partitions(self, group: Group) -> dict[bytes, int]:
        """Give the topics that members of a group want and that are there."""
        keeps, tenant = self._log.keeps, group.tenant
        names = {topic for member in group.members.values() for topic in member.topics}
        found = {name: self._log.topic(name, tenant=tenant).partitions for name in names if keeps(name, tenant)}
        if any(member.patterns for member in group.members.values()):
            topics = self._log.topics(tenant)
            found |= {name: topic.partitions for name, topic in topics.items() if group.wants(name)}
        return found

    # -- leases -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _answering(self, live: _Live, member: str) -> Iterator[None]:
        """Let a member's lease not end while it is being answered; it begins anew afterwards."""
        if not member:
            yield
            return
        live.busy[member] += 1
        try:
            yield
        finally:
            live.busy -= Counter((member,))
            if member in live.group.members:
                live.group.renew(member, self._clock.seconds())
                self._set_alarm(live)

    def _set_alarm(self, live: _Live) -> None:
        soonest = live.group.soonest()
        if soonest is None or self._live is None or (live.alarm is not None and live.alarm.active()):
            return
        live.alarm = self._clock.callLater(max(0.05, soonest - self._clock.seconds()), self._ring, live)

    def _ring(self, live: _Live) -> None:
        """Let go who was not heard of."""
        for member in live.group.expire(self._clock.seconds(), live.busy):
            log.info("{group}: the lease of {member} has expired", group=live.group.name, member=member)
            self._drop_reader(live, member)
        try:
            self._rebalance(live)
        except Full as error:
            log.warn("{error}", error=str(error))
        saved = Deferred.fromCoroutine(self._save(live))
        saved.addErrback(lambda failure: log.warn("a group cannot be written: {why}", why=failure.getErrorMessage()))
        self._set_alarm(live)

    def _drop_reader(self, live: _Live, member: str) -> None:
        reader = live.readers.pop(member, None)
        if reader is not None:
            reader.turns += 1
            _wake(reader)

    # -- waiting ------------------------------------------------------------------------------------------------------

    async def _sleep(self, live: _Live, reader: _Reader, places: list[Place], seconds: float) -> None:
        """Wait until there may be something, or so many seconds."""
        keys = {(live.group.tenant, topic) for topic, _ in places}
        if any(member.patterns for member in live.group.members.values()):
            seconds = min(seconds, LOOK_EVERY)  # a new topic may be one of them
        for key in keys:
            self._waiting.setdefault(key, {})[reader] = None
        reader.asleep = Deferred()
        alarm = self._clock.callLater(max(0.001, min(seconds, LONGEST_SESSION)), _wake, reader)
        try:
            await reader.asleep
        finally:
            reader.asleep = None
            if alarm.active():
                alarm.cancel()
            for key in keys:
                some = self._waiting.get(key, {})
                some.pop(reader, None)
                if not some:
                    self._waiting.pop(key, None)

    def _grown(self, topic: Any, *_: object) -> None:  # noqa: ANN401  a Topic
        """Wake those who wait for records of a topic."""
        for reader in list(self._waiting.get((topic.tenant, topic.name), ())):
            _wake(reader)

    def _wake(self, live: _Live) -> None:
        for reader in list(live.readers.values()):
            _wake(reader)


def _wake(reader: _Reader) -> None:
    if reader.asleep is not None and not reader.asleep.called:
        reader.asleep.callback(None)


def _go_back(reader: _Reader, seen: int | None) -> None:
    """Go back to before the last answer if the member has not got it."""
    if seen is None or seen == reader.number:
        return
    if seen != reader.number - 1:
        if reader.number == 0:
            return  # the broker has started anew: what is not committed is given again
        raise Unfit(f"seen: found {seen}, expected {reader.number - 1} or {reader.number}")
    reader.positions.update(reader.before)


def _forget_others(reader: _Reader, places: list[Place]) -> None:
    """Forget where the member was in partitions that are not its own any more."""
    mine = set(places)
    for place in [place for place in reader.positions if place not in mine]:
        del reader.positions[place]


def _size(record: Stored) -> int:
    return len(record.value or b"") + len(record.key or b"") + 32


def _see_owner(member: Member, owner: str | None) -> None:
    if owner is not None and member.owner != owner:
        raise NotOwner(f"the member {member.id!r} belongs to another user")


def _see_name(name: str, what: str) -> None:
    if not 0 < len(name) <= NAME or any(ord(letter) < 32 for letter in name):  # noqa: PLR2004  control characters
        raise Unfit(f"a {what} needs a name of 1 to {NAME} characters, none of them a control character")


def _see_joining(joining: Joining) -> None:
    if joining.member:
        _see_name(joining.member, "member")
    if not SHORTEST_SESSION <= joining.session_timeout <= LONGEST_SESSION:
        bounds = f"{SHORTEST_SESSION:g} to {LONGEST_SESSION:g} seconds"
        raise Unfit(f"session_timeout: found {joining.session_timeout:g}, expected {bounds}")
    if joining.start not in {FIRST, LAST}:
        raise Unfit(f"start: found {joining.start!r}, expected {FIRST} or {LAST}")
    for pattern in joining.patterns:
        if not topic_words.is_pattern(pattern):
            raise Unfit(f"{pattern.decode(errors='backslashreplace')!r} is not a pattern")


def see_metadata(metadata: str) -> str:
    """Give what may be kept with an offset; raise ``Unfit``."""
    if len(metadata) > METADATA:
        raise Unfit(f"metadata: found {len(metadata)} characters, expected at most {METADATA}")
    return metadata
