"""Names as each protocol writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from zope.interface.verify import verifyObject

from brokerkit import topics
from brokerkit.config import Listen
from brokerkit.errors import OperatorError
from brokerkit.interfaces import INotation
from brokerkit.notation import Name, Notations, shown
from brokerkit.plugin import StreamProtocol, protocols
from tests import strategies

NAMING = [plugin for plugin in protocols().values() if INotation.providedBy(plugin)]
PLAIN = Notations(protocols())
POT = Notations(protocols(), [Listen("hpfeeds", "", "pot"), Listen("nats", ""), Listen("hpfeeds", "", "pot")])


@pytest.mark.parametrize(
    ("text", "topic", "literal"),
    [
        ("dionaea", b"dionaea", True),
        ("honeypot.>", b"honeypot.>", False),
        (">.x", b">.x", True),
        ("a..b", b"a..b", True),
        ("a..*", b"a..*", True),
        ("hpfeeds:dionaea", b"pot.dionaea", True),
        ("hpfeeds:>", b"pot.>", True),
        ("hpfeeds:a:b", b"pot.a:b", True),
        ("hpfeeds:\u00e4 b", "pot.\u00e4 b".encode(), True),
        ("nats:a.b", b"a.b", True),
        ("nats:a.*.>", b"a.*.>", False),
        ("kafka:logs", b"logs", True),
        ("kafka:logs/12", b"logs", True),
        ("http:x", b"http:x", True),
    ],
)
def test_reading(text: str, topic: bytes, literal: bool) -> None:
    """A word that is no protocol's is a part of the topic; a prefix belongs to its listeners only."""
    assert POT.read(text) == Name(topic, literal, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("hpfeeds:", "behind the colon"),
        ("hpfeeds:" + "x" * 256, "at most 255 bytes"),
        ("nats:a b", "no blank"),
        ("nats:a..b", "no empty token"),
        ("nats:>.a", "only at its end"),
        ("kafka:logs/x", "TOPIC/PARTITION"),
        ("kafka:/3", "TOPIC/PARTITION"),
        ("kafka:logs/3/4", "TOPIC/PARTITION"),
    ],
)
def test_what_is_no_name(text: str, words: str) -> None:
    """What a protocol cannot say is an error that repeats the name and says why."""
    with pytest.raises(OperatorError, match=words) as caught:
        PLAIN.read(text)
    assert text[:20] in str(caught.value)


def test_several_prefixes() -> None:
    """Where listeners of one protocol differ, the name could mean several topics, which are offered."""
    notations = Notations(protocols(), [Listen("hpfeeds", "", "one"), Listen("hpfeeds", "", "two")])
    with pytest.raises(OperatorError, match=r"one\.x or two\.x"):
        notations.read("hpfeeds:x")
    assert notations.spell(Name(b"two.x", literal=True))["hpfeeds"] == "x"


@pytest.mark.parametrize(
    ("name", "hpfeeds", "nats", "kafka"),
    [
        (Name(b"pot.a", literal=True), "a", "pot.a", "pot.a"),
        (Name(b"a", literal=True), None, "a", "a"),
        (Name(b"pot.>", literal=False), None, "pot.>", None),
        (Name(b"pot.>", literal=True), ">", None, None),
        (Name(b"pot.a b", literal=True), "a b", None, None),
        (Name(b"pot..", literal=True), ".", None, "pot.."),
    ],
)
def test_back(name: Name, hpfeeds: str | None, nats: str | None, kafka: str | None) -> None:
    """A topic is given in each protocol's words, if it has them."""
    assert POT.spell(name) == {"bpbroker": None, "hpfeeds": hpfeeds, "kafka": kafka, "nats": nats}


def test_names_of_the_registry() -> None:
    """An entry's name is the topic that its changes are published to, in one token."""
    name = PLAIN.read("bpbroker:a.b")
    assert (name.topic, name.literal) == (b"registry.a=2Eb", True)
    assert PLAIN.spell(Name(b"registry.a=2Eb", literal=True))["bpbroker"] == "a.b"
    assert PLAIN.spell(Name(b"registry.a=2eb", literal=True))["bpbroker"] is None


@given(topic=strategies.odd_names)
def test_there_and_back(topic: bytes) -> None:
    """Whatever a protocol calls a name, it is read as that name again."""
    for literal in (True, not topics.is_pattern(topic) or not topics.has_wildcard(topic)):
        for plugin in NAMING:
            spelled = plugin.spelling(topic, b"", literal)
            if spelled is not None:
                assert plugin.notation(spelled, b"")[0] == topic
                assert plugin.notation(spelled, b"")[1] or not literal


def test_the_plugins_offer_it() -> None:
    """Every stream protocol can say how it writes names; without a word of its own, as topics are."""
    plain = StreamProtocol("plain", "nowhere.Session")
    for plugin in (plain, *NAMING):
        verifyObject(INotation, plugin)
    assert plain.notation(b"a.*", b"pot") == (b"pot.a.*", False)
    assert plain.notation(b"a..*", b"") == (b"a..*", True)
    assert plain.spelling(b"pot.a.*", b"pot", literal=False) == b"a.*"
    assert Notations({"plain": plain}).read("plain:x").topic == b"x"


def test_showing() -> None:
    """What would disturb a terminal is escaped."""
    assert shown("\u00e4".encode() + b"\xff\x1b[2J\n") == "\u00e4\\xff\\x1b[2J\\n"
