"""Ways to cut a stream of bytes: a network cuts where it likes, and nothing may depend on where."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def every_chunking(data: bytes) -> Iterator[list[bytes]]:
    """Give ``data`` whole, byte by byte, and cut in two at every place: len(data) + 1 ways at the most."""
    yield [data]
    if len(data) > 1:
        yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]
