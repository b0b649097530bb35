"""Mappings: what is made of a topic, and what cannot be written.  That it is as in nats-server: tests/servers."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit import topics
from brokerkit.mapping import BadMapping, Mapper, Transform, fnv1a, placed, transforms
from brokerkit.tenant import Destination, Import, Mapping

TOKEN = st.text("abcäöü-_0123456789", min_size=1, max_size=8).map(str.encode)


def mapping(pattern: bytes, *destinations: tuple[bytes, int]) -> Mapping:
    """Give a mapping to these destinations with these weights."""
    return Mapping(pattern, tuple(Destination(to, weight) for to, weight in destinations))


def test_hash() -> None:
    """The hash of partitions is FNV-1a; the values are those of its authors."""
    assert fnv1a(b"") == 0x811C9DC5
    assert fnv1a(b"a") == 0xE40C292C
    assert fnv1a(b"foobar") == 0xBF9CF968


@given(st.lists(TOKEN, min_size=2, max_size=2), st.lists(TOKEN, min_size=1, max_size=4))
def test_wildcards_stand_for_their_tokens(two: list[bytes], rest: list[bytes]) -> None:
    """What a star stood for is where its number is, and what the rest stood for is at the end."""
    made = Transform(b"a.*.*.>", b"b.$2.{{wildcard(1)}}.>")(b".".join([b"a", *two, *rest]))
    assert made == b".".join([b"b", two[1], two[0], *rest])


@given(TOKEN, st.integers(0, 10))
def test_cutting_loses_nothing(token: bytes, size: int) -> None:
    """Functions that cut a token into pieces keep all of it, and no piece is empty."""
    for name in (b"splitFromLeft", b"splitFromRight", b"sliceFromLeft", b"sliceFromRight"):
        made = Transform(b"*", b"{{%b(1,%d)}}" % (name, size))(token)
        assert made.replace(b".", b"") == token
        assert not topics.has_empty_token(made)


@given(TOKEN, st.integers(1, 50))
def test_a_partition_is_always_the_same(token: bytes, buckets: int) -> None:
    """The number of a partition lies below their count, and depends on the tokens alone."""
    transform = Transform(b"a.*", b"{{partition(%d,1)}}" % buckets)
    assert transform.fixed
    assert 0 <= int(transform(b"a." + token)) < buckets
    assert transform(b"a." + token) == transform(b"a." + token)


def test_a_random_part_is_not_always_the_same() -> None:
    """A destination with a number by chance is none that can be remembered."""
    transform = Transform(b"a", b"b.{{random(3)}}")
    assert not transform.fixed
    assert {transform(b"a") for _ in range(200)} == {b"b.0", b"b.1", b"b.2"}


@pytest.mark.parametrize(
    ("pattern", "to", "expected"),
    [
        (b"a.*", b"b.*", "a topic without empty tokens"),
        (b"a..b", b"c", "a pattern such as"),
        (b"a.*", b"b..$1", "a topic without empty tokens"),
        (b"a.*", b"", "a topic without empty tokens"),
        (b"a.*", b"b.$2", "which has 1"),
        (b"a.*", b"b.$0", "which has 1"),
        (b"a", b"b.$1", "which has 0"),
        (b"a.*", b"b.{{wildcard(x)}}", "whole numbers"),
        (b"a.*", b"b.{{wildcard(1,2)}}", "a function such as"),
        (b"a.*", b"b.{{nothing(1)}}", "a function such as"),
        (b"a.*", b"b.{{}}x{{}}", "a function such as"),
        (b"a.*", b"b.{{partition(-1,1)}}", "whole numbers"),
        (b"a.*", b"b.{{partition()}}", "whole numbers"),
        (b"a.*", b"b.{{partition(99999999999,1)}}", "whole numbers"),
        (b"a.*", b"b.{{left(1)}}", "a function such as"),
        (b"a.*", b"b.{{split(1,a b)}}", "no blank"),
        (b"a.>", b"b", "a > at the end"),
        (b"a", b"b.>", "a > at the end"),
        (b"a", b"b c", "no blank"),
    ],
)
def test_what_cannot_be_meant(pattern: bytes, to: bytes, expected: str) -> None:
    """What is written wrongly is refused, with what was expected."""
    with pytest.raises(BadMapping, match=expected):
        Transform(pattern, to)


def test_what_looks_like_a_function_and_is_none() -> None:
    """Tokens with a dollar or a brace in them are names like any other."""
    assert Transform(b"a.*", b"$SYS.{{.$x.$1")(b"a.b") == b"$SYS.{{.$x.b"


def test_weights() -> None:
    """Messages go by the shares; what is missing to the hundred keeps its topic."""
    mapper = Mapper(mapping(b"a.*", (b"b.$1", 20), (b"c.$1", 30), (b"never.$1", 0)))
    assert not mapper.fixed
    assert mapper.shares(b"a.x") == [(20, b"b.x"), (30, b"c.x"), (50, b"a.x")]
    found = Counter(mapper(b"a.x") for _ in range(4000))
    assert set(found) == {b"a.x", b"b.x", b"c.x"}
    assert 600 < found[b"b.x"] < 1000
    assert 1000 < found[b"c.x"] < 1400


def test_a_weight_of_nothing() -> None:
    """A destination of weight 0 gets nothing; where it is the topic itself, the rest is lost."""
    assert Mapper(mapping(b"a", (b"b", 0)))(b"a") == b"a"
    lost = Mapper(mapping(b"a", (b"a", 0)))
    assert lost(b"a") is None
    assert lost.fixed
    assert Mapper(mapping(b"a", (b"b", 40), (b"a", 0))).shares(b"a") == [(40, b"b"), (60, None)]


@pytest.mark.parametrize(
    ("destinations", "expected"),
    [(((b"b", 60), (b"c", 41)), "at most 100"), (((b"b", 101),), "at most 100"), (((b"b", 1), (b"b", 2)), "once")],
)
def test_weights_that_cannot_be(destinations: tuple[tuple[bytes, int], ...], expected: str) -> None:
    """Shares beyond the whole, and one destination twice, are refused."""
    with pytest.raises(BadMapping, match=expected):
        transforms(mapping(b"a", *destinations))


def test_a_topic_that_falls_apart_goes_nowhere() -> None:
    """Where a split leaves nothing of a token, the message has no topic."""
    assert Mapper(mapping(b"a.*", (b"b.{{split(1,-)}}", 100)))(b"a.-") is None


def test_patterns_meet() -> None:
    """Two patterns have in common what a pattern can say."""
    meetings = {
        (b"a.>", b"*.b.>"): b"a.b.>",
        (b"a.*", b"*.b"): b"a.b",
        (b">", b"a.*"): b"a.*",
        (b"a.>", b"a"): None,
        (b"a.*", b"a.b.c"): None,
        (b"a", b"b"): None,
        (b"a.*.>", b"a.>"): b"a.*.>",
    }
    for (one, other), common in meetings.items():
        assert topics.meet(one, other) == topics.meet(other, one) == common


@given(st.lists(TOKEN, min_size=2, max_size=2), st.lists(TOKEN, min_size=1, max_size=3))
def test_an_import_can_be_undone(two: list[bytes], rest: list[bytes]) -> None:
    """What a topic is called here leads back to it."""
    topic = b".".join([b"a", *two, *rest])
    for to in (b"q.$2.x.$1.>", b"*.*.>", b"{{wildcard(2)}}.$1.>"):
        place = placed(Import("stream", "A", b"a.*.*.>", to=to))
        assert place.here is not None
        assert place.there is not None
        assert topics.matches(place.local, place.here(topic))
        assert place.there(place.here(topic)) == topic
    prefixed = placed(Import("stream", "A", b"a.>", prefix=b"p.q."))
    assert (prefixed.local, prefixed.here and prefixed.here(topic)) == (b"p.q.a.>", b"p.q." + topic)
    assert prefixed.there
    assert prefixed.there(b"p.q." + topic) == topic


@pytest.mark.parametrize("to", [b"q.$1", b"q.{{partition(3,1)}}.$2", b"q.$1.$1"])
def test_an_import_that_cannot_be_undone(to: bytes) -> None:
    """A name here has to say which topic there it stands for."""
    with pytest.raises(BadMapping):
        placed(Import("stream", "A", b"a.*.*", to=to))
