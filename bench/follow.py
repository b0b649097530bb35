"""A thousand who follow one topic by server-sent events, while records are produced one by one, or ten at a time.

A delivery is one record to one follower.  The producer waits for each answer, which comes when the records are on disk;
it does not wait for the followers.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING

from bench.speak_http import Line, request
from brokerkit.bench.contest import Measure, contest
from brokerkit.bench.links import LIMIT
from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerkit.bench.contest import Options, Row
    from brokerkit.bench.servers import Server

FOLLOWERS, QUICK_FOLLOWERS = 1000, 100
SIZE = 128  # bytes of a value
TOPIC = "log.followed"
MARK = b"{"  # what stands once in each event

DELIVERIES = Measure("deliveries", "1/s", compared=False)
CORE = Measure("deliveries for each second of the server's processor", "", compared=False)


def rows(servers: list[Server], options: Options) -> list[Row]:
    """Measure both."""
    seconds = 1.0 if options.quick else 4.0
    count = QUICK_FOLLOWERS if options.quick else FOLLOWERS
    found: list[Row] = []
    for batch in (1, 10):
        case = f"{count} followers, {SIZE} B, {batch} at a time"

        def deliveries(server: Server, batch: int = batch) -> dict[Measure, float]:
            return _follow(server, count, batch, seconds)

        found += contest(case, [servers] * options.rounds, [DELIVERIES, CORE], deliveries)
    return found


def _follow(server: Server, count: int, batch: int, seconds: float) -> dict[Measure, float]:
    said = _records(batch)
    producer = Line(server.port)
    producer.ask(said)
    with _followers(server.port, count) as sockets:
        produced = [0]
        done = threading.Event()

        def produce() -> None:
            while not done.is_set():
                producer.ask(said)
                produced[0] += batch

        thread = threading.Thread(target=produce)
        start, worked = time.perf_counter(), server.worked()
        thread.start()
        threading.Timer(seconds, done.set).start()
        read = _read_all(sockets, produced, done)
        took, work = time.perf_counter() - start, server.worked() - worked
        thread.join()
    producer.close()
    return {DELIVERIES: read / took, CORE: read / max(work, 0.01)}


def _records(batch: int) -> bytes:
    body = json.dumps({"records": [{"value": "x" * SIZE}] * batch}).encode()
    return request("POST", f"/v1/topics/{TOPIC}/records", body, "Content-Type: application/json\r\n")


@contextlib.contextmanager
def _followers(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Give so many that follow, and have been told so."""
    said = request("GET", f"/v1/topics/{TOPIC}/follow?offset=latest", headers="Accept: text/event-stream\r\n")
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port), LIMIT))
            one.sendall(said)
            found.append(one)
        for one in found:
            heard = b""
            while b": here is" not in heard:
                heard += one.recv(4096)
                if not heard.startswith(b"HTTP/1.1 200"):
                    raise BenchError(heard[:300].decode(errors="replace"))
        yield found


def _read_all(sockets: list[socket.socket], produced: list[int], done: threading.Event) -> int:
    """Read until everybody has everything that was produced; give how many records that were."""
    read = 0
    with selectors.DefaultSelector() as selector:
        for one in sockets:
            one.setblocking(False)
            selector.register(one, selectors.EVENT_READ)
        end = time.monotonic() + LIMIT
        while not done.is_set() or read < produced[0] * len(sockets):
            if time.monotonic() > end:
                msg = f"{read} of {produced[0] * len(sockets)} deliveries in {LIMIT} s"
                raise BenchError(msg)
            for key, _ in selector.select(0.1):
                read += key.fileobj.recv(1 << 18).count(MARK)  # type: ignore[union-attr]
    return read
