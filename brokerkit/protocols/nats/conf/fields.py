"""Reading a map of the tree by a table: for each key, what is done with its value.

All that is wrong is gathered, so that one look at the messages mends a file: ``Notes`` holds errors and warnings, each
a line that begins with its place.  Nothing is coerced: what nats-server refuses for its type is refused here.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from brokerkit.protocols.nats.conf import durations
from brokerkit.protocols.nats.conf.tree import KINDS, Pair, Value, Wrong, kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from brokerkit.protocols.nats.conf.tree import Place

    Read = Callable[[Any, Pair, "Notes"], None]
    Table = Mapping[str, Read]

T = TypeVar("T")
MAX_PORT = 0xFFFF
MOST = 2**31 - 1  # what nats-server takes for a limit


@attrs.define
class Notes:
    """What is to be said of a file; ``lenient`` has what is not supported only warned of."""

    lenient: bool = False
    errors: list[str] = attrs.field(factory=list)
    warnings: list[str] = attrs.field(factory=list)

    def wrong(self, error: Wrong) -> None:
        """Take note of something that ends the start."""
        self.errors.append(str(error))

    def warn(self, place: Place, text: str) -> None:
        """Take note of something that the operator should know."""
        self.warnings.append(f"{place}: {text}")

    def unsupported(self, place: Place, text: str) -> None:
        """Take note of something that brokerkit does not do."""
        if self.lenient:
            self.warn(place, f"{text}; ignored")
        else:
            self.errors.append(f"{place}: {text}; --lenient starts without")


def read(value: Value, table: Table, target: Any, notes: Notes) -> None:  # noqa: ANN401  what the table fills
    """Have each key of a map read by a table; what is wrong is noted, and what nobody knows."""
    for pair in pairs(value).values():
        reader = table.get(pair.key.lower())
        if reader is not None:
            try:
                reader(target, pair, notes)
            except Wrong as error:
                notes.wrong(error)
        elif not pair.used:
            notes.wrong(unknown(pair, table))


def unknown(pair: Pair, known: Iterable[str]) -> Wrong:
    """Give the error for a key that nobody knows."""
    near = get_close_matches(pair.key.lower(), list(known), 1)
    hint = f", did you mean {near[0]}?" if near else ""
    return Wrong(pair.place, f'unknown field "{pair.key}"{hint}')


# -- what is done with a key --------------------------------------------------------------------------------------


def sets(attribute: str, take: Callable[[Value], object]) -> Read:
    """Give what puts a value, as ``take`` reads it, into an attribute."""

    def reader(target: Any, pair: Pair, _: Notes) -> None:  # noqa: ANN401
        setattr(target, attribute, take(pair.value))

    return reader


def ignored(target: object, pair: Pair, notes: Notes) -> None:
    """Do nothing: the key says what makes no difference here."""


def unsupported(what: str) -> Read:
    """Give what says that brokerkit does not do something, unless it is switched off."""

    def reader(_: object, pair: Pair, notes: Notes) -> None:
        data = pair.value.data
        if data not in (False, 0, "disabled", "DISABLED", "disable") and data != []:
            notes.unsupported(pair.place, f'"{pair.key}": {what}')

    return reader


def refused(why: str) -> Read:
    """Give what refuses a key whoever is lenient, unless it is switched off: without it too much would be allowed."""

    def reader(_: object, pair: Pair, notes: Notes) -> None:
        if pair.value.data is not False:
            notes.wrong(Wrong(pair.place, f'"{pair.key}": {why}'))

    return reader


def aliases(table: Mapping[tuple[str, ...] | str, Read]) -> dict[str, Read]:
    """Give a table by single keys, of one by all the names that a key has."""
    found: dict[str, Read] = {}
    for names, reader in table.items():
        for name in (names,) if isinstance(names, str) else names:
            found[name] = reader
    return found


# -- values -------------------------------------------------------------------------------------------------------


def expect(value: Value, *kinds: type) -> Any:  # noqa: ANN401  of one of these kinds
    """Give the data of a value of one of these kinds; raise ``Wrong``."""
    if type(value.data) not in kinds:
        wanted = " or ".join(KINDS[one] for one in kinds)
        raise Wrong(value.place, f"found {kind(value)}, expected {wanted}")
    return value.data


def pairs(value: Value) -> dict[str, Pair]:
    """Give the pairs of a map."""
    found: dict[str, Pair] = expect(value, dict)
    return found


def elements(value: Value) -> list[Value]:
    """Give the elements of a list."""
    found: list[Value] = expect(value, list)
    return found


def text(value: Value) -> str:
    """Read a text."""
    found: str = expect(value, str)
    return found


def name(value: Value) -> str:
    """Read a text without blanks and without characters that cannot be seen."""
    found = text(value)
    if any(letter.isspace() for letter in found) or not found.isprintable():
        raise Wrong(value.place, "a name without blanks is expected")
    return found


def texts(value: Value) -> tuple[str, ...]:
    """Read a list of texts, or one."""
    if isinstance(value.data, str):
        return (value.data,)
    return tuple(text(one) for one in expect(value, list, str))


def flag(value: Value) -> bool:
    """Read true or false."""
    found: bool = expect(value, bool)
    return found


def whole(value: Value) -> int:
    """Read a whole number."""
    found: int = expect(value, int)
    return found


def limit(value: Value) -> int:
    """Read a number of bytes or of things; less than nothing stands for no limit, which is 0 here."""
    found = whole(value)
    if found > MOST:
        raise Wrong(value.place, f"a number of at most {MOST} is expected")
    return max(found, 0)


def port(value: Value) -> int:
    """Read a port; -1 is any that is free."""
    found = whole(value)
    if not -1 <= found <= MAX_PORT:
        raise Wrong(value.place, "a port from 0 to 65535 is expected, or -1 for any that is free")
    return found


def period(value: Value) -> float:
    """Read a duration, or a number of seconds."""
    data = expect(value, str, int, float)
    if not isinstance(data, str):
        return max(float(data), 0.0)
    try:
        return max(durations.seconds(data), 0.0)
    except ValueError as error:
        raise Wrong(value.place, str(error)) from None


def address(value: Value) -> tuple[str, int]:
    """Read ``HOST:PORT``, or a port alone; the host is empty where none is said."""
    if isinstance(expect(value, str, int), int):
        return "", port(value)
    try:
        return host_and_port(value.data)
    except ValueError as error:
        raise Wrong(value.place, str(error)) from None


def host_and_port(found: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, ``:PORT`` or ``[IPv6]:PORT``; raise ``ValueError``."""
    host, colon, number = found.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    digits = number.removeprefix("-")
    fits = colon and digits.isascii() and digits.isdigit() and (":" not in host or host == f"[{bare}]")
    if not fits or not -1 <= int(number) <= MAX_PORT:
        raise ValueError("HOST:PORT is expected, with a port from 0 to 65535, or -1 for any that is free")
    return bare, int(number)
