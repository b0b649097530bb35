"""How much one user may ask for in a second: requests, and bytes both ways, whatever connections they come by.

Each user has a balance that fills at its rate, up to a few seconds' worth.  A request that is admitted may overdraw it,
by its body and its answer, and then the next ones are refused until it is full again: 429, with the time to wait.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.web import Problem

if TYPE_CHECKING:
    from brokerkit.client import Client
    from brokerkit.web import Asked
    from brokerkit.web.connection import Connection

    Payer = tuple[str, bytes, str]

AHEAD = 2.0  # seconds' worth that may be asked for at once
USERS = 10_000  # whose balances are remembered; the one that was heard of longest ago gives way


@attrs.define(eq=False)
class _Balance:
    requests: float
    bytes: float
    at: float


class Quotas:
    """The balances of one listener's users; ``refused`` counts requests."""

    def __init__(self, clock: Any, requests: float, size: float) -> None:  # noqa: ANN401  any reactor
        """Allow so many requests and bytes in a second, 0 for no bound."""
        self.refused = 0
        self._clock = clock
        self._requests = requests
        self._bytes = size
        self._balances: OrderedDict[Payer, _Balance] = OrderedDict()
        self._payers: dict[Connection, Payer] = {}

    @property
    def bounds(self) -> bool:
        """Whether there is any bound."""
        return bool(self._requests or self._bytes)

    def charge(self, client: Client, asked: Asked) -> None:
        """Take a request into account; raise ``Problem`` 429 if it is too much."""
        if not self.bounds:
            return
        user = client.user
        payer = (user.tenant, user.name, user.source)
        balance = self._balance(payer)
        wait = 0.0
        if self._requests and balance.requests < 1:
            wait = (1 - balance.requests) / self._requests
        if self._bytes and balance.bytes <= 0:
            wait = max(wait, (1 - balance.bytes) / self._bytes)
        if wait:
            self.refused += 1
            detail = "you may ask for more in a while"
            raise Problem(429, "Too Many Requests", detail, headers={"retry-after": str(max(1, math.ceil(wait)))})
        balance.requests -= 1
        balance.bytes -= len(asked.body)
        if self._bytes:
            self._pays(asked.connection, payer)

    def _pays(self, connection: Connection, payer: Payer) -> None:
        """Remember who pays for the answers of a connection, which come one at a time."""
        if connection not in self._payers:
            connection.on_lost(lambda: self._forget(connection))
        self._payers[connection] = payer

    def _forget(self, connection: Connection) -> None:
        self._payers.pop(connection, None)

    def spend(self, connection: Connection, size: int) -> None:
        """Take bytes of an answer into account."""
        payer = self._payers.get(connection)
        if payer is not None:
            self._balance(payer).bytes -= size

    def _balance(self, payer: Payer) -> _Balance:
        now = self._clock.seconds()
        most_requests, most_bytes = max(1.0, AHEAD * self._requests), AHEAD * self._bytes
        balance = self._balances.get(payer)
        if balance is None:
            balance = self._balances[payer] = _Balance(most_requests, most_bytes, now)
            if len(self._balances) > USERS:
                self._balances.popitem(last=False)
            return balance
        self._balances.move_to_end(payer)
        passed = max(0.0, now - balance.at)
        balance.requests = min(most_requests, balance.requests + passed * self._requests)
        balance.bytes = min(most_bytes, balance.bytes + passed * self._bytes)
        balance.at = now
        return balance
