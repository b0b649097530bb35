"""The sources of users that can be named with ``--auth``, and how a name is taken.

Every ``twistd --help`` loads this file, so each source is imported when it is asked for.  A text that names no source
is refused: hpfeeds-broker took any such text for an SQLite file of its own.
"""

from __future__ import annotations

from difflib import get_close_matches
from textwrap import fill
from typing import TYPE_CHECKING, Any

from twisted.plugin import IPlugin
from zope.interface import implementer

from brokerkit.errors import ConfigError, OperatorError
from brokerkit.interfaces import ICheckerPlugin

if TYPE_CHECKING:
    from collections.abc import Iterable

WHERE = "configuration"
PREFIX = ":prefix="
INDENT = " " * 6


@implementer(IPlugin, ICheckerPlugin)
class EnvPlugin:
    """Names ``env``."""

    kind = "env"
    usage = "env"
    description = "HPFEEDS_<NAME>_SECRET, _PUBCHANS and _SUBCHANS in the environment, looked at for each login."

    def recognises(self, text: str) -> bool:  # noqa: ARG002
        """There is no other spelling."""
        return False

    def checker(self, argument: str, reactor: Any) -> Any:  # noqa: ANN401, ARG002
        """Give the checker."""
        from brokerkit.checkers.env import EnvUsers

        _no_argument(self, argument)
        return EnvUsers()


@implementer(IPlugin, ICheckerPlugin)
class AnonymousPlugin:
    """Names ``anonymous``."""

    kind = "anonymous"
    usage = "anonymous"
    description = "Everybody, with any secret or none, and with all rights; the last one to be asked."

    def recognises(self, text: str) -> bool:  # noqa: ARG002
        """There is no other spelling."""
        return False

    def checker(self, argument: str, reactor: Any) -> Any:  # noqa: ANN401, ARG002
        """Give the checker."""
        from brokerkit.checkers.anonymous import Anyone

        _no_argument(self, argument)
        return Anyone()


@implementer(IPlugin, ICheckerPlugin)
class JsonPlugin:
    """Names ``json``, and any path that ends in .json."""

    kind = "json"
    usage = "json:PATH[:prefix=TOPIC]"
    description = (
        "A users.json as hpfeeds has it, read again when it changes; a PATH that ends in .json can stand alone. "
        "With a prefix, all names in it lie under that topic."
    )

    def recognises(self, text: str) -> bool:
        """Take the path of a JSON file, which is how hpfeeds-broker is told."""
        return _split(text)[0].endswith(".json") and "://" not in text

    def checker(self, argument: str, reactor: Any) -> Any:  # noqa: ANN401  a reactor, a checker
        """Give the checker, a service."""
        from brokerkit import topics
        from brokerkit.checkers.json_file import JsonUsers

        path, prefix = _split(argument)
        if not path:
            raise ConfigError(WHERE, "auth", argument, self.usage)
        name = prefix.encode(errors="surrogateescape")
        if name and (topics.has_empty_token(name) or topics.has_wildcard(name)):
            raise ConfigError(WHERE, "auth", prefix, "a topic as the prefix, such as honeypot")
        return JsonUsers(path, reactor, name)


def _split(text: str) -> tuple[str, str]:
    path, _, prefix = text.partition(PREFIX)
    return path, prefix


def _no_argument(plugin: EnvPlugin | AnonymousPlugin, argument: str) -> None:
    if argument:
        raise ConfigError(WHERE, "auth", f"{plugin.kind}:...", f"{plugin.kind} alone")


anonymous = AnonymousPlugin()
env = EnvPlugin()
json = JsonPlugin()


def find(text: str, plugins: Iterable[Any], reactor: Any, where: str = WHERE) -> Any:  # noqa: ANN401  plugins, a checker
    """Give the checker that ``text`` names; raise ``ConfigError``, with ``where`` it stands, if it names none."""
    kinds = _by_kind(plugins)
    kind, _, argument = text.partition(":")
    if kind in kinds:
        return kinds[kind].checker(argument, reactor)
    for plugin in kinds.values():
        if plugin.recognises(text):
            return plugin.checker(text, reactor)
    nearest = get_close_matches(kind.lower(), kinds, n=1)
    hint = f"did you mean {kinds[nearest[0]].usage}?" if nearest else ""
    # Only what stands before the colon is repeated: behind it may be a password, as in mongodb://name:password@host.
    raise ConfigError(where, "auth", kind, f"one of {', '.join(p.usage for p in kinds.values())}", hint)


def describe(plugins: Iterable[Any]) -> str:
    """Give the text that ``--help-auth`` shows, without a newline at its end."""
    lines = ["Sources of users for --auth; if there are several, they are asked in order:"]
    for plugin in _by_kind(plugins).values():
        lines += [
            "",
            f"  {plugin.usage}",
            fill(plugin.description, 79, initial_indent=INDENT, subsequent_indent=INDENT),
        ]
    return "\n".join(lines)


def _by_kind(plugins: Iterable[Any]) -> dict[str, Any]:
    kinds: dict[str, Any] = {}
    for plugin in plugins:
        if kinds.setdefault(plugin.kind, plugin) is not plugin:
            text = f"two plugins for sources of users are called {plugin.kind!r}: {kinds[plugin.kind]!r} and {plugin!r}"
            raise OperatorError(text)
    return dict(sorted(kinds.items()))
