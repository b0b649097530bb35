"""On which line of a users.json something stands: found when somebody asks, since JSON's own reader does not say."""

from __future__ import annotations

import re
from contextlib import suppress
from json import JSONDecoder
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    Place = tuple[str | int, ...]  # the keys and indexes that lead to a value

MARK = re.compile(r'["{}\[\],:]')
DECODER = JSONDecoder()


def where(path: str, *place: str, entry: str | None = None) -> str:
    """Give ``PATH:LINE`` of the member that the keys lead to, or of an entry in the list that it is.

    What is not in the file, which may be newer than the users that are known, is looked for one level above; in the
    end there is only the path.
    """
    with suppress(OSError, ValueError):
        found = line(Path(path).read_text(encoding="utf-8-sig"), place, entry)
        if found:
            return f"{path}:{found}"
    return path


def line(text: str, place: Place, entry: str | None = None) -> int:
    """Give the number of the line of what ``where`` looks for, 0 if there is none."""
    best, depth = -1, 0
    for leads, offset, value in strings(text):
        if value is None:
            if len(leads) > depth and leads == place[: len(leads)]:
                best, depth = offset, len(leads)
        elif value == entry and leads[:-1] == place:
            best = offset
            break
    return text.count("\n", 0, best) + 1 if best >= 0 else 0


def strings(text: str) -> Iterator[tuple[Place, int, str | None]]:
    """Give every key, and every string that is a value: what leads there, the offset, and the value (of no key).

    Raises ``ValueError`` for a string that is none; what is no JSON otherwise gives something or other.
    """
    leads: list[str | int] = []
    in_object: list[bool] = []
    at_key = False
    offset = 0
    while (mark := MARK.search(text, offset)) is not None:
        offset, sign = mark.end(), mark[0]
        if sign == '"':
            start = mark.start()
            string, offset = DECODER.raw_decode(text, start)
            if at_key:
                leads[-1] = string
                yield tuple(leads), start, None
            else:
                yield tuple(leads), start, string
        elif sign in "{[":
            in_object.append(sign == "{")
            leads.append("" if sign == "{" else 0)
            at_key = in_object[-1]
        elif sign in "}]":
            if in_object:
                in_object.pop()
                leads.pop()
            at_key = False
        elif sign == ":":
            at_key = False
        elif in_object and in_object[-1]:
            at_key = True
        elif in_object:
            leads[-1] = int(leads[-1]) + 1
