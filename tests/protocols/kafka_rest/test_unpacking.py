"""Bodies that are packed: what comes out, what is refused, and that none holds up the broker for long."""

from __future__ import annotations

import gzip
import os
import time
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.errors import TooBusy
from brokerkit.protocols.kafka_rest.unpacking import LONG, PARTS, body_of
from brokerkit.web import Problem
from tests.protocols.kafka_rest.v1_world import World

MOST = 200_000


def sized(data: bytes) -> bytes:
    """Pack by zstd, with the size in the head of the frame."""
    return zstandard.ZstdCompressor().compress(data)


def unsized(data: bytes) -> bytes:
    """Pack by zstd, as a stream that does not know its size."""
    packing = zstandard.ZstdCompressor().compressobj()
    return packing.compress(data) + packing.flush()


WAYS = {"gzip": ("gzip", gzip.compress), "zstd": ("zstd", sized), "zstd stream": ("zstd", unsized)}
EVERY = pytest.mark.parametrize("way", list(WAYS))


class Asking:
    """A request, as far as it matters here."""

    def __init__(self, body: bytes, packing: str) -> None:
        """Have that body."""
        self.body = body
        self._packing = packing

    def header(self, _: str) -> str:
        """Give the packing."""
        return self._packing


def unpacked(way: str, body: bytes) -> bytes:
    """Unpack."""
    asking: Any = Asking(body, WAYS[way][0])
    return body_of(asking, MOST)


@EVERY
@given(parts=st.lists(st.binary(max_size=2000) | st.integers(0, 50_000).map(bytes), min_size=1, max_size=5))
def test_what_was_packed_comes_out(way: str, parts: list[bytes]) -> None:
    """Whatever the parts are, empty ones among them."""
    whole = b"".join(parts)
    body = b"".join(map(WAYS[way][1], parts))
    if len(whole) > MOST:
        with pytest.raises(Problem, match="Too Large"):
            unpacked(way, body)
    else:
        assert unpacked(way, body) == whole


@EVERY
@given(data=st.binary(min_size=1, max_size=400), cut=st.integers(1, 30), junk=st.binary(min_size=1, max_size=20))
def test_what_is_broken_is_refused(way: str, data: bytes, cut: int, junk: bytes) -> None:
    """A part that stops half way, and what is no part behind one."""
    pack = WAYS[way][1]
    whole = pack(data)
    for body in (whole[: -min(cut, len(whole) - 1)], whole + b"\0" + junk, b"\0" + junk):
        with pytest.raises(Problem) as caught:
            unpacked(way, body)
        assert caught.value.status == 400


@EVERY
@pytest.mark.parametrize("size", [MOST, MOST + 1, 50_000_000])
def test_the_bound(way: str, size: int) -> None:
    """As much as may be is given; one byte more is not."""
    for body in (WAYS[way][1](bytes(size)), WAYS[way][1](b"") + WAYS[way][1](os.urandom(10) + bytes(size - 10))):
        if size > MOST:
            with pytest.raises(Problem) as caught:
                unpacked(way, body)
            assert caught.value.status == 413
        else:
            assert len(unpacked(way, body)) == size


@EVERY
def test_many_empty_parts(way: str) -> None:
    """They are as many as may be, and it does not matter how many come behind them."""
    empty = WAYS[way][1](b"")
    assert unpacked(way, empty * PARTS) == b""
    begin = time.process_time()
    with pytest.raises(Problem, match="parts"):
        unpacked(way, empty * 500_000)
    assert time.process_time() - begin < 2  # it took minutes when each part was cut off what is left


@EVERY
def test_a_large_one_is_unpacked_by_a_thread(way: str) -> None:
    """What may take long is not done in the reactor; where too much waits, that is said."""
    world = World()
    packing, pack = WAYS[way]
    kind = {"Content_Encoding": packing}
    assert world.post("/v1/topics/a/records", pack(b"small"), **kind).status == 201
    assert world.api.here.packing.calls == 0
    large = os.urandom(2 * LONG)
    assert world.post("/v1/topics/a/records", pack(large), **kind).status == 201
    assert world.api.here.packing.calls == 1
    assert world.log.span(b"a", 0).next == 2
    reply = world.get("/v1/topics/a/partitions/0/records/1", Accept="application/octet-stream")
    assert reply.body == large

    def busy(_: Any) -> Any:
        raise TooBusy

    world.api.here.packing.call = busy
    reply = world.post("/v1/topics/a/records", pack(large), **kind)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
