"""How ``bpclient`` writes what it got: as text, in the original's form to the byte, as JSON or as CSV.

A result is a row: its columns are the members of a record, or ``data`` where the record is plain text.  --cols chooses
among them.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = "_str"  # the member under which plain text is kept
FORMATS = ("json", "text", "csv", "csv-noheader")


def plain(record: Any) -> Any:  # noqa: ANN401  any JSON
    """Give a record as people know it: plain text without what the broker has added."""
    return record[TEXT] if isinstance(record, dict) and TEXT in record else record


def cell(value: object) -> str:
    """Give a value as it stands in one field."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def row(value: object) -> dict[str, Any]:
    """Give the columns of a result."""
    return value if isinstance(value, dict) else {"data": value}


def show(value: Any, form: str, columns: Sequence[str] = ()) -> None:  # noqa: ANN401  any JSON
    """Write one result."""
    if columns:
        _table([{name: row(value).get(name) for name in columns}], form)
    elif form == "text":
        say(value if isinstance(value, str) else json.dumps(value))
    elif form == "json":
        say(json.dumps({"data": value}))
    else:
        _table([row(value)], form)


def show_reply(reply: dict[str, Any], form: str, columns: Sequence[str] = ()) -> None:
    """Write a whole answer, with what it says of success; as text, its data alone, as the original does."""
    if form == "text" and not columns:
        say(cell(reply.get("data")))
    elif form == "json" and not columns:
        say(json.dumps(reply))
    else:
        _table([{name: reply.get(name) for name in columns or reply}], form)


def show_rows(rows: Sequence[dict[str, Any]], form: str, columns: Sequence[str]) -> None:
    """Write several results: as text a line for each, fields with tabs between them."""
    _table([{name: one.get(name) for name in columns} for one in rows], form)


def _table(rows: list[dict[str, Any]], form: str) -> None:
    if form == "json":
        for one in rows:
            say(json.dumps(one))
    elif form == "text":
        for one in rows:
            say("\t".join(map(cell, one.values())))
    elif rows:
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        if form == "csv":
            writer.writerow(rows[0])
        writer.writerows([cell(value) for value in one.values()] for one in rows)
        say(file.getvalue().removesuffix("\n"))


def say(text: str | bytes) -> None:
    """Write something and a line end to standard output, as UTF-8."""
    click.echo(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
