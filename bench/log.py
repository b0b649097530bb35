"""The log over HTTP: produce one by one and in batches, on disk before it is answered, fetch, and follow.

Beside the single records stands a handler of twisted.web that does nothing but read the body, with the same requests:
what it does not do (write to a disk) has no number there.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from bench import follow
from bench.brokers import brokers
from bench.disk import SYNC, file_system, sync
from bench.speak_http import Line, rate, request
from brokerkit.bench.contest import Measure, contest
from brokerkit.bench.servers import hall

if TYPE_CHECKING:
    from brokerkit.bench.contest import Options, Row
    from brokerkit.bench.servers import Server

CONNECTIONS = 64
SIZE = 128  # bytes of a value
BATCH = 1000  # records
PAGE = 10_000  # messages of one fetch
FILLED, QUICK_FILLED = 200_000, 20_000  # messages to fetch
RAW, FULL = "log.raw", "log.full"

REQUESTS = Measure("requests", "1/s")
RECORDS = Measure("records", "1/s", compared=False)
MESSAGES = Measure("messages", "1/s", compared=False)

OCTETS = "Content-Type: application/octet-stream\r\n"
JSON = "Content-Type: application/json\r\n"


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure produce with one record and with a thousand, and fetch in each form."""
    seconds = 0.5 if options.quick else 2.0
    with hall(brokers(protocol)) as servers:
        ours = [server for server in servers if server.broker.name == "brokerkit"]
        every, only = [servers] * options.rounds, [ours] * options.rounds
        case = f"{SIZE} B as it is, on disk, {CONNECTIONS} kept connections"
        rows = contest(case, every, [REQUESTS], lambda server: {REQUESTS: _raw(server, seconds)})
        for name, body in (("JSON", _batch()), ("NDJSON", _lines())):
            kind = JSON if name == "JSON" else "Content-Type: application/x-ndjson\r\n"
            said = request("POST", f"/v1/topics/{FULL}/records", body, kind)

            def batches(server: Server, said: bytes = said) -> dict[Measure, float]:
                return {RECORDS: BATCH * rate(server.port, 2, lambda _: said, seconds)}

            case = f"batches of {BATCH}, {SIZE} B, as {name}, on disk, 2 connections"
            rows += contest(case, only, [RECORDS], batches)
        for server in ours:
            _fill(server, QUICK_FILLED if options.quick else FILLED)
        for name, accept in (("JSON", "application/json"), ("NDJSON", "application/x-ndjson")):

            def fetches(server: Server, accept: str = accept) -> dict[Measure, float]:
                return {MESSAGES: _fetch(server, accept, seconds)}

            rows += contest(f"fetch of {SIZE} B as {name}", only, [MESSAGES], fetches)
        rows += follow.rows(ours, options)
        rows += contest(f"the disk ({file_system()})", [ours], [SYNC], lambda _: {SYNC: sync()})
    return rows


def _raw(server: Server, seconds: float) -> float:
    said = request("POST", f"/v1/topics/{RAW}/records", b"x" * SIZE, OCTETS)
    return rate(server.port, CONNECTIONS, lambda _: said, seconds)


def _batch() -> bytes:
    return json.dumps({"records": [{"value": "x" * SIZE}] * BATCH}).encode()


def _lines() -> bytes:
    return json.dumps({"value": "x" * SIZE}).encode().join([b""] + [b"\n"] * BATCH)


def _fill(server: Server, count: int) -> None:
    """Have at least so many messages to fetch."""
    if server.absent:
        return
    line = Line(server.port)
    said = request("POST", f"/v1/topics/{FULL}/records", _batch(), JSON)
    for _ in range(count // BATCH):
        line.ask(said)
    line.close()


def _fetch(server: Server, accept: str, seconds: float) -> float:
    """Read page after page from the beginning, again and again; give the messages in a second."""
    line = Line(server.port)
    done, offset = 0, 0
    start = time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        target = f"/v1/topics/{FULL}/partitions/0/records?offset={offset}&max_records={PAGE}&max_bytes=16000000"
        body = line.ask(request("GET", target, headers=f"Accept: {accept}\r\n"))
        found = body.count(b'"value":')
        done += found
        offset = offset + found if found == PAGE else 0
    line.close()
    return done / (now - start)
