"""What a configuration file says, before anybody asks what is meant: values, and where each stands.

The places are kept with every key and value, since all that is wrong with a file is said with file, line and column.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import attrs

from brokerkit.errors import OperatorError


class Place(NamedTuple):
    """A place in a file; lines and columns begin at 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        """Give it as compilers do."""
        return f"{self.file}:{self.line}:{self.column}"


class Wrong(OperatorError):
    """Something in a file cannot be meant; the message begins with the place, and never repeats a value."""

    def __init__(self, place: Place, text: str) -> None:
        """Take where it stands, and what is wrong with it."""
        super().__init__(f"{place}: {text}")
        self.place = place
        self.text = text


@attrs.frozen(eq=False, repr=False)
class Value:
    """One value: text, a number, true or false, a moment, a list of values, or a map from keys to pairs."""

    data: Any
    place: Place

    def __repr__(self) -> str:
        """Say what kind it is and where it stands, and nothing of it: it may be a secret."""
        return f"<{kind(self)} at {self.place}>"


@attrs.define(eq=False)
class Pair:
    """A key and its value; ``used`` says that a variable has stood for it, so that nobody need know the key."""

    key: str
    place: Place
    value: Value
    used: bool = False


KINDS: dict[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    datetime: "a date",
    list: "a list",
    dict: "a map",
}


def kind(value: Value) -> str:
    """Say what kind of value it is, for people."""
    return KINDS[type(value.data)]
