"""What is known of a group in memory alone: how far its members have been given records, and what they may read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, DeferredLock

from brokerkit.log.groups_words import Unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerkit.log.groups_decide import Group
    from brokerkit.log.groups_words import Commit, Member, Place

    May = Callable[[bytes], bool]  # whether a topic may be read


@attrs.define(eq=False)
class Reader:
    """One member: ``positions`` is how far it has been given records, ``before`` where it was before its last answer.

    ``may`` says what its user may read; nobody knows that after a restart, until the member is heard of.
    """

    lock: DeferredLock = attrs.field(factory=DeferredLock)
    number: int = 0
    positions: dict[Place, int] = attrs.field(factory=dict)
    before: dict[Place, int] = attrs.field(factory=dict)
    following: dict[Place, int] = attrs.field(factory=dict)  # where it is behind the answer that is being made
    asleep: Deferred[None] | None = None
    turns: int = 0  # polls that have come; only the last one waits
    may: May | None = None

    def wake(self) -> None:
        """Have a poll that waits look again."""
        if self.asleep is not None and not self.asleep.called:
            self.asleep.callback(None)

    def go_back(self, seen: int | None) -> None:
        """Go back to before the last answer if the member has not got it; raise ``Unfit``."""
        if seen is None or seen == self.number:
            return
        if seen != self.number - 1:
            if self.number == 0:
                return  # the broker has started anew: what is not committed is given again
            raise Unfit(f"seen: found {seen}, expected {self.number - 1} or {self.number}")
        self.positions.update(self.before)

    def forget_others(self, places: Iterable[Place]) -> None:
        """Forget where the member was in partitions that are not its own any more."""
        mine = set(places)
        for place in [place for place in self.positions if place not in mine]:
            del self.positions[place]

    def move(self, offsets: dict[Place, int]) -> None:
        """Go on from there; what was answered before is not given again."""
        self.positions.update(offsets)
        for place in offsets:
            self.before.pop(place, None)
        self.wake()


@attrs.define(eq=False)
class Live:
    """A group, and what is known of it in memory."""

    group: Group
    commits: dict[Place, Commit] = attrs.field(factory=dict)
    readers: dict[str, Reader] = attrs.field(factory=dict)
    busy: Counter[str] = attrs.field(factory=Counter)  # members that are being answered
    committing: Counter[Place] = attrs.field(factory=Counter)
    looked: float = float("-inf")
    alarm: Any = None
    written: bytes = b""  # as it stands in the log

    def reader(self, member: str) -> Reader:
        """Give what is known of a member."""
        return self.readers.setdefault(member, Reader())

    def drop_reader(self, member: str) -> None:
        """Forget a member that is gone; a poll of it that waits is answered."""
        reader = self.readers.pop(member, None)
        if reader is not None:
            reader.turns += 1
            reader.wake()

    def wake(self) -> None:
        """Have all polls that wait look again."""
        for reader in list(self.readers.values()):
            reader.wake()

    def take_rights(self, member: str, may: May | None) -> None:
        """Take note of what a member's user may read (everything, if it was never said); a change counts at once."""
        reader = self.reader(member)
        known, reader.may = reader.may, may or reader.may or _everything
        held = {place[0] for place, one in self.group.held.items() if member in {one.member, one.goes_to}}
        if known is None or not all(map(reader.may, held)):
            self.looked = float("-inf")

    def rights(self) -> Callable[[Member, bytes], bool]:
        """Give what says who may read what; of whom nothing is known, what was theirs already."""
        theirs = {(who, place[0]) for place, one in self.group.held.items() for who in (one.member, one.goes_to)}

        def may(member: Member, topic: bytes) -> bool:
            reader = self.readers.get(member.id)
            if reader is None or reader.may is None:
                return (member.id, topic) in theirs
            return reader.may(topic)

        return may


def _everything(_: bytes) -> bool:
    return True
