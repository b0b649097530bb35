"""What ten thousand connections cost that are logged in and say nothing.

Resident memory of the whole process, broker and connections, since that is what a machine must have; the kernel's
buffers are not in it.  A fresh server for each round, as in ``memory``.
"""

from __future__ import annotations

import contextlib
import gc
import time
from typing import TYPE_CHECKING

from bench.brokers import brokers
from brokerkit.bench import cast
from brokerkit.bench.contest import Measure, contest
from brokerkit.bench.links import Link, agree
from brokerkit.bench.servers import hall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerkit.bench.contest import Options, Row
    from brokerkit.bench.servers import Server

SETTLE = 1.0  # seconds for the broker to take in the last connection
SAMPLE = 100  # every so many of them, one is asked in the end whether it still listens

TOTAL = Measure("memory", "MiB")
RATE = Measure("logins", "1/s")


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure with a fresh server for each round; three are enough, as memory hardly varies."""
    if protocol != "nats":
        return []  # hpfeeds has its thousands in `sensors`
    count = 1000 if options.quick else cast.MANY

    def rounds() -> Iterator[list[Server]]:
        for _ in range(min(options.rounds, 3)):
            with hall(brokers(protocol)) as servers:
                yield servers

    case = f"{count} idle connections"
    return contest(case, rounds(), [TOTAL, RATE], lambda server: idle(server, count))


def idle(server: Server, count: int) -> dict[Measure, float]:
    """Return the memory of the broker with so many connections, and how fast they came, one after the other."""
    speech = server.speech()
    with contextlib.ExitStack() as stack:
        gc.freeze()  # the generator's own collections would be in the rate
        start = time.perf_counter()
        links = [stack.enter_context(Link(server.place, speech)) for _ in range(count)]
        elapsed = time.perf_counter() - start
        time.sleep(SETTLE)
        memory = server.memory()
        listeners = links[::SAMPLE]
        for link in listeners:
            link.subscribe(())
        agree(links[-1], listeners)
    return {TOTAL: memory / 1024, RATE: count / elapsed}
