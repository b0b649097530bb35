"""Users that a program hands over."""

from __future__ import annotations

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from zope.interface.verify import verifyObject

from brokerkit.checkers.memory import MemoryUsers
from brokerkit.credentials import Token
from brokerkit.errors import UnknownUser, WrongSecret
from brokerkit.grants import ALL, Grants

USERS = MemoryUsers({"ann": "a", "bob": "b"}, {"bob": Grants()}, {"ann": "t"})


def test_users() -> None:
    """Whoever has no grants of its own has all rights."""
    assert verifyObject(ICredentialsChecker, USERS)
    ann = USERS.requestAvatarId(UsernamePassword(b"ann", b"a"))
    assert (ann.name, ann.source, ann.grants) == (b"ann", "memory", ALL)
    assert USERS.requestAvatarId(UsernamePassword(b"bob", b"b")).grants == Grants()
    assert USERS.requestAvatarId(Token(b"t")) == ann


def test_others() -> None:
    """Names that it does not know and secrets that are wrong are told apart."""
    with pytest.raises(UnknownUser):
        USERS.requestAvatarId(UsernamePassword(b"eve", b"a"))
    with pytest.raises(WrongSecret):
        USERS.requestAvatarId(UsernamePassword(b"bob", b"a"))
