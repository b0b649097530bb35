"""Users from the environment of the process, as hpfeeds-broker reads them.

The environment is looked at anew for each login.  A name is looked up in upper case, so ``james`` and ``James`` have
one secret, and each keeps its own spelling.  A token comes without a name: its user is called by the variable's, in
lower case.

An entry of PUBCHANS and SUBCHANS is a literal channel name; PUBLISH, SUBSCRIBE and TOKEN are brokerkit's own.  Unlike
in the original, an empty list is no channel at all, and not the one whose name is empty.
"""

from __future__ import annotations

import os
import re
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from twisted.cred.checkers import ICredentialsChecker
from zope.interface import implementer

from brokerkit.checkers.known import BY_SECRET, Known, allowed, decide, is_name
from brokerkit.client import User
from brokerkit.errors import ConfigError, UnknownUser
from brokerkit.interfaces import IToken
from brokerkit.topics import is_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PATTERNS = re.compile(r"HPFEEDS_.+_(PUBLISH|SUBSCRIBE)", re.DOTALL)
_TOKEN = re.compile(r"HPFEEDS_(.+)_TOKEN", re.DOTALL)


@implementer(ICredentialsChecker)
class EnvUsers:
    """Knows the users that the environment names."""

    credentialInterfaces = BY_SECRET
    source = "env"

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Read from ``environ``; raise ``ConfigError`` if a pattern in it is none."""
        self._environ = environ
        for variable in environ:
            if _PATTERNS.fullmatch(variable):
                self._patterns(variable)

    def requestAvatarId(self, credentials: Any) -> User:  # type: ignore[override]  # noqa: ANN401  any of BY_SECRET
        """Give the user of the credentials."""
        if IToken.providedBy(credentials):
            return self._by_token(credentials.token)
        name = credentials.username
        if not is_name(name) or b"=" in name or b"\0" in name:  # no variable is called so
            raise UnknownUser
        prefix = f"HPFEEDS_{name.decode().upper()}"
        secret = self._value(f"{prefix}_SECRET")
        if not secret:
            raise UnknownUser
        return decide(Known(self._user(name, prefix), secret), credentials)

    def _by_token(self, token: bytes) -> User:
        """Compare with every token there is, so that the time tells nothing."""
        found = [name for name, one in self._tokens() if compare_digest(one, token) and one]
        if not found:
            raise UnknownUser
        return self._user(found[0].lower().encode(), f"HPFEEDS_{found[0]}")

    def _tokens(self) -> Iterator[tuple[str, bytes]]:
        for variable in self._environ:
            match = _TOKEN.fullmatch(variable)
            if match and is_name(match[1].lower().encode(errors="surrogateescape")):
                yield match[1], self._value(variable)

    def _user(self, name: bytes, prefix: str) -> User:
        grants = allowed(
            pubchans=self._names(f"{prefix}_PUBCHANS"),
            subchans=self._names(f"{prefix}_SUBCHANS"),
            publish=self._patterns(f"{prefix}_PUBLISH"),
            subscribe=self._patterns(f"{prefix}_SUBSCRIBE"),
        )
        return User(name, self.source, grants, owner=self._environ.get(f"{prefix}_OWNER") or name.decode())

    def _value(self, variable: str) -> bytes:
        return self._environ.get(variable, "").encode(errors="surrogateescape")

    def _names(self, variable: str) -> list[bytes]:
        return [name for name in self._value(variable).split(b",") if name]

    def _patterns(self, variable: str) -> list[bytes]:
        names = self._names(variable)
        for name in names:
            if not is_pattern(name):
                found = name.decode(errors="replace")
                raise ConfigError("environment", variable, found, "patterns such as a.* and a.>, with commas between")
        return names
