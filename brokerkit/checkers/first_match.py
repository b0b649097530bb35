"""Several sources of users as one: asked in order, until one knows the name.

``Portal`` keeps one checker for each kind of credentials, and the last one wins in silence; so it gets this one alone.

Which source a name belongs to must not depend on the weather: an answer that takes time is waited for before the next
source is asked, and a source that cannot answer ends the login.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin, UnhandledCredentials
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from brokerkit.errors import OperatorError, WrongSecret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.cred.credentials import ICredentials

log = Logger()


class SourceFailed(UnauthorizedLogin):
    """A source of users could not be asked, so it is not known whose name this is."""


@implementer(ICredentialsChecker)
class FirstMatch:
    """Asks each checker that takes such credentials, in order.

    ``UnknownUser`` (like any plain ``UnauthorizedLogin``, which is all that a foreign checker can say) leads on to the
    next one; a user, or ``WrongSecret``, is the answer.
    """

    def __init__(self, checkers: Iterable[ICredentialsChecker]) -> None:
        """Take the checkers, the first to be asked first."""
        self.checkers = tuple(checkers)
        kinds = (kind for checker in self.checkers for kind in checker.credentialInterfaces)
        self.credentialInterfaces = tuple(dict.fromkeys(kinds))
        self._failed: dict[int, int] = {}  # index of a checker → logins that it failed in a row

    def requestAvatarId(self, credentials: ICredentials) -> Deferred[object]:  # type: ignore[override]
        """Give the answer of the first one that knows; it is there already if all that were asked answered at once."""
        return Deferred.fromCoroutine(self._ask(credentials))

    async def _ask(self, credentials: ICredentials) -> object:
        for index, checker in enumerate(self.checkers):
            if not any(kind.providedBy(credentials) for kind in checker.credentialInterfaces):
                continue
            try:
                user = await maybeDeferred(checker.requestAvatarId, credentials)
            except (WrongSecret, SourceFailed):
                self._answered(index)
                raise
            except (UnauthorizedLogin, UnhandledCredentials):
                self._answered(index)
            except Exception as error:
                # Not on to the next source: while this one is down, a user of the same name in a later source, with
                # another secret and other rights, would be let in in its place.
                self._complain(index, error)
                raise SourceFailed(_source(checker)) from error
            else:
                self._answered(index)
                return user
        raise UnauthorizedLogin

    def _complain(self, index: int, error: Exception) -> None:
        """Log the first failure in a row: how many more follow is for the peers to decide, who may try very often."""
        count = self._failed[index] = self._failed.get(index, 0) + 1
        if count > 1:
            return
        source = _source(self.checkers[index])
        if isinstance(error, OperatorError):
            log.error("{source}: users cannot be looked up: {error}", source=source, error=error)
        else:
            log.failure("{source}: users cannot be looked up", source=source)

    def _answered(self, index: int) -> None:
        count = self._failed.pop(index, 0)
        if count:
            source = _source(self.checkers[index])
            log.info("{source}: users can be looked up again; {count} logins failed", source=source, count=count)


def _source(checker: ICredentialsChecker) -> str:
    return str(getattr(checker, "source", type(checker).__name__))
