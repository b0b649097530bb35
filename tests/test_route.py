"""What a topic leads to, arranged for delivery."""

from __future__ import annotations

from typing import Any

from brokerkit.grants import SUBSCRIBE, Access, Grants, literal, patterns
from brokerkit.route import Route
from brokerkit.run import Origin
from brokerkit.subscription import Subscription


class Text:
    """A framing whose heads are topic and tag, and which cannot spell a bang."""

    frame = staticmethod(bytes.join)

    def head(self, topic: bytes, tag: bytes) -> bytes | None:
        """Give topic and tag."""
        return None if b"!" in topic else topic + b" " + tag

    def pieces(self, batch: Any) -> list[bytes]:  # noqa: ARG002  a framing's method
        """Give nothing; no test here delivers."""
        return []


class Broken(Text):
    """A framing with a bug."""

    def head(self, topic: bytes, tag: bytes) -> bytes | None:
        """Fail."""
        raise RuntimeError(topic, tag)


TEXT = Text()


def _wish(framing: Any = TEXT, tag: bytes = b"1", **more: Any) -> Subscription:
    return Subscription(b"a", literal=True, framing=framing, tag=tag, **more)


def test_same_head_same_bytes() -> None:
    """Subscribers of one framing are grouped by head, in their order."""
    one, two, three = _wish(), _wish(tag=b"2"), _wish()
    route = Route(b"a", [one, two, three], 0)
    assert route.plain == ((TEXT, ((b"a 1", (one, three)), (b"a 2", (two,)))),)
    assert not route.groups
    assert not route.leads_nowhere


def test_framings_are_apart() -> None:
    """Two framings never share frames, even with equal heads."""
    other = Text()
    route = Route(b"a", [_wish(), _wish(other)], 0)
    assert [framing for framing, _ in route.plain] == [TEXT, other]


def test_functions_are_others() -> None:
    """A subscriber without a framing is called, not written to."""
    wish = Subscription(b"a", literal=True, receive=print)
    assert Route(b"a", [wish], 0).others == (wish,)


def test_what_cannot_be_spelled_is_left_out_and_counted() -> None:
    """A framing that has no head for the topic takes no part."""
    route = Route(b"!", [_wish(), _wish(queue=b"q")], 0)
    assert route.leads_nowhere
    assert route.unspellable == 2


def test_a_broken_framing_costs_no_other() -> None:
    """A framing that fails is treated like one that cannot spell the topic."""
    wish = _wish()
    route = Route(b"a", [_wish(Broken()), wish], 0)
    assert route.plain == ((TEXT, ((b"a 1", (wish,)),)),)
    assert route.unspellable == 1


def test_groups_by_name() -> None:
    """Members of one queue are one group, whatever their patterns; another name is another group."""
    one = Subscription(b"a", literal=True, framing=TEXT, queue=b"q")
    two = Subscription(b"*", literal=False, receive=print, queue=b"q")
    three = Subscription(b">", literal=False, receive=print, queue=b"r")
    route = Route(b"a", [one, two, three], 0)
    assert route.groups == ((((one, b"a ", None), (two, b"", None)),), (((three, b"", None),),))


def test_groups_are_sorted_by_distance() -> None:
    """The members here stand before those on leaves, and those before the mesh."""
    order = (Origin.GATEWAY, Origin.LEAF, Origin.CLIENT, Origin.ROUTE)
    members = [_wish(queue=b"q", origin=origin) for origin in order]
    (tiers,) = Route(b"a", members, 0).groups
    origins = [[member[0].origin for member in tier] for tier in tiers]
    assert origins == [[Origin.CLIENT], [Origin.LEAF], [Origin.GATEWAY, Origin.ROUTE]]


def test_a_filter_is_asked() -> None:
    """A topic that a denial reaches is not delivered to a wider subscription."""
    grants = Grants({SUBSCRIBE: Access(patterns([b">"]), literal([b"a"]))})
    wish = Subscription(b"*", literal=False, receive=print, filter=grants)
    assert Route(b"a", [wish], 0).leads_nowhere
    assert not Route(b"b", [wish], 0).leads_nowhere


def test_a_subscription_that_will_end_is_a_group_of_one() -> None:
    """Where messages have to be counted, delivery goes message by message, for that subscription alone."""
    wish, other = _wish(), _wish()
    wish.left = 1
    route = Route(b"a", [wish, other], 0)
    assert route.groups == ((((wish, b"a 1", None),),),)
    assert route.plain == ((TEXT, ((b"a 1", (other,)),)),)
