"""What clients say first and what they are answered: the words that several tests use.

Conversations with nothing else to them are in the transcripts.
"""

from __future__ import annotations

from brokerkit.grants import PUBLISH, SUBSCRIBE, Access, Grants, patterns

QUIET = b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n'
VERBOSE = b'CONNECT {"verbose":true,"pedantic":false,"headers":true}\r\n'
NO_RESPONDERS = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'
NO_ECHO = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"echo":false}\r\n'
ANN = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"user":"ann","pass":"secret"}\r\n'

OK = b"+OK\r\n"
TOO_LONG = b"-ERR 'maximum control line exceeded'\r\n"
REFUSED = b"-ERR 'Authorization Violation'\r\n"

USERS = {"ann": "secret", "bob": "other"}
ALLOW_PUBLISH, DENY_PUBLISH = ["pub.>", "a.*", "r"], ["pub.no.>"]
ALLOW_SUBSCRIBE, DENY_SUBSCRIBE = ["sub.>", "pub.>", "a.*", "r"], ["sub.no", "sub.not.>", "pub.hidden.>"]


def _access(allow: list[str], deny: list[str]) -> Access:
    return Access(patterns(name.encode() for name in allow), patterns(name.encode() for name in deny))


GRANTS = {
    "ann": Grants({PUBLISH: _access(ALLOW_PUBLISH, DENY_PUBLISH), SUBSCRIBE: _access(ALLOW_SUBSCRIBE, DENY_SUBSCRIBE)}),
}


def denied(what: str, subject: str, queue: str = "") -> bytes:
    """Spell a permissions error; what is in quotes is quoted already."""
    using = f' using queue "{queue}"' if queue else ""
    return f"-ERR 'Permissions Violation for {what} \"{subject}\"{using}'\r\n".encode()


def sub(what: str, queue: str = "") -> bytes:
    """Spell the permissions error of a SUB."""
    return denied("Subscription to", what, queue)


def status(subject: bytes, to: bytes = b"r", sid: bytes = b"1") -> bytes:
    """Spell the 503 that says that nobody hears a subject."""
    size = 32 + len(subject)
    return b"HMSG %b %b %d %d\r\nNATS/1.0 503\r\nNats-Subject: %b\r\n\r\n\r\n" % (to, sid, size, size, subject)
