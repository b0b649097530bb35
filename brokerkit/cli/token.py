"""``brokerkit token``: tokens for the REST API, made and revoked by the broker that runs, and shown to whoever has one.

A token is made by whoever may read the broker's data directory, without the user's password; over HTTP, ``POST /login``
does it with the password.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from brokerkit.cli.one_line import REFUSED, one_line
from brokerkit.cli.secret import MAX_INPUT
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.place import default_directory

PATH = click.Path(path_type=Path)
MOST = 16 * 1024  # characters of a token


@click.group()
def token() -> None:
    """Make, show and revoke tokens for the REST API."""


@token.command()
@click.argument("name")
@click.option(
    "--lasts", type=click.FloatRange(1, 10**12), metavar="SECONDS", help="How long it is good, if not as usual."
)
@click.option("--data-dir", type=PATH, help="Data directory of the broker.")
def make(name: str, lasts: float | None, data_dir: Path | None) -> None:
    """Print a new token for the user NAME; where tokens are stored, the one before ends."""
    with one_line():
        click.echo(_ask(data_dir, {"what": "make", "name": name, "lasts": lasts})["token"])


@token.command()
@click.argument("name")
@click.option("--data-dir", type=PATH, help="Data directory of the broker.")
def revoke(name: str, data_dir: Path | None) -> None:
    """Take the token of the user NAME back; the broker has to store tokens for that."""
    with one_line():
        _ask(data_dir, {"what": "revoke", "name": name})
        click.echo(f"{name} has no token any more", err=True)


@token.command()
@click.argument("text", metavar="TOKEN", default="-")
@click.option("--key", "path", type=PATH, help="The key that has signed it (PEM), private or public.")
@click.option("--data-dir", type=PATH, help="Data directory of the broker whose own key has signed it.")
def show(text: str, path: Path | None, data_dir: Path | None) -> None:
    """Print what TOKEN says, if its signature is right; `-` reads it from standard input.

    Exit code 1 says that it is false or has expired. Whether it was revoked, only the broker knows.
    """
    with one_line():
        from brokerkit.protocols.kafka_rest import tokens

        if text == "-":
            text = sys.stdin.read(MAX_INPUT * 4)
        own = (data_dir or default_directory()) / tokens.MADE
        key = tokens.load_public(str(path or own), "command line")
        try:
            claims = tokens.read(text.strip()[:MOST], key)
        except tokens.BadToken as error:
            raise OperatorError(f"the token is false: {error}") from None
        click.echo(json.dumps(claims.every))
        until = datetime.fromtimestamp(min(claims.expires, 253402300799), UTC).isoformat(sep=" ", timespec="seconds")
        expired = claims.expires <= time.time()
        click.echo(f"{claims.name}: {'expired' if expired else 'good until'} {until}", err=True)
        if expired:
            raise SystemExit(REFUSED)


def _ask(data_dir: Path | None, said: dict[str, Any]) -> dict[str, Any]:
    from brokerkit.control import tell

    try:
        said["name"].encode()
    except UnicodeEncodeError:
        raise ConfigError("command line", "NAME", said["name"], "UTF-8") from None
    return tell(data_dir or default_directory(), {"do": "token", **said})
