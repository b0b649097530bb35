"""From the text of a NATS JWT to its claims: three pieces of base64, the last one a signature by an nkey.

It is not the JWT of other libraries: the algorithm is called ``ed25519-nkey``, the issuer is the key itself, and which
bytes are signed depends on the version that the claims state.  Nothing is trusted here but that the issuer has signed
what was read; whether that issuer may say so is for ``brokerkit.jwts.authority``.

The rules are those of the public library ``nats-io/jwt``, versions 1 and 2.
"""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import attrs

from brokerkit import nkeys
from brokerkit.jwts.fields import BadJwt, Fields

ALGORITHMS = ("ed25519-nkey", "ed25519")
LATEST = 2
MAX_SIZE = 1024 * 1024  # bytes of one token; one of an account can be long
_URL_SAFE = str.maketrans("-_", "+/")

OPERATOR, ACCOUNT, USER, ACTIVATION = "operator", "account", "user", "activation"
RESPONSE = "authorization_response"
_ISSUERS = {OPERATOR: "O", ACCOUNT: "OA", USER: "A", ACTIVATION: "OA", RESPONSE: "A"}  # kinds of keys that may issue it


@attrs.frozen
class Token:
    """A JWT whose signature is right.

    Moments are in seconds since 1970, 0 where there is none.  ``nats`` are the claims that are NATS' own.
    """

    text: str = attrs.field(repr=False)
    kind: str
    version: int
    issuer: str
    subject: str
    audience: str
    name: str
    tags: tuple[str, ...]
    issued: int
    expires: int
    not_before: int
    nats: Fields = attrs.field(repr=False)

    def check_time(self, now: float) -> None:
        """Raise ``BadJwt`` if it is not valid at that moment."""
        if 0 < self.expires < now:
            raise BadJwt(_whose(self.kind, "has expired"))
        if self.not_before > now:
            raise BadJwt(_whose(self.kind, "is not yet valid"))


def _whose(kind: str, what: str) -> str:
    return f"that {what}" if kind == USER else f"of an {kind} whose JWT {what}"


def decode(text: str, kind: str) -> Token:
    """Read a token of that kind; raise ``BadJwt`` for what is none, or is not signed by its issuer."""
    if len(text) > MAX_SIZE:
        raise BadJwt(f"that is longer than {MAX_SIZE} bytes")
    pieces = text.split(".")
    if len(pieces) != 3:  # noqa: PLR2004  header, claims, signature
        raise BadJwt("that has not three parts")
    header, claims = (Fields(_object(piece)) for piece in pieces[:2])
    if header.text("typ").upper() != "JWT" or header.text("alg").lower() not in ALGORITHMS:
        raise BadJwt(f"that has not the type JWT, or not the algorithm {ALGORITHMS[0]}")
    token = _token(text, claims)
    signed = pieces[1] if token.version == 1 else f"{pieces[0]}.{pieces[1]}"
    if not nkeys.is_signed(token.issuer, signed.encode(), _bytes(pieces[2])):
        raise BadJwt("that is not signed by its issuer")
    if token.kind != kind:
        raise BadJwt(f"that is not of the type {kind}")
    if token.issuer[0] not in _ISSUERS[kind]:
        raise BadJwt(f"of the type {kind}, which such an issuer may not give")
    return token


def _token(text: str, claims: Fields) -> Token:
    nats = claims.table("nats")
    kind = claims.text("type")  # there in version 1 only
    version = 1 if kind else nats.number("version")
    if not 1 <= version <= LATEST:
        raise BadJwt(f"that is not of a version up to {LATEST}")
    return Token(
        text,
        kind or nats.text("type"),
        version,
        claims.text("iss"),
        claims.text("sub"),
        claims.text("aud"),
        claims.text("name"),
        (claims if version == 1 else nats).texts("tags"),
        claims.number("iat"),
        claims.number("exp"),
        claims.number("nbf"),
        nats,
    )


def _object(piece: str) -> Any:  # noqa: ANN401  whatever JSON says
    try:
        return json.loads(_bytes(piece), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BadJwt("with a part that is no JSON") from None


def _refuse(constant: str) -> None:
    """Refuse NaN and the infinities, which only Python takes for JSON."""
    raise ValueError(constant)


def _bytes(piece: str) -> bytes:
    """Read URL-safe base64 without padding."""
    if "+" in piece or "/" in piece or "=" in piece:
        raise BadJwt("with a part that is no base64")
    try:
        return b64decode(piece.translate(_URL_SAFE) + "=" * (-len(piece) % 4), validate=True)
    except ValueError:
        raise BadJwt("with a part that is no base64") from None
