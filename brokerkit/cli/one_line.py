"""How commands end that do one thing to a store or a broker of this host: what went wrong is one line, and a number."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED, WRONG, UNREACHABLE = 1, 2, 3  # exit codes


@contextmanager
def one_line() -> Iterator[None]:
    """Turn what goes wrong into one line and an exit code."""
    from brokerkit.control import NoBroker

    try:
        yield
    except OperatorError as error:
        click.echo(f"brokerkit: {error}", err=True)
        raise SystemExit(UNREACHABLE if isinstance(error, NoBroker) else REFUSED) from None


def say(text: str, said: dict[str, Any], *, as_json: bool) -> None:
    """Say what was done: to a person on stderr, or as JSON on stdout."""
    if as_json:
        print_json(said)
    else:
        click.echo(text, err=True)


def print_json(said: dict[str, Any]) -> None:
    """Print one object on one line."""
    click.echo(json.dumps(said))
