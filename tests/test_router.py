"""The router remembers, and what it remembers is always what a fresh look would find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from brokerkit import router as module
from brokerkit import topics
from brokerkit.deliver import deliver
from brokerkit.grants import ALL, PUBLISH, Access, Grants, literal
from brokerkit.interest import Interest
from brokerkit.router import Gate, Router
from brokerkit.run import Message, Origin, Spoken
from brokerkit.subscription import Subscription
from tests.strategies import names, odd_names, patterns

if TYPE_CHECKING:
    import pytest

    from brokerkit.route import Route
    from brokerkit.run import Batch

ROUTES, GATE_ROUTES, SEEN_ONCE = 4, 4, 6


def _small(patch: pytest.MonkeyPatch) -> None:
    """Make the caches so small that every test fills them."""
    patch.setattr(module, "ROUTES", ROUTES)
    patch.setattr(module, "GATE_ROUTES", GATE_ROUTES)
    patch.setattr(module, "SEEN_ONCE", SEEN_ONCE)


def _gate(router: Router, grants: Grants = ALL) -> Gate:
    return Gate(router, grants, lambda _: True)


def _say(gate: Gate, *said: bytes) -> None:
    deliver(Spoken([Message(topic, b"") for topic in said]), gate)


def _ignore(batch: Batch) -> None:
    """Receive."""


def _wish(pattern: bytes, *, literal: bool = False, **more: Any) -> Subscription:
    return Subscription(pattern, literal=literal, receive=_ignore, **more)


def _members(route: Route) -> list[Subscription]:
    return [*route.others, *(s for tiers in route.groups for tier in tiers for s, *_ in tier)]


def _groups(members: list[Subscription]) -> int:
    counted = sum(m.left >= 0 for m in members if not m.queue)
    return counted + len({m.queue for m in members if m.queue})


def _content(route: Route) -> tuple[Any, ...]:
    return route.plain, route.groups, route.others, route.generation, route.unspellable


class RouterMachine(RuleBasedStateMachine):
    """Subscribe, unsubscribe and publish in any order, with caches that overflow."""

    wishes = Bundle("wishes")

    def __init__(self) -> None:
        """Begin with a router, two gates and a watcher."""
        super().__init__()
        self.router = Router()
        self.gates = [_gate(self.router), _gate(self.router)]
        self.there: list[Subscription] = []
        self.got: list[Subscription] = []
        self.known: set[Interest] = set()
        self.seen: dict[int, tuple[Route, tuple[Any, ...]]] = {}
        self.router.watch(self._watch)

    def _watch(self, interest: Interest, appears: bool) -> None:
        assert appears is (interest not in self.known)
        (self.known.add if appears else self.known.remove)(interest)

    @rule(
        target=wishes,
        pattern=patterns | odd_names,
        literal=st.booleans(),
        queue=st.sampled_from([b"", b"", b"q"]),
        origin=st.sampled_from([Origin.CLIENT, Origin.LEAF]),
    )
    def subscribe(self, pattern: bytes, *, literal: bool, queue: bytes, origin: Origin) -> Subscription:
        """Add a subscription; odd names are literal, as every session sees to."""
        literal = literal or not topics.is_pattern(pattern)
        wish = _wish(pattern, literal=literal, queue=queue, origin=origin)
        wish.receive = lambda _: self.got.append(wish)
        self.router.add(wish)
        self.there.append(wish)
        return wish

    @rule(wish=consumes(wishes), again=st.booleans())
    def unsubscribe(self, wish: Subscription, *, again: bool) -> None:
        """Remove one; a second time does nothing."""
        self.router.remove(wish)
        if again:
            self.router.remove(wish)
        self.there.remove(wish)

    @rule(wish=wishes)
    def will_end(self, wish: Subscription) -> None:
        """Set a number of messages that is never reached: what was simple is so no more."""
        wish.left = 1_000_000
        self.router.changed(wish)

    def _expected(self, topic: bytes) -> set[Subscription]:
        return {w for w in self.there if (w.pattern == topic if w.literal else topics.matches(w.pattern, topic))}

    @rule(topic=names | odd_names, which=st.integers(0, 1), times=st.integers(1, 3))
    def publish(self, topic: bytes, which: int, times: int) -> None:
        """Reach exactly those who subscribed, by whatever cache it goes."""
        for _ in range(times):
            self.got.clear()
            _say(self.gates[which], topic)
            expected = self._expected(topic)
            plain = {w for w in expected if not w.queue}
            grouped = [w for w in self.got if w.queue]
            assert {w for w in self.got if not w.queue} == plain
            assert len(self.got) == len(plain) + len(grouped)
            assert len(grouped) == bool(expected - plain)
            assert set(grouped) <= expected

    @invariant()
    def current_routes_are_right(self) -> None:
        """Compare each route that would be used, in the router and the gates, with what a fresh look finds."""
        for cache in (self.router._routes, *(gate.routes for gate in self.gates)):
            for topic, route in cache.items():
                self.seen.setdefault(id(route), (route, _content(route)))
                if not route.stale and route.generation == self.router.generation:
                    members = _members(route)
                    assert set(members) == self._expected(topic)
                    assert len(members) == len(set(members))
                    assert len(route.groups) == _groups(members)

    @invariant()
    def routes_never_change(self) -> None:
        """See that routes are replaced, never changed in place."""
        for route, content in self.seen.values():
            assert _content(route) == content

    @invariant()
    def caches_are_bounded(self) -> None:
        """No cache grows over its bound."""
        assert len(self.router._routes) <= ROUTES
        assert len(self.router._once) <= SEEN_ONCE
        assert all(len(gate.routes) <= GATE_ROUTES for gate in self.gates)

    @invariant()
    def gates_know_only_what_is_kept(self) -> None:
        """See that a gate's current route is the router's own, which a literal subscription can mark stale."""
        for gate in self.gates:
            for topic, route in gate.routes.items():
                if not route.stale and route.generation == self.router.generation:
                    assert self.router._routes[topic] is route

    @invariant()
    def interest_is_what_is_there(self) -> None:
        """See that the watcher has been told of each interest that there is, once."""
        assert self.known == {Interest(w.pattern, w.literal, w.queue, w.origin) for w in self.there}
        assert self.router.subscriptions == len(self.there)
        heard: list[Interest] = []
        self.router.watch(lambda interest, _: heard.append(interest))()
        assert set(heard) == self.known
        assert len(heard) == len(self.known)


def test_router(monkeypatch: pytest.MonkeyPatch) -> None:
    """In any sequence of subscribe, unsubscribe and publish the caches tell the truth, within their bounds."""
    _small(monkeypatch)
    run_state_machine_as_test(RouterMachine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))


@given(pattern=patterns, name=odd_names)
def test_literal_or_pattern_is_said_not_guessed(pattern: bytes, name: bytes) -> None:
    """A literal subscription to what looks like a pattern receives that name only."""
    router = Router()
    wish = _wish(pattern, literal=True)
    router.add(wish)
    assert router.match(pattern) == [wish]
    assert (router.match(name) == [wish]) is (name == pattern)


def test_a_topic_is_remembered_when_it_is_seen_twice() -> None:
    """What is asked for once leaves no route behind, in no cache; from the second time on it is one and the same."""
    router = Router()
    gate = _gate(router)
    _say(gate, b"once")
    assert not router._routes
    assert not gate.routes
    _say(gate, b"once")
    assert router.route(b"once") is gate.routes[b"once"]


def test_passing_topics_do_not_wash_out_the_others() -> None:
    """However many reply topics are used once, what is used often stays."""
    router = Router()
    gate = _gate(router)
    _say(gate, b"often", b"x", b"often")
    kept = router.route(b"often")
    for i in range(10_000):
        _say(gate, b"_INBOX.%d" % i)
    assert router.route(b"often") is kept
    assert list(gate.routes) == [b"often"]


def test_a_literal_subscription_makes_one_route_stale() -> None:
    """Only the routes of its own topic are thrown away, at the moment when it comes and when it goes."""
    router = Router()
    gate = _gate(router)
    _say(gate, b"a", b"b", b"a", b"b")
    a, b = gate.routes[b"a"], gate.routes[b"b"]
    wish = _wish(b"a")
    router.add(wish)
    assert (a.stale, b.stale) == (True, False)
    assert not a.others
    _say(gate, b"b", b"a", b"b", b"a")
    assert gate.routes[b"b"] is b
    with_wish = gate.routes[b"a"]
    assert with_wish.others == (wish,)
    router.remove(wish)
    assert with_wish.stale


def test_a_pattern_makes_all_routes_old() -> None:
    """A wildcard may reach anything, so that every route is looked up again; what was known is kept at once."""
    router = Router()
    gate = _gate(router)
    _say(gate, b"a", b"b", b"a", b"b")
    old = dict(gate.routes)
    router.add(_wish(b"*"))
    _say(gate, b"a", b"b")
    assert all(gate.routes[topic] is not route for topic, route in old.items())
    assert all(route.stale for route in old.values())


def test_renewing_a_route_drops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full cache stays full when its routes are replaced one by one."""
    _small(monkeypatch)
    router = Router()
    gate = _gate(router)
    topics_ = [b"%d" % i for i in range(ROUTES)]
    _say(gate, *topics_, *topics_)
    router.add(_wish(b"*"))
    _say(gate, *reversed(topics_))
    assert set(router._routes) == set(gate.routes) == set(topics_)


def test_an_evicted_route_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that still has a route which the router forgot does not go on using it."""
    _small(monkeypatch)
    router = Router()
    _say(gate := _gate(router), b"first", b"x", b"first")
    first = gate.routes[b"first"]
    other = _gate(router)
    names_ = [b"%d" % i for i in range(ROUTES)]
    _say(other, *names_, *names_)
    assert first.stale
    assert b"first" not in router._routes


def test_what_may_not_be_published_is_never_remembered() -> None:
    """A refused topic costs no entry in any cache, so nobody can wash them out with it."""
    router = Router()
    gate = _gate(router, Grants({PUBLISH: Access(literal([b"mine"]))}))
    for _ in range(3):
        assert gate.miss(b"yours") is None
        assert gate.miss(b"mine") is not None
    assert list(gate.routes) == [b"mine"]
    assert list(router._routes) == [b"mine"]
    assert not router._once


def test_interest_of_equal_subscriptions_is_told_once() -> None:
    """The second subscriber to a pattern is no news; the last one's leaving is."""
    router = Router()
    news: list[tuple[bytes, bool]] = []
    router.watch(lambda interest, appears: news.append((interest.pattern, appears)))
    one, two = _wish(b"a.*"), _wish(b"a.*")
    router.add(one)
    router.add(two)
    router.remove(one)
    router.remove(one)
    assert news == [(b"a.*", True)]
    router.remove(two)
    assert news == [(b"a.*", True), (b"a.*", False)]


def test_a_late_watcher_hears_what_is_there_and_an_ended_one_nothing() -> None:
    """Watching begins with all that is wanted already, and ends at once."""
    router = Router()
    router.add(_wish(b"a"))
    news: list[tuple[bytes, bool]] = []
    end = router.watch(lambda interest, appears: news.append((interest.pattern, appears)))
    end()
    router.add(_wish(b"b"))
    assert news == [(b"a", True)]


def test_a_watcher_may_end_itself() -> None:
    """Ending while being told does not keep the others from being told."""
    router = Router()
    told: list[int] = []
    ends = []

    def first(_: Interest, __: bool) -> None:
        told.append(1)
        ends[0]()

    ends.append(router.watch(first))
    router.watch(lambda _, __: told.append(2))
    router.add(_wish(b"a"))
    router.add(_wish(b"b"))
    assert told == [1, 2, 2]
