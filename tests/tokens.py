"""Keys and JWTs of NATS, made for tests: what an operator's tools would write, and what nobody should."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from brokerkit import nkeys

HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
OLD_HEADER = {"typ": "jwt", "alg": "ed25519"}


def raw(data: bytes) -> str:
    """Spell bytes as a JWT does: URL-safe base64 without padding."""
    return urlsafe_b64encode(data).decode().rstrip("=")


class Key:
    """An nkey that is the same in every run; ``kind`` is its first letter."""

    def __init__(self, kind: str, name: str) -> None:
        """Make it of its name."""
        self._private = Ed25519PrivateKey.from_private_bytes(sha256(f"{kind} {name}".encode()).digest())
        self.public = nkeys.spell(kind, self._private.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """Give the signature of some bytes."""
        return self._private.sign(data)


def part(data: Any) -> str:
    """Spell one part of a token."""
    return raw(json.dumps(data, separators=(",", ":")).encode())


def encode(claims: Any, key: Key, *, header: Any = HEADER, old: bool = False) -> str:
    """Give a token signed with a key; an ``old`` signature is that of the claims alone."""
    parts = f"{part(header)}.{part(claims)}"
    return f"{parts}.{raw(key.sign((part(claims) if old else parts).encode()))}"


def claims(kind: str, issuer: Key, subject: Key, nats: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Give the claims of a token of version 2."""
    made = {"jti": "test", "iat": 1, "iss": issuer.public, "name": "name", "sub": subject.public, **others}
    return {**made, "nats": {**nats, "type": kind, "version": 2}}


UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
ACCOUNT_LIMITS = {**UNLIMITED, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}


def operator(key: Key, **nats: Any) -> str:
    """Give the token of an operator, signed by itself."""
    return encode(claims("operator", key, key, nats), key)


def account(issuer: Key, key: Key, *, others: dict[str, Any] | None = None, **nats: Any) -> str:
    """Give the token of an account; ``limits`` are those that it has, beside none."""
    limits = {**ACCOUNT_LIMITS, **nats.pop("limits", {})}
    return encode(claims("account", issuer, key, {"limits": limits, **nats}, **(others or {})), issuer)


def user(issuer: Key, key: Key, *, others: dict[str, Any] | None = None, **nats: Any) -> str:
    """Give the token of a user with no limits but those that are said."""
    return encode(claims("user", issuer, key, {**UNLIMITED, **nats}, **(others or {})), issuer)


def scoped(issuer: Key, key: Key, account: Key, *, others: dict[str, Any] | None = None, **nats: Any) -> str:
    """Give the token of a user that says nothing of its own terms."""
    return encode(claims("user", issuer, key, {"issuer_account": account.public, **nats}, **(others or {})), issuer)
