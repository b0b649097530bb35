"""Users that a program hands over: for tests, and for whoever embeds a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.cred.checkers import ICredentialsChecker
from zope.interface import implementer

from brokerkit.checkers.known import BY_SECRET, Known, Users
from brokerkit.client import User
from brokerkit.grants import ALL, Grants

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.cred.credentials import ICredentials


@implementer(ICredentialsChecker)
class MemoryUsers:
    """Knows the users it was made with."""

    credentialInterfaces = BY_SECRET
    source = "memory"

    def __init__(
        self,
        secrets: Mapping[str, str],
        grants: Mapping[str, Grants] | None = None,
        tokens: Mapping[str, str] | None = None,
    ) -> None:
        """Take secrets, grants (all rights where a name has none here) and tokens, each by name."""
        grants, tokens = grants or {}, tokens or {}
        self._users = Users(
            Known(self._user(name, grants), secret.encode(), tokens.get(name, "").encode())
            for name, secret in secrets.items()
        )

    def _user(self, name: str, grants: Mapping[str, Grants]) -> User:
        return User(name.encode(), self.source, grants.get(name, ALL))

    def requestAvatarId(self, credentials: ICredentials) -> User:  # type: ignore[override]
        """Give the user of the credentials."""
        return self._users.login(credentials)
