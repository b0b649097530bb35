"""The addresses that clients are told: HOST:PORT, or HOST alone, which then has the listener's own port."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import attrs

MAX_PORT = 0xFFFF
_ADDRESS = re.compile(r"(?P<host>[\w.-]+|\[[0-9a-fA-F:.%]+\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)


def read_address(text: str) -> tuple[str, int]:
    """Give host and port, 0 where none is said; raise ``ValueError`` saying what was expected."""
    found = _ADDRESS.fullmatch(text)
    port = int(found["port"] or 0) if found else 0
    if found is None or port > MAX_PORT:
        expected = "HOST:PORT or HOST, an IPv6 address in brackets"
        raise ValueError(expected)
    return found["host"].strip("[]"), port


def host_and_port(_: object, attribute: attrs.Attribute[str], text: str) -> None:
    """Refuse a setting that is neither empty nor an address."""
    if text:
        try:
            read_address(text)
        except ValueError as error:
            raise ValueError(f"{attribute.name}: {error}") from None


def joined(host: str, port: int) -> str:
    """Give HOST:PORT as clients read it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
