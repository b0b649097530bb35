"""From a user to a client: the realm that the portal asks, with the outbox as the mind.

The portal gives back the client and, as its logout, ``leave``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs
from twisted.cred.portal import IRealm
from zope.interface import implementer

from brokerkit.client import Client, User
from brokerkit.errors import Expired, NotHere, TenantFull, TooManyConnections, UnknownUser
from brokerkit.interfaces import IClient
from brokerkit.router import Router
from brokerkit.run import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from zope.interface.interface import InterfaceClass

    from brokerkit.allowance import Allowance
    from brokerkit.outbox import Outbox
    from brokerkit.turn import Turn


@attrs.frozen
class Mind:
    """The other side of a login: where its client's frames go, what kind of party it is, and its address if it has one.

    The address is a host without a port, the protocol that of a listener.
    """

    outbox: Outbox | None = None
    origin: Origin = Origin.CLIENT
    address: str = ""
    protocol: str = ""
    tenant: str | None = None  # that users have to be of, if it matters here


@implementer(IRealm)
class Realm:
    """Makes clients, each within the router of its user's tenant, and knows those that are there."""

    def __init__(self, turn: Turn, clock: IReactorTime) -> None:
        """Begin with no tenants: a router is made when its first user logs in.  The clock says what time it is."""
        self.turn = turn
        self.routers: dict[str, Router] = {}
        self.told: list[Callable[[str], None]] = []  # called with the name of each tenant that has come to be
        self.clients: dict[tuple[str, bytes], dict[Client, None]] = {}  # by source and name of the user
        self.population: Counter[str] = Counter()  # clients that have logged in, by tenant
        self._most: dict[str, int] = {}  # of them
        self._clock = clock

    def router(self, tenant: str) -> Router:
        """Give the router of a tenant."""
        router = self.routers.get(tenant)
        if router is None:
            router = self.routers[tenant] = Router()
            for told in self.told:
                told(tenant)
        return router

    def limit(self, tenant: str, connections: int, limits: Allowance) -> None:
        """Have no more clients in a tenant than that, and hold each of them to ``limits``; 0 stands for none.

        Those who are here stay, even if they are too many.
        """
        self._most[tenant] = connections
        router = self.router(tenant)
        if router.limits == limits:
            return
        router.limits = limits
        for there in self.clients.values():
            for client in there:
                if client.router is router:
                    client.measure()

    def requestAvatar(  # type: ignore[override]  # the interface is typed as a class, which no interface is
        self, avatarId: object, mind: object, *interfaces: InterfaceClass
    ) -> tuple[InterfaceClass, Client, Callable[[], None]]:
        """Give the client of a user; a source of users that gives anything else than a ``User`` lets nobody in."""
        if IClient not in interfaces:
            raise NotImplementedError(interfaces)
        if not isinstance(avatarId, User):
            raise UnknownUser(avatarId)
        if not isinstance(mind, Mind):
            mind = Mind()
        self._admit(avatarId, mind)
        client = Client(avatarId, self.router(avatarId.tenant), self.turn, mind.outbox, mind.origin)
        self.clients.setdefault((avatarId.source, avatarId.name), {})[client] = None
        self.population[avatarId.tenant] += 1
        client.left = self._forget
        return IClient, client, client.leave

    def _admit(self, user: User, mind: Mind) -> None:
        """Raise ``Expired``, ``NotHere`` or ``TooManyConnections`` where the user is known, but may not come in now."""
        if 0 < user.valid_until <= self._clock.seconds():
            raise Expired(user.name)
        if user.protocols and mind.protocol not in user.protocols:
            raise NotHere(user.name, f"may not come by {mind.protocol or 'this protocol'}")
        if mind.tenant not in {None, user.tenant}:
            raise NotHere(user.name, f"is of the tenant {user.tenant!r}, and here {mind.tenant!r} is served")
        there = self.clients.get((user.source, user.name), {})
        # The same connection may log in again.
        again = mind.outbox is not None and any(client.outbox is mind.outbox for client in there)
        if 0 < user.allowance.connections <= len(there) - again:
            raise TooManyConnections(user.name)
        if 0 < self._most.get(user.tenant, 0) <= self.population[user.tenant] - again:
            raise TenantFull(user.name)

    def has(self, client: Client) -> bool:
        """Say whether a client of a login is still there."""
        return client in self.clients.get((client.user.source, client.user.name), ())

    def look_again(self, tenant: str) -> None:
        """Decide anew what the clients of a tenant may do: what its router reserves is another."""
        router = self.router(tenant)
        there = [client for clients in self.clients.values() for client in clients if client.router is router]
        with self.turn:
            for client in there:
                client.become(client.user)

    def _forget(self, client: Client) -> None:
        key = (client.user.source, client.user.name)
        there = self.clients.get(key)
        if there is not None:
            if there.pop(client, self) is None:
                self.population[client.user.tenant] -= 1
            if not there:
                del self.clients[key]
