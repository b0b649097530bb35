"""What one run of ``brokerkit bench`` is going to do, said before it is done, and doing it.

On this machine it starts the brokers itself, on loopback, at ports of their own, in directories that are removed
afterwards.  A broker that is there already is measured with less: not with what would fill its memory or its caches,
and beneath one topic, so that nobody who listens elsewhere hears anything.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

import attrs

from brokerkit.bench.contest import contest
from brokerkit.bench.links import Link, agree
from brokerkit.bench.servers import Broker, Server, hall
from brokerkit.bench.tables import Section
from brokerkit.bench.workloads import workloads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from brokerkit.bench.contest import Measure, Row
    from brokerkit.bench.speech import Speech
    from brokerkit.bench.workloads import Workload

TITLES = {"throughput": "Throughput", "loop": "Closed loop"}
AROUND = 0.6  # seconds that connecting, agreeing and draining take, more or less
TO_START = 2.0  # seconds that a broker takes, more or less


class Watcher(Protocol):
    """Who is told how it goes on."""

    def begins(self, what: str) -> None:
        """Something else is measured from now on."""

    def has(self) -> None:
        """One broker has been measured once."""


@attrs.frozen
class Part:
    """One protocol: its brokers, those that do not run here among them, and what they are measured with."""

    protocol: str
    brokers: list[Broker]
    works: list[Workload]
    running: Server | None = None

    @property
    def takers(self) -> int:
        """The number of brokers that can be measured."""
        return 1 if self.running is not None else sum(broker.program is not None for broker in self.brokers)

    def servers(self) -> contextlib.AbstractContextManager[list[Server]]:
        """Start the brokers for the length of a block; or give the one that runs already."""
        return hall(self.brokers) if self.running is None else contextlib.nullcontext([self.running])


@attrs.frozen
class Plan:
    """All parts, with so many rounds each, of so much of their usual time."""

    parts: list[Part]
    rounds: int
    share: float = 1.0

    @property
    def steps(self) -> int:
        """How often a broker is measured in all."""
        return sum(part.takers * len(part.works) for part in self.parts) * self.rounds

    @property
    def seconds(self) -> float:
        """About how long it takes."""
        return sum(
            part.takers * (sum(work.seconds * self.share + AROUND for work in part.works) * self.rounds + TO_START)
            for part in self.parts
        )

    def carry_out(self, watcher: Watcher) -> list[Section]:
        """Measure."""
        return [section for part in self.parts for section in self._sections(part, watcher)]

    def _sections(self, part: Part, watcher: Watcher) -> Iterator[Section]:
        with part.servers() as servers:
            for kind, title in TITLES.items():
                rows = [
                    row
                    for work in part.works
                    if work.kind == kind
                    for row in _measured(work, [servers] * self.rounds, work.seconds * self.share, watcher)
                ]
                if rows:
                    yield Section(title, part.protocol, rows, part.brokers)


def _measured(work: Workload, rounds: Sequence[list[Server]], seconds: float, watcher: Watcher) -> list[Row]:
    watcher.begins(f"{work.protocol}: {work.name}")

    def measure(server: Server) -> Mapping[Measure, float]:
        try:
            return work.measure(server, seconds)
        finally:
            watcher.has()

    return contest(work.name, rounds, work.measures, measure, lambda _: None)


def here(chosen: Mapping[str, list[Broker]], rounds: int, *, quick: bool) -> Plan:
    """Measure brokers that are started for it, by protocol."""
    parts = [Part(protocol, brokers, workloads(protocol, quick=True)) for protocol, brokers in chosen.items()]
    return Plan(parts, rounds, 0.5 if quick else 1.0)


def there(name: str, protocol: str, place: tuple[str, int], speaking: Callable[[], Speech], rounds: int) -> Plan:
    """Measure a broker that is there already; *speaking* gives what logs in."""
    broker = Broker(name, protocol, None, ())
    server = Server(broker, place[1], host=place[0], speaking=speaking)
    return Plan([Part(protocol, [broker], workloads(protocol, gentle=True), server)], rounds)


def try_out(server: Server) -> None:
    """Log in, and have one message come back; raise ``OSError`` or ``BenchError`` where that cannot be done."""
    with Link(server.place, server.speech()) as link:
        link.subscribe(())
        agree(link, [link])
