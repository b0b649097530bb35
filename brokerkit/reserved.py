"""Topics that the broker keeps for itself: nobody else publishes there, and no grant reaches them by accident.

A program that embeds the broker, or a part of it, tells of something that has rights of its own, such as the entries of
the registry.  Who may do a certain action with a thing may hear of it; so may who has a rule for ``subscribe`` that
begins as those topics do.  A rule such as ``>`` does not, nor does any that begins with a wildcard: it was written
before these topics were there, and means the messages of others.

A subscription to more than may be heard is accepted, and what may not be heard is left out when the router matches.
Questions about the same things are asked under ``asking``: who may hear of a thing may ask for it, and only the broker
hears the questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit import topics
from brokerkit.grants import NOTHING, PUBLISH, SUBSCRIBE, Access, Grants

if TYPE_CHECKING:
    from brokerkit.grants import Rule, Ruling


@attrs.frozen
class Reserved:
    """A part of the topic space that is the broker's own.

    What is told of ``space.X``, with which one may do ``action`` or not, is published to ``prefix.X``, and asked for at
    ``asking.X``.
    """

    prefix: bytes
    asking: bytes
    action: str
    space: bytes

    def holds(self, name: bytes) -> bool:
        """Say whether a topic, or all that a pattern stands for, lies there."""
        return topics.beneath(self.prefix, name) is not None

    def is_question(self, name: bytes) -> bool:
        """Say whether a topic, or all that a pattern stands for, lies where questions are asked."""
        return topics.beneath(self.asking, name) is not None

    def concerns(self, action: str, name: bytes) -> bool:
        """Say whether it matters to that action that this is reserved: for the name, or all that it stands for."""
        return action in {PUBLISH, SUBSCRIBE} and (self.holds(name) or self.is_question(name))

    def may_be_granted(self, action: str, name: bytes) -> bool:
        """Say whether that, which concerns this, can be allowed to anybody: to hear, or to ask."""
        return self.holds(name) if action == SUBSCRIBE else self.is_question(name)

    def reaches(self, pattern: bytes) -> bool:
        """Say whether a pattern stands for something there."""
        return any(topics.overlaps(place + b"." + topics.REST, pattern) for place in (self.prefix, self.asking))

    def thing(self, name: bytes) -> bytes:
        """Give what a topic there is about, as the rules for the action have it."""
        rest = topics.beneath(self.prefix, name)
        return topics.under(self.space, rest if rest is not None else topics.beneath(self.asking, name) or b"")

    def guard(self, grants: Grants) -> Grants:
        """Give the grants as they are where this is reserved."""
        return Guarded(grants.actions, grants.others, grants.responses, reserved=self)


@attrs.frozen(kw_only=True)
class Guarded(Grants):
    """What somebody may do where a part of the topics is reserved."""

    reserved: Reserved

    def permits(self, action: str, name: bytes, *, literal: bool = True, queue: bytes = b"") -> bool:
        """Say whether ``action`` may be done with ``name`` (a literal name, or a pattern), as a member of a queue."""
        return self.ruling(action, name, literal=literal, queue=queue)[0]

    def ruling(self, action: str, name: bytes, *, literal: bool = True, queue: bytes = b"") -> Ruling:
        """Give what ``permits`` gives, with the rule that decided and the action that it is one of."""
        reserved = self.reserved
        literal = literal or not topics.has_wildcard(name)
        if action == PUBLISH and reserved.is_question(name):
            ruling = super().ruling(action, name, literal=literal)
            return ruling if ruling[1] is not None else self._by_action(name, literal=literal)
        if action == PUBLISH and reserved.holds(name):
            return False, None, action
        if action == SUBSCRIBE and reserved.holds(name):
            return self._hears(name, literal=literal, queue=queue)
        if action == SUBSCRIBE and reserved.is_question(name):
            return False, None, action
        return super().ruling(action, name, literal=literal, queue=queue)

    def free_but_for(self, action: str) -> tuple[bytes, ...] | None:
        """Give how the names begin about which ``permits`` has to be asked; ``None`` if it has to be about all."""
        return (self.reserved.prefix, self.reserved.asking) if super().free_but_for(action) == () else None

    def denies_part(self, pattern: bytes, queue: bytes = b"") -> bool:
        """Say whether a subscription to ``pattern`` has to be filtered at each match."""
        return self.reserved.reaches(pattern) or super().denies_part(pattern, queue)

    def denies(self, action: str, name: bytes, *, queue: bytes = b"") -> bool:
        """Say whether the literal ``name`` is left out of a wider subscription: by a denial, or as the broker's own."""
        if action == SUBSCRIBE and self.reserved.concerns(action, name):
            return not self.permits(action, name, queue=queue)
        return super().denies(action, name, queue=queue)

    def _hears(self, name: bytes, *, literal: bool, queue: bytes) -> Ruling:
        """Decide by the rules for ``subscribe`` that mean these topics, and by those for the action; denial wins."""
        own = self.access(SUBSCRIBE)
        meant = Access(tuple(rule for rule in own.allow if self._means(rule, self.reserved.prefix)), own.deny)
        by_own = meant.ruling(name, literal=literal, queue=queue)
        by_action = self._by_action(name, literal=literal)
        for ruling in ((*by_own, SUBSCRIBE), by_action):
            if not ruling[0] and ruling[1] is not None:
                return ruling
        return (*by_own, SUBSCRIBE) if by_own[0] else by_action

    def _by_action(self, name: bytes, *, literal: bool) -> Ruling:
        """Decide by the rules for the action; a pattern is allowed if it has some of what is."""
        reserved = self.reserved
        said = self.actions.get(reserved.action, NOTHING)
        means = Access(tuple(rule for rule in said.allow if self._means(rule, reserved.space)), said.deny)
        thing = reserved.thing(name)
        allowed, rule = means.ruling(thing, literal=literal)
        if not allowed and rule is None and not literal:
            rule = next((one for one in means.allow if one.reaches(thing)), None)
            allowed = rule is not None
        return allowed, rule, reserved.action

    @staticmethod
    def _means(rule: Rule, prefix: bytes) -> bool:
        return topics.beneath(prefix, rule.name) is not None
