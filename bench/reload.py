"""What ten thousand users in a users.json cost: loading them, and loading them again while messages pass.

The pause is seen from outside: one connection sends to itself without end while the file is replaced,
and the longest round trip is noted. hpfeeds-broker reads its file once unless another package is
installed, so it stands here with the round trips of a broker that nothing happens to.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.brokers import brokers
from brokerkit.bench import cast
from brokerkit.bench.contest import Measure, Row, contest
from brokerkit.bench.links import FIRST_NUMBER, LIMIT, Link
from brokerkit.bench.servers import ROOT, hall
from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    from brokerkit.bench.contest import Options
    from brokerkit.bench.servers import Server

PAYLOAD = b"x" * 128
WATCHED = 2.5  # seconds after the file is replaced: it is looked at once a second
LOAD = Measure("load", "ms")
LONGEST = Measure("longest round trip beside a reload", "ms", compared=False)
QUIET = Measure("longest round trip otherwise", "ms", compared=False)

_LOAD = """
import sys, time
from twisted.internet.task import Clock
from brokerkit.checkers.json_file import JsonUsers
start = time.perf_counter()
JsonUsers(sys.argv[1], Clock())
print(time.perf_counter() - start)
"""


def scenario(protocol: str, options: Options) -> list[Row]:
    """Load the file in a fresh process, and replace it under a broker."""
    if protocol != "hpfeeds":
        return []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder, "users.json")
        path.write_bytes(cast.users_json())
        loads = Row("users.json", LOAD, {"brokerkit": [_load(path) for _ in range(options.rounds)]})
        with hall(brokers(protocol, str(path))) as servers:
            rounds = [servers] * options.rounds
            return [loads, *contest("users.json", rounds, [LONGEST, QUIET], lambda server: replaced(server, path))]


def _load(path: Path) -> float:
    """Return the milliseconds that a fresh process takes for the file alone."""
    command = [sys.executable, "-c", _LOAD, str(path)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    return float(output) * 1e3


def replaced(server: Server, path: Path) -> dict[Measure, float]:
    """Send without end while nothing happens, and while the file is replaced."""
    speech = server.speech()
    with Link(server.place, speech) as link:
        link.tell(speech.subscribe(cast.TOPICS[0], FIRST_NUMBER))
        _longest(link, 0.2)
        quiet = _longest(link, WATCHED)
        other = path.with_suffix(".new")
        other.write_bytes(cast.users_json(int(time.monotonic())))
        other.rename(path)
        return {LONGEST: _longest(link, WATCHED) * 1e3, QUIET: quiet * 1e3}


def _longest(link: Link, seconds: float) -> float:
    """Send a message to oneself again and again; return the longest that one took, in seconds."""
    request = link.speech.publish(cast.TOPICS[0], PAYLOAD)
    size = len(link.speech.delivery(cast.TOPICS[0], FIRST_NUMBER, PAYLOAD))
    longest, end = 0.0, time.perf_counter() + seconds
    link.sock.settimeout(LIMIT)
    while (start := time.perf_counter()) < end:
        link.sock.sendall(request)
        heard = 0
        while heard < size:
            data = link.sock.recv(65536)
            if not data:
                msg = "the broker closed the connection"
                raise BenchError(msg)
            heard += len(data)
        longest = max(longest, time.perf_counter() - start)
    link.sock.settimeout(0)
    return longest
