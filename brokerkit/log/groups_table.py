"""All groups of one log: read from its cells, written to them, shared out among members whose leases end in time."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from brokerkit.log import groups_stored as stored
from brokerkit.log.groups_decide import Group
from brokerkit.log.groups_live import Live
from brokerkit.log.groups_words import GROUPS, PLACES, Full, UnknownGroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from brokerkit.log.groups_words import Commit, Place

    Cells = Mapping[tuple[str, bytes], bytes | None]

log = Logger()

LOOK_EVERY = 1.0  # seconds after which it is looked again whether there are new topics for a group


class Table:
    """The groups by tenant and name; ``clock`` is any reactor."""

    def __init__(self, log: Any, clock: Any) -> None:  # noqa: ANN401  a Log; any reactor
        """Take the log; its cells are read when a group is looked for first."""
        self.log = log
        self.clock = clock
        self._all: dict[tuple[str, str], Live] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is something in memory."""
        return self._all is not None

    def close(self) -> None:
        """Forget what is in memory; polls that wait are answered with what there is."""
        lives, self._all = self._all or {}, None
        for live in lives.values():
            if live.alarm is not None and live.alarm.active():
                live.alarm.cancel()
            live.wake()

    # -- finding ------------------------------------------------------------------------------------------------------

    def all(self) -> Mapping[tuple[str, str], Live]:
        """Give all groups."""
        return self._there()

    def find(self, name: str, tenant: str) -> Live:
        """Give a group; raise ``UnknownGroup``."""
        live = self._there().get((tenant, name))
        if live is None:
            raise UnknownGroup(name)
        return live

    def found(self, name: str, tenant: str, owner: str) -> Live:
        """Give a group, made if it is not there, and ``owner``'s if it is nobody's; raise ``Full``."""
        there = self._there()
        if (tenant, name) not in there:
            if len(there) >= GROUPS:
                raise Full(f"there are {GROUPS} groups already: delete some")
            there[tenant, name] = Live(Group(name, tenant))
        live = there[tenant, name]
        live.group.owner = live.group.owner or owner
        return live

    def forget_if_empty(self, live: Live) -> None:
        """Forget a group of which nothing was ever written."""
        group = live.group
        if not (live.written or group.members or live.commits or live.committing.total()) and self._all is not None:
            self._all.pop((group.tenant, group.name), None)

    def _there(self) -> dict[tuple[str, str], Live]:
        if self._all is None:
            self._all = self._load()
            for live in self._all.values():
                self.set_alarm(live)
        return self._all

    # -- cells --------------------------------------------------------------------------------------------------------

    def _load(self) -> dict[tuple[str, str], Live]:
        found: dict[tuple[str, str], Live] = {}
        now = self.clock.seconds()
        for key, cell in self.log.cells.items(stored.GROUP).items():
            try:
                tenant, name = stored.read_group_key(key)
                found[tenant, name] = Live(stored.read_group(tenant, name, cell, now), written=cell)
            except ValueError as error:
                log.error("a consumer group cannot be read, and is left out: {key!r}: {error}", key=key, error=error)
        for key, cell in self.log.cells.items(stored.OFFSET).items():
            try:
                tenant, name, place = stored.read_offset_key(key)
                commit = stored.read_commit(cell)
            except ValueError as error:
                log.error("an offset cannot be read, and is left out: {key!r}: {error}", key=key, error=error)
            else:
                found.setdefault((tenant, name), Live(Group(name, tenant))).commits[place] = commit
        return found

    async def save(self, live: Live) -> None:
        """Write who reads what, if it has changed; done when it is on disk."""
        group = live.group
        cell = stored.write_group(group)
        if cell == live.written:
            return
        former, live.written = live.written, cell
        try:
            await self.log.cells.write({(stored.GROUP, stored.group_key(group.tenant, group.name)): cell})
        except BaseException:
            if live.written == cell:
                live.written = former
            raise

    async def write(
        self, live: Live, offsets: Mapping[Place, Commit], through: Callable[[Cells], Deferred[Any]] | None = None
    ) -> Any:  # noqa: ANN401  what `through` gives
        """Write offsets; nobody reads on from what was committed before until that is done."""
        if len({*live.commits, *offsets}) > PLACES:
            raise Full(f"a group can commit for {PLACES} partitions")
        group, now = live.group, int(self.clock.seconds() * 1000)
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
            result = await (through or self.log.cells.write)(cells)
            live.commits.update(commits)
        except BaseException:
            if (stored.GROUP, stored.group_key(group.tenant, group.name)) in cells:
                live.written = b""
            raise
        finally:
            live.committing -= Counter(commits.keys())
            live.wake()
        return result

    async def erase(self, live: Live, places: tuple[Place, ...], *, whole: bool) -> None:
        """Forget what is committed for some partitions, and with ``whole`` the group."""
        name, tenant = live.group.name, live.group.tenant
        cells: dict[tuple[str, bytes], bytes | None] = {
            (stored.OFFSET, stored.offset_key(tenant, name, place)): None for place in places
        }
        if whole:
            cells[stored.GROUP, stored.group_key(tenant, name)] = None
        await self.log.cells.write(cells)
        for place in places:
            live.commits.pop(place, None)
        if whole and not live.group.members:
            live.written = b""
            self.forget_if_empty(live)

    # -- who reads what -----------------------------------------------------------------------------------------------

    def rebalance(self, live: Live) -> None:
        """Decide anew who reads what; raise ``Full``."""
        live.looked = self.clock.seconds()
        if live.group.rebalance(self._partitions(live.group), live.rights()):
            live.wake()
        self.set_alarm(live)

    def look(self, live: Live) -> None:
        """See whether there are other topics than before, now and then."""
        if self.clock.seconds() - live.looked >= LOOK_EVERY:
            try:
                self.rebalance(live)
            except Full as error:
                log.warn("{error}; new topics are left out", error=str(error))

    def _partitions(self, group: Group) -> dict[bytes, int]:
        """Give the topics that members of a group want and that are there."""
        keeps, tenant = self.log.keeps, group.tenant
        names = {topic for member in group.members.values() for topic in member.topics}
        found = {name: self.log.topic(name, tenant=tenant).partitions for name in names if keeps(name, tenant)}
        if any(member.patterns for member in group.members.values()):
            topics = self.log.topics(tenant)
            found |= {name: topic.partitions for name, topic in topics.items() if group.wants(name)}
        return found

    # -- leases -------------------------------------------------------------------------------------------------------

    def renew(self, live: Live, member: str) -> None:
        """Begin the lease of a member anew; raise ``UnknownMember``."""
        live.group.renew(member, self.clock.seconds())
        self.set_alarm(live)

    @contextmanager
    def answering(self, live: Live, member: str) -> Iterator[None]:
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
                self.renew(live, member)

    def set_alarm(self, live: Live) -> None:
        """Have it looked after the leases when the next one ends."""
        soonest = live.group.soonest()
        if soonest is None or self._all is None or (live.alarm is not None and live.alarm.active()):
            return
        live.alarm = self.clock.callLater(max(0.05, soonest - self.clock.seconds()), self._ring, live)

    def _ring(self, live: Live) -> None:
        """Let go who was not heard of."""
        for member in live.group.expire(self.clock.seconds(), live.busy):
            log.info("{group}: the lease of {member} has expired", group=live.group.name, member=member)
            live.drop_reader(member)
        try:
            self.rebalance(live)
        except Full as error:
            log.warn("{error}", error=str(error))
        saved = Deferred.fromCoroutine(self.save(live))
        saved.addErrback(lambda failure: log.warn("a group cannot be written: {why}", why=failure.getErrorMessage()))
        self.set_alarm(live)
