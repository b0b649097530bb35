"""Rights as NATS has them, made into grants: what is not said is allowed, and a list of what is allowed ends that.

The lists come from configuration files of nats-server and from JWTs; brokerkit's own users are written down the other
way round (what is not allowed is denied), in ``brokerkit.checkers.entry``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, Responses, Rule
from brokerkit.topics import is_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

USUAL_MOST = 1  # answers to one request
USUAL_SECONDS = 120.0  # to answer within


@attrs.frozen
class Lists:
    """What may be published or subscribed to: ``allow`` is ``None`` where everything is that is not denied.

    An entry is a subject; for subscriptions a queue may stand behind it, with blanks between.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()

    @property
    def says_nothing(self) -> bool:
        """Whether it is as if it were not there; a list of what is allowed with nothing in it allows nothing."""
        return self.allow is None and not self.deny


EVERYTHING = Lists()


def grants(publish: Lists = EVERYTHING, subscribe: Lists = EVERYTHING, responses: Responses | None = None) -> Grants:
    """Give the grants of one user.

    A right to answer takes the right to publish whatever one likes, if nothing is said of publishing: who may answer
    is to do no more than that.  Raises ``ValueError`` with the entry that is no subject.
    """
    if responses is not None and publish.allow is None:
        publish = attrs.evolve(publish, allow=())
    access = {PUBLISH: _access(publish, queues=False), SUBSCRIBE: _access(subscribe, queues=True)}
    return Grants(access, responses=responses)


def responses(most: int, seconds: float) -> Responses:
    """Give the right to answer, by NATS' numbers: 0 stands for what is usual, less for no bound."""
    return Responses(max(most or USUAL_MOST, 0), max(seconds or USUAL_SECONDS, 0.0))


def _access(lists: Lists, *, queues: bool) -> Access:
    allow = ALL.actions[PUBLISH].allow if lists.allow is None else _rules(lists.allow, queues=queues)
    return Access(allow, _rules(lists.deny, queues=queues))


def _rules(entries: Iterable[str], *, queues: bool) -> tuple[Rule, ...]:
    return tuple(_rule(entry, queues=queues) for entry in entries)


def _rule(entry: str, *, queues: bool) -> Rule:
    words = entry.encode().split()
    if len(words) not in ({1, 2} if queues else {1}) or not is_pattern(words[0]):
        raise ValueError(entry)
    return Rule(words[0], queue=words[1] if len(words) > 1 else b"")
