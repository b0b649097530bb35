"""What one bad reader does to the good ones: one that has stopped, one that is slow but steady.

Both have a small receive buffer, so that the broker and not the kernel has to decide what to do
about them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Self

from bench.brokers import brokers
from brokerkit.bench import cast
from brokerkit.bench.contest import Measure, contest
from brokerkit.bench.flood import Flow, Load, flood
from brokerkit.bench.links import Link, agree
from brokerkit.bench.servers import hall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerkit.bench.contest import Options, Row
    from brokerkit.bench.servers import Server

SIZE = 1024
HEALTHY = 3
SMALL_BUFFER = 128 * 1024
STEP = 10_000  # bytes that the slow reader takes
PAUSE = 0.01  # seconds between two steps: 1 MB/s
GONE = 1.0  # seconds without a byte, after which a stalled connection counts as alive

WITHOUT = Measure("healthy, nobody stalled", "deliveries/s")
WITH = Measure("healthy, one stalled", "deliveries/s")
KEPT_UP = Measure("with ÷ without", "")
LOST = Measure("lost by the healthy", "messages", compared=False)
PEAK_WITHOUT = Measure("peak memory, nobody stalled", "MiB")
PEAK_WITH = Measure("peak memory, one stalled", "MiB")
CUT_OFF = Measure("stalled reader cut off", "yes/no", compared=False)
STALL_MEASURES = (WITHOUT, WITH, KEPT_UP, LOST, PEAK_WITHOUT, PEAK_WITH, CUT_OFF)

PACE = Measure("published", "msg/s")
TAKEN = Measure("read by the slow reader", "MB/s", compared=False)
KEPT = Measure("slow reader kept", "yes/no", compared=False)
SURVIVED = Measure("slow reader connected for", "s", compared=False)
PEAK = Measure("peak memory", "MiB")
SLOW_MEASURES = (PACE, TAKEN, KEPT, SURVIVED, LOST, PEAK)


def stalled_scenario(protocol: str, options: Options) -> list[Row]:
    """Measure healthy readers with and without a stalled one beside them."""
    seconds = 1.5 if options.quick else 4.0
    case = f"{HEALTHY} healthy, {cast.size_name(SIZE)}, {seconds:g} s"

    def measure(server: Server) -> dict[Measure, float]:
        return stalled(server, seconds)

    return contest(case, _fresh(protocol, min(options.rounds, 2)), STALL_MEASURES, measure)


def slow_scenario(protocol: str, options: Options) -> list[Row]:
    """Measure a reader of 1 MB/s beside a healthy one and a publisher at full speed."""
    seconds = 2.0 if options.quick else 12.0
    case = f"1 healthy, 1 slow, {cast.size_name(SIZE)}, {seconds:g} s"

    def measure(server: Server) -> dict[Measure, float]:
        return slowed(server, seconds)

    return contest(case, _fresh(protocol, 1), SLOW_MEASURES, measure)


def _fresh(protocol: str, rounds: int) -> Iterator[list[Server]]:
    for _ in range(rounds):
        with hall(brokers(protocol)) as servers:
            yield servers


def stalled(server: Server, seconds: float) -> dict[Measure, float]:
    """Flood twice on one server: shortly with nobody stalled, then for *seconds* with one."""
    without = _flow(server, HEALTHY, seconds / 2)
    peak = server.memory("VmHWM")
    with _bystander(server) as victim:
        beside = _flow(server, HEALTHY, seconds)
        cut_off = _ends(victim)
    return {
        WITHOUT: without.rate * HEALTHY,
        WITH: beside.rate * HEALTHY,
        KEPT_UP: beside.rate / without.rate,
        LOST: sum(without.missing) + sum(beside.missing),
        PEAK_WITHOUT: peak / 1024,
        PEAK_WITH: server.memory("VmHWM") / 1024,
        CUT_OFF: cut_off,
    }


def slowed(server: Server, seconds: float) -> dict[Measure, float]:
    """Flood while one reader takes 1 MB/s."""
    with _bystander(server) as link, SlowReader(link) as slow:
        flow = _flow(server, 1, seconds)
        kept = slow.connected
        lasted = slow.lasted()
        return {
            PACE: flow.rate,
            TAKEN: slow.taken / lasted / 1e6,
            KEPT: kept,
            SURVIVED: lasted,
            LOST: sum(flow.missing),
            PEAK: server.memory("VmHWM") / 1024,
        }


class SlowReader:
    """Reads a little, sleeps, and reads again, in a thread that does next to nothing."""

    def __init__(self, link: Link) -> None:
        """Read from *link*, which is subscribed."""
        self._link = link
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._start = time.monotonic()
        self._end = 0.0
        self.taken = 0

    def __enter__(self) -> Self:
        """Start reading."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join()

    @property
    def connected(self) -> bool:
        """Whether the broker has kept the connection until now."""
        return not self._end

    def lasted(self) -> float:
        """Return the seconds from the start to the end of the connection, or to now."""
        return (self._end or time.monotonic()) - self._start

    def _read(self) -> None:
        while not self._stop.wait(PAUSE):
            try:
                data = self._link.sock.recv(STEP)
            except BlockingIOError:
                continue
            except ConnectionError:
                data = b""
            self.taken += len(data)
            if not data:
                self._end = time.monotonic()
                return


def _bystander(server: Server) -> Link:
    """Return a connection that is proven to be subscribed, and that nobody reads from any more."""
    speech = server.speech()
    link = Link(server.place, speech, SMALL_BUFFER)
    link.subscribe(cast.TOPICS[:1])
    agree(link, [link])
    return link


def _flow(server: Server, readers: int, seconds: float) -> Flow:
    """Connect the healthy readers and a publisher, and flood one topic."""
    speech = server.speech()
    with contextlib.ExitStack() as stack:
        links = [stack.enter_context(Link(server.place, speech)) for _ in range(readers)]
        for link in links:
            link.subscribe(cast.TOPICS[:1])
        publisher = stack.enter_context(Link(server.place, speech))
        return flood([publisher], links, Load(speech, cast.TOPICS[:1], SIZE), seconds)


def _ends(link: Link) -> bool:
    """Read what is left; return whether the stream ends, by a close or a reset."""
    link.sock.settimeout(GONE)
    deadline = time.monotonic() + 5.0
    try:
        while time.monotonic() < deadline:
            if not link.drain():
                return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False
