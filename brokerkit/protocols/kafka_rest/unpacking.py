"""Bodies of requests that are packed by gzip or zstd, unpacked in a bound, so that a small bomb stays small.

What is unpacked is bounded by the same number as a body that is not packed; of how many parts it is made is, too, since
an empty part costs time and gives nothing.  What may take long is done by a thread.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from brokerkit.errors import OperatorError, TooBusy
from brokerkit.web import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.checkers.threads import Threads
    from brokerkit.web import Asked

try:
    import zstandard
except ImportError:  # an extra
    zstandard = None  # type: ignore[assignment]

LONG = 4096  # bytes that may become some megabytes: from there on a thread unpacks
PARTS = 4096  # members of gzip, or frames of zstd, that one body may be made of
_ZSTD_PIECE = 256  # bytes of zstd that are unpacked at a time: they may become some megabytes
_WINDOW = 8 * 1024 * 1024  # bytes of memory that a frame of zstd may ask for


class _Packing(NamedTuple):
    """How a part of one kind is unpacked, so many bytes at a time; ``give`` gets about how much may come of them."""

    name: str
    begin: Callable[[], Any]
    give: Callable[[Any, bytes, int], bytes]
    piece: int
    error: type[Exception]


def _gzip_piece(unpacking: Any, some: bytes, most: int) -> bytes:  # noqa: ANN401  zlib's
    return bytes(unpacking.decompress(some, most))


_GZIP = _Packing("gzip", lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), _gzip_piece, 16 * 1024, zlib.error)


def is_long(asked: Asked) -> bool:
    """Say whether it may take long to unpack the body of a request."""
    return len(asked.body) >= LONG and bool(asked.header("content-encoding"))


async def unpack_ahead(asked: Asked, most: int, threads: Threads) -> None:
    """Have a thread unpack the body of a request, in its place; raise as ``body_of``.

    Raises ``Problem`` 503, too, where too much waits for a thread.
    """
    try:
        asked.body = await threads.call(lambda: body_of(asked, most))
    except (TooBusy, OperatorError):
        text = "too many bodies wait to be unpacked"
        raise Problem(503, "Busy", text, headers={"retry-after": "1"}) from None
    del asked.headers[b"content-encoding"]


def body_of(asked: Asked, most: int) -> bytes:
    """Give the body of a request, unpacked; raise ``Problem``: 415 for an unknown packing, 400 for a broken one, 413.

    ``most`` is in bytes.
    """
    packing = asked.header("content-encoding").strip().lower()
    if not packing or packing == "identity":
        return asked.body
    if packing in {"gzip", "x-gzip"}:
        return _parts(asked.body, most, _GZIP)
    if packing == "zstd" and zstandard is not None:
        return _unpacked(asked.body, most)
    raise Problem(415, "Unsupported Media Type", f"content-encoding: {accepted()} are known", headers=_accepting())


def accepted() -> str:
    """Give the packings that are known."""
    return "gzip, zstd" if zstandard is not None else "gzip"


def _accepting() -> dict[str, str]:
    return {"accept-encoding": accepted()}


def _unpacked(data: bytes, most: int) -> bytes:
    """Unpack zstd: at once where there is one frame that says how large it will be."""
    unpacking = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    with suppress(zstandard.ZstdError):  # broken, or of several frames
        if 0 < zstandard.get_frame_parameters(data).content_size <= most:  # not known: a number that is larger
            return bytes(unpacking.decompress(data, allow_extra_data=False))
    return _parts(data, most, _Packing("zstd", unpacking.decompressobj, _zstd_piece, _ZSTD_PIECE, zstandard.ZstdError))


def _zstd_piece(unpacking: Any, some: bytes, _: int) -> bytes:  # noqa: ANN401  zstandard's
    return bytes(unpacking.decompress(some))


def _parts(data: bytes, most: int, packing: _Packing) -> bytes:
    """Unpack part after part, little by little: what a piece holds is given at once, whatever it becomes."""
    found: list[bytes] = []
    size = place = 0
    for _ in range(PARTS):
        unpacking = packing.begin()
        while not unpacking.eof and place < len(data):
            some = data[place : place + packing.piece]
            try:
                text = packing.give(unpacking, some, most - size + 1)
            except packing.error:
                raise _broken(packing) from None
            size += len(text)
            if size > most:
                raise Problem(413, "Content Too Large", f"a body may have {most} bytes when it is unpacked")
            found.append(text)
            place += len(some) - len(unpacking.unused_data)
        if not unpacking.eof:
            raise _broken(packing)
        if place >= len(data):
            return b"".join(found)
    raise Problem(400, "Broken body", f"the body is made of more than {PARTS} parts of {packing.name}")


def _broken(packing: _Packing) -> Problem:
    return Problem(400, "Broken body", f"the body is no {packing.name}, or it stops half way")
