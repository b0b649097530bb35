"""Consumer groups at the log: members and committed offsets in its cells, records for whoever polls.

What is durable: whose a group is, who is a member, who reads what, and what is committed; each is on disk before it is
answered.  No answer depends on a connection.  ``groups_table`` has them all, ``groups_reading`` answers polls,
``groups_decide`` decides who reads what.
"""

from __future__ import annotations

from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service

from brokerkit.log.groups_checks import see_joining, see_name, see_owner
from brokerkit.log.groups_reading import Bounds, Reading
from brokerkit.log.groups_table import Table
from brokerkit.log.groups_words import LAST, Commit, Described, Full, InUse, Share, Unfit
from brokerkit.log.words import UnknownPartition, UnknownTopic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from twisted.internet.defer import Deferred

    from brokerkit.log.groups_live import Live, May
    from brokerkit.log.groups_table import Cells
    from brokerkit.log.groups_words import Joining, Membership, Place, Polled

MOST, MOST_BYTES = 500, 1024 * 1024  # records and bytes of one poll, where nothing else is said


class Groups(Service):
    """All consumer groups of one log; a service, started after it.

    Coroutines that write fail as the log's own writes do (``Busy``, ``NoRoom``), and nothing has happened then.
    ``reactor`` is the clock, too.
    """

    def __init__(self, log: Any, reactor: Any) -> None:  # noqa: ANN401  a Log; any reactor, also a test's
        """Take the log; its cells are read when something is asked first."""
        self._log = log
        self._clock = reactor
        self._table = Table(log, reactor)
        self._reading = Reading(self._table)

    def stopService(self) -> None:
        """Wait for nothing any more; who waits is answered with what there is."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._table.close()

    # -- what there is ------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """The number of polls that wait for records."""
        return self._reading.asleep

    @property
    def members(self) -> int:
        """The number of members of all groups."""
        return sum(len(live.group.members) for live in self._table.all().values())

    def lag(self, name: str, tenant: str = "") -> int:
        """Give how many records a group has not committed, where it has committed something; raise ``UnknownGroup``."""
        live = self._table.find(name, tenant)
        shares = (self._share(live, place) for place in live.commits)
        return sum(share.lag or 0 for share in shares if share is not None)

    def names(self, tenant: str = "") -> list[str]:
        """Give the names of all groups of a tenant, in order."""
        return sorted(name for of, name in self._table.all() if of == tenant)

    def all(self) -> Iterable[tuple[str, str]]:
        """Give tenant and name of each group."""
        return self._table.all().keys()

    def owner(self, name: str, tenant: str = "") -> str:
        """Give the user whose group it is: who used it first; empty if there is no such group, or it is nobody's."""
        live = self._table.all().get((tenant, name))
        return "" if live is None else live.group.owner

    def member(self, name: str, member: str, *, tenant: str = "", owner: str | None = None) -> Membership:
        """Give one member; raise ``UnknownGroup``, ``UnknownMember``, or ``NotOwner`` if it is not ``owner``'s."""
        live = self._table.find(name, tenant)
        see_owner(live.group.member(member), owner)
        return live.group.membership(member)

    def commits(self, name: str, tenant: str = "") -> Mapping[Place, Commit]:
        """Give what is committed; raise ``UnknownGroup``."""
        return self._table.find(name, tenant).commits

    def describe(self, name: str, tenant: str = "") -> Described:
        """Give all of a group; raise ``UnknownGroup``."""
        live = self._table.find(name, tenant)
        group = live.group
        members = tuple(group.membership(member) for member in group.members)
        places = sorted({*live.commits, *group.held})
        shares = tuple(share for share in (self._share(live, place) for place in places) if share is not None)
        return Described(name, tenant, group.generation, group.state, members, shares, group.owner)

    def _share(self, live: Live, place: Place) -> Share | None:
        try:
            span = self._log.span(place[0], place[1], tenant=live.group.tenant)
        except (UnknownTopic, UnknownPartition):
            return None
        holding = live.group.held.get(place)
        return Share(place, live.commits.get(place), span.first, span.next, holding.member if holding else "")

    # -- members ------------------------------------------------------------------------------------------------------

    async def join(self, name: str, joining: Joining, tenant: str = "", may: May | None = None) -> Membership:
        """Take a member in, or change what one wants; done when that is on disk.

        ``may`` says which topics its user may read; it is given partitions of no other.  Raises ``Unfit``, ``Full``,
        ``NotOwner``, and ``UnknownTopic`` for a topic that is named and is not there.
        """
        see_name(name, "group")
        see_joining(joining)
        for topic in joining.topics:
            self._log.topic(topic, tenant=tenant)
        live = self._table.found(name, tenant, joining.owner)
        joining = joining if joining.member else attrs.evolve(joining, member=token_urlsafe(12))
        former = live.group.members.get(joining.member)
        if former is not None:
            see_owner(former, joining.owner)
        before = set(live.group.held)
        try:
            live.group.join(joining, self._clock.seconds())
            live.take_rights(joining.member, may)
            self._table.rebalance(live)
        except Full:
            if former is not None:
                live.group.members[former.id] = former
            elif joining.member in live.group.members:
                live.group.leave(joining.member)
                live.drop_reader(joining.member)
            self._table.forget_if_empty(live)
            raise
        if former is None or (former.topics, former.patterns) != (joining.topics, joining.patterns):
            await self._begin(live, joining, before)
        await self._table.save(live)
        return live.group.membership(joining.member)

    async def _begin(self, live: Live, joining: Joining, before: set[Place]) -> None:
        """Write down where a group begins in what nobody read before: its end is that of now, not of the first poll."""
        offsets = {}
        for place in live.group.held.keys() - before - live.commits.keys() if joining.start == LAST else ():
            share = self._share(live, place)
            if share is not None:
                offsets[place] = Commit(share.next)
        if offsets:
            await self._table.write(live, offsets)

    async def leave(self, name: str, member: str, *, tenant: str = "", owner: str | None = None) -> None:
        """Let a member go at once, its partitions to others; raise as ``member``."""
        live = self._table.find(name, tenant)
        see_owner(live.group.member(member), owner)
        live.group.leave(member)
        live.drop_reader(member)
        self._table.rebalance(live)
        await self._table.save(live)

    def renew(self, name: str, member: str, *, tenant: str = "", owner: str | None = None) -> Membership:
        """Take note that a member lives; raise as ``member``.  Poll and commit do so, too."""
        live = self._table.find(name, tenant)
        see_owner(live.group.member(member), owner)
        self._table.renew(live, member)
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
        least: int = 1,
        wait: float = 0.0,
        commit: bool = False,
        seen: int | None = None,
        may: May | None = None,
    ) -> Polled:
        """Give a member the next records of its partitions, in bounds of number and bytes; at least one if there is.

        ``wait`` is the seconds to wait for records, or for partitions, where there are none, or for ``least`` bytes of
        keys and values, or as much as is given at most.  ``commit`` first commits all that was given before.  ``seen``
        is the number of the last answer that the member has got: another one than the last that was given has that one
        repeated.  ``may`` says which topics may be read (by who asks, now): the records of others are not given, and
        their partitions go to members that may.  A poll ends an earlier one of the same member that still waits.
        Raises as ``member``, and ``Unfit`` for a ``seen`` that was never given.
        """
        live = self._table.find(name, tenant)
        see_owner(live.group.member(member), owner)
        live.take_rights(member, may)
        bounds = Bounds(most, most_bytes, least, self._clock.seconds() + wait)
        return await self._reading.poll(live, member, live.reader(member), bounds, commit=commit, seen=seen)

    async def seek(
        self, name: str, member: str, offsets: Mapping[Place, int], *, tenant: str = "", owner: str | None = None
    ) -> None:
        """Have a member given records from other offsets on; raise as ``member``, and ``Fenced``, ``Unfit``."""
        live = self._table.find(name, tenant)
        see_owner(live.group.member(member), owner)
        for place, offset in offsets.items():
            live.group.see_holder(place, member, None)
            self._see_offset(place, offset, tenant)
        live.reader(member).move(dict(offsets))
        self._table.renew(live, member)

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
        see_name(name, "group")
        for place, offset in offsets.items():
            self._see_offset(place, offset.offset if isinstance(offset, Commit) else offset, tenant)
        table = self._table
        live = table.find(name, tenant) if member else table.found(name, tenant, owner or "")
        try:
            if member:
                see_owner(live.group.member(member), owner)
                for place in offsets:
                    live.group.see_holder(place, member, generation)
            elif live.group.members:
                raise InUse(f"the group {name!r} has members, and only they can commit")
            given = {place: one if isinstance(one, Commit) else Commit(one) for place, one in offsets.items()}
            with table.answering(live, member):
                return await table.write(live, given, through)
        finally:
            table.forget_if_empty(live)

    async def reset(
        self, name: str, offsets: Mapping[Place, int], *, tenant: str = "", owner: str = "", force: bool = False
    ) -> None:
        """Have a group go on from other offsets; raise ``InUse`` if it has members, unless ``force`` is given.

        With ``force``, members go on from there, and what they commit of what they had before is refused.  A group that
        is not there is made, ``owner``'s.
        """
        see_name(name, "group")
        for place, offset in offsets.items():
            self._see_offset(place, offset, tenant)
        live = self._table.found(name, tenant, owner)
        if live.group.members and not force:
            raise InUse(f"the group {name!r} has members: stop them first, or force it")
        live.group.fence(offsets)
        for reader in live.readers.values():
            for place in offsets:
                reader.positions.pop(place, None)
                reader.before.pop(place, None)
        try:
            await self._table.save(live)
            await self._table.write(live, {place: Commit(offset) for place, offset in offsets.items()})
        finally:
            self._table.forget_if_empty(live)

    async def delete(self, name: str, *, tenant: str = "", places: tuple[Place, ...] | None = None) -> None:
        """Forget a group, or what it has committed for ``places``; raise ``UnknownGroup``, ``InUse``."""
        live = self._table.find(name, tenant)
        if live.group.members:
            raise InUse(f"the group {name!r} has members: a group can be deleted when all have left")
        gone = tuple(live.commits) if places is None else tuple(place for place in places if place in live.commits)
        await self._table.erase(live, gone, whole=places is None)

    def _see_offset(self, place: Place, offset: int, tenant: str) -> None:
        """Refuse what is no offset of a partition that is there: from 0 to the one behind its last record."""
        following = self._log.span(place[0], place[1], tenant=tenant).next
        if not 0 <= offset <= following:
            where = f"partition {place[1]} of {place[0].decode(errors='backslashreplace')}"
            raise Unfit(f"{where}: found the offset {offset}, expected one from 0 to {following}")
