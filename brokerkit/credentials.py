"""What a peer shows to say who it is, where ``twisted.cred`` has no class for it.

Name and password are twisted's ``UsernamePassword``, no credentials at all are twisted's ``Anonymous``.  Nothing secret
is in a ``repr``.
"""

from __future__ import annotations

from hashlib import sha1, sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

import attrs
from twisted.cred.credentials import IUsernameHashedPassword
from zope.interface import implementer

from brokerkit import nkeys
from brokerkit.interfaces import (
    IAnonymousRequest,
    ICertificate,
    IDelegated,
    IJwt,
    INkeySignature,
    IToken,
    IVouched,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@implementer(IUsernameHashedPassword)
@attrs.frozen
class ChallengeResponse:
    """The answer to a challenge: SHA1 of the nonce that was sent and the secret, as hpfeeds has it.

    ``certified`` is the name in the peer's client certificate, empty if it has none or if such names do not count: a
    user who has that name need not know the secret.
    """

    username: bytes
    nonce: bytes = attrs.field(repr=False)
    digest: bytes = attrs.field(repr=False)
    certified: bytes = attrs.field(default=b"", repr=False)

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


@implementer(ICertificate)
@attrs.frozen
class Certificate:
    """A client certificate that was verified in the TLS handshake, by the name that the listener finds in it.

    ``others`` are names to be tried one after the other where nobody knows that one.
    """

    username: bytes
    others: tuple[bytes, ...] = ()

    @property
    def alternatives(self) -> tuple[Certificate, ...]:
        """The same certificate by each of its names, the first to be tried first."""
        return tuple(Certificate(name) for name in (self.username, *self.others))


@implementer(INkeySignature)
@attrs.frozen
class NkeySignature:
    """The answer to the nonce of NATS: signed with the key of a user."""

    public_key: str
    nonce: bytes = attrs.field(repr=False)
    signature: bytes = attrs.field(repr=False)

    @property
    def username(self) -> bytes:
        """The key, for those who count failures by name; nothing if it cannot be one."""
        return self.public_key.encode() if nkeys.is_user_key(self.public_key) else b""

    def is_signed(self) -> bool:
        """Say whether the signature was made with that key, which has to be a user's."""
        return nkeys.is_user_key(self.public_key) and nkeys.is_signed(self.public_key, self.nonce, self.signature)


@implementer(IJwt)
@attrs.frozen
class SignedJwt:
    """The JWT of a NATS user, and the answer to the nonce of NATS."""

    jwt: str = attrs.field(repr=False)
    nonce: bytes = attrs.field(repr=False)
    signature: bytes = attrs.field(repr=False)
    address: str = ""

    @property
    def username(self) -> bytes:
        """What stands for the token, for those who count failures by name."""
        return b"\0" + sha256(self.jwt.encode()).digest()

    def is_signed_by(self, public_key: str) -> bool:
        """Say whether the nonce was signed with that key of a user."""
        return nkeys.is_signed(public_key, self.nonce, self.signature)


@implementer(IDelegated)
@attrs.frozen
class Delegated:
    """Credentials, and all that somebody else is told who may decide about them; else they are looked at here."""

    inner: Any
    connect: Mapping[str, Any] = attrs.field(repr=False)
    client: Mapping[str, Any]

    @property
    def username(self) -> bytes:
        """Whom they name, for those who count failures by name."""
        name: bytes = getattr(self.inner, "username", b"")
        return name

    @property
    def alternatives(self) -> tuple[Any, ...]:
        """These, and then the credentials themselves."""
        return (self, *getattr(self.inner, "alternatives", (self.inner,)))


@implementer(IVouched)
@attrs.frozen
class Vouched:
    """Nothing was shown, and the listener's configuration says who comes in so."""

    username: bytes


@implementer(IAnonymousRequest)
@attrs.frozen
class AnonymousRequest:
    """Nothing was shown, and the protocol has no login: what KastleX calls ``anonymous``."""
