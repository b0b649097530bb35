"""The files that say where a server is: its process id, and the ports that it listens on."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from brokerkit.broker import Broker

NAME = "nats-server"
_KINDS = {"nats": "nats", "nats-monitor": "monitoring", "nats-websocket": "websocket"}
_SCHEMES = {"nats": ("nats", "tls"), "nats-monitor": ("http", "https"), "nats-websocket": ("ws", "wss")}
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104  what a client takes for every address


def ports(broker: Broker) -> dict[str, list[str]]:
    """Give where a broker listens, by nats-server's names for the kinds."""
    found: dict[str, list[str]] = {}
    for service in broker.services:
        protocol = getattr(service, "protocol", "nats-monitor" if hasattr(service, "base_path") else "")
        if protocol in _KINDS and service.address:
            secure = bool(getattr(service, "is_tls", False) or getattr(service, "secure", False))
            host, _, port = service.address.rpartition(":")
            url = f"{scheme(protocol, secure=secure)}://{_ANYWHERE.get(host, host)}:{port}"
            found.setdefault(_KINDS[protocol], []).append(url)
    return found


def scheme(protocol: str, *, secure: bool) -> str:
    """Give what a URL of that protocol begins with."""
    return _SCHEMES[protocol][secure]


def ports_file(directory: str) -> Path:
    """Give the path of the file for this process."""
    return Path(directory) / f"{NAME}_{os.getpid()}.ports"


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all: others wait for it; raise ``OperatorError``."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="ascii")
        draft.replace(path)
    except (OSError, ValueError) as error:
        with suppress(OSError):
            draft.unlink()
        raise OperatorError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from None


def write_pid(path: str) -> None:
    """Write the process id there; raise ``OperatorError``."""
    write(Path(path), str(os.getpid()))


def write_ports(directory: str, broker: Broker) -> None:
    """Write who listens where; raise ``OperatorError``."""
    write(ports_file(directory), json.dumps(ports(broker), separators=(",", ":")))


def remove_ports(directory: str) -> None:
    """Take the file away again."""
    with suppress(OSError):
        ports_file(directory).unlink()
