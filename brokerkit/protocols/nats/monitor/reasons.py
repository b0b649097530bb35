"""Why a connection has ended, in the words of nats-server's ``/connz?state=closed``.

A session knows it as the error that ended it, or as one word.  Errors are told apart by what the client was answered,
since that is nats-server's own text; where it answers nothing, it calls the end a violation of the protocol.
"""

from __future__ import annotations

from brokerkit.errors import ClientError, LoginFailed

CLIENT_CLOSED = "Client Closed"
AUTHENTICATION_FAILURE = "Authentication Failure"
AUTHENTICATION_TIMEOUT = "Authentication Timeout"
PROTOCOL_VIOLATION = "Protocol Violation"
STALE = "Stale Connection"
REFUSED = (AUTHENTICATION_FAILURE, AUTHENTICATION_TIMEOUT)  # what an event tells the operator of
SLOW = ("Slow Consumer (Pending Bytes)", "Slow Consumer (Write Deadline)")

_WORDS = {
    "closed": CLIENT_CLOSED,
    "lost": "Read Error",
    "error": "Write Error",
    "limit": SLOW[0],
    "deadline": SLOW[1],
    "tls": "TLS Handshake Failure",
    "shutdown": "Server Shutdown",
    "kicked": "Kicked",
    "revoked": "Credentials Revoked",
    "expired": "Authentication Expired",
    "bug": "Internal Client",
}
_ANSWERS = {
    "Authorization Violation": AUTHENTICATION_FAILURE,
    "Authentication Timeout": AUTHENTICATION_TIMEOUT,
    "Stale Connection": STALE,
    "Maximum Payload Violation": "Maximum Message Payload Exceeded",
    "maximum control line exceeded": "Maximum Control Line Exceeded",
    "maximum connections exceeded": "Maximum Connections Exceeded",
    "maximum account active connections exceeded": "Maximum Account Connections Exceeded",
    "invalid client protocol": "Bad Client Protocol Version",
    "no responders requires headers support": "No Responders Requires Headers",
}
_KINDS = {
    "login": AUTHENTICATION_FAILURE,
    "too-large": "Maximum Message Payload Exceeded",
    "too-slow": STALE,
    "client": CLIENT_CLOSED,
}


def reason(cause: object) -> str:
    """Give nats-server's words for what has ended a session (``Session.cause``)."""
    if not isinstance(cause, ClientError):
        return _WORDS.get(str(cause), CLIENT_CLOSED)
    known = _ANSWERS.get(cause.reply or "")
    if known is not None:
        return known
    return AUTHENTICATION_FAILURE if isinstance(cause, LoginFailed) else _KINDS.get(cause.kind, PROTOCOL_VIOLATION)
