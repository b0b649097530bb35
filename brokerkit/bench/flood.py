"""Publishers at full speed, nearly always one, and readers who only count: the load of most scenarios.

Publishers and readers share one process and one selector. On two cores this leaves the other core to
the broker; a third process would take turns with one of them (README.md has the comparison). The
publisher sends prebuilt chunks of whole frames for a given time, not a given number, so a slow
broker takes no longer than a fast one; the clock stops when the last reader has the last byte.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brokerkit.bench.links import FIRST_NUMBER, Link, agree
from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.bench.speech import Speech

CHUNK = 64 * 1024
CHUNKS = 5  # together they hold each of 100 topics several times, at 1 KiB too
DRAIN_LIMIT = 20.0  # seconds that the readers may need after the publisher's last byte
ASIDES = 4  # what a broker may have said besides messages in one run; more must be messages
SILENCE = 3  # seconds without a byte, after which what is missing is lost

# Bounds what is under way when the publisher stops: a slow broker would drain megabytes for
# seconds. From 64 KiB to 2 MiB the rates were the same.
SEND_BUFFER = 128 * 1024


class Load:
    """Prebuilt chunks of equal frames, the topics alternating from frame to frame.

    *number* is the readers' first subscription.  *shared* says that each message goes to one of the readers, not to
    all; *heard* that anybody gets them at all.
    """

    def __init__(
        self,
        speech: Speech,
        topics: Sequence[bytes],
        size: int,
        *,
        number: int = FIRST_NUMBER,
        shared: bool = False,
        heard: bool = True,
    ) -> None:
        """Build chunks of messages with *size* bytes of payload each."""
        payload = b"x" * size
        published = [speech.publish(topic, payload) for topic in topics]
        self.shared = shared
        self.frames = max(CHUNK // len(published[0]), 1)
        self.delivery = len(speech.delivery(topics[0], number, payload)) if heard else 0
        turns = itertools.cycle(published)
        chunks = max(CHUNKS, -(-len(topics) // self.frames))
        self.chunks = [b"".join(itertools.islice(turns, self.frames)) for _ in range(chunks)]


@dataclass(frozen=True)
class Flow:
    """What came of a flood."""

    published: int
    seconds: float
    missing: list[int]
    """Messages that each reader did not get, or all readers together where they share."""

    @property
    def rate(self) -> float:
        """Messages per second that reached each reader, or all readers together where they share."""
        return self.published / self.seconds

    def check(self) -> None:
        """Raise if a message was lost."""
        if any(self.missing):
            raise BenchError(f"lost {sum(self.missing)} of {self.published * len(self.missing)} messages")


class Pump:
    """The publishing side: whole chunks until the time is over."""

    def __init__(self, link: Link, load: Load, seconds: float) -> None:
        """Send over *link* for *seconds* from now."""
        link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.link = link
        self._chunks = itertools.cycle(load.chunks)
        self._rest = memoryview(b"")
        self._answers = b""
        self._stop = time.monotonic() + seconds
        self.sent = 0
        self.done = False

    def send(self) -> None:
        """Send as much as fits, and begin another chunk if there is time."""
        if not self._rest:
            if time.monotonic() >= self._stop:
                self.done = True
                return
            self._rest = self._next()
        self._rest = self._rest[self.link.sock.send(self._rest) :]

    def listen(self) -> None:
        """Answer PINGs between two chunks; raise BenchError on errors."""
        data = self.link.sock.recv(65536)
        if not data:
            raise BenchError("the broker closed the publisher")
        self._answers += self.link.speech.answer(data)

    def _next(self) -> memoryview:
        answers, self._answers = self._answers, b""
        self.sent += 1
        chunk = next(self._chunks)
        return memoryview(answers + chunk if answers else chunk)


def flood(publishers: Sequence[Link], readers: Sequence[Link], load: Load, seconds: float) -> Flow:
    """Publish *load* for *seconds*, wait until the readers have it, and check every byte."""
    for publisher in publishers:
        agree(publisher, readers)
    for reader in readers:
        reader.heard = 0
    start = time.monotonic()
    pumps = [Pump(publisher, load, seconds) for publisher in publishers]
    alive = list(readers)
    end = _run(pumps, alive, load)
    messages = sum(pump.sent for pump in pumps) * load.frames
    sentinels = sum(agree(publisher, alive) for publisher in publishers)
    if not load.delivery:  # that the broker has taken everything, only the sentinels say
        end = time.monotonic()
    surplus = [reader.heard - sentinels * (reader in alive) for reader in readers]
    if load.shared:
        surplus = [sum(surplus)]
    expected = messages * load.delivery
    asides = ASIDES * (len(readers) if load.shared else 1)
    missing = [_missing(more - expected, load, readers[0].speech.aside, asides) for more in surplus]
    return Flow(messages, end - start, missing)


def _run(pumps: Sequence[Pump], alive: list[Link], load: Load) -> float:
    """Turn the selector until the living readers have everything; return when that was."""
    with selectors.DefaultSelector() as selector:
        for reader in alive:
            selector.register(reader.sock, selectors.EVENT_READ, reader)
        for pump in pumps:
            selector.register(pump.link.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, pump)
        pumping = list(pumps)
        while pumping:
            _turn(selector, alive)
            for pump in [pump for pump in pumping if pump.done]:
                selector.unregister(pump.link.sock)
                pumping.remove(pump)
        expected = sum(pump.sent for pump in pumps) * load.frames * load.delivery
        deadline = time.monotonic() + DRAIN_LIMIT
        silence = 0
        end = time.monotonic()
        while silence < SILENCE and end < deadline and _behind(alive, expected, shared=load.shared):
            silence = 0 if _turn(selector, alive) else silence + 1
            end = time.monotonic()
        return end


def _behind(alive: list[Link], expected: int, *, shared: bool) -> bool:
    if shared:
        return sum(reader.heard for reader in alive) < expected
    return any(reader.heard < expected for reader in alive)


def _turn(selector: selectors.BaseSelector, alive: list[Link]) -> bool:
    """Serve whatever is ready, once each; return whether anything was, within a second."""
    ready = selector.select(1.0)
    for key, events in ready:
        served = key.data
        if served.__class__ is Pump:
            if events & selectors.EVENT_READ:
                served.listen()
            if events & selectors.EVENT_WRITE:
                served.send()
        elif not _drained(served):
            selector.unregister(served.sock)
            alive.remove(served)
    return bool(ready)


def _drained(reader: Link) -> bool:
    """Return whether the reader is still connected after one read."""
    try:
        return reader.drain() > 0
    except ConnectionError:
        return False


def _missing(surplus: int, load: Load, aside: int, asides: int) -> int:
    """Return how many messages a shortage of bytes (below zero) means; raise on nonsense."""
    if surplus >= 0:
        if surplus not in range(0, aside * asides + 1, aside or 1):
            raise BenchError(f"{surplus} bytes too many")
        return 0
    return -(surplus // (load.delivery or 1))
