"""Users in the configuration itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from brokerkit.app import make_broker
from brokerkit.checkers.entry import read_all
from brokerkit.checkers.listed import ListedUsers
from brokerkit.config import load
from brokerkit.errors import ConfigError, UnknownUser, WrongSecret
from brokerkit.grants import PUBLISH, Rule
from brokerkit.interfaces import INkeySignature
from brokerkit.plugin import protocols

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
name = "hive"

[[users]]
name = "ann"
secret = "hush"
publish = ["a.>"]

  [[ users ]]  # indented
name = "bob"
token = "t0ken"
subscribe = ["a.b", "c.>"]
subscribe_deny = ["c.d"]

[[listen]]
protocol = "nats"
endpoint = "tcp:port=0"
"""
NKEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a configuration with two users."""
    path = tmp_path / "broker.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    return path


def source(file: Path) -> ListedUsers:
    """Give the source of that file."""
    return ListedUsers(load(str(file), protocols()).users, str(file))


def test_users_of_the_file(file: Path) -> None:
    """It knows the users that stand there, and no others."""
    users = source(file)
    assert verifyObject(ICredentialsChecker, users)
    assert users.names() == [b"ann", b"bob"]
    assert users.requestAvatarId(UsernamePassword(b"ann", b"hush")).source == f"users in {file}"
    with pytest.raises(WrongSecret):
        users.requestAvatarId(UsernamePassword(b"ann", b"guess"))
    with pytest.raises(UnknownUser):
        users.requestAvatarId(UsernamePassword(b"eve", b"hush"))


def test_where_they_stand(file: Path) -> None:
    """A rule is found by file, line and key."""
    users = source(file)
    assert users.where(b"ann", PUBLISH, None) == f"{file}:3: users[0]"
    assert users.where(b"bob", "subscribe", Rule(b"c.>")) == f"{file}:8: users[1].subscribe[1]"
    assert users.where(b"bob", "subscribe", Rule(b"c.d")) == f"{file}:8: users[1].subscribe_deny[0]"
    assert users.where(b"eve", PUBLISH, None) == f"users in {file}"


def test_lines_that_are_not_known(file: Path) -> None:
    """Where the headers do not say which table is which, no line is given rather than a wrong one."""
    file.write_text('users = [{name = "ann", secret = "hush"}]\nname = """\n[[users]]\n[[users]]"""\n')
    assert source(file).where(b"ann", PUBLISH, None) == f"{file}: users[0]"


def test_they_are_asked_first_and_suffice(file: Path) -> None:
    """With users in the file, ``auth`` may be empty; with both, those of the file come first."""
    broker = make_broker(load(str(file), protocols()), Clock())
    assert [asked.name for asked in broker.users.asked] == [f"users in {file}"]
    file.write_text("auth = ['anonymous']\n" + TEXT)
    broker = make_broker(load(str(file), protocols()), Clock())
    assert [asked.name for asked in broker.users.asked] == [f"users in {file}", "anonymous"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[users]]\nname = 'ann'\nsecrte = 'x'\n", "users[0].secrte: found an unknown key"),
        ("[users]\nname = 'ann'\n", "tables that are headed [[users]]"),
        ("users = 'ann'\n", "tables that are headed [[users]]"),
        (
            "[[users]]\nname = 'ann'\nsecret = 'x'\n[[users]]\nname = 'ann'\nsecret = 'y'\n",
            "users[1].name: found 'ann'",
        ),
        ("[[usres]]\nname = 'ann'\n", "did you mean users?"),
        ("[[users]]\nname = 'ann'\npublish = ['a']\n", "users[0].secret: found nothing"),
    ],
)
def test_mistakes(file: Path, text: str, words: str) -> None:
    """A mistake is one line with file and key."""
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(file), protocols())
    assert str(caught.value).startswith(f"{file}: ")
    assert words in str(caught.value)


def test_a_file_that_everybody_reads(file: Path) -> None:
    """It is said that others can read the secrets, if there are secrets and others."""
    for mode, tables, warned in (
        (0o644, [{"name": "ann", "secret": "hush"}], True),
        (0o640, [{"name": "ann", "secret": "hush"}], False),
        (0o644, [{"name": "ann", "nkey": NKEY}], False),
    ):
        file.chmod(mode)
        with capturedLogs() as logs:
            ListedUsers(read_all(tables, str(file)), str(file))
        assert [str(file) in str(formatEvent(event)) for event in logs] == [True] * warned
        assert "hush" not in repr(logs)


def test_a_nonce_is_sent_only_where_it_is_of_use() -> None:
    """Nkeys are among what is taken if some user has one."""
    without = read_all([{"name": "ann", "secret": "hush"}], "broker.toml")
    with_one = read_all([{"name": "ann", "nkey": NKEY}], "broker.toml")
    assert INkeySignature not in ListedUsers(without, "broker.toml").credentialInterfaces
    assert INkeySignature in ListedUsers(with_one, "broker.toml").credentialInterfaces
