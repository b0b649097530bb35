"""NATS, as far as the generator speaks it: CONNECT, SUB, PUB, PING and PONG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.speech import BenchError

if TYPE_CHECKING:
    from socket import socket

CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"lang":"bench","version":"1"}\r\n'
PING, PONG = b"PING\r\n", b"PONG\r\n"


class Nats:
    """An anonymous NATS client; one subscription number (sid) per topic."""

    aside = len(PING)

    def __init__(self, name: str = "") -> None:
        """Take a name as every speech does; NATS has no use for it here."""

    def secure(self, sock: socket) -> socket:
        """Return the socket as it is."""
        return sock

    def login(self, sock: socket) -> None:
        """Send CONNECT and PING, and wait for the PONG behind whatever INFO there is."""
        sock.sendall(CONNECT + PING)
        heard = b""
        while PONG not in heard:
            data = sock.recv(65536)
            heard += data
            if not data or b"-ERR" in heard:
                msg = f"login refused: {heard[-100:]!r}"
                raise BenchError(msg)

    def subscribe(self, topic: bytes, number: int) -> bytes:
        """Return SUB."""
        return b"SUB %b %d\r\n" % (topic, number)

    def publish(self, topic: bytes, payload: bytes) -> bytes:
        """Return PUB."""
        return b"PUB %b %d\r\n%b\r\n" % (topic, len(payload), payload)

    def delivery(self, topic: bytes, number: int, payload: bytes) -> bytes:
        """Return MSG."""
        return b"MSG %b %d %d\r\n%b\r\n" % (topic, number, len(payload), payload)

    def answer(self, heard: bytes) -> bytes:
        """Return a PONG for each PING."""
        if b"-ERR" in heard:
            msg = f"the broker said {heard[:100]!r}"
            raise BenchError(msg)
        return PONG * heard.count(PING)
