"""Who may do what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit import topics
from brokerkit.grants import ALL, EVERYTHING, NOTHING, PUBLISH, SUBSCRIBE, Access, Grants, Rule, literal, patterns
from tests import strategies


@given(rule=strategies.patterns, wish=strategies.patterns, topic=strategies.odd_names)
def test_what_is_granted_is_within_a_rule(rule: bytes, wish: bytes, topic: bytes) -> None:
    """Whoever may subscribe to a pattern may receive each topic that it stands for."""
    access = Access(patterns([rule]))
    if access.permits(wish, literal=False) and topics.matches(wish, topic):
        assert access.permits(topic)


@given(name=strategies.odd_names)
def test_all_and_nothing(name: bytes) -> None:
    """The rule ``>`` is every name and pattern there is, also those that no wildcard reaches; no rule is none."""
    assert EVERYTHING.permits(name)
    assert EVERYTHING.permits(name, literal=False)
    assert not NOTHING.permits(name)


@given(name=strategies.odd_names)
def test_a_literal_rule_is_one_name(name: bytes) -> None:
    """A literal rule allows its own name, whatever it looks like, and never a pattern."""
    access = Access(literal([name]))
    assert access.permits(name)
    assert access.permits(name, literal=False) is not topics.has_wildcard(name)
    assert not access.permits(name + b"x")


@pytest.mark.parametrize("name", [b">", b"*", b"a.*", b"a.>"])
def test_a_literal_rule_is_no_wildcard(name: bytes) -> None:
    """An hpfeeds channel list with ``*`` or ``>`` in it opens nothing else."""
    access = Access(literal([name]))
    assert not access.permits(b"a.b")
    assert not access.permits(name, literal=False)


def test_a_literal_rule_counts_in_every_protocol() -> None:
    """A name without a wildcard is the same whether it is asked for as a name or as a pattern."""
    access = Access(literal([b"a.b"]))
    assert access.permits(b"a.b", literal=False)
    denied = Access(patterns([b">"]), literal([b"a.b"]))
    assert not denied.permits(b"a.b", literal=False)


@given(rule=strategies.patterns, name=strategies.odd_names)
def test_names_are_judged_alike(rule: bytes, name: bytes) -> None:
    """A name without a wildcard gets the same answer, asked for as a name or as a pattern."""
    access = Access(patterns([rule]))
    if not topics.has_wildcard(name):
        assert access.permits(name) is access.permits(name, literal=False)


@given(allow=strategies.patterns, deny=strategies.patterns, name=strategies.names)
def test_denial_wins(allow: bytes, deny: bytes, name: bytes) -> None:
    """What a denial stands for is not allowed by anything."""
    access = Access(patterns([allow]), patterns([deny]))
    assert access.permits(name) is (topics.matches(allow, name) and not topics.matches(deny, name))


@pytest.mark.parametrize("name", [b"a.", b"a..b", b"a.b.", b"a...", b"a.b..c"])
def test_no_empty_token_leads_around_a_denial(name: bytes) -> None:
    """What hpfeeds can name and no wildcard reaches is denied with what lies beside it, and allowed by ``>`` alone."""
    access = Access(patterns([b">"]), patterns([b"a.>"]))
    assert not access.permits(name)
    assert access.ruling(name) == (False, Rule(b"a.>"))
    assert access.permits(b"b" + name)
    assert not Access(patterns([b"a.>"])).permits(name)


@given(deny=strategies.patterns, wish=strategies.patterns, topic=strategies.names)
def test_a_denial_within_a_wish_is_noticed(deny: bytes, wish: bytes, topic: bytes) -> None:
    """Where some topic of a subscription is denied, the subscription is refused or will be filtered."""
    grants = Grants({SUBSCRIBE: Access(patterns([b">"]), patterns([deny]))})
    if topics.matches(wish, topic) and topics.matches(deny, topic):
        assert grants.denies_part(wish) or not grants.permits(SUBSCRIBE, wish, literal=False)


def test_a_literal_denial_within_a_wish_is_noticed() -> None:
    """One denied name is enough to have a subscription filtered."""
    grants = Grants({SUBSCRIBE: Access(patterns([b">"]), literal([b"a.secret"]))})
    assert grants.denies_part(b"a.*")
    assert not grants.denies_part(b"b.*")
    assert grants.permits(SUBSCRIBE, b"a.*", literal=False)
    assert not grants.permits(SUBSCRIBE, b"a.secret")


def test_actions_are_apart() -> None:
    """One action's rules say nothing of another; one without rules is not allowed."""
    grants = Grants({PUBLISH: Access((Rule(b"a"),))})
    assert grants.permits(PUBLISH, b"a")
    assert not grants.permits(SUBSCRIBE, b"a")
    assert not Grants().permits(PUBLISH, b"a")
    assert ALL.permits(PUBLISH, b"a..b")
    assert ALL.permits(SUBSCRIBE, b">", literal=False)


@given(
    allow=st.lists(strategies.patterns, max_size=3),
    deny=st.lists(strategies.patterns, max_size=2),
    names=st.lists(strategies.odd_names, max_size=2),
    wish=strategies.odd_names,
    is_literal=st.booleans(),
)
def test_the_rule_that_decides(
    allow: list[bytes], deny: list[bytes], names: list[bytes], wish: bytes, is_literal: bool
) -> None:
    """``ruling`` and ``permits`` agree; the rule is one of the list that decided."""
    access = Access(literal(names) + patterns(allow), patterns(deny))
    allowed, rule = access.ruling(wish, literal=is_literal)
    assert allowed is access.permits(wish, literal=is_literal)
    assert rule in (access.allow if allowed else (*access.deny, None))
