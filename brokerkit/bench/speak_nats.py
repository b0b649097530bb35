"""NATS, as far as the generator speaks it: CONNECT, SUB, PUB, PING and PONG."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from brokerkit.bench.speech import BenchError, beneath

if TYPE_CHECKING:
    import ssl
    from socket import socket

PING, PONG = b"PING\r\n", b"PONG\r\n"


class Nats:
    """A NATS client; one subscription number (sid) per topic."""

    aside = len(PING)

    def __init__(
        self, name: str = "", secret: str = "", prefix: str = "", tls: ssl.SSLContext | None = None, host: str = ""
    ) -> None:
        """Log in as a user, or by a token (a *secret* without a *name*), or as nobody.

        With *tls*, that begins after INFO, and is for the *host* whose certificate is expected.
        """
        self._connect = _connect(name if secret else "", secret)  # without a secret, NATS has no use for a name here
        self._prefix = beneath(prefix)
        self._tls = tls
        self._host = host

    def secure(self, sock: socket) -> socket:
        """Return the socket as it is; or read INFO and shake hands."""
        if self._tls is None:
            return sock
        while (said := sock.recv(1)) != b"\n":
            if not said:
                raise BenchError("closed before the login")
        return self._tls.wrap_socket(sock, server_hostname=self._host or None)

    def login(self, sock: socket) -> None:
        """Send CONNECT and PING, and wait for the PONG behind whatever INFO there is."""
        sock.sendall(self._connect + PING)
        heard = b""
        while PONG not in heard:
            data = sock.recv(65536)
            heard += data
            if not data or b"-ERR" in heard:
                said = heard[heard.find(b"-ERR") :] if b"-ERR" in heard else heard[-100:]
                raise BenchError(f"login refused: {said.strip().decode(errors='replace') or 'closed'}")

    def subscribe(self, topic: bytes, number: int, queue: bytes = b"") -> bytes:
        """Return SUB."""
        return b"SUB %b%b %b%d\r\n" % (self._prefix, topic, queue + b" " if queue else b"", number)

    def publish(self, topic: bytes, payload: bytes) -> bytes:
        """Return PUB."""
        return b"PUB %b%b %d\r\n%b\r\n" % (self._prefix, topic, len(payload), payload)

    def delivery(self, topic: bytes, number: int, payload: bytes) -> bytes:
        """Return MSG."""
        return b"MSG %b%b %d %d\r\n%b\r\n" % (self._prefix, topic, number, len(payload), payload)

    def answer(self, heard: bytes) -> bytes:
        """Return a PONG for each PING."""
        if b"-ERR" in heard:
            raise BenchError(f"the broker said {heard[:100]!r}")
        return PONG * heard.count(PING)


def _connect(name: str, secret: str) -> bytes:
    options: dict[str, object] = {"verbose": False, "pedantic": False, "lang": "bench", "version": "1"}
    if name:
        options |= {"user": name, "pass": secret}
    elif secret:
        options["auth_token"] = secret
    return b"CONNECT %b\r\n" % json.dumps(options).encode()
