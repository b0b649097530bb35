"""How users are shown to people: one line for each, or one alone with all that is known of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from brokerkit.checkers.entry import PROOFS, SECRETS
from brokerkit.cli.auth import responses
from brokerkit.cli.proofs import ways
from brokerkit.cli.sources import passed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.checkers.entry import Entry

HIDDEN = "(kept; --secret shows it)"
HASH = "(kept)"


def show_all(entries: Iterable[Entry]) -> None:
    """Print a table of all users."""
    table = Table(box=None, header_style="bold")
    for title in ("NAME", "OWNER", "TENANT", "LOGS IN BY", "PUBLISH", "SUBSCRIBE", "VALID UNTIL"):
        table.add_column(title, overflow="fold")
    for entry in entries:
        proofs = ", ".join(key for key in PROOFS if getattr(entry, key))
        publish, subscribe = _rules(entry.publish, entry.publish_deny), _rules(entry.subscribe, entry.subscribe_deny)
        cells = (entry.name, entry.owner, entry.tenant, proofs, publish, subscribe, entry.valid_until)
        table.add_row(*map(escape, cells))
    _console().print(table, crop=False)


def show_one(entry: Entry, *, reveal: bool) -> None:
    """Print all of one user; the secrets only if they are to be revealed."""
    table = Table(box=None, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in entry.fields().items():
        shown = ", ".join(value) if isinstance(value, list) else f"{value:g}" if key == "rate" else str(value)
        if key == "allow_responses":
            shown = responses(value)
        if key in SECRETS and not reveal:
            shown = HASH if key.endswith("_hash") else HIDDEN
        if key == "valid_until":
            shown += passed(entry.known("").user.valid_until)
        table.add_row(key, escape(shown))
    for protocol, how in ways(entry.known("")).items():
        table.add_row(f"logs in by {protocol}", ", ".join(how) or f"no: {_missing(protocol)}")
    _console().print(table, crop=False)


def _rules(allow: tuple[str, ...], deny: tuple[str, ...]) -> str:
    """Give both lists in one cell; a denial is written with a ``!``."""
    return ", ".join([*allow, *(f"!{name}" for name in deny)])


def _missing(protocol: str) -> str:
    if protocol == "hpfeeds":
        return "its challenge needs a secret that can be read back"
    return "nothing that it could show"


def _console() -> Console:
    return Console(file=sys.stdout, soft_wrap=True, highlight=False)
