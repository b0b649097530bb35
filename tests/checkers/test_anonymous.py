"""The source that lets everybody in."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import Anonymous, UsernamePassword
from zope.interface.verify import verifyObject

from brokerkit.checkers.anonymous import Anyone
from brokerkit.credentials import ChallengeResponse, Token
from brokerkit.errors import UnknownUser
from brokerkit.grants import ALL


@pytest.mark.parametrize(
    ("credentials", "name"),
    [
        (Anonymous(), b"anonymous"),
        (Token(b"hush"), b"anonymous"),
        (UsernamePassword(b"ann", b"anything"), b"ann"),
        (UsernamePassword(b"", b"anything"), b"anonymous"),
        (ChallengeResponse(b"ann", b"1234", b"no digest"), b"ann"),
    ],
)
def test_everybody(credentials: Any, name: bytes) -> None:
    """Any credentials are accepted, with all rights, under the name that was given."""
    checker = Anyone()
    assert verifyObject(ICredentialsChecker, checker)
    assert any(kind.providedBy(credentials) for kind in checker.credentialInterfaces)
    user = checker.requestAvatarId(credentials)
    assert (user.name, user.source, user.grants) == (name, "anonymous", ALL)


@pytest.mark.parametrize("name", [b"x" * 256, b"\xff"])
def test_names_that_cannot_be(name: bytes) -> None:
    """A name that not every protocol can carry is refused."""
    with pytest.raises(UnknownUser):
        Anyone().requestAvatarId(UsernamePassword(name, b""))
