"""Who gets which partition of a group, and who may commit: pure decisions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokerkit.log.groups_decide import Group, share_out
from brokerkit.log.groups_stored import (
    offset_key,
    read_commit,
    read_group,
    read_offset_key,
    write_commit,
    write_group,
)
from brokerkit.log.groups_words import MEMBERS, Commit, Fenced, Full, Joining, UnknownMember

P = {b"t": 4}


def joined(*names: str, topics: tuple[bytes, ...] = (b"t",), partitions: Any = None) -> Group:
    """Give a group with those members."""
    group = Group("g")
    for name in names:
        group.join(Joining(topics, member=name), 0.0)
        group.rebalance(P if partitions is None else partitions)
    return group


def test_one_member_gets_all() -> None:
    """The first member reads every partition at once."""
    assert len(joined("a").readable("a")) == 4


def test_what_moves_stays_with_its_holder_until_it_asks_for_more() -> None:
    """A second member gets its half only when the first one has asked again."""
    group = joined("a", "b")
    assert len(group.readable("a")) == 2
    assert group.readable("b") == []
    assert len(group.membership("b").awaited) == 2
    assert group.state == "moving"
    assert group.release("a")
    assert len(group.readable("b")) == 2
    assert group.state == "stable"


def test_what_a_member_that_is_gone_held_is_given_at_once() -> None:
    """Nobody waits for one who has left or expired."""
    group = joined("a", "b")
    assert group.expire(1000.0, busy=["b"]) == ["a"]
    group.rebalance(P)
    assert len(group.readable("b")) == 4


def test_commits_of_what_has_changed_hands_are_refused() -> None:
    """A partition that went to another and came back cannot be committed with what was known before."""
    group = joined("a")
    before = group.generation
    place = (b"t", 0)
    group.see_holder(place, "a", before)
    group.leave("a")
    group.rebalance(P)
    group.join(Joining((b"t",), member="a"), 0.0)
    group.rebalance(P)
    with pytest.raises(Fenced):
        group.see_holder(place, "a", before)
    group.see_holder(place, "a", group.generation)


def test_what_stays_can_be_committed_across_generations() -> None:
    """A member that keeps a partition while others come is not fenced."""
    group = joined("a")
    kept = group.generation
    group.join(Joining((b"t",), member="b"), 0.0)
    group.rebalance(P)
    assert group.generation > kept
    group.see_holder(group.readable("a")[0], "a", kept)


def test_others_cannot_commit() -> None:
    """Only who holds a partition may commit for it, and only members."""
    group = joined("a")
    with pytest.raises(UnknownMember):
        group.see_holder((b"t", 0), "b", None)
    with pytest.raises(Fenced):
        group.see_holder((b"t", 9), "a", None)


def test_a_reset_fences() -> None:
    """What was given before a reset cannot be committed after it."""
    group = joined("a")
    before = group.generation
    group.fence([(b"t", 0)])
    with pytest.raises(Fenced):
        group.see_holder((b"t", 0), "a", before)
    group.see_holder((b"t", 1), "a", before)


def test_patterns_stand_for_topics_that_come_later() -> None:
    """A member with a pattern gets new topics, and another one only what it has named."""
    group = Group("g")
    group.join(Joining(patterns=(b"x.>",), member="a"), 0.0)
    group.rebalance({b"x.1": 1, b"y": 1})
    assert group.readable("a") == [(b"x.1", 0)]
    group.rebalance({b"x.1": 1, b"x.2": 2, b"y": 1})
    assert len(group.readable("a")) == 3


def test_nothing_changes_without_a_reason() -> None:
    """Deciding again about the same members and topics is no new generation."""
    group = joined("a", "b")
    generation = group.generation
    assert not group.rebalance(P)
    assert group.generation == generation


def test_members_are_bounded() -> None:
    """There is a last member that may join; one that is there may always speak."""
    group = joined(*(str(i) for i in range(MEMBERS)), partitions={})
    with pytest.raises(Full):
        group.join(Joining((b"t",), member="more"), 0.0)
    group.join(Joining((b"t",), member="0"), 0.0)


@given(
    st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 9), min_size=1),
    st.lists(st.sampled_from("uvwxyz"), min_size=1, unique=True),
    st.dictionaries(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(0, 8)), st.sampled_from("uvwxyz")),
)
def test_partitions_are_shared_out_evenly(topics: dict[bytes, int], members: list[str], now: dict[Any, str]) -> None:
    """Each goes to exactly one who wants it; nobody has two more than another; nothing moves without need."""
    places = [(topic, i) for topic, count in topics.items() for i in range(count)]
    readers = {topic: sorted(members) for topic in topics}
    given_ = share_out(places, readers, now)
    assert given_.keys() == set(places)
    load = [list(given_.values()).count(member) for member in members]
    assert max(load) - min(load) <= 1
    assert share_out(places, readers, given_) == given_
    kept = [place for place in places if now.get(place) in members]
    fair = -(-len(places) // len(members))
    for member in members:
        had = sum(1 for place in kept if now[place] == member)
        stayed = sum(1 for place in kept if now[place] == member == given_[place])
        assert stayed >= min(had, fair - 1)


class Life(RuleBasedStateMachine):
    """Members come, go, expire and ask; whatever happens, each partition has one reader, and its state can be kept."""

    def __init__(self) -> None:
        """Begin with nobody."""
        super().__init__()
        self.group = Group("g")
        self.partitions = {b"t": 3}
        self.now = 0.0

    @rule(member=st.sampled_from("abc"), topic=st.sampled_from([b"t", b"u"]))
    def join(self, member: str, topic: bytes) -> None:
        """Somebody joins, or changes what it wants."""
        self.group.join(Joining((topic,), member=member, session_timeout=10), self.now)
        self.group.rebalance(self.partitions)

    @rule(member=st.sampled_from("abc"))
    def ask(self, member: str) -> None:
        """Somebody asks for more."""
        if member in self.group.members:
            self.group.release(member)
            self.group.renew(member, self.now)

    @rule(member=st.sampled_from("abc"))
    def leave(self, member: str) -> None:
        """Somebody goes."""
        if member in self.group.members:
            self.group.leave(member)
            self.group.rebalance(self.partitions)

    @rule(seconds=st.floats(0, 12))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.group.expire(self.now)
        self.group.rebalance(self.partitions)

    @rule(count=st.integers(0, 5))
    def alter(self, count: int) -> None:
        """Have a topic come, grow or go."""
        self.partitions = {b"t": 3, **({b"u": count} if count else {})}
        self.group.rebalance(self.partitions)

    @invariant()
    def everything_has_one_reader(self) -> None:
        """See that what is wanted is held by a member that is there, and goes to one that is there."""
        wanted = {topic for member in self.group.members.values() for topic in member.topics}
        places = {(topic, i) for topic, count in self.partitions.items() if topic in wanted for i in range(count)}
        assert self.group.held.keys() == places
        for holding in self.group.held.values():
            assert holding.member in self.group.members
            assert holding.goes_to in {"", *self.group.members}
            assert holding.since <= self.group.generation

    @invariant()
    def it_can_be_kept(self) -> None:
        """See that what is written is read as it was, with leases that begin anew."""
        again = read_group("", "g", write_group(self.group), self.now)
        assert again.held == self.group.held
        assert again.generation == self.group.generation
        assert again.members.keys() == self.group.members.keys()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@given(st.text(), st.binary(min_size=1), st.integers(0, 1000), st.integers(0, 2**60), st.text())
def test_offsets_are_written_and_read(tenant: str, topic: bytes, partition: int, offset: int, metadata: str) -> None:
    """A committed offset is the same after a restart, whatever bytes its topic has."""
    tenant = tenant.replace("\0", "").encode(errors="ignore").decode()
    assert read_offset_key(offset_key(tenant, "g", (topic, partition))) == (tenant, "g", (topic, partition))
    commit = Commit(offset, metadata, 5)
    assert read_commit(write_commit(commit)) == commit
