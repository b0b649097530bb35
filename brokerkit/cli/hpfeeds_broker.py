"""``brokerkit hpfeeds-broker``: the command line of the original hpfeeds-broker, word for word.

It says the same to ``twistd brokerkit``, and becomes it.  Before that everything is put together once and thrown away:
what is wrong with the command line is one line and exit code 2, what is wrong with the machine is exit code 1.  The
original goes on without a listener in some of these cases, and guesses in others.

The image for containers sets BROKERKIT_EXPORTER and BROKERKIT_HPFEEDS_METRICS, so that its metrics are on, by old names
and by new ones, whatever the command line is.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from brokerkit.checkers.plugins import WHERE
from brokerkit.config import FLAGS, MAX_PORT
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.metric_styles import MODERN, STYLES

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "hpfeeds-broker"
ANYWHERE = "0.0.0.0"  # noqa: S104  the original's default
BIND = f"{ANYWHERE}:20000"
AUTH = "sqlite"

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]*):(?P<port>[0-9]{1,5})", re.ASCII)


@click.command(NAME, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--bind", metavar="HOST:PORT", help=f"One endpoint; {BIND} if there is neither this nor -e.")
@click.option("--tlscert", metavar="PATH", help="Certificate (PEM) for --bind, its chain behind it: TLS.")
@click.option("--tlskey", metavar="PATH", help="Private key (PEM) for --bind.")
@click.option(
    "-e",
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="ENDPOINT",
    help="Such as tcp:port=10000 or tls:port=10000:key=broker.key:cert=broker.crt; may be given again.",
)
@click.option(
    "--exporter",
    metavar="HOST:PORT",
    envvar="BROKERKIT_EXPORTER",
    default="",
    help="Serve /metrics and /healthz there; off without it.",
)
@click.option(
    "--metrics",
    type=click.Choice(STYLES),
    envvar="BROKERKIT_HPFEEDS_METRICS",
    default=MODERN,
    show_default=True,
    help="How the original's metrics are called: with _total (modern), without it (legacy), both ways, or not at all.",
)
@click.option("--name", default="hpfeeds", show_default=True, help="The name that clients are greeted with.")
@click.option(
    "--auth",
    "sources",
    multiple=True,
    metavar="SOURCE",
    help="Source of users: env, a path that ends in .json, sqlite (sqlite.db in the working directory, the default), "
    "database+URL, mongodb://... or another one of brokerkit; may be given again, and is asked in that order.",
)
@click.option("--debug", is_flag=True, help="Log more.")
def hpfeeds_broker(
    bind: str | None,
    tlscert: str | None,
    tlskey: str | None,
    endpoints: tuple[str, ...],
    exporter: str,
    metrics: str,
    name: str,
    sources: tuple[str, ...],
    *,
    debug: bool,
) -> None:
    """Run an hpfeeds broker, with the options of the original."""
    tlscert, tlskey = tlscert or None, tlskey or None  # the original takes "" for nothing, as from ${CERT:-}
    if (tlscert is None) != (tlskey is None):
        _refuse("must have --tlskey AND --tlscert, or neither")
    if tlscert is not None and endpoints and bind is None:
        _refuse("--tlscert and --tlskey are for --bind; with -e write tls:port=PORT:key=PATH:cert=PATH")
    try:
        legacy = [endpoint(bind or BIND, tlscert, tlskey)] if bind is not None or not endpoints else []
        flags = [f"--name={name}", *(f"--auth={source}" for source in sources or (AUTH,))]
        flags += [f"--hpfeeds={text}" for text in (*legacy, *endpoints)]
        flags += [f"--exporter={_exporter(exporter)}", f"--hpfeeds-metrics={metrics}"] if exporter else []
        _try(flags)
    except OperatorError as error:
        _refuse(str(error), 2 if _is_the_command_lines(error) else 1)
    _twistd(flags, debug=debug)


def endpoint(bind: str, cert: str | None = None, key: str | None = None) -> str:
    """Give the endpoint string for ``HOST:PORT``, by TLS if there is a certificate; raise ``ConfigError``.

    Without a host it is every IPv4 address; an IPv6 address stands in brackets.
    """
    found = _ADDRESS.fullmatch(bind)
    if found is None or int(found["port"]) > MAX_PORT:
        hint = "an IPv6 address stands in brackets, as in [::1]:20000" if bind.count(":") > 1 else ""
        raise ConfigError(FLAGS, "bind", bind, "HOST:PORT, with a port from 0 to 65535", hint)
    words = ["tcp" if cert is None else "tls", f"port={found['port']}"]
    words.append(f"interface={_escaped(found['host'].strip('[]') or ANYWHERE)}")
    if cert is not None and key is not None:
        words += f"key={_escaped(key)}", f"cert={_escaped(cert)}"
    return ":".join(words)


def _escaped(value: str) -> str:
    return re.sub(r"([\\:])", r"\\\1", value)


def _exporter(text: str) -> str:
    """Take the colon for granted, as the original does: a port alone could be a host."""
    if ":" not in text:
        hint = f"for example 127.0.0.1:{text if text.isdigit() else 9431}"
        raise ConfigError(FLAGS, "exporter", text, "HOST:PORT", hint)
    return ANYWHERE + text if text.startswith(":") else text


def _try(flags: Sequence[str]) -> None:
    """Put everything together, open nothing, and throw it away; raise ``OperatorError`` if it cannot work."""
    from twisted.internet import reactor

    from brokerkit.app import Options, make_broker

    options = Options()
    options.parseOptions(list(flags))  # type: ignore[no-untyped-call]
    make_broker(options.configuration(), reactor)


def _is_the_command_lines(error: OperatorError) -> bool:
    """Say whether it is wrong by itself, and not what a file says that it names, or that there is no such file."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return cause is None and isinstance(error, ConfigError) and error.where.startswith((FLAGS, WHERE))


def _refuse(text: str, code: int = 2) -> NoReturn:
    click.echo(f"{NAME}: {text}", err=True)
    raise SystemExit(code)


def _twistd(flags: Sequence[str], *, debug: bool) -> None:
    """Become twistd."""
    from twisted.scripts.twistd import run as twistd

    logger = "everything" if debug else "information"
    sys.argv = ["twistd", "-n", "--pidfile=", f"--logger=brokerkit.cli.logs.{logger}", "brokerkit", *flags]
    twistd()
