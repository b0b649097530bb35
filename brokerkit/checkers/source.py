"""A source of users: it finds a record, and the credentials are held against that.

A source says who is known (``find`` for a login, ``users`` for whoever wants to know what is true now); whether the
credentials fit is decided here, once for all sources.  Each source is a ``twisted.cred`` checker by that.  Foreign
checkers can stand beside it; of them nothing is known but their answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.internet.defer import Deferred
from zope.interface import implementer

from brokerkit.checkers.known import USUAL, fits, octets
from brokerkit.errors import UnknownUser, WrongSecret
from brokerkit.hashing import check
from brokerkit.interfaces import IToken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from twisted.cred.credentials import ICredentials
    from zope.interface.interface import InterfaceClass

    from brokerkit.broker import Broker
    from brokerkit.checkers.known import Known
    from brokerkit.client import User
    from brokerkit.grants import Rule


@runtime_checkable
class Joins(Protocol):
    """A source of users that has to know its broker: it knows of tenants, too, or has others asked."""

    def join(self, broker: Broker) -> None:
        """Hear, once, which broker it is a source of; nothing of that has been started."""


async def check_here(hashed: str, password: bytes) -> bool:
    """Check a password on the spot: what a source does until a broker lends it threads."""
    return check(hashed, password)


@implementer(ICredentialsChecker)
class Source:
    """What all sources of users are; each says ``source``, ``find`` and ``users``, and what else it can.

    ``version`` is a number that grows when users may have changed; ``None`` where that cannot be noticed, so that it
    has to be asked.  ``sample`` is some password hash that is in use, so that a check for nobody takes as long.
    All names that a source has of topics lie under ``prefix``.
    """

    credentialInterfaces: tuple[InterfaceClass, ...] = USUAL
    source = ""
    sample = ""
    version: int | None = 0
    prefix = b""
    check_hash: Callable[[str, bytes], Awaitable[bool]] = staticmethod(check_here)

    def find(self, credentials: Any) -> Known | Deferred[Known | None] | None:  # noqa: ANN401  any that it takes
        """Give the record of the user whom the credentials name, or ``None``; may take time, and fail."""
        raise NotImplementedError

    def users(self, names: Iterable[bytes]) -> Mapping[bytes, Known] | Deferred[Mapping[bytes, Known]]:
        """Give the records of those of the names that are known now; may take time, and fail."""
        raise NotImplementedError

    def names(self) -> list[bytes] | Deferred[list[bytes]] | None:
        """Give the names of all users; ``None`` where that cannot be said (any name may be known)."""
        return None

    def where(self, name: bytes, action: str, rule: Rule | None) -> str:  # noqa: ARG002
        """Say where a rule of a user stands, or the user if no rule is given: file and line, table and row."""
        return self.source

    def requestAvatarId(self, credentials: ICredentials) -> Any:  # noqa: ANN401
        """Give the user of the credentials, at once where nothing takes time.

        Raises, or fails with, ``UnknownUser`` or ``WrongSecret``.
        """
        found = self.find(credentials)
        if isinstance(found, Deferred):
            return found.addCallback(self.decide, credentials)
        return self.decide(found, credentials)

    def decide(self, known: Known | None, credentials: Any) -> User | Deferred[User]:  # noqa: ANN401
        """Give the user of a record that ``find`` gave, if the credentials fit it; a hash takes time to check.

        Raises, or fails with, ``UnknownUser``, ``WrongSecret`` or ``TryAgain``.
        """
        if known is None:
            raise UnknownUser
        if fits(known, credentials):
            return known.proven()
        if known.password_hash and IUsernamePassword.providedBy(credentials):
            return Deferred.fromCoroutine(self._check(known, credentials))
        if known.token_hash and IToken.providedBy(credentials):
            return Deferred.fromCoroutine(self._check_token(known, credentials))
        raise WrongSecret(known.user.name)

    async def _check(self, known: Known, credentials: Any) -> User:  # noqa: ANN401
        if not await self.check_hash(known.password_hash, octets(credentials.password)):
            raise WrongSecret(known.user.name, checked=True)
        return known.proven()

    async def _check_token(self, known: Known, credentials: Any) -> User:  # noqa: ANN401
        """Check a token; one that does not fit may be another source's, since it names nobody."""
        if not await self.check_hash(known.token_hash, credentials.token):
            raise UnknownUser
        return known.proven()

    def again(self, user: User, known: User | None) -> User | None:  # noqa: ARG002  a source's own may look at it
        """Give what is true now of a user who has logged in before, ``None`` if nothing is.

        ``known`` is what ``users`` says of the name.
        """
        return known
