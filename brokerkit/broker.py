"""The broker: one turn, one portal, the routers behind it, and the services that listen.

It can be run by twistd or be a part of another program: build it from a ``Config`` (``brokerkit.app.make_broker``),
``start`` it, ask ``listeners`` where they listen, and use ``client`` to publish and subscribe without a socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.cred.credentials import IAnonymous
from twisted.cred.portal import Portal
from twisted.internet.defer import maybeDeferred

from brokerkit.checkers.first_match import FirstMatch
from brokerkit.client import Client, User
from brokerkit.grants import ALL, Grants
from brokerkit.interfaces import IClient
from brokerkit.listener import Listener
from brokerkit.reading import Reading
from brokerkit.realm import Mind, Realm
from brokerkit.run import Origin
from brokerkit.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.cred.checkers import ICredentialsChecker
    from twisted.cred.credentials import ICredentials
    from twisted.internet.defer import Deferred


class Broker(MultiService):
    """A service that holds the heart together; its children are the listeners and the sources of users."""

    def __init__(self, reactor: Any, checkers: Iterable[ICredentialsChecker], name: str = "brokerkit") -> None:  # noqa: ANN401
        """Build the heart.  ``reactor`` is used for ports and as the clock."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.reactor = reactor
        self.name = name
        self.turn = Turn()
        self.reading = Reading(reactor, self.turn)
        self.realm = Realm(self.turn)
        self.checkers = tuple(checkers)
        self._checker = FirstMatch(self.checkers)
        self._portal = Portal(self.realm, [self._checker])

    @property
    def listeners(self) -> list[Listener]:
        """The stream listeners, in the order of the configuration."""
        return [service for service in self.services if isinstance(service, Listener)]

    def listener(self, protocol: str) -> Listener:
        """Give the first listener of a protocol; raise ``KeyError`` if there is none."""
        for listener in self.listeners:
            if listener.protocol == protocol:
                return listener
        raise KeyError(protocol)

    @property
    def admits_anonymous(self) -> bool:
        """Whether some source of users lets a peer in that gives no credentials."""
        return IAnonymous in self._checker.credentialInterfaces

    def look_again(self) -> None:
        """Have the sources of users that can look whether they have changed do so now, instead of in a while."""
        for checker in self.checkers:
            look = getattr(checker, "look", None)
            if look is not None:
                look()

    def login(self, credentials: ICredentials, mind: Mind) -> Deferred[Client]:
        """Ask the portal for the client of these credentials; fails with ``UnauthorizedLogin``."""
        decision: Deferred[Any] = maybeDeferred(self._portal.login, credentials, mind, IClient)
        return decision.addCallback(_avatar)

    def client(self, name: str = "local", grants: Grants = ALL, tenant: str = "") -> Client:
        """Give a client for the program that embeds this broker: no login, no socket.  ``leave`` it when done."""
        user = User(name.encode(), "program", grants, tenant=tenant)
        return Client(user, self.realm.router(tenant), self.turn, origin=Origin.CLIENT)

    async def start(self) -> None:
        """Start everything, or nothing; raise ``OperatorError`` when a port cannot be opened, with all closed again."""
        try:
            self.privilegedStartService()
            self.startService()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop everything; done when every connection is closed."""
        await maybeDeferred(self.stopService)


def _avatar(login: tuple[Any, Client, Any]) -> Client:
    return login[1]
