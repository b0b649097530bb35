"""What TLS costs one publisher and one subscriber, with NATS' own way into it: INFO first, then the handshake.

The generator encrypts and decrypts as much as the broker does, and both peers of the broker are one process: the
figures say less about a broker alone than those without TLS do.
"""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import cast
from bench.certificate import make_certificate
from bench.contest import Measure, contest
from bench.flood import Load, flood
from bench.links import Link
from bench.servers import hall, secure_brokers
from bench.speak_nats import Nats
from bench.speech import BenchError

if TYPE_CHECKING:
    from socket import socket

    from bench.contest import Options, Row
    from bench.servers import Server

SIZES = (128, 1024)
DELIVERIES = Measure("deliveries", "msg/s")


class SecureSocket(ssl.SSLSocket):
    """TLS that, like other sockets, says how much it took, and not that it wants to read."""

    def send(self, data: memoryview | bytes, flags: int = 0) -> int:
        """Send some of *data*; 0 bytes if it has to be tried again."""
        try:
            return super().send(data, flags)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0


class SecureLink(Link):
    """A connection with TLS."""

    def drain(self) -> int:
        """Count what has come; what is no whole record yet counts as something, and is counted later."""
        try:
            return super().drain()
        except ssl.SSLWantReadError:
            return 1


class SecureNats(Nats):
    """A NATS client that trusts whoever answers: it is on loopback, and lives for seconds."""

    def secure(self, sock: socket) -> socket:
        """Read INFO, and shake hands."""
        info = b""
        while not info.endswith(b"\n"):
            info += sock.recv(1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.sslsocket_class = SecureSocket
        return context.wrap_socket(sock)


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure one to one, by payload."""
    if protocol != "nats":
        return []
    seconds = 0.2 if options.quick else 0.4
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        certificate = make_certificate(Path(folder))
        with hall(secure_brokers(certificate)) as servers:
            for size in SIZES[: 1 if options.quick else None]:

                def measure(server: Server, size: int = size) -> dict[Measure, float]:
                    return {DELIVERIES: deliveries(server, size, seconds)}

                case = f"1 → 1 over TLS, {cast.size_name(size)}, one topic"
                rows += contest(case, [servers] * options.rounds, [DELIVERIES], measure)
    return rows


def deliveries(server: Server, size: int, seconds: float) -> float:
    """Return the messages per second that came; raise if any was lost."""
    speech, topics = SecureNats(), cast.TOPICS[:1]
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(SecureLink(server.port, speech))
        reader.subscribe(topics)
        publisher = stack.enter_context(SecureLink(server.port, speech))
        flow = flood(publisher, [reader], Load(speech, topics, size), seconds)
    if any(flow.missing):
        msg = f"lost {sum(flow.missing)} of {flow.published} messages"
        raise BenchError(msg)
    return flow.rate
