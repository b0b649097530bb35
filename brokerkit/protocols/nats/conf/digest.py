"""The digest of a configuration that nats-server shows: of what it says, not of how it is written."""

from __future__ import annotations

import json
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokerkit.protocols.nats.conf.tree import Value

_ESCAPED = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def digest(value: Value) -> str:
    """Give it as nats-server does: SHA-256 over the JSON that Go makes of the map."""
    text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).translate(_ESCAPED)
    return "sha256:" + sha256(text.encode(errors="replace") + b"\n").hexdigest()


def _plain(value: Value) -> Any:  # noqa: ANN401  what JSON has
    data = value.data
    if isinstance(data, dict):
        return {key: _plain(pair.value) for key, pair in data.items()}
    if isinstance(data, list):
        return [_plain(one) for one in data]
    if isinstance(data, datetime):
        return f"{data:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(data, float) and data.is_integer():
        return int(data)
    return data
