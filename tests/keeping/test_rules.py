"""Which rule names a topic, and which topics none names by accident."""

from __future__ import annotations

import pytest

from brokerkit.keep import Keep
from brokerkit.keeping.rules import Rules, is_apart


def _found(topic: bytes, *rules: Keep, tenant: str = "") -> str | None:
    rule = Rules(rules).find(tenant, topic)
    return rule.stream if rule is not None else None


def test_the_first_counts() -> None:
    """Where two rules name a topic, it is the first one's."""
    ssh, all_ = Keep(topics=("honeypot.ssh.*",), stream="ssh"), Keep(topics=("honeypot.>", "x"), stream="all")
    assert _found(b"honeypot.ssh.login", ssh, all_) == "ssh"
    assert _found(b"honeypot.ssh.login", all_, ssh) == "all"
    assert _found(b"honeypot.ssh", ssh, all_) == "all"
    assert _found(b"x", ssh, all_) == "all"
    assert _found(b"y", ssh, all_) is None


def test_tenants() -> None:
    """A rule is about one tenant."""
    rule = Keep(topics=("a",), stream="s", tenant="blue")
    assert _found(b"a", rule) is None
    assert _found(b"a", rule, tenant="blue") == "s"


@pytest.mark.parametrize("topic", [b"_INBOX.x.1", b"$SYS.REQ", b"$JS", b"site._INBOX.x", b"site.$SYS.y"])
def test_answers_and_the_like(topic: bytes) -> None:
    """Answers and what begins with a dollar are kept if they are named, and not because all is."""
    assert is_apart(topic)
    assert _found(topic, Keep(topics=(">",), stream="all")) is None
    first = topic.decode().partition(".")[0]
    others = ("site._INBOX.>", "site.$SYS.>", f"{first}.>", first)
    assert _found(topic, Keep(topics=others, stream="named")) == "named"


def test_what_only_looks_like_them() -> None:
    """A dollar within a token, or a topic that is called like an inbox without being one, is a topic like others."""
    rule = Keep(topics=(">",), stream="all")
    for topic in (b"a$b", b"a.b$", b"_INBOXES.x", b"x_INBOX.y"):
        assert _found(topic, rule) == "all"
