"""The options that stand before every command of ``bpclient``, and what they come to: a ``Session``."""

from __future__ import annotations

import os
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from brokerkit.cli.bpclient_errors import Fatal
from brokerkit.cli.bpclient_shown import FORMATS
from brokerkit.cli.bpclient_talk import Talk, read_address
from brokerkit.cli.bpclient_trust import Trust, read_fingerprints, usual_place

if TYPE_CHECKING:
    from collections.abc import Callable

BROKER, KEY = "BPBROKER", "BPBROKER_ACCESS_KEY"  # variables
LONGEST_KEY = 4096  # bytes

_FILE = click.Path(exists=True, dir_okay=False)


@attrs.frozen
class Session:
    """What the options say; nobody has been talked to yet."""

    broker: str | None
    key: str = attrs.field(repr=False)
    trust: Trust
    columns: tuple[str, ...]
    form: str
    timeout: float

    def talk(self) -> Talk:
        """Give what talks to the broker; raise ``Fatal`` if it is not said which one."""
        if not self.broker:
            raise Fatal(f"there is no broker: give -b HOST:PORT, or set {BROKER}")
        host, port = read_address(self.broker)
        return Talk(host, port, self.trust, self.key, self.timeout)


def session_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a group the options; it gets a ``Session`` as ``session``."""

    @wraps(command)
    def told(
        *,
        broker: str | None,
        access_key: str | None,
        access_key_file: str | None,
        cols: tuple[str, ...],
        form: str,
        ca: str | None,
        fingerprint: str,
        insecure: bool,
        known_brokers: str | None,
        timeout: float,
        strict_exit: bool,  # noqa: ARG001  the group looks at it when a command fails
        **others: Any,  # noqa: ANN401  the command's own
    ) -> None:
        if [ca is not None, bool(fingerprint), insecure].count(True) > 1:
            raise click.UsageError("--ca, --fingerprint and --insecure: give one of them")
        if fingerprint:
            read_fingerprints(fingerprint)
        if insecure:
            click.echo("bpclient: warning: --insecure: whoever answers is taken for the broker", err=True)
        trust = Trust(ca, fingerprint, insecure, Path(known_brokers) if known_brokers else usual_place())
        key = _key(access_key, access_key_file)
        others["session"] = Session(broker or os.environ.get(BROKER), key, trust, cols, form, timeout)
        command(**others)

    wrapped: Callable[..., None] = told
    for option in (
        click.option(
            "--strict-exit", is_flag=True, help="Exit with 3 for what is not there, 4 for what is not allowed."
        ),
        click.option(
            "--timeout", type=click.FloatRange(min=0.1), default=30.0, show_default=True, help="Seconds for an answer."
        ),
        click.option("--known-brokers", type=click.Path(dir_okay=False), help="File of brokers met before."),
        click.option("--insecure", is_flag=True, help="Take any certificate: whoever answers gets the access key."),
        click.option("--fingerprint", default="", metavar="SHA256", help="Of the broker's certificate or key."),
        click.option("--ca", type=_FILE, help="Certificates of the authorities to trust, in PEM."),
        click.option(
            "-f",
            "--format",
            "form",
            type=click.Choice(FORMATS),
            default="text",
            show_default=True,
            help="Of the output.",
        ),
        click.option("--cols", multiple=True, metavar="COL ...", help="Columns to write."),
        click.option("--access-key-file", type=_FILE, help="File with the access key: one line."),
        click.option("-a", "--access-key", help=f"The access key, for everybody here to see; better: ${KEY}."),
        click.option("-b", "--bpbroker", "broker", metavar="HOST:PORT", help=f"The broker; ${BROKER} if not said."),
    ):
        wrapped = option(wrapped)
    return wrapped


def _key(given: str | None, file: str | None) -> str:
    if given is not None and file is not None:
        raise click.UsageError("--access-key and --access-key-file: give one of them")
    if given is not None:
        return _usable(given, "--access-key")
    if file is None:
        return _usable(os.environ.get(KEY, ""), KEY)
    try:
        with Path(file).open(encoding="utf-8") as opened:
            lines = opened.read(LONGEST_KEY + 1).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(f"--access-key-file {file}: {getattr(error, 'strerror', None) or 'is no text'}") from None
    if len(lines) != 1 or not lines[0]:
        raise Fatal(f"--access-key-file {file}: expected one line")
    return _usable(lines[0], f"--access-key-file {file}")


def _usable(key: str, where: str) -> str:
    """Refuse, without showing it, a key that does not fit into a header."""
    if len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()) or key != key.strip():
        raise Fatal(f"{where}: expected at most {LONGEST_KEY} characters of ASCII, no blanks around them")
    return key
