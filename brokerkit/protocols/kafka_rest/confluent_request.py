"""What a request to Confluent's API says: its body and its parameters, with complaints in Confluent's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.protocols.kafka_rest.confluent_errors import refused
from brokerkit.protocols.kafka_rest.unpacking import body_of
from brokerkit.web import Problem, read_json

if TYPE_CHECKING:
    from brokerkit.web import Asked

LARGEST = 1 << 62
_LONGEST = 19  # digits of a number


def json_body(asked: Asked, most: int) -> Any:  # noqa: ANN401  any JSON
    """Give the body, unpacked, of at most so many bytes, ``None`` if it is empty; raise ``Problem`` 413, 415, 422."""
    body = body_of(asked, most)
    if not body.strip():
        return None
    try:
        return read_json(body)
    except Problem as problem:
        raise refused(422, problem.detail or problem.title) from None


def number(asked: Asked, name: str, usual: int | None, most: int) -> int:
    """Give a parameter, a whole number that is cut to ``most``; raise ``Problem`` 422 if it is none.

    Without a ``usual`` one it has to be there.
    """
    text = asked.query.get(name)
    if text is None:
        if usual is None:
            raise refused(422, f"{name}: expected a whole number")
        return usual
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST and int(text) < LARGEST):
        raise refused(422, f"{name}: expected a whole number that is not negative")
    return min(int(text), most)


def a_string(value: object, name: str, most: int) -> str:
    """Give a string that is not empty; raise ``Problem`` 422 if it is none, too long, or no text."""
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise refused(422, f"{name} has to be a string of 1 to {most} characters")
    if any(0xD800 <= ord(letter) < 0xE000 or ord(letter) < 32 for letter in value):  # noqa: PLR2004  surrogates, controls
        raise refused(422, f"{name} has a character that is no text")
    return value
