"""Where a broker of this user keeps its things, and how ``pub`` and ``sub`` find the one that is running.

The data directory holds ``users.json`` and, while a broker runs, ``running.json``: which protocol listens where.
Both are for the owner's eyes alone.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from brokerkit.errors import OperatorError

DEMO = "demo"


def default_directory() -> Path:
    """Give ``$BROKERKIT_DATA_DIR``, systemd's ``$STATE_DIRECTORY``, or the usual place below the home directory."""
    for variable in ("BROKERKIT_DATA_DIR", "STATE_DIRECTORY"):
        if given := os.environ.get(variable):
            return Path(given)
    share = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(share) / "brokerkit"


def write_private(path: Path, content: str) -> None:
    """Write a file whole or not at all, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
    draft.replace(path)


def prepare(directory: Path) -> Path:
    """Make the directory and, at the first start, the demo user; give the file of users."""
    users = directory / "users.json"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not users.exists():
            demo = {"owner": "", "secret": secrets.token_urlsafe(18), "publish": [">"], "subscribe": [">"]}
            write_private(users, json.dumps({DEMO: demo}, indent=2) + "\n")
    except OSError as error:
        text = f"{directory}: the data directory cannot be used: {error.strerror}; give another with --data-dir"
        raise OperatorError(text) from None
    return users


def demo_secret(directory: Path) -> str:
    """Give the secret of the demo user; empty if there is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((directory / "users.json").read_text())[DEMO]["secret"])
    return ""


def say_running(directory: Path, addresses: dict[str, str]) -> None:
    """Write down what listens where (protocol → host:port)."""
    write_private(directory / "running.json", json.dumps({"pid": os.getpid(), "listening": addresses}) + "\n")


def say_stopped(directory: Path) -> None:
    """Remove what ``say_running`` wrote."""
    with suppress(OSError):
        (directory / "running.json").unlink()


def running(directory: Path) -> dict[str, str]:
    """Give what listens where, as far as a running broker has written it down."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        data: dict[str, Any] = json.loads((directory / "running.json").read_text())
        return {str(name): str(address) for name, address in data["listening"].items()}
    return {}
