"""The head of an answer: whatever a call has put into it, it is as many lines as it should be."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus

from brokerkit.web.answer import JSON, Answer, in_one_line

WITHOUT_BODY = frozenset({101, 204, 304})
_PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}


def answer_head(version: bytes, answer: Answer, date: bytes, *, persistent: bool, length: bool = True) -> bytes:
    """Give the head of an answer, up to the empty line; without ``length``, its end is told in another way."""
    status = answer.status
    reason = in_one_line(answer.reason) if answer.reason else _PHRASES.get(status, b"Unknown")
    lines = [b"%b %d %b\r\nServer: brokerkit\r\nDate: %b" % (version, status, reason, date)]
    typed = False
    for name, value in answer.headers.items():
        written, is_type = _name(name)
        typed |= is_type
        lines.append(written + in_one_line(value))
    has_length = length and status not in WITHOUT_BODY
    if not typed and (answer.body or has_length):
        lines.append(_name("content-type")[0] + JSON.encode())
    if has_length:
        lines.append(b"Content-Length: %d" % len(answer.body))
    if not persistent:
        lines.append(b"Connection: close")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)


@lru_cache(maxsize=256)
def _name(name: str) -> tuple[bytes, bool]:
    """Give the name of a header as it is written, and whether it is the type's."""
    return in_one_line(name.title()) + b": ", name.lower() == "content-type"
