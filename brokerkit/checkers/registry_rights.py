"""Rights to the registry as sources of users write them down: two lists of names of entries, beside those of topics.

Most users have none, and no use for what reading them imports.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from brokerkit.grants import Access, Rule

READ, WRITE = "registry_read", "registry_write"
FIELDS = (READ, WRITE)
EXPECTED = "a name such as web-1, web-* for all that begin so, or * for all"


def is_rule(text: str) -> bool:
    """Say whether a text is a name, or the beginning of names with ``*`` behind it."""
    return bool(text) and "*" not in text[:-1]


@lru_cache(1024)  # so that users with the same lists, of whom many are connected, share them
def rights(read: tuple[str, ...], write: tuple[str, ...]) -> dict[str, Access]:
    """Give the actions that the two lists allow; none for empty ones.  The answer is shared: nobody changes it."""
    if not read and not write:
        return {}
    from brokerkit.grants import Access
    from brokerkit.registry.access import ACTIONS, rules

    return {action: Access(rules(names)) for action, names in zip(ACTIONS, (read, write), strict=True) if names}


def field(action: str) -> str:
    """Give the list that an action stands in; empty for one that is not about the registry."""
    found = action.replace(".", "_")
    return found if found in FIELDS else ""


def entry(rule: Rule) -> str:
    """Give a rule as it stands in its list."""
    from brokerkit.registry.access import written

    return written(rule) or ""
