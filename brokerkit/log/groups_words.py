"""The words of consumer groups: a place, a member with its lease, a committed offset, and what can go wrong.

A group is a name under which several readers share the partitions of topics.  Nothing of it hangs on a connection: a
member is a record with a lease, and whoever knows its id goes on with it, also after a restart of the broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerkit.log.words import Stored

Place = tuple[bytes, int]  # the name of a topic, and a partition of it
Start = str  # FIRST or LAST
FIRST, LAST = "first", "last"  # where a group begins that has committed nothing
USUAL_SESSION = 30.0  # seconds
SHORTEST_SESSION, LONGEST_SESSION = 1.0, 3600.0
MEMBERS = 256  # of one group
GROUPS = 10_000  # of one log
PLACES = 10_000  # partitions that one group may read
NAME = 249  # characters of a group's or a member's name
METADATA = 4096  # characters that may be kept with an offset


@attrs.frozen
class Joining:
    """What one who joins says.

    ``member`` is its id, made up if it is empty; one that is there already goes on with the new wishes.  ``topics`` are
    names, ``patterns`` stand for all kept topics that they match, also later ones.  ``session_timeout`` is in seconds;
    ``start`` is where to begin in a partition for which nothing was ever committed, as it is now: a topic that comes to
    be later is read from its beginning.  ``owner`` is the user, the only
    one who can go on with the member.
    """

    topics: tuple[bytes, ...] = ()
    patterns: tuple[bytes, ...] = ()
    member: str = ""
    session_timeout: float = USUAL_SESSION
    start: Start = LAST
    owner: str = ""
    client_id: str = ""
    client_host: str = ""


@attrs.frozen
class Member:
    """One reader; ``expires`` is the moment (seconds since 1970) at which its lease ends unless it is heard of."""

    id: str
    topics: tuple[bytes, ...]
    patterns: tuple[bytes, ...]
    session_timeout: float
    start: Start
    owner: str
    client_id: str
    client_host: str
    joined: float
    expires: float


@attrs.frozen
class Holding:
    """Who reads a partition: ``since`` is the generation in which it was given it, ``goes_to`` who gets it next.

    What goes to another is given no further records of; it is handed over when its holder asks for more (so it is done
    with what it had), leaves or expires.
    """

    member: str
    since: int
    goes_to: str = ""


@attrs.frozen
class Commit:
    """What was committed for a partition: the offset of the next record to read; ``at`` is in ms since 1970."""

    offset: int
    metadata: str = ""
    at: int = 0


@attrs.frozen
class Membership:
    """What a member is told of itself: the generation, what it may read now, and what it still waits for."""

    group: str
    member: Member
    generation: int
    assigned: tuple[Place, ...]
    awaited: tuple[Place, ...]

    def only(self, seen: Callable[[bytes], bool]) -> Membership:
        """Give it without the topics that are not ``seen``."""
        topics = tuple(topic for topic in self.member.topics if seen(topic))
        assigned, awaited = (tuple(one for one in some if seen(one[0])) for some in (self.assigned, self.awaited))
        return Membership(self.group, attrs.evolve(self.member, topics=topics), self.generation, assigned, awaited)


@attrs.frozen
class Skipped:
    """Records of a partition that are not kept any more, and were never given: from ``begin`` up to before ``end``."""

    place: Place
    begin: int
    end: int


@attrs.frozen
class Polled:
    """What a poll gives.

    ``records`` are of one partition each, in order; ``positions`` are the offsets behind them, which is what to commit
    when they are done with.  ``number`` names this answer: a poll that says ``seen`` with the number before it gets the
    same records again (the answer was lost).
    """

    membership: Membership
    records: tuple[tuple[Place, tuple[Stored, ...]], ...]
    positions: Mapping[Place, int]
    skipped: tuple[Skipped, ...]
    number: int


@attrs.frozen
class Share:
    """One partition as a group sees it: what is committed, what is there, and who reads it.

    ``commit`` is ``None`` where nothing was committed, ``lag`` then, too; ``member`` is empty where nobody reads it.
    """

    place: Place
    commit: Commit | None
    first: int
    next: int
    member: str = ""

    @property
    def lag(self) -> int | None:
        """The number of records that are there and not committed."""
        return None if self.commit is None else max(0, self.next - max(self.first, self.commit.offset))


@attrs.frozen
class Described:
    """A group as it is now: ``state`` is empty (no members), stable, or moving (partitions are to change hands).

    ``owner`` is the user whose group it is.
    """

    name: str
    tenant: str
    generation: int
    state: str
    members: tuple[Membership, ...]
    shares: tuple[Share, ...]
    owner: str = ""

    def only(self, seen: Callable[[bytes], bool]) -> Described:
        """Give it without the topics that are not ``seen``."""
        members = tuple(one.only(seen) for one in self.members)
        return attrs.evolve(self, members=members, shares=tuple(one for one in self.shares if seen(one.place[0])))

    @property
    def lag(self) -> int:
        """The number of records that are not committed, in all partitions where something was."""
        return sum(share.lag or 0 for share in self.shares)


# -- what can go wrong ------------------------------------------------------------------------------------------------


class GroupError(BrokerError):
    """A group does not do what was asked; the text says why."""


class UnknownGroup(GroupError):
    """There is no such group."""

    def __init__(self, name: str) -> None:
        """Take its name."""
        super().__init__(f"there is no group {name!r}")


class UnknownMember(GroupError):
    """There is no such member: it never joined, has left, or its lease has expired.  It can join again."""

    def __init__(self, group: str, member: str) -> None:
        """Take the names."""
        super().__init__(f"the group {group!r} has no member {member!r}; if it had, its lease has expired: join again")


class NotOwner(GroupError):
    """The member belongs to another user."""


class Fenced(GroupError):
    """The partition is another member's by now, or was in between; nothing was committed."""


class InUse(GroupError):
    """The group has members, so nobody else may move its offsets, or delete it."""


class Unfit(GroupError):
    """What was asked for can never be done: a name, a number or an offset is not usable."""


class Full(GroupError):
    """There are as many groups, members or partitions as there may be."""
