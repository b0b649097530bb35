"""``python -m bench``: brokerkit beside its peers, on this machine, now."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import crowd, idle, kept, log, login, memory, registry, reload, secure, sensors, stall, stream, workload
from bench.brokers import brokers
from bench.goals import verdicts
from bench.page import write
from brokerkit.bench.cast import PROTOCOLS
from brokerkit.bench.contest import Options, say
from brokerkit.bench.servers import allow_files
from brokerkit.bench.tables import Section, as_json, markdown

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.bench.contest import Row

SCENARIOS: dict[str, tuple[str, Callable[[str, Options], list[Row]]]] = {
    "throughput": ("Throughput", workload.throughput),
    "secure": ("Throughput over TLS", secure.scenario),
    "loop": ("Closed loop", workload.loop),
    "sensors": ("Many sensors", sensors.scenario),
    "login": ("Logins", login.scenario),
    "reload": ("Ten thousand users", reload.scenario),
    "memory": ("Memory", memory.scenario),
    "idle": ("Ten thousand connections", idle.scenario),
    "crowd": ("A hundred thousand subscriptions", crowd.scenario),
    "stall": ("A reader that has stopped", stall.stalled_scenario),
    "slow": ("A slow but steady reader", stall.slow_scenario),
    "registry": ("The registry over HTTPS", registry.scenario),
    "kept": ("Kept topics", kept.scenario),
    "stream": ("Kept topics beside JetStream", stream.scenario),
    "log": ("The log over HTTP", log.scenario),
}
WITH_GOALS = ("throughput", "loop")  # scenarios that measure what has goals; both with and without compiled modules
# Scenarios that are about another protocol than those of messages.
ITS_OWN = {"registry": ("bpbroker",), "kept": ("kept",), "stream": ("stream",), "log": ("kafka",)}
EVERY = (*PROTOCOLS, "bpbroker", "kept", "stream", "kafka")
FILES = 16384  # open at once: five thousand connections, on both sides


def main() -> None:
    """Run what was asked for and print the tables."""
    arguments = _parser().parse_args()
    allow_files(FILES)
    options = Options(arguments.quick, arguments.rounds or (1 if arguments.quick else 5), arguments.goals)
    start, load = time.monotonic(), os.getloadavg()[0]
    sections = [
        _section(name, protocol, options)
        for name in arguments.only or (WITH_GOALS if arguments.goals else SCENARIOS)
        for protocol in arguments.protocol or EVERY
        if protocol in ITS_OWN.get(name, PROTOCOLS)
    ]
    sections = [section for section in sections if section.rows]  # not every protocol is in every scenario
    say(f"{time.monotonic() - start:.0f} s in all")
    command = _command(arguments)
    text = markdown(sections, command, load) + verdicts(sections)
    if arguments.output:
        write(arguments.output, text)
    sys.stdout.write(as_json(sections, command, load) + "\n" if arguments.json else text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="one short round of everything, in a minute")
    add("--goals", action="store_true", help="only what has a goal; each is said to be met or missed")
    add("--only", action="append", choices=SCENARIOS, metavar="NAME", help="+".join(SCENARIOS))
    add("--protocol", action="append", choices=EVERY, help="one protocol instead of all")
    add("--rounds", type=int, metavar="N", help="rounds per broker and case (5; quick: 1)")
    add("--output", type=Path, metavar="FILE", help="write the tables, between its markers if any")
    add("--json", action="store_true", help="print all values as JSON instead of the tables")
    return parser


def _command(arguments: argparse.Namespace) -> str:
    """Return the command that measures this again, without where its output went."""
    parts = ["python -m bench", *(f"--{flag}" for flag in ("quick", "goals") if getattr(arguments, flag))]
    for flag in ("only", "protocol"):
        parts += [f"--{flag} {value}" for value in getattr(arguments, flag) or ()]
    return " ".join(parts + ([f"--rounds {arguments.rounds}"] if arguments.rounds else []))


def _section(name: str, protocol: str, options: Options) -> Section:
    title, scenario = SCENARIOS[name]
    say(f"{title}, {protocol}")
    return Section(title, protocol, scenario(protocol, options), brokers(protocol, pure=name in WITH_GOALS))


if __name__ == "__main__":
    main()
