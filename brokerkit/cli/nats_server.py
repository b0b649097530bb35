"""``brokerkit nats-server``: the command line of nats-server, so that what starts the one can start the other.

Exit codes: 0 stopped or done, 1 it cannot start, or the command line is wrong (nats-server says 0 to some of that).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from brokerkit.cli.nats_flags import Flags
    from brokerkit.protocols.nats.conf.server import Server

NAME = "nats-server"


@click.command(
    NAME,
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def nats_server(words: tuple[str, ...]) -> None:
    """Run a NATS server, with the flags and the configuration file of nats-server."""
    raise SystemExit(main(words))


def main(words: tuple[str, ...] | list[str]) -> int:
    """Do what a command line says; give the exit code."""
    from brokerkit.cli import nats_flags
    from brokerkit.errors import OperatorError

    try:
        flags = nats_flags.read(words)
        return _do(flags)
    except nats_flags.Misused as error:
        from brokerkit.cli.nats_usage import USAGE

        _say(str(error))
        sys.stderr.write(f"\n{USAGE}")
    except OperatorError as error:
        _say(f"{NAME}: {error}")
    return 1


def _do(flags: Flags) -> int:
    from brokerkit.cli import nats_usage

    if flags.version:
        from brokerkit.protocols.nats.info import VERSION

        sys.stdout.write(f"{NAME}: v{VERSION}\n")
    elif flags.help or flags.help_tls:
        sys.stdout.write(nats_usage.USAGE if flags.help else nats_usage.TLS)
    elif flags.signal is not None:
        from brokerkit.cli.nats_signal import send

        send(flags.signal)
    elif flags.test:
        _test(flags)
    else:
        import gc

        gc.disable()  # until it listens: what is loaded stays
        from brokerkit.cli.nats_program import serve

        return serve(server_of(flags), lambda: server_of(flags))
    return 0


def server_of(flags: Flags) -> Server:
    """Give what file and flags say together; raise ``OperatorError``."""
    from brokerkit.cli.nats_flags import put_on
    from brokerkit.protocols.nats.conf.server import Server

    if flags.config is None:
        return put_on(flags, Server())
    from brokerkit.protocols.nats.conf.reader import read_file

    return put_on(flags, read_file(flags.config, lenient=flags.lenient))


def _test(flags: Flags) -> None:
    """Read the configuration, put everything together, and open nothing; raise ``OperatorError``."""
    from brokerkit.errors import OperatorError
    from brokerkit.protocols.nats.conf.plan import plan

    if flags.config is None:
        raise OperatorError("must specify [-c, --config] option to check configuration file syntax")
    server = server_of(flags)
    plan(server)
    for warning in server.warnings:
        _say(f"{NAME}: warning: {warning}")
    _say(f"{NAME}: configuration file {flags.config} is valid ({server.digest})")


def _say(text: str) -> None:
    click.echo(text, err=True)
