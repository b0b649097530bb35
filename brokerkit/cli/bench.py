"""``brokerkit bench``: how fast brokers are on this machine, or one that is running somewhere."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click

from brokerkit.cli.talk import REFUSED, UNREACHABLE, WRONG, fail, find_server
from brokerkit.cli.trust import tls_options
from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

    from brokerkit.bench.plan import Part, Plan
    from brokerkit.bench.report import Report
    from brokerkit.bench.speech import Speech
    from brokerkit.cli.talk import Server
    from brokerkit.cli.trust import Trust

PROTOCOLS = ("nats", "hpfeeds")
PREFIX = "brokerkit-bench"
FILES = 16384  # open at once: a thousand connections, on both sides, and some
ROUNDS, QUICK_ROUNDS = 3, 1
WIDE = 160  # columns of what goes into a file or a pipe


@click.command()
@click.option(
    "--protocol", "protocols", multiple=True, type=click.Choice(PROTOCOLS), help="One protocol instead of all."
)
@click.option("--quick", is_flag=True, help="One short round of everything.")
@click.option(
    "--rounds", type=click.IntRange(1, 100), help=f"Rounds of each broker ({ROUNDS}; with --quick {QUICK_ROUNDS})."
)
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a report, too: FILE.html, .svg, .md or .json; may be given several times.",
)
@click.option(
    "-s", "--server", help="Measure this running broker instead: nats:// or hpfeeds://[USER:SECRET@]HOST[:PORT]."
)
@click.option("--prefix", default=PREFIX, show_default=True, help="With --server: publish beneath this topic only.")
@click.option("--yes", is_flag=True, help="With --server: do not ask.")
@tls_options
def bench(
    protocols: tuple[str, ...],
    quick: bool,
    rounds: int | None,
    outputs: tuple[Path, ...],
    server: str | None,
    prefix: str,
    yes: bool,
    trust: Trust | None,
) -> None:
    """Measure how many messages a second brokerkit moves on this machine.

    brokerkit is started for it, beside nats-server and hpfeeds-broker where they are installed, on loopback at ports of
    their own; nothing else on this machine is touched. The brokers take turns.

    With --server a broker that is already running is measured alone, for some seconds and with fewer connections.
    """
    from brokerkit.bench import report
    from brokerkit.bench.servers import allow_files

    rounds = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    try:
        for path in outputs:
            report.check(path)
    except OperatorError as error:
        raise fail(WRONG, str(error)) from None
    allow_files(FILES)
    if server is None:
        if trust is not None:
            raise click.UsageError("the flags of TLS are for --server")
        plan = _here(protocols or PROTOCOLS, rounds, quick=quick)
    else:
        plan = _there(find_server(server, None, trust), prefix, rounds)
        if not yes:
            _ask()
        _try_out(plan.parts[0])
    _show(done := _measure(plan))
    for path in outputs:
        try:
            report.write(done, path)
        except OperatorError as error:
            raise fail(WRONG, str(error)) from None
        click.echo(f"written: {path}", err=True)
    if not any(row.values for section in done.sections for row in section.rows):
        raise fail(REFUSED, "nothing could be measured")


def _here(protocols: tuple[str, ...], rounds: int, *, quick: bool) -> Plan:
    """Give the plan of measuring what is installed, and say what it is."""
    from brokerkit.bench.contestants import contestants
    from brokerkit.bench.plan import here

    chosen = {protocol: contestants(protocol, pure=True) for protocol in protocols}
    plan = here(chosen, rounds, quick=quick)
    for protocol, brokers in chosen.items():
        there = [broker.title for broker in brokers if broker.program is not None]
        missing = "".join(f"; {broker.name} is not installed" for broker in brokers if broker.program is None)
        click.echo(f"{protocol}: {', '.join(there)}{missing}", err=True)
    click.echo(
        f"They are started on loopback, and stopped afterwards. This takes about {_long(plan.seconds)}.", err=True
    )
    return plan


def _there(server: Server, prefix: str, rounds: int) -> Plan:
    """Give the plan of measuring a running broker, and say what it is."""
    from brokerkit.bench.plan import there
    from brokerkit.bench.speak_hpfeeds import Hpfeeds
    from brokerkit.bench.speak_nats import Nats

    speeches: dict[str, Callable[..., Speech]] = {"nats": Nats, "hpfeeds": Hpfeeds}
    if server.protocol not in speeches:
        raise fail(WRONG, f"{server.protocol} cannot be measured: expected one of: {', '.join(speeches)}")
    name = f"{server.protocol}://{server.host}:{server.port}"
    speaking = partial(
        speeches[server.protocol], server.name, server.secret, prefix, _context(server.trust), _name(server)
    )
    plan = there(name, server.protocol, (server.host, server.port), speaking, rounds)
    click.echo(
        f"This publishes to {name}, beneath {prefix!r}, as fast as the broker takes it, for about "
        f"{_long(plan.seconds)} and by up to 100 connections. Nothing stays there. Others who use it have less of it "
        "meanwhile, and whoever has subscribed to everything gets all of it.",
        err=True,
    )
    return plan


def _context(trust: Trust | None) -> ssl.SSLContext | None:
    from brokerkit.bench.secure import trusting

    if trust is None:
        return None
    try:
        return trusting(trust.ca, trust.cert, trust.key, anybody=trust.insecure)
    except OSError as error:  # SSLError is one
        raise fail(WRONG, f"--ca, --cert or --key cannot be used: {error}") from None


def _name(server: Server) -> str:
    return (server.trust.name if server.trust is not None else "") or server.host


def _ask() -> None:
    """Go on only if somebody says so."""
    if not sys.stdin.isatty():
        raise fail(WRONG, "nobody can be asked whether that is wanted: give --yes")
    click.confirm("Go on?", abort=True, err=True)


def _try_out(part: Part) -> None:
    from brokerkit.bench.plan import try_out
    from brokerkit.bench.speech import BenchError

    [broker] = part.brokers
    assert part.running is not None  # noqa: S101  for the type checker
    try:
        try_out(part.running)
    except BenchError as error:
        raise fail(REFUSED, f"{broker.name}: {error}") from None
    except OSError as error:
        raise fail(UNREACHABLE, f"{broker.name} cannot be reached: {error}") from None


def _measure(plan: Plan) -> Report:
    """Carry the plan out beneath a bar."""
    import os

    from brokerkit.bench.report import Report

    load, command = os.getloadavg()[0], " ".join(["brokerkit", *map(shlex.quote, _without_secrets(sys.argv[1:]))])
    with _Bar(plan.steps) as bar:
        return Report(plan.carry_out(bar), command, load)


def _without_secrets(arguments: list[str]) -> list[str]:
    """Leave the login out of what is said of the command line."""
    from urllib.parse import urlsplit

    return [
        argument.replace(f"{urlsplit(argument).netloc.rpartition('@')[0]}@", "") if "@" in argument else argument
        for argument in arguments
    ]


class _Bar:
    """A progress bar on standard error."""

    def __init__(self, steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("starting", total=steps)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begins(self, what: str) -> None:
        """Show what is measured."""
        self._progress.update(self._task, description=what)

    def has(self) -> None:
        """Move on."""
        self._progress.advance(self._task)


def _show(report: Report) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from brokerkit.bench.tables import rows

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    console.print(f"\n{report.where}", markup=False)
    for section in report.sections:
        head, *lines = rows(section)
        table = Table(title=f"{section.title}, {section.protocol}", title_justify="left", box=None, header_style="bold")
        for number, title in enumerate(head):
            table.add_column(title, justify="right" if number else "left")
        for cells, row in zip(lines, section.rows, strict=True):
            first = len(section.brokers) + 1  # of the ratios
            ratios = [Text(cell, _colour(cell, less=row.measure.less)) for cell in cells[first:]]
            table.add_row(*map(Text, cells[:first]), *ratios)
        console.print()
        console.print(table)


def _colour(ratio: str, *, less: bool) -> str:
    """Give the colour of a ratio: green where it is good."""
    return "green" if ratio and (float(ratio) <= 1 if less else float(ratio) >= 1) else "yellow"


def _long(seconds: float) -> str:
    """Say how long something takes."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"  # noqa: PLR2004
