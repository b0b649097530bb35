"""Where a command gets a secret: from a prompt, from standard input, or it makes one; never from the command line.

What stands on a command line is seen by everybody on the machine, and kept by the shell.
"""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_INPUT = 4096  # bytes


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that say where the secret comes from."""
    for option in (
        click.option("--stdin", is_flag=True, help="Read the secret from standard input, not from a prompt."),
        click.option("--generate", is_flag=True, help="Make a random secret, and print it this once."),
    ):
        command = option(command)
    return command


def generated() -> str:
    """Give a new random secret."""
    return secrets.token_urlsafe(18)


def get(what: str, *, stdin: bool, generate: bool) -> str:
    """Give the secret; raise ``click.UsageError`` if there is none to be had."""
    if stdin and generate:
        raise click.UsageError("--stdin and --generate: give one of them")
    if generate:
        return generated()
    if stdin:
        return _read()
    if not _at_terminal():
        raise click.UsageError("there is no terminal to ask for the secret at; give --stdin or --generate")
    answer: str = click.prompt(what, hide_input=True, confirmation_prompt="Once more", err=True)
    return answer


def _at_terminal() -> bool:
    return sys.stdin.isatty()


def _read() -> str:
    """Read one line that is not empty."""
    data = sys.stdin.buffer.read(MAX_INPUT + 1)
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise click.UsageError("the secret on standard input is not UTF-8") from None
    if not text or "\n" in text or len(data) > MAX_INPUT:
        raise click.UsageError(f"expected the secret on standard input: one line, of at most {MAX_INPUT} bytes")
    return text
