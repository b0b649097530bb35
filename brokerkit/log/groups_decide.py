"""What happens to a group: who joins, leaves or expires, who gets which partition, and who may commit.

Pure decisions; the time is passed in.  A new member takes partitions from others without either of them being told
anything out of turn: what is to move stays with its holder, who is given nothing new of it, until that one asks for
more.  So nothing that is being worked on is given to a second reader as long as the first one lives.

Each change of who shall read what is a new generation.  A commit says which generation it knows, and is refused for a
partition that has changed hands since; what has stayed with its reader can be committed across generations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit import topics as topic_words
from brokerkit.log.groups_words import MEMBERS, PLACES, Fenced, Full, Holding, Member, Membership, UnknownMember

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from brokerkit.log.groups_words import Joining, Place

EMPTY, STABLE, MOVING = "empty", "stable", "moving"


@attrs.define(eq=False)
class Group:
    """One group; ``held`` is who reads what, ``owner`` the user who used it first."""

    name: str
    tenant: str = ""
    generation: int = 0
    members: dict[str, Member] = attrs.field(factory=dict)
    held: dict[Place, Holding] = attrs.field(factory=dict)
    owner: str = ""

    # -- members ------------------------------------------------------------------------------------------------------

    def member(self, member: str) -> Member:
        """Give a member; raise ``UnknownMember``."""
        found = self.members.get(member)
        if found is None:
            raise UnknownMember(self.name, member)
        return found

    def join(self, joining: Joining, now: float) -> Member:
        """Take a member in, or take note of its new wishes; ``rebalance`` has to follow.  Raises ``Full``."""
        if joining.member not in self.members and len(self.members) >= MEMBERS:
            raise Full(f"the group {self.name!r} has {MEMBERS} members already")
        former = self.members.get(joining.member)
        member = Member(
            joining.member,
            joining.topics,
            joining.patterns,
            joining.session_timeout,
            joining.start,
            joining.owner,
            joining.client_id,
            joining.client_host,
            now if former is None else former.joined,
            now + joining.session_timeout,
        )
        self.members[member.id] = member
        return member

    def renew(self, member: str, now: float) -> Member:
        """Begin the lease of a member anew; raise ``UnknownMember``."""
        former = self.member(member)
        found = self.members[member] = attrs.evolve(former, expires=now + former.session_timeout)
        return found

    def leave(self, member: str) -> None:
        """Let a member go; what it held has no holder until ``rebalance``."""
        self.member(member)
        del self.members[member]
        for place, holding in list(self.held.items()):
            if holding.member == member:
                self._pass_on(place, holding)
            elif holding.goes_to == member:
                self.held[place] = attrs.evolve(holding, goes_to="")

    def expire(self, now: float, busy: Iterable[str] = ()) -> list[str]:
        """Let those go whose lease has ended, unless they are being answered (``busy``); give their names."""
        spared = set(busy)
        over = [one.id for one in self.members.values() if one.expires <= now and one.id not in spared]
        for one in over:
            self.leave(one)
        return over

    def soonest(self) -> float | None:
        """Give the moment at which the next lease ends."""
        return min((one.expires for one in self.members.values()), default=None)

    # -- who reads what -----------------------------------------------------------------------------------------------

    def wants(self, topic: bytes) -> bool:
        """Say whether some member wants to read that topic."""
        return any(_wants(member, topic) for member in self.members.values())

    def rebalance(
        self, partitions: Mapping[bytes, int], may: Callable[[Member, bytes], bool] = lambda *_: True
    ) -> bool:
        """Decide anew who shall read what; ``partitions`` are the topics that there are, with their numbers.

        ``may`` says whether a member may read a topic; what nobody may is nobody's.  Gives whether anything has
        changed.  Raises ``Full`` if there are too many partitions for one group.
        """
        readers = _readers(self.members.values(), partitions, may)
        places = [(topic, number) for topic in sorted(readers) for number in range(partitions[topic])]
        if len(places) > PLACES:
            raise Full(f"the group {self.name!r} would read {len(places)} partitions, more than {PLACES}")
        now = {place: holding.goes_to or holding.member for place, holding in self.held.items()}
        wanted = share_out(places, readers, now)
        if wanted == now and self.held.keys() == wanted.keys():
            return False
        self.generation += 1
        self._aim(wanted)
        return True

    def _aim(self, wanted: Mapping[Place, str]) -> None:
        """Take note of who shall read what; what nobody holds is given at once."""
        held: dict[Place, Holding] = {}
        for place, member in wanted.items():
            former = self.held.get(place)
            if former is None or former.member not in self.members:
                held[place] = Holding(member, self.generation)
            else:
                held[place] = attrs.evolve(former, goes_to="" if member == former.member else member)
        self.held = held

    def release(self, member: str) -> bool:
        """Hand over what goes from that member to others; give whether there was something."""
        leaving = [(place, one) for place, one in self.held.items() if one.member == member and one.goes_to]
        for place, holding in leaving:
            self._pass_on(place, holding)
        return bool(leaving)

    def _pass_on(self, place: Place, holding: Holding) -> None:
        if holding.goes_to in self.members:
            self.held[place] = Holding(holding.goes_to, self.generation)
        else:
            del self.held[place]

    def readable(self, member: str) -> list[Place]:
        """Give what a member may be given records of now."""
        return [place for place, one in self.held.items() if one.member == member and not one.goes_to]

    def membership(self, member: str) -> Membership:
        """Give what a member is told; raise ``UnknownMember``."""
        found = self.member(member)
        awaited = tuple(place for place, one in self.held.items() if one.goes_to == member)
        return Membership(self.name, found, self.generation, tuple(self.readable(member)), awaited)

    @property
    def state(self) -> str:
        """One word for how it is."""
        if not self.members:
            return EMPTY
        return MOVING if any(one.goes_to for one in self.held.values()) else STABLE

    # -- committing ---------------------------------------------------------------------------------------------------

    def fence(self, places: Iterable[Place]) -> None:
        """Have nobody commit what was given before, of those partitions."""
        mine = [place for place in places if place in self.held]
        if mine:
            self.generation += 1
        for place in mine:
            self.held[place] = attrs.evolve(self.held[place], since=self.generation)

    def see_holder(self, place: Place, member: str, generation: int | None) -> None:
        """See that a member may commit for a partition; raise ``Fenced``, or ``UnknownMember``.

        Without a ``generation`` it is enough that it holds the partition now.
        """
        self.member(member)
        holding = self.held.get(place)
        where = f"partition {place[1]} of {place[0].decode(errors='backslashreplace')}"
        if holding is None or holding.member != member:
            raise Fenced(f"{where} is not read by {member!r} now")
        if generation is not None and not holding.since <= generation <= self.generation:
            raise Fenced(f"{where} has changed hands since generation {generation}; it is {holding.since} now")


def _wants(member: Member, topic: bytes) -> bool:
    return topic in member.topics or any(topic_words.matches(pattern, topic) for pattern in member.patterns)


def _readers(
    members: Iterable[Member], partitions: Mapping[bytes, int], may: Callable[[Member, bytes], bool]
) -> dict[bytes, list[str]]:
    """Give who wants to read each topic that there is, and may."""
    found: dict[bytes, list[str]] = {}
    for member in sorted(members, key=lambda one: one.id):
        names = set(member.topics)
        for topic in partitions if member.patterns else names & partitions.keys():
            if (topic in names or _wants(member, topic)) and may(member, topic):
                found.setdefault(topic, []).append(member.id)
    return found


def share_out(
    places: Iterable[Place], readers: Mapping[bytes, list[str]], now: Mapping[Place, str]
) -> dict[Place, str]:
    """Give each partition to one of its topic's readers: evenly, and as few as possible to others than ``now``.

    Of members that want the same topics, none gets more than one partition more than another.
    """
    load = dict.fromkeys({member for some in readers.values() for member in some}, 0)
    given: dict[Place, str] = {}
    open_places = []
    for place in places:
        holder = now.get(place)
        if holder in readers[place[0]]:
            given[place] = holder
            load[holder] += 1
        else:
            open_places.append(place)
    for place in open_places:
        member = _idlest(readers[place[0]], load)
        given[place] = member
        load[member] += 1
    while _even_out(given, readers, load):
        pass
    return given


def _even_out(given: dict[Place, str], readers: Mapping[bytes, list[str]], load: dict[str, int]) -> bool:
    """Move partitions from who has more to who has at least two fewer; give whether there were any."""
    moved = False
    for place, holder in given.items():
        member = _idlest(readers[place[0]], load)
        if load[member] + 1 < load[holder]:
            given[place] = member
            load[holder] -= 1
            load[member] += 1
            moved = True
    return moved


def _idlest(members: list[str], load: Mapping[str, int]) -> str:
    return min(members, key=load.__getitem__)
