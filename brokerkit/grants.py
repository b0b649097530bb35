"""Who may do what: for each action, which names are allowed and which are denied.

An action is a word; ``publish`` and ``subscribe`` are everyone's, a protocol may bring more.  A rule is a pattern, or
a literal name (hpfeeds' channel lists are literal: an entry ``*`` there is a channel called ``*``).  Denial wins, and
reaches further: in a denial a wildcard stands for an empty token, too, so that ``a..b`` is no way around ``a.>``.
The rule ``>`` stands for every name there is, also for those that a wildcard in a subscription cannot reach.

A subscription to a pattern has to be covered by one allowed rule.  Where it is wider than a denial it is accepted, and
what is denied is left out when the router matches (``Subscription.filter``).

A rule may be about members of queues alone: then it names the queue, perhaps by a pattern.  Where such a rule allows a
name, the queue has to be one of those that are named for it.
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
    """One entry of a list: a pattern, a literal name, or what literal names begin with.

    With a ``queue`` it is for the members of such queues alone.
    """

    name: bytes
    literal: bool = False
    queue: bytes = b""
    begins: bool = False

    @property
    def text(self) -> bytes:
        """The rule as it is written in a list."""
        return b"%b %b" % (self.name, self.queue) if self.queue else self.name

    def allows(self, name: bytes, *, literal: bool) -> bool:
        """Say whether all that ``name`` stands for is within this rule."""
        if self.begins:
            return literal and name.startswith(self.name)
        if self.literal:
            return literal and name == self.name
        if self.name == topics.REST:
            return True
        if literal:
            return topics.matches(self.name, name)
        return topics.covers(self.name, name)

    def denies(self, name: bytes, *, literal: bool) -> bool:
        """Say whether a denial of this rule is one of ``name``; no odd spelling of a literal name leads around it."""
        plain = not (self.literal or self.begins)
        return self.allows(name, literal=literal) or (literal and plain and topics.fits(self.name, name))

    def reaches(self, pattern: bytes) -> bool:
        """Say whether something is within this rule that ``pattern`` stands for; of beginnings, whether it may be."""
        if self.literal:
            return topics.matches(pattern, self.name)
        if self.begins:
            before, dot, _ = self.name.rpartition(b".")
            return topics.overlaps(before + dot + topics.REST, pattern)
        return topics.overlaps(self.name, pattern)

    def is_about(self, queue: bytes) -> bool:
        """Say whether the rule, which has a queue, is about that one; as a name it stands for itself, too."""
        return bool(queue) and (queue == self.queue or topics.covers(self.queue, queue))


@attrs.frozen
class Access:
    """The two lists of one action."""

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()
    free: bool = attrs.field(init=False, repr=False, eq=False)
    """Whether everything is allowed: the commonest case, and no ruling is needed in it."""

    @free.default
    def _is_free(self) -> bool:
        return Rule(topics.REST) in self.allow and not (self.deny or self._names_queues)

    def permits(self, name: bytes, *, literal: bool = True, queue: bytes = b"") -> bool:
        """Say whether the action may be done with ``name`` (a literal name, or a pattern), as a member of a queue."""
        return self.free or self.ruling(name, literal=literal, queue=queue)[0]

    def ruling(self, name: bytes, *, literal: bool = True, queue: bytes = b"") -> tuple[bool, Rule | None]:
        """Give what ``permits`` gives, and the rule that decided; no rule where none allows."""
        literal = literal or not topics.has_wildcard(name)
        for rule in self.deny:
            if (not rule.queue or rule.is_about(queue)) and rule.denies(name, literal=literal):
                return False, rule
        plain: Rule | None = None
        named = False
        for rule in self.allow:
            if rule.queue:
                if queue and rule.allows(name, literal=literal):
                    if rule.is_about(queue):
                        return True, rule
                    named = True
            elif plain is None and rule.allows(name, literal=literal):
                if not (queue and self._names_queues):
                    return True, rule
                plain = rule
        return (False, None) if named else (plain is not None, plain)

    @property
    def _names_queues(self) -> bool:
        return any(rule.queue for rule in self.allow)

    def left_out(self, pattern: bytes, queue: bytes = b"") -> tuple[Rule, ...]:
        """Give the denials that reach into ``pattern``, for a member of a queue."""
        return tuple(rule for rule in self.deny if (not rule.queue or rule.is_about(queue)) and rule.reaches(pattern))


Ruling = tuple[bool, Rule | None, str]
"""Whether something is allowed, by which rule if one decided, and of which action that is."""

NOTHING = Access()
EVERYTHING = Access(allow=(Rule(topics.REST),))
BARRED = Access(deny=(Rule(topics.REST),))  # not even by what else allows it


@attrs.frozen
class Responses:
    """A right to answer: to publish where a request that was received wants its answer.

    ``most`` answers to each request, within so many ``seconds`` of it; 0 stands for no bound.
    """

    most: int = 1
    seconds: float = 120.0


@attrs.frozen
class Grants:
    """All that one user may do: an ``Access`` for each action, and one for all that are not there: nothing, usually.

    ``responses`` is the right to answer requests, beside what may be published anyway; only protocols that have
    requests make use of it.
    """

    actions: Mapping[str, Access] = attrs.field(factory=dict)
    others: Access = NOTHING
    responses: Responses | None = None

    def access(self, action: str) -> Access:
        """Give the lists of an action."""
        return self.actions.get(action, self.others)

    def permits(self, action: str, name: bytes, *, literal: bool = True, queue: bytes = b"") -> bool:
        """Say whether ``action`` may be done with ``name`` (a literal name, or a pattern), as a member of a queue."""
        access = self.actions.get(action, self.others)
        return access.free or access.permits(name, literal=literal, queue=queue)

    def free_but_for(self, action: str) -> tuple[bytes, ...] | None:
        """Give how the names begin about which ``permits`` has to be asked; ``None`` if it has to be about all."""
        return () if self.access(action).free else None

    def ruling(self, action: str, name: bytes, *, literal: bool = True, queue: bytes = b"") -> Ruling:
        """Give what ``permits`` gives, with the rule that decided and the action that it is one of."""
        return (*self.access(action).ruling(name, literal=literal, queue=queue), action)

    def denies(self, action: str, name: bytes, *, queue: bytes = b"") -> bool:
        """Say whether a denial is about the literal ``name``: what is in a wider subscription and left out of it."""
        deny = self.access(action).deny
        return any((not r.queue or r.is_about(queue)) and r.denies(name, literal=True) for r in deny)

    def without(self, actions: Collection[str]) -> Grants:
        """Give the same with some actions barred, whatever is allowed."""
        if not actions:
            return self
        barred = {**self.actions, **dict.fromkeys(actions, BARRED)}
        return Grants(barred, self.others, None if PUBLISH in actions else self.responses)

    def denies_part(self, pattern: bytes, queue: bytes = b"") -> bool:
        """Say whether a subscription to ``pattern`` has to be filtered at each match: some denial reaches into it."""
        access = self.access(SUBSCRIBE)
        return bool(access.deny and access.left_out(pattern, queue))


ALL = Grants({PUBLISH: EVERYTHING, SUBSCRIBE: EVERYTHING}, EVERYTHING)


def literal(names: Iterable[bytes]) -> tuple[Rule, ...]:
    """Make rules of literal names, as hpfeeds' channel lists have them."""
    return tuple(Rule(name, literal=True) for name in names)


def patterns(names: Iterable[bytes]) -> tuple[Rule, ...]:
    """Make rules of patterns."""
    return tuple(Rule(name) for name in names)
