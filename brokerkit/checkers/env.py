"""Users from the environment of the process, as hpfeeds-broker reads them.

The environment is looked at anew for each login.  A name is looked up in upper case, so ``james`` and ``James`` have
one secret, and each keeps its own spelling.  A token comes without a name: its user is called by the variable's, in
lower case.

An entry of PUBCHANS and SUBCHANS is a literal channel name; PUBLISH, SUBSCRIBE, TOKEN, and REGISTRY_READ and
REGISTRY_WRITE, whose entries are names of the registry, are brokerkit's own.  Unlike in the original, an empty list is
no channel at all, and not the one whose name is empty.
"""

from __future__ import annotations

import os
import re
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from brokerkit.checkers import registry_rights
from brokerkit.checkers.known import MAX_NAME, Known, allowed
from brokerkit.checkers.source import Source
from brokerkit.client import User
from brokerkit.errors import ConfigError
from brokerkit.grants import PUBLISH
from brokerkit.interfaces import IToken
from brokerkit.topics import is_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from brokerkit.grants import Rule

RAW = "surrogateescape"  # how Python has a variable's bytes that are not UTF-8
READABLE = "backslashreplace"

_PATTERNS = re.compile(r"HPFEEDS_.+_(PUBLISH|SUBSCRIBE)", re.DOTALL)
_REGISTRY = re.compile(r"HPFEEDS_.+_REGISTRY_(READ|WRITE)", re.DOTALL)
_TOKEN = re.compile(r"HPFEEDS_(.+)_TOKEN", re.DOTALL)
_SECRET = re.compile(r"HPFEEDS_(.+)_(?:SECRET|TOKEN)", re.DOTALL)


class EnvUsers(Source):
    """Knows the users that the environment names."""

    source = "env"

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Read from ``environ``; raise ``ConfigError`` if a pattern in it is none."""
        self._environ = environ
        for variable in environ:
            if _PATTERNS.fullmatch(variable):
                self._patterns(variable)
            elif _REGISTRY.fullmatch(variable):
                self._registry(variable)

    def find(self, credentials: Any) -> Known | None:  # noqa: ANN401  any of BY_SECRET
        """Give the user of a token, or of a name."""
        if IToken.providedBy(credentials):
            return self._by_token(credentials.token)
        return self._by_name(credentials.username)

    def users(self, names: Iterable[bytes]) -> dict[bytes, Known]:
        """Give those of the names that have a secret or a token."""
        found = {name: self._by_name(name, with_secret=False) for name in names}
        return {name: known for name, known in found.items() if known is not None}

    def names(self) -> list[bytes]:
        """Give the names of all users, in lower case."""
        found = (_SECRET.fullmatch(variable) for variable in self._environ if self._environ[variable])
        return sorted({match[1].lower().encode(errors=RAW) for match in found if match})

    def where(self, name: bytes, action: str, rule: Rule | None) -> str:
        """Give the variable."""
        prefix = _prefix(name).encode(errors=RAW).decode(errors=READABLE)
        if rule is None:
            return f"environment variable {prefix}_SECRET"
        if listed := registry_rights.field(action):
            return f"environment variable {prefix}_{listed.upper()}"
        endings = ("PUBCHANS", "PUBLISH") if action == PUBLISH else ("SUBCHANS", "SUBSCRIBE")
        return f"environment variable {prefix}_{endings[not rule.literal]}"

    def _by_name(self, name: bytes, *, with_secret: bool = True) -> Known | None:
        if len(name) > MAX_NAME or b"=" in name or b"\0" in name:  # no variable is called so
            return None
        prefix = _prefix(name)
        secret, token = self._value(f"{prefix}_SECRET"), self._value(f"{prefix}_TOKEN")
        if not secret and (with_secret or not token):
            return None
        return Known(self._user(name, prefix), secret, token)

    def _by_token(self, token: bytes) -> Known | None:
        """Compare with every token there is, so that the time tells nothing."""
        found = [name for name, one in self._tokens() if compare_digest(one, token) and one]
        if not found:
            return None
        prefix = f"HPFEEDS_{found[0]}"
        return Known(self._user(found[0].lower().encode(errors=RAW), prefix), self._value(f"{prefix}_SECRET"), token)

    def _tokens(self) -> Iterator[tuple[str, bytes]]:
        for variable in self._environ:
            match = _TOKEN.fullmatch(variable)
            if match and len(match[1].lower().encode(errors=RAW)) <= MAX_NAME:
                yield match[1], self._value(variable)

    def _user(self, name: bytes, prefix: str) -> User:
        grants = allowed(
            pubchans=self._names(f"{prefix}_PUBCHANS"),
            subchans=self._names(f"{prefix}_SUBCHANS"),
            publish=self._patterns(f"{prefix}_PUBLISH"),
            subscribe=self._patterns(f"{prefix}_SUBSCRIBE"),
            registry=(self._registry(f"{prefix}_REGISTRY_READ"), self._registry(f"{prefix}_REGISTRY_WRITE")),
        )
        owner = self._environ.get(f"{prefix}_OWNER") or name.decode(errors=READABLE)
        return User(name, self.source, grants, owner)

    def _value(self, variable: str) -> bytes:
        return self._environ.get(variable, "").encode(errors=RAW)

    def _names(self, variable: str) -> list[bytes]:
        return [name for name in self._value(variable).split(b",") if name]

    def _patterns(self, variable: str) -> list[bytes]:
        names = self._names(variable)
        for name in names:
            if not is_pattern(name):
                found = name.decode(errors="replace")
                raise ConfigError("environment", variable, found, "patterns such as a.* and a.>, with commas between")
        return names

    def _registry(self, variable: str) -> tuple[str, ...]:
        names = tuple(name for name in self._environ.get(variable, "").split(",") if name)
        for name in names:
            if not registry_rights.is_rule(name) or not name.isprintable():
                expected = "names such as web-1 and web-*, with commas between"
                raise ConfigError("environment", variable, name, expected)
        return names


def _prefix(name: bytes) -> str:
    """Give what the names of a user's variables begin with."""
    return f"HPFEEDS_{name.decode(errors=RAW).upper()}"
