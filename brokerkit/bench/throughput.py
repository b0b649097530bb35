"""How many messages get from publishers to subscribers: to one, to many, to nobody, to the members of a queue group."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

from brokerkit.bench import cast
from brokerkit.bench.contest import Measure
from brokerkit.bench.flood import Load, flood
from brokerkit.bench.links import Link, settled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from brokerkit.bench.flood import Flow
    from brokerkit.bench.servers import Server

DELIVERIES = Measure("deliveries", "msg/s")
PUBLISHED = Measure("published", "msg/s")
WILD_FIRST = 10_000  # the number of the first of many subscriptions: all have five digits
SUBJECTS = 100_000  # in which no one comes soon again: no cache of a bounded size holds them all
STEP = 2000  # subscriptions that are sent before their confirmation is waited for


def deliveries(server: Server, seconds: float, subscribers: int, size: int, topics: int) -> Mapping[Measure, float]:
    """Publish to so many subscribers, each of whom wants all topics, and count what all of them got."""
    flow = flow_to(server, subscribers, size, topics, seconds)
    flow.check()
    return {DELIVERIES: flow.rate * subscribers}


def flow_to(server: Server, subscribers: int, size: int, topics: int, seconds: float) -> Flow:
    """Connect the subscribers and a publisher, and flood."""
    speech, chosen = server.speech(), cast.TOPICS[:topics]
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Link(server.place, speech)) for _ in range(subscribers)]
        for reader in readers:
            reader.subscribe(chosen)
        publisher = stack.enter_context(Link(server.place, speech))
        return flood([publisher], readers, Load(speech, chosen, size), seconds)


def unheard(server: Server, seconds: float, size: int) -> Mapping[Measure, float]:
    """Publish what nobody wants; a witness hears a last message behind it all, and nothing else."""
    speech, chosen = server.speech(), cast.TOPICS[:1]
    with Link(server.place, speech) as witness, Link(server.place, speech) as publisher:
        witness.subscribe(())
        flow = flood([publisher], [witness], Load(speech, chosen, size, heard=False), seconds)
    flow.check()
    return {PUBLISHED: flow.rate}


def shared(server: Server, seconds: float, publishers: int, members: int, size: int) -> Mapping[Measure, float]:
    """Publish by several connections to the members of one queue group, who get each message once among them."""
    speech, chosen = server.speech(), cast.TOPICS[:1]
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(Link(server.place, speech)) for _ in range(members)]
        for reader in readers:
            reader.subscribe(chosen, queue=b"workers")
        senders = [stack.enter_context(Link(server.place, speech)) for _ in range(publishers)]
        flow = flood(senders, readers, Load(speech, chosen, size, shared=True), seconds)
    flow.check()
    return {DELIVERIES: flow.rate}


def wild(server: Server, seconds: float, patterns: int, size: int) -> Mapping[Measure, float]:
    """Publish to subjects that hardly ever come again, each of which one of many patterns stands for."""
    speech = server.speech()
    with Link(server.place, speech) as reader, Link(server.place, speech) as publisher:
        reader.subscribe(())
        settled(reader)
        frames = [speech.subscribe(_pattern(number), WILD_FIRST + number) for number in range(patterns)]
        for begin in range(0, patterns, STEP):
            reader.tell(b"".join(frames[begin : begin + STEP]))
            settled(reader)
        load = Load(speech, _subjects(patterns), size, number=WILD_FIRST)
        flow = flood([publisher], [reader], load, seconds)
    flow.check()
    return {DELIVERIES: flow.rate}


def _pattern(number: int) -> bytes:
    """Return a pattern; each third has its wildcard in the middle, at the end, or stands for all that follows."""
    return (b"wild.*.s%05d", b"wild.s%05d.*", b"wild.s%05d.>")[number % 3] % number


def _subjects(patterns: int) -> Sequence[bytes]:
    """Return subjects of one length, in an order that is always the same, each of which one pattern stands for."""
    choose = random.Random(5)  # noqa: S311 - an order, no secret
    subjects = []
    for _ in range(SUBJECTS):
        number, other = choose.randrange(patterns), choose.randrange(1_000_000)
        if number % 3:
            subjects.append(b"wild.s%05d.r%06d" % (number, other))
        else:
            subjects.append(b"wild.r%06d.s%05d" % (other, number))
    return subjects
