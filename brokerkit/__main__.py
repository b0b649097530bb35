"""``python -m brokerkit`` is the ``brokerkit`` command."""

from brokerkit.cli import main

main(prog_name="brokerkit")
