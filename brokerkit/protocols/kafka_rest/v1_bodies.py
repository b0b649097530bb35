"""Answers that are packed by gzip or zstd, if the asker takes them so and there is something to gain.

zstd first, which is faster, where the package ``zstandard`` is installed.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from brokerkit.web import Answer, Asked

try:
    import zstandard
except ImportError:  # an extra
    zstandard = None  # type: ignore[assignment]

WORTH = 1024  # bytes of an answer from which on packing gains something
LEVEL = 3
LARGE = 128 * 1024  # bytes of an answer that is packed by a thread
_GZIP = 16 + zlib.MAX_WBITS


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
