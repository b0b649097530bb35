"""The second version of discovery: a question with a nonce, and an answer that only who has the key can have given.

Question: ``BPD2 `` and a JSON object: ``n`` is the name, or ``h`` its digest (so that nobody on the way reads it),
``nonce`` are 16 random bytes in base64, ``pad`` is anything, for an answer is never longer than its question.

Answer: a JSON object: ``id`` (which broker), ``port``, ``tls_sha256`` (of its certificate, in hex), ``rev`` (of the
registry), the same ``nonce``, and ``mac``: HMAC-SHA256 with the discovery key, in hex, over ``bpd2 answer``, a line
end, and the answer without ``mac`` as JSON with sorted members and no blanks.  Whoever checks it and then holds the TLS
certificate against ``tls_sha256`` talks to that broker and to nobody in between.

A broker of the original takes the question for a name that it does not know, and says nothing.  No Twisted here: the
client's side uses it, too.
"""

from __future__ import annotations

import binascii
import hmac
import json
import os
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

BEGIN = b"BPD2 "
NONCE = 16  # bytes
ROOM = 320  # bytes that a question has at the least, so that there is room for the answer
_ANSWER = b"bpd2 answer\n"
_NAME = b"bpd2 name\n"


@attrs.frozen
class Question:
    """What is asked: a name, or its digest."""

    nonce: str
    name: str = ""
    digest: str = ""


@attrs.frozen
class Told:
    """What a broker says of itself."""

    id: str
    port: int
    tls_sha256: str
    rev: int


def digest_of(key: bytes, name: str) -> str:
    """Give what stands for a name in a question that does not show it."""
    return hmac.digest(key, _NAME + name.encode(), "sha256").hex()


def ask(name: str, key: bytes = b"", *, hide: bool = True) -> tuple[str, bytes]:
    """Give a fresh nonce and the question for a name; with ``hide`` it shows the name to nobody without the key."""
    nonce = b64encode(os.urandom(NONCE)).decode()
    what = {"h": digest_of(key, name)} if hide else {"n": name}
    text = json.dumps({**what, "nonce": nonce, "pad": ""})
    missing = ROOM - len(BEGIN) - len(text)
    return nonce, BEGIN + json.dumps({**what, "nonce": nonce, "pad": "." * max(0, missing)}).encode()


def read_question(datagram: bytes) -> Question | None:
    """Read a question; ``None`` for what is none."""
    found = _object(datagram[len(BEGIN) :]) if datagram.startswith(BEGIN) else None
    if found is None or not _is_nonce(found.get("nonce")):
        return None
    name, digest = found.get("n", ""), found.get("h", "")
    if not isinstance(name, str) or not isinstance(digest, str) or not (name or digest):
        return None
    return Question(found["nonce"], name, digest)


def write_answer(told: Told, nonce: str, key: bytes) -> bytes:
    """Give the signed answer."""
    members = {**attrs.asdict(told), "nonce": nonce}
    return _canonical({**members, "mac": _mac(members, key)})


def read_answer(datagram: bytes, nonce: str, key: bytes) -> Told | None:
    """Give what an answer says, ``None`` if it is none, is to another question, or was not signed with the key."""
    found = _object(datagram)
    if found is None:
        return None
    mac = found.pop("mac", None)
    if not isinstance(mac, str) or not mac.isascii() or not hmac.compare_digest(mac, _mac(found, key)):
        return None
    if found.pop("nonce", None) != nonce or found.keys() != {"id", "port", "tls_sha256", "rev"}:
        return None
    told = Told(**found)
    right = isinstance(told.id, str) and isinstance(told.tls_sha256, str) and type(told.rev) is int
    return told if right and type(told.port) is int and 0 < told.port <= 0xFFFF else None  # noqa: PLR2004


class Answers:
    """The broker's side.  ``told`` gives what it says of itself, ``find`` the name of a digest, if it is there."""

    def __init__(
        self,
        key: bytes,
        is_there: Callable[[str], bool],
        find: Callable[[str], str | None],
        told: Callable[[], Told],
    ) -> None:
        """Sign with that key."""
        self._key = key
        self._is_there = is_there
        self._find = find
        self._told = told

    def answer(self, datagram: bytes) -> bytes:
        """Give the answer to a question; nothing for silence, also where the answer would be longer."""
        question = read_question(datagram)
        if question is None:
            return b""
        name = question.name or self._find(question.digest)
        if name is None or not self._is_there(name):
            return b""
        answer = write_answer(self._told(), question.nonce, self._key)
        return answer if len(answer) <= len(datagram) else b""


def _mac(members: dict[str, Any], key: bytes) -> str:
    return hmac.digest(key, _ANSWER + _canonical(members), "sha256").hex()


def _canonical(members: dict[str, Any]) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_nonce(text: object) -> bool:
    if not isinstance(text, str) or len(text) > 2 * NONCE:
        return False
    try:
        return len(b64decode(text, validate=True)) == NONCE
    except (binascii.Error, ValueError):
        return False
