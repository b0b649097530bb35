"""The ``brokerkit`` command: ``run`` starts a broker, ``pub`` and ``sub`` talk to one.

Exit codes: 0 done, 1 the broker refused, 2 the command line is wrong, 3 no broker could be reached, 4 time ran out,
130 interrupted before it was done.

A command is imported when it is called or when help is asked for: one that has to be up within a second does not wait
for what the others need.
"""

from __future__ import annotations

from importlib import import_module

import click

from brokerkit import __version__

# What each is called, and where its click command is.
COMMANDS = {
    "run": "brokerkit.cli.run:run",
    "pub": "brokerkit.cli.talk:pub",
    "sub": "brokerkit.cli.talk:sub",
    "user": "brokerkit.cli.user:user",
    "auth": "brokerkit.cli.auth:auth",
    "acl": "brokerkit.cli.acl:acl",
    "hpfeeds": "brokerkit.cli.hpfeeds:hpfeeds",
    "hpfeeds-broker": "brokerkit.cli.hpfeeds_broker:hpfeeds_broker",
    "nats-server": "brokerkit.cli.nats_server:nats_server",
    "bpbroker": "brokerkit.cli.bpbroker:bpbroker",
    "bpclient": "brokerkit.cli.bpclient:bpclient",
    "links": "brokerkit.cli.links:links",
    "kastlex": "brokerkit.cli.kastlex:kastlex",
    "token": "brokerkit.cli.token:token",
    "hashpw": "brokerkit.cli.hashpw:hashpw",
    "log": "brokerkit.cli.log:log",
    "topic": "brokerkit.cli.topic:topic",
    "produce": "brokerkit.cli.produce:produce",
    "consume": "brokerkit.cli.consume:consume",
    "group": "brokerkit.cli.group:group",
    "bench": "brokerkit.cli.bench:bench",
}


class Late(click.Group):
    """A group whose commands are imported when they are wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Give the names of all."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Give one by its name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


def _say_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """Say which version this is, and whether the compiled modules are in use."""
    if asked:
        from brokerkit.compiled import variant

        click.echo(f"brokerkit, version {__version__} ({variant()})")
        ctx.exit()


@click.group(cls=Late, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_version,
    help="Show the version, and whether compiled modules are in use, and exit.",
)
def main() -> None:
    """Run a message broker for several protocols, and talk to it."""
