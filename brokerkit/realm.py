"""From a user to a client: the realm that the portal asks, with the outbox as the mind.

The portal gives back the client and, as its logout, ``leave``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from twisted.cred.portal import IRealm
from zope.interface import implementer

from brokerkit.client import Client, User
from brokerkit.errors import Expired, TooManyConnections, UnknownUser
from brokerkit.interfaces import IClient
from brokerkit.router import Router
from brokerkit.run import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from zope.interface.interface import InterfaceClass

    from brokerkit.outbox import Outbox
    from brokerkit.turn import Turn


@attrs.frozen
class Mind:
    """The other side of a login: where its client's frames go, what kind of party it is, and its address if it has one.

    The address is a host without a port.
    """

    outbox: Outbox | None = None
    origin: Origin = Origin.CLIENT
    address: str = ""


@implementer(IRealm)
class Realm:
    """Makes clients, each within the router of its user's tenant, and knows those that are there."""

    def __init__(self, turn: Turn, clock: IReactorTime) -> None:
        """Begin with no tenants: a router is made when its first user logs in.  The clock says what time it is."""
        self.turn = turn
        self.routers: dict[str, Router] = {}
        self.clients: dict[tuple[str, bytes], dict[Client, None]] = {}  # by source and name of the user
        self._clock = clock

    def router(self, tenant: str) -> Router:
        """Give the router of a tenant."""
        router = self.routers.get(tenant)
        if router is None:
            router = self.routers[tenant] = Router()
        return router

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
        client.left = self._forget
        return IClient, client, client.leave

    def _admit(self, user: User, mind: Mind) -> None:
        """Raise ``Expired`` or ``TooManyConnections`` where the user is known, but may not come in now."""
        if 0 < user.valid_until <= self._clock.seconds():
            raise Expired(user.name)
        most = user.allowance.connections
        if most:
            there = self.clients.get((user.source, user.name), {})
            # The same connection may log in again.
            others = (client.outbox is None or client.outbox is not mind.outbox for client in there)
            if len(there) >= most and sum(others) >= most:
                raise TooManyConnections(user.name)

    def has(self, client: Client) -> bool:
        """Say whether a client of a login is still there."""
        return client in self.clients.get((client.user.source, client.user.name), ())

    def _forget(self, client: Client) -> None:
        key = (client.user.source, client.user.name)
        there = self.clients.get(key)
        if there is not None:
            there.pop(client, None)
            if not there:
                del self.clients[key]
