"""Writing a JWT of NATS: what the broker itself signs, with a key that it has made for as long as it runs."""

from __future__ import annotations

import json
from base64 import b32encode, urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from brokerkit import nkeys
from brokerkit.jwts.decode import ALGORITHMS, LATEST

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Signer:
    """A new key of some kind, and what it signs."""

    def __init__(self, kind: str) -> None:
        """Make the key."""
        # Imported here: it is slow to load, and few have a use for it.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._private: Ed25519PrivateKey = Ed25519PrivateKey.generate()
        self.key = nkeys.spell(kind, self._private.public_key().public_bytes_raw())

    def encode(self, kind: str, subject: str, audience: str, now: float, expires: float, nats: dict[str, Any]) -> str:
        """Give a token of that kind; moments are in seconds since 1970."""
        claims: dict[str, Any] = {
            "aud": audience,
            "exp": int(expires),
            "iat": int(now),
            "iss": self.key,
            "sub": subject,
            "nats": {**nats, "type": kind, "version": LATEST},
        }
        claims["jti"] = b32encode(sha256(_json(claims)).digest()).decode().rstrip("=")
        signed = f"{_spelled({'typ': 'JWT', 'alg': ALGORITHMS[0]})}.{_spelled(claims)}"
        return f"{signed}.{_base64(self._private.sign(signed.encode()))}"


def _json(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode()


def _spelled(data: dict[str, Any]) -> str:
    return _base64(_json(data))


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
