"""The record of a known user, and the decision whether credentials fit it."""

from __future__ import annotations

from hashlib import sha1
from typing import Any

import attrs
import pytest
from twisted.cred.credentials import IUsernameHashedPassword, UsernamePassword
from twisted.internet.defer import succeed
from zope.interface import implementer

from brokerkit.checkers.known import Known, Users, allowed, fits, is_name
from brokerkit.client import User
from brokerkit.credentials import ChallengeResponse, Token
from brokerkit.grants import PUBLISH, SUBSCRIBE

ANN = Known(User(b"ann", "test"), "ann's sécret".encode(), b"ann's token")
BOB = Known(User(b"bob", "test"), b"bob's secret")
NEITHER = Known(User(b"neither", "test"), b"")


def challenge(name: bytes, secret: bytes) -> ChallengeResponse:
    """Answer a challenge."""
    return ChallengeResponse(name, b"1234", sha1(b"1234" + secret, usedforsecurity=False).digest())


@pytest.mark.parametrize(
    "credentials",
    [
        UsernamePassword(b"ann", ANN.secret),
        UsernamePassword(b"ann", ANN.secret.decode()),
        challenge(b"ann", ANN.secret),
        Token(ANN.token),
    ],
)
def test_what_fits(credentials: Any) -> None:
    """Password, challenge and token each give the user; a password may be text that is not ASCII."""
    assert fits(ANN, credentials)


@pytest.mark.parametrize(
    "credentials",
    [
        UsernamePassword(b"ann", b""),
        UsernamePassword(b"ann", "ännchen"),
        UsernamePassword(b"ann", "\ud800"),
        UsernamePassword(b"ann", ANN.token),
        challenge(b"ann", b"other"),
        Token(b""),
        Token(ANN.secret),
    ],
)
def test_what_does_not_fit(credentials: Any) -> None:
    """Everything else is refused: a token is no password, and a password no token."""
    assert not fits(ANN, credentials)


@pytest.mark.parametrize("credentials", [UsernamePassword(b"x", b""), challenge(b"x", b""), Token(b"")])
def test_nothing_fits_an_empty_secret(credentials: Any) -> None:
    """Nobody logs in with an empty secret or an empty token."""
    assert not fits(NEITHER, credentials)


@implementer(IUsernameHashedPassword)
@attrs.frozen
class Slow:
    """Credentials that need time for their answer."""

    username: bytes = b"ann"

    def checkPassword(self, _secret: bytes) -> object:
        """Say no, later."""
        return succeed(False)


def test_an_answer_that_takes_time_is_no_yes() -> None:
    """A Deferred, which is always true, lets nobody in."""
    assert not fits(ANN, Slow())


def test_users_are_found_by_name_and_by_token() -> None:
    """A name finds its user, and so does a token."""
    users = Users([ANN, BOB])
    assert len(users) == 2
    assert users.find(UsernamePassword(b"bob", BOB.secret)) is BOB
    assert users.find(Token(ANN.token)) is ANN


@pytest.mark.parametrize("credentials", [UsernamePassword(b"eve", b"x"), Token(b"x"), Token(b"")])
def test_users_that_are_not_there(credentials: Any) -> None:
    """Neither an unknown name nor an unknown token is a wrong secret: another source may know it."""
    assert Users([ANN, BOB]).find(credentials) is None


def test_nothing_secret_is_shown() -> None:
    """A record in a log line gives nothing away."""
    assert "secret" not in repr(ANN)
    assert "token" not in repr(ANN)


@pytest.mark.parametrize(
    ("name", "good"),
    [(b"", True), (b"a" * 255, True), (b"a" * 256, False), ("ä".encode(), True), ("ä".encode("latin-1"), False)],
)
def test_names(name: bytes, good: bool) -> None:
    """A name is at most 255 bytes of UTF-8."""
    assert is_name(name) is good


def test_lists_become_grants() -> None:
    """A star in hpfeeds' lists is a channel called so; in ours it is any token."""
    grants = allowed(pubchans=[b"a.*"], subchans=[b">"], publish=[b"b.*"], subscribe=[b"c.>"])
    assert grants.permits(PUBLISH, b"a.*", literal=True)
    assert not grants.permits(PUBLISH, b"a.b")
    assert grants.permits(PUBLISH, b"b.c")
    assert not grants.permits(SUBSCRIBE, b"x")
    assert grants.permits(SUBSCRIBE, b"c.d.*", literal=False)
    assert not grants.permits(SUBSCRIBE, b"b.c")
