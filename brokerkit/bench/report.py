"""What was measured, as a file: its ending says what kind."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import attrs

from brokerkit.bench.chart import chart
from brokerkit.bench.tables import as_json, machine, markdown, rows
from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from brokerkit.bench.tables import Section

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>brokerkit bench</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 900px; padding: 0 1rem; color: #1f2328; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ padding: .2rem .7rem; border-bottom: 1px solid #d8dce0; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
svg {{ max-width: 100%; height: auto; }}
</style>
<h1>brokerkit bench</h1>
<p>{where}</p>
{chart}
{tables}
<p>Medians of the rounds, ± half their range. Ratio: what stands first, divided by what stands last. The brokers took
turns on one machine, with the program that made the load: compare nothing with figures of another run.</p>
</html>
"""


@attrs.frozen
class Report:
    """The results of one run; *load* is the machine's load average at its start."""

    sections: list[Section]
    command: str
    load: float
    place: str = attrs.field(factory=machine)

    @property
    def where(self) -> str:
        """In one line, where and when it was measured."""
        return f"Measured by {self.command} on {self.place}; load average at the start {self.load:.1f}."

    def markdown(self) -> str:
        """Return tables."""
        return markdown(self.sections, self.command, self.load)

    def json(self) -> str:
        """Return every value of every round."""
        return as_json(self.sections, self.command, self.load) + "\n"

    def svg(self) -> str:
        """Return the chart."""
        return chart(self.sections, self.where)

    def html(self) -> str:
        """Return a page with chart and tables, in one file."""
        tables = "\n".join(map(_table, self.sections))
        return _PAGE.format(where=escape(self.where), chart=self.svg(), tables=tables)


_KINDS: dict[str, Callable[[Report], str]] = {
    ".md": Report.markdown,
    ".json": Report.json,
    ".svg": Report.svg,
    ".html": Report.html,
}


def check(path: Path) -> None:
    """Raise ``OperatorError`` for a file that no report can be written to, before anything is measured."""
    if path.suffix not in _KINDS:
        raise OperatorError(f"{path}: expected a name that ends in {', '.join(_KINDS)}")
    if not path.parent.is_dir():
        raise OperatorError(f"{path}: there is no directory {path.parent}")


def write(report: Report, path: Path) -> None:
    """Write the report to a file of the kind that its name says; raise ``OperatorError`` where that cannot be done."""
    try:
        path.write_text(_KINDS[path.suffix](report), encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"{path}: cannot be written: {error.strerror or error}") from None


def _table(section: Section) -> str:
    head, *lines = rows(section)
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<h2>{escape(section.title)}, {escape(section.protocol)}</h2>\n<table>\n<tr>{cells}</tr>\n{body}\n</table>"
