"""``python -m bench.in_memory``: what a message costs between two system calls, in processor time, without a network.

A wire scans chunks of 400 messages of 128 bytes, a client publishes them, the outboxes are written to transports that
take everything.  Each figure is the least of many rounds.  ``BROKERKIT_PURE=1`` measures the pure code.
"""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.task import Clock

from brokerkit import compiled, garbage
from brokerkit.client import Client, User
from brokerkit.grants import ALL
from brokerkit.outbox import Limits, Outbox
from brokerkit.protocols.hpfeeds import wire as hpfeeds
from brokerkit.protocols.hpfeeds.framing import hpfeeds_framing
from brokerkit.protocols.nats import wire as nats
from brokerkit.protocols.nats.framing import nats_framing
from brokerkit.router import Router
from brokerkit.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COUNT = 400  # messages of a chunk
PAYLOAD = b"x" * 128
NATS, HPFEEDS = nats_framing(b"", headers=True), hpfeeds_framing(b"")
ONE, MANY = [b"bench.topic.0001"], [b"bench.topic.%04d" % i for i in range(100)]


class Sink:
    """A transport that takes everything."""

    def writeSomeData(self, data: bytes) -> int:
        """Take it."""
        return len(data)


class World:
    """A router and those who use it."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self.turn, self.router = Turn(), Router()

    def client(self) -> Client:
        """Give one more client."""
        outbox = Outbox(Sink(), self.turn, Clock(), Limits(), lambda _: None, direct=True)  # type: ignore[arg-type]
        return Client(User(b"u", "bench", ALL), self.router, self.turn, outbox)

    def listen(self, topics: Sequence[bytes], count: int = 1, *, sids: bool = False, **how: Any) -> None:  # noqa: ANN401
        """Have so many clients subscribe to all of the topics, each with a sid of its own if that is asked for."""
        for number in range(count):
            client = self.client()
            for topic in topics:
                client.subscribe(topic, tag=b"%d" % number if sids else b"1", **how)


def nats_chunk(topics: Sequence[bytes], *, replies: bool = False, headers: bool = False) -> bytes:
    """Spell a chunk of publishes."""
    frames = []
    for i in range(COUNT):
        reply = b" _INBOX.abcdefgh.%06d" % i if replies else b""
        topic = topics[i % len(topics)]
        if headers:
            frames.append(b"HPUB %b%b 20 148\r\nNATS/1.0\r\nA: bcd\r\n\r\n%b\r\n" % (topic, reply, PAYLOAD))
        else:
            frames.append(b"PUB %b%b 128\r\n%b\r\n" % (topic, reply, PAYLOAD))
    return b"".join(frames)


def hpfeeds_chunk(topics: Sequence[bytes]) -> bytes:
    """Spell a chunk of publishes."""
    short, frame = hpfeeds.short, hpfeeds.frame
    return b"".join(frame(hpfeeds.PUBLISH, short(b"u"), short(topics[i % len(topics)]), PAYLOAD) for i in range(COUNT))


def wire_of(chunk: bytes) -> Any:  # noqa: ANN401  of either protocol
    """Give the wire that such a chunk comes in by."""
    if chunk.startswith((b"PUB", b"HPUB")):
        spoken = nats.Wire(nats.Spellings(b"", 1 << 20, 4096))
        spoken.headers = True
        return spoken
    framed = hpfeeds.Wire()
    framed.own(b"u")
    return framed


class Case(NamedTuple):
    """What is published, and who listens."""

    name: str
    chunks: list[bytes]
    listen: Callable[[World], object]


def cost(case: Case, rounds: int) -> float:
    """Give the nanoseconds that a message takes."""
    world = World()
    case.listen(world)
    publisher, wire, turn = world.client(), wire_of(case.chunks[0]), world.turn
    least = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        for chunk in case.chunks:
            with turn:
                wire.feed(chunk)
                while (run := wire.scan()) is not None:
                    publisher.deliver(run)
                    run.clear()
            assert wire.pos == len(chunk)
        least = min(least, time.process_time() - began)
    return least / len(case.chunks) / COUNT * 1e9


def unlike(topics: Sequence[bytes]) -> list[bytes]:
    """Spell chunks in which no topic comes twice."""
    return [nats_chunk(topics[i : i + COUNT]) for i in range(0, len(topics), COUNT)]


def wild() -> tuple[list[bytes], list[bytes]]:
    """Give 10 000 patterns, and topics that each fit one."""
    choose = random.Random(5)  # noqa: S311 - an order, no secret
    places = [choose.randrange(10_000) for _ in range(12_000)]
    return [b"w.*.s%05d" % i for i in range(10_000)], [b"w.r%06d.s%05d" % (n, i) for n, i in enumerate(places)]


def cases() -> list[Case]:
    """Give all of them."""
    one, many = [nats_chunk(ONE)] * 8, [nats_chunk(MANY)] * 8

    def heard(
        topics: Sequence[bytes],
        count: int = 1,
        *,
        framing: Any = NATS,  # noqa: ANN401
        **how: Any,  # noqa: ANN401
    ) -> Callable[[World], None]:
        return partial(World.listen, topics=topics, count=count, framing=framing, **how)

    def mixed(world: World) -> None:
        world.listen(MANY, framing=NATS)
        world.listen(MANY, receive=lambda _: None)

    patterns, topics = wild()
    return [
        Case("nats, to nobody", one, lambda _: None),
        Case("nats 1 → 1", one, heard(ONE)),
        Case("nats 1 → 1, 100 topics in turn", many, heard(MANY)),
        Case("nats 1 → 1, 100 topics, headers", [nats_chunk(MANY, headers=True)] * 8, heard(MANY)),
        Case("nats 1 → 1, unique replies", [nats_chunk(ONE, replies=True)] * 8, heard(ONE)),
        Case("nats 1 → 10, 100 topics", many, heard(MANY, 10)),
        Case("nats 1 → 100", one, heard(ONE, 100)),
        Case("nats 1 → 100, different sids", one, heard(ONE, 100, sids=True)),
        Case("nats, a queue group of 4, 100 topics", many, heard(MANY, 4, queue=b"q")),
        Case("nats, topics that never come again", unlike(topics), heard([b"w.>"])),
        Case("nats, the same, 10 000 wildcards", unlike(topics), heard(patterns)),
        Case("nats and a function, 100 topics", many, mixed),
        Case("hpfeeds 1 → 1", [hpfeeds_chunk(ONE)] * 8, heard(ONE, framing=HPFEEDS, literal=True)),
        Case("hpfeeds 1 → 10, 100 topics", [hpfeeds_chunk(MANY)] * 8, heard(MANY, 10, framing=HPFEEDS, literal=True)),
        Case("hpfeeds to nats, 100 topics", [hpfeeds_chunk(MANY)] * 8, heard(MANY)),
        Case("nats to hpfeeds, 100 topics", many, heard(MANY, framing=HPFEEDS, literal=True)),
    ]


def main() -> None:
    """Measure, and print a table."""
    garbage.settle()
    print(f"| in memory, ns a message | {compiled.variant()} |\n|---|--:|")
    for case in cases():
        figure = f"{cost(case, 20):,.0f}".replace(",", " ")
        print(f"| {case.name} | {figure} |", flush=True)


if __name__ == "__main__":
    main()
