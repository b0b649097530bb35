"""Names of the registry as tokens: each has one of its own, which is one token in every protocol, and leads back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit import topics
from brokerkit.grants import Rule
from brokerkit.registry.access import rules, written
from brokerkit.registry.naming import name_of, token, topic

NAMES = st.text(min_size=1) | st.text("a.*> =\t\n%", min_size=1)


@given(NAMES)
def test_there_and_back(name: str) -> None:
    """The token of a name is one token without blanks or wildcards, and gives the name again."""
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: no entry has such a name
        assert topics.is_pattern(topic(name))
        return
    text = token(name)
    assert name_of(text) == name
    assert b"." not in text
    assert not any(blank in text for blank in b" \t\r\n")
    assert not topics.has_wildcard(topic(name))


@given(NAMES, NAMES)
def test_beginnings_stay_beginnings(name: str, beginning: str) -> None:
    """A name begins with another one exactly if its token begins with the other's."""
    encoded = [text.encode(errors="surrogatepass") for text in (name, beginning)]
    assert token(name).startswith(token(beginning)) == encoded[0].startswith(encoded[1])
    assert token(beginning + name).startswith(token(beginning)) or not _is_text(beginning + name)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@given(st.binary(max_size=12) | st.text("ab=2EF0.", max_size=8).map(str.encode))
def test_only_tokens_are_tokens(text: bytes) -> None:
    """Whatever is taken for a token is the token of the name that it gives: no name has two."""
    try:
        name = name_of(text)
    except ValueError:
        return
    assert token(name) == text


@pytest.mark.parametrize(
    ("name", "text"), [("web-1", b"web-1"), ("a.b", b"a=2Eb"), ("*", b"=2A"), ("a=b", b"a=3Db"), ("é", b"=C3=A9")]
)
def test_how_they_look(name: str, text: bytes) -> None:
    """Letters, digits and a few signs are themselves, every other byte is written in two digits."""
    assert token(name) == text


@pytest.mark.parametrize("name", ["web", "web-*", "*", "a.b", "a.b*", "é*", ">"])
def test_rights_as_people_write_them(name: str) -> None:
    """A right to a name, to all that begin so and to all is shown as it was written."""
    [rule] = rules([name])
    assert written(rule) == name


@pytest.mark.parametrize(
    ("right", "name", "is_allowed"),
    [
        ("web", "web", True),
        ("web", "web-1", False),
        ("web-*", "web-1", True),
        ("web-*", "web-", True),
        ("web-*", "web", False),
        ("a.*", "a.b.c", True),
        ("a.*", "ab", False),
        ("*", "a.b.c", True),
        (">", "a", False),
        (">", ">", True),
    ],
)
def test_what_a_right_is_good_for(right: str, name: str, is_allowed: bool) -> None:
    """A right is for one name, for all that begin so, or for all."""
    [rule] = rules([right])
    assert rule.allows(topic(name), literal=True) is is_allowed


def test_a_rule_of_another_kind_cannot_be_written_so() -> None:
    """A pattern that is not about names is not shown as one."""
    assert written(Rule(b"other.x")) is None
    assert written(Rule(b"registry.=zz", literal=True)) is None
