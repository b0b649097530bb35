"""What a connection costs that is logged in, subscribed to one topic, and silent.

Resident memory of the broker's process before and after; the kernel's socket buffers are not in it.
Each round has a fresh server: what an earlier round has freed would be used again, and the
connections look free.
"""

from __future__ import annotations

import contextlib
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

CONNECTIONS = 1000
WARM_UP = 20
SETTLE = 0.7  # seconds for the broker to take in the last subscription

IDLE = Measure("broker alone", "MiB")
EACH = Measure("per connection", "KiB")


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure with a fresh server for each round; three are enough, as memory hardly varies."""

    def rounds() -> Iterator[list[Server]]:
        for _ in range(min(options.rounds, 3)):
            with hall(brokers(protocol)) as servers:
                yield servers

    return contest(f"{CONNECTIONS} idle connections", rounds(), [IDLE, EACH], connections)


def connections(server: Server) -> dict[Measure, float]:
    """Return the memory of the broker alone, and that of each connection."""
    with contextlib.ExitStack() as warm_up:
        _proven(_connect(server, warm_up, WARM_UP))
    time.sleep(SETTLE)
    before = server.memory()
    with contextlib.ExitStack() as stack:
        links = _connect(server, stack, CONNECTIONS)
        time.sleep(SETTLE)
        after = server.memory()
        _proven(links)
    return {IDLE: before / 1024, EACH: (after - before) / CONNECTIONS}


def _connect(server: Server, stack: contextlib.ExitStack, count: int) -> list[Link]:
    speech = cast.SPEECHES[server.broker.protocol]
    names = cast.LOOPERS[:count]
    links = [stack.enter_context(Link(server.place, speech(name))) for name in names]
    for link in links:
        link.subscribe(())
    return links


def _proven(links: list[Link]) -> None:
    """Raise BenchError unless all of them listen; called last, as silence is to be measured."""
    agree(links[0], links)
