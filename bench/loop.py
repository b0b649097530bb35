"""How long a message takes when nobody sends ahead: every connection waits for its own echo.

Each connection subscribes to a topic of its own, publishes 128 bytes to it, waits for them and
publishes again. One process turns all connections with one selector, so with many of them its own
turn is part of every latency; the broker's part shows in the difference to the peer.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from typing import TYPE_CHECKING

from bench import cast
from bench.contest import Measure, contest
from bench.links import FIRST_NUMBER, Link
from bench.servers import brokers, hall
from bench.speech import BenchError

if TYPE_CHECKING:
    from bench.contest import Options, Row
    from bench.servers import Server

CONNECTIONS = (1, 100, 1000)
PAYLOAD = b"x" * 128
WARM_UP = 0.2  # seconds
STALL = 5.0  # seconds without any echo
ENOUGH = 3  # round trips for each connection, on average; a slow broker gets more time for them
LIMIT = 5.0  # seconds

RATE = Measure("round trips", "1/s")
MIDDLE = Measure("p50", "µs")
TAIL = Measure("p99", "µs")


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure each number of connections; the servers stay up throughout."""
    seconds = 0.2 if options.quick else 0.6
    rows = []
    with hall(brokers(protocol)) as servers:
        for count in CONNECTIONS:

            def measure(server: Server, count: int = count) -> dict[Measure, float]:
                return closed_loop(server, count, seconds)

            case = f"{count} connection{'s' * (count > 1)}"
            rows += contest(case, [servers] * options.rounds, [RATE, MIDDLE, TAIL], measure)
    return rows


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
        data = self.link.sock.recv(65536)
        self._heard += len(data)
        if self._heard == self._size:
            return time.perf_counter() - self._sent
        return self._unusual(data)

    def _unusual(self, data: bytes) -> float:
        """Take a part of the message, or a PING beside it."""
        if not data:
            msg = "the broker closed a connection"
            raise BenchError(msg)
        if self._heard < self._size and not data.startswith(b"PING"):
            return 0.0
        answer = self.link.speech.answer(data)
        self.link.tell(answer)
        self._heard -= len(answer)  # PING and PONG have one length
        return time.perf_counter() - self._sent if self._heard == self._size else 0.0


def closed_loop(server: Server, count: int, seconds: float) -> dict[Measure, float]:
    """Turn *count* loops for *seconds*; return round trips per second and percentiles in µs."""
    speech = cast.SPEECHES[server.broker.protocol]
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        echoes = []
        for name in cast.LOOPERS[:count]:
            echo = Echo(stack.enter_context(Link(server.port, speech(name))), name)
            selector.register(echo.link.sock, selectors.EVENT_READ, echo)
            echoes.append(echo)
        for echo in echoes:
            echo.send()
        _turn(selector, WARM_UP)
        start = time.perf_counter()
        latencies = _turn(selector, seconds, count * ENOUGH)
        elapsed = time.perf_counter() - start
    if len(latencies) < count:
        msg = f"only {len(latencies)} round trips of {count} connections"
        raise BenchError(msg)
    return _figures(latencies, elapsed)


def _turn(selector: selectors.BaseSelector, seconds: float, least: int = 0) -> list[float]:
    """Send again whatever came back, for *seconds* or until *least*; return latencies in seconds."""
    latencies: list[float] = []
    start = time.perf_counter()
    end, limit = start + seconds, start + LIMIT
    while (now := time.perf_counter()) < end or (len(latencies) < least and now < limit):
        ready = selector.select(STALL)
        if not ready:
            msg = f"no echo for {STALL:.0f} s"
            raise BenchError(msg)
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
