"""Logging in: the portal behind a throttle, with a bound on how many are being decided at once."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail

from brokerkit.errors import Expired, NotHere, Throttled, TooBusy, TooManyConnections, TryAgain
from brokerkit.interfaces import IClient, IToken

if TYPE_CHECKING:
    from twisted.cred.credentials import ICredentials
    from twisted.cred.portal import Portal
    from twisted.python.failure import Failure

    from brokerkit.client import Client
    from brokerkit.realm import Mind
    from brokerkit.throttle import Throttle

IN_FLIGHT = 1024  # logins that may wait for a source of users at once
FROM_ONE = 64  # of those, from one address: a failure is only known when it is decided, and nobody may take all places


class Logins:
    """Every login of every protocol goes through here."""

    def __init__(self, portal: Portal, throttle: Throttle) -> None:
        """Ask that portal, as far as the throttle lets through."""
        self._portal = portal
        self._throttle = throttle
        self.in_flight = 0
        self.too_busy = 0
        self._from: Counter[str] = Counter()  # logins that are being decided, by the address that they come from

    def login(self, credentials: ICredentials, mind: Mind) -> Deferred[Client]:
        """Give the client of these credentials; fails with ``UnauthorizedLogin``."""
        name = _named(credentials)
        if not self._throttle.admits(mind.address, name):
            return fail(Throttled())
        if self.in_flight >= IN_FLIGHT or self._from[mind.address] >= FROM_ONE:
            self.too_busy += 1
            return fail(TooBusy())
        self.in_flight += 1
        if mind.address:
            self._from[mind.address] += 1
        decision: Deferred[Any] = self._portal.login(credentials, mind, IClient)
        return decision.addCallbacks(self._let_in, self._refused, (mind, name), {}, (mind, name))

    def _let_in(self, login: tuple[Any, Client, Any], mind: Mind, name: bytes) -> Client:
        self._decided(mind.address)
        self._throttle.succeeded(mind.address, name)
        return login[1]

    def _refused(self, failure: Failure, mind: Mind, name: bytes) -> Failure:
        self._decided(mind.address)
        if failure.check(UnauthorizedLogin) and not failure.check(TryAgain, Expired, NotHere, TooManyConnections):
            self._throttle.failed(mind.address, name)
        return failure

    def _decided(self, address: str) -> None:
        self.in_flight -= 1
        if address:
            self._from[address] -= 1
            if not self._from[address]:
                del self._from[address]


def _named(credentials: Any) -> bytes:  # noqa: ANN401  any; some have a name
    """Give whom the credentials name, for the throttle; nothing where they name nobody.

    A token names its user by itself, so each is a name of its own; that one was right says nothing of others.
    """
    if IToken.providedBy(credentials):
        return b"\0" + sha256(credentials.token).digest()
    name: bytes = getattr(credentials, "username", b"")
    return name
