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


@click.group(cls=Late, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="brokerkit")
def main() -> None:
    """Run a message broker for several protocols, and talk to it."""
