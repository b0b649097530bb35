"""Users that a program hands over: for tests, and for whoever embeds a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.checkers.in_memory import InMemory
from brokerkit.checkers.known import EVERY_KIND, USUAL, Known, Users
from brokerkit.client import User
from brokerkit.grants import ALL, Grants

if TYPE_CHECKING:
    from collections.abc import Mapping


class MemoryUsers(InMemory):
    """Knows the users it was made with."""

    source = "memory"

    def __init__(
        self,
        secrets: Mapping[str, str],
        grants: Mapping[str, Grants] | None = None,
        tokens: Mapping[str, str] | None = None,
        *,
        public_keys: Mapping[str, tuple[str, ...]] | None = None,
        certificates: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """Take secrets, grants (all rights where a name has none here), tokens and the rest, each by name."""
        grants, tokens, keys, certificates = grants or {}, tokens or {}, public_keys or {}, certificates or {}
        self.credentialInterfaces = EVERY_KIND if keys else USUAL
        self._users = Users(
            Known(
                self._user(name, grants),
                secret.encode(),
                tokens.get(name, "").encode(),
                public_keys=keys.get(name, ()),
                certificates=certificates.get(name, ()),
            )
            for name, secret in secrets.items()
        )

    def _user(self, name: str, grants: Mapping[str, Grants]) -> User:
        return User(name.encode(), self.source, grants.get(name, ALL))
