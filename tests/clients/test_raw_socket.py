"""A client that is nothing but a socket and the bytes of the protocol, on a plain and on a TLS endpoint.

The bytes are written out here, and not made by the broker's own code: a mistake in that would be in both.
"""

from __future__ import annotations

import hashlib
import socket
import struct
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from tests.certificates import Authority, client_context

from .conftest import Broker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 10
ERROR, INFO, AUTH, PUBLISH, SUBSCRIBE, UNSUBSCRIBE = range(6)
EVERY_BYTE = bytes(range(256))
MAX_FRAME = 5 + 1024 * 1024


class PlainAndSecure(Broker):
    """A broker with one endpoint in the clear; the other, with TLS, is ``secure``."""

    def __init__(self, home: Path) -> None:
        """Make the certificates."""
        super().__init__(home)
        self.authority = Authority(home)
        self.authority.issue("server", "server", [x509.DNSName("localhost")])

    def _listeners(self) -> list[str]:
        tls = "tls:port=0:interface=127.0.0.1:key=server.key:cert=server.crt"
        return ["--hpfeeds", tls, *super()._listeners()]

    @property
    def secure(self) -> int:
        """Give the port with TLS: the first of hpfeeds that was announced."""
        announced = next(line for line in self.lines if "hpfeeds listening on" in line)
        return int(announced.rstrip().rpartition(":")[2])


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainAndSecure]:
    """Run it for the tests of this module."""
    running = PlainAndSecure(tmp_path_factory.mktemp("broker"))
    running.start()
    yield running
    running.stop()


class Raw:
    """One connection."""

    def __init__(self, broker: PlainAndSecure, tls: bool) -> None:
        """Connect, and take the nonce."""
        port = broker.secure if tls else broker.ports["hpfeeds"]
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        if tls:
            self._socket = client_context(broker.authority).wrap_socket(self._socket)
        opcode, body = self.frame()
        assert opcode == INFO
        name, self.nonce = body[1 : 1 + body[0]], body[1 + body[0] :]
        assert (name, len(self.nonce)) == (b"hpfeeds", 4)

    def say(self, *frames: bytes) -> None:
        """Send frames, in one piece."""
        self._socket.sendall(b"".join(frames))

    def drip(self, frame: bytes) -> None:
        """Send a frame byte by byte."""
        for index in range(len(frame)):
            self._socket.sendall(frame[index : index + 1])

    def auth(self, secret: bytes = b"secret") -> bytes:
        """Spell the login of the sensor."""
        return spell(AUTH, b"\x06sensor", hashlib.sha1(self.nonce + secret).digest())  # noqa: S324  the protocol's own

    def frame(self) -> tuple[int, bytes]:
        """Receive a frame: its opcode and its body."""
        size, opcode = struct.unpack("!IB", self._exactly(5))
        return opcode, self._exactly(size - 5)

    def closed(self) -> bool:
        """Say whether nothing but the end comes now."""
        return self._socket.recv(1) == b""

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            assert chunk, "the broker hung up"
            data += chunk
        return data


def spell(opcode: int, *fields: bytes) -> bytes:
    """Spell a frame."""
    body = b"".join(fields)
    return struct.pack("!IB", 5 + len(body), opcode) + body


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def raw(broker: PlainAndSecure, request: pytest.FixtureRequest) -> Iterator[Raw]:
    """Give a connection of each kind."""
    connection = Raw(broker, request.param)
    yield connection
    connection.close()


def subscribe(channel: bytes) -> bytes:
    """Spell a wish."""
    return spell(SUBSCRIBE, b"\x06sensor", channel)


def publish(channel: bytes, payload: bytes) -> bytes:
    """Spell a message."""
    return spell(PUBLISH, b"\x06sensor", bytes((len(channel),)), channel, payload)


def test_all_in_one_segment(raw: Raw) -> None:
    """Login, subscription and messages may come in one piece; what is delivered is the very frame."""
    messages = [publish(b"chan.one", EVERY_BYTE), publish(b"chan.one", b"")]
    raw.say(raw.auth(), subscribe(b"chan.one"), *messages)
    assert [spell(*raw.frame()) for _ in messages] == messages


def test_byte_by_byte(raw: Raw) -> None:
    """They may also come in as many pieces as there are bytes."""
    message = publish(b"chan.one", b"hello")
    raw.drip(raw.auth() + subscribe(b"chan.one") + message)
    assert spell(*raw.frame()) == message


def test_largest(raw: Raw) -> None:
    """The largest frame passes; one byte more ends the connection without a word."""
    largest = publish(b"chan.one", bytes(MAX_FRAME - len(publish(b"chan.one", b""))))
    assert len(largest) == MAX_FRAME
    raw.say(raw.auth(), subscribe(b"chan.one"), largest)
    assert spell(*raw.frame()) == largest
    raw.say(struct.pack("!IB", MAX_FRAME + 1, PUBLISH))
    assert raw.closed()


def test_unsubscribe(raw: Raw) -> None:
    """A channel that was taken back is silent."""
    raw.say(raw.auth(), subscribe(b"chan.one"), subscribe(b"chan.two"), spell(UNSUBSCRIBE, b"\x06sensor", b"chan.one"))
    raw.say(publish(b"chan.one", b"lost"), publish(b"chan.two", b"kept"))
    assert spell(*raw.frame()) == publish(b"chan.two", b"kept")


def test_wrong_secret(raw: Raw) -> None:
    """A wrong secret is answered in the original's words, then comes the end; nothing behind it is done."""
    raw.say(raw.auth(b"wrong"), raw.auth(), subscribe(b"chan.one"), publish(b"chan.one", b"x"))
    assert raw.frame() == (ERROR, b"Authentication failed for sensor")


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (subscribe(b"denied"), b"Authkey not allowed to sub here. ident=sensor, chan=denied"),
        (publish(b"denied", b""), b"Authkey not allowed to pub here. ident=sensor, chan=denied"),
        (spell(PUBLISH, b"\x05other", b"\x08chan.one"), b"Invalid authkey in message, ident=other"),
    ],
)
def test_refused(raw: Raw, frame: bytes, answer: bytes) -> None:
    """What is not allowed is answered in the original's words, then comes the end."""
    raw.say(raw.auth(), frame)
    assert raw.frame() == (ERROR, answer)
    assert raw.closed()


def test_no_login(raw: Raw) -> None:
    """Who begins with anything but the login is told so."""
    raw.say(subscribe(b"chan.one"))
    assert raw.frame() == (ERROR, b"First message was not AUTH")
    assert raw.closed()


@pytest.mark.parametrize("head", [b"\0\0\0\0\x03", b"\0\0\0\x04\x03", b"\xff\xff\xff\xff\x03", b"\0\0\0\x09\x06"])
def test_nonsense(raw: Raw, head: bytes) -> None:
    """A frame that cannot be ends the connection without a word, also before the login; the others live on."""
    raw.say(head)
    assert raw.closed()


def test_plain_to_tls_and_back(broker: PlainAndSecure) -> None:
    """What is published in the clear is heard by TLS, and the other way round."""
    ends = [Raw(broker, False), Raw(broker, True)]
    for end in ends:
        end.say(end.auth(), subscribe(b"chan.one"), publish(b"chan.one", b"me"))
        assert end.frame()[0] == PUBLISH
    assert ends[0].frame()[0] == PUBLISH  # what the second one said to itself
    for speaker in ends:
        speaker.say(publish(b"chan.one", EVERY_BYTE))
        for end in ends:
            assert spell(*end.frame()) == publish(b"chan.one", EVERY_BYTE)
    for end in ends:
        end.close()


def test_half_closed(broker: PlainAndSecure) -> None:
    """Who publishes and hangs up its half at once has published, and gets the end in return."""
    reader, writer = Raw(broker, True), Raw(broker, False)
    reader.say(reader.auth(), subscribe(b"chan.one"), publish(b"chan.one", b"ready"))
    reader.frame()
    writer.say(writer.auth(), publish(b"chan.one", b"last words"))
    writer._socket.shutdown(socket.SHUT_WR)
    assert writer.closed()
    assert spell(*reader.frame()) == publish(b"chan.one", b"last words")
    for end in (reader, writer):
        end.close()
