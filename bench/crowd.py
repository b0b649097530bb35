"""A hundred thousand subscriptions: how fast they are taken, and how fast messages find theirs.

Ten connections subscribe to each of ten thousand subjects.  Then one publishes to these subjects in an order in which
no subject comes soon again: no cache of a bounded size holds them all, so most messages are matched anew.
"""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING

from bench.brokers import brokers
from brokerkit.bench import cast
from brokerkit.bench.contest import Measure, contest
from brokerkit.bench.flood import Load, flood
from brokerkit.bench.links import Link, agree, settled
from brokerkit.bench.servers import hall

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from brokerkit.bench.contest import Options, Row
    from brokerkit.bench.servers import Server
    from brokerkit.bench.speech import Speech

READERS = 10
FIRST = 10_000  # the number of the first subscription: all have five digits
STEP = 2000  # subscriptions that are sent before their confirmation is waited for
PAYLOAD = 128

SUBSCRIBED = Measure("subscribed", "1/s")
MATCHED = Measure("matched", "msg/s")
MEMORY = Measure("growth of memory", "MiB")


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure with a fresh server for each round: what is remembered of a subject would help the next one."""
    if protocol != "nats":
        return []
    count = 1000 if options.quick else cast.MANY
    subjects = [b"crowd.s%05d" % number for number in range(count)]
    random.Random(5).shuffle(subjects)  # noqa: S311 - an order, no secret

    def rounds() -> Iterator[list[Server]]:
        for _ in range(options.rounds):
            with hall(brokers(protocol)) as servers:
                yield servers

    case = f"{READERS * count} subscriptions on {count} subjects"
    measures = [SUBSCRIBED, MATCHED, MEMORY]
    return contest(case, rounds(), measures, lambda server: crowd(server, subjects, 0.2 if options.quick else 1.0))


def crowd(server: Server, subjects: Sequence[bytes], seconds: float) -> dict[Measure, float]:
    """Return how many subscriptions and messages a second the broker dealt with, and what the former cost it."""
    speech = server.speech()
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Link(server.place, speech)) for _ in range(READERS)]
        for reader in readers:
            reader.subscribe(())
        publisher = stack.enter_context(Link(server.place, speech))
        agree(publisher, readers)
        wishes = list(_wishes(speech, subjects))
        before = server.memory()
        start = time.perf_counter()
        for reader in readers:
            _subscribe(reader, wishes)
        elapsed = time.perf_counter() - start
        growth = server.memory() - before
        flow = flood([publisher], readers, Load(speech, subjects, PAYLOAD, number=FIRST), seconds)
    flow.check()
    return {SUBSCRIBED: READERS * len(subjects) / elapsed, MATCHED: flow.rate, MEMORY: growth / 1024}


def _wishes(speech: Speech, subjects: Sequence[bytes]) -> Iterator[bytes]:
    """Give all subscriptions of one reader, as many at a time as are sent before the answer is waited for."""
    frames = [speech.subscribe(subject, number) for number, subject in enumerate(subjects, FIRST)]
    for begin in range(0, len(frames), STEP):
        yield b"".join(frames[begin : begin + STEP])


def _subscribe(reader: Link, wishes: Sequence[bytes]) -> None:
    """Subscribe to all; done when the broker has taken the last one."""
    for some in wishes:
        reader.tell(some)
        settled(reader)
