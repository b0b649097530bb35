"""The ``brokerkit`` command: ``run`` starts a broker, ``pub`` and ``sub`` talk to one.

Exit codes: 0 done, 1 the broker refused, 2 the command line is wrong, 3 no broker could be reached, 4 time ran out,
130 interrupted before it was done.
"""

from __future__ import annotations

import click

from brokerkit import __version__
from brokerkit.cli.acl import acl
from brokerkit.cli.auth import auth
from brokerkit.cli.hpfeeds import hpfeeds
from brokerkit.cli.hpfeeds_broker import hpfeeds_broker
from brokerkit.cli.links import links
from brokerkit.cli.run import run
from brokerkit.cli.talk import pub, sub
from brokerkit.cli.user import user


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="brokerkit")
def main() -> None:
    """Run a message broker for several protocols, and talk to it."""


for command in (run, pub, sub, user, auth, acl, hpfeeds, hpfeeds_broker, links):
    main.add_command(command)
