"""What ``brokerkit run`` prints when it is ready: what listens where, who may log in, and commands that try it."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from brokerkit import __version__
from brokerkit.cli.sources import without_secrets
from brokerkit.place import DEMO, FORMER, default_directory, demo_is_stored, demo_secret

if TYPE_CHECKING:
    from brokerkit.broker import Broker
    from brokerkit.listener import Listener

TOPIC = "demo.hello"


def show(broker: Broker, directory: Path | None, auth: tuple[str, ...]) -> None:
    """Print the table and, below it, one command to copy for each protocol, never wrapped."""
    # twistd sends what is printed to sys.stdout into its log
    console = Console(file=sys.__stdout__, soft_wrap=True, highlight=False)
    table = Table(box=None, header_style="bold")
    for title in ("PROTOCOL", "ADDRESS", "AUTHENTICATION"):
        table.add_column(title, overflow="fold")
    for listener in broker.listening:
        table.add_row(listener.protocol, listener.address, ", ".join(map(without_secrets, auth)))
    console.print(f"\nbrokerkit {__version__} is ready\n")
    console.print(table, crop=False)
    for listener in broker.listening:
        if getattr(listener, "fingerprint", ""):
            console.print(f"\n{listener.protocol} certificate, SHA-256 {listener.fingerprint}")
    commands = _commands(broker, directory, auth)
    if commands:
        console.print("\nTry it, in another terminal:")
    for command in commands:
        console.print(f"  {command}", markup=False)
    if directory is not None and _demo_can_log_in(directory, auth):
        console.print(_whose_secret(directory), markup=False)
    console.file.flush()


def _whose_secret(directory: Path) -> str:
    """Say where the demo user's secret can be seen; the secret itself would stay on the screen."""
    if demo_is_stored(directory):
        return (
            f"\nThe secret of the user {DEMO!r} is shown by\n  "
            f"{_program()} user show {DEMO} --secret{_where(directory)}\n"
        )
    return f"\nThe secret of the user {DEMO!r} is in\n  {directory / FORMER}\n"


def _commands(broker: Broker, directory: Path | None, auth: tuple[str, ...]) -> list[str]:
    """Give, for each protocol, a command that listens and one that speaks; only such as can work."""
    if "anonymous" not in auth and not (directory is not None and _demo_can_log_in(directory, auth)):
        return []
    where = _where(directory)
    commands = []
    for listener in broker.listeners:
        trust = _trust(listener)
        if listener.listen.endpoint.startswith(("tcp", "tls", "ssl")) and trust is not None:
            server = f"--server {listener.protocol}://{listener.address}{trust}{where}"
            commands.append(f"{_program()} sub {server} {TOPIC}")
            commands.append(f'{_program()} pub {server} {TOPIC} "hello by {listener.protocol}"')
    return commands


def _trust(listener: Listener) -> str | None:
    """Give the flags with which a client trusts a listener, ``None`` where none of ours would do.

    A certificate that nobody else has signed is its own authority; for others the system is asked.
    """
    if listener.served is None:
        return ""
    pairs = listener.served.pairs
    shown = pairs.value[0]
    names = [name for name in shown.names if not name.startswith("*")]
    if listener.asks_certificates or not names:
        return None
    own = shown.certificate.issuer == shown.certificate.subject and Path(pairs.name).is_file()
    return f"{f' --ca {shlex.quote(pairs.name)}' if own else ''} --tls-name {shlex.quote(names[0])}"


def _demo_can_log_in(directory: Path, auth: tuple[str, ...]) -> bool:
    """Say whether the demo user of the data directory is among those who are let in."""
    of_the_directory = ("users", *(f"{kind}:{directory}" for kind in ("users", "json")))
    return any(one.startswith(of_the_directory) for one in auth) and bool(demo_secret(directory))


def _where(directory: Path | None) -> str:
    """Give the flag that leads other commands to this broker's data."""
    if directory is None or directory == default_directory():
        return ""
    return f" --data-dir {shlex.quote(str(directory))}"


def _program() -> str:
    """Give the name that this program can be called by from here."""
    if shutil.which("brokerkit") is not None:
        return "brokerkit"
    beside = Path(sys.executable).with_name("brokerkit")
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)
