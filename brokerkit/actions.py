"""The words for what a user may do: publish and subscribe, and those that plugins bring.

A protocol plugin, or one for a source of users, can have an attribute ``actions``: a mapping of action to one line of
help.  Two plugins may bring the same action if they mean the same by it.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from brokerkit.errors import ConfigError, OperatorError
from brokerkit.grants import PUBLISH, SUBSCRIBE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REGISTRY = ("registry.read", "registry.write")  # these are about names of entries, not about topics
EVERYWHERE = {PUBLISH: "Publish to a topic.", SUBSCRIBE: "Receive what is published to a topic."}


def actions(plugins: Iterable[Any]) -> dict[str, str]:
    """Give each action with its line of help; raise ``OperatorError`` if two plugins differ about one."""
    found = dict(EVERYWHERE)
    for plugin in plugins:
        for action, text in getattr(plugin, "actions", {}).items():
            if found.setdefault(action, text) != text:
                name = getattr(plugin, "name", None) or getattr(plugin, "kind", plugin)
                raise OperatorError(f"the action {action!r} of the plugin {name!r} is another one's already")
    return found


def check_action(action: str, known: Mapping[str, str], where: str, key: str) -> None:
    """Raise ``ConfigError``, with the nearest word, for an action that nobody knows."""
    if action not in known:
        nearest = get_close_matches(action.lower(), known, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else ""
        raise ConfigError(where, key, action, f"one of {', '.join(known)}", hint)
