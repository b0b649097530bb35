"""Who may do what: for each action, which names are allowed and which are denied.

An action is a word; ``publish`` and ``subscribe`` are everyone's, a protocol may bring more.  A rule is a pattern, or
a literal name (hpfeeds' channel lists are literal: an entry ``*`` there is a channel called ``*``).  Denial wins.
The rule ``>`` stands for every name there is, also for those that a wildcard in a subscription cannot reach.

A subscription to a pattern has to be covered by one allowed rule.  Where it is wider than a denial it is accepted, and
what is denied is left out when the router matches (``Subscription.filter``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit import topics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PUBLISH = "publish"
SUBSCRIBE = "subscribe"


@attrs.frozen
class Rule:
    """One entry of a list: a pattern, or a literal name."""

    name: bytes
    literal: bool = False

    def allows(self, name: bytes, *, literal: bool) -> bool:
        """Say whether all that ``name`` stands for is within this rule."""
        if self.literal:
            return literal and name == self.name
        if self.name == topics.REST:
            return True
        if literal:
            return topics.matches(self.name, name)
        return topics.covers(self.name, name)


@attrs.frozen
class Access:
    """The two lists of one action."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()

    def permits(self, name: bytes, *, literal: bool = True) -> bool:
        """Say whether the action may be done with ``name`` (a literal name, or a pattern)."""
        literal = literal or not topics.has_wildcard(name)
        if any(rule.allows(name, literal=literal) for rule in self.deny):
            return False
        return any(rule.allows(name, literal=literal) for rule in self.allow)


NOTHING = Access()
EVERYTHING = Access(allow=(Rule(topics.REST),))


@attrs.frozen
class Grants:
    """All that one user may do: an ``Access`` for each action; an action that is not there is not allowed."""

    actions: Mapping[str, Access] = attrs.field(factory=dict)

    def permits(self, action: str, name: bytes, *, literal: bool = True) -> bool:
        """Say whether ``action`` may be done with ``name`` (a literal name, or a pattern)."""
        return self.actions.get(action, NOTHING).permits(name, literal=literal)

    def denies_part(self, pattern: bytes) -> bool:
        """Say whether a subscription to ``pattern`` has to be filtered at each match: some denial reaches into it."""
        denied = self.actions.get(SUBSCRIBE, NOTHING).deny
        return any(
            topics.matches(pattern, rule.name) if rule.literal else topics.overlaps(rule.name, pattern)
            for rule in denied
        )


ALL = Grants({PUBLISH: EVERYTHING, SUBSCRIBE: EVERYTHING})


def literal(names: Iterable[bytes]) -> tuple[Rule, ...]:
    """Make rules of literal names, as hpfeeds' channel lists have them."""
    return tuple(Rule(name, literal=True) for name in names)


def patterns(names: Iterable[bytes]) -> tuple[Rule, ...]:
    """Make rules of patterns."""
    return tuple(Rule(name) for name in names)
