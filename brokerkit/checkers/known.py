"""What the sources of users share: the record of a known user, and whether credentials fit it.

A secret is compared as it is, not hashed: the challenge of hpfeeds can only be checked by whoever has the secret
itself.  Comparisons take constant time, and an empty secret or token is none: nobody logs in with it.
"""

from __future__ import annotations

from hashlib import blake2b, sha256
from hmac import compare_digest
from secrets import token_bytes
from typing import TYPE_CHECKING, Any

import attrs
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword

from brokerkit.checkers.registry_rights import rights
from brokerkit.grants import PUBLISH, SUBSCRIBE, Access, Grants, literal, patterns
from brokerkit.interfaces import ICertificate, INkeySignature, IToken, IVouched

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.client import User


BY_SECRET = (IUsernamePassword, IUsernameHashedPassword, IToken)
BY_NAME = (
    IUsernamePassword,
    IUsernameHashedPassword,
    ICertificate,
    IVouched,
)  # for a source that looks names up, and no more
USUAL = (*BY_SECRET, ICertificate, IVouched)
EVERY_KIND = (*USUAL, INkeySignature)  # for a source that has public keys: with one, NATS clients get a nonce to sign

MAX_NAME = 255  # bytes: hpfeeds gives the sender's name with each message, and its length in one byte


@attrs.frozen
class Known:
    """A user, and whatever proves a claim to its name; what is empty proves nothing.

    ``secret`` can be read back, which the challenge of hpfeeds needs; ``password_hash`` (argon2 or bcrypt) cannot.
    ``token`` stands for the user alone, and so does what fits ``token_hash``.  ``public_keys`` are nkeys (``U...``),
    ``certificates`` the names in client certificates, that are this user's too.
    """

    user: User
    secret: bytes = attrs.field(default=b"", repr=False)
    token: bytes = attrs.field(default=b"", repr=False)
    password_hash: str = attrs.field(default="", repr=False)
    public_keys: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    token_hash: str = attrs.field(default="", repr=False)

    def proven(self) -> User:
        """Give the user as one whose name is proved: with a digest of all that could prove it today."""
        u = self.user
        if u.proof:
            return u
        hashed = (self.token_hash,) if self.token_hash else ()
        digest = proof(self.secret, self.token, self.password_hash, self.public_keys, self.certificates, *hashed)
        return attrs.evolve(u, proof=digest)


def proof(secret: bytes, token: bytes = b"", *others: object) -> bytes:
    """Give a digest of whatever can prove a name: another one when any of it is another."""
    parts = repr((secret, token, *(others or _NO_OTHERS)))
    return blake2b(parts.encode(), digest_size=16, key=_KEY).digest()


_NO_OTHERS = ("", (), ())  # no hash, no public keys, no certificates
_KEY = token_bytes(32)  # so that the digest says nothing to whoever sees it


def fits(known: Known, credentials: Any) -> bool:  # noqa: ANN401  any of EVERY_KIND
    """Say whether credentials fit what can be compared at once: everything but a hash of a password or token."""
    if IVouched.providedBy(credentials):
        return True
    if IToken.providedBy(credentials):
        return bool(known.token) and compare_digest(known.token, credentials.token)
    if INkeySignature.providedBy(credentials):
        return credentials.public_key in known.public_keys and credentials.is_signed() is True
    if ICertificate.providedBy(credentials):
        return certified(known, credentials.username)
    return certified(known, getattr(credentials, "certified", b"")) or _knows_secret(known, credentials)


def _knows_secret(known: Known, credentials: Any) -> bool:  # noqa: ANN401  with a password or a digest
    if not known.secret:
        return False
    if IUsernamePassword.providedBy(credentials):
        return compare_digest(known.secret, octets(credentials.password))
    # Others' classes may answer with a Deferred, which is true whatever its result.
    return credentials.checkPassword(known.secret) is True


def certified(known: Known, name: bytes) -> bool:
    """Say whether a client certificate with that name in it is this user's."""
    return bool(name) and (name == known.user.name or _text(name) in known.certificates)


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


def octets(text: bytes | str) -> bytes:
    """Give a password as bytes."""
    return text.encode(errors="surrogatepass") if isinstance(text, str) else text


class Users:
    """The known users of one source: by name, and by whatever else stands for one of them alone."""

    def __init__(self, known: Iterable[Known] = ()) -> None:
        """Take the users; no two have a name, a token, a public key or the name of a certificate in common."""
        self._by_name = {one.user.name: one for one in known}
        # By digest, so that a look-up takes the same time however much of a guessed token is right.
        self._by_token = {_digest(one.token): one for one in self._by_name.values() if one.token}
        # Of those who have only a hash of their token there can be one: each would have to be tried.
        self._by_token_hash = next((one for one in self._by_name.values() if one.token_hash), None)
        self._by_key = {key: one for one in self._by_name.values() for key in one.public_keys}
        # Some password hash; empty if there is none.  It is asked for at each refusal.
        self.sample = next((one.password_hash for one in self._by_name.values() if one.password_hash), "")
        self._by_certificate = {name: one for one in self._by_name.values() for name in one.certificates}

    def __len__(self) -> int:
        """Give the number of users."""
        return len(self._by_name)

    def find(self, credentials: Any) -> Known | None:  # noqa: ANN401  any of EVERY_KIND
        """Give the user whom the credentials name, whether they fit or not."""
        if IToken.providedBy(credentials):
            return self._by_token.get(_digest(credentials.token)) or self._by_token_hash
        if INkeySignature.providedBy(credentials):
            return self._by_key.get(credentials.public_key)
        known = self._by_name.get(credentials.username)
        if known is None and ICertificate.providedBy(credentials):
            return self._by_certificate.get(_text(credentials.username))
        return known

    def among(self, names: Iterable[bytes]) -> dict[bytes, Known]:
        """Give those of the names that are known."""
        return {name: self._by_name[name] for name in names if name in self._by_name}

    def names(self) -> list[bytes]:
        """Give all names, in order."""
        return sorted(self._by_name)


def _digest(token: bytes) -> bytes:
    return sha256(token).digest()


def is_name(name: bytes) -> bool:
    """Say whether every protocol can carry ``name`` as a user's: not too long, and UTF-8."""
    if len(name) > MAX_NAME:
        return False
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def allowed(
    *,
    pubchans: Iterable[bytes] = (),
    subchans: Iterable[bytes] = (),
    publish: Iterable[bytes] = (),
    subscribe: Iterable[bytes] = (),
    registry: tuple[tuple[str, ...], tuple[str, ...]] = ((), ()),
) -> Grants:
    """Make grants of the lists that a user has: literal names in hpfeeds' two, patterns in ours.

    ``registry`` are the names of entries that may be read, and written.
    """
    return Grants(
        {
            PUBLISH: Access(literal(pubchans) + patterns(publish)),
            SUBSCRIBE: Access(literal(subchans) + patterns(subscribe)),
            **rights(*registry),
        }
    )
