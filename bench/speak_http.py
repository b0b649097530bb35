"""A generator of requests over plain HTTP: many connections that are kept, one process, one selector.

What is sent is made beforehand.  Of an answer only the status and the length are looked at, so that the generator costs
less than the server.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from typing import TYPE_CHECKING

from brokerkit.bench.links import LIMIT
from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LENGTH = b"content-length:"
_CHUNKED = b"transfer-encoding: chunked"


def request(method: str, target: str, body: bytes = b"", headers: str = "") -> bytes:
    """Give the bytes of a request; ``headers`` are whole lines."""
    head = f"{method} {target} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


class Line:
    """One connection that waits for each answer before it asks again."""

    def __init__(self, port: int) -> None:
        """Connect."""
        self.socket = socket.create_connection(("127.0.0.1", port), LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heard = b""

    def ask(self, said: bytes) -> bytes:
        """Send a request and give the body of its answer; raise ``BenchError`` for one that is no success."""
        self.socket.settimeout(LIMIT)
        self.socket.sendall(said)
        while (body := self.hear()) is None:
            pass
        return body

    def hear(self) -> bytes | None:
        """Read once; give the body when all of the answer is there."""
        chunk = self.socket.recv(1 << 20)
        if not chunk:
            msg = "the connection was closed"
            raise BenchError(msg)
        self._heard += chunk
        head, end, body = self._heard.partition(b"\r\n\r\n")
        if not end:
            return None
        low = head.lower()
        if not head.startswith(b"HTTP/1.1 20"):
            msg = self._heard[:300].decode(errors="replace")
            raise BenchError(msg)
        if _CHUNKED in low:
            if not body.endswith(b"0\r\n\r\n"):
                return None
        elif _LENGTH in low:
            start = low.index(_LENGTH) + len(_LENGTH)
            if len(body) < int(low[start:].partition(b"\r\n")[0]):
                return None
        self._heard = b""
        return body

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


@contextlib.contextmanager
def lines(port: int, count: int) -> Iterator[list[Line]]:
    """Give so many connections for the length of a block."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(Line(port))) for _ in range(count)]


def rate(port: int, count: int, say: Callable[[int], bytes], seconds: float) -> float:
    """Have each of so many connections ask again and again; give the answers in a second of all together."""
    done = 0
    with lines(port, count) as all_lines, selectors.DefaultSelector() as selector:
        for number, line in enumerate(all_lines):
            line.socket.settimeout(0)
            selector.register(line.socket, selectors.EVENT_READ, (line, say(number)))
            line.socket.send(say(number))
        start = time.perf_counter()
        while (now := time.perf_counter()) < start + seconds:
            ready = selector.select(LIMIT)
            if not ready:
                msg = f"no answer for {LIMIT:.0f} s"
                raise BenchError(msg)
            for key, _ in ready:
                line, said = key.data
                if line.hear() is not None:
                    done += 1
                    line.socket.settimeout(LIMIT)
                    line.socket.sendall(said)
                    line.socket.settimeout(0)
    return done / (now - start)
