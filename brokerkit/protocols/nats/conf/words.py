"""What a bare word stands for: a number, a size, true or false, a date, or the text that it is.

The rules are nats-server's, as it shows them: ``1k`` is 1000 and ``1kb`` 1024, ``1_000`` is a text, and what begins as
a number or a date and is none is refused.  A duration such as ``10s`` is a text here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

TRUE = frozenset({"true", "yes", "on"})
FALSE = frozenset({"false", "no", "off"})
MOST = 2**63 - 1

_SIZE = re.compile(r"(-?[0-9]+)(?:([kmgtpe])(b|i|ib)?)?", re.IGNORECASE)
_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+")
_BEGUN_FLOAT = re.compile(r"-?[0-9]+\.(?:[0-9]*)(?!\.[0-9])")
_SEVERAL_DOTS = re.compile(r"[0-9]+\.[0-9]+\.")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_BEGUN_DATE = re.compile(r"[0-9]+-")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
_ESCAPE = re.compile(r"\\(x(?P<hex>[0-9A-Fa-f]{2})|(?P<letter>.?))", re.DOTALL)
_LETTERS = {"t": "\t", "n": "\n", "r": "\r", '"': '"', "\\": "\\"}


def meaning(word: str) -> str | int | float | bool | datetime:
    """Give what a bare word stands for; raise ``ValueError`` with the reason if it is none."""
    if (truth := _truth(word)) is not None:
        return truth
    if word[:1] == "-" or word[:1] in "0123456789":
        number = _number(word)
        if number is not None:
            return number
    return unescaped(word)


def _truth(word: str) -> bool | None:
    low = word.lower()
    return low in TRUE if low in TRUE or low in FALSE else None


def _number(word: str) -> int | float | datetime | None:
    """Give a number or a date; ``None`` for what only begins with a digit, as an address does."""
    if size := _SIZE.fullmatch(word):
        return _whole(int(size[1]) * _unit(size[2], size[3]))
    if _FLOAT.fullmatch(word):
        return float(word)
    if _DATE.fullmatch(word):
        return datetime.strptime(word, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if _BEGUN_DATE.match(word):
        raise ValueError("what begins as a date is one such as 2027-01-31T12:00:00Z; put quotes around a text")
    if word.startswith("-") or (_BEGUN_FLOAT.match(word) and not _SEVERAL_DOTS.match(word)):
        raise ValueError("what begins as a number is one; put quotes around a text")
    return None


def _unit(letter: str | None, more: str | None) -> int:
    return int((1024 if more else 1000) ** _POWERS[letter.lower()]) if letter else 1


def _whole(number: int) -> int:
    if not -MOST <= number <= MOST:
        raise ValueError("a number of at most 63 bits is expected")
    return number


def unescaped(text: str) -> str:
    r"""Give a text without its escapes, which are \t, \n, \r, \", \\ and \xXX; raise ``ValueError`` for others.

    Bytes that are not ASCII are UTF-8 together, as in a file.
    """
    if "\\" not in text:
        return text
    return _ESCAPE.sub(_letter, text).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _letter(found: re.Match[str]) -> str:
    if found["hex"]:
        return bytes.fromhex(found["hex"]).decode("utf-8", "surrogateescape")
    letter = _LETTERS.get(found["letter"])
    if letter is None:
        raise ValueError(r"behind a backslash comes one of t n r \" \ and xXX with two hexadecimal digits")
    return letter
