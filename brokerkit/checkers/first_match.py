"""Several sources of users as one: asked in order, until one knows the name.

``Portal`` keeps one checker for each kind of credentials, and the last one wins in silence; so it gets this one alone.

Which source a name belongs to must not depend on the weather: an answer that takes time is waited for before the next
source is asked, and a source that cannot answer, or not in time, ends the login without a verdict (``SourceFailed``).
A source that failed is left alone for a while, which grows as long as it goes on failing.
"""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING, Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin, UnhandledCredentials
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.defer import TimeoutError as TooSlow
from twisted.logger import Logger
from zope.interface import implementer

from brokerkit.checkers.in_memory import InMemory
from brokerkit.checkers.known import fits, octets
from brokerkit.checkers.source import Source, check_here
from brokerkit.errors import NotHere, OperatorError, SourceFailed, TooManyConnections, TryAgain, WrongSecret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from twisted.cred.credentials import ICredentials
    from twisted.internet.interfaces import IReactorTime

    from brokerkit.client import User

log = Logger()

DEADLINE = 1.5  # seconds: less than what a NATS client may take for all of its login
FIRST_REST = 0.25  # seconds that a source which failed is left alone, doubled with each failure
LONGEST_REST = 5.0


_NOBODYS = token_hex(8).encode()  # before a password: what is remembered of right ones must not shorten the check


class Asked:
    """One source, and how asking it has gone."""

    def __init__(self, checker: Any, clock: IReactorTime, deadline: float) -> None:  # noqa: ANN401  a checker
        """Take the source, and the seconds that an answer may take."""
        self.checker = checker
        self.name = str(getattr(checker, "source", type(checker).__name__))
        self.failures = 0
        self._clock = clock
        self._deadline = deadline
        self._takes: dict[type, bool] = {}  # by the class of credentials
        self._row = 0  # failures since it last answered
        self._rests_until = 0.0
        self._questions = 0
        self._old = 0  # the last question that was put before the last failure in the row: its answer is no news

    @property
    def up(self) -> bool:
        """Whether the last question was answered."""
        return not self._row

    def takes(self, credentials: ICredentials) -> bool:
        """Say whether it can do anything with such credentials."""
        kind = credentials.__class__
        takes = self._takes.get(kind)
        if takes is None:
            takes = any(each.providedBy(credentials) for each in self.checker.credentialInterfaces)
            self._takes[kind] = takes
        return takes

    async def ask(self, question: Callable[..., object], *arguments: object) -> Any:  # noqa: ANN401  its answer
        """Give the answer; raise what it says of the credentials, or ``SourceFailed`` if it cannot say anything."""
        if self._row and self._rests:
            raise SourceFailed(self.name)
        self._questions = number = self._questions + 1
        answer: Deferred[Any] = maybeDeferred(question, *arguments)
        if not answer.called or answer.paused:  # paused: it has been called, with another Deferred that has not
            answer.addTimeout(self._deadline, self._clock)
        try:
            result = await answer
        except CancelledError:  # whoever asked has gone; that is not the source's fault
            raise SourceFailed(self.name) from None
        except (UnauthorizedLogin, UnhandledCredentials) as error:
            if not isinstance(error, TryAgain):
                self._answered(number)
            raise
        except Exception as error:
            # Not on to the next source: while this one is down, a user of the same name in a later source, with
            # another secret and other rights, would be let in in its place.
            self._failed(error, number)
            raise SourceFailed(self.name) from error
        self._answered(number)
        return result

    @property
    def _rests(self) -> bool:
        left = self._rests_until - self._clock.seconds()
        return 0 < left <= LONGEST_REST  # more: the clock has been set back

    def _failed(self, error: Exception, number: int) -> None:
        """Log the first failure in a row: how many more follow is for the peers to decide, who may try very often."""
        self.failures += 1
        if number <= self._old:
            return
        self._old = self._questions
        self._row += 1
        rest = min(FIRST_REST * 2 ** min(self._row - 1, 10), LONGEST_REST)
        self._rests_until = self._clock.seconds() + rest
        if self._row > 1:
            return
        if isinstance(error, TooSlow):
            log.error("{source}: no answer in {deadline} s", source=self.name, deadline=self._deadline)
        elif isinstance(error, OperatorError):
            log.error("{source}: users cannot be looked up: {error}", source=self.name, error=error)
        else:
            log.failure("{source}: users cannot be looked up", source=self.name)

    def _answered(self, number: int) -> None:
        if self._row and number > self._old:
            count, self._row = self._row, 0
            log.info("{source}: users can be looked up again after {count} failures", source=self.name, count=count)


@implementer(ICredentialsChecker)
class FirstMatch:
    """Asks each checker that takes such credentials, in order.

    ``UnknownUser`` (like any plain ``UnauthorizedLogin``, which is all that a foreign checker can say) leads on to the
    next one; a user, or ``WrongSecret``, is the answer.
    """

    def __init__(
        self,
        checkers: Iterable[ICredentialsChecker],
        clock: IReactorTime,
        check_hash: Callable[[str, bytes], Awaitable[bool]] = check_here,
        deadline: float = DEADLINE,
    ) -> None:
        """Take the checkers, the first to be asked first; ``check_hash`` is lent to those that keep hashes."""
        self.asked = [Asked(checker, clock, deadline) for checker in checkers]
        self._sources = [asked.checker for asked in self.asked if isinstance(asked.checker, Source)]
        for source in self._sources:
            source.check_hash = check_hash
        self._check_hash = check_hash
        kinds = (kind for asked in self.asked for kind in asked.checker.credentialInterfaces)
        self.credentialInterfaces = tuple(dict.fromkeys(kinds))

    def requestAvatarId(self, credentials: ICredentials) -> Deferred[User]:  # type: ignore[override]
        """Give the answer of the first one that knows; it is there already if all that were asked answered at once."""
        user = self._at_once(credentials)
        return Deferred.fromCoroutine(self._ask(credentials)) if user is None else succeed(user)

    def _at_once(self, credentials: ICredentials) -> User | None:
        """Give the user in the usual case: it is in memory, and the credentials fit.  Whatever else is no answer."""
        try:
            for asked in self.asked:
                if asked.takes(credentials):
                    if not isinstance(asked.checker, InMemory):
                        return None
                    known = asked.checker.find(credentials)
                    if known is not None:
                        return known.proven() if fits(known, credentials) else None
        except Exception:  # it is raised again where it is dealt with
            return None
        return None

    async def _ask(self, credentials: ICredentials) -> User:
        try:
            return await self._first(credentials)
        except TryAgain:
            raise
        except UnauthorizedLogin as error:
            if not (isinstance(error, WrongSecret) and error.checked):
                await self._spend_time(credentials)
            raise

    async def _first(self, credentials: ICredentials) -> User:
        """Give the answer of the first one that knows, by the first of several names that somebody knows."""
        refusal = UnauthorizedLogin()
        for one in getattr(credentials, "alternatives", (credentials,)):
            for asked in self.asked:
                if asked.takes(one):
                    try:
                        return await self._ask_one(asked, one)
                    except (TryAgain, WrongSecret, NotHere, TooManyConnections):
                        raise
                    except UnhandledCredentials:
                        continue
                    except UnauthorizedLogin as error:
                        refusal = error if getattr(error, "why", "") else refusal
        raise refusal

    @staticmethod
    async def _ask_one(asked: Asked, credentials: ICredentials) -> User:
        """Give the answer of one checker.  The deadline is for finding a user, not for the check of a hash.

        What the source has replaced meanwhile counts for nothing: nobody would look at it again.
        """
        source: Any = asked.checker
        if not isinstance(source, Source):
            user: User = await asked.ask(source.requestAvatarId, credentials)
            return user
        while True:
            version = source.version
            decision = source.decide(await asked.ask(source.find, credentials), credentials)
            user = await decision if isinstance(decision, Deferred) else decision
            if source.version == version:
                return user

    async def _spend_time(self, credentials: Any) -> None:  # noqa: ANN401
        """Check the password against somebody's hash: a refusal that came sooner would tell who is known."""
        if IUsernamePassword.providedBy(credentials):
            hashed = next((source.sample for source in self._sources if source.sample), "")
            if hashed:
                await self._check_hash(hashed, _NOBODYS + octets(credentials.password))
