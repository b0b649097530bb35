"""What the broker keeps of the topics for itself: only rules that mean it reach there, not those that came before."""

from __future__ import annotations

import pytest
from hypothesis import given

from brokerkit import topics
from brokerkit.grants import ALL, EVERYTHING, PUBLISH, SUBSCRIBE, Access, Grants, Rule, literal, patterns
from brokerkit.reserved import Reserved
from tests.strategies import names, odd_names, odd_patterns

READ = "thing.read"
OWN = Reserved(b"own", b"own-get", READ, b"things")


def _guarded(subscribe: Access = EVERYTHING, read: Access | None = None, publish: Access = EVERYTHING) -> Grants:
    actions = {PUBLISH: publish, SUBSCRIBE: subscribe}
    return OWN.guard(Grants({**actions, READ: read} if read is not None else actions))


@given(odd_names)
def test_nothing_else_changes(name: bytes) -> None:
    """Outside of what is reserved, everything is decided as without it."""
    plain = Grants({PUBLISH: Access(patterns([b"a.>"])), SUBSCRIBE: EVERYTHING})
    guarded = OWN.guard(plain)
    for action in (PUBLISH, SUBSCRIBE, READ):
        assert guarded.permits(action, name) == plain.permits(action, name)
        assert guarded.ruling(action, name) == plain.ruling(action, name)


@given(names | odd_names)
def test_nobody_publishes_there(name: bytes) -> None:
    """No rule is enough, and no spelling leads around."""
    meant = Access((Rule(b"own.>"), *literal([topics.under(b"own", name)])))
    assert not _guarded(publish=meant).permits(PUBLISH, topics.under(b"own", name))
    assert not OWN.guard(ALL).permits(PUBLISH, topics.under(b"own", name))


@given(odd_patterns)
def test_a_rule_that_begins_otherwise_does_not_reach_there(pattern: bytes) -> None:
    """Whatever it matches, it was not written for these topics."""
    guarded = _guarded(Access(patterns([pattern, b"*.>", b">"])))
    assert not guarded.permits(SUBSCRIBE, b"own.a")
    assert not guarded.permits(SUBSCRIBE, b"own.>", literal=False)
    assert guarded.permits(SUBSCRIBE, b">", literal=False)
    assert guarded.denies_part(b">")


@pytest.mark.parametrize("pattern", [b">", b"*.a", b"own.>", b"own.*", b"*.*", b"own-get.a"])
def test_what_reaches_there_is_looked_at_each_time(pattern: bytes) -> None:
    """A subscription to it, or to more, is filtered at each match."""
    assert _guarded().denies_part(pattern)


@pytest.mark.parametrize("pattern", [b"a.>", b"ow.*", b"own", b"a.own.>"])
def test_what_does_not_is_not(pattern: bytes) -> None:
    """A subscription elsewhere pays nothing."""
    assert not _guarded().denies_part(pattern)


def test_the_right_to_a_thing_is_the_right_to_hear_of_it() -> None:
    """Whoever may read a thing may subscribe to its topic, to a pattern with it, and ask for it."""
    read = Access((Rule(b"things.a", literal=True), Rule(b"things.b", begins=True)))
    guarded = _guarded(Access(), read, Access())
    for name in (b"own.a", b"own.b", b"own.bc"):
        assert guarded.permits(SUBSCRIBE, name)
        assert guarded.permits(PUBLISH, name.replace(b"own", b"own-get"))
    assert not guarded.permits(SUBSCRIBE, b"own.c")
    assert not guarded.permits(PUBLISH, b"own-get.c")
    assert guarded.permits(SUBSCRIBE, b"own.*", literal=False)
    assert not _guarded(Access(), Access(literal([b"things.a.b"]))).permits(SUBSCRIBE, b"own.*", literal=False)


def test_a_right_to_everything_does_not_say_so() -> None:
    """``>`` for the action is too wide as well: it is what those have who may do anything."""
    assert not _guarded(read=EVERYTHING).permits(SUBSCRIBE, b"own.a")
    assert not OWN.guard(ALL).permits(SUBSCRIBE, b"own.a")
    assert OWN.guard(ALL).permits(READ, b"things.a")


def test_denial_wins() -> None:
    """Whether the topic is denied or the thing."""
    meant, denied = patterns([b"own.>"]), patterns([b"own.a"])
    thing = Access(patterns([b"things.>"]), patterns([b"things.b"]))
    guarded = _guarded(Access(meant, denied), thing)
    assert [guarded.permits(SUBSCRIBE, name) for name in (b"own.a", b"own.b", b"own.c")] == [False, False, True]


def test_nobody_hears_questions() -> None:
    """No rule lets anybody subscribe to where questions are asked."""
    assert not _guarded(Access(patterns([b"own-get.>"]))).permits(SUBSCRIBE, b"own-get.a")
    assert not _guarded(Access(patterns([b"own-get.>"]))).permits(SUBSCRIBE, b"own-get.>", literal=False)


def test_what_is_barred_stays_so() -> None:
    """Where nobody may subscribe, the right to read is no way in; where nobody may publish, nobody asks."""
    grants = Grants({READ: Access(patterns([b"things.>"])), PUBLISH: EVERYTHING, SUBSCRIBE: EVERYTHING})
    guarded = OWN.guard(grants.without({SUBSCRIBE, PUBLISH}))
    assert not guarded.permits(SUBSCRIBE, b"own.a")
    assert not guarded.permits(PUBLISH, b"own-get.a")
    assert guarded.permits(READ, b"things.a")


def test_without_bars_what_all_the_others_allow() -> None:
    """An action that is allowed because all are is barred, too."""
    assert not ALL.without({SUBSCRIBE}).permits(SUBSCRIBE, b"a")
    assert not ALL.without({"other"}).permits("other", b"a")
    assert ALL.without({SUBSCRIBE}).permits("other", b"a")


@pytest.mark.parametrize(
    ("rule", "pattern", "reaches"),
    [
        (Rule(b"a.b", literal=True), b"a.*", True),
        (Rule(b"a.b", literal=True), b"a.c", False),
        (Rule(b"a.b", begins=True), b"a.*", True),
        (Rule(b"a.b", begins=True), b"c.*", False),
        (Rule(b"a.>"), b"*.b", True),
    ],
)
def test_what_a_rule_reaches(rule: Rule, pattern: bytes, reaches: bool) -> None:
    """Whether there may be something that a pattern matches and a rule means."""
    assert rule.reaches(pattern) is reaches
