"""The secret that a command logs in with: from a file, standard input, the environment, a prompt or the command line.

It may stand on the command line, since the original's client has it there, but never has to.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from brokerkit.cli.secret import MAX_INPUT

if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "HPFEEDS_SECRET"


def secret_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that say where the secret is."""
    for option in (
        click.option("--stdin", is_flag=True, help="Read the secret from standard input: one line."),
        click.option("--secret-file", type=click.Path(exists=True, dir_okay=False), help="File with the secret."),
        click.option("-s", "--secret", help=f"The secret, for everybody on this machine to see; better: ${VARIABLE}."),
    ):
        command = option(command)
    return command


def login_secret(secret: str | None, secret_file: str | None, environment: str | None, *, stdin: bool) -> str:
    """Give the secret; raise ``click.UsageError`` if there is none, or if it is not clear which one is meant."""
    if [secret is not None, secret_file is not None, stdin].count(True) > 1:
        raise click.UsageError("--secret, --secret-file and --stdin: give one of them")
    if secret is not None:
        return secret
    if secret_file is not None:
        return _from_file(secret_file)
    if stdin:
        return _line(sys.stdin.buffer.readline(MAX_INPUT + 1), "on standard input")
    if environment:
        return environment
    if not sys.stdin.isatty():
        raise click.UsageError(f"there is no secret: give --secret-file, --stdin or the variable {VARIABLE}")
    answer: str = click.prompt("Secret", hide_input=True, err=True)
    return answer


def _from_file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return _line(file.read(MAX_INPUT + 1), f"in {path}")
    except OSError as error:
        raise click.UsageError(f"--secret-file {path}: {error.strerror}") from None


def _line(data: bytes, where: str) -> str:
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if not line or b"\n" in line or len(data) > MAX_INPUT:
        raise click.UsageError(f"expected the secret {where}: one line, of at most {MAX_INPUT} bytes")
    return line.decode(errors="surrogateescape")
