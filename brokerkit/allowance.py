"""How much one user may have and do, beyond what every listener allows: connections, subscriptions, bytes, messages.

What a user publishes too fast is not refused: its sender is read from later, as for a slow reader.  A user without an
allowance costs the message path one comparison.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit.errors import OverAllowance

if TYPE_CHECKING:
    from brokerkit.run import Run

BURST = 1.0  # seconds' worth of messages that may be published ahead of the rate


@attrs.frozen
class Allowance:
    """The limits of one user; 0 stands for no limit, and -1 (subscriptions, payload) for nothing at all.

    ``connections`` and ``subscriptions`` (of each connection) are numbers, ``payload`` is bytes without headers,
    ``rate`` is messages in a second that each connection may publish.
    """

    connections: int = 0
    subscriptions: int = 0
    payload: int = 0
    rate: float = 0.0

    def within(self, other: Allowance) -> Allowance:
        """Give the narrower of the two, limit by limit."""
        if other is UNBOUNDED:
            return self
        pairs = zip(attrs.astuple(self), attrs.astuple(other), strict=True)
        return Allowance(*(min(one or two, two or one) for one, two in pairs))


UNBOUNDED = Allowance()


class Meter:
    """What one connection publishes, held against its user's allowance."""

    __slots__ = ("_now", "_owed", "_paid_until", "_payload", "_rate")

    def __init__(self, payload: int, rate: float) -> None:
        """Take the limits; 0 stands for none."""
        self._payload = payload
        self._rate = rate
        self._owed = 0.0  # seconds that what was published since the last `wait` should have taken
        self._paid_until = 0.0  # the moment until which everything published before has been waited for
        self._now = 0.0

    @classmethod
    def of(cls, allowance: Allowance, former: Meter | None = None) -> Meter | None:
        """Give a meter if there is anything to measure; it goes on where the connection's former one was."""
        if not (allowance.payload or allowance.rate):
            return None
        meter = cls(allowance.payload, allowance.rate)
        if former is not None and allowance.rate:
            meter._take_over(former)
        return meter

    def _take_over(self, former: Meter) -> None:
        self._owed, self._paid_until, self._now = former._owed, former._paid_until, former._now

    def fitting(self, run: Run) -> int:
        """Give the number of messages of a run up to the first one whose payload is too large."""
        if self._payload:
            for i, message in enumerate(run):
                if len(message.payload) > self._payload:
                    return i
        return len(run)

    def too_large(self) -> OverAllowance:
        """Give the error that answers a payload which is too large."""
        return OverAllowance(f"payloads of this user are at most {self._payload} bytes")

    def count(self, messages: int) -> None:
        """Count what is published."""
        if self._rate:
            self._owed += messages / self._rate

    def wait(self, now: float) -> float:
        """Give the seconds from ``now`` on that the sender is not to be read from; 0 or less for none."""
        if now < self._now:  # the clock has been set back
            self._paid_until -= self._now - now
        self._now = now
        self._paid_until = max(self._paid_until, now - BURST) + self._owed
        self._owed = 0.0
        return self._paid_until - now
