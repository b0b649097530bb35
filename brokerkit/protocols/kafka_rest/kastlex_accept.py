"""Which of KastleX's two formats an answer has, and how its parameters are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.web import Problem

if TYPE_CHECKING:
    from brokerkit.web import Asked

JSON, BINARY = "json", "binary"
FORMATS = (JSON, BINARY)
DIGITS = 18  # of a number: more are none that there can be
_BY_TYPE = {
    b"*/*": JSON,
    b"application/*": JSON,
    b"application/json": JSON,
    b"application/binary": BINARY,
}


def accepted(asked: Asked) -> str:
    """Give the format that is asked for: by ``_format`` first, then by Accept; JSON where nothing is said.

    Raises ``Problem`` 406 where neither is wanted.
    """
    if b"_format" in asked.raw_query and (wanted := asked.query.get("_format")):
        if wanted in FORMATS:
            return wanted
        raise _unacceptable()
    found = asked.headers.get(b"accept")
    if not found:
        return JSON
    return _BY_TYPE.get(found[0]) or _best(b",".join(found)) if len(found) == 1 else _best(b",".join(found))


def _best(header: bytes) -> str:
    """Give the format of the entry with the highest weight, of several the first."""
    best, weight = "", 0.0
    for entry in header.lower().split(b","):
        kind, _, rest = entry.partition(b";")
        found = _BY_TYPE.get(kind.strip())
        if found is not None and (q := _weight(rest)) > weight:
            best, weight = found, q
    if not best:
        raise _unacceptable()
    return best


def _weight(parameters: bytes) -> float:
    for parameter in parameters.split(b";"):
        name, _, value = parameter.partition(b"=")
        if name.strip() == b"q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


def _unacceptable() -> Problem:
    return Problem(406, "Not Acceptable", "application/json and application/binary are what there is")


def number(asked: Asked, name: str, usual: int) -> int:
    """Give a parameter that is a whole number; raise ``Problem`` 400 for what is none, or negative."""
    text = asked.query.get(name, "")
    return whole(text, name) if text else usual


def whole(text: str, name: str) -> int:
    """Give a whole number; raise ``Problem`` 400 for what is none, or negative."""
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS):
        raise Problem(400, "Bad Request", f"{name}: found {text[:50]!r}, expected a whole number, not negative")
    return int(text)
