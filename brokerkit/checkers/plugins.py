"""The sources of users that can be named with ``--auth``, and how a name is taken.

Every ``twistd --help`` loads this file, so a source, and what reads its argument, is imported when it is asked for.  A
text that names no source is refused: hpfeeds-broker took any such text for an SQLite file of its own.
"""

from __future__ import annotations

from difflib import get_close_matches
from textwrap import fill
from typing import TYPE_CHECKING, Any

from twisted.plugin import IPlugin
from twisted.python.reflect import namedAny
from zope.interface import implementer

from brokerkit.checkers.kastlex_actions import ACTIONS
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.interfaces import ICheckerPlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

WHERE = "configuration"
INDENT = " " * 6


@implementer(IPlugin, ICheckerPlugin)
class SourcePlugin:
    """One kind of source.

    ``make`` is the dotted name of a function that takes the argument, the usage (for errors) and the reactor, and gives
    the checker.  ``spelled`` knows other spellings than ``KIND:ARGUMENT``.  ``actions`` are those that the source
    grants beside publish and subscribe, each with a line of help.
    """

    def __init__(
        self,
        kind: str,
        usage: str,
        description: str,
        make: str,
        *,
        spelled: Callable[[str], bool] | None = None,
        actions: Mapping[str, str] | None = None,
    ) -> None:
        """Take the names; nothing is imported yet."""
        self.kind = kind
        self.usage = usage
        self.description = description
        self.actions = dict(actions or {})
        self._make = make
        self._spelled = spelled

    def recognises(self, text: str) -> bool:
        """Say whether ``text`` is another spelling."""
        return self._spelled is not None and self._spelled(text)

    def checker(self, argument: str, reactor: Any) -> Any:  # noqa: ANN401  a reactor, a checker
        """Give the checker; raise ``OperatorError`` if the argument cannot be used."""
        return namedAny(self._make)(argument, self.usage, reactor)


def _is_json_file(text: str) -> bool:
    return text.partition(":prefix=")[0].endswith(".json") and "://" not in text


anonymous = SourcePlugin(
    "anonymous",
    "anonymous[:publish=PATTERN,...][:subscribe=PATTERN,...]",
    "Everybody, with any secret or none; the last one to be asked. With patterns, everybody may do what these allow; "
    "with none, everything.",
    "brokerkit.checkers.named.anonymous",
)
callout = SourcePlugin(
    "callout",
    "callout:ISSUER?users=NAME,...[&account=TENANT]",
    "Whoever logs in by NATS, if somebody who listens on $SYS.REQ.USER.AUTH in that tenant says so, in JWTs of that "
    "issuer (A...). The named users are looked up in the other sources instead: those who answer must be among them.",
    "brokerkit.checkers.named.callout",
)
database = SourcePlugin(
    "database",
    "database+URL[:prefix=TOPIC]",
    "The table auth_keys of a database as hpfeeds has it: postgresql://NAME:PASSWORD@HOST/DATABASE, mysql://... or "
    "sqlite:///PATH. Needs brokerkit[sql].",
    "brokerkit.checkers.named.database",
    spelled=lambda text: text.startswith("database+"),
)
env = SourcePlugin(
    "env",
    "env",
    "HPFEEDS_<NAME>_SECRET, _PUBCHANS and _SUBCHANS in the environment, looked at for each login.",
    "brokerkit.checkers.named.env",
)
json = SourcePlugin(
    "json",
    "json:PATH[:prefix=TOPIC]",
    "A users.json as hpfeeds has it, read again when it changes; a PATH that ends in .json can stand alone. With a "
    "prefix, all names in it lie under that topic.",
    "brokerkit.checkers.named.json",
    spelled=_is_json_file,
)
jwt = SourcePlugin(
    "jwt",
    "jwt:OPERATOR_JWT?resolver=DIRECTORY[&system_account=KEY][&pinned=KEY,...]",
    "Whoever shows a JWT of NATS: the file is the operator's, the directory holds those of its accounts (<KEY>.jwt), "
    "which become tenants. The directory is looked at again every second or so.",
    "brokerkit.checkers.named.jwt",
)
kastlex = SourcePlugin(
    "kastlex",
    "kastlex:PASSWD_YML[:PERMISSIONS_YML]",
    "The two files of KastleX, read again when they change: bcrypt hashes, and what each user may do. produce allows "
    "publishing in every protocol, fetch subscribing. Needs brokerkit[yaml].",
    "brokerkit.checkers.named.kastlex",
    actions=ACTIONS,
)
mongodb = SourcePlugin(
    "mongodb",
    "mongodb://[USER:PASSWORD@]HOST[/DATABASE][?OPTIONS][:prefix=TOPIC]",
    "The collection auth_key of a MongoDB database as hpfeeds has it (hpfeeds if none is named); mongodb+srv:// and "
    "several hosts work, too. An option that cannot be carried out is refused. Needs brokerkit[mongo].",
    "brokerkit.checkers.named.mongodb",
    spelled=lambda text: text.startswith("mongo") and "://" in text,
)
sqlite = SourcePlugin(
    "sqlite",
    "sqlite[:PATH][:prefix=TOPIC]",
    "The table authkeys of an SQLite file as hpfeeds has it, sqlite.db if no PATH is given; made if it is not there. "
    "Rows count as soon as they are written.",
    "brokerkit.checkers.named.sqlite",
)
users = SourcePlugin(
    "users",
    "users[:PATH]",
    "brokerkit's own users, which `brokerkit user` adds, shows and changes; in users.sqlite in the data directory if "
    "no PATH is given. Changes count within a second.",
    "brokerkit.checkers.named.users",
)


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
