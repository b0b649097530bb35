"""Who may do what in the registry: each name is a topic, and the grants of the one who asks decide.

People write rights as names: ``web-1`` for one entry, ``web-*`` for all whose names begin so, ``*`` for all there are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from brokerkit.grants import Rule
from brokerkit.registry.naming import PREFIX, name_of, topic
from brokerkit.topics import REST, beneath, under

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.client import Client

READ, WRITE = "registry.read", "registry.write"
ACTIONS = {READ: "Read an entry of the registry.", WRITE: "Write an entry of the registry."}

ANY = "*"


def may(client: Client, action: str, name: str) -> bool:
    """Say whether a client may do that with an entry."""
    return client.grants.permits(action, _topic(name))


def rules(names: Iterable[str]) -> tuple[Rule, ...]:
    """Make rules of names, and of beginnings of names, which end in ``*``."""
    return tuple(_rule(name) for name in names)


def _rule(name: str) -> Rule:
    if name == ANY:
        return Rule(under(PREFIX, REST))
    if name.endswith(ANY):
        return Rule(topic(name.removesuffix(ANY)), begins=True)
    return Rule(topic(name), literal=True)


def written(rule: Rule) -> str | None:
    """Undo ``rules`` for one: give the name as people write it; ``None`` for a rule that cannot be written so."""
    token = beneath(PREFIX, rule.name)
    if rule.name in {REST, under(PREFIX, REST)} or (token == b"" and rule.begins):
        return ANY
    if token is None or not (rule.literal or rule.begins):
        return None
    try:
        return name_of(token) + ANY * rule.begins
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _topic(name: str) -> bytes:
    return topic(name)
