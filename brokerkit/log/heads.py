"""Headers of records and the header block of NATS messages, turned into each other.

A record's headers are pairs of a name and a value, in order, the same name perhaps several times.  The block is
``NATS/1.0`` and lines of ``Name: value``, each ended by CRLF, with an empty line at the end.  The broker passes blocks
on as they are, so anything may stand in one that a client has sent: what is no header is left out, nothing raises.

The other way round a header that the block cannot say is left out, since it could forge others: a line break in it, a
colon or a blank in its name.  A value that is null becomes an empty one: the block knows no other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    Headers = tuple[tuple[bytes, bytes | None], ...]

VERSION = b"NATS/1.0"
STATUS, DESCRIPTION = b"Status", b"Description"  # how NATS' own clients call what stands behind the version
_STATUS = re.compile(rb" *([0-9]{3})(?: +(.*))?")
_NAME = re.compile(rb"[!-9;-~]+")  # printable ASCII but the colon, as in ADR-4 of NATS
_BREAK = re.compile(rb"[\r\n]")


def headers_of(block: bytes) -> Headers:
    """Give the headers that stand in a block of NATS; none if it is empty or no such block."""
    if not block.startswith(VERSION):
        return ()
    first, *lines = block.split(b"\r\n")
    found: list[tuple[bytes, bytes | None]] = []
    status = _STATUS.fullmatch(first[len(VERSION) :])
    if status is not None:
        found.append((STATUS, status[1]))
        if status[2]:
            found.append((DESCRIPTION, status[2]))
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon and name:
            found.append((name, value.strip(b" \t")))
    return tuple(found)


def block_of(headers: Iterable[tuple[bytes, bytes | None]]) -> bytes:
    """Give the block that says these headers; empty where there are none that it can say."""
    lines = [b"%b: %b\r\n" % (name, value or b"") for name, value in headers if _can_say(name, value)]
    return b"%b\r\n%b\r\n" % (VERSION, b"".join(lines)) if lines else b""


def _can_say(name: bytes, value: bytes | None) -> bool:
    return _NAME.fullmatch(name) is not None and (value is None or _BREAK.search(value) is None)
