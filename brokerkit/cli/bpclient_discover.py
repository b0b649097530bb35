"""``bpclient discover``: which broker on this network has an entry of that name, asked without knowing its address."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from brokerkit.cli.bpclient_errors import NOT_FOUND, Fatal
from brokerkit.cli.bpclient_shown import say, show_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.cli.bpclient_options import Session
    from brokerkit.protocols.bpbroker.asking import Found

KEY = "BPBROKER_DISCOVERY_KEY"  # variable
PORT = 20443
LONGEST_KEY = 4096  # bytes


@click.command()
@click.option("--name", required=True, help="Name of an entry that the broker has.")
@click.option("--unique", is_flag=True, help="Wait for all answers, and fail if several brokers answer.")
@click.option("--all", "every", is_flag=True, help="Wait for all answers, and show each broker.")
@click.option(
    "--key-file", type=click.Path(exists=True, dir_okay=False), help=f"File with the discovery key; or ${KEY}."
)
@click.option(
    "--seconds", type=click.FloatRange(min=0.1, max=60), default=3.0, show_default=True, help="How long to wait."
)
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True, help="Port that is asked.")
@click.option("--to", multiple=True, metavar="ADDRESS", help="Ask this address, and not everybody; may be given again.")
@click.pass_obj
def discover(
    session: Session,
    name: str,
    key_file: str | None,
    seconds: float,
    port: int,
    to: tuple[str, ...],
    *,
    unique: bool,
    every: bool,
) -> None:
    """Show the address of a broker that has an entry NAME.

    With a discovery key only brokers that have it, too, are believed, and --cols shows how to recognise them: host,
    port, tls_sha256 and id.
    """
    from brokerkit.protocols.bpbroker import asking

    key = _key(key_file)
    targets = [(address, "", 0) for address in to] or None
    try:
        found = asking.ask(name, port=port, key=key, timeout=seconds, every=unique or every, to=targets)
    except (OSError, ValueError) as error:
        raise Fatal(str(getattr(error, "strerror", None) or error)) from None
    if not found:
        raise Fatal("No results", NOT_FOUND)
    if unique and len(different := _different(found)) > 1:
        hosts = ", ".join(f"{one.host}:{one.port}" for one in different)
        raise Fatal(f"several brokers answer: {hosts}")
    for one in found if every else found[:1]:
        if session.columns or session.form != "text":
            columns = session.columns or ("host", "port", "tls_sha256", "id")
            show_rows([attrs.asdict(one)], session.form, columns)
        else:
            say(one.host)


def _different(found: Iterable[Found]) -> list[Found]:
    """Give one answer of each broker; what comes from addresses of this machine is one where nothing else is said."""
    from brokerkit.protocols.bpbroker.places import interfaces

    mine = {str(address.ip) for _, address in interfaces()}
    brokers = {one.id or ("here" if one.host.partition("%")[0] in mine else one.host): one for one in found}
    return list(brokers.values())


def _key(file: str | None) -> str:
    if file is None:
        return os.environ.get(KEY, "")
    try:
        key = Path(file).read_bytes()[: LONGEST_KEY + 1].decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise Fatal(f"--key-file {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Fatal(f"--key-file {file}: is no text") from None
    if not key or "\n" in key or len(key) > LONGEST_KEY:
        raise Fatal(f"--key-file {file}: expected one line")
    return key
