"""The broker: one turn, one portal, the routers behind it, and the services that listen.

It can be run by twistd or be a part of another program: build it from a ``Config`` (``brokerkit.app.make_broker``),
``start`` it, ask ``listeners`` where they listen, and use ``client`` to publish and subscribe without a socket.
"""

from __future__ import annotations

from secrets import choice
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.cred.credentials import IAnonymous
from twisted.cred.portal import Portal
from twisted.internet.defer import gatherResults, maybeDeferred
from twisted.logger import Logger

from brokerkit.census import Census
from brokerkit.checkers.first_match import DEADLINE, FirstMatch
from brokerkit.checkers.source import Joins
from brokerkit.client import Client, User
from brokerkit.errors import OperatorError
from brokerkit.grants import ALL, Grants
from brokerkit.hashing import Hashing
from brokerkit.interfaces import IAnonymousRequest, IDelegated, IJwt, INkeySignature
from brokerkit.listener import Listener
from brokerkit.logins import Logins
from brokerkit.place import LOG
from brokerkit.reading import Reading
from brokerkit.realm import Mind, Realm
from brokerkit.renewal import Renewal
from brokerkit.revocation import Revocation
from brokerkit.run import Origin
from brokerkit.tenants import Tenants
from brokerkit.throttle import Throttle
from brokerkit.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from pathlib import Path

    from twisted.cred.checkers import ICredentialsChecker
    from twisted.cred.credentials import ICredentials
    from twisted.internet.defer import Deferred
    from zope.interface.interface import InterfaceClass

    from brokerkit.keeping import Keeping
    from brokerkit.log import Log
    from brokerkit.log.groups import Groups
    from brokerkit.registry import Registry
    from brokerkit.registry.announce import Announcer
    from brokerkit.registry.questions import Questions
    from brokerkit.tally import Tally

log = Logger()

BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class Broker(MultiService):
    """A service that holds the heart together; its children are the listeners and the sources of users."""

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401  any reactor, also a test's
        checkers: Iterable[ICredentialsChecker],
        name: str = "brokerkit",
        *,
        login_deadline: float = DEADLINE,
    ) -> None:
        """Build the heart.  ``reactor`` is used for ports and as the clock; ``login_deadline`` is in seconds."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.reactor = reactor
        self.name = name
        self.server_id = "N" + "".join(choice(BASE32) for _ in range(55))  # in the form of a public key of NATS
        self.started: float = reactor.seconds()  # since 1970
        self.census = Census()
        # What services can be asked for at the control socket, by its word.
        self.requests: dict[str, Callable[[Mapping[str, Any]], Awaitable[dict[str, object]]]] = {}
        self.reread: Callable[[], None] = lambda: None  # what takes a changed [[keep]]; raises OperatorError
        self.reload: Callable[[], None] = self.look_again  # what reads the configuration again; raises OperatorError
        self.turn = Turn()
        self.tally: Tally | None = None  # set before anybody connects, where counts by name are wanted
        self.reading = Reading(reactor, self.turn)
        self.realm = Realm(self.turn, reactor)
        self.tenants = Tenants(self.realm, reactor)
        self.checkers = tuple(checkers)
        self.hashing = Hashing(reactor)
        self.hashing.setServiceParent(self)  # type: ignore[no-untyped-call]
        self.users = FirstMatch(self.checkers, reactor, self.hashing.fits, login_deadline)
        for checker in self.checkers:
            if isinstance(checker, Joins):
                checker.join(self)
        self.throttle = Throttle(reactor)
        self.logins = Logins(Portal(self.realm, [self.users]), self.throttle)
        self.revocation = Revocation(self.realm, self.users, reactor)
        self.revocation.setServiceParent(self)  # type: ignore[no-untyped-call]
        self.directory: Path | None = None  # for what lasts; set before anybody asks for the registry
        self.registry_prefix = b"registry"  # where its changes are told; empty: nowhere.  Set as early as that
        self.registry_tenant = ""  # whose it is: there its changes are told.  Set as early as that
        self._registry: Registry | None = None
        self.announcer: Announcer | None = None
        self.questions: Questions | None = None
        self._log: Log | None = None
        self._keeping: Keeping | None = None
        self._groups: Groups | None = None
        self.renewal = Renewal(reactor)
        self.renewal.setServiceParent(self)  # type: ignore[no-untyped-call]

    @property
    def listeners(self) -> list[Listener]:
        """The stream listeners, in the order of the configuration."""
        return [service for service in self.services if isinstance(service, Listener)]

    @property
    def listening(self) -> list[Any]:
        """All that listens for a protocol, of whatever kind, in that order: each has ``protocol`` and ``address``."""
        return [one for one in self.services if hasattr(one, "protocol") and hasattr(one, "address")]

    def listener(self, protocol: str) -> Listener:
        """Give the first listener of a protocol; raise ``KeyError`` if there is none."""
        for listener in self.listeners:
            if listener.protocol == protocol:
                return listener
        raise KeyError(protocol)

    @property
    def registry(self) -> Registry:
        """The registry of names and JSON objects, made when it is first asked for; in memory without a directory.

        A listener that needs it asks for it when it is made, so that the registry is started first.
        """
        if self._registry is None:
            from brokerkit.registry import Registry

            path = self.directory / "registry.sqlite" if self.directory is not None else None
            self._registry = Registry(path, self.reactor)
            self._registry.setServiceParent(self)  # type: ignore[no-untyped-call]
            if self.registry_prefix:
                self._tell_of(self._registry, self.registry_prefix)
        return self._registry

    def _tell_of(self, registry: Registry, prefix: bytes) -> None:
        """Publish what changes in the registry, and answer questions, among the topics of its tenant."""
        from brokerkit.registry.announce import Announcer, reserved
        from brokerkit.registry.questions import Questions

        router = self.realm.router(self.registry_tenant)
        router.reserved = own = reserved(prefix)
        self.realm.look_again(self.registry_tenant)
        self.announcer = Announcer(registry, router, self.turn, prefix)
        self.questions = Questions(registry, router, self.turn, own.asking)

    @property
    def has_registry(self) -> bool:
        """Whether somebody has asked for the registry."""
        return self._registry is not None

    @property
    def log(self) -> Log:
        """The log of what is kept, made when it is first asked for; in memory without a directory."""
        if self._log is None:
            from brokerkit.log import Log
            from brokerkit.log.words import Limits

            path = self.directory / LOG if self.directory is not None else None
            self._log = Log(path, self.reactor, Limits())
            self._log.setServiceParent(self)  # type: ignore[no-untyped-call]
        return self._log

    @property
    def keeping(self) -> Keeping:
        """What brings messages from the routers to the log, made when it is first asked for, with the log.

        A listener that needs it asks for it when it is made, so that it is started first.
        """
        if self._keeping is None:
            from brokerkit.keeping import Keeping

            self._keeping = Keeping(self.log, self.realm, self.reactor)
            self._keeping.setServiceParent(self)  # type: ignore[no-untyped-call]
        return self._keeping

    @property
    def groups(self) -> Groups:
        """The consumer groups of the log, made when they are first asked for."""
        if self._groups is None:
            from brokerkit.log.groups import Groups

            self._groups = Groups(self.log, self.reactor)
            self._groups.setServiceParent(self)  # type: ignore[no-untyped-call]
        return self._groups

    @property
    def has_log(self) -> bool:
        """Whether somebody has asked for the log."""
        return self._log is not None

    @property
    def has_groups(self) -> bool:
        """Whether somebody has asked for the consumer groups."""
        return self._groups is not None

    @property
    def admits_anonymous(self) -> bool:
        """Whether some source of users lets a peer in that gives no credentials."""
        return self._takes(IAnonymous)

    @property
    def admits_requests(self) -> bool:
        """Whether some source of users lets a request over HTTP in that shows no credentials."""
        return self._takes(IAnonymousRequest)

    @property
    def takes_nkeys(self) -> bool:
        """Whether some source of users knows public keys, so that a nonce has to be offered."""
        return self._takes(INkeySignature)

    @property
    def takes_jwts(self) -> bool:
        """Whether some source of users takes JWTs of NATS, so that a nonce has to be offered."""
        return self._takes(IJwt)

    def _takes(self, kind: InterfaceClass) -> bool:
        """Say whether some source takes credentials of a kind now; what one could take is no matter of today."""
        return any(kind in getattr(one, "offered", one.credentialInterfaces) for one in self.checkers)

    @property
    def delegates(self) -> bool:
        """Whether somebody else is asked who may log in."""
        return IDelegated in self.users.credentialInterfaces

    def look_again(self) -> None:
        """Have what looks whether its files have changed do so now: the certificates, and such sources of users.

        The file of the configuration is read again, too, for what of it can be taken while the broker runs.
        """
        self.renewal.look()
        for checker in self.checkers:
            look = getattr(checker, "look", None)
            if look is not None:
                look()
        try:
            self.reread()
        except OperatorError as error:
            log.error("what stood in the configuration before stays: {error}", error=str(error))

    def login(self, credentials: ICredentials, mind: Mind) -> Deferred[Client]:
        """Ask the portal for the client of these credentials; fails with ``UnauthorizedLogin``.

        ``TryAgain`` among those says nothing about the credentials.
        """
        return self.logins.login(credentials, mind)

    def client(self, name: str = "local", grants: Grants = ALL, tenant: str = "") -> Client:
        """Give a client for the program that embeds this broker: no login, no socket.  ``leave`` it when done."""
        user = User(name.encode(), "program", grants, tenant=tenant)
        return Client(user, self.realm.router(tenant), self.turn, origin=Origin.CLIENT)

    def lame_duck(self, duration: float | None = None, grace: float | None = None) -> Deferred[None]:
        """Put every stream listener into lame duck mode (``Listener.lame_duck``); done when all clients are gone."""
        ends = [listener.lame_duck(duration, grace) for listener in self.listeners]
        return gatherResults(ends).addCallback(lambda _: None)

    async def start(self) -> None:
        """Start everything, or nothing; raise ``OperatorError`` when a port cannot be opened, with all closed again."""
        try:
            self.privilegedStartService()
            self.startService()
        except BaseException:
            await self.stop()
            raise

    def stopService(self) -> Deferred[None]:
        """Stop the services, the listeners among them."""
        self.census.will_stop()
        return super().stopService()  # type: ignore[no-untyped-call,no-any-return]

    async def stop(self) -> None:
        """Stop everything; done when every connection is closed."""
        await maybeDeferred(self.stopService)
