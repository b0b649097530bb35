"""A chart of bars as SVG, written by hand: each line of the results has a scale of its own, since their units differ.

The text is the reader's own font, and the whole is one file that needs nothing else.
"""

from __future__ import annotations

from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING

from brokerkit.bench.tables import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from brokerkit.bench.contest import Row
    from brokerkit.bench.tables import Section

WIDTH, BAR, GAP, LEFT, RIGHT = 860, 14, 4, 20, 190  # pixels
SMALL_PRINT = 120  # letters of a line
COLOURS = ("#2563eb", "#7dabf8", "#8a8f98")
_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" \
font-family="system-ui, sans-serif" font-size="13">
<title>{title}</title>
<rect width="{width}" height="{height}" fill="#ffffff"/>
"""


class _Page:
    """What is drawn so far, and how far down it reaches."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.y = 0

    def text(self, x: float, text: str, more: str = "") -> None:
        self.parts.append(f'<text x="{x:.0f}" y="{self.y}" fill="#1f2328"{more}>{escape(text)}</text>')

    def bar(self, x: float, width: float, colour: str) -> None:
        self.parts.append(
            f'<rect x="{x:.0f}" y="{self.y}" width="{max(width, 1):.1f}" height="{BAR}" rx="2" fill="{colour}"/>'
        )


def chart(sections: Sequence[Section], title: str) -> str:
    """Return the chart of all that has a value; *title* says where and when it was measured."""
    page = _Page()
    page.y = 8
    for line in wrap(title, SMALL_PRINT):
        page.y += 16
        page.text(LEFT, line, ' font-size="11"')
    for section in sections:
        _draw(page, section)
    height = page.y + 24
    return _HEAD.format(width=WIDTH, height=height, title=escape(title)) + "\n".join(page.parts) + "\n</svg>\n"


def _draw(page: _Page, section: Section) -> None:
    names = [broker.name for broker in section.brokers]
    colours = dict(zip(names, _colours(len(names)), strict=True))
    page.y += 40
    page.text(LEFT, f"{section.title}, {section.protocol}", ' font-size="16" font-weight="600"')
    page.y += 22
    x = float(LEFT)
    for broker in section.brokers:
        page.y -= BAR - 2
        page.bar(x, BAR, colours[broker.name])
        page.y += BAR - 2
        page.text(x + BAR + 6, broker.title)
        x += 40 + 7.5 * len(broker.title)
    for row in section.rows:
        _draw_row(page, row, colours)


def _colours(count: int) -> Iterator[str]:
    """Give ours, what is ours too, and, last, the peer's."""
    return iter([*COLOURS[: count - 1], COLOURS[-1]] if count > 1 else COLOURS[:1])


def _draw_row(page: _Page, row: Row, colours: dict[str, str]) -> None:
    medians = {name: row.median(name) for name in colours}
    most = max((median for median in medians.values() if median is not None), default=0.0)
    page.y += 26
    better = ", less is better" if row.measure.less else ""
    page.text(LEFT, f"{row.case}: {row.measure.name} [{row.measure.unit}{better}]")
    page.y += 8
    for name, median in medians.items():
        length = (WIDTH - LEFT - RIGHT) * median / most if median and most else 0.0
        page.bar(LEFT, length, colours[name])
        page.y += BAR - 3
        page.text(LEFT + length + 8, row.remarks.get(name, "-") if median is None else number(median))
        page.y += GAP + 3
    page.y -= GAP
