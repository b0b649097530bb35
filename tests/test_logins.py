"""The way of every login: throttle, bound, portal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import Anonymous, IAnonymous, IUsernamePassword, UsernamePassword
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from brokerkit import logins
from brokerkit.client import User
from brokerkit.credentials import Token
from brokerkit.errors import Expired, SourceFailed, Throttled, TooBusy, UnknownUser, WrongSecret
from brokerkit.interfaces import IToken
from brokerkit.logins import Logins
from brokerkit.realm import Mind, Realm
from brokerkit.throttle import ADDRESS, PAIR, Throttle
from brokerkit.turn import Turn

if TYPE_CHECKING:
    from brokerkit.client import Client

MIND = Mind(address="192.0.2.1")
ANN = UsernamePassword(b"ann", b"x")


@implementer(ICredentialsChecker)
class Source:
    """Gives what it is told to give."""

    credentialInterfaces = (IUsernamePassword, IToken, IAnonymous)

    def __init__(self) -> None:
        """Begin by letting everybody in."""
        self.answer: Any = User(b"ann", "test")
        self.asked = 0

    def requestAvatarId(self, _: object) -> Any:
        """Give the answer, or raise it."""
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Door:
    """Logins, with all that stands behind them."""

    def __init__(self) -> None:
        """Open it."""
        clock = Clock()
        self.source = Source()
        self.throttle = Throttle(clock)
        self.logins = Logins(Portal(Realm(Turn(), clock), [self.source]), self.throttle)

    def knock(self, credentials: Any = ANN, mind: Mind = MIND) -> list[Any]:
        """Log in; give the list that the client, or the kind of failure, will be in."""
        found: list[Client | type] = []
        self.logins.login(credentials, mind).addCallbacks(found.append, lambda failure: found.append(failure.type))
        return found


@pytest.fixture
def door() -> Door:
    """Give a door."""
    return Door()


def test_let_in(door: Door) -> None:
    """A user becomes a client, and nothing is left under way."""
    [client] = door.knock()
    assert client.user.name == b"ann"
    assert door.logins.in_flight == 0


@pytest.mark.parametrize("refusal", [UnknownUser(), WrongSecret()])
def test_refusals_are_held_against(door: Door, refusal: Exception) -> None:
    """After so many wrong secrets or unknown names no source is asked any more."""
    door.source.answer = refusal
    assert [door.knock() for _ in range(PAIR)] == [[type(refusal)]] * PAIR
    assert door.knock() == [Throttled]
    assert door.source.asked == PAIR
    assert door.logins.in_flight == 0


@pytest.mark.parametrize("answer", [SourceFailed("x"), TooBusy(), Expired(b"ann"), RuntimeError("a bug")])
def test_what_is_nobodys_fault_is_not(door: Door, answer: Exception) -> None:
    """An outage, a crowd, the end of a term and a bug are no guesses."""
    door.source.answer = answer
    assert [door.knock() for _ in range(300)] == [[type(answer)]] * 300
    assert len(door.throttle) == 0


def test_tokens_are_told_apart(door: Door) -> None:
    """Neither a token that is right nor nobody's login lets anyone guess more tokens; each has its own account."""
    right, user = Token(b"right"), door.source.answer
    tried = 0
    for i in range(300):
        for good in (right, Anonymous()):
            door.source.answer = user
            door.knock(good)
        door.source.answer = UnknownUser()
        tried += door.knock(Token(b"%d" % i)) != [Throttled]
    assert tried == ADDRESS
    door.source.answer = user
    assert door.knock(right) != [Throttled]
    assert door.knock(Token(b"another")) == [Throttled]


def test_no_token_is_kept(door: Door) -> None:
    """What the throttle remembers of a token is not the token."""
    door.knock(Token(b"a secret of some length"))
    assert b"a secret" not in repr(vars(door.throttle)).encode()


def test_in_flight_is_bounded(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """While so many are being decided, others are told to try again; that is counted."""
    monkeypatch.setattr(logins, "IN_FLIGHT", 3)
    answers = []
    for _ in range(3):
        door.source.answer = Deferred()
        answers.append(door.source.answer)
        assert door.knock() == []
    assert door.knock() == [TooBusy]
    assert (door.logins.in_flight, door.logins.too_busy) == (3, 1)
    answers[0].callback(User(b"ann", "test"))
    answers[1].errback(UnknownUser())
    answers[2].errback(RuntimeError())
    assert door.logins.in_flight == 0


def test_nobody_takes_all_places(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many logins of one address may be waited for at once; another address still has room."""
    monkeypatch.setattr(logins, "FROM_ONE", 3)
    for _ in range(3):
        door.source.answer = Deferred()
        last = door.source.answer
        assert door.knock() == []
    assert door.knock() == [TooBusy]
    door.source.answer = User(b"ann", "test")
    assert door.knock(mind=Mind(address="192.0.2.77")) != [TooBusy]
    last.callback(User(b"ann", "test"))
    assert door.knock() != [TooBusy]


def test_no_address(door: Door) -> None:
    """Who comes without an address is never throttled."""
    door.source.answer = WrongSecret()
    assert [door.knock(mind=Mind()) for _ in range(300)] == [[WrongSecret]] * 300
