"""Results as Markdown and as JSON: medians of the rounds, half their range, and what ours is divided by the peer's."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from brokerkit.bench.contest import Row
    from brokerkit.bench.servers import Broker

FIGURES = 3  # significant ones; the spread of the rounds allows no more


class Section(NamedTuple):
    """The results of one scenario in one protocol."""

    title: str
    protocol: str
    rows: list[Row]
    brokers: list[Broker]


def markdown(sections: list[Section], command: str, load: float) -> str:
    """Return all tables behind a line that says where and when they were measured."""
    parts = [f"Measured by `{command}` on {machine()}; load average at the start {load:.1f}."]
    parts += [_table(section) for section in sections]
    return "\n\n".join(parts) + "\n"


def as_json(sections: list[Section], command: str, load: float) -> str:
    """Return every value of every round."""
    return json.dumps(
        {
            "command": command,
            "machine": machine(),
            "load": load,
            "sections": [
                {
                    "title": section.title,
                    "protocol": section.protocol,
                    "brokers": [broker.title for broker in section.brokers],
                    "rows": [asdict(row) | row.measure._asdict() for row in section.rows],
                }
                for section in sections
            ],
        },
        indent=1,
    )


def machine() -> str:
    """Return what the figures depend on most."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    day = datetime.now(UTC).date().isoformat()
    return (
        f"{day}, {os.cpu_count()} cores of {model}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def rows(section: Section) -> list[list[str]]:
    """Return the cells of a table: its head, and a line for each row."""
    names = [broker.name for broker in section.brokers]
    ratios = ["ratio", *(f"ratio, {name.rpartition(', ')[2]}" for name in names[1:-1])][: len(names) - 1]
    return [["", *(broker.title for broker in section.brokers), *ratios], *(_cells(row, names) for row in section.rows)]


def _cells(row: Row, names: list[str]) -> list[str]:
    unit = f" [{row.measure.unit}]" if row.measure.unit else ""
    values = [_cell(row, name) for name in names] + [_ratio(row, name, names[-1]) for name in names[:-1]]
    return [f"{row.case}: {row.measure.name}{unit}", *values]


def _table(section: Section) -> str:
    head, *lines = rows(section)
    rule = f"|---|{'--:|' * (len(head) - 1)}"
    written = [f"| {' | '.join(cells)} |".replace("|  |", "| |", 1) for cells in (head, *lines)]
    return "\n".join([f"### {section.title}, {section.protocol}", "", written[0], rule, *written[1:]])


def _cell(row: Row, name: str) -> str:
    """Return the median and half the range of the rounds, or the remark."""
    median = row.median(name)
    if median is None:
        return row.remarks.get(name, "-").replace("|", "/")
    if row.measure.unit == "yes/no":
        return "yes" if median > 0.5 else "no"
    failed = f" ({row.remarks[name]})" if name in row.remarks else ""
    return number(median) + _spread(row.values[name], median) + failed.replace("|", "/")


def number(value: float) -> str:
    """Return three significant figures, thousands apart."""
    if value == 0:
        return "0"
    digits = max(0, FIGURES - len(str(int(abs(value)))))
    rounded = float(f"{value:.{FIGURES}g}")
    return f"{rounded:,.{digits}f}".replace(",", " ")


def _spread(values: list[float], median: float) -> str:
    if len(values) == 1 or not median:
        return ""
    return f" ±{(max(values) - min(values)) / 2 / median:.0%}"


def _ratio(row: Row, ours: str, theirs: str) -> str:
    """Return brokerkit ÷ peer, of the medians."""
    ratio = row.ratio(ours, theirs)
    return "" if ratio is None else f"{ratio:.2f}"
