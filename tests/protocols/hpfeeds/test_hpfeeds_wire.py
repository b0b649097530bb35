"""The hpfeeds wire by itself: the same bytes give the same events however they are cut, and bad bytes are data."""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from brokerkit.errors import ClientError, ProtocolViolation, TooLarge
from brokerkit.protocols.hpfeeds import wire
from brokerkit.protocols.hpfeeds.wire import (
    Auth,
    Channels,
    Error,
    Info,
    Publish,
    Subscribe,
    Unsubscribe,
    Wire,
    spell,
)
from brokerkit.run import Message
from brokerkit.testing import every_chunking

if TYPE_CHECKING:
    from collections.abc import Iterable

OWN = b"ann"
MEGABYTE = 1024 * 1024

VECTORS = [
    ("000000110107687066656564730102a0ff", Info(b"hpfeeds", bytes.fromhex("0102a0ff"))),
    (
        "0000001e0204746573742ecf166d1a8caf7caa125794c2e88f24b0986ac4",
        Auth(b"test", bytes.fromhex("2ecf166d1a8caf7caa125794c2e88f24b0986ac4")),
    ),
    ("00000013040474657374746573742d6368616e", Subscribe(b"test", b"test-chan")),
    ("00000013050474657374746573742d6368616e", Unsubscribe(b"test", b"test-chan")),
    ("0000001903047465737409746573742d6368616e68656c6c6f", Publish(b"test", b"test-chan", b"hello")),
    (
        "000000230041757468656e7469636174696f6e206661696c656420666f722074657374",
        Error(b"Authentication failed for test"),
    ),
]


def frame(opcode: int, body: bytes) -> bytes:
    """Spell a frame without the code that is tested."""
    return pack("!iB", 5 + len(body), opcode) + body


def flat(item: Any, prefix: bytes) -> Any:
    """Give a publish of the own ident as the message that a run would have given."""
    if isinstance(item, Publish) and item.ident == OWN:
        return Message(prefix + b"." + item.channel if prefix else item.channel, item.payload)
    return item


def pull(chunks: Iterable[bytes], *, scan: bool = True, prefix: bytes = b"", own: bytes | None = OWN) -> list[Any]:
    """Pull as a session does: runs first, then one other item, nothing behind an error; give all events in a row."""
    source = Wire(prefix)
    if own is not None:
        source.own(own)
    events: list[Any] = []
    fed = 0
    for chunk in chunks:
        source.feed(chunk)
        fed += len(chunk)
        try:
            while True:
                run = source.scan() if scan else None
                if run is not None:
                    events += list(run)
                    assert [m.topic for m in run] == [b.topic for b in run.batches() for _ in b]
                    assert all(len(b) for b in run.batches())
                    run.clear()
                    continue
                item = source.next()
                if item is None:
                    break
                events.append(flat(item, prefix))
                assert len(events) <= fed
        except (ProtocolViolation, TooLarge) as error:
            source.drop()
            return [*events, (type(error), error.reply)]
        source.settle()
        assert len(source) <= wire.MAX_PUBLISH
    return events


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut at these places."""
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


names = st.sampled_from([b"ann", b"ann", b"ann", b"bob", b"", "é".encode(), b"a" * 255])
channels = st.sampled_from([b"a", b"a", b"a.b", b"", b"*", "ü".encode(), b"c" * 255])
payloads = st.binary(max_size=20)
items = st.one_of(
    st.builds(Publish, names, channels, payloads),
    st.builds(Publish, st.just(OWN), channels, payloads),
    st.builds(Subscribe, names, channels),
    st.builds(Unsubscribe, names, channels),
    st.builds(Auth, names, st.binary(max_size=20)),
    st.builds(Info, names, st.binary(max_size=20)),
    st.builds(Error, payloads),
)
places = st.lists(st.integers(0, 2000), max_size=8)
odd_frames = st.builds(
    lambda opcode, body, lie: pack("!iB", 5 + len(body) + lie, opcode) + body,
    st.sampled_from([0, 1, 2, 3, 3, 3, 4, 5, 6, 255]),
    st.one_of(st.binary(max_size=12), st.builds(lambda rest: b"\x03ann" + rest, st.binary(max_size=8))),
    st.sampled_from([0] * 8 + [1, -1, -5, -6, -300, MEGABYTE, 2**30]),
)
streams = st.lists(st.one_of(items.map(spell), odd_frames, st.binary(max_size=6)), max_size=8).map(b"".join)


@pytest.mark.parametrize(("spelled", "item"), VECTORS, ids=[type(item).__name__ for _, item in VECTORS])
def test_vectors(spelled: str, item: Any) -> None:
    """Every message of the protocol is spelled and read as in the vectors that were recomputed independently."""
    data = bytes.fromhex(spelled)
    assert spell(item) == data
    for chunks in every_chunking(data):
        assert pull(chunks) == [item]


@settings(deadline=None)
@given(st.lists(items, max_size=12), places, st.sampled_from([b"", b"honeypot"]))
def test_any_chunking(said: list[Any], where: list[int], prefix: bytes) -> None:
    """What was spelled is what is read, whole, byte by byte and cut anywhere."""
    data = b"".join(map(spell, said))
    expected = [flat(item, prefix) for item in said]
    for chunks in ([data], cut(data, where), cut(data, range(len(data)))):
        assert pull(chunks, prefix=prefix) == expected


@settings(deadline=None)
@given(st.lists(items, max_size=12))
def test_scan_and_next_agree(said: list[Any]) -> None:
    """A run holds what ``next`` alone would give."""
    data = b"".join(map(spell, said))
    assert pull([data]) == pull([data], scan=False)


@settings(deadline=None)
@given(streams, places)
@example(b"\0\0\0\0\3", [])
@example(frame(3, b"\x03ann\xff"), [])
@example(frame(3, b"\x03ann\x01\xff") + frame(3, b"\x03ann\x01a"), [])
def test_any_bytes(data: bytes, where: list[int]) -> None:
    """Any bytes give the same items and the same error however they are cut, and no error of another kind."""
    whole = pull([data])
    assert whole == pull([data], scan=False)
    assert whole == pull(cut(data, where))
    assert whole == pull(cut(data, range(len(data))))


@settings(deadline=None)
@given(streams)
def test_before_login(data: bytes) -> None:
    """Without an own ident nothing is taken in runs, and nothing else changes but that."""
    assert [flat(item, b"") for item in pull([data], own=None)] == pull([data])


def test_long_runs() -> None:
    """A run ends after so many messages, and the next one goes on where it ended."""
    data = spell(Publish(OWN, b"a", b"x")) * (2 * wire.RUN_LENGTH + 1)
    source = Wire()
    source.own(OWN)
    source.feed(data)
    lengths = []
    while (run := source.scan()) is not None:
        lengths.append(len(run))
        run.clear()
    assert lengths == [wire.RUN_LENGTH, wire.RUN_LENGTH, 1]


def test_large_frame_in_pieces() -> None:
    """A frame of the greatest size is read from pieces of any size, with one message behind it."""
    large = Publish(OWN, b"a", bytes(wire.MAX_PUBLISH - 5 - 4 - 2))
    data = spell(large) + spell(Publish(OWN, b"a", b"behind"))
    assert len(spell(large)) == wire.MAX_PUBLISH
    pieces = [data[i : i + 16384] for i in range(0, len(data), 16384)]
    assert pull(pieces) == [Message(b"a", large.payload), Message(b"a", b"behind")]


def test_too_large_frame_all_at_once() -> None:
    """A frame that is too large is refused also when it is all there."""
    large = frame(3, b"\x03ann\x01a" + bytes(wire.MAX_PUBLISH))
    assert pull([spell(Publish(OWN, b"a", b"x")) + large]) == [Message(b"a", b"x"), (TooLarge, None)]


@pytest.mark.parametrize(("opcode", "limit"), list(wire.MAX_SIZE.items()))
def test_limits(opcode: int, limit: int) -> None:
    """A length is accepted up to its limit; one more is refused as soon as five bytes are there."""
    assert pull([pack("!iB", limit, opcode)]) == []
    assert pull([pack("!iB", limit + 1, opcode)]) == [(TooLarge, None)]


def test_limits_are_the_originals() -> None:
    """The limits are those of the original broker, the five bytes of the head counted in."""
    assert wire.MAX_SIZE == {0: 1048581, 1: 281, 2: 281, 3: 1048581, 4: 1048576, 5: 1048576}


@pytest.mark.parametrize("length", [0, 1, 4, -1, -(2**31)])
@pytest.mark.parametrize("opcode", [0, 3, 9])
def test_impossible_length(length: int, opcode: int) -> None:
    """A length that does not even hold the head is an error, not a loop."""
    assert pull([pack("!iB", length, opcode)]) == [(ProtocolViolation, None)]


@pytest.mark.parametrize("opcode", [6, 7, 128, 255])
def test_unknown_opcode(opcode: int) -> None:
    """An unknown opcode is an error as soon as it is there."""
    assert pull([pack("!iB", 100, opcode)]) == [(ProtocolViolation, None)]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (frame(3, b"\x03ann\x09abc"), [Message(b"abc", b"")]),
        (frame(3, b"\x09ann"), [(ProtocolViolation, None)]),
        (frame(4, b"\x09ann"), [Subscribe(b"ann", b"")]),
        (frame(2, b"\xffann"), [Auth(b"ann", b"")]),
        (frame(3, b"\x03ann"), [(ProtocolViolation, None)]),
        (frame(3, b""), [(ProtocolViolation, None)]),
        (frame(4, b""), [(ProtocolViolation, None)]),
        (frame(0, b""), [Error(b"")]),
        (frame(3, b"\x01\xff\x01a"), [Publish(b"\xff", b"a", b"")]),
        (frame(3, b"\x03ann\x01\xff"), [Message(b"\xff", b"")]),
        (frame(4, b"\x03ann\xc3"), [Subscribe(b"ann", b"\xc3")]),
        (frame(3, b"\x03ann\x00"), [Message(b"", b"")]),
    ],
)
def test_odd_bodies(data: bytes, events: list[Any]) -> None:
    """A short string may claim to be longer than the frame; what is missing is an error, what is no UTF-8 is none."""
    for chunks in every_chunking(data):
        assert pull(chunks) == events


def test_nothing_is_held_behind_an_error() -> None:
    """What stands behind a fatal error is neither read nor kept."""
    source = Wire()
    source.feed(frame(9, b"") + spell(Publish(OWN, b"a", b"")))
    with pytest.raises(ClientError):
        source.next()
    source.drop()
    assert len(source) == 0
    assert source.next() is None


def test_names_are_remembered_within_bounds() -> None:
    """Channels without end do not fill the memory that a listener shares."""
    shared = Channels(b"")
    source = Wire(b"", shared)
    source.own(OWN)
    for i in range(10_000):
        source.feed(spell(Publish(OWN, b"c%d" % i, b"")))
        run = source.scan()
        assert run is not None
        run.clear()
        assert len(shared) <= 4096
