"""Tokens that this broker signs: JWTs as KastleX makes them, ES512 with a P-521 key.

Permissions are not in a token: they are looked up when it is shown, so that a change counts at once.  The list of
algorithms has one entry, so what is signed with another (``none``, or the public key taken for a shared secret) is no
token.  What says the time is the broker's clock.

With a ``Ledger`` a user has one token at a time, and it can be taken back; without one it is good until it expires.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import attrs
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from brokerkit.errors import ConfigError, Words
from brokerkit.place import write_private

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

ISSUER = "Kastlex"
ALGORITHM = "ES512"
SUBJECT = "user:"
MADE = "kastlex-jwk.pem"  # the key of an install that was given none, in its data directory
_HOW = "openssl ecparam -name secp521r1 -genkey -noout -out jwk.pem makes one"
# Times are compared here, with the broker's clock; the rest is the library's.
_OPTIONS: Any = {
    "require": ["iss", "sub", "aud", "exp", "iat"],
    **dict.fromkeys(("verify_exp", "verify_iat", "verify_nbf", "verify_aud"), False),
}


class BadToken(Exception):
    """A token is false, expired or revoked; the text says which, for the log and for commands."""


@attrs.frozen
class Claims:
    """What a token says: whose it is, and until when it is good, in seconds since 1970."""

    name: str
    expires: float
    every: dict[str, Any] = attrs.field(factory=dict, repr=False)


class Ledger(Protocol):
    """Keeps the one token that each user has."""

    changed: Callable[[str], None]  # told whose token is another one than before

    async def put(self, name: str, digest: bytes, expires: float) -> None:
        """Keep it, durably, in place of the one before."""

    async def revoke(self, name: str) -> None:
        """Keep that there is none."""

    async def holds(self, name: str, digest: bytes) -> bool:
        """Say whether that is the user's token."""


class Tokens:
    """Makes tokens and checks them."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, clock: IReactorTime, lasts: float, ledger: Ledger | None = None
    ) -> None:
        """Sign with that key; a token lasts so many seconds."""
        self._key = key
        self._public = key.public_key()
        self._clock = clock
        self._lasts = lasts
        self._ledger = ledger
        self._told: list[Callable[[str], None]] = []
        if ledger is not None:
            ledger.changed = self._tell

    @property
    def can_revoke(self) -> bool:
        """Whether tokens are stored, so that one can be taken back."""
        return self._ledger is not None

    def on_revoked(self, told: Callable[[str], None]) -> None:
        """Have ``told`` called with the name of each user whose token is not good any more."""
        self._told.append(told)

    async def make(self, name: str, lasts: float | None = None) -> str:
        """Give a new token of a user, stored if tokens are; the one before ends then."""
        token = sign(self._key, name, self._clock.seconds(), self._lasts if lasts is None else lasts)
        if self._ledger is not None:
            claims = read(token, self._public)
            await self._ledger.put(name, digest(token), claims.expires)
        return token

    async def check(self, token: bytes | str) -> Claims:
        """Give what a token says; raise ``BadToken``."""
        claims = read(token, self._public)
        if claims.expires <= self._clock.seconds():
            raise BadToken("it has expired")
        if self._ledger is not None and not await self._ledger.holds(claims.name, digest(token)):
            raise BadToken("it was revoked, or there is a newer one")
        return claims

    async def revoke(self, name: str) -> None:
        """Take a user's token back; only where tokens are stored (``can_revoke``)."""
        if self._ledger is None:
            raise ValueError("tokens are not stored")
        await self._ledger.revoke(name)

    def _tell(self, name: str) -> None:
        for told in self._told:
            told(name)


def sign(key: ec.EllipticCurvePrivateKey, name: str, now: float, lasts: float) -> str:
    """Give a token of a user that is good for so many seconds."""
    subject = SUBJECT + name
    claims = {
        "iss": ISSUER,
        "sub": subject,
        "aud": subject,
        "typ": "access",
        "iat": int(now),
        "exp": int(now + lasts),
        "jti": str(uuid4()),
    }
    return jwt.encode(claims, key, ALGORITHM)


def read(token: bytes | str, key: ec.EllipticCurvePublicKey) -> Claims:
    """Give what a token says that was signed with that key, whether it has expired or not; raise ``BadToken``."""
    try:
        found = jwt.decode(token, key, [ALGORITHM], _OPTIONS, issuer=ISSUER)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise BadToken(f"{type(error).__name__}: {error}") from None
    subject, expires = found["sub"], found["exp"]
    if not (isinstance(subject, str) and subject.startswith(SUBJECT) and found["aud"] == subject):
        raise BadToken("it names no user")
    if type(expires) not in {int, float} or found.get("typ") != "access":
        raise BadToken("it is no token for access")
    return Claims(subject.removeprefix(SUBJECT), float(expires), found)


def digest(token: bytes | str) -> bytes:
    """Give what is kept of a token: whoever reads that cannot show it."""
    return sha256(token if isinstance(token, bytes) else token.encode()).digest()


def is_jwt(token: bytes) -> bool:
    """Say whether a Bearer token looks like a JWT, and so is to be one of ours."""
    head, dot, _ = token.partition(b".")
    if not dot or token.count(b".") != 2:  # noqa: PLR2004
        return False
    with suppress(ValueError, RecursionError):
        found = json.loads(urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
        return isinstance(found, dict) and "alg" in found
    return False


# -- keys ------------------------------------------------------------------------------------------------------------


def key_of(path: str, directory: Path | None, where: str) -> ec.EllipticCurvePrivateKey:
    """Give the key that signs: the one in that file, or the install's own, which is made at the first start.

    Without a file and a directory it lives as long as the process.  Raises ``ConfigError`` naming ``where``.
    """
    if path:
        return load(path, where)
    if directory is None:
        return ec.generate_private_key(ec.SECP521R1())
    own = directory / MADE
    if not own.exists():
        _write(own, where)
    return load(str(own), where)


def load(path: str, where: str) -> ec.EllipticCurvePrivateKey:
    """Give the key in a PEM file; raise ``ConfigError`` if there is none, or another kind of key."""
    try:
        key = serialization.load_pem_private_key(Path(path).read_bytes(), None)
    except OSError as error:
        raise ConfigError(where, "jwk_file", path, "a file that can be read", error.strerror or "") from None
    except (ValueError, TypeError):
        raise ConfigError(where, "jwk_file", path, "a private key in PEM, without a password", _HOW) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP521R1):
        raise ConfigError(where, "jwk_file", Words("another kind of key"), "a key on the curve P-521", _HOW)
    return key


def load_public(path: str, where: str) -> ec.EllipticCurvePublicKey:
    """Give the public key in a PEM file, which may be that of a private one; raise ``ConfigError``."""
    try:
        text = Path(path).read_bytes()
        if b"PUBLIC KEY" not in text:
            return load(path, where).public_key()
        key = serialization.load_pem_public_key(text)
    except OSError as error:
        raise ConfigError(where, "key", path, "a file that can be read", error.strerror or "") from None
    except ValueError:
        raise ConfigError(where, "key", path, "a key in PEM", _HOW) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP521R1):
        raise ConfigError(where, "key", Words("another kind of key"), "a key on the curve P-521", _HOW)
    return key


def _write(path: Path, where: str) -> None:
    key = ec.generate_private_key(ec.SECP521R1())
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, text.decode())
    except OSError as error:
        raise ConfigError(
            where, "data_dir", str(path), "a place that can be written to", error.strerror or ""
        ) from None
