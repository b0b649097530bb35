"""``brokerkit kastlex``: KastleX's API, started as KastleX is, from its environment variables alone.

It listens on every interface, as the original does; its files are ``permissions.yml`` and ``passwd.yml``.  One line on
standard output says that it is ready, the log goes to standard error.

Exit codes: 0 stopped, 1 it cannot start, 2 the command line is wrong.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from brokerkit.config import Config

USUAL = "0.0.0.0"  # noqa: S104  as the original


@click.command("kastlex")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Directory for what lasts.")
@click.option("--interface", default=USUAL, show_default=True, help="Address to listen at.")
@click.option("--topic", "topics", multiple=True, metavar="NAME[:PARTITIONS]", help="Make a topic that is not there.")
@click.option("--keep", multiple=True, metavar="PATTERN", help="Make topics of such names when they are first used.")
def kastlex(data_dir: Path | None, interface: str, topics: tuple[str, ...], keep: tuple[str, ...]) -> None:
    """Run KastleX's API as the variables KASTLEX_... say.

    Messages are kept in the data directory. Topics have to be there before anybody produces to them, as with KastleX:
    --topic makes one, --keep lets them come by themselves, and `brokerkit topic create` makes them while it runs.
    """
    from brokerkit.cli import kastlex_environment, kastlex_program
    from brokerkit.place import default_directory

    try:
        told = kastlex_environment.read(os.environ)
        directory = (data_dir or default_directory()).absolute()
        wanted = [kastlex_program.topic_of(text) for text in topics]
        config = config_of(told, directory, interface, keep)
        for warning in told.warnings:
            click.echo(f"brokerkit: warning: {warning}", err=True)
        code = kastlex_program.serve(config, told, wanted)
    except OperatorError as error:
        raise SystemExit(f"brokerkit: {error}") from None
    raise SystemExit(code)


def config_of(told: object, directory: Path, interface: str, keep: tuple[str, ...]) -> Config:
    """Give the configuration that the variables stand for; raise ``ConfigError``."""
    from brokerkit.cli.kastlex_environment import Told
    from brokerkit.config import Config, Listen
    from brokerkit.endpoints import with_files
    from brokerkit.keep import Keep
    from brokerkit.keep_tables import checked

    assert isinstance(told, Told)  # noqa: S101  imported here, so that the help is quick
    where = f":interface={interface.replace(':', chr(92) + ':')}"
    listen = [Listen("kafka", f"tcp:port={told.http}{where}", settings=told.settings)]
    if told.https is not None:
        endpoint = with_files(f"tls:port={told.https}{where}", told.key, told.certificate)
        chain = f":chain={told.chain.replace(':', chr(92) + ':')}" if told.chain else ""
        listen.append(Listen("kafka", endpoint + chain, settings=told.settings))
    rules = checked((Keep(topics=keep),), "--keep") if keep else ()
    return Config(name="kastlex", data_dir=str(directory), keep=rules, listen=tuple(listen), source="environment")
