"""How many messages one publisher gets to one, to ten and, in hpfeeds, to a hundred subscribers."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

from bench import cast
from bench.contest import Measure, contest
from bench.flood import Flow, Load, flood
from bench.links import Link
from bench.servers import brokers, hall
from bench.speech import BenchError

if TYPE_CHECKING:
    from bench.contest import Options, Row
    from bench.servers import Server

SUBSCRIBERS, SIZES, TOPICS = (1, 10), (128, 1024), (1, 100)
MORE = {"hpfeeds": [(100, 128, 1), (1, 64 * 1024, 1)]}  # many readers; captured files
DELIVERIES = Measure("deliveries", "msg/s")


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure subscribers by payload by topics; the servers stay up throughout."""
    seconds = 0.2 if options.quick else 0.4
    sizes = SIZES[:1] if options.quick else SIZES
    rows = []
    with hall(brokers(protocol)) as servers:
        for subscribers, size, topics in (*itertools.product(SUBSCRIBERS, sizes, TOPICS), *MORE.get(protocol, ())):

            def measure(
                server: Server, case: tuple[int, int, int] = (subscribers, size, topics)
            ) -> dict[Measure, float]:
                return {DELIVERIES: deliveries(server, *case, seconds=seconds)}

            kind = "one topic" if topics == 1 else f"{topics} topics"
            case = f"1 → {subscribers}, {cast.size_name(size)}, {kind}"
            rows += contest(case, [servers] * options.rounds, [DELIVERIES], measure)
    return rows


def deliveries(server: Server, subscribers: int, size: int, topics: int, seconds: float) -> float:
    """Return the messages per second that all subscribers together got; raise if any was lost."""
    flow = flow_to(server, subscribers, size, topics, seconds)
    if any(flow.missing):
        msg = f"lost {sum(flow.missing)} of {flow.published * subscribers} messages"
        raise BenchError(msg)
    return flow.rate * subscribers


def flow_to(server: Server, subscribers: int, size: int, topics: int, seconds: float) -> Flow:
    """Connect the subscribers and a publisher, and flood."""
    speech = cast.SPEECHES[server.broker.protocol](cast.USER)
    chosen = cast.TOPICS[:topics]
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Link(server.port, speech)) for _ in range(subscribers)]
        for reader in readers:
            reader.subscribe(chosen)
        publisher = stack.enter_context(Link(server.port, speech))
        return flood(publisher, readers, Load(speech, chosen, size), seconds)
