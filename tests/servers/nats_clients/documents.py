"""Keys and JWTs of an operator, an account and its users: what operators make with `nsc`, made here for tests.

The form is that of NATS' version 2: a header with the algorithm ``ed25519-nkey``, claims, and a signature over both.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

OPERATOR, ACCOUNT, USER = 14 << 3, 0, 20 << 3  # the first byte of a key says whose it is, by base32's first letter
SEED = 18 << 3
SHORT = 3  # seconds that short credentials are good for


class Key:
    """A key of one of these kinds; the same word gives the same key."""

    def __init__(self, kind: int, word: str) -> None:
        """Make it."""
        secret = hashlib.sha256(f"a test's key: {kind} {word}".encode()).digest()
        self._private = Ed25519PrivateKey.from_private_bytes(secret)
        public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = _spelled(bytes([kind]) + public)
        self.seed = _spelled(bytes([SEED | kind >> 5, (kind & 31) << 3]) + secret)

    def jwt(self, subject: str, kind: str, name: str, expires: float = 0, **nats: Any) -> str:
        """Sign claims about ``subject``."""
        now = int(time.time())
        claims: dict[str, Any] = {"iat": now, "iss": self.public, "sub": subject, "name": name}
        if expires:
            claims["exp"] = int(now + expires)
        claims["nats"] = {"type": kind, "version": 2, **nats}
        claims["jti"] = base64.b32encode(hashlib.sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
        parts = (json.dumps(part).encode() for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims))
        text = b".".join(map(_url_safe, parts))
        return (text + b"." + _url_safe(self._private.sign(text))).decode()


def _spelled(content: bytes) -> str:
    checksum = binascii.crc_hqx(content, 0).to_bytes(2, "little")
    return base64.b32encode(content + checksum).decode().rstrip("=")


def _url_safe(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


class Organization:
    """An operator with a system account and one with users."""

    def __init__(self) -> None:
        """Sign what a server is told."""
        limits = {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1}
        self._account, self._strange = Key(ACCOUNT, "account"), Key(ACCOUNT, "strange")
        operator, system, gone = Key(OPERATOR, "operator"), Key(ACCOUNT, "system"), Key(USER, "revoked")
        self.system = system.public
        self.operator = operator.jwt(operator.public, "operator", "tests", system_account=system.public)
        revocations = {gone.public: int(time.time()) + 3600}
        self.accounts = {
            system.public: operator.jwt(system.public, "account", "SYS", limits=limits | {"wildcards": True}),
            self._account.public: operator.jwt(
                self._account.public, "account", "A", limits=limits | {"wildcards": True}, revocations=revocations
            ),
        }

    def credentials(self, name: str) -> str:
        """Give the text of a ``.creds`` file: of ``good``, ``expired``, ``stranger``, ``revoked`` or ``short``."""
        key = Key(USER, name)
        issuer = self._strange if name == "stranger" else self._account
        expires = {"expired": -60, "short": SHORT}.get(name, 0)
        rights = {"pub": {"allow": ["allowed.>"]}, "sub": {"allow": ["allowed.>", "_INBOX.>"]}}
        claims = issuer.jwt(key.public, "user", name, expires, **rights, subs=-1, data=-1, payload=-1)
        return (
            f"-----BEGIN NATS USER JWT-----\n{claims}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{key.seed}\n------END USER NKEY SEED------\n"
        )
