"""What it costs NATS that a topic is kept, and whether the log has every message.

Both sides are brokerkit, one of them with a rule that keeps the topics; they are measured in turn.  The log is counted
when the flood is over: what was published has to be in it, to the message.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import time
from typing import TYPE_CHECKING

from bench.brokers import brokers
from bench.disk import STREAM, SYNC, file_system, stream, sync
from bench.speak_http import Line, request
from brokerkit.bench import cast
from brokerkit.bench.contest import Measure, contest
from brokerkit.bench.flood import SEND_BUFFER, Load
from brokerkit.bench.links import LIMIT, Link, agree
from brokerkit.bench.servers import hall
from brokerkit.bench.speech import BenchError
from brokerkit.bench.throughput import flow_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.bench.contest import Options, Row
    from brokerkit.bench.servers import Server

STEADY = 250_000  # messages in a second
SIZE = 128  # bytes
STILL = 5.0  # seconds without another message: no more will come
SETTLE = 30.0  # seconds for the log to have everything

DELIVERIES = Measure("deliveries", "msg/s")
MISSING = Measure("missing from the log", "messages", compared=False)
PUBLISHED = Measure("published", "msg/s", compared=False)
BUSY = Measure("broker busy", "% of a core", compared=False)


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure one to one at full speed, and one publisher at a steady rate."""
    seconds = 0.4 if options.quick else 1.5
    rows: list[Row] = []
    with hall(brokers(protocol)) as servers:
        for topics in (1, 100):
            kind = "one topic" if topics == 1 else f"{topics} topics"

            def measure(server: Server, topics: int = topics) -> dict[Measure, float]:
                return flooded(server, cast.TOPICS[:topics], seconds, kept)

            case = f"1 → 1, {SIZE} B, {kind}"
            rows += contest(case, [servers] * options.rounds, [DELIVERIES, MISSING], measure)
        ours = [server for server in servers if server.broker.name == "kept"]
        long = 1.0 if options.quick else 4.0
        case = f"one publisher at {STEADY:,} msg/s, {SIZE} B, {long:.0f} s".replace(",", " ")
        rounds = [ours] * min(options.rounds, 3)
        rows += contest(case, rounds, [PUBLISHED, MISSING, BUSY], lambda server: _steady(server, long))
        rows += contest(f"the disk ({file_system()})", [ours], [SYNC], lambda _: {SYNC: sync()})
        rows += contest(f"the disk ({file_system()})", rounds, [STREAM], lambda _: {STREAM: stream()})
    return rows


def flooded(
    server: Server, topics: list[bytes], seconds: float, there: Callable[[Server, list[bytes]], int]
) -> dict[Measure, float]:
    """Publish to one subscriber at full speed; *there* gives how many messages are kept of some topics."""
    before = there(server, topics)
    flow = flow_to(server, 1, SIZE, len(topics), seconds)
    flow.check()
    return {DELIVERIES: flow.rate, MISSING: _missing(server, topics, before + flow.published, there)}


def _steady(server: Server, seconds: float) -> dict[Measure, float]:
    """Publish at a steady rate, with nobody who reads but the log."""
    speech = server.speech()
    load = Load(speech, cast.TOPICS[:1], SIZE)
    before = kept(server, cast.TOPICS[:1])
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(Link(server.place, speech))
        reader.subscribe(())
        publisher = stack.enter_context(Link(server.place, speech))
        agree(publisher, [reader])
        worked, start = server.worked(), time.perf_counter()
        chunks = _pace(publisher, load, start, seconds)
        agree(publisher, [reader])
        took = time.perf_counter() - start
        busy = (server.worked() - worked) / took * 100
    published = chunks * load.frames
    found = {PUBLISHED: published / took, BUSY: busy}
    return {**found, MISSING: _missing(server, cast.TOPICS[:1], before + published, kept)}


def _pace(publisher: Link, load: Load, start: float, seconds: float) -> int:
    """Send chunks when they are due; give their number."""
    publisher.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    publisher.sock.settimeout(LIMIT)
    every = load.frames / STEADY
    sent = 0
    with selectors.DefaultSelector() as selector:
        selector.register(publisher.sock, selectors.EVENT_READ)
        while (now := time.perf_counter()) < start + seconds:
            if start + sent * every <= now:
                publisher.sock.sendall(load.chunks[sent % len(load.chunks)])
                sent += 1
            elif selector.select(start + sent * every - now):
                publisher.tell(publisher.speech.answer(publisher.sock.recv(65536)))
                publisher.sock.settimeout(LIMIT)
    publisher.sock.settimeout(0)
    return sent


def kept(server: Server, topics: list[bytes]) -> int:
    """Give the number of messages that the log has; none where nothing is kept."""
    port = server.ports.get("kafka")
    if port is None:
        return 0
    line = Line(port)
    try:
        return sum(_offset(line, topic) for topic in topics)
    finally:
        line.close()


def _offset(line: Line, topic: bytes) -> int:
    try:
        target = f"/api/v1/messages/{topic.decode()}/0/latest?max_wait_time=0"
        found = json.loads(line.ask(request("GET", target, headers="Accept: application/json\r\n")))
    except BenchError as error:
        if " 404 " in str(error):  # it is made with its first message
            return 0
        raise
    return int(found["highWmOffset"])


def _missing(server: Server, topics: list[bytes], expected: int, there: Callable[[Server, list[bytes]], int]) -> int:
    """Give how many messages the log does not have when it has settled; too many are an error."""
    if server.broker.name == "not kept":
        return 0
    found, now = there(server, topics), time.monotonic()
    moved, deadline = now, now + SETTLE
    while found < expected and now < min(deadline, moved + STILL):
        time.sleep(0.05)
        before, found, now = found, there(server, topics), time.monotonic()
        moved = moved if found == before else now
    if found > expected:
        msg = f"the log has {found} messages, and {expected} were published"
        raise BenchError(msg)
    return expected - found
