"""Example of an extension: it registers agents, each with a key of its own that is made here.

To try it::

    brokerkit bpbroker install-extension --script agents.py
    echo '{"agents": {"_access_key": "SECRET", "file": "/var/lib/agents/keys"}}' | brokerkit bpbroker configure
    brokerkit bpclient -b HOST:20443 -a SECRET execute --method agents.Add --data "$HOSTNAME" > client.keys

The file has a line for each agent: number, name, address, key.  What a caller says goes into that file, so it is looked
at first, and nothing that is not the name of a host gets in.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Any

import bpbroker  # what the broker offers to extensions

# Labels of letters, digits and hyphens, none at either end, 63 characters each, 253 in all: RFC 1123.
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST = re.compile(rf"{LABEL}(?:\.{LABEL})*", re.ASCII)
LONGEST = 253
USUAL = "/var/lib/agents/keys"
WORDS = 4  # in a line


def Add(rh: Any) -> None:
    """Register the agent that calls; answer with its line, the same one each time."""
    name = rh.qs.get("data", "").lower()
    if len(name) > LONGEST or not HOST.fullmatch(name):
        _refuse(rh, 400, "data has to be the name of a host")
        return
    address = rh.RequestingHost()
    with bpbroker.config.rlock:
        path = Path(bpbroker.config.data["agents"].get("file", USUAL))
        agents = _read(path)
        known = next((agent for agent in agents if agent[1] == name), None)
        if known is not None and known[2] != address:
            _refuse(rh, 409, "this name is registered from another address")
            return
        if known is None:
            number = max((int(agent[0]) for agent in agents), default=0) + 1
            known = [f"{number:03}", name, address, secrets.token_hex(32)]
            _write(path, [*agents, known])
    rh.content_type = "text/plain"
    rh.data = " ".join(known) + "\n"


def _refuse(rh: Any, status: int, message: str) -> None:
    rh.status = status
    rh.status_message = message


def _read(path: Path) -> list[list[str]]:
    """Give the lines of the file, each as its words."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return []
    return [words for words in map(str.split, lines) if len(words) == WORDS]


def _write(path: Path, agents: list[list[str]]) -> None:
    """Write the file whole or not at all, on disk, for its owner's eyes alone."""
    number, draft = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="ascii") as file:
            file.writelines(" ".join(agent) + "\n" for agent in agents)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink()
        raise
