"""From where and when a user may connect, as its terms say it.

Hours are those of a zone, of this machine's if none is named.  A span that ends before it begins goes over midnight.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from brokerkit.jwts.fields import BadJwt

if TYPE_CHECKING:
    from datetime import tzinfo


def check_address(networks: tuple[str, ...], address: str) -> None:
    """Raise ``BadJwt`` for an address that is in none of the networks, if there are any."""
    if not networks:
        return
    try:
        host = ip_address(address)
        inside = any(host in ip_network(network, strict=False) for network in networks)
    except ValueError:  # a network that is none, or a peer without an address
        inside = False
    if not inside:
        raise BadJwt("from an address that it does not allow")


def until(hours: tuple[tuple[str, str], ...], zone: str, now: float) -> float:
    """Give the moment at which the span of hours ends that it is in now; 0 if there are no hours.

    Raises ``BadJwt`` outside of all spans.
    """
    if not hours:
        return 0.0
    here = datetime.fromtimestamp(now, UTC).astimezone(_zone(zone))
    ends = [end for start, end in (_today(here, *span) for span in hours) if start <= here < end]
    before = [end for start, end in (_today(here - timedelta(days=1), *span) for span in hours) if start <= here < end]
    if not (ends or before):
        raise BadJwt("at an hour that it does not allow")
    return max(end.timestamp() for end in (*ends, *before))


def _zone(name: str) -> tzinfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadJwt("with hours of a zone that is not known") from None


def _today(day: datetime, start: str, end: str) -> tuple[datetime, datetime]:
    """Give when a span begins on that day, and when it ends."""
    try:
        first, last = time.fromisoformat(start), time.fromisoformat(end)
    except ValueError:
        raise BadJwt("with hours that are none") from None
    begins = datetime.combine(day.date(), first, day.tzinfo)
    ends = datetime.combine(day.date(), last, day.tzinfo)
    return begins, ends + timedelta(days=1) if last < first else ends
