"""Clients of hpfeeds that mean no good, or might as well: what they cost, and that nobody else pays for it."""

from __future__ import annotations

import tracemalloc
from hashlib import sha1
from struct import pack
from typing import TYPE_CHECKING, Any

import pytest
from twisted.logger import formatEvent, globalLogPublisher

from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from brokerkit.testing import Peer

USERS = {"ann": "secret", "bob": "other"}
MEGABYTE = 1024 * 1024


def frame(opcode: int, *fields: bytes) -> bytes:
    """Spell a frame; all fields but the last get a length byte."""
    body = b"".join(bytes([len(field)]) + field for field in fields[:-1]) + fields[-1]
    return pack("!iB", 5 + len(body), opcode) + body


def auth(nonce: bytes, name: str, secret: str) -> bytes:
    """Spell the AUTH that answers a nonce."""
    return frame(2, name.encode(), sha1(nonce + secret.encode()).digest())  # noqa: S324  the protocol's own


def broker(**settings: object) -> MemoryBroker:
    """Give a broker with such a listener."""
    return MemoryBroker(users=USERS, settings={"hpfeeds": settings})


def login(memory: MemoryBroker, name: str = "ann", secret: str = "", address: str = "192.0.2.1") -> Peer:
    """Connect and send AUTH."""
    peer = memory.connect("hpfeeds", address)
    peer.send(auth(peer.take()[-4:], name, secret or USERS[name]))
    return peer


def errors(memory: MemoryBroker) -> dict[str, int]:
    """Give what was counted as a peer's mistake."""
    return dict(memory.broker.listener("hpfeeds").counts.errors)


def said(peer: Peer) -> bytes:
    """Give the text of the ERROR that has come."""
    return peer.take()[5:]


# -- slow ones --------------------------------------------------------------------------------------------------------


def test_one_byte_a_second_before_the_login() -> None:
    """Sending AUTH byte by byte does not stretch the time there is to log in."""
    memory = broker()
    peer = memory.connect("hpfeeds")
    data = auth(peer.take()[-4:], "ann", "secret")
    for i in range(10):
        assert not peer.closed
        peer.send(data[i : i + 1])
        memory.advance(1.0)
    assert said(peer) == b"Authentication timed out"
    memory.advance(2.0)
    assert peer.closed
    assert not memory.broker.listener("hpfeeds").sessions


def test_one_byte_a_second_after_the_login() -> None:
    """A large frame that comes byte by byte is given up after ``frame_timeout``, with a word and a count."""
    memory = broker()
    peer = login(memory)
    data = frame(3, b"ann", b"a", bytes(1000))
    seconds = 0
    while not peer.closed and seconds < 200:
        peer.send(data[seconds : seconds + 1])
        memory.advance(1.0)
        seconds += 1
    assert 60 <= seconds <= 63
    assert said(peer) == b"Frame not finished in time"
    assert errors(memory) == {"too-slow": 1}


def test_a_header_and_nothing_more() -> None:
    """The same goes for a frame that stands still, and not for a connection that is only silent."""
    memory = broker(frame_timeout=5.0)
    silent, stuck = login(memory), login(memory)
    stuck.send(frame(3, b"ann", b"a", b"x") * 3 + pack("!iB", MEGABYTE, 3))
    memory.advance(4.9)
    assert not stuck.closed
    memory.advance(1.2)
    memory.advance(1.0)
    assert said(stuck) == b"Frame not finished in time"
    assert stuck.closed
    memory.advance(1000.0)
    assert not silent.closed


def test_a_large_upload_over_a_slow_line() -> None:
    """A megabyte at a hundred bytes a second arrives: it gets on, and takes three hours."""
    memory = broker()
    collector, sensor = login(memory, "bob"), login(memory)
    collector.send(frame(4, b"bob", b"a"))
    data = frame(3, b"ann", b"a", bytes(MEGABYTE - 100))
    for i in range(0, len(data), 1000):
        sensor.send(data[i : i + 1000])
        memory.advance(10.0)
        assert not sensor.closed
    assert collector.take() == data
    memory.advance(1000.0)
    assert not sensor.closed


def test_a_frame_that_ends_just_in_time() -> None:
    """What follows a frame that has ended has its own time; small frames may come as slowly as they do."""
    memory = broker(frame_timeout=10.0)
    peer = login(memory)
    data = frame(3, b"ann", b"a", b"x")
    peer.send(data[:7])
    for _ in range(20):
        memory.advance(9.0)
        peer.send(data[7:] + data[:7])
    assert not peer.closed
    peer.send(data[7:])
    memory.advance(1000.0)
    assert not peer.closed


def test_time_in_which_the_broker_does_not_read_is_not_held_against_a_peer() -> None:
    """While a login is being decided nothing is read, so nothing can get on."""
    memory = MemoryBroker(users=USERS, settings={"hpfeeds": {"frame_timeout": 0.5}}, thinking=1.0)
    peer = memory.connect("hpfeeds")
    data = frame(3, b"ann", b"a", b"x")
    peer.send(auth(peer.take()[-4:], "ann", "secret") + data[:-1])
    memory.advance(0.9)
    memory.advance(0.2)
    assert not peer.closed
    assert peer.protocol.client is not None
    peer.send(data[-1:])
    memory.advance(10.0)
    assert not peer.closed


def test_no_bound() -> None:
    """A ``frame_timeout`` of nought waits for ever."""
    memory = broker(frame_timeout=0.0)
    peer = login(memory)
    peer.send(pack("!iB", MEGABYTE, 3))
    memory.advance(100_000.0)
    assert not peer.closed


def test_nothing_remains_of_a_connection_that_has_gone() -> None:
    """No timer outlives the connection that it was for."""
    memory = broker()
    before = len(memory.reactor.getDelayedCalls())
    peer = login(memory)
    peer.send(pack("!iB", MEGABYTE, 3))
    peer.hang_up()
    assert len(memory.reactor.getDelayedCalls()) == before


# -- those who do not log in ------------------------------------------------------------------------------------------


def test_never_authenticates() -> None:
    """Connections that say nothing are closed in time, however many there are, and nothing of them remains."""
    memory = broker()
    peers = [memory.connect("hpfeeds") for _ in range(500)]
    memory.advance(10.1)
    memory.advance(1.1)
    assert all(peer.closed for peer in peers)
    assert errors(memory) == {"login": 500}
    listener = memory.broker.listener("hpfeeds")
    assert not listener.sessions
    assert not listener.entrance.from_address


def test_a_tight_loop_with_a_wrong_secret() -> None:
    """A thousand reconnects are throttled after a few; who shares the address, or only the name, logs in at once."""
    memory = broker()
    for _ in range(1000):
        peer = login(memory, "ann", "wrong")
        peer.hang_up()
    throttle = memory.broker.throttle
    assert throttle.refused >= 980
    assert len(throttle) <= 4
    for name, address in (("bob", "192.0.2.1"), ("bob", "192.0.2.2"), ("ann", "192.0.2.2")):
        good = login(memory, name, address=address)
        assert good.protocol.client is not None
        assert good.take() == b""
    assert len(memory.broker.listener("hpfeeds").sessions) == 3


def test_who_is_throttled_waits_for_the_answer() -> None:
    """A client that reconnects as soon as it is refused does so once a second, instead of thousands of times."""
    memory = broker()
    for _ in range(20):
        peer = login(memory, "ann", "wrong")
        if not peer.received:
            break
    assert not peer.closed
    memory.advance(0.9)
    assert peer.take() == b""
    memory.advance(0.2)
    assert said(peer) == b"Users cannot be looked up now, try again later"
    memory.advance(1.1)
    assert peer.closed
    assert peer.protocol not in memory.broker.listener("hpfeeds").sessions


def test_who_is_throttled_and_leaves() -> None:
    """Nothing is left of a connection that does not wait for its answer."""
    memory = broker()
    before = len(memory.reactor.getDelayedCalls())
    for _ in range(50):
        login(memory, "ann", "wrong").hang_up()
    memory.advance(1.5)
    assert len(memory.reactor.getDelayedCalls()) == before


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_too_many_from_one_address() -> None:
    """The bound for one address harms no other address; who is too much is told so."""
    memory = broker(max_connections_per_address=3)
    here = [login(memory) for _ in range(3)]
    extra = memory.connect("hpfeeds")
    assert extra.take().endswith(frame(0, b"Too many connections"))
    assert login(memory, "bob", address="192.0.2.9").protocol.client is not None
    here[0].hang_up()
    assert login(memory).protocol.client is not None
    assert memory.broker.listener("hpfeeds").entrance.refused == {"address": 1}


def test_one_machine_of_ipv6() -> None:
    """Of IPv6 a machine has half of the addresses to itself: they count as one."""
    memory = broker(max_connections_per_address=2)
    for i in range(2):
        login(memory, address=f"2001:db8::{i}")
    assert b"Too many" in memory.connect("hpfeeds", "2001:db8::ffff").take()
    assert b"Too many" not in memory.connect("hpfeeds", "2001:db8:1::1").take()


def test_a_flood_of_connections_that_are_too_many() -> None:
    """They are told and counted, hold nothing and fill no log; who leaves makes room at once."""
    memory = broker(max_connections=2)
    inside = [login(memory) for _ in range(2)]
    listener = memory.broker.listener("hpfeeds")
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        for _ in range(500):
            assert b"Too many connections" in memory.connect("hpfeeds").take()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert lines == ["hpfeeds 192.0.2.1:54321: client: Too many connections"]
    assert listener.entrance.refused == {"connections": 500}
    inside[0].hang_up()
    assert login(memory).protocol.client is not None
    memory.advance(1.1)
    assert len(listener.sessions) == 2


# -- those who are in -------------------------------------------------------------------------------------------------


def test_a_channel_of_255_arbitrary_bytes() -> None:
    """Whatever bytes it has, a channel is a name; log and metrics show it printable, and nothing breaks."""
    memory = broker()
    peer = login(memory)
    for channel in (bytes(range(1, 256)), b"\xff" * 255, b"\r\n" * 127 + b"\0", b"\x1b[2J" + b"." * 251):
        peer.send(frame(4, b"ann", channel), frame(3, b"ann", channel, b"x"))
        assert peer.take() == frame(3, b"ann", channel, b"x")
    assert not peer.closed


@pytest.mark.parametrize("count", [1, 500])
def test_full_speed_to_a_channel_that_nobody_reads(count: int) -> None:
    """Fifty thousand messages that nobody wants leave nothing behind, on one channel or on many."""
    memory = broker()
    peer = login(memory)
    chunk = b"".join(frame(3, b"ann", b"nobody.%d" % (i % count), bytes(128)) for i in range(500))
    peer.send(chunk)
    tracemalloc.start()
    try:
        for _ in range(100):
            peer.protocol.dataReceived(chunk)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert memory.broker.listener("hpfeeds").counts.messages_in == 101 * 500
    assert peak < MEGABYTE


def test_a_reader_that_has_stopped() -> None:
    """It is reset at its deadline, its memory is free at once, and the log says so in the original's words."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(formatEvent(event))

    memory = broker()
    reader, sensor = login(memory, "bob"), login(memory)
    reader.send(frame(4, b"bob", b"a"))
    reader.stop_reading()
    globalLogPublisher.addObserver(observe)
    try:
        for _ in range(10):
            sensor.send(frame(3, b"ann", b"a", bytes(MEGABYTE - 100)))
        assert reader.protocol.outbox.pending > 8 * MEGABYTE
        memory.advance(59.0)
        assert not reader.closed
        memory.advance(2.0)
        memory.advance()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert reader.aborted
    assert reader.protocol.outbox.pending == 0
    assert memory.broker.listener("hpfeeds").counts.slow_readers == {"deadline": 1}
    [line] = [line for line in lines if "Backpressure" in line]
    assert line.startswith("hpfeeds 192.0.2.1:54321 (bob): Backpressure deadline timer expired: slow reader given up")
    assert not sensor.closed
