"""Reading JSON that strangers have signed: each value is of the type that is expected, or all of it counts for nothing.

What is missing, or null, is empty, as in the library that writes these tokens; what nobody knows is left alone.
"""

from __future__ import annotations

from typing import Any

MOST = 2**63  # what a number of theirs stays below


class BadJwt(Exception):
    """A token counts for nothing; the text says why, for the log, as it goes on behind "a JWT": "that has expired"."""


class Fields:
    """A JSON object."""

    def __init__(self, data: Any) -> None:  # noqa: ANN401  whatever JSON says
        """Take it; raise ``BadJwt`` if it is none."""
        if not isinstance(data, dict):
            raise BadJwt("with no object where there has to be one")
        self._data = data

    def __contains__(self, key: str) -> bool:
        """Say whether something is said of ``key``."""
        return self._data.get(key) is not None

    def _get(self, key: str, kind: type, empty: Any) -> Any:  # noqa: ANN401  of that type
        value = self._data.get(key)
        if value is None:
            return empty
        if type(value) is not kind:
            raise BadJwt(f"with another type than expected in {key!r}")
        return value

    def text(self, key: str) -> str:
        """Give a string, empty if there is none."""
        text: str = self._get(key, str, "")
        if not text.isprintable() or not _is_unicode(text):
            raise BadJwt(f"with letters that are not for people in {key!r}")
        return text

    def number(self, key: str) -> int:
        """Give a whole number, 0 if there is none."""
        number: int = self._get(key, int, 0)
        if not -MOST <= number < MOST:
            raise BadJwt(f"with a number out of all measure in {key!r}")
        return number

    def flag(self, key: str) -> bool:
        """Give true or false, false if nothing is said."""
        flag: bool = self._get(key, bool, False)
        return flag

    def table(self, key: str) -> Fields:
        """Give an object, an empty one if there is none."""
        return Fields(self._get(key, dict, {}))

    def items(self, key: str) -> list[Any]:
        """Give a list, an empty one if there is none."""
        items: list[Any] = self._get(key, list, [])
        return items

    def tables(self, key: str) -> list[Fields]:
        """Give a list of objects."""
        return [Fields(item) for item in self.items(key)]

    def texts(self, key: str) -> tuple[str, ...]:
        """Give a list of strings."""
        items = self.items(key)
        if not all(isinstance(item, str) and _is_unicode(item) for item in items):
            raise BadJwt(f"with another type than expected in {key!r}")
        return tuple(items)

    def numbers(self, key: str) -> dict[str, int]:
        """Give an object of numbers."""
        table = self.table(key)
        return {name: table.number(name) for name in table.keys()}  # noqa: SIM118  not a dict

    def keys(self) -> list[str]:
        """Give all keys."""
        return list(self._data)


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
