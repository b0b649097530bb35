"""Who asks: an access key, a token or a password in a request, held against the ordinary sources of users.

The header counts before the parameter: what stands in a query ends up in logs and histories of others.  Who has logged
in stays so for as long as the connection lasts and shows the same, so that a busy client is looked up once; when its
right ends, so does the connection.

A broker that lets in whoever shows nothing lets in those with a wrong key as nobody, as the original does where no key
is set: they may do what everybody may.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import TYPE_CHECKING

import attrs
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin

from brokerkit.credentials import AnonymousRequest, Token
from brokerkit.errors import Throttled, TryAgain
from brokerkit.realm import Mind
from brokerkit.web import Problem

if TYPE_CHECKING:
    from twisted.cred.credentials import ICredentials

    from brokerkit.broker import Broker
    from brokerkit.client import Client, User
    from brokerkit.grants import Grants
    from brokerkit.web import Asked
    from brokerkit.web.connection import Connection

KEY = "access_key"  # the original's parameter
WRONG = "Incorrect access key"


@attrs.frozen
class Visitor:
    """Whose request it is; ``known`` says that it has shown a key that is somebody's."""

    client: Client
    known: bool

    def may(self, action: str, topic: bytes) -> bool:
        """Say whether it may do ``action`` with what has that topic."""
        return self.client.grants.permits(action, topic)

    def may_some(self, action: str) -> bool:
        """Say whether there is anything that it may do ``action`` with."""
        return bool(self.client.grants.access(action).allow)

    @property
    def name(self) -> str:
        """The user's name."""
        return self.client.user.name.decode(errors="replace")


class Lent:
    """The client of a connection, as long as one request needs it; the connection stays logged in behind it."""

    def __init__(self, visitor: Visitor) -> None:
        """Lend that visitor's."""
        self._client = visitor.client

    @property
    def grants(self) -> Grants:
        """What it may do now."""
        return self._client.grants

    @property
    def user(self) -> User:
        """Who it is."""
        return self._client.user

    def leave(self) -> None:
        """Give it back."""


@attrs.frozen
class _Shown:
    """What a request shows; compared with what was shown before."""

    kind: str
    secret: bytes = attrs.field(repr=False)
    name: bytes = b""

    def credentials(self) -> ICredentials:
        if self.kind == "nothing":
            return AnonymousRequest()
        return UsernamePassword(self.name, self.secret) if self.kind == "password" else Token(self.secret)


NOTHING = _Shown("nothing", b"")


class Door:
    """Lets visitors in; one for each listener."""

    def __init__(
        self, broker: Broker, *, query_keys: bool = True, protocol: str = "bpbroker", tenant: str | None = None
    ) -> None:
        """Ask that broker; without ``query_keys``, what a query shows does not count.

        Users may be bound to protocols, of which this is ``protocol``; of a ``tenant``, others' users are refused.
        """
        self._broker = broker
        self._mind = Mind(protocol=protocol, tenant=tenant)
        self._query_keys = query_keys
        self._inside: dict[Connection, tuple[_Shown, Visitor]] = {}

    def __len__(self) -> int:
        """Give the number of connections with somebody logged in."""
        return len(self._inside)

    async def admit(self, asked: Asked, key: str = "") -> Visitor:
        """Give whose request it is; ``key`` is what it shows as a parameter.

        Raises ``Problem``: 400 for an odd header, 401 where it is nobody who is let in, 429 and 503 where that cannot
        be decided now.
        """
        shown = read_shown(asked, key)
        there = self._inside.get(asked.connection)
        if there is not None and there[0] == shown:
            return there[1]
        visitor = await self._log_in(shown, asked.address)
        self._keep(asked.connection, shown, visitor)
        return visitor

    async def lend(self, asked: Asked) -> Lent:
        """Give what is asked for its rights and name, of a request that may show its key in the query, as ``admit``."""
        visitor = await self.admit(asked, asked.query.get(KEY, "") if self._query_keys else "")
        return Lent(visitor)

    async def _log_in(self, shown: _Shown, address: str) -> Visitor:
        mind = attrs.evolve(self._mind, address=address)
        if shown != NOTHING:
            try:
                return Visitor(await self._broker.login(shown.credentials(), mind), known=True)
            except UnauthorizedLogin as error:
                if not self._broker.admits_requests or _is_undecided(error):
                    raise refusal(error) from None
        if not self._broker.admits_requests:
            raise refusal()
        try:
            return Visitor(await self._broker.login(AnonymousRequest(), mind), known=False)
        except UnauthorizedLogin as error:
            raise refusal(error) from None

    def _keep(self, connection: Connection, shown: _Shown, visitor: Visitor) -> None:
        """Remember who is at that connection, and forget it with the connection or the right to be here."""
        if connection not in connection.site.connections:  # it has ended meanwhile
            visitor.client.leave()
            return
        former = self._inside.pop(connection, None)
        self._inside[connection] = (shown, visitor)
        if former is None:
            connection.on_lost(lambda: self._forget(connection))
        else:
            former[1].client.leave()

        def ended(_: str) -> None:
            there = self._inside.get(connection)
            if there is not None and there[1] is visitor:
                connection.close()

        visitor.client.ended = ended

    def _forget(self, connection: Connection) -> None:
        there = self._inside.pop(connection, None)
        if there is not None:
            there[1].client.leave()


def read_shown(asked: Asked, key: str) -> _Shown:
    """Give what a request shows, in its headers first; raise ``Problem`` 400 for a header that cannot be read."""
    if given := asked.header("x-access-key"):
        return _Shown("token", given.encode())
    kind, _, value = asked.header("authorization").partition(" ")
    value = value.strip()
    if kind.lower() == "bearer" and value:
        return _Shown("token", value.encode())
    if kind.lower() == "basic":
        return _basic(value)
    if kind:
        raise Problem(400, "Unknown Authorization", "Bearer and Basic are known")
    return _Shown("token", key.encode()) if key else NOTHING


def _basic(value: str) -> _Shown:
    try:
        name, colon, secret = b64decode(value, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        raise Problem(400, "Bad Authorization", "what follows Basic has to be base64") from None
    if not colon:
        raise Problem(400, "Bad Authorization", "what follows Basic has to hold a name, a colon and a secret")
    return _Shown("password", secret, name)


def _is_undecided(error: UnauthorizedLogin) -> bool:
    """Say whether a key may well be good, so that its holder must not be taken for nobody."""
    return isinstance(error, TryAgain) and not isinstance(error, Throttled)


def refusal(error: UnauthorizedLogin | None = None) -> Problem:
    """Give what is answered to a login that failed, or to who has shown nothing."""
    if isinstance(error, Throttled):
        return Problem(429, "Too Many Failed Logins", "try again later", headers={"retry-after": "60"})
    if isinstance(error, TryAgain):
        return Problem(503, "Logins Cannot Be Decided", "try again later", headers={"retry-after": "5"})
    return Problem(401, WRONG, headers={"www-authenticate": "Bearer"})
