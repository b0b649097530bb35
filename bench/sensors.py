"""Many sensors that say little: each publishes once a second, and one collector must have it all, soon.

Every sensor is a user of its own on a connection of its own.  Their turns are spread evenly over the second.  The
moment of sending is in the payload, so the collector needs no list of what is under way; all frames have one length, so
it reads those moments without parsing anything else.  Generator and collector are one process, which at 5000 messages
per second is busy for a small part of the time.
"""

from __future__ import annotations

import contextlib
import select
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.brokers import brokers
from brokerkit.bench import cast
from brokerkit.bench.contest import Measure, contest
from brokerkit.bench.links import Link, agree
from brokerkit.bench.servers import hall
from brokerkit.bench.speak_hpfeeds import Hpfeeds
from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    import socket

    from brokerkit.bench.contest import Options, Row
    from brokerkit.bench.servers import Server

SENSORS, QUICK_SENSORS = 5000, 500
SECONDS, QUICK_SECONDS = 10, 2
SIZE = 128
PATIENCE = 5.0  # seconds that the last messages may take
STAMP = struct.Struct("!Q")
FILLING = b"x" * SIZE

RATE = Measure("published", "msg/s", compared=False)
LOST = Measure("lost", "messages", compared=False)
MIDDLE = Measure("p50 of delivery", "ms")
TAIL = Measure("p99 of delivery", "ms")
WORST = Measure("longest delivery", "ms")
BUSY = Measure("broker busy", "% of a core")
MEASURES = (RATE, LOST, MIDDLE, TAIL, WORST, BUSY)


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure on a fresh pair of servers; in quick mode with a tenth of the sensors."""
    if protocol != "hpfeeds":
        return []
    count, seconds = (QUICK_SENSORS, QUICK_SECONDS) if options.quick else (SENSORS, SECONDS)

    def measure(server: Server) -> dict[Measure, float]:
        return listened(server, count, seconds)

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        users = Path(folder, "users.json")
        users.write_bytes(cast.users_json())
        with hall(brokers(protocol, str(users))) as servers:
            rounds = [servers] * min(options.rounds, 3)
            return contest(f"{count} sensors, each 1/s, {SIZE} B, {seconds} s", rounds, MEASURES, measure)


def listened(server: Server, count: int, seconds: int) -> dict[Measure, float]:
    """Connect collector and sensors, let them speak for so many seconds, and say what came and when."""
    with contextlib.ExitStack() as stack:
        collector = Collector(stack.enter_context(Link(server.place, cast.SPEECHES["hpfeeds"](cast.USER))))
        sensors = [stack.enter_context(_sensor(server, name)) for name in cast.MEMBERS[:count]]
        socks = [sensor.sock for sensor in sensors]
        frames = [sensor.speech.publish(cast.HELLO, FILLING) for sensor in sensors]
        _speak(socks, frames, collector, 1)  # nobody tells a sensor that its login is accepted: its first message does
        if collector.wait_for(count) != count:
            msg = f"of {count} sensors, {len(collector.delays)} are heard"
            raise BenchError(msg)
        collector.delays.clear()
        worked, start = server.worked(), time.perf_counter()
        _speak(socks, frames, collector, seconds)
        elapsed = time.perf_counter() - start
        busy = (server.worked() - worked) / elapsed
        came = collector.wait_for(count * seconds)
    if not came:
        msg = "nothing came"
        raise BenchError(msg)
    delays = sorted(collector.delays)
    return {
        RATE: count * seconds / elapsed,
        LOST: count * seconds - came,
        MIDDLE: delays[came // 2] / 1e6,
        TAIL: delays[came * 99 // 100] / 1e6,
        WORST: delays[-1] / 1e6,
        BUSY: busy * 100,
    }


def _sensor(server: Server, name: str) -> Link:
    return Link(server.place, Hpfeeds(name, cast.secret(name)))


def _speak(socks: list[socket.socket], frames: list[bytes], collector: Collector, seconds: int) -> None:
    """Have each sensor publish once a second, in turn; read what has come between two of them."""
    pack, now = STAMP.pack, time.perf_counter_ns
    step = 10**9 // len(socks)
    due = now()
    for _ in range(seconds):
        for sock, said in zip(socks, frames, strict=True):
            while True:
                left = due - now()
                collector.read(max(left, 0) / 1e9)
                if due <= now():
                    break
            due += step
            sock.send(said[: -STAMP.size] + pack(now()))


class Collector:
    """The one that listens: ``delays`` are nanoseconds from the send of each message to the read that brought it."""

    def __init__(self, link: Link) -> None:
        """Subscribe, and prove it."""
        link.subscribe([cast.HELLO])
        agree(link, [link])
        self.delays: list[int] = []
        self._link = link
        self._poll = select.epoll()
        self._poll.register(link.sock.fileno(), select.EPOLLIN)
        self._size = len(Hpfeeds(cast.MEMBERS[0]).publish(cast.HELLO, FILLING))
        self._rest = b""

    def read(self, patience: float) -> bool:
        """Take what has come, waiting so many seconds for it; say whether anything has."""
        if not self._poll.poll(patience):
            return False
        data = self._link.sock.recv(1 << 20)
        now = time.perf_counter_ns()
        if not data:
            msg = "the broker closed the collector"
            raise BenchError(msg)
        data, size = self._rest + data, self._size
        whole = len(data) // size * size
        unpack = STAMP.unpack_from
        self.delays += [now - unpack(data, end - STAMP.size)[0] for end in range(size, whole + 1, size)]
        self._rest = data[whole:]
        return True

    def wait_for(self, count: int) -> int:
        """Read until so many messages have come, or nothing more does; give how many have come."""
        while len(self.delays) < count and self.read(PATIENCE):
            pass
        return len(self.delays)
