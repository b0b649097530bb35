"""What a request to the modern API says: numbers, switches and offsets, in one place with one kind of complaint."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from brokerkit.web import Problem, read_json

if TYPE_CHECKING:
    from brokerkit.web import Asked

LARGEST = (1 << 62) - 1
DIGITS = 19
PARTITIONS = 1 << 20
_TRUE, _FALSE = {"", "1", "true", "yes"}, {"0", "false", "no"}
_TAGS = re.compile(r'\s*(?:W/)?"[^"]*"\s*(?:,\s*(?:W/)?"[^"]*"\s*)*')
_TAG = re.compile(r'(?:W/)?"([^"]*)"')


def number(asked: Asked, name: str, usual: float, least: float, most: float) -> float:
    """Give a parameter as a number; raise ``Problem`` 400 if it is none, or not within those bounds."""
    text = asked.query.get(name)
    if text is None:
        return usual
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not least <= found <= most:
        raise bad(f"{name}: expected a number from {least:g} to {most:g}")
    return found


def whole(asked: Asked, name: str, usual: int, least: int, most: int) -> int:
    """Give a parameter as a whole number; raise ``Problem`` 400 if it is none, or not within those bounds."""
    text = asked.query.get(name)
    return usual if text is None else _whole(text, name, least, most)


def _whole(text: str, name: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS and least <= int(text) <= most):
        raise bad(f"{name}: expected a whole number from {least} to {most}")
    return int(text)


def switch(asked: Asked, name: str) -> bool:
    """Give a parameter as yes or no; to name it is to say yes.  Raises ``Problem`` 400."""
    text = asked.query.get(name, "0").lower()
    if text not in _TRUE | _FALSE:
        raise bad(f"{name}: expected true or false")
    return text in _TRUE


def one_of(asked: Asked, name: str, words: tuple[str, ...]) -> str:
    """Give a parameter that is one of a few words, the first where nothing is said; raise ``Problem`` 400."""
    text = asked.query.get(name, words[0])
    if text not in words:
        raise bad(f"{name}: expected {' or '.join(words)}")
    return text


def partition(asked: Asked) -> int:
    """Give the partition that the path names; raise ``Problem`` 404 for what cannot be one."""
    text = asked.values["partition"]
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS and int(text) < PARTITIONS):
        raise Problem(404, "Not Found", "a partition is a whole number, beginning with 0")
    return int(text)


def partitions(asked: Asked, count: int) -> tuple[int, ...]:
    """Give the partitions that are to be read, all of ``count`` where nothing is said; raise ``Problem`` 400 or 404."""
    text = asked.query.get("partitions")
    if text is None:
        return tuple(range(count))
    found = sorted({_whole(word.strip(), "partitions", 0, PARTITIONS) for word in text.split(",")})
    if found[-1] >= count:
        raise Problem(404, "Not Found", f"the topic has {count} partitions, and no partition {found[-1]}")
    return tuple(found)


def moment(text: str, name: str) -> int:
    """Give a moment in ms since 1970, said so or as in RFC 3339; raise ``Problem`` 400."""
    if text.isascii() and text.isdigit() and len(text) <= DIGITS:
        return min(int(text), LARGEST)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise bad(f"{name}: expected ms since 1970, or a moment such as 2026-01-31T12:00:00Z") from None
    found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    return max(0, int(found.timestamp() * 1000))


def is_known(asked: Asked, tag: str) -> bool:
    """Say whether the asker has what has this tag already, by If-None-Match; raise ``Problem`` 400."""
    text = asked.header("if-none-match").strip()
    if not text:
        return False
    if text == "*":
        return True
    if not _TAGS.fullmatch(text):
        raise Problem(400, "Bad header", 'if-none-match: expected tags such as "17", or *')
    return tag in _TAG.findall(text)


def accepts(asked: Asked, *kinds: str) -> str:
    """Give the first of those media types that the asker takes; raise ``Problem`` 406 if there is none."""
    text = asked.header("accept").strip()
    if not text:
        return kinds[0]
    wanted = [_range(one) for one in text.split(",")]
    wanted.sort(key=lambda one: -one[1])
    for name, quality in wanted:
        if quality <= 0:
            continue
        for kind in kinds:
            if name in {"*/*", kind, f"{kind.partition('/')[0]}/*"}:
                return kind
    raise Problem(406, "Not Acceptable", f"there is {', '.join(kinds)}")


def _range(text: str) -> tuple[str, float]:
    name, *parameters = (word.strip().lower() for word in text.split(";"))
    for one in parameters:
        key, _, value = one.partition("=")
        if key.strip() == "q":
            try:
                return name, float(value)
            except ValueError:
                return name, 0.0
    return name, 1.0


def content_type(asked: Asked) -> str:
    """Give the media type of the body, in lower case and without parameters."""
    return asked.header("content-type").partition(";")[0].strip().lower()


def an_object(value: object, what: str = "the body") -> dict[str, Any]:
    """Give a JSON object; raise ``Problem`` 400 if it is something else."""
    if not isinstance(value, dict):
        raise Problem(400, "Not an object", f"{what} has to be a JSON object")
    return value


def object_of(body: bytes, *known: str) -> dict[str, Any]:
    """Give a body as a JSON object with none but the known members; raise ``Problem`` 400."""
    return only(an_object(read_json(body)) if body.strip() else {}, "the body", *known)


def only(given: dict[str, Any], where: str, *known: str) -> dict[str, Any]:
    """Give an object that has none but the known members; raise ``Problem`` 400."""
    for name in given:
        if name not in known:
            raise bad(f"{where}: {name!r} is not known; known are {', '.join(known)}")
    return given


def text_of(given: dict[str, Any], name: str, usual: str = "") -> str:
    """Give a member that is a string; raise ``Problem`` 400."""
    value = given.get(name, usual)
    if not isinstance(value, str):
        raise bad(f"{name}: expected a string")
    as_bytes(value, name)
    return value


def texts_of(given: dict[str, Any], name: str, most: int = 1000) -> list[str]:
    """Give a member that is a list of strings; raise ``Problem`` 400."""
    value = given.get(name, [])
    if not isinstance(value, list) or len(value) > most or not all(isinstance(one, str) for one in value):
        raise bad(f"{name}: expected a list of at most {most} strings")
    for one in value:
        as_bytes(one, name)
    return value


def whole_of(given: dict[str, Any], name: str, usual: int | None, least: int = 0, most: int = LARGEST) -> int:
    """Give a member that is a whole number; raise ``Problem`` 400, also if it is not there and there is no usual."""
    value = given.get(name, usual)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 is a whole number, says JSON Schema
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise bad(f"{name}: expected a whole number from {least} to {most}")
    return value


def number_of(given: dict[str, Any], name: str, usual: float, least: float, most: float) -> float:
    """Give a member that is a number; raise ``Problem`` 400."""
    value = given.get(name, usual)
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise bad(f"{name}: expected a number from {least:g} to {most:g}")
    return float(value)


def switch_of(given: dict[str, Any], name: str, *, usual: bool = False) -> bool:
    """Give a member that is true or false; raise ``Problem`` 400."""
    value = given.get(name, usual)
    if not isinstance(value, bool):
        raise bad(f"{name}: expected true or false")
    return value


def as_bytes(text: str, name: str) -> bytes:
    """Give a text in UTF-8; raise ``Problem`` 400 for one that holds half of a pair of surrogates."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise bad(f"{name}: holds half of a surrogate pair, which is no text") from None


def bad(detail: str) -> Problem:
    """Give the problem of a parameter, or a member, that is not usable."""
    return Problem(400, "Bad request", detail)
