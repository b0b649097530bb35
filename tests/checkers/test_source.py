"""What all sources of users have in common: credentials held against a record."""

from __future__ import annotations

from typing import Any

import bcrypt
import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from brokerkit.checkers import first_match
from brokerkit.checkers.anonymous import Anyone
from brokerkit.checkers.first_match import FirstMatch
from brokerkit.checkers.known import Known, Users
from brokerkit.checkers.memory import MemoryUsers
from brokerkit.checkers.source import Source
from brokerkit.client import User
from brokerkit.credentials import ChallengeResponse, Token
from brokerkit.errors import TooBusy, UnknownUser, WrongSecret

HASH = bcrypt.hashpw(b"hashed", bcrypt.gensalt(4)).decode()
ANN = Known(User(b"ann", "here"), b"secret", b"token")
BOB = Known(User(b"bob", "here"), password_hash=HASH)
NONE = Known(User(b"none", "here"))
EVERYBODY = (ANN, BOB, NONE)


class Some(Source):
    """A source of some users, at once or later."""

    source = "here"

    def __init__(self, *known: Known, later: bool = False) -> None:
        """Take the records."""
        self._known = Users(known)
        self._later = later
        self.sample = next((one.password_hash for one in known if one.password_hash), "")

    def find(self, credentials: Any) -> Any:
        """Give a record."""
        found = self._known.find(credentials)
        return succeed(found) if self._later else found


@pytest.mark.parametrize("later", [False, True])
class TestDecision:
    """Who gets in."""

    def ask(self, later: bool, credentials: Any) -> Any:
        """Give the user, or the error."""
        found: list[Any] = []
        try:
            answer = Some(*EVERYBODY, later=later).requestAvatarId(credentials)
        except (UnknownUser, WrongSecret) as error:
            return error
        if not isinstance(answer, Deferred):
            return answer
        answer.addCallbacks(found.append, lambda failure: found.append(failure.value))
        return found[0]

    @pytest.mark.parametrize(
        "credentials",
        [
            UsernamePassword(b"ann", b"secret"),
            UsernamePassword(b"bob", b"hashed"),
            Token(b"token"),
        ],
        ids=["secret", "hash", "token"],
    )
    def test_right(self, later: bool, credentials: Any) -> None:
        """A secret, a password whose hash is known, or a token lets its user in, as one who has proved it."""
        user = self.ask(later, credentials)
        assert user.name in (b"ann", b"bob")
        assert user.proof

    @pytest.mark.parametrize(
        "credentials",
        [
            UsernamePassword(b"ann", b""),
            UsernamePassword(b"ann", b"token"),
            UsernamePassword(b"ann", b"hashed"),
            UsernamePassword(b"bob", HASH.encode()),
            UsernamePassword(b"bob", b""),
            UsernamePassword(b"none", b""),
            ChallengeResponse(b"none", b"1234", b""),
            ChallengeResponse(b"bob", b"1234", b"x" * 20),
        ],
    )
    def test_wrong(self, later: bool, credentials: Any) -> None:
        """Nothing else does: no empty secret, not the hash itself, not another kind of secret."""
        assert isinstance(self.ask(later, credentials), WrongSecret)

    @pytest.mark.parametrize("credentials", [UsernamePassword(b"eve", b""), Token(b""), Token(b"secret")])
    def test_unknown(self, later: bool, credentials: Any) -> None:
        """Whom the source does not know, another may."""
        assert isinstance(self.ask(later, credentials), UnknownUser)


class Proof(SynchronousTestCase):
    """What is compared when a record is read again."""

    def test_changes_with_what_proves(self) -> None:
        """Any other secret is another proof; other rights are not."""
        proofs = {
            Known(User(b"ann", "here"), *more).proven().proof
            for more in (
                (b"a", b""),
                (b"", b"a"),
                (b"", b"", "a"),
                (b"", b"", "", ("a",)),
                (b"", b"", "", (), ("a",)),
                (b"a", b"b"),
                (b"ab", b""),
            )
        }
        assert len(proofs) == 7
        assert (
            Known(User(b"ann", "here", owner="x"), b"a").proven().proof
            == Known(User(b"ann", "here"), b"a").proven().proof
        )

    def test_says_nothing(self) -> None:
        """Neither a record nor a user shows its secrets."""
        shown = repr(ANN) + repr(BOB) + repr(ANN.proven())
        for secret in ("secret", "token", HASH, repr(ANN.proven().proof)):
            assert secret not in shown


class Together(SynchronousTestCase):
    """A source among others, with threads that are lent to it."""

    def test_a_check_takes_as_long_as_it_takes(self) -> None:
        """The deadline is for finding a user: while hashes wait to be checked, the source is not down."""
        clock, checks = Clock(), [Deferred() for _ in range(3)]  # type: ignore[var-annotated]
        waiting = iter(checks)

        async def check(_: str, __: bytes) -> bool:
            fits: bool = await next(waiting)
            return fits

        users = FirstMatch([Some(*EVERYBODY)], clock, check)
        answers = [users.requestAvatarId(UsernamePassword(b"bob", password)) for password in (b"1", b"2", b"3")]
        clock.advance(60)
        for answer in answers:
            self.assertNoResult(answer)
        assert users.asked[0].up
        self.successResultOf(users.requestAvatarId(UsernamePassword(b"ann", b"secret")))
        checks[0].callback(True)
        checks[1].callback(False)
        checks[2].errback(TooBusy())
        assert self.successResultOf(answers[0]).name == b"bob"
        self.failureResultOf(answers[1], WrongSecret)
        self.failureResultOf(answers[2], TooBusy)
        assert (users.asked[0].up, users.asked[0].failures) == (True, 0)

    def test_nobody_is_quicker_to_be_refused(self) -> None:
        """Unknown names and wrong secrets cost one check each, as a wrong password does; a right secret costs none."""
        checked: list[bytes] = []

        async def check(hashed: str, password: bytes) -> bool:
            assert hashed == HASH
            checked.append(password)
            return False

        users = FirstMatch([MemoryUsers({}), Some(*EVERYBODY)], Clock(), check)
        for name in (b"eve", b"ann", b"bob", b"none", b"x" * 1000):
            self.failureResultOf(users.requestAvatarId(UsernamePassword(name, name)))
        # What is checked for nobody is another password, which nobody can have been right with.
        said = [password.removeprefix(first_match._NOBODYS) for password in checked]
        assert said == [b"eve", b"ann", b"bob", b"none", b"x" * 1000]
        assert checked[0] != b"eve"
        self.successResultOf(users.requestAvatarId(UsernamePassword(b"ann", b"secret")))
        assert len(checked) == 5

    def test_too_busy_says_nothing(self) -> None:
        """When no more can be checked, known and unknown names hear the same."""

        async def check(_: str, __: bytes) -> bool:
            raise TooBusy

        users = FirstMatch([Some(*EVERYBODY)], Clock(), check)
        for name in (b"eve", b"ann", b"bob"):
            self.failureResultOf(users.requestAvatarId(UsernamePassword(name, b"wrong")), TooBusy)

    def test_anybody(self) -> None:
        """Who lets everybody in does so among others, too, and knows them again."""
        users = FirstMatch([Some(*EVERYBODY), Anyone()], Clock())
        user = self.successResultOf(users.requestAvatarId(UsernamePassword(b"eve", b"x")))
        assert (user.name, user.source) == (b"eve", "anonymous")
        assert Anyone().users([b"eve"])[b"eve"].proven() == user
        self.failureResultOf(users.requestAvatarId(UsernamePassword(b"ann", b"x")), WrongSecret)
        self.failureResultOf(users.requestAvatarId(UsernamePassword(b"\xff", b"x")))
