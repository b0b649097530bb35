"""What a dot, a star and an arrow mean."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given

from brokerkit import topics
from tests.strategies import odd_names, odd_patterns, patterns


def regex_matches(pattern: bytes, topic: bytes) -> bool:
    """Match by a regular expression, as an independent reading of the rules."""
    if b"" in topic.split(b"."):
        return pattern == topic
    tokens = pattern.split(b".")
    words = [rb"[^.]+" if token == b"*" else re.escape(token) for token in tokens]
    if tokens[-1] == b">":
        words[-1] = b".+"
    return re.fullmatch(rb"\.".join(words), topic, re.DOTALL) is not None


@given(pattern=odd_patterns, topic=odd_names)
def test_matches_as_a_regex_does(pattern: bytes, topic: bytes) -> None:
    """A star is one token that is not empty, a last arrow is one or more, all else is literal."""
    assert topics.matches(pattern, topic) is regex_matches(pattern, topic)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        (b"a.>", b"a", False),
        (b"a.>", b"a.b.c", True),
        (b">", b"a", True),
        (b">", b"", False),
        (b">", b"a..b", False),
        (b"a..b", b"a..b", True),
        (b"*", b"*", True),
        (b"a", b"*", False),
        (b"a.*", b"a.>", True),
        (b"a.*.c", b"a.b.c", True),
        (b"a.*.c", b"a.b.c.d", False),
        (b"a*", b"ab", False),
    ],
)
def test_matches(pattern: bytes, topic: bytes, *, expected: bool) -> None:
    """The cases that people get wrong."""
    assert topics.matches(pattern, topic) is expected


def _few_patterns() -> list[bytes]:
    bodies = [list(tokens) for n in range(4) for tokens in product((b"a", b"b", b"*"), repeat=n)]
    return [b".".join(t) for t in bodies if t] + [b".".join([*t, b">"]) for t in bodies if len(t) < 3]


def _few_topics() -> list[bytes]:
    """Give all topics that can tell few patterns apart: x is a token that none of them names."""
    return [b".".join(tokens) for n in range(1, 5) for tokens in product((b"a", b"b", b"x"), repeat=n)]


STANDS_FOR = {p: frozenset(t for t in _few_topics() if topics.matches(p, t)) for p in _few_patterns()}


def test_covers_is_inclusion() -> None:
    """One pattern covers another exactly if it stands for all that the other stands for."""
    for wide, narrow in product(STANDS_FOR, repeat=2):
        assert topics.covers(wide, narrow) is (STANDS_FOR[wide] >= STANDS_FOR[narrow]), (wide, narrow)


def test_overlaps_is_intersection() -> None:
    """Two patterns overlap exactly if some topic is meant by both."""
    for one, other in product(STANDS_FOR, repeat=2):
        assert topics.overlaps(one, other) is bool(STANDS_FOR[one] & STANDS_FOR[other]), (one, other)


@given(pattern=patterns)
def test_patterns_are_patterns(pattern: bytes) -> None:
    """A pattern has no empty token and an arrow at most at its end; it covers and overlaps itself."""
    assert topics.is_pattern(pattern)
    assert topics.covers(pattern, pattern)
    assert topics.overlaps(pattern, pattern)
    assert topics.covers(b">", pattern)


@given(name=odd_names)
def test_the_words_about_tokens(name: bytes) -> None:
    """The quick answers are those that splitting gives."""
    tokens = name.split(b".")
    assert topics.has_empty_token(name) is (b"" in tokens)
    assert topics.has_wildcard(name) is (b"*" in tokens or b">" in tokens)
    assert topics.is_pattern(name) is (b"" not in tokens and b">" not in tokens[:-1])


@given(prefix=odd_names, name=odd_names)
def test_prefix_there_and_back(prefix: bytes, name: bytes) -> None:
    """What is put under a prefix is found beneath it again, unchanged."""
    assert topics.beneath(prefix, topics.under(prefix, name)) == name


def test_nothing_else_is_beneath_a_prefix() -> None:
    """A prefix is whole tokens: a topic that merely begins alike lies outside."""
    assert topics.beneath(b"p", b"pa.x") is None
    assert topics.beneath(b"p", b"p") is None
    assert topics.beneath(b"p.q", b"p.x") is None
    assert topics.beneath(b"", b"p.x") == b"p.x"
