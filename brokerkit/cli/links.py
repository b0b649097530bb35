"""``brokerkit links DIR``: commands by the names of the programs that brokerkit stands in for.

Each is a small script for the interpreter that made it, so it works wherever DIR is.  A program that somebody else has
put there is not touched without --force; a script of ours is made anew, for example after an update.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import click

from brokerkit.errors import OperatorError

# What each is called, and where its click command is; a command that comes later needs a line here and no more.
COMMANDS = {
    "hpfeeds-broker": "brokerkit.cli.hpfeeds_broker:hpfeeds_broker",
    "nats-server": "brokerkit.cli.nats_server:nats_server",
    "bpbroker": "brokerkit.cli.bpbroker:bpbroker",
    "bpclient": "brokerkit.cli.bpclient:bpclient",
}
MARK = "# Made by `brokerkit links`."
_LONGEST = 127  # bytes of a first line that every kernel reads
_SCRIPT = """\
{start}
{mark}
from {module} import {function}

{function}(prog_name="{name}")
"""


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--force", is_flag=True, help="Replace what is not brokerkit's own, too.")
def links(directory: Path, *, force: bool) -> None:
    """Make commands in DIR by the names of the originals: hpfeeds-broker, nats-server, bpbroker, bpclient.

    Put DIR into PATH before the originals, or call them by their path.
    """
    try:
        for path in make(directory, force=force):
            click.echo(str(path))
    except OperatorError as error:
        raise SystemExit(f"brokerkit: {error}") from None


def make(directory: Path, *, force: bool = False) -> list[Path]:
    """Make all commands in a directory and give their paths; raise ``OperatorError``, and then make none of them."""
    if not directory.is_dir():
        raise OperatorError(f"{directory}: is no directory; make it with: mkdir -p {directory}")
    paths = [directory / name for name in COMMANDS]
    for path in paths:
        _check(path, force=force)
    for path in paths:
        _write(path, script(path.name))
    return paths


def script(name: str) -> str:
    """Give the text of the script for one of the names."""
    module, _, function = COMMANDS[name].partition(":")
    return _SCRIPT.format(start=_start(sys.executable), mark=MARK, module=module, function=function, name=name)


def _start(interpreter: str) -> str:
    """Give the lines that start an interpreter, by way of the shell if the kernel cannot read its path."""
    if len(os.fsencode(f"#!{interpreter}")) <= _LONGEST and not any(letter.isspace() for letter in interpreter):
        return f"#!{interpreter}"
    quoted = interpreter.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
    # To the shell the second line is a command, to Python both lines are one string.
    return f"#!/bin/sh\n'''exec' \"{quoted}\" \"$0\" \"$@\"\n' '''"


def _check(path: Path, *, force: bool) -> None:
    """Raise ``OperatorError`` if something stands there that is not to be replaced."""
    if path.is_dir() and not path.is_symlink():
        raise OperatorError(f"{path}: is a directory, expected a command or nothing")
    if os.path.lexists(path) and not force and not _is_ours(path):
        raise OperatorError(f"{path}: is another program; --force replaces it")


def _is_ours(path: Path) -> bool:
    try:
        return not path.is_symlink() and MARK.encode() in path.read_bytes()
    except OSError:
        return False


def _write(path: Path, text: str) -> None:
    """Put a script in place at once: whoever runs it meanwhile runs the old one or the new one."""
    new = ""
    try:
        number, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(number, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        Path(new).chmod(0o755)
        Path(new).replace(path)
    except OSError as error:
        if new:
            with suppress(OSError):
                Path(new).unlink()
        raise OperatorError(f"{path}: cannot be written: {error.strerror or error}") from None
