"""The workloads of ``brokerkit bench``: throughput and the closed loop; the servers stay up throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.brokers import brokers
from brokerkit.bench.contest import contest
from brokerkit.bench.servers import hall
from brokerkit.bench.workloads import workloads

if TYPE_CHECKING:
    from brokerkit.bench.contest import Options, Row


def throughput(protocol: str, options: Options) -> list[Row]:
    """Measure publishers by subscribers by payload by topics."""
    return _scenario(protocol, "throughput", options)


def loop(protocol: str, options: Options) -> list[Row]:
    """Measure how long a message takes when nobody sends ahead."""
    return _scenario(protocol, "loop", options)


def _scenario(protocol: str, kind: str, options: Options) -> list[Row]:
    rows: list[Row] = []
    chosen = workloads(protocol, kind=kind, quick=options.quick, goals=options.goals)
    if not chosen:
        return []
    with hall(brokers(protocol, pure=True)) as servers:
        for work in chosen:
            seconds = work.seconds / (2 if options.quick else 1)
            rounds = [servers] * options.rounds
            rows += contest(work.name, rounds, work.measures, lambda server, s=seconds, w=work: w.measure(server, s))
    return rows
