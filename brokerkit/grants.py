"""Who may do what: for each action, which names are allowed and which are denied.

An action is a word; ``publish`` and ``subscribe`` are everyone's, a protocol may bring more.  A rule is a pattern, or
a literal name (hpfeeds' channel lists are literal: an entry ``*`` there is a channel called ``*``).  Denial wins, and
reaches further: in a denial a wildcard stands for an empty token, too, so that ``a..b`` is no way around ``a.>``.
The rule ``>`` stands for every name there is, also for those that a wildcard in a subscription cannot reach.

A subscription to a pattern has to be covered by one allowed rule.  Where it is wider than a denial it is accepted, and
what is denied is left out when the router matches (``Subscription.filter``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import attrs

from brokerkit import topics

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

PUBLISH = "publish"
SUBSCRIBE = "subscribe"


class Rule(NamedTuple):
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

    def denies(self, name: bytes, *, literal: bool) -> bool:
        """Say whether a denial of this rule is one of ``name``; no odd spelling of a literal name leads around it."""
        return self.allows(name, literal=literal) or (literal and not self.literal and topics.fits(self.name, name))


@attrs.frozen
class Access:
    """The two lists of one action."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()

    def permits(self, name: bytes, *, literal: bool = True) -> bool:
        """Say whether the action may be done with ``name`` (a literal name, or a pattern)."""
        literal = literal or not topics.has_wildcard(name)
        if any(rule.denies(name, literal=literal) for rule in self.deny):
            return False
        return any(rule.allows(name, literal=literal) for rule in self.allow)

    def ruling(self, name: bytes, *, literal: bool = True) -> tuple[bool, Rule | None]:
        """Give what ``permits`` gives, and the rule that decided; no rule where none allows."""
        literal = literal or not topics.has_wildcard(name)
        for rule in self.deny:
            if rule.denies(name, literal=literal):
                return False, rule
        for rule in self.allow:
            if rule.allows(name, literal=literal):
                return True, rule
        return False, None

    def left_out(self, pattern: bytes) -> tuple[Rule, ...]:
        """Give the denials that reach into ``pattern``."""
        return tuple(
            rule
            for rule in self.deny
            if (topics.matches(pattern, rule.name) if rule.literal else topics.overlaps(rule.name, pattern))
        )


NOTHING = Access()
EVERYTHING = Access(allow=(Rule(topics.REST),))


@attrs.frozen
class Grants:
    """All that one user may do: an ``Access`` for each action; an action that is not there is not allowed."""

    actions: Mapping[str, Access] = attrs.field(factory=dict)

    def permits(self, action: str, name: bytes, *, literal: bool = True) -> bool:
        """Say whether ``action`` may be done with ``name`` (a literal name, or a pattern)."""
        return self.actions.get(action, NOTHING).permits(name, literal=literal)

    def without(self, actions: Collection[str]) -> Grants:
        """Give the same without some actions."""
        if self.actions.keys().isdisjoint(actions):
            return self
        return Grants({action: access for action, access in self.actions.items() if action not in actions})

    def denies_part(self, pattern: bytes) -> bool:
        """Say whether a subscription to ``pattern`` has to be filtered at each match: some denial reaches into it."""
        return bool(self.actions.get(SUBSCRIBE, NOTHING).left_out(pattern))


ALL = Grants({PUBLISH: EVERYTHING, SUBSCRIBE: EVERYTHING})


def literal(names: Iterable[bytes]) -> tuple[Rule, ...]:
    """Make rules of literal names, as hpfeeds' channel lists have them."""
    return tuple(Rule(name, literal=True) for name in names)


def patterns(names: Iterable[bytes]) -> tuple[Rule, ...]:
    """Make rules of patterns."""
    return tuple(Rule(name) for name in names)
