"""The users that nats-server's file and flags name, as a source of users that can be given others while it runs.

Where nobody is named, everybody may come in, as with nats-server; whether that is so may change with a reload, so this
one source stands for both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from twisted.cred.credentials import IAnonymous

from brokerkit.checkers.in_memory import InMemory
from brokerkit.checkers.known import EVERY_KIND, USUAL, Known, Users
from brokerkit.client import User
from brokerkit.grants import ALL, Grants
from brokerkit.hashing import is_hash
from brokerkit.interfaces import IAnonymousRequest
from brokerkit.permissions import grants
from brokerkit.protocols.nats.conf.rights import with_defaults
from brokerkit.protocols.nats.conf.server import Person
from brokerkit.protocols.nats.conf.tree import Place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zope.interface.interface import InterfaceClass

    from brokerkit.grants import Rule
    from brokerkit.protocols.nats.conf.server import Permissions, Server

ANONYMOUS = b"anonymous"
TOKEN = "token"  # noqa: S105  the name of whoever has the token
_BCRYPT = re.compile(r"\$2[abxy]\$\d\d\$")

OPEN: tuple[InterfaceClass, ...] = (IAnonymous, IAnonymousRequest)


class ServerUsers(InMemory):
    """Knows the users of a ``Server``; ``take`` gives it those of another one."""

    credentialInterfaces: tuple[InterfaceClass, ...] = (*OPEN, *EVERY_KIND)

    def __init__(self, server: Server) -> None:
        """Take the users; nobody logs in before the broker is started."""
        self.source = f"users in {server.source}"
        self.version: int = 0
        self._places: dict[bytes, Place] = {}
        self.offered: tuple[InterfaceClass, ...] = ()
        self._fill(server)

    def take(self, server: Server) -> None:
        """Put other users in the place of those that were known; who is here is held against them."""
        self._fill(server)
        self.version += 1

    def _fill(self, server: Server) -> None:
        people = list(everybody(server))
        self._places = {_name(one): one.place for one in people}
        self.is_open = not people and not server.operator.place and not server.authorization.callout
        token = server.authorization.token
        known = [self._known(one, server) for one in people]
        if token:
            permissions = server.authorization.permissions or server.authorization.default_permissions
            user = User(TOKEN.encode(), self.source, _grants(permissions))
            known.append(_with_token(user, token))
            self.is_open = False
        self._users = Users(known)
        self._anybody = Known(User(ANONYMOUS, self.source, ALL))
        kinds = EVERY_KIND if any(one.nkey for one in people) else USUAL
        self.offered = (*OPEN, *USUAL) if self.is_open else kinds

    def _known(self, person: Person, server: Server) -> Known:
        user = User(
            _name(person),
            self.source,
            _grants(person.permissions),
            tenant=tenant_of(person.account, server),
            protocols=person.protocols,
        )
        hashed = is_bcrypt(person.password)
        return Known(
            user,
            b"" if hashed else person.password.encode(errors="surrogateescape"),
            password_hash=person.password if hashed else "",
            public_keys=(person.nkey,) if person.nkey else (),
        )

    def find(self, credentials: Any) -> Known | None:  # noqa: ANN401  any that it takes
        """Give the user whom the credentials name; where nobody is named, anybody is let in."""
        if self.is_open:
            return self._anybody
        if any(kind.providedBy(credentials) for kind in OPEN):
            return None
        return super().find(credentials)

    def users(self, names: Iterable[bytes]) -> dict[bytes, Known]:
        """Give those of the names that are known."""
        if self.is_open:
            return {name: self._anybody for name in names if name == ANONYMOUS}
        return super().users(names)

    def decide(self, known: Known | None, credentials: Any) -> Any:  # noqa: ANN401
        """Give the user; where everybody may come in, nothing has to fit."""
        if known is self._anybody:
            return known.proven()
        return super().decide(known, credentials)

    def where(self, name: bytes, action: str, rule: Rule | None) -> str:  # noqa: ARG002
        """Give file, line and column of the user."""
        place = self._places.get(name)
        return str(place) if place is not None else self.source


def everybody(server: Server) -> Iterable[Person]:
    """Give all users that are named, each with the permissions that it has in the end."""
    authorization = server.authorization
    default = authorization.default_permissions
    if authorization.user or authorization.password:
        place = authorization.place or Place(server.source, 0, 0)
        permissions = authorization.permissions or default
        yield Person(place, authorization.user, authorization.password, permissions=permissions)
    for person in authorization.users:
        yield with_defaults(person, default)
    for account in server.accounts.values():
        for person in account.users:
            yield with_defaults(person, account.default_permissions)


def tenant_of(account: str, server: Server) -> str:
    """Give what the account is called here: the system's has a name of its own."""
    from brokerkit.tenant import SYSTEM

    return SYSTEM if account == server.system_account else account


def is_bcrypt(secret: str) -> bool:
    """Say whether a password or token is a hash of one."""
    return bool(_BCRYPT.match(secret)) or is_hash(secret)


def _with_token(user: User, token: str) -> Known:
    return Known(user, token_hash=token) if is_bcrypt(token) else Known(user, token=token.encode())


def _name(person: Person) -> bytes:
    return (person.nkey or person.name).encode(errors="surrogateescape")


def _grants(permissions: Permissions | None) -> Grants:
    if permissions is None:
        return ALL
    return grants(permissions.publish, permissions.subscribe, permissions.responses)
