"""Somebody who decides about logins (``auth_callout``), and logins that are decided so, here and by nats-server."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any, NamedTuple

from tests.tokens import UNLIMITED, Key, claims, encode

ISSUER, STRANGER = Key("A", "issuer"), Key("A", "another issuer")
SUBJECT = b"$SYS.REQ.USER.AUTH"
PONG, REFUSED = b"PONG\r\n", b"-ERR 'Authorization Violation'\r\n"


class Named:
    """A key of which only the public part is known."""

    def __init__(self, public: str) -> None:
        """Take it."""
        self.public = public


def body(token: str) -> dict[str, Any]:
    """Give the claims of a token."""
    piece = token.split(".")[1]
    read: dict[str, Any] = json.loads(urlsafe_b64decode(piece + "=" * (-len(piece) % 4)))
    return read


class Asked(NamedTuple):
    """A login, by what it says as its user; what is answered about it, and what comes of that."""

    user: str
    accepted: bool
    answer: dict[str, Any] = {}  # noqa: RUF012  never changed: claims of the answer that are other ones
    token: dict[str, Any] = {}  # noqa: RUF012  and of the user's token
    issuers: tuple[Key, Key] = (ISSUER, ISSUER)
    nats: dict[str, Any] = {}  # noqa: RUF012  what the user may do
    stricter: bool = False  # whether nats-server lets it in nevertheless


LOGINS = [
    Asked("good", True),
    Asked("limited", True, nats={"pub": {"allow": ["a"]}}),
    Asked("refused", False, answer={"nats": {"error": "no", "type": "authorization_response", "version": 2}}),
    Asked("empty", False, answer={"nats": {"type": "authorization_response", "version": 2}}),
    Asked("for another broker", False, answer={"aud": "N" * 56}),
    Asked("for another user", False, answer={"sub": Key("U", "x").public}),
    Asked("another user", False, token={"sub": Key("U", "x").public}),
    Asked("another issuer", False, issuers=(STRANGER, ISSUER)),
    Asked("a user by another issuer", False, issuers=(ISSUER, STRANGER)),
    Asked("expired", False, token={"exp": 5}),
    Asked("an unknown account", False, token={"aud": "nowhere"}),
    Asked("from elsewhere", False, nats={"src": ["198.51.100.0/24"]}, stricter=True),
    Asked("at no hour", False, nats={"times": [{"start": "00:00:00", "end": "00:00:00"}], "times_location": "UTC"}),
]


def answered(request: bytes) -> bytes:
    """Give the answer to a request, by the user that it is about."""
    asked = body(request.decode())
    nats, server = asked["nats"], asked["nats"]["server_id"]["id"]
    login = next(one for one in LOGINS if one.user == nats["connect_opts"]["user"])
    subject: Any = Named(nats["user_nkey"])
    outer, inner = login.issuers
    token = claims("user", inner, subject, {**UNLIMITED, **login.nats}, aud="$G")
    user = encode({**token, **login.token}, inner)
    answer = claims("authorization_response", outer, subject, {"jwt": user}, aud=server)
    return encode({**answer, **login.answer}, outer).encode()
