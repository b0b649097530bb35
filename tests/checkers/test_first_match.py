"""Several sources of users, asked in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import Anonymous, IAnonymous, IUsernameHashedPassword, IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin, UnhandledCredentials
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from brokerkit.checkers.anonymous import Anyone
from brokerkit.checkers.first_match import FirstMatch, SourceFailed
from brokerkit.checkers.memory import MemoryUsers
from brokerkit.client import User
from brokerkit.errors import ConfigError, UnknownUser, WrongSecret
from brokerkit.interfaces import IToken

if TYPE_CHECKING:
    from collections.abc import Sequence

ANN = UsernamePassword(b"ann", b"secret")
USER = User(b"ann", "test")


class Down(Exception):
    """A backend that is down."""


@implementer(ICredentialsChecker)
class Source:
    """Gives its answers one after the other, the last one for ever: raises errors, gives back the rest."""

    credentialInterfaces: Sequence[Any] = (IUsernamePassword,)

    def __init__(self, *answers: object, source: str = "source") -> None:
        """Take the answers."""
        self.answers = list(answers)
        self.asked = 0
        self.source = source

    def requestAvatarId(self, _credentials: object) -> Any:
        """Give the next answer."""
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Order(SynchronousTestCase):
    """Who is asked, and who is not."""

    def test_first_that_knows(self) -> None:
        """The first source that knows the user is the answer, and it is there at once."""
        last = Source(User(b"ann", "another"))
        checker = FirstMatch([Source(UnknownUser()), Source(USER), last])
        assert self.successResultOf(checker.requestAvatarId(ANN)) is USER
        assert last.asked == 0

    def test_wrong_secret_ends_it(self) -> None:
        """A source that knows the name and not the secret is the last to be asked."""
        last = Source(USER)
        checker = FirstMatch([Source(WrongSecret()), last])
        self.failureResultOf(checker.requestAvatarId(ANN), WrongSecret)
        assert last.asked == 0

    def test_nobody_knows(self) -> None:
        """A name that no source knows is refused."""
        checker = FirstMatch([Source(UnknownUser()), Source(fail(UnauthorizedLogin()))])
        self.failureResultOf(checker.requestAvatarId(ANN), UnauthorizedLogin)

    def test_no_sources(self) -> None:
        """With no source at all, everybody is refused."""
        self.failureResultOf(FirstMatch([]).requestAvatarId(ANN), UnauthorizedLogin)

    def test_other_credentials_pass_over(self) -> None:
        """A source that does not take such credentials is not asked."""
        names = Source(USER)
        checker = FirstMatch([names, Anyone()])
        assert self.successResultOf(checker.requestAvatarId(Anonymous())).source == "anonymous"
        assert names.asked == 0

    def test_interfaces_are_the_union(self) -> None:
        """It takes what any of its sources takes, each kind once."""
        checker = FirstMatch([Source(USER), Source(USER), Anyone()])
        assert checker.credentialInterfaces == (IUsernamePassword, IAnonymous, IUsernameHashedPassword, IToken)
        assert verifyObject(ICredentialsChecker, checker)

    def test_foreign_checker(self) -> None:
        """A checker of twisted's own can stand before ours."""
        foreign = InMemoryUsernamePasswordDatabaseDontUse(eve=b"x")
        checker = FirstMatch([foreign, Source(UnhandledCredentials()), MemoryUsers({"ann": "secret"})])
        assert self.successResultOf(checker.requestAvatarId(ANN)).name == b"ann"

    def test_within_another(self) -> None:
        """One may be a source of another one."""
        checker = FirstMatch([FirstMatch([Source(UnknownUser())]), FirstMatch([Source(USER)])])
        assert self.successResultOf(checker.requestAvatarId(ANN)) is USER


class Waiting(SynchronousTestCase):
    """Sources that need time."""

    def test_slow_one_is_waited_for(self) -> None:
        """A source that takes its time does not shadow the next one, which is asked when it has said no."""
        slow: Deferred[object] = Deferred()
        quick = Source(USER)
        answer = FirstMatch([Source(slow), quick]).requestAvatarId(ANN)
        self.assertNoResult(answer)
        assert quick.asked == 0
        slow.errback(UnknownUser())
        assert self.successResultOf(answer) is USER

    def test_slow_one_knows(self) -> None:
        """A source that takes its time and knows the user is the answer."""
        slow: Deferred[object] = Deferred()
        answer = FirstMatch([Source(UnknownUser()), Source(slow), Source(WrongSecret())]).requestAvatarId(ANN)
        slow.callback(USER)
        assert self.successResultOf(answer) is USER

    def test_coroutine(self) -> None:
        """A source may be written with async def."""

        async def know() -> User:
            return await succeed(USER)

        assert self.successResultOf(FirstMatch([Source(know())]).requestAvatarId(ANN)) is USER


class Failing(SynchronousTestCase):
    """Sources that are down."""

    def test_ends_the_login(self) -> None:
        """While a source is down, no later one is asked: it might have another user of that name."""
        for answer in (Down("no route"), fail(Down("no route"))):
            last = Source(USER)
            self.failureResultOf(FirstMatch([Source(answer), last]).requestAvatarId(ANN), SourceFailed)
            assert last.asked == 0
            assert len(self.flushLoggedErrors(Down)) == 1

    def test_is_a_refusal(self) -> None:
        """For whoever asked it is a login that was not accepted."""
        assert issubclass(SourceFailed, UnauthorizedLogin)

    def test_is_logged_once(self) -> None:
        """A failure is logged with the source's name; more of them, however many, are counted until it is over."""
        source = Source(Down(), Down(), Down(), UnknownUser(), source="the database")
        checker = FirstMatch([source, Source(USER)])
        with capturedLogs() as logs:
            for _ in range(3):
                self.failureResultOf(checker.requestAvatarId(ANN), SourceFailed)
            for _ in range(2):
                self.successResultOf(checker.requestAvatarId(ANN))
        assert [formatEvent(event) for event in logs] == [
            "the database: users cannot be looked up",
            "the database: users can be looked up again; 3 logins failed",
        ]
        assert len(self.flushLoggedErrors(Down)) == 1

    def test_operator_error_is_one_line(self) -> None:
        """What the operator has to change is said without a traceback."""
        source = Source(ConfigError("file", "key", "x", "y"))
        with capturedLogs() as logs:
            self.failureResultOf(FirstMatch([source]).requestAvatarId(ANN), SourceFailed)
        assert "log_failure" not in logs[0]
        assert "file: key: found 'x', expected y" in formatEvent(logs[0])

    def test_within_another_is_logged_once(self) -> None:
        """Of two that stand around a failing source only the inner one says so, and both end the login."""
        last = Source(USER)
        checker = FirstMatch([FirstMatch([Source(Down())]), last])
        self.failureResultOf(checker.requestAvatarId(ANN), SourceFailed)
        assert last.asked == 0
        assert len(self.flushLoggedErrors(Down)) == 1
