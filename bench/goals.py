"""The goals of the workloads, each met or missed; see ``brokerkit.bench.workloads``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.bench.contestants import PURE
from brokerkit.bench.workloads import WORKLOADS, Goal, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from brokerkit.bench.contest import Row
    from brokerkit.bench.tables import Section


def verdicts(sections: Sequence[Section]) -> str:
    """Return a table of the goals of all that was measured, empty if nothing that has one was."""
    lines = list(_lines(sections))
    if not lines:
        return ""
    met = sum(line.endswith("| met |") for line in lines)
    head = ["### Goals", "", "| workload | goal | measured | |", "|---|--:|--:|---|"]
    return "\n".join(["", *head, *lines, "", f"{met} of {len(lines)} met.", ""])


def _lines(sections: Sequence[Section]) -> Iterator[str]:
    for section in sections:
        rows = {(row.case, row.measure.name): row for row in section.rows}
        for work in WORKLOADS:
            for goal in work.goals if work.protocol == section.protocol else ():
                row = rows.get((work.name, goal.measure.name))
                if row is not None:
                    yield _line(work, goal, row, section)


def _line(work: Workload, goal: Goal, row: Row, section: Section) -> str:
    names = [broker.name for broker in section.brokers]
    broker = goal.broker if goal.broker in names else names[0]  # without compiled modules, all of it is pure
    ratio = row.ratio(broker, names[-1])
    name = f"{broker}: {work.name}" if goal.broker == PURE else work.name
    wish = f"{'≤' if goal.at_most else '≥'} {goal.ratio:g} ×"
    if ratio is None:
        verdict, shown = f"not measured: {row.remarks.get(names[-1]) or row.remarks.get(broker, 'no value')}", "-"
    else:
        verdict, shown = "met" if goal.met(ratio) else "missed", f"{ratio:.2f} ×"
    return f"| {work.protocol}, {name}: {goal.measure.name} | {wish} | {shown} | {verdict} |"
