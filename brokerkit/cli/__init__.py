"""The ``brokerkit`` command: ``run`` starts a broker, ``pub`` and ``sub`` talk to one.

Exit codes: 0 done, 1 the broker refused, 2 the command line is wrong, 3 no broker could be reached, 4 time ran out.
"""

from __future__ import annotations

import click

from brokerkit import __version__
from brokerkit.cli.run import run
from brokerkit.cli.talk import pub, sub


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="brokerkit")
def main() -> None:
    """Run a message broker for several protocols, and talk to it."""


for command in (run, pub, sub):
    main.add_command(command)
