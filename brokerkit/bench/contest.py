"""Rounds in turn: one of brokerkit, one of the peer, one of brokerkit, and so on.

A shared machine is faster in one minute than in the next. Neighbouring rounds see about the same
machine, so the ratio of medians is steadier than either median.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from brokerkit.bench.servers import Server


class Measure(NamedTuple):
    """What a number means: its name, its unit, whether a ratio makes sense, and whether less of it is better."""

    name: str
    unit: str
    compared: bool = True
    less: bool = False


@dataclass
class Row:
    """One line of a table: the values of each broker, one for each round."""

    case: str
    measure: Measure
    values: dict[str, list[float]] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def median(self, broker: str) -> float | None:
        """Return the median over the rounds, or None without a value."""
        values = self.values.get(broker)
        return statistics.median(values) if values else None

    def ratio(self, ours: str, theirs: str) -> float | None:
        """Return one broker's median divided by another's, if both have one and it makes sense."""
        mine, other = self.median(ours), self.median(theirs)
        return mine / other if self.measure.compared and mine is not None and other else None


@dataclass
class Options:
    """What the command line decides for all scenarios; *goals* leaves out what has none."""

    quick: bool
    rounds: int
    goals: bool = False


def say(text: str) -> None:
    """Report progress; standard output is for the tables."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def contest(
    case: str,
    rounds: Iterable[list[Server]],
    measures: Iterable[Measure],
    measure: Callable[[Server], Mapping[Measure, float]],
    tell: Callable[[str], None] | None = None,
) -> list[Row]:
    """Measure the servers of each round in turn; who fails has no value, and the run goes on.

    *tell* gets what is to be said on the way; standard error without one.
    """
    tell = tell or say
    rows = {kind: Row(case, kind) for kind in measures}
    for servers in rounds:
        for server in servers:
            name = server.broker.name
            if any(name in row.remarks for row in rows.values()):
                continue  # what failed once may take its whole time limit to fail again
            values, remark = _measured(server, measure, tell)
            for row in rows.values():
                if remark:
                    row.remarks[name] = remark
                else:
                    row.values.setdefault(name, []).append(values[row.measure])
    for row in rows.values():
        tell(f"  {case}: {_summary(row)}")
    return list(rows.values())


def _measured(
    server: Server, measure: Callable[[Server], Mapping[Measure, float]], tell: Callable[[str], None]
) -> tuple[Mapping[Measure, float], str]:
    """Return the values, or a remark that says why there are none."""
    if server.absent:
        return {}, server.absent
    try:
        return measure(server), ""
    except (BenchError, OSError) as problem:
        tell(f"  {server.broker.name}: {type(problem).__name__}: {problem}")
        return {}, f"failed: {problem}"


def _summary(row: Row) -> str:
    parts = []
    for name in dict.fromkeys([*row.values, *row.remarks]):
        median = row.median(name)
        said = row.remarks.get(name, "") if median is None else f"{median:,.4g}"
        parts.append(f"{name} {said}")
    return f"{row.measure.name} [{row.measure.unit}] {', '.join(parts)}"
