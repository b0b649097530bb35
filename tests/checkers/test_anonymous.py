"""The source that lets everybody in."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from brokerkit.checkers import plugins
from brokerkit.checkers.anonymous import Anyone
from brokerkit.credentials import AnonymousRequest, ChallengeResponse, Token
from brokerkit.errors import ConfigError, UnknownUser
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE


@pytest.mark.parametrize(
    ("credentials", "name"),
    [
        (Anonymous(), b"anonymous"),
        (AnonymousRequest(), b"anonymous"),
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


def grants(text: str) -> Any:
    """Give the rights of everybody with this source."""
    return plugins.find(text, [plugins.anonymous], Clock()).requestAvatarId(Anonymous()).grants


def test_all_rights() -> None:
    """With no pattern, everybody may do everything."""
    assert grants("anonymous") == grants("anonymous:") == ALL


def test_own_rights() -> None:
    """With patterns, everybody may do what they allow and nothing else."""
    both = grants("anonymous:publish=a.*,b:subscribe=c.>")
    assert all(both.permits(PUBLISH, name) for name in (b"a.x", b"b"))
    assert not both.permits(PUBLISH, b"c.x")
    assert both.permits(SUBSCRIBE, b"c.*", literal=False)
    assert not both.permits(SUBSCRIBE, b">", literal=False)
    assert not grants("anonymous:subscribe=>").permits(PUBLISH, b"a")
    assert grants("anonymous:subscribe=>").permits(SUBSCRIBE, b"a")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("publish=a..b", "auth: anonymous: publish: found 'a..b', expected a pattern such as a.b, a.* or a.>"),
        ("publish=a,", "auth: anonymous: publish: found '', expected a pattern"),
        ("subscribe=", "auth: anonymous: subscribe: found '', expected a pattern"),
        ("subscribe=>.a", "auth: anonymous: subscribe: found '>.a', expected a pattern"),
        ("publish", "auth: found 'publish', expected a list of patterns behind it, as in publish=a.*,b"),
        ("publsh=a", "auth: found 'publsh=a', expected anonymous[:publish="),
        ("publish=a:subscibe=b", "auth: found 'subscibe=b', expected anonymous[:publish="),
        ("publish=a:publish=b", "auth: found 'publish=b', expected publish once"),
        ("a.>", "auth: found 'a.>', expected anonymous[:publish="),
    ],
)
def test_no_patterns(argument: str, message: str) -> None:
    """What is no list of patterns is an error that says what is wanted."""
    with pytest.raises(ConfigError) as error:
        grants(f"anonymous:{argument}")
    assert str(error.value).startswith(f"configuration: {message}")
