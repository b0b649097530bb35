"""What is measured, by name, with the goals that brokerkit has set itself against its peer on the same machine.

A goal is a ratio of medians: brokerkit's divided by the peer's, of one run, in which both took turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from brokerkit.bench.cast import size_name
from brokerkit.bench.contestants import PURE
from brokerkit.bench.loop import MIDDLE, RATE, TAIL, closed_loop
from brokerkit.bench.throughput import DELIVERIES, PUBLISHED, deliveries, shared, unheard, wild

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from brokerkit.bench.contest import Measure
    from brokerkit.bench.servers import Server

SMALL, LARGE, FILE = 128, 1024, 64 * 1024  # bytes of payload
SECONDS = 0.4  # of publishing at full speed


class Goal(NamedTuple):
    """What a ratio should be: so much at the least, or at the most where less is better."""

    measure: Measure
    ratio: float
    at_most: bool = False
    broker: str = "brokerkit"

    def met(self, ratio: float) -> bool:
        """Say whether that ratio reaches it."""
        return ratio <= self.ratio if self.at_most else ratio >= self.ratio


@dataclass(frozen=True)
class Workload:
    """One thing that is measured, for so many *seconds* each time.

    *quick* ones are what users are shown; *gentle* ones are what a broker that others use can be asked for.
    """

    name: str
    protocol: str
    kind: str
    measures: tuple[Measure, ...]
    measure: Callable[[Server, float], Mapping[Measure, float]]
    goals: tuple[Goal, ...] = ()
    quick: bool = True
    seconds: float = SECONDS
    gentle: bool = False


def _flood(
    protocol: str, subscribers: int, size: int, topics: int, goal: float = 0.0, pure: float = 0.0, *, quick: bool = True
) -> Workload:
    goals = [Goal(DELIVERIES, goal)] * bool(goal) + [Goal(DELIVERIES, pure, broker=PURE)] * bool(pure)
    return Workload(
        f"1 → {subscribers}, {size_name(size)}, {'one topic' if topics == 1 else f'{topics} topics'}",
        protocol,
        "throughput",
        (DELIVERIES,),
        partial(deliveries, subscribers=subscribers, size=size, topics=topics),
        tuple(goals),
        quick,
        gentle=subscribers <= 10 and size <= LARGE and topics == 1,
    )


def _loop(protocol: str, count: int, goal: float = 0.0) -> Workload:
    return Workload(
        f"{count} connection{'s' * (count > 1)}",
        protocol,
        "loop",
        (RATE, MIDDLE, TAIL),
        partial(closed_loop, count=count),
        (Goal(RATE, goal), Goal(TAIL, 1.0, at_most=True)) if goal else (),
        seconds=0.6,
        gentle=count <= 100,
    )


WORKLOADS = (
    _flood("nats", 1, SMALL, 1, 2.0, 0.35),
    _flood("nats", 1, SMALL, 100, 1.5),
    _flood("nats", 1, LARGE, 1, 1.2),
    _flood("nats", 1, LARGE, 100, quick=False),
    _flood("nats", 1, FILE, 1, 1.0),
    _flood("nats", 10, SMALL, 1, 2.0, 0.9),
    _flood("nats", 10, SMALL, 100, quick=False),
    _flood("nats", 10, LARGE, 1, quick=False),
    _flood("nats", 10, LARGE, 100, quick=False),
    _flood("nats", 100, SMALL, 1, 1.5),
    Workload(
        f"published to nobody, {SMALL} B",
        "nats",
        "throughput",
        (PUBLISHED,),
        partial(unheard, size=SMALL),
        (Goal(PUBLISHED, 1.2),),
    ),
    Workload(
        f"4 publishers → a queue group of 4, {SMALL} B",
        "nats",
        "throughput",
        (DELIVERIES,),
        partial(shared, publishers=4, members=4, size=SMALL),
        (Goal(DELIVERIES, 1.0),),
    ),
    Workload(
        f"10 000 wildcard subscriptions, random subjects, {SMALL} B",
        "nats",
        "throughput",
        (DELIVERIES,),
        partial(wild, patterns=10_000, size=SMALL),
        (Goal(DELIVERIES, 0.8),),
    ),
    _flood("hpfeeds", 1, SMALL, 1, 40.0),
    _flood("hpfeeds", 1, SMALL, 100),
    _flood("hpfeeds", 1, LARGE, 1, quick=False),
    _flood("hpfeeds", 1, LARGE, 100, quick=False),
    _flood("hpfeeds", 1, FILE, 1),
    _flood("hpfeeds", 10, SMALL, 1, 50.0),
    _flood("hpfeeds", 10, SMALL, 100, quick=False),
    _flood("hpfeeds", 10, LARGE, 1, quick=False),
    _flood("hpfeeds", 10, LARGE, 100, quick=False),
    _flood("hpfeeds", 100, SMALL, 1),
    _loop("nats", 1, 1.0),
    _loop("nats", 100, 1.0),
    _loop("nats", 1000, 0.8),
    _loop("hpfeeds", 1),
    _loop("hpfeeds", 100),
    _loop("hpfeeds", 1000),
)


def workloads(
    protocol: str, *, kind: str = "", quick: bool = False, goals: bool = False, gentle: bool = False
) -> list[Workload]:
    """Return those of a protocol: of one kind, those of a quick run, that have goals, or that are gentle."""
    return [
        work
        for work in WORKLOADS
        if work.protocol == protocol
        and (not kind or work.kind == kind)
        and (work.quick or not quick)
        and (work.goals or not goals)
        and (work.gentle or not gentle)
    ]
