"""Which topics are kept: the rules of the configuration, held against a name.

The first rule that names a topic counts.  Answers to requests (``_INBOX.``) and topics that begin with ``$`` belong to
NATS' clients and servers: they are kept only where a pattern spells that token out, not because ``>`` reaches them.
With a listener's prefix they stand behind it, so any token is looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from brokerkit import topics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.keep import Keep

_APART = re.compile(rb"(?:^|\.)(?:_INBOX\.|\$)")


def is_apart(name: bytes) -> bool:
    """Say whether a topic, or a pattern, is one of those that are kept only if they are named."""
    return _APART.search(name + b".") is not None


class Place(NamedTuple):
    """One pattern of a rule: what is subscribed to.  ``number`` says how many come before it."""

    rule: Keep
    pattern: bytes
    number: int

    def names(self, topic: bytes) -> bool:
        """Say whether this is about a topic."""
        return topics.matches(self.pattern, topic) and (is_apart(self.pattern) or not is_apart(topic))


class Rules:
    """The rules in their order."""

    def __init__(self, rules: Iterable[Keep] = ()) -> None:
        """Take the rules."""
        self.all = tuple(rules)
        pairs = [(rule, pattern) for rule in self.all for pattern in rule.patterns]
        self.places = tuple(Place(rule, pattern, number) for number, (rule, pattern) in enumerate(pairs))

    def place(self, tenant: str, topic: bytes) -> Place | None:
        """Give the first place that is about a topic of a tenant; ``None`` if it is not kept."""
        for place in self.places:
            if place.rule.tenant == tenant and place.names(topic):
                return place
        return None

    def find(self, tenant: str, topic: bytes) -> Keep | None:
        """Give the rule for a topic of a tenant; ``None`` if it is not kept."""
        place = self.place(tenant, topic)
        return place.rule if place is not None else None
