"""What the monitoring remembers: connections that have ended, and what they had counted.

There is one memory for each broker.  It holds the last ten thousand ends, as nats-server does by default, and the sums
of all of them by tenant; so nothing that was counted is lost, and nothing grows.  Whatever still goes on is read off
the sessions when somebody asks.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import attrs

from brokerkit.protocols.nats.monitor.reasons import SLOW, STALE
from brokerkit.protocols.nats.monitor.seen import Seen, look
from brokerkit.tenant import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerkit.broker import Broker
    from brokerkit.session import Session

REMEMBERED = 10_000  # ends of connections
FEW = 1000  # connections whose sums are made whenever somebody asks
AGAIN = 1.0  # seconds after which those of more are made again: it takes milliseconds, and anybody may ask


@attrs.define
class Sums:
    """What connections have counted together."""

    connections: int = 0
    subscriptions: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    slow: int = 0

    def add(self, seen: Seen) -> None:
        """Add the traffic of one connection."""
        self.messages_in += seen.messages_in
        self.messages_out += seen.messages_out
        self.bytes_in += seen.bytes_in
        self.bytes_out += seen.bytes_out

    def add_open(self, session: Session) -> None:
        """Add what a connection that is there has counted so far: what ``look`` reads, without a record."""
        self.connections += 1
        self.messages_in += session.messages
        self.bytes_in += session.received
        self.bytes_out += session.outbox.sent
        client = session.client
        if client is not None:
            self.messages_out += client.delivered
            self.subscriptions += len(client.subscriptions)

    def plus(self, other: Sums) -> Sums:
        """Give both together."""
        return Sums(*(a + b for a, b in zip(attrs.astuple(self), attrs.astuple(other), strict=True)))


class Memory:
    """The ends of connections, and the sums of them."""

    def __init__(self, broker: Broker) -> None:
        """Begin to remember; hear of ends as a watcher of the census."""
        self._broker = broker
        self.ended_ones: deque[Seen] = deque(maxlen=REMEMBERED)
        self.past: dict[str, Sums] = {}  # by tenant
        self.reasons: Counter[str] = Counter()
        self._summed: dict[str, Sums] = {}
        self._summed_at = -AGAIN

    def end(self, session: Session) -> Seen:
        """Take note of the end of a connection, and give what it was."""
        seen = look(session, self._broker.reactor.seconds())
        self.ended_ones.append(seen)
        self.reasons[seen.reason] += 1
        sums = self.past.setdefault(seen.tenant or DEFAULT, Sums())
        sums.add(seen)
        sums.slow += seen.reason in SLOW
        return seen

    @property
    def slow(self) -> int:
        """The readers that were given up."""
        return sum(self.reasons[reason] for reason in SLOW)

    @property
    def stale(self) -> int:
        """The connections that no longer answered."""
        return self.reasons[STALE]

    def sums(self) -> dict[str, Sums]:
        """Give what was counted until now, by tenant; of many connections, until less than a second ago."""
        now = self._broker.reactor.seconds()
        if len(self._broker.census.there) <= FEW or not 0 <= now - self._summed_at < AGAIN:
            self._summed, self._summed_at = self._sum_up(), now
        return self._summed

    def _sum_up(self) -> dict[str, Sums]:
        there: dict[str, Sums] = {}
        for session in self._broker.census.there.values():
            tenant = session.client.user.tenant if session.client is not None else DEFAULT
            sums = there.get(tenant)
            if sums is None:
                sums = there[tenant] = Sums()
            sums.add_open(session)
        nothing = Sums()
        return {
            tenant: self.past.get(tenant, nothing).plus(there.get(tenant, nothing)) for tenant in (self.past | there)
        }

    def total(self) -> Sums:
        """Give what was counted until now, by all."""
        total = Sums()
        for sums in self.sums().values():
            total = total.plus(sums)
        return total

    def recent(self) -> Iterator[Seen]:
        """Give the connections that have ended, in the order of their ends."""
        return iter(tuple(self.ended_ones))
