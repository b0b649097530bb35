"""The head of a request (RFC 9112), read in one go when all of it is there.

Two programs that read the same bytes as different requests are how one is smuggled past the other.  So what the RFC
lets a server guess is not guessed: a line that ends otherwise than in CR LF, a space before a colon, a line that goes
on in the next, two lengths, or a length beside another way to end, is no request.
"""

from __future__ import annotations

import re
from typing import NamedTuple

Headers = dict[bytes, list[bytes]]  # the values of each name, which is in small letters

MOST = 500  # headers of one request
DIGITS = 18  # of a Content-Length

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIRST = re.compile(rb"(%b) ([\x21-\x7e\x80-\xff]+) (HTTP/1\.[01])" % _TOKEN)
_NAME = re.compile(_TOKEN)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH = re.compile(rb"[0-9]{1,%d}" % DIGITS)


class NoRequest(Exception):
    """What came is no request; the text says why and has nothing of it in it."""


class Head(NamedTuple):
    """What a request says before its body.

    ``length`` is how many bytes the body has, ``None`` if it comes in chunks.  ``persistent`` says that the connection
    may stay open behind it, ``waits`` that the body comes when it is asked for (100-continue).
    """

    method: bytes
    target: bytes
    version: bytes
    headers: Headers
    length: int | None
    persistent: bool
    waits: bool


def read_head(data: bytes) -> Head:
    """Read a head without its empty line; raise ``NoRequest``."""
    first, *lines = data.split(b"\r\n")
    found = _FIRST.fullmatch(first)
    if found is None:
        raise NoRequest("the first line is no method, target and HTTP/1.0 or HTTP/1.1")
    if len(lines) > MOST:
        raise NoRequest(f"at most {MOST} headers are read")
    method, target, version = found.groups()
    headers = _read_headers(lines)
    modern = version == b"HTTP/1.1"
    if len(headers.get(b"host", ())) > 1:
        raise NoRequest("Host is said twice")
    return Head(
        method,
        target,
        version,
        headers,
        _read_length(headers, modern=modern),
        modern and not _says(headers, b"connection", b"close"),
        modern and _says(headers, b"expect", b"100-continue"),
    )


def _read_headers(lines: list[bytes]) -> Headers:
    headers: Headers = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or _NAME.fullmatch(name) is None:
            raise NoRequest("a header is no name, colon and value")
        if _CONTROL.search(value) is not None:
            raise NoRequest("a header has a control character in it")
        name = name.lower()
        if name in headers:
            headers[name].append(value.strip(b" \t"))
        else:
            headers[name] = [value.strip(b" \t")]
    return headers


def _read_length(headers: Headers, *, modern: bool) -> int | None:
    lengths = headers.get(b"content-length")
    if b"transfer-encoding" in headers:
        if lengths is not None or not modern or [one.lower() for one in headers[b"transfer-encoding"]] != [b"chunked"]:
            raise NoRequest("Transfer-Encoding can be chunked, with HTTP/1.1, and without Content-Length")
        return None
    if lengths is None:
        return 0
    if len(lengths) > 1 or _LENGTH.fullmatch(lengths[0]) is None:
        raise NoRequest("Content-Length is not one number")
    return int(lengths[0])


def _says(headers: Headers, name: bytes, word: bytes) -> bool:
    """Say whether a header that is a list of words has that one."""
    return name in headers and any(one.strip().lower() == word for one in b",".join(headers[name]).split(b","))
