"""How a source of JWTs is written down: ``jwt:OPERATOR_JWT?resolver=DIRECTORY``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from brokerkit import nkeys
from brokerkit.checkers.jwt_users import JwtUsers
from brokerkit.errors import ConfigError, Words
from brokerkit.jwts import claims
from brokerkit.jwts.authority import Authority
from brokerkit.jwts.fields import BadJwt
from brokerkit.jwts.resolvers import Directory

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from brokerkit.jwts.claims import Operator

WHERE = "configuration"
OPTIONS = ("resolver", "system_account", "pinned")
BEGIN = "-----BEGIN"  # of the lines that tools put around a token


def read(argument: str, usage: str, clock: IReactorTime) -> JwtUsers:
    """Give the source; raise ``ConfigError`` for what cannot be meant, or cannot be read."""
    path, _, query = argument.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for key in options:
        if key not in OPTIONS:
            raise ConfigError(WHERE, "auth", f"jwt:...?{key}=", f"one of {', '.join(OPTIONS)} behind the question mark")
    if not path or not options.get("resolver"):
        raise ConfigError(WHERE, "auth", f"jwt:{argument}", usage)
    operator = read_operator(path)
    directory = options["resolver"]
    if not Path(directory).is_dir():
        raise ConfigError(WHERE, "auth", directory, "a directory with the JWTs of accounts, called <KEY>.jwt")
    pinned = tuple(filter(None, options.get("pinned", "").split(",")))
    system = options.get("system_account") or operator.system_account
    for key in (*pinned, *filter(None, [system])):
        if not nkeys.is_key(key, nkeys.ACCOUNT):
            raise ConfigError(WHERE, "auth", key, "the public nkey of an account: A and 55 letters and digits")
    authority = Authority([operator], Directory(directory), pinned=pinned)
    return JwtUsers(authority, clock, source=f"jwt:{Path(path).absolute()}", system_account=system)


def read_operator(path: str) -> Operator:
    """Read the file of an operator's JWT; raise ``ConfigError``."""
    expected = "the JWT of an operator"
    try:
        text = Path(path).read_text(encoding="ascii")
    except OSError as error:
        raise ConfigError(
            path, "file", error.strerror or str(error), f"{expected}, in a file that can be read"
        ) from None
    except ValueError:
        raise ConfigError(path, "file", Words("something else"), expected) from None
    try:
        return claims.operator(bare(text))
    except BadJwt as problem:
        raise ConfigError(path, "file", Words(f"a JWT {problem}"), expected) from None


def bare(text: str) -> str:
    """Give the token of a text: by itself, or the first one between lines with dashes, as in a file of credentials."""
    lines = [line.strip() for line in text.strip().splitlines()]
    begins = [i for i, line in enumerate(lines) if line.startswith(BEGIN) and "JWT" in line]
    return lines[begins[0] + 1] if begins and len(lines) > begins[0] + 1 else "".join(lines)
