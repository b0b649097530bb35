"""What a peer shows to say who it is, where ``twisted.cred`` has no class for it.

Name and password are twisted's ``UsernamePassword``, no credentials at all are twisted's ``Anonymous``.  Nothing secret
is in a ``repr``.
"""

from __future__ import annotations

from hashlib import sha1
from hmac import compare_digest

import attrs
from twisted.cred.credentials import IUsernameHashedPassword
from zope.interface import implementer

from brokerkit.interfaces import IToken


@implementer(IUsernameHashedPassword)
@attrs.frozen
class ChallengeResponse:
    """The answer to a challenge: SHA1 of the nonce that was sent and the secret, as hpfeeds has it."""

    username: bytes
    nonce: bytes = attrs.field(repr=False)
    digest: bytes = attrs.field(repr=False)

    def checkPassword(self, secret: bytes | str) -> bool:
        """Say whether the digest was made with ``secret``; in constant time, whatever the length of the digest."""
        if isinstance(secret, str):
            secret = secret.encode()
        # "Not for security" lets a FIPS build compute it; which hash it is, the protocol decides.
        expected = sha1(self.nonce + secret, usedforsecurity=False).digest()
        return compare_digest(expected, self.digest)


@implementer(IToken)
@attrs.frozen
class Token:
    """A secret that names its user by itself, such as the ``auth_token`` of NATS."""

    token: bytes = attrs.field(repr=False)
