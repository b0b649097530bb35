"""Several sources of users, asked in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import Anonymous, IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin, UnhandledCredentials
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from brokerkit.checkers.anonymous import Anyone
from brokerkit.checkers.first_match import FIRST_REST, LONGEST_REST, FirstMatch, SourceFailed
from brokerkit.checkers.memory import MemoryUsers
from brokerkit.client import User
from brokerkit.errors import ConfigError, UnknownUser, WrongSecret

if TYPE_CHECKING:
    from collections.abc import Sequence

ANN = UsernamePassword(b"ann", b"secret")
USER = User(b"ann", "test")


def first_match(checkers: list[Any]) -> FirstMatch:
    """Give a ``FirstMatch`` whose clock stands still."""
    return FirstMatch(checkers, Clock())


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
        checker = first_match([Source(UnknownUser()), Source(USER), last])
        assert self.successResultOf(checker.requestAvatarId(ANN)) is USER
        assert last.asked == 0

    def test_wrong_secret_ends_it(self) -> None:
        """A source that knows the name and not the secret is the last to be asked."""
        last = Source(USER)
        checker = first_match([Source(WrongSecret()), last])
        self.failureResultOf(checker.requestAvatarId(ANN), WrongSecret)
        assert last.asked == 0

    def test_nobody_knows(self) -> None:
        """A name that no source knows is refused."""
        checker = first_match([Source(UnknownUser()), Source(fail(UnauthorizedLogin()))])
        self.failureResultOf(checker.requestAvatarId(ANN), UnauthorizedLogin)

    def test_no_sources(self) -> None:
        """With no source at all, everybody is refused."""
        self.failureResultOf(first_match([]).requestAvatarId(ANN), UnauthorizedLogin)

    def test_other_credentials_pass_over(self) -> None:
        """A source that does not take such credentials is not asked."""
        names = Source(USER)
        checker = first_match([names, Anyone()])
        assert self.successResultOf(checker.requestAvatarId(Anonymous())).source == "anonymous"
        assert names.asked == 0

    def test_interfaces_are_the_union(self) -> None:
        """It takes what any of its sources takes, each kind once."""
        checker = first_match([Source(USER), Source(USER), Anyone()])
        assert checker.credentialInterfaces[0] is IUsernamePassword
        assert set(checker.credentialInterfaces) == {IUsernamePassword, *Anyone.credentialInterfaces}
        assert len(checker.credentialInterfaces) == len(Anyone.credentialInterfaces)
        assert verifyObject(ICredentialsChecker, checker)

    def test_foreign_checker(self) -> None:
        """A checker of twisted's own can stand before ours."""
        foreign = InMemoryUsernamePasswordDatabaseDontUse(eve=b"x")
        checker = first_match([foreign, Source(UnhandledCredentials()), MemoryUsers({"ann": "secret"})])
        assert self.successResultOf(checker.requestAvatarId(ANN)).name == b"ann"

    def test_within_another(self) -> None:
        """One may be a source of another one."""
        checker = first_match([first_match([Source(UnknownUser())]), first_match([Source(USER)])])
        assert self.successResultOf(checker.requestAvatarId(ANN)) is USER


class Waiting(SynchronousTestCase):
    """Sources that need time."""

    def test_slow_one_is_waited_for(self) -> None:
        """A source that takes its time does not shadow the next one, which is asked when it has said no."""
        slow: Deferred[object] = Deferred()
        quick = Source(USER)
        answer = first_match([Source(slow), quick]).requestAvatarId(ANN)
        self.assertNoResult(answer)
        assert quick.asked == 0
        slow.errback(UnknownUser())
        assert self.successResultOf(answer) is USER

    def test_slow_one_knows(self) -> None:
        """A source that takes its time and knows the user is the answer."""
        slow: Deferred[object] = Deferred()
        answer = first_match([Source(UnknownUser()), Source(slow), Source(WrongSecret())]).requestAvatarId(ANN)
        slow.callback(USER)
        assert self.successResultOf(answer) is USER

    def test_coroutine(self) -> None:
        """A source may be written with async def."""

        async def know() -> User:
            return await succeed(USER)

        assert self.successResultOf(first_match([Source(know())]).requestAvatarId(ANN)) is USER


class Failing(SynchronousTestCase):
    """Sources that are down."""

    def test_ends_the_login(self) -> None:
        """While a source is down, no later one is asked: it might have another user of that name."""
        for answer in (Down("no route"), fail(Down("no route"))):
            last = Source(USER)
            self.failureResultOf(first_match([Source(answer), last]).requestAvatarId(ANN), SourceFailed)
            assert last.asked == 0
            assert len(self.flushLoggedErrors(Down)) == 1

    def test_is_a_refusal(self) -> None:
        """For whoever asked it is a login that was not accepted."""
        assert issubclass(SourceFailed, UnauthorizedLogin)

    def test_is_logged_once(self) -> None:
        """A failure is logged with the source's name; more of them, however many, are counted until it is over."""
        source = Source(Down(), Down(), Down(), UnknownUser(), source="the database")
        clock = Clock()
        checker = FirstMatch([source, Source(USER)], clock)
        with capturedLogs() as logs:
            for _ in range(3):
                self.failureResultOf(checker.requestAvatarId(ANN), SourceFailed)
                clock.advance(LONGEST_REST)
            for _ in range(2):
                self.successResultOf(checker.requestAvatarId(ANN))
        assert [formatEvent(event) for event in logs] == [
            "the database: users cannot be looked up",
            "the database: users can be looked up again after 3 failures",
        ]
        assert len(self.flushLoggedErrors(Down)) == 1

    def test_is_left_alone_for_a_while(self) -> None:
        """A source that has failed is not asked again at once; the pause grows, up to a bound."""
        clock, source = Clock(), Source(*[Down()] * 20, USER)
        checker = FirstMatch([source], clock)
        pause = FIRST_REST
        for asked in range(1, 21):
            for _ in range(5):
                self.failureResultOf(checker.requestAvatarId(ANN), SourceFailed)
            assert source.asked == asked
            clock.advance(pause)
            pause = min(pause * 2, LONGEST_REST)
        assert self.successResultOf(checker.requestAvatarId(ANN)) is USER
        assert len(self.flushLoggedErrors(Down)) == 1

    def test_has_a_deadline(self) -> None:
        """A source that does not answer in time has failed."""
        clock: Clock = Clock()
        answer = FirstMatch([Source(Deferred()), Source(USER)], clock, deadline=3.0).requestAvatarId(ANN)
        clock.advance(2.9)
        self.assertNoResult(answer)
        with capturedLogs() as logs:
            clock.advance(0.2)
        self.failureResultOf(answer, SourceFailed)
        assert "no answer in 3.0 s" in formatEvent(logs[0])

    def test_operator_error_is_one_line(self) -> None:
        """What the operator has to change is said without a traceback."""
        source = Source(ConfigError("file", "key", "x", "y"))
        with capturedLogs() as logs:
            self.failureResultOf(first_match([source]).requestAvatarId(ANN), SourceFailed)
        assert "log_failure" not in logs[0]
        assert "file: key: found 'x', expected y" in formatEvent(logs[0])

    def test_within_another_is_logged_once(self) -> None:
        """Of two that stand around a failing source only the inner one says so, and both end the login."""
        last = Source(USER)
        checker = first_match([first_match([Source(Down())]), last])
        self.failureResultOf(checker.requestAvatarId(ANN), SourceFailed)
        assert last.asked == 0
        assert len(self.flushLoggedErrors(Down)) == 1

    def test_a_chain_has_a_deadline_too(self) -> None:
        """So has an answer that has begun to come, but waits for something else."""
        clock, never = Clock(), Deferred[object]()
        answer = FirstMatch([Source(succeed(None).addCallback(lambda _: never))], clock).requestAvatarId(ANN)
        clock.advance(10)
        self.failureResultOf(answer, SourceFailed)

    def test_many_at_once_are_one_failure_in_a_row(self) -> None:
        """A hundred logins that wait for a source when it fails are counted, but it rests no longer for that."""
        clock = Clock()
        source = Source(*(Deferred[object]() for _ in range(100)), USER)
        checker = FirstMatch([source], clock, deadline=1.0)
        answers = [checker.requestAvatarId(ANN) for _ in range(100)]
        clock.advance(1.0)
        for answer in answers:
            self.failureResultOf(answer, SourceFailed)
        assert checker.asked[0].failures == 100
        clock.advance(FIRST_REST)
        assert self.successResultOf(checker.requestAvatarId(ANN)) is USER

    def test_old_answers_are_no_news(self) -> None:
        """What was asked before a failure ends no outage, however it is answered: the log would say on, off, on."""
        clock = Clock()
        open_ = [Deferred[object]() for _ in range(10)]
        checker = FirstMatch([Source(*open_, USER)], clock)
        answers = [checker.requestAvatarId(ANN) for _ in open_]
        with capturedLogs() as logs:
            for i, one in enumerate(open_):
                one.callback(USER) if i % 2 else one.errback(Down())
            assert not checker.asked[0].up
            for i, answer in enumerate(answers):
                self.successResultOf(answer) if i % 2 else self.failureResultOf(answer, SourceFailed)
            clock.advance(FIRST_REST)
            self.successResultOf(checker.requestAvatarId(ANN))
        assert checker.asked[0].up
        assert [formatEvent(event).partition(": ")[2] for event in logs] == [
            "users cannot be looked up",
            "users can be looked up again after 1 failures",
        ]
        assert len(self.flushLoggedErrors(Down)) == 1

    def test_who_gives_up_is_no_failure(self) -> None:
        """When whoever asked goes, the source has not failed, and nothing is logged."""
        checker = first_match([Source(Deferred()), Source(USER)])
        answer = checker.requestAvatarId(ANN)
        with capturedLogs() as logs:
            answer.cancel()
        self.failureResultOf(answer, SourceFailed)
        assert (checker.asked[0].up, checker.asked[0].failures, logs) == (True, 0, [])

    def test_the_clock_is_set_back(self) -> None:
        """A source does not rest until it is that late again."""
        clock = Clock()
        clock.rightNow = 10_000.0
        checker = FirstMatch([Source(ConfigError("a", "b", "c", "d"), USER)], clock)
        self.failureResultOf(checker.requestAvatarId(ANN), SourceFailed)
        clock.rightNow = 5.0
        assert self.successResultOf(checker.requestAvatarId(ANN)) is USER
