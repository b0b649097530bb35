"""Everybody: with this source in the list, the broker asks nobody for a secret.

Whoever reaches the port may do what the source is told to allow, everything if it is told nothing, under any name that
no source before this one knows.
It is for a broker on a loopback interface or in a closed network, and for trying things out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.cred.credentials import IAnonymous

from brokerkit.actions import REGISTRY
from brokerkit.checkers.known import USUAL, Known, is_name
from brokerkit.checkers.source import Source
from brokerkit.client import User
from brokerkit.errors import ConfigError, UnknownUser
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, patterns
from brokerkit.interfaces import IAnonymousRequest
from brokerkit.topics import is_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.grants import Rule

NOBODY = b"anonymous"


class Anyone(Source):
    """Accepts no credentials as well as any, without a look at the secret; the rights are the same for all."""

    credentialInterfaces = (IAnonymous, IAnonymousRequest, *USUAL)
    source = "anonymous"

    def __init__(self, grants: Grants = ALL) -> None:
        """Let everybody in with these rights."""
        self._grants = grants

    def find(self, credentials: Any) -> Known | None:  # noqa: ANN401  any at all
        """Give a user of the name that the peer gives itself, or one called ``anonymous``."""
        return self._known(_name(credentials))

    def users(self, names: Iterable[bytes]) -> dict[bytes, Known]:
        """Know every name that can be one."""
        return {name: known for name in names if (known := self._known(name)) is not None}

    def _known(self, name: bytes) -> Known | None:
        return Known(User(name, self.source, self._grants)) if is_name(name) else None

    def decide(self, known: Known | None, credentials: Any) -> User:  # noqa: ANN401, ARG002
        """Give the user; nothing has to fit."""
        if known is None:
            raise UnknownUser
        return known.proven()


def read_grants(text: str, where: str, usage: str) -> Grants:
    """Make grants of what stands behind ``anonymous:``; of nothing, all of them.

    Raises ``ConfigError``, with ``where`` the text stands and its ``usage``, for what is no list of patterns.
    """
    if not text:
        return ALL
    found: dict[str, Access] = {}
    for part in text.split(":"):
        action, equals, names = part.partition("=")
        if action not in (PUBLISH, SUBSCRIBE, *REGISTRY):
            raise ConfigError(where, "auth", part, usage)
        if action in found:
            raise ConfigError(where, "auth", part, f"{action} once")
        if not equals:
            raise ConfigError(where, "auth", part, f"a list of patterns behind it, as in {action}=a.*,b")
        found[action] = Access(_rules(names.split(","), where, action))
    return Grants(found)


def _rules(names: list[str], where: str, action: str) -> tuple[Rule, ...]:
    if action in REGISTRY:
        from brokerkit.registry.access import rules  # for the few who need it

        return rules(names)
    return patterns(_pattern(name, where, action) for name in names)


def _pattern(text: str, where: str, action: str) -> bytes:
    name = text.encode(errors="surrogateescape")
    if not is_pattern(name):
        raise ConfigError(where, f"auth: anonymous: {action}", text, "a pattern such as a.b, a.* or a.>")
    return name


def _name(credentials: Any) -> bytes:  # noqa: ANN401  only some have a name
    name: bytes = getattr(credentials, "username", b"")
    return name or NOBODY
