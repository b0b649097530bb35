"""From what stands behind a source's name to the source: one function for each kind.

They are called when a source is wanted, and import it then: some need packages that not everybody has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit import topics
from brokerkit.errors import ConfigError

if TYPE_CHECKING:
    from brokerkit.checkers.source import Source

WHERE = "configuration"
PREFIX = ":prefix="


def anonymous(argument: str, usage: str, reactor: Any) -> Source:  # noqa: ANN401, ARG001
    """Give everybody, with the patterns of the argument."""
    from brokerkit.checkers.anonymous import Anyone, read_grants

    return Anyone(read_grants(argument, WHERE, usage))


def callout(argument: str, usage: str, reactor: Any) -> Source:  # noqa: ANN401, ARG001
    """Give those of whom somebody else decides."""
    from brokerkit.checkers.callout_setting import read

    return read(argument, usage)


def database(argument: str, _: str, reactor: Any) -> Source:  # noqa: ANN401
    """Give the users of a URL, with ``database+`` before it or not."""
    from brokerkit.checkers.database import DatabaseUsers

    # The last prefix: what stands before it may be a password.
    url, _, prefix = argument.rpartition(PREFIX) if PREFIX in argument else (argument, "", "")
    return DatabaseUsers(url.removeprefix("database+"), reactor, _topic(prefix))


def env(argument: str, usage: str, reactor: Any) -> Source:  # noqa: ANN401, ARG001
    """Give the users in the environment."""
    from brokerkit.checkers.env import EnvUsers

    if argument:
        raise ConfigError(WHERE, "auth", "env:...", f"{usage} alone")
    return EnvUsers()


def json(argument: str, usage: str, reactor: Any) -> Source:  # noqa: ANN401
    """Give the users of a file."""
    from brokerkit.checkers.json_file import JsonUsers

    path, prefix = _split(argument)
    if not path:
        raise ConfigError(WHERE, "auth", argument, usage)
    return JsonUsers(path, reactor, prefix)


def jwt(argument: str, usage: str, reactor: Any) -> Source:  # noqa: ANN401
    """Give whoever shows a JWT: of the operator whose JWT is in a file, and of accounts in a directory."""
    from brokerkit.checkers.jwt_setting import read

    return read(argument, usage, reactor)


def kastlex(argument: str, usage: str, reactor: Any) -> Source:  # noqa: ANN401
    """Give the users of one file or two."""
    from brokerkit.checkers.kastlex import KastlexUsers

    passwd, _, permissions = argument.partition(":")
    if not passwd or ":" in permissions:
        raise ConfigError(WHERE, "auth", f"kastlex:{argument}", usage)
    return KastlexUsers(passwd, permissions, reactor)


def mongodb(argument: str, _: str, reactor: Any) -> Source:  # noqa: ANN401
    """Give the users of a URI, with its scheme before it or without."""
    from brokerkit.checkers.mongo_uri import parse
    from brokerkit.checkers.mongodb import MongoUsers

    return MongoUsers(parse(f"mongodb:{argument}" if argument.startswith("//") else argument), reactor)


def sqlite(argument: str, usage: str, reactor: Any) -> Source:  # noqa: ANN401
    """Give the users of a file, ``sqlite.db`` if none is named."""
    from brokerkit.checkers.sqlite import DEFAULT, SqliteUsers

    path, prefix = _split(f":{argument}")  # the prefix may stand alone
    if path.startswith("://"):
        raise ConfigError(WHERE, "auth", "sqlite://...", f"{usage}, or database+sqlite:///PATH")
    return SqliteUsers(path[1:] or DEFAULT, reactor, prefix)


def users(argument: str, _: str, reactor: Any) -> Source:  # noqa: ANN401
    """Give brokerkit's own users, those of the usual data directory if no store is named."""
    from brokerkit.checkers.own import OwnUsers
    from brokerkit.place import USERS, default_directory

    return OwnUsers(argument or str(default_directory() / USERS), reactor)


def _split(text: str) -> tuple[str, bytes]:
    """Take the prefix off; raise ``ConfigError`` if it is no topic."""
    rest, _, prefix = text.partition(PREFIX)
    return rest, _topic(prefix)


def _topic(prefix: str) -> bytes:
    name = prefix.encode(errors="surrogateescape")
    if name and (topics.has_empty_token(name) or topics.has_wildcard(name)):
        raise ConfigError(WHERE, "auth", prefix, "a topic as the prefix, such as honeypot")
    return name
