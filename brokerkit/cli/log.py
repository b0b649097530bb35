"""``brokerkit log``: look through the log of kept topics, repair it, and make a copy of it.

``check`` and ``backup`` work while a broker runs; ``repair`` does not, since it puts another file in the place of the
log.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from brokerkit.cli.one_line import REFUSED, one_line
from brokerkit.place import LOG, default_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@click.group("log", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Data directory of the broker.")
@click.option("--file", type=click.Path(dir_okay=False, path_type=Path), help="The log itself, wherever it is.")
@click.pass_context
def log(ctx: click.Context, data_dir: Path | None, file: Path | None) -> None:
    """Check, repair and copy the log of kept topics.

    These options stand before the command, or --data-dir after it.
    """
    ctx.obj = file or (data_dir or default_directory()) / LOG


_AFTER = click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Data directory.")


@log.command()
@_AFTER
@click.pass_obj
def check(path: Path, data_dir: Path | None) -> None:
    """Read every batch and say what is wrong; exit code 1 if anything is.

    A broker that uses the log can go on.
    """
    from brokerkit.stores.topiclog_check import check as look

    path = _path(path, data_dir)
    with one_line(), _progress("batches read") as progress:
        found = look(path, progress)
    for problem in found.problems:
        click.echo(problem)
    if found.more:
        click.echo(f"and {found.more} more of the kind")
    text = f"{found.topics} topics, {found.partitions} partitions, {found.batches} batches, {found.records} records"
    if not found.is_sound:
        click.echo(f"{path}: is damaged ({text}); `brokerkit log repair` keeps what can be read of it", err=True)
        raise SystemExit(REFUSED)
    click.echo(f"{path}: sound ({text})", err=True)


@log.command()
@_AFTER
@click.pass_obj
def repair(path: Path, data_dir: Path | None) -> None:
    """Make a sound log of a damaged one, and say what is lost.

    Every batch whose checksum is right is kept.  The damaged file is put aside, not deleted.  Stop the broker first;
    there has to be room for two more files of that size.
    """
    from brokerkit.stores.topiclog_repair import repair as mend

    path = _path(path, data_dir)
    with one_line(), _progress("batches saved") as progress:
        done = mend(path, progress)
    for lost in done.lost:
        click.echo(f"lost: {lost}")
    click.echo(f"{path}: {done.batches} batches with {done.records} records are kept", err=True)
    click.echo(f"the damaged log is {done.aside}; delete it when you do not need it any more", err=True)


@log.command()
@_AFTER
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def backup(path: Path, data_dir: Path | None, target: Path) -> None:
    """Write a copy of the log to TARGET, as it is at this moment.

    A broker that uses the log can go on.  To go back to the copy, stop the broker, delete log.sqlite, log.sqlite-wal
    and log.sqlite-shm, and put the copy there as log.sqlite.
    """
    from brokerkit.stores.topiclog_check import backup as copy

    with one_line():
        copy(_path(path, data_dir), target)
    click.echo(f"{target}: written", err=True)


def _path(path: Path, data_dir: Path | None) -> Path:
    return data_dir / LOG if data_dir is not None else path


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int], None]]:
    """Show a person how far it is."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status(what) as status:
        yield lambda count: status.update(f"{count} {what}")
