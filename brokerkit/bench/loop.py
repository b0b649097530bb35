"""How long a message takes when nobody sends ahead: every connection waits for its own echo.

Each connection subscribes to a topic of its own, publishes 128 bytes to it, waits for them and
publishes again. One process turns all connections with one selector, so with many of them its own
turn is part of every latency; the broker's part shows in the difference to the peer.
"""

from __future__ import annotations

import contextlib
import selectors
import ssl
import time
from typing import TYPE_CHECKING

from brokerkit.bench import cast
from brokerkit.bench.contest import Measure
from brokerkit.bench.links import FIRST_NUMBER, Link
from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.bench.servers import Server

PAYLOAD = b"x" * 128
WARM_UP = 0.2  # seconds
STALL = 5.0  # seconds without any echo
ENOUGH = 3  # round trips for each connection, on average; a slow broker gets more time for them
LIMIT = 5.0  # seconds

RATE = Measure("round trips", "1/s")
MIDDLE = Measure("p50", "µs", less=True)
TAIL = Measure("p99", "µs", less=True)


class Echo:
    """One connection that talks to itself."""

    def __init__(self, link: Link, name: str) -> None:
        """Subscribe to the connection's own topic."""
        topic = cast.own_topic(name)
        self._request = link.speech.publish(topic, PAYLOAD)
        self._size = len(link.speech.delivery(topic, FIRST_NUMBER, PAYLOAD))
        self._heard = 0
        self._sent = 0.0
        self.link = link
        link.tell(link.speech.subscribe(topic, FIRST_NUMBER))

    def send(self) -> None:
        """Send one message; it is far smaller than the kernel's buffer."""
        self._heard = 0
        self._sent = time.perf_counter()
        self.link.sock.send(self._request)

    def receive(self) -> float:
        """Read once; return the seconds since the message was sent, or 0 while it is incomplete."""
        try:
            data = self.link.sock.recv(65536)
        except ssl.SSLWantReadError:
            return 0.0
        self._heard += len(data)
        if self._heard == self._size:
            return time.perf_counter() - self._sent
        return self._unusual(data)

    def _unusual(self, data: bytes) -> float:
        """Take a part of the message, or a PING beside it."""
        if not data:
            raise BenchError("the broker closed a connection")
        if self._heard < self._size and not data.startswith(b"PING"):
            return 0.0
        answer = self.link.speech.answer(data)
        self.link.tell(answer)
        self._heard -= len(answer)  # PING and PONG have one length
        return time.perf_counter() - self._sent if self._heard == self._size else 0.0


def closed_loop(server: Server, seconds: float, count: int) -> Mapping[Measure, float]:
    """Turn *count* loops for *seconds*; return round trips per second and percentiles in µs."""
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        echoes = []
        for name in cast.LOOPERS[:count]:
            echo = Echo(stack.enter_context(Link(server.place, server.speech(name))), name)
            selector.register(echo.link.sock, selectors.EVENT_READ, echo)
            echoes.append(echo)
        for echo in echoes:
            echo.send()
        _turn(selector, WARM_UP)
        start = time.perf_counter()
        latencies = _turn(selector, seconds, count * ENOUGH)
        elapsed = time.perf_counter() - start
    if len(latencies) < count:
        raise BenchError(f"only {len(latencies)} round trips of {count} connections")
    return _figures(latencies, elapsed)


def _turn(selector: selectors.BaseSelector, seconds: float, least: int = 0) -> list[float]:
    """Send again whatever came back, for *seconds* or until *least*; return latencies in seconds."""
    latencies: list[float] = []
    start = time.perf_counter()
    end, limit = start + seconds, start + LIMIT
    while (now := time.perf_counter()) < end or (len(latencies) < least and now < limit):
        ready = selector.select(STALL)
        if not ready:
            raise BenchError(f"no echo for {STALL:.0f} s")
        for key, _ in ready:
            latency = key.data.receive()
            if latency:
                latencies.append(latency)
                key.data.send()
    return latencies


def _figures(latencies: list[float], elapsed: float) -> dict[Measure, float]:
    ordered = sorted(latencies)
    return {
        RATE: len(ordered) / elapsed,
        MIDDLE: ordered[len(ordered) // 2] * 1e6,
        TAIL: ordered[len(ordered) * 99 // 100] * 1e6,
    }
