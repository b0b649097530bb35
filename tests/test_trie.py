"""The trie finds what a scan of all patterns would find."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from brokerkit import topics
from brokerkit.subscription import Subscription
from brokerkit.trie import Trie
from tests.strategies import names, odd_names, patterns


def _wish(pattern: bytes) -> Subscription:
    return Subscription(pattern, literal=False)


class TrieMachine(RuleBasedStateMachine):
    """Add and remove in any order, and compare with a list of what should be there."""

    wishes = Bundle("wishes")

    def __init__(self) -> None:
        """Begin with an empty trie."""
        super().__init__()
        self.trie = Trie()
        self.there: list[Subscription] = []

    @rule(target=wishes, pattern=patterns)
    def add(self, pattern: bytes) -> Subscription:
        """Enter one more, perhaps under a pattern that is there already."""
        wish = _wish(pattern)
        self.trie.add(pattern, wish)
        self.there.append(wish)
        return wish

    @rule(wish=consumes(wishes))
    def remove(self, wish: Subscription) -> None:
        """Take one out again."""
        self.trie.remove(wish.pattern, wish)
        self.there.remove(wish)

    @rule(topic=names | odd_names)
    def match(self, topic: bytes) -> None:
        """Find what a scan finds, each subscription once."""
        found = self.trie.match(topic)
        expected = {w for w in self.there if topics.matches(w.pattern, topic)}
        assert len(found) == len(expected)
        assert set(found) == expected

    @invariant()
    def counts(self) -> None:
        """Compare the size with the list's, and see that an empty trie keeps no levels."""
        assert self.trie.size == len(self.there)
        assert self.trie.root.is_bare() is not bool(self.there)


TrieMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_trie = TrieMachine.TestCase


@given(wanted=st.lists(patterns, min_size=1, max_size=8))
def test_removal_leaves_nothing(wanted: list[bytes]) -> None:
    """When all is removed, in any order, no level is left behind."""
    trie = Trie()
    wishes = [_wish(pattern) for pattern in wanted]
    for wish in wishes:
        trie.add(wish.pattern, wish)
    for wish in sorted(wishes, key=lambda w: w.pattern):
        trie.remove(wish.pattern, wish)
    assert trie.root.is_bare()


def test_a_deep_pattern_does_not_exhaust_the_stack() -> None:
    """Thousands of tokens are only slow."""
    pattern = b".".join([b"*"] * 20_000)
    trie, wish = Trie(), _wish(pattern)
    trie.add(pattern, wish)
    assert trie.match(pattern.replace(b"*", b"x")) == [wish]
    trie.remove(pattern, wish)
    assert trie.root.is_bare()


def test_order_is_that_of_subscribing() -> None:
    """Subscribers of one pattern are found in the order in which they came."""
    trie = Trie()
    wishes = [_wish(b"a.*") for _ in range(5)]
    for wish in wishes:
        trie.add(b"a.*", wish)
    assert trie.match(b"a.b") == wishes
