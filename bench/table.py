"""Results as Markdown and as JSON."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.servers import brokers

if TYPE_CHECKING:
    from bench.contest import Row

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
FIGURES = 3  # significant ones; the spread of the rounds allows no more


class Section(NamedTuple):
    """The results of one scenario in one protocol."""

    title: str
    protocol: str
    rows: list[Row]


def markdown(sections: list[Section], command: str, load: float) -> str:
    """Return all tables behind a line that says where and when they were measured."""
    parts = [f"Measured by `{command}` on {_machine()}; load average at the start {load:.1f}."]
    parts += [_table(section) for section in sections]
    return "\n\n".join(parts) + "\n"


def as_json(sections: list[Section], command: str, load: float) -> str:
    """Return every value of every round."""
    titles = {p: [broker.title for broker in brokers(p)] for p in {s.protocol for s in sections}}
    return json.dumps(
        {
            "command": command,
            "machine": _machine(),
            "load": load,
            "brokers": titles,
            "sections": [
                {
                    "title": section.title,
                    "protocol": section.protocol,
                    "rows": [asdict(row) | row.measure._asdict() for row in section.rows],
                }
                for section in sections
            ],
        },
        indent=1,
    )


def write(path: Path, text: str) -> None:
    """Write the tables, between the markers if the file has them."""
    if path.exists():
        before, begin, rest = path.read_text().partition(BEGIN)
        _, end, after = rest.partition(END)
        if begin and end:
            text = f"{before}{BEGIN}\n\n{text}\n{END}{after}"
    path.write_text(text)


def _machine() -> str:
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


def _table(section: Section) -> str:
    names = [broker.name for broker in brokers(section.protocol)]
    titles = [broker.title for broker in brokers(section.protocol)]
    lines = [
        f"### {section.title}, {section.protocol}",
        "",
        f"| | {' | '.join(titles)} | ratio |",
        f"|---|{'--:|' * len(titles)}--:|",
    ]
    lines += [_line(row, names) for row in section.rows]
    return "\n".join(lines)


def _line(row: Row, names: list[str]) -> str:
    unit = f" [{row.measure.unit}]" if row.measure.unit else ""
    cells = [_cell(row, name) for name in names]
    return f"| {row.case}: {row.measure.name}{unit} | {' | '.join(cells)} | {_ratio(row, names)} |"


def _cell(row: Row, name: str) -> str:
    """Return the median and half the range of the rounds, or the remark."""
    median = row.median(name)
    if median is None:
        return row.remarks.get(name, "-").replace("|", "/")
    if row.measure.unit == "yes/no":
        return "yes" if median > 0.5 else "no"
    failed = f" ({row.remarks[name]})" if name in row.remarks else ""
    return _number(median) + _spread(row.values[name], median) + failed.replace("|", "/")


def _number(value: float) -> str:
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


def _ratio(row: Row, names: list[str]) -> str:
    """Return brokerkit ÷ peer, of the medians."""
    ours, theirs = (row.median(name) for name in names)
    if not row.measure.compared or ours is None or not theirs:
        return ""
    return f"{ours / theirs:.2f}"
