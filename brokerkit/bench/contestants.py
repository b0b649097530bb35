"""Who takes part: brokerkit, with and without its compiled modules, and the peers that are installed here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import brokerkit
from brokerkit.bench.servers import Broker

BIN = Path(sys.executable).parent
PURE = "brokerkit, pure"
_SECONDS = 10  # that a program may take to say its version


def contestants(protocol: str, *, users: str = "", pure: bool = False) -> list[Broker]:
    """Return brokerkit and, last, its peer for a protocol, installed or not; *users* is another source than usual.

    *pure* asks for brokerkit without its compiled modules as well, if it has any.
    """
    ours = ours_for(protocol, users or ("anonymous" if protocol == "nats" else "env"))
    peer = nats_server() if protocol == "nats" else _hpfeeds_broker(users or "env")
    return [ours, *([without_compiled(ours)] if pure and has_compiled() else []), peer]


def has_compiled() -> bool:
    """Say whether there are compiled modules to measure."""
    from brokerkit import compiled

    return compiled.heart is not None


def without_compiled(ours: Broker) -> Broker:
    """Return the same broker with its compiled modules switched off."""
    return replace(ours, name=PURE, settings={**ours.settings, "BROKERKIT_PURE": "1"})


def ours_for(protocol: str, checker: str, endpoint: str = "tcp:port=0:interface=127.0.0.1", *more: str) -> Broker:
    """Return brokerkit with one listener."""
    # hpfeeds-broker always counts for Prometheus, by user and channel, so brokerkit has to do it beside it.
    counting = ("--exporter", "127.0.0.1:{exporter}") if protocol == "hpfeeds" else ()
    return Broker(
        "brokerkit",
        protocol,
        which(BIN / "twistd", "twistd"),
        ("-n", "--pidfile=", "brokerkit", f"--{protocol}", endpoint, "--auth", checker, *counting, *more),
        announces=rf"{protocol} listening on \S+:(\d+).*brokerkit ready",
        version=brokerkit.__version__,
    )


def nats_server() -> Broker:
    """Return nats-server: that of $NATS_SERVER, or on the path, or where Go or ``make nats-server`` has put it."""
    named, usual = os.environ.get("NATS_SERVER", ""), Path.home() / "go/bin/nats-server"
    program = which(named, "nats-server", usual, BIN / "nats-server")
    return Broker(
        "nats-server",
        "nats",
        program,
        ("-a", "127.0.0.1", "-p", "-1"),
        announces=r"Listening for client connections on \S+:(\d+).*Server is ready",
        version=_version(program, "--version"),
    )


def _hpfeeds_broker(users: str) -> Broker:
    endpoint = "tcp:port={port}:interface=127.0.0.1"
    exporter = "127.0.0.1:{exporter}"  # without one it opens port 8080 to the world
    return Broker(
        "hpfeeds-broker",
        "hpfeeds",
        program := which(BIN / "hpfeeds-broker", "hpfeeds-broker"),
        ("-e", endpoint, "--exporter", exporter, "--auth", users),
        version=_distribution(program, "hpfeeds"),
    )


def which(*candidates: str | Path) -> Path | None:
    """Return the first candidate that can be executed."""
    found = (shutil.which(candidate) for candidate in candidates if str(candidate))
    return next((Path(path) for path in found if path), None)


def _version(program: Path | None, flag: str) -> str:
    """Return the version that a program says of itself, empty if it says none."""
    if program is None:
        return ""
    try:
        command = [str(program), flag]
        said = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+(\.\d+)+\S*", said)
    return found[0] if found else ""


def _distribution(program: Path | None, name: str) -> str:
    """Return the version of a program that is installed beside this one."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name) if program is not None else ""
    except PackageNotFoundError:
        return ""
