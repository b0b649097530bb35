"""Users from the environment."""

from __future__ import annotations

from hashlib import sha1
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from zope.interface.verify import verifyObject

from brokerkit.checkers.env import EnvUsers
from brokerkit.credentials import ChallengeResponse, Token
from brokerkit.errors import ConfigError, UnknownUser, WrongSecret
from brokerkit.grants import PUBLISH, SUBSCRIBE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.client import User

BOTH = (PUBLISH, SUBSCRIBE)


def test_names_that_are_not_utf8() -> None:
    """Some sensors send Latin-1: the variable has the byte as it is, and so has the name, in lists too."""
    environ = {"HPFEEDS_J\udcfcRG_SECRET": "secret", "HPFEEDS_J\udcfcRG_PUBCHANS": "caf\udce9,b"}
    source = EnvUsers(environ)
    user = source.requestAvatarId(UsernamePassword(b"j\xfcrg", b"secret"))
    assert (user.name, user.owner) == (b"j\xfcrg", "j\\xfcrg")
    assert [user.grants.permits(PUBLISH, name) for name in (b"caf\xe9", b"caf\xc3\xa9")] == [True, False]
    assert source.names() == [b"j\xfcrg"]
    assert source.where(user.name, PUBLISH, None) == "environment variable HPFEEDS_J\\xfcRG_SECRET"
    assert source.users([b"j\xfcrg"]).keys() == {b"j\xfcrg"}


def login(environ: Mapping[str, str], name: bytes = b"test", secret: bytes = b"secret") -> User:
    """Log in with name and password."""
    return EnvUsers(environ).requestAvatarId(UsernamePassword(name, secret))


def test_user_of_hpfeeds() -> None:
    """The three variables of hpfeeds are a user with literal channels."""
    environ = {
        "HPFEEDS_TEST_SECRET": "secret",
        "HPFEEDS_TEST_PUBCHANS": "one,two",
        "HPFEEDS_TEST_SUBCHANS": "three.*",
        "HPFEEDS_TEST_OWNER": "Ann",
    }
    users = EnvUsers(environ)
    assert verifyObject(ICredentialsChecker, users)
    user = users.requestAvatarId(
        ChallengeResponse(b"test", b"1234", sha1(b"1234secret", usedforsecurity=False).digest())
    )
    assert (user.name, user.source, user.owner) == (b"test", "env", "Ann")
    assert user.grants.permits(PUBLISH, b"one")
    assert user.grants.permits(PUBLISH, b"two")
    assert not user.grants.permits(PUBLISH, b"three.*")
    assert user.grants.permits(SUBSCRIBE, b"three.*", literal=True)
    assert not user.grants.permits(SUBSCRIBE, b"three.x")


@pytest.mark.parametrize("name", [b"james", b"James", b"JAMES"])
def test_names_keep_their_spelling(name: bytes) -> None:
    """A name is looked up in upper case and stays as it was given, also as the owner."""
    user = login({"HPFEEDS_JAMES_SECRET": "secret"}, name)
    assert user.name == name
    assert user.owner == name.decode()


def test_read_at_each_login() -> None:
    """What changes in the environment counts from the next login."""
    environ = {"HPFEEDS_TEST_SECRET": "old"}
    users = EnvUsers(environ)
    environ["HPFEEDS_TEST_SECRET"] = "secret"
    assert users.requestAvatarId(UsernamePassword(b"test", b"secret"))
    del environ["HPFEEDS_TEST_SECRET"]
    with pytest.raises(UnknownUser):
        users.requestAvatarId(UsernamePassword(b"test", b"secret"))


def test_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another mapping it is the environment of the process, its bytes as they are."""
    monkeypatch.setenv("HPFEEDS_TEST_SECRET", b"\xff\xfe".decode("utf-8", "surrogateescape"))
    assert EnvUsers().requestAvatarId(UsernamePassword(b"test", b"\xff\xfe"))


def test_wrong_secret() -> None:
    """A wrong secret is told from an unknown name, and no text shows it."""
    with pytest.raises(WrongSecret) as error:
        login({"HPFEEDS_TEST_SECRET": "hush"}, secret=b"guess")
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("environ", [{}, {"HPFEEDS_TEST_SECRET": ""}, {"HPFEEDS_TEST_PUBCHANS": "a"}])
def test_no_secret_no_user(environ: dict[str, str]) -> None:
    """Without a secret, or with an empty one, there is no such user."""
    with pytest.raises(UnknownUser):
        login(environ, secret=b"")


@pytest.mark.parametrize("name", [b"te\0st", b"a=b", b"\xff", b"x" * 256, b"test_secret", b""])
def test_names_that_no_variable_has(name: bytes) -> None:
    """Names that cannot be in an environment are unknown, not an error."""
    with pytest.raises(UnknownUser):
        login({"HPFEEDS_TEST_SECRET": "secret", "HPFEEDS_A=B_SECRET": "secret"}, name)


@pytest.mark.parametrize("channels", [{}, {"PUBCHANS": "", "SUBCHANS": ""}, {"PUBCHANS": ",", "SUBCHANS": ","}])
def test_empty_list_is_no_channel(channels: dict[str, str]) -> None:
    """Without a list there is no channel, not even the one without a name."""
    environ = {"HPFEEDS_TEST_SECRET": "secret", **{f"HPFEEDS_TEST_{key}": value for key, value in channels.items()}}
    user = login(environ)
    assert not any(user.grants.permits(action, name) for action in BOTH for name in (b"", b"a"))


def test_lists_are_not_trimmed() -> None:
    """A space beside the comma belongs to the channel's name, as in hpfeeds."""
    user = login({"HPFEEDS_TEST_SECRET": "secret", "HPFEEDS_TEST_PUBCHANS": "a, b"})
    assert user.grants.permits(PUBLISH, b" b")
    assert not user.grants.permits(PUBLISH, b"b")


def test_patterns() -> None:
    """Our own two lists are patterns, beside the literal ones."""
    user = login(
        {
            "HPFEEDS_TEST_SECRET": "secret",
            "HPFEEDS_TEST_PUBCHANS": "x",
            "HPFEEDS_TEST_PUBLISH": "a.*,b",
            "HPFEEDS_TEST_SUBSCRIBE": ">",
        }
    )
    assert all(user.grants.permits(PUBLISH, name) for name in (b"x", b"a.b", b"b"))
    assert not user.grants.permits(PUBLISH, b"a.b.c")
    assert user.grants.permits(SUBSCRIBE, b"a.>", literal=False)


def test_bad_pattern_at_the_start() -> None:
    """What is no pattern is refused before the broker starts, with the variable's name."""
    with pytest.raises(ConfigError, match=r"HPFEEDS_TEST_SUBSCRIBE: found '>\.a'"):
        EnvUsers({"HPFEEDS_TEST_SUBSCRIBE": "a,>.a"})


def test_bad_pattern_later() -> None:
    """What is no pattern lets nobody in with half of the rights."""
    environ = {"HPFEEDS_TEST_SECRET": "secret"}
    users = EnvUsers(environ)
    environ["HPFEEDS_TEST_PUBLISH"] = "a,b..c"
    with pytest.raises(ConfigError):
        users.requestAvatarId(UsernamePassword(b"test", b"secret"))


def test_token() -> None:
    """A token finds its user, who is called by the variable in lower case and has its grants."""
    environ = {"HPFEEDS_A_B_TOKEN": "hush", "HPFEEDS_C_TOKEN": "other", "HPFEEDS_A_B_PUBLISH": "a"}
    user = EnvUsers(environ).requestAvatarId(Token(b"hush"))
    assert user.name == b"a_b"
    assert user.grants.permits(PUBLISH, b"a")
    assert not user.grants.permits(SUBSCRIBE, b"a")


@pytest.mark.parametrize("token", [b"", b"hus", b"hush!", b"secret"])
def test_unknown_token(token: bytes) -> None:
    """An empty token is none, a secret is no token, and an unknown one may be another source's."""
    environ = {"HPFEEDS_A_TOKEN": "hush", "HPFEEDS_B_TOKEN": "", "HPFEEDS_B_SECRET": "secret", "HPFEEDS_TOKEN": "x"}
    with pytest.raises(UnknownUser):
        EnvUsers(environ).requestAvatarId(Token(token))


@given(st.binary(max_size=40), st.dictionaries(st.text(max_size=10), st.text(max_size=10)))
def test_any_name_and_any_environment(name: bytes, environ: dict[str, str]) -> None:
    """No name, and nothing foreign in the environment, leads to anything but an unknown user."""
    users = EnvUsers(environ)
    for credentials in (UsernamePassword(name, b"secret"), Token(name)):
        with pytest.raises(UnknownUser):
            users.requestAvatarId(credentials)
