"""What a request to the modern API says: numbers, switches, conditions, in one place with one kind of complaint."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.registry import Conflict, NoRoom, Unusable, Unwritable
from brokerkit.registry.words import HIDDEN
from brokerkit.web import Answer, Problem, json_answer

if TYPE_CHECKING:
    from brokerkit.registry import Entry, RegistryError
    from brokerkit.web import Asked

_TAG = re.compile(r'(W/)?"([^"]*)"')
_TAGS = re.compile(r'\s*(?:W/)?"[^"]*"\s*(?:,\s*(?:W/)?"[^"]*"\s*)*')
_TRUE, _FALSE = {"", "1", "true", "yes"}, {"0", "false", "no"}
AGAIN = "5"  # seconds after which a write that could not be done may be tried again


def number(asked: Asked, name: str, usual: float | None, least: float, most: float) -> float | None:
    """Give a parameter as a number; raise ``Problem`` 400 if it is none, or not within those bounds."""
    text = asked.query.get(name)
    if text is None:
        return usual
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not least <= found <= most:
        raise Problem(400, "Bad parameter", f"{name}: expected a number from {least:g} to {most:g}")
    return found


def whole(asked: Asked, name: str, usual: int | None, least: int, most: int) -> int | None:
    """Give a parameter as a whole number; raise ``Problem`` 400 if it is none, or not within those bounds."""
    text = asked.query.get(name)
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and least <= int(text) <= most):  # noqa: PLR2004
        raise Problem(400, "Bad parameter", f"{name}: expected a whole number from {least} to {most}")
    return int(text)


def switch(asked: Asked, name: str) -> bool:
    """Give a parameter as yes or no; to name it is to say yes.  Raises ``Problem`` 400."""
    text = asked.query.get(name, "0").lower()
    if text not in _TRUE | _FALSE:
        raise Problem(400, "Bad parameter", f"{name}: expected true or false")
    return text in _TRUE


def ttl(asked: Asked, longest: float) -> float | None:
    """Give the parameter ``ttl`` in seconds."""
    return number(asked, "ttl", None, 0.001, longest)


def an_object(value: object, what: str = "the body") -> dict[str, Any]:
    """Give a JSON object; raise ``Problem`` 400 if it is something else."""
    if not isinstance(value, dict):
        raise Problem(400, "Not an object", f"{what} has to be a JSON object")
    return value


def writable(name: str) -> str:
    """Give a name that may be written to; raise ``Problem`` 400 for the broker's own."""
    if name.startswith(HIDDEN):
        raise Problem(400, "Reserved name", f"a name may not begin with {HIDDEN}")
    return name


@attrs.frozen
class Condition:
    """What If-Match and If-None-Match ask of an entry before it is changed."""

    revision: int | None = None
    there: bool = False
    absent: bool = False


def condition(asked: Asked, current: Entry | None) -> Condition:
    """Read the two headers for a change; raise ``Problem`` 400 or 412.

    Of several tags in If-Match, the one of the entry that is there now is taken.
    """
    match, none_match = asked.header("if-match"), asked.header("if-none-match")
    if none_match and none_match.strip() != "*":
        raise Problem(400, "Bad header", "if-none-match: a change takes * only")
    if not match:
        return Condition(absent=bool(none_match))
    if match.strip() == "*":
        return Condition(there=True, absent=bool(none_match))
    revisions = [int(tag) for weak, tag in _tags(match, "if-match") if not weak and tag.isdecimal() and len(tag) < 19]  # noqa: PLR2004
    if not revisions:
        raise failed(current)
    now = current.revision if current is not None else 0
    return Condition(now if now in revisions else revisions[0], absent=bool(none_match))


def is_known(asked: Asked, entry: Entry) -> bool:
    """Say whether the asker has this revision already, by If-None-Match."""
    text = asked.header("if-none-match")
    return bool(text) and (
        text.strip() == "*" or any(tag == str(entry.revision) for _, tag in _tags(text, "if-none-match"))
    )


def _tags(text: str, header: str) -> list[tuple[str, str]]:
    if not _TAGS.fullmatch(text):
        raise Problem(400, "Bad header", f'{header}: expected tags such as "17", or *')
    return _TAG.findall(text)


def tag(entry: Entry) -> dict[str, str]:
    """Give the header with an entry's revision."""
    return {"etag": f'"{entry.revision}"'}


def failed(entry: Entry | None) -> Problem:
    """Give the problem of a condition that does not hold."""
    there = f"it has revision {entry.revision}" if entry is not None else "it is not there"
    return Problem(412, "Precondition Failed", there, revision=entry.revision if entry is not None else 0)


def absent(name: str) -> Problem:
    """Give the problem of an entry that is not there."""
    return Problem(404, "Not Found", f"Entry '{name}' not found")


def problem(error: RegistryError) -> Problem:
    """Give what is said of a write that was not done."""
    if isinstance(error, Conflict):
        return failed(error.entry)
    if isinstance(error, Unusable):
        return Problem(400, "Not usable", str(error))
    if isinstance(error, NoRoom):
        return Problem(507, "Insufficient Storage", "there is no room, and nothing was written")
    if isinstance(error, Unwritable):
        detail = "nothing was written; try again"
        return Problem(503, "Service Unavailable", detail, headers={"retry-after": AGAIN})
    return Problem(500, "Internal Server Error")


def record(shown: dict[str, Any], entry: Entry, status: int = 200) -> Answer:
    """Answer with one entry and its tag."""
    return json_answer(shown, status, tag(entry))
