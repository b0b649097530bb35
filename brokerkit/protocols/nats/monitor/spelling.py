"""Times, durations and names as nats-server's JSON has them, so that what reads it need not know the difference.

A moment is RFC 3339 in UTC, an uptime is like ``1d2h3m4s``, a short duration is like Go writes it (``655µs``), and the
tenant that has no name is the account ``$G``.
"""

from __future__ import annotations

from datetime import UTC, datetime

from brokerkit.tenant import DEFAULT

GLOBAL_ACCOUNT = "$G"
NANOSECONDS = 1_000_000_000
_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))


def moment(seconds: float) -> str:
    """Give a time, in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def uptime(seconds: float) -> str:
    """Give how long something has lasted, in whole seconds: years have 365 days, and leading zeros are left out."""
    whole = max(int(seconds), 0)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    y, d = divmod(days, 365)
    parts = [(y, "y"), (d, "d"), (h, "h"), (m, "m"), (s, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return "".join(f"{number}{unit}" for number, unit in parts)


def duration(seconds: float) -> str:
    """Give a duration of less than a minute as Go writes one, to the microsecond."""
    if seconds <= 0:
        return "0s"
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size), _UNITS[-1])
    digits = f"{seconds / size:.6f}" if unit == "s" else f"{seconds / size:.3f}"
    return digits.rstrip("0").rstrip(".") + unit


def nanoseconds(seconds: float) -> int:
    """Give a duration as the number that Go's JSON has for it."""
    return round(seconds * NANOSECONDS)


def account(tenant: str | None) -> str:
    """Give the name of a tenant's account; who has not logged in is in none, which is called as the default."""
    return tenant or GLOBAL_ACCOUNT


def tenant(name: str) -> str:
    """Undo ``account``."""
    return DEFAULT if name == GLOBAL_ACCOUNT else name


def text(name: bytes) -> str:
    """Give a name as it can stand in JSON; bytes that are no UTF-8 are replaced."""
    return name.decode(errors="replace")
