"""One publisher at full speed, and readers who only count: the load of most scenarios.

Publisher and readers share one process and one selector. On two cores this leaves the other core to
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

from bench.links import FIRST_NUMBER, Link, agree
from bench.speech import BenchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.speech import Speech

CHUNK = 64 * 1024
CHUNKS = 5  # together they hold each of 100 topics several times, at 1 KiB too
DRAIN_LIMIT = 20.0  # seconds that the readers may need after the publisher's last byte
ASIDES = 4  # what a broker may have said besides messages in one run; more must be messages
SILENCE = 3  # seconds without a byte, after which what is missing is lost

# Bounds what is under way when the publisher stops: a slow broker would drain megabytes for
# seconds. From 64 KiB to 2 MiB the rates were the same.
SEND_BUFFER = 128 * 1024


class Load:
    """Prebuilt chunks of equal frames, the topics alternating from frame to frame."""

    def __init__(self, speech: Speech, topics: Sequence[bytes], size: int, number: int = FIRST_NUMBER) -> None:
        """Build chunks of messages with *size* bytes of payload each; *number* is the readers' first subscription."""
        payload = b"x" * size
        published = [speech.publish(topic, payload) for topic in topics]
        delivered = speech.delivery(topics[0], number, payload)
        self.frames = max(CHUNK // len(published[0]), 1)
        self.delivery = len(delivered)
        turns = itertools.cycle(published)
        chunks = max(CHUNKS, -(-len(topics) // self.frames))
        self.chunks = [b"".join(itertools.islice(turns, self.frames)) for _ in range(chunks)]


@dataclass(frozen=True)
class Flow:
    """What came of a flood."""

    published: int
    seconds: float
    missing: list[int]
    """Messages that each reader did not get."""

    @property
    def rate(self) -> float:
        """Messages per second that reached each reader."""
        return self.published / self.seconds


class Pump:
    """The publishing side: whole chunks until the time is over."""

    def __init__(self, link: Link, load: Load, seconds: float) -> None:
        """Send over *link* for *seconds* from now."""
        link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._link = link
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
        self._rest = self._rest[self._link.sock.send(self._rest) :]

    def listen(self) -> None:
        """Answer PINGs between two chunks; raise BenchError on errors."""
        data = self._link.sock.recv(65536)
        if not data:
            msg = "the broker closed the publisher"
            raise BenchError(msg)
        self._answers += self._link.speech.answer(data)

    def _next(self) -> memoryview:
        answers, self._answers = self._answers, b""
        self.sent += 1
        chunk = next(self._chunks)
        return memoryview(answers + chunk if answers else chunk)


def flood(publisher: Link, readers: Sequence[Link], load: Load, seconds: float) -> Flow:
    """Publish *load* for *seconds*, wait until all readers have it, and check every byte."""
    agree(publisher, readers)
    for reader in readers:
        reader.heard = 0
    start = time.monotonic()
    pump = Pump(publisher, load, seconds)
    alive = list(readers)
    end = _run(publisher, alive, pump, load)
    messages = pump.sent * load.frames
    sentinels = agree(publisher, alive)
    expected = messages * load.delivery
    missing = [
        _missing(reader.heard - sentinels * (reader in alive) - expected, load, reader.speech.aside)
        for reader in readers
    ]
    return Flow(messages, end - start, missing)


def _run(publisher: Link, alive: list[Link], pump: Pump, load: Load) -> float:
    """Turn the selector until every living reader has everything; return when that was."""
    chunk = load.frames * load.delivery
    with selectors.DefaultSelector() as selector:
        for reader in alive:
            selector.register(reader.sock, selectors.EVENT_READ, reader)
        selector.register(publisher.sock, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while not pump.done:
            _turn(selector, alive, pump)
        selector.unregister(publisher.sock)
        deadline = time.monotonic() + DRAIN_LIMIT
        silence = 0
        end = time.monotonic()
        while silence < SILENCE and end < deadline and _behind(alive, pump.sent * chunk):
            silence = 0 if _turn(selector, alive, pump) else silence + 1
            end = time.monotonic()
        return end


def _behind(alive: list[Link], expected: int) -> bool:
    return any(reader.heard < expected for reader in alive)


def _turn(selector: selectors.BaseSelector, alive: list[Link], pump: Pump) -> bool:
    """Serve whatever is ready, once each; return whether anything was, within a second."""
    ready = selector.select(1.0)
    for key, events in ready:
        reader = key.data
        if reader is None:
            if events & selectors.EVENT_READ:
                pump.listen()
            if events & selectors.EVENT_WRITE:
                pump.send()
        elif not _drained(reader):
            selector.unregister(reader.sock)
            alive.remove(reader)
    return bool(ready)


def _drained(reader: Link) -> bool:
    """Return whether the reader is still connected after one read."""
    try:
        return reader.drain() > 0
    except ConnectionError:
        return False


def _missing(surplus: int, load: Load, aside: int) -> int:
    """Return how many messages a shortage of bytes (below zero) means; raise on nonsense."""
    if surplus >= 0:
        if surplus not in range(0, aside * ASIDES + 1, aside or 1):
            msg = f"{surplus} bytes too many"
            raise BenchError(msg)
        return 0
    return -(surplus // load.delivery)
