"""The registry over HTTPS, beside a handler of twisted.web that does nothing.

What the handler does not do (write to a disk, tell watchers) has no number there.  The rates are with few keys first,
and then with many in the same registry.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import ssl
import time
from typing import TYPE_CHECKING

from bench.brokers import brokers
from bench.disk import SYNC, file_system, sync
from bench.speak_https import Line, rate, request
from brokerkit.bench.contest import Measure, Row, contest
from brokerkit.bench.links import LIMIT
from brokerkit.bench.servers import hall
from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokerkit.bench.contest import Options
    from brokerkit.bench.servers import Server

FEW, MANY = 200, 200_000
QUICK_MANY = 20_000
TOGETHER = 256  # operations of one transaction
READERS, WRITERS = 8, 32  # connections
WATCHERS, QUICK_WATCHERS = 1000, 200
CHANGES = 5

RATE = Measure("requests", "1/s")
CORE = Measure("requests for each second of the server's processor", "")
SLOWEST = Measure("until the last one has it", "ms", compared=False)
WORK = Measure("processor time of the server", "ms", compared=False)

GET = request("POST", "/services/Get/?access_key=&name=bench-7")
OURS = "brokerkit"


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure gets by new connections and by kept ones, durable replaces, the same with many keys, and watchers."""
    seconds = 0.5 if options.quick else 2.0
    with hall(brokers(protocol)) as servers:
        ours = [server for server in servers if server.broker.name == OURS]
        _fill_all(ours, 0, FEW)
        rows = _rates(servers, ours, f"{FEW} keys", seconds, options.rounds)
        many = QUICK_MANY if options.quick else MANY
        _fill_all(ours, FEW, many)
        rows += _rates(servers, ours, f"{many} keys", seconds, options.rounds)
        count = QUICK_WATCHERS if options.quick else WATCHERS
        case = f"{count} watchers of one key"
        rows += contest(case, [ours], [SLOWEST, WORK], lambda server: _watch(server, count))
        rows += contest(f"the disk ({file_system()})", [ours], [SYNC], lambda _: {SYNC: sync()})
    return rows


def _rates(servers: list[Server], ours: list[Server], keys: str, seconds: float, rounds: int) -> list[Row]:
    every, only = [servers] * rounds, [ours] * rounds
    rows = contest(f"{keys}, get, a new connection each", every, [RATE, CORE], lambda server: _new(server, seconds))
    rows += contest(
        f"{keys}, get, {READERS} kept", every, [RATE, CORE], lambda server: _kept(server, seconds, READERS, _get)
    )
    rows += contest(
        f"{keys}, durable replace, {WRITERS} kept",
        only,
        [RATE, CORE],
        lambda server: _kept(server, seconds, WRITERS, _replace),
    )
    return rows


def _new(server: Server, seconds: float) -> dict[Measure, float]:
    def one() -> None:
        line = Line(server.port)
        line.ask(GET)
        line.close()

    return _measured(server, lambda: rate([one, one], seconds))


def _measured(server: Server, work: Callable[[], float]) -> dict[Measure, float]:
    """Give the rate that ``work`` gives, and the same for each second that the server's processor was busy."""
    before, start = server.worked(), time.perf_counter()
    found = work()
    took = time.perf_counter() - start
    return {RATE: found, CORE: found * took / max(server.worked() - before, 0.01)}


def _kept(
    server: Server, seconds: float, connections: int, ask: Callable[[Line, int], Callable[[], object]]
) -> dict[Measure, float]:
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(contextlib.closing(Line(server.port))) for _ in range(connections)]
        asks = [ask(line, number) for number, line in enumerate(lines)]
        return _measured(server, lambda: rate(asks, seconds))


def _get(line: Line, _: int) -> Callable[[], object]:
    return lambda: line.ask(GET)


def _replace(line: Line, number: int) -> Callable[[], object]:
    said = request("POST", f"/services/Replace/?access_key=&name=bench-{number}&data=value")
    return lambda: line.ask(said)


# -- many keys ----------------------------------------------------------------------------------------------------


def _fill_all(servers: list[Server], start: int, stop: int) -> None:
    for server in servers:
        if not server.absent:
            _fill(server, start, stop)


def _fill(server: Server, start: int, stop: int) -> None:
    """Write the keys with these numbers."""
    line = Line(server.port)
    for first in range(start, stop, TOGETHER):
        names = [f"bench-{number}" for number in range(first, min(first + TOGETHER, stop))]
        operations = [{"operation": "put", "name": name, "data": {"_str": "bench"}} for name in names]
        line.ask(request("POST", "/v1/txn", json.dumps({"operations": operations}).encode()))
    line.close()


# -- watchers -----------------------------------------------------------------------------------------------------


def _watch(server: Server, count: int) -> dict[Measure, float]:
    """Give how long it takes until the last of so many watchers has a change, in ms: the median of some changes.

    And the server's work for one change, on the average.
    """
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(contextlib.closing(Line(server.port)))
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(count):
            line = stack.enter_context(contextlib.closing(Line(server.port)))
            line.socket.sendall(
                b"GET /v1/watch?prefix=bench-watched HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n"
            )
            line.socket.setblocking(False)
            selector.register(line.socket, selectors.EVENT_READ)
        _settle(selector)
        before = server.worked()
        times = sorted(_one_change(writer, selector, count, number) for number in range(CHANGES))
        work = (server.worked() - before) * 1000 / CHANGES
    return {SLOWEST: times[len(times) // 2], WORK: work}


def _settle(selector: selectors.BaseSelector) -> None:
    """Read what comes first, until nothing does for a while."""
    while ready := selector.select(0.5):
        for key, _ in ready:
            _read(key.fileobj)


def _one_change(writer: Line, selector: selectors.BaseSelector, count: int, number: int) -> float:
    mark = b'"mark":%d' % number
    said = request("PUT", "/v1/kv/bench-watched", b'{"mark":%d}' % number)
    start = time.perf_counter()
    writer.socket.sendall(said)
    waiting = {key.fileobj for key in selector.get_map().values()}
    heard: dict[object, bytes] = {}
    deadline = time.monotonic() + LIMIT
    while waiting:
        for key, _ in selector.select(LIMIT):
            text = heard[key.fileobj] = heard.get(key.fileobj, b"") + _read(key.fileobj)
            if mark in text.replace(b" ", b""):
                waiting.discard(key.fileobj)
        if time.monotonic() > deadline:
            msg = f"{len(waiting)} of {count} watchers have not heard of it"
            raise BenchError(msg)
    took = (time.perf_counter() - start) * 1000
    writer.ask(b"")  # the answer to the write
    return took


def _read(connection: object) -> bytes:
    """Give all that has come."""
    return b"".join(_chunks(connection))  # type: ignore[arg-type]


def _chunks(connection: ssl.SSLSocket) -> Iterator[bytes]:
    with contextlib.suppress(ssl.SSLWantReadError):
        while chunk := connection.recv(65536):
            yield chunk
        msg = "a watcher was cut off"
        raise BenchError(msg)
