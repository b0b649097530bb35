"""hpfeeds, as far as the generator speaks it: the challenge, SUBSCRIBE and PUBLISH.

Users come from the environment of the broker. Each connection of the closed loop is a user of its
own with one channel: with one user for all, the search of a list of a thousand channels would be
measured instead.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from brokerkit.bench.speech import BenchError, beneath

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable
    from socket import socket

SECRET = "bench-secret"  # noqa: S105 - only ever valid for a broker on loopback that lives for seconds
INFO, AUTH, PUBLISH, SUBSCRIBE = 1, 2, 3, 4
HEADER = struct.Struct("!IB")


class Hpfeeds:
    """One hpfeeds ident."""

    aside = 0

    def __init__(
        self,
        name: str = "bench",
        secret: str = SECRET,
        prefix: str = "",
        tls: ssl.SSLContext | None = None,
        host: str = "",
    ) -> None:
        """Speak as the ident *name*; with *tls*, to the *host* whose certificate is expected."""
        self._secret = secret.encode()
        self._ident = short(name.encode())
        self._prefix = beneath(prefix)
        self._tls = tls
        self._host = host

    def secure(self, sock: socket) -> socket:
        """Return the socket as it is, or TLS over it from the first byte on."""
        return sock if self._tls is None else self._tls.wrap_socket(sock, server_hostname=self._host or None)

    def login(self, sock: socket) -> None:
        """Answer the challenge. hpfeeds does not confirm: a refusal shows at the first sentinel."""
        body = receive_frame(sock, INFO)
        nonce = body[1 + body[0] :]
        digest = hashlib.sha1(nonce + self._secret).digest()  # noqa: S324 - the protocol's own
        sock.sendall(frame(AUTH, self._ident + digest))

    def subscribe(self, topic: bytes, number: int, queue: bytes = b"") -> bytes:  # noqa: ARG002 - hpfeeds has neither
        """Return SUBSCRIBE."""
        return frame(SUBSCRIBE, self._ident + self._prefix + topic)

    def publish(self, topic: bytes, payload: bytes) -> bytes:
        """Return PUBLISH."""
        return frame(PUBLISH, self._ident + short(self._prefix + topic) + payload)

    def delivery(self, topic: bytes, number: int, payload: bytes) -> bytes:  # noqa: ARG002
        """Return PUBLISH: a broker hands on what it got."""
        return self.publish(topic, payload)

    def answer(self, heard: bytes) -> bytes:
        """Raise: besides messages, a broker sends nothing but errors."""
        msg = f"the broker said {heard[:100]!r}"
        raise BenchError(msg)


def frame(opcode: int, body: bytes) -> bytes:
    """Return a frame; its length counts its header too."""
    return HEADER.pack(HEADER.size + len(body), opcode) + body


def short(text: bytes) -> bytes:
    """Return a string behind its length in one byte."""
    return bytes([len(text)]) + text


def receive_frame(sock: socket, opcode: int) -> bytes:
    """Return the body of the next frame; raise BenchError if it is of another kind."""
    length, heard = HEADER.unpack(receive_exactly(sock, HEADER.size))
    if heard != opcode:
        msg = f"expected opcode {opcode}, got {heard}"
        raise BenchError(msg)
    return receive_exactly(sock, length - HEADER.size)


def receive_exactly(sock: socket, size: int) -> bytes:
    """Return exactly *size* bytes; raise BenchError at the end of the stream."""
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            msg = "closed during login"
            raise BenchError(msg)
        data += more
    return data


def accounts(users: Iterable[tuple[str, Iterable[bytes]]]) -> dict[str, str]:
    """Return the environment that lets each (ident, topics) publish and subscribe."""
    environment: dict[str, str] = {}
    for ident, topics in users:
        channels = b",".join(topics).decode()
        prefix = f"HPFEEDS_{ident.upper()}"
        environment |= {
            f"{prefix}_SECRET": SECRET,
            f"{prefix}_PUBCHANS": channels,
            f"{prefix}_SUBCHANS": channels,
        }
    return environment
