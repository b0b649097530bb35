"""Durations as Go writes them: ``10s``, ``1h30m``, ``300ms``."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PIECE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
LONGEST = 2**63 / 1e9  # seconds


def seconds(text: str) -> float:
    """Give a duration in seconds; raise ``ValueError`` if it is none."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    pieces = list(_PIECE.finditer(rest))
    if not pieces or "".join(piece[0] for piece in pieces) != rest:
        raise ValueError("a duration such as 10s, 1h30m or 300ms is expected")
    total = sum(float(piece[1]) * _UNITS[piece[2]] for piece in pieces)
    if total >= LONGEST:
        raise ValueError("a duration of less than 292 years is expected")
    return sign * total
