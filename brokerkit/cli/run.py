"""``brokerkit run``: ``twistd -n brokerkit``, and without a configuration everything at its usual port on loopback."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from brokerkit.errors import OperatorError
from brokerkit.place import default_directory, prepare


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("-c", "--config", type=click.Path(dir_okay=False), help="TOML file that says everything.")
@click.option("--data-dir", type=click.Path(file_okay=False), help="Directory for what lasts.")
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def run(config: str | None, data_dir: str | None, flags: tuple[str, ...]) -> None:
    """Run a broker until it is interrupted.

    Without --config every protocol listens on loopback at its usual port, and a user "demo" with a random secret is
    made at the first start.  Further FLAGS are those of `twistd brokerkit` (--nats ENDPOINT, --auth SOURCE, ...); a
    protocol that is given an endpoint there listens on that one instead.
    """
    try:
        arguments = _with_file(config, data_dir) if config else _by_itself(data_dir, flags)
    except OperatorError as error:
        raise SystemExit(f"brokerkit: {error}") from None
    _twistd([*arguments, *flags])


def _with_file(config: str, data_dir: str | None) -> list[str]:
    return ["--config", config, *(["--data-dir", data_dir] if data_dir else [])]


def _by_itself(data_dir: str | None, flags: tuple[str, ...]) -> list[str]:
    """Give the flags that make a broker out of nothing."""
    from brokerkit.plugin import protocols

    directory = Path(data_dir) if data_dir else default_directory()
    sources = prepare(directory.absolute())
    chosen = {flag[2:].partition("=")[0] for flag in flags if flag.startswith("--")}
    arguments = ["--data-dir", str(directory.absolute())]
    if "auth" not in chosen:
        for source in sources:
            arguments += "--auth", source
    if not chosen & set(protocols()):
        for name, plugin in protocols().items():
            if plugin.default and getattr(plugin, "by_itself", True):
                arguments += f"--{name}", plugin.default
    return arguments


def _twistd(arguments: list[str]) -> None:
    """Become twistd."""
    from twisted.scripts.twistd import run as twistd

    sys.argv = ["twistd", "-n", "--pidfile=", "brokerkit", "--table", *arguments]
    twistd()
