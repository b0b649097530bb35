"""Everybody: with this source in the list, the broker asks nobody for a secret.

Whoever reaches the port may publish and subscribe to everything, under any name that no source before this one knows.
It is for a broker on a loopback interface or in a closed network, and for trying things out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IAnonymous
from zope.interface import implementer

from brokerkit.checkers.known import BY_SECRET, is_name
from brokerkit.client import User
from brokerkit.errors import UnknownUser
from brokerkit.grants import ALL

if TYPE_CHECKING:
    from twisted.cred.credentials import ICredentials

NOBODY = b"anonymous"


@implementer(ICredentialsChecker)
class Anyone:
    """Accepts no credentials as well as any, without a look at the secret, and gives all rights."""

    credentialInterfaces = (IAnonymous, *BY_SECRET)
    source = "anonymous"

    def requestAvatarId(self, credentials: ICredentials) -> User:  # type: ignore[override]
        """Give a user of the name that the peer gives itself, or one called ``anonymous``."""
        name = _name(credentials)
        if not is_name(name):
            raise UnknownUser
        return User(name, self.source, ALL)


def _name(credentials: Any) -> bytes:  # noqa: ANN401  only some have a name
    name: bytes = getattr(credentials, "username", b"")
    return name or NOBODY
