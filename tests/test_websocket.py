"""WebSocket beneath a session: the request, frames cut anywhere, frames that are none, and what is bounded."""

from __future__ import annotations

import random
import re
import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from brokerkit.deflate import AGREED, agree
from brokerkit.errors import ConfigError
from brokerkit.testing import MemoryBroker, Peer

NAME = "nats-websocket"
HELLO = b'CONNECT {"verbose":false,"pedantic":false,"user":"ann","pass":"ann\'s secret"}\r\nPING\r\n'
REQUEST = {
    "Host": "broker.example.org",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def broker(**keys: object) -> MemoryBroker:
    """Give a broker whose listener has these settings."""
    return MemoryBroker(settings={NAME: keys})


def request(more: dict[str, str | None] | None = None, first: str = "GET /any/path HTTP/1.1") -> bytes:
    """Spell a request; a header that is ``None`` is left out."""
    headers = {**REQUEST, **(more or {})}
    lines = [first, *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode()


def frame(opcode: int, payload: bytes, *, mask: bytes | None = b"\x01\x02\x03\x04", first: int = 0x80) -> bytes:
    """Spell a frame; ``first`` holds FIN and the reserved bits."""
    size = len(payload)
    short = size if size < 126 else 126 if size <= 0xFFFF else 127
    longer = b"" if short < 126 else struct.pack("!H" if short == 126 else "!Q", size)
    head = bytes((first | opcode, short | (0x80 if mask else 0))) + longer
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def heard(data: bytes) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Read frames of the broker: what messages hold, and the control frames."""
    text, control = b"", []
    while data:
        assert not data[1] & 0x80
        size, start = data[1] & 0x7F, 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        payload, opcode = data[start : start + size], data[0] & 0x0F
        assert len(payload) == size
        if data[0] & 0x40:
            payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
        if opcode == 2:
            text += payload
        else:
            control.append((opcode, payload))
        data = data[start + size :]
    return text, control


def opened(memory: MemoryBroker, more: dict[str, str | None] | None = None) -> Peer:
    """Connect, and become a WebSocket."""
    peer = memory.connect(NAME)
    peer.send(request(more))
    assert peer.received.startswith(b"HTTP/1.1 101 ")
    peer.received = peer.received.partition(b"\r\n\r\n")[2]
    return peer


def joined(memory: MemoryBroker, more: dict[str, str | None] | None = None) -> Peer:
    """Connect, and log in as ann."""
    peer = opened(memory, more)
    peer.send(frame(2, HELLO))
    assert heard(peer.take())[0].endswith(b"PONG\r\n")
    return peer


def counts(memory: MemoryBroker) -> dict[str, int]:
    """Give what was counted as wrong."""
    return dict(memory.broker.listener(NAME).counts.errors)


# -- the request --------------------------------------------------------------------------------------------------


def test_accepted() -> None:
    """A request is answered as RFC 6455 does it for its example, and then INFO comes."""
    peer = broker().connect(NAME)
    assert peer.take() == b""
    peer.send(request())
    head, _, rest = peer.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    assert heard(rest)[0].startswith(b"INFO {")


@pytest.mark.parametrize(
    ("more", "first", "status", "says"),
    [
        ({}, "POST / HTTP/1.1", 405, "Allow: GET"),
        ({}, "GET / HTTP/1.0", 400, "HTTP/1.1"),
        ({"Upgrade": None}, "GET / HTTP/1.1", 426, "ws://"),
        ({"Upgrade": "h2c"}, "GET / HTTP/1.1", 426, "Upgrade: websocket"),
        ({"Connection": "close"}, "GET / HTTP/1.1", 400, "Connection"),
        ({"Sec-WebSocket-Version": "8"}, "GET / HTTP/1.1", 426, "Sec-WebSocket-Version: 13"),
        ({"Sec-WebSocket-Version": None}, "GET / HTTP/1.1", 426, "Sec-WebSocket-Version: 13"),
        ({"Sec-WebSocket-Key": None}, "GET / HTTP/1.1", 400, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Key": "short"}, "GET / HTTP/1.1", 400, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Key": "AAAA"}, "GET / HTTP/1.1", 400, "Sec-WebSocket-Key"),
        ({"Host": None}, "GET / HTTP/1.1", 400, "HTTP/1.1"),
        ({"Content-Length": "5"}, "GET / HTTP/1.1", 400, "follow"),
        ({}, "nonsense", 400, "HTTP/1.1"),
        ({"X": "y" * 20_000}, "GET / HTTP/1.1", 0, ""),
    ],
)
def test_refused(more: dict[str, str | None], first: str, status: int, says: str) -> None:
    """What is no request for a WebSocket is answered in HTTP, with a sentence, and closed; nothing of NATS is said."""
    memory = broker()
    peer = memory.connect(NAME)
    peer.send(request(more, first))
    if not status:  # long, but all there: it is taken
        assert peer.take().startswith(b"HTTP/1.1 101")
        return
    answer = peer.take().decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert says in answer
    assert answer.endswith((".\n", "?\n"))
    assert "INFO" not in answer
    memory.advance(0)
    assert peer.closed
    assert counts(memory) == {"websocket": 1}
    assert not memory.broker.listener(NAME).sessions


def test_endless_request() -> None:
    """A request that does not end is not collected."""
    peer = broker().connect(NAME)
    for _ in range(40):
        peer.send(b"GET / HTTP/1.1\r\nX: " + b"y" * 1000)
    assert peer.take().startswith(b"HTTP/1.1 4")


def test_no_request() -> None:
    """Who asks for nothing is closed in time; so is who asks slowly."""
    memory = broker(handshake_timeout=3)
    silent, slow = memory.connect(NAME), memory.connect(NAME)
    for byte in request()[:30]:
        slow.send(bytes((byte,)))
        memory.advance(0.099)
    memory.advance(0.1)
    assert (silent.closed, slow.closed) == (True, True)
    assert (silent.take(), slow.take()) == (b"", b"")
    assert counts(memory) == {"websocket": 2}


def test_nothing_before_the_answer() -> None:
    """Who does not wait for the answer is refused: a proxy may think that it was another request."""
    peer = broker().connect(NAME)
    peer.send(request() + frame(2, HELLO))
    assert peer.take().startswith(b"HTTP/1.1 400 ")


def test_connections_count_before_the_request() -> None:
    """Connections that have asked for nothing yet are bounded too."""
    memory = MemoryBroker(settings={NAME: {"max_connections": 2}})
    for _ in range(2 + 64):
        memory.connect(NAME)
    with pytest.raises(ConnectionRefusedError):
        memory.connect(NAME)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 400), max_size=6))
def test_request_cut_anywhere(cuts: list[int]) -> None:
    """A request may come in any pieces."""
    peer, text = broker().connect(NAME), request()
    places = sorted({min(cut, len(text)) for cut in cuts})
    for start, stop in zip([0, *places], [*places, len(text)], strict=True):
        peer.send(text[start:stop])
    assert peer.take().startswith(b"HTTP/1.1 101 ")


# -- from where ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "keys", "taken"),
    [
        ("https://evil.example", {}, True),
        (None, {"same_origin": True}, True),
        ("http://broker.example.org", {"same_origin": True}, True),
        ("http://broker.example.org:80", {"same_origin": True}, True),
        ("http://broker.example.org:8080", {"same_origin": True}, False),
        ("https://broker.example.org", {"same_origin": True}, False),
        ("null", {"same_origin": True}, False),
        ("https://app.example", {"allowed_origins": ["https://app.example"]}, True),
        ("https://APP.example", {"allowed_origins": ["https://app.example"]}, True),
        ("https://app.example.evil", {"allowed_origins": ["https://app.example"]}, False),
        ("http://app.example", {"allowed_origins": ["https://app.example"]}, False),
        ("https://app.example@evil", {"allowed_origins": ["https://app.example"]}, False),
        ("https://app.example", {"allowed_origins": ["https://app.example"], "same_origin": True}, False),
        ("anything", {"allowed_origins": ["*"]}, True),
    ],
)
def test_origin(origin: str | None, keys: dict[str, object], taken: bool) -> None:
    """Pages of other places are kept out where that is said; programs, which name no origin, are not."""
    peer = broker(**keys).connect(NAME)
    peer.send(request({"Origin": origin}))
    assert peer.take().startswith(b"HTTP/1.1 101 " if taken else b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("proxies", "said", "address"),
    [
        ([], "203.0.113.9", "192.0.2.1"),
        (["10.0.0.0/8"], "203.0.113.9", "192.0.2.1"),
        (["192.0.2.0/24"], "203.0.113.9", "203.0.113.9"),
        (["192.0.2.0/24"], "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (["192.0.2.0/24"], "203.0.113.9, 192.0.2.7", "203.0.113.9"),
        (["192.0.2.0/24"], "2001:db8::1", "2001:db8::1"),
        (["192.0.2.0/24"], "nonsense", "192.0.2.1"),
        (["192.0.2.0/24"], None, "192.0.2.1"),
    ],
)
def test_forwarded(proxies: list[str], said: str | None, address: str) -> None:
    """Only a trusted proxy is believed whose connection it is, and only for the address that it has seen itself."""
    memory = broker(trusted_proxies=proxies)
    peer = opened(memory, {"X-Forwarded-For": said})
    assert f'"client_ip":"{address}"'.encode() in peer.take()
    assert peer.protocol.host == address
    assert memory.broker.listener(NAME).entrance.from_address == {peer.protocol.host: 1} or ":" in address
    peer.hang_up()
    assert not memory.broker.listener(NAME).entrance.from_address


def test_too_many_behind_a_proxy() -> None:
    """The number for each address is for those whom the proxy speaks for."""
    memory = broker(trusted_proxies=["192.0.2.1"], max_connections_per_address=1)
    for address, fits in (("203.0.113.1", True), ("203.0.113.2", True), ("203.0.113.2", False)):
        peer = opened(memory, {"X-Forwarded-For": address})
        assert (b"maximum connections exceeded" in peer.take()) is not fits


# -- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"endpoint": "tcp:port=80"}, "no_tls"),
        ({"endpoint": "tcp:port=80:interface=192.0.2.1"}, "no_tls"),
        ({"endpoint": "tcp6:80"}, "no_tls"),
        ({"jwt_cookie": "jwt"}, "same_origin or allowed_origins"),
        ({"token_cookie": "token"}, "same_origin or allowed_origins"),
        ({"allowed_origins": ["app.example"]}, "allowed_origins"),
        ({"allowed_origins": ["https://app.example/path"]}, "allowed_origins"),
        ({"trusted_proxies": ["proxy"]}, "trusted_proxies"),
        ({"handshake": "first"}, "handshake"),
        ({"plain": True}, "plain"),
        ({"pinned_certs": ["0" * 64]}, "client_ca"),
    ],
)
def test_wrong_settings(keys: dict[str, object], says: str) -> None:
    """What would let somebody in who should not be, or cannot be meant, ends the start with a line about it."""
    with pytest.raises(ConfigError, match=re.escape(says)):
        broker(**keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"endpoint": "tcp:port=80", "no_tls": True},
        {"endpoint": "tcp:80:interface=127.0.0.1"},
        {"endpoint": "tcp:port=80:interface=::1"},
        {"endpoint": "tcp:port=80:interface=localhost"},
        {"endpoint": "unix:/run/brokerkit.sock"},
        {"jwt_cookie": "jwt", "allowed_origins": ["*"]},
    ],
)
def test_right_settings(keys: dict[str, object]) -> None:
    """Without TLS one listens for this machine, or says so."""
    broker(**keys)


COOKIES = {"user_cookie": "u", "pass_cookie": "p", "token_cookie": "t", "jwt_cookie": "j", "same_origin": True}


@pytest.mark.parametrize(
    ("cookie", "said", "answer"),
    [
        ("u=ann; p=ann's secret", b"", b"PONG"),
        ('p="ann\'s secret"; x=1; u=ann', b"", b"PONG"),
        ("u=ann; p=wrong", b"", b"-ERR 'Authorization Violation'"),
        ("u=ann; p=wrong", b',"user":"ann","pass":"ann\'s secret"', b"PONG"),
        ("u=ann; p=ann's secret", b',"user":"ann","pass":"wrong"', b"-ERR 'Authorization Violation'"),
        ("u=ann; p=ann's secret", b',"auth_token":"wrong"', b"-ERR 'Authorization Violation'"),
        (None, b"", b"-ERR 'Authorization Violation'"),
    ],
)
def test_cookies(cookie: str | None, said: bytes, answer: bytes) -> None:
    """A cookie logs in where CONNECT names nobody; where it names somebody, that counts alone."""
    peer = opened(broker(**COOKIES), {"Cookie": cookie})
    peer.take()
    peer.send(frame(2, b'CONNECT {"verbose":false,"pedantic":false%b}\r\nPING\r\n' % said))
    assert heard(peer.take())[0].startswith(answer)


def test_cookies_that_nobody_asked_for() -> None:
    """Where no cookie is named in the settings, none logs in."""
    peer = opened(broker(), {"Cookie": "=ann; user=ann; pass=ann's secret; user_cookie=ann"})
    peer.take()
    peer.send(frame(2, b"CONNECT {}\r\n"))
    assert b"Authorization Violation" in peer.take()


# -- frames -------------------------------------------------------------------------------------------------------


def _messages(text: bytes, dice: random.Random) -> bytes:
    """Cut what is said into messages and frames of any kind, with other frames between."""
    found = b""
    while text:
        parts = []
        for _ in range(dice.randrange(1, 4)):
            size = dice.choice((0, 1, 5, 40, 130, 70_000))
            parts.append(text[:size])
            text = text[size:]
        opcode = dice.choice((1, 2))
        for i, part in enumerate(parts):
            last = 0x80 if i == len(parts) - 1 else 0
            found += frame(0 if i else opcode, part, mask=dice.randbytes(4), first=last)
            if dice.random() < 0.3:
                found += frame(dice.choice((9, 10)), b"x" * dice.randrange(126))
    return found


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(st.integers(), st.lists(st.integers(1, 3000), max_size=12))
def test_frames_cut_anywhere(seed: int, cuts: list[int]) -> None:
    """However messages, frames and chunks are cut, the same happens."""
    memory = broker()
    found: list[bytes] = []
    memory.local().subscribe(b">", lambda batch: found.extend(m.payload for m in batch))
    peer = joined(memory)
    payloads = [b"one", b"", b"x" * 200, b"PUB a 1\r\n", b"last"]
    text = b"".join(b"PUB a.b %d\r\n%b\r\n" % (len(payload), payload) for payload in payloads) + b"PING\r\n"
    data = _messages(text, random.Random(seed))  # noqa: S311
    places = sorted({min(cut, len(data)) for cut in cuts})
    for start, stop in zip([0, *places], [*places, len(data)], strict=True):
        peer.send(data[start:stop])
    assert found == payloads
    assert heard(peer.take())[0] == b"PONG\r\n"
    assert counts(memory) == {}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(2, b"PING\r\n", mask=None), 1002),
        (frame(2, b"PING\r\n", first=0x90), 1002),
        (frame(2, b"PING\r\n", first=0xA0), 1002),
        (frame(2, b"PING\r\n", first=0xC0), 1002),
        (frame(9, b"", first=0xC0), 1002),
        (frame(3, b""), 1002),
        (frame(15, b""), 1002),
        (frame(9, b"x" * 126), 1002),
        (frame(9, b"x", first=0), 1002),
        (frame(8, b"x", first=0), 1002),
        (frame(0, b"PING\r\n"), 1002),
        (frame(2, b"PI", first=0) + frame(2, b"NG\r\n"), 1002),
        (frame(8, b"x"), 1002),
        (frame(8, struct.pack("!H", 999)), 1002),
        (frame(8, struct.pack("!H", 1005)), 1002),
        (frame(8, struct.pack("!H", 2000)), 1002),
        (frame(8, struct.pack("!H", 1000) + b"\xff"), 1007),
        (frame(1, b"\xff\xff"), 1007),
        (b"\x82\xfe\x00\x05" + bytes(4) + b"PING\n", 1002),
        (b"\x82\xff" + struct.pack("!Q", 300) + bytes(4), 1002),
        (b"\x82\xff" + struct.pack("!Q", 1 << 63) + bytes(4), 1002),
        (b"\x82\xff" + struct.pack("!Q", (1 << 63) - 1) + bytes(4), 1009),
    ],
)
def test_what_is_no_frame(data: bytes, code: int) -> None:
    """What no client may send ends the connection with a code, is counted once, and nothing behind it is read."""
    memory = broker()
    peer = joined(memory)
    peer.send(data + frame(2, b"PUB a.b 1\r\n1\r\n"))
    text, control = heard(peer.take())
    assert (text, [(opcode, payload[:2]) for opcode, payload in control]) == (b"", [(8, struct.pack("!H", code))])
    memory.advance(1.5)
    assert peer.closed
    assert counts(memory) == {"too-large" if code == 1009 else "protocol": 1}
    assert memory.broker.listener(NAME).counts.messages_in == 0


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(st.binary(max_size=300), st.booleans())
def test_random_bytes(data: bytes, deflate: bool) -> None:
    """Nothing that can be sent is a bug."""
    memory = broker(compression=deflate)
    peer = joined(memory, {"Sec-WebSocket-Extensions": "permessage-deflate"})
    peer.send(data)
    peer.send(frame(2, data, first=0xC0))
    memory.advance(2.0)
    assert "bug" not in counts(memory)


def test_ping() -> None:
    """A question is answered with what it holds; of several at once the last one is."""
    peer = joined(broker())
    peer.send(frame(9, b"one") + frame(9, b"two"))
    assert heard(peer.take()) == (b"", [(10, b"two")])


def test_ping_without_reading() -> None:
    """Who asks and does not read the answers does not have them collected."""
    memory = broker()
    peer = joined(memory)
    memory.local().subscribe(b"x", lambda _: None)
    peer.send(frame(2, b"SUB a 1\r\n"))
    peer.stop_reading()
    for _ in range(20):
        memory.local().publish(b"a", b"x" * 10_000)
    before = peer.transport.pending
    for _ in range(1000):
        peer.send(frame(9, b"x" * 125))
    assert peer.transport.pending == before


def test_goodbye() -> None:
    """A peer's goodbye is answered with its own code, or with none, and the connection closed."""
    for payload in (b"", struct.pack("!H", 1000), struct.pack("!H", 4321) + b"see you"):
        memory = broker()
        peer = joined(memory)
        peer.send(frame(8, payload))
        assert heard(peer.take()) == (b"", [(8, payload[:2])])
        memory.advance(0)
        assert (peer.closed, peer.aborted) == (True, False)
        assert counts(memory) == {}


def test_goodbye_to_a_peer_that_does_not_read() -> None:
    """Who says goodbye and does not read the answer is cut."""
    memory = broker()
    peer = joined(memory)
    peer.stop_reading()
    peer.send(frame(8, b""))
    memory.advance(1.1)
    assert peer.aborted
    assert not memory.broker.listener(NAME).sessions


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        (b"nonsense\r\n", 1002, b"Unknown Protocol Operation"),
        (b"PUB a.b 2000000\r\n", 1009, b"Maximum Payload Violation"),
        (b'CONNECT {"user":"ann","pass":"wrong"}\r\n', 1008, b"Authorization Violation"),
        (b"PUB a.b x\r\n", 1002, b""),
    ],
)
def test_why(said: bytes, code: int, text: bytes) -> None:
    """What ends a connection in NATS is said in the Close too, behind what NATS says."""
    memory = broker()
    peer = joined(memory)
    peer.send(frame(2, said))
    words, control = heard(peer.take())
    assert words == (b"-ERR '%b'\r\n" % text if text else b"")
    assert control == [(8, struct.pack("!H", code) + text)]
    assert not peer.closed
    peer.send(frame(8, struct.pack("!H", code)))
    memory.advance(0)
    assert (peer.closed, peer.aborted) == (True, False)


def test_stale() -> None:
    """Who answers no PING is told that the broker goes away."""
    memory = broker(ping_interval=1.0)
    peer = joined(memory)
    for _ in range(8):
        memory.advance(0.5)
    words, control = heard(peer.take())
    assert words.endswith(b"-ERR 'Stale Connection'\r\n")
    assert control == [(8, struct.pack("!H", 1001) + b"Stale Connection")]


# -- what is bounded ----------------------------------------------------------------------------------------------


def test_largest_message() -> None:
    """A message may hold eight of the largest payloads, and not a byte more, in one frame or in several."""
    limit = 8 * 1000
    for parts, fits in (([limit], True), ([limit + 1], False), ([limit - 5, 5], True), ([limit, 1], False)):
        memory = broker(max_payload=1000)
        peer = joined(memory)
        text = b"PING\r\n" * (limit // 6) + b"PING\n" * 2
        text = (text + b"PING\r\n")[:limit].ljust(sum(parts), b"P")
        for i, size in enumerate(parts):
            piece, text = text[:size], text[size:]
            peer.send(frame(0 if i else 2, piece, first=0x80 if i == len(parts) - 1 else 0))
        control = heard(peer.take())[1]
        assert (control == []) is fits, parts
        assert counts(memory) == ({} if fits else {"too-large": 1})


OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}


def deflated(data: bytes) -> bytes:
    """Compress a message."""
    deflator = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflator.compress(data) + deflator.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_compressed() -> None:
    """Compressed messages are read, whole and in frames, and larger ones are compressed."""
    memory = broker(compression=True)
    peer = memory.connect(NAME)
    peer.send(request(OFFER))
    head, _, peer.received = peer.take().partition(b"\r\n\r\n")
    assert f"Sec-WebSocket-Extensions: {AGREED}".encode() in head
    assert peer.received[0] == 0xC2
    assert heard(peer.take())[0].startswith(b"INFO {")
    packed = deflated(HELLO + b"SUB a 1\r\n")
    peer.send(frame(2, packed[:9], first=0x40) + frame(9, b"") + frame(0, packed[9:]))
    peer.send(frame(2, b"PING\r\n"))
    assert peer.received[2:4] == b"\x82\x06"  # behind the answer to the ping: PONG is too small to gain anything
    assert heard(peer.take())[0] == b"PONG\r\nPONG\r\n"
    memory.local().publish(b"a", b"y" * 100_000)
    assert len(peer.received) < 1000
    assert heard(peer.take())[0] == b"MSG a 1 100000\r\n" + b"y" * 100_000 + b"\r\n"


@pytest.mark.parametrize(
    ("offer", "met"),
    [
        ("permessage-deflate", True),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", True),
        ("permessage-deflate; client_max_window_bits=10", True),
        ("permessage-deflate; server_max_window_bits=10", False),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", True),
        ("permessage-deflate; unknown", False),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", False),
        ("x-webkit-deflate-frame", False),
        ("", False),
    ],
)
def test_offers(offer: str, met: bool) -> None:
    """Of the offers to compress, those are met that can be kept."""
    assert agree(offer) is met


def test_compression_is_declined() -> None:
    """Where it is not wanted it is not agreed on."""
    peer = broker().connect(NAME)
    peer.send(request(OFFER))
    assert b"Sec-WebSocket-Extensions" not in peer.take()


@pytest.mark.parametrize("frames", [1, 3])
def test_bomb(frames: int) -> None:
    """A small message that would become a huge one costs no more than the largest message may."""
    memory = broker(compression=True)
    peer = joined(memory, OFFER)
    packed = deflated(b"P" * 200_000_000)
    size = len(packed) // frames + 1
    parts = [packed[start : start + size] for start in range(0, len(packed), size)]
    data = b"".join(
        frame(0 if i else 2, part, first=(0 if i else 0x40) | (0x80 if i == len(parts) - 1 else 0))
        for i, part in enumerate(parts)
    )
    tracemalloc.start()
    try:
        peer.send(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * 1024
    assert heard(peer.take())[1][-1][1][:2] in {struct.pack("!H", 1009), struct.pack("!H", 1002)}
    assert counts(memory) != {}


def test_bomb_that_is_a_message() -> None:
    """The bound is for what a message holds, whatever is in it."""
    memory = broker(compression=True, max_payload=1000)
    peer = joined(memory, OFFER)
    peer.send(frame(2, deflated(b"PING\r\n" * 1300), first=0xC0))
    assert heard(peer.take()) == (b"PONG\r\n" * 1300, [])
    peer.send(frame(2, deflated(b"PING\r\n" * 1400), first=0xC0))
    assert heard(peer.take())[1] == [(8, struct.pack("!H", 1009))]


def test_bomb_while_a_login_is_decided() -> None:
    """While nothing may be read, nothing is inflated either."""
    memory = MemoryBroker(thinking=1.0, settings={NAME: {"compression": True}})
    peer = opened(memory, OFFER)
    peer.take()
    later = b"".join(frame(2, deflated(b"PING\r\n" * 100_000), first=0xC0) for _ in range(8))
    peer.send(frame(2, HELLO[:-6]) + later)
    assert peer.protocol.unread < 2 * 1024 * 1024
    memory.advance(1.0)
    for _ in range(50):
        memory.advance(0)
    assert heard(peer.take()) == (b"PONG\r\n" * 800_000, [])


@pytest.mark.parametrize("tail", [b"", b"\x00" * 5000])
def test_compressed_with_an_end(tail: bytes) -> None:
    """What stands behind the end of compressed data is an error, not a memory that grows."""
    memory = broker(compression=True)
    peer = joined(memory, OFFER)
    deflator = zlib.compressobj(9, zlib.DEFLATED, -15)
    whole = deflator.compress(b"PING\r\n") + deflator.flush(zlib.Z_FINISH)
    peer.send(frame(2, whole, first=0x40), *(frame(0, tail, first=0) for _ in range(3)), frame(0, b""))
    text, control = heard(peer.take())
    assert text == b"PONG\r\n"
    assert control == ([(8, struct.pack("!H", 1007))] if tail else [])


def test_nothing_is_held_between_messages() -> None:
    """A connection on which everything is compressed holds no window while it is silent."""
    memory = broker(compression=True)
    peer = joined(memory, OFFER)
    peer.send(frame(2, deflated(b"PING\r\n"), first=0xC0))
    layer: Any = peer.transport.protocol
    (messages,) = layer._frames.extensions
    assert messages._inflator is None
