"""The client of the registry's scenarios: raw requests over TLS, so that the client costs less than the server.

What is sent is made beforehand, and of an answer only the length is read.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

from brokerkit.bench.links import LIMIT
from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LENGTH = b"content-length:"


def context() -> ssl.SSLContext:
    """Give what takes any certificate, and resumes no session: each connection is a new one."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.options |= ssl.OP_NO_TICKET
    return made


CONTEXT = context()


def request(method: str, target: str, body: bytes = b"") -> bytes:
    """Give the bytes of a request."""
    return b"%b %b HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%b" % (
        method.encode(),
        target.encode(),
        len(body),
        body,
    )


class Line:
    """One connection."""

    def __init__(self, port: int) -> None:
        """Connect, and shake hands."""
        plain = socket.create_connection(("127.0.0.1", port), LIMIT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = CONTEXT.wrap_socket(plain)
        self._rest = b""

    def ask(self, said: bytes) -> bytes:
        """Send one request and give the body of its answer; raise ``BenchError`` for one that is no success."""
        self.socket.sendall(said)
        head, end, body = self._rest.partition(b"\r\n\r\n")
        while not end:
            self._rest += self._more()
            head, end, body = self._rest.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 20"):
            msg = head.partition(b"\r\n")[0].decode(errors="replace")
            raise BenchError(msg)
        low = head.lower()
        start = low.index(_LENGTH) + len(_LENGTH)
        length = int(low[start:].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._more()
        self._rest = body[length:]
        return body[:length]

    def _more(self) -> bytes:
        chunk = self.socket.recv(65536)
        if not chunk:
            msg = "the connection was closed"
            raise BenchError(msg)
        return chunk

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


def rate(work: Iterable[Callable[[], object]], seconds: float) -> float:
    """Do each kind of work in a thread of its own, again and again; return how often in a second in all."""
    counts: list[int] = []
    failures: list[Exception] = []
    end = time.perf_counter() + seconds

    def repeat(one: Callable[[], object]) -> None:
        done = 0
        try:
            while time.perf_counter() < end:
                one()
                done += 1
        except Exception as error:  # told below
            failures.append(error)
        counts.append(done)

    start = time.perf_counter()
    threads = [threading.Thread(target=repeat, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        msg = f"{type(failures[0]).__name__}: {failures[0]}"
        raise BenchError(msg)
    return sum(counts) / (time.perf_counter() - start)
