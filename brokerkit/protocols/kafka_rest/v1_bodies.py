"""Bodies that are packed, both ways: gzip and zstd, with bounds, so that a small bomb stays small.

What is unpacked is bounded by the same number as a body that is not packed.  An answer is packed if the asker takes it
so and there is something to gain; zstd first, which is faster, where the package ``zstandard`` is installed.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.web import Problem

if TYPE_CHECKING:
    from brokerkit.web import Answer, Asked

try:
    import zstandard
except ImportError:  # an extra
    zstandard = None  # type: ignore[assignment]

WORTH = 1024  # bytes of an answer from which on packing gains something
LEVEL = 3
LARGE = 128 * 1024  # bytes of an answer that is packed by a thread
_PIECE = 256  # bytes of zstd that are unpacked at a time: they may become a megabyte
_GZIP = 16 + zlib.MAX_WBITS
_WINDOW = 8 * 1024 * 1024  # bytes of memory that a frame of zstd may ask for


def body_of(asked: Asked, most: int) -> bytes:
    """Give the body of a request, unpacked; raise ``Problem``: 415 for an unknown packing, 400 for a broken one, 413.

    ``most`` is in bytes.
    """
    packing = asked.header("content-encoding").strip().lower()
    if not packing or packing == "identity":
        return asked.body
    if packing in {"gzip", "x-gzip"}:
        return _gunzipped(asked.body, most)
    if packing == "zstd" and zstandard is not None:
        return _unpacked(asked.body, most)
    raise Problem(415, "Unsupported Media Type", f"content-encoding: {accepted()} are known", headers=_accepting())


def accepted() -> str:
    """Give the packings that are known."""
    return "gzip, zstd" if zstandard is not None else "gzip"


def _accepting() -> dict[str, str]:
    return {"accept-encoding": accepted()}


def _gunzipped(data: bytes, most: int) -> bytes:
    """Unpack one or several members of gzip, as RFC 1952 has them."""
    found: list[bytes] = []
    left = most
    while data:
        unpacking = zlib.decompressobj(_GZIP)
        try:
            piece = unpacking.decompress(data, left + 1)
        except zlib.error:
            raise _broken("gzip") from None
        left -= len(piece)
        if left < 0:
            raise _too_large(most)
        if not unpacking.eof:
            raise _broken("gzip")
        found.append(piece)
        if len(unpacking.unused_data) >= len(data):
            raise _broken("gzip")
        data = unpacking.unused_data
    return b"".join(found)


def _unpacked(data: bytes, most: int) -> bytes:
    """Unpack one or several frames of zstd."""
    found: list[bytes] = []
    size = 0
    while data:
        unpacking = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        place = 0
        try:
            # Little by little: the object gives all that a piece holds.
            while place < len(data) and not unpacking.eof:
                piece = unpacking.decompress(data[place : place + _PIECE])
                place += _PIECE
                size += len(piece)
                if size > most:
                    raise _too_large(most)
                found.append(piece)
        except zstandard.ZstdError:
            raise _broken("zstd") from None
        if not unpacking.eof:
            raise _broken("zstd")
        data = unpacking.unused_data + data[place:]
    return b"".join(found)


def _too_large(most: int) -> Problem:
    return Problem(413, "Content Too Large", f"a body may have {most} bytes when it is unpacked")


def _broken(packing: str) -> Problem:
    return Problem(400, "Broken body", f"the body is no {packing}, or it stops half way")


def packed(asked: Asked, answer: Answer) -> Answer:
    """Give an answer as the asker takes it: packed, if it says so and it is worth it."""
    wanted = asked.header("accept-encoding").lower()
    headers: dict[str, str] = {**answer.headers, "vary": "accept, accept-encoding, authorization"}
    if len(answer.body) < WORTH or not wanted:
        return attrs.evolve(answer, headers=headers)
    words = {one.partition(";")[0].strip(): one.partition("q=")[2].strip() for one in wanted.split(",")}
    if zstandard is not None and _takes(words, "zstd"):
        packing, body = "zstd", zstandard.ZstdCompressor(level=1).compress(answer.body)
    elif _takes(words, "gzip"):
        packing, body = "gzip", _gzipped(answer.body)
    else:
        return attrs.evolve(answer, headers=headers)
    return attrs.evolve(answer, body=body, headers={**headers, "content-encoding": packing})


def _takes(words: dict[str, Any], packing: str) -> bool:
    return packing in words and words[packing] not in {"0", "0.0", "0.00", "0.000"}


def _gzipped(data: bytes) -> bytes:
    packing = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
    return packing.compress(data) + packing.flush()
