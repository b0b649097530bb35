"""A JSON document, given piece by piece: so that ten thousand connections do not stop the broker while they are listed.

Each piece is what one step of work has made, often nothing; between two steps the broker does other things.  A key of
the document stands on a line of its own, and so does an entry of its list: that can be read by people, and unlike
``indent=`` it is made by the fast part of Python's encoder.
"""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

log = Logger()

STEP = 128  # entries made in one step: some milliseconds


def whole(document: Mapping[str, Any]) -> Iterator[bytes]:
    """Give a document that is made at once."""
    lines = ",\n".join(f'  "{key}": {dumps(value)}' for key, value in document.items())
    yield b"{\n%b\n}\n" % lines.encode() if lines else b"{}\n"


def listing(head: Mapping[str, Any], key: str, entries: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Give a document whose last key has a list, which is made in steps."""
    begin = "".join(f'  "{name}": {dumps(value)},\n' for name, value in head.items())
    yield f'{{\n{begin}  "{key}": ['.encode()
    between = "\n    "
    lines: list[str] = []
    for entry in entries:
        lines.append(between + dumps(entry))
        between = ",\n    "
        if len(lines) == STEP:
            yield "".join(lines).encode()
            lines.clear()
    end = "\n  ]\n}\n" if between.startswith(",") else "]\n}\n"
    yield ("".join(lines) + end).encode()
