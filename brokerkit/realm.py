"""From a user to a client: the realm that the portal asks, with the outbox as the mind.

The portal gives back the client and, as its logout, ``leave``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from twisted.cred.portal import IRealm
from zope.interface import implementer

from brokerkit.client import Client, User
from brokerkit.errors import UnknownUser
from brokerkit.interfaces import IClient
from brokerkit.router import Router
from brokerkit.run import Origin

if TYPE_CHECKING:
    from collections.abc import Callable

    from zope.interface.interface import InterfaceClass

    from brokerkit.outbox import Outbox
    from brokerkit.turn import Turn


@attrs.frozen
class Mind:
    """The other side of a login: where its client's frames go, and what kind of party it is."""

    outbox: Outbox | None = None
    origin: Origin = Origin.CLIENT


@implementer(IRealm)
class Realm:
    """Makes clients, each within the router of its user's tenant."""

    def __init__(self, turn: Turn) -> None:
        """Begin with no tenants: a router is made when its first user logs in."""
        self.turn = turn
        self.routers: dict[str, Router] = {}

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
        client = Client(avatarId, self.router(avatarId.tenant), self.turn, mind.outbox, mind.origin)
        return IClient, client, client.leave
