"""Users from KastleX's passwd.yml and permissions.yml."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import Anonymous, UsernamePassword
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from brokerkit.checkers import kastlex, plugins, yaml_entries
from brokerkit.checkers.first_match import FirstMatch
from brokerkit.checkers.kastlex import KastlexUsers
from brokerkit.checkers.kastlex_actions import ACTIONS, WITHOUT_NAME
from brokerkit.checkers.yaml_entries import entries
from brokerkit.credentials import AnonymousRequest, ChallengeResponse
from brokerkit.errors import ConfigError, OperatorError, UnknownUser, WrongSecret
from brokerkit.grants import PUBLISH, SUBSCRIBE, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.client import User

PASSWD = """\
user1:
  password_hash: "$2b$12$3iR64t7Sm.cAHtZs5jkxZehdWQ7knmN/NxmK.X7NBUHfiIAxT4T9y"
admin:
  password_hash: "$2b$12$gp5pJc/AGclJradJC9DuHe6xJoIe5HOwtAUGe2z7QFeAjvw1eZUKW"
"""
PERMISSIONS = """\
anonymous:
  list_topics: true
  show_topic: all
  fetch: all
user1:
  produce:
    - kastlex
    - logs.*
  fetch:
    - kastlex
admin:
  reload: true
  revoke: true
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], KastlexUsers]:
    """Give a function that writes the two files and reads them."""

    def written(passwd: str = PASSWD, permissions: str | None = PERMISSIONS) -> KastlexUsers:
        (tmp_path / "passwd.yml").write_text(passwd)
        if permissions is None:
            return KastlexUsers(str(tmp_path / "passwd.yml"), "", Clock())
        (tmp_path / "permissions.yml").write_text(permissions)
        return KastlexUsers(str(tmp_path / "passwd.yml"), str(tmp_path / "permissions.yml"), Clock())

    return written


Write = Any


def login(users: KastlexUsers, name: str, password: str) -> User:
    """Log in with name and password; the hash is checked on the spot."""
    results: list[Any] = []
    decision = users.requestAvatarId(UsernamePassword(name.encode(), password.encode()))
    decision.addBoth(results.append)
    if isinstance(results[0], Exception) or hasattr(results[0], "raiseException"):
        results[0].raiseException()
    user: User = results[0]
    return user


def refusal(write: Write, passwd: str = PASSWD, permissions: str | None = PERMISSIONS) -> str:
    """Give the message that refuses the files, without the directory."""
    with pytest.raises(ConfigError) as error:
        write(passwd, permissions)
    assert "3iR64t7Sm" not in str(error.value)
    return re.sub(r"^.*?/(?=\w+\.yml)", "", str(error.value))


def grants_of(users: KastlexUsers, name: bytes) -> Any:
    """Give the grants of a user."""
    return users.users([name])[name].user.grants


def test_logins_of_the_original(write: Write, tmp_path: Path) -> None:
    """The users of the original's own example log in with their passwords, and with no others."""
    users = write()
    assert verifyObject(ICredentialsChecker, users)
    user = login(users, "user1", "user1")
    assert (user.name, user.source) == (b"user1", f"kastlex:{tmp_path}/passwd.yml")
    assert login(users, "admin", "admin").name == b"admin"
    with pytest.raises(WrongSecret):
        login(users, "user1", "user")
    with pytest.raises(UnknownUser):
        users.requestAvatarId(UsernamePassword(b"nobody", b"user1"))


def test_produce_and_fetch_hold_everywhere(write: Write) -> None:
    """Who may produce may publish, who may fetch may subscribe: to those names, which are literal."""
    grants = grants_of(write(), b"user1")
    for action in ("produce", PUBLISH):
        assert grants.permits(action, b"kastlex")
        assert grants.permits(action, b"logs.*")
        assert not grants.permits(action, b"logs.x")
        assert not grants.permits(action, b"other")
    for action in ("fetch", SUBSCRIBE):
        assert grants.permits(action, b"kastlex")
        assert not grants.permits(action, b"kastlex2")
    assert not grants.permits(SUBSCRIBE, b">", literal=False)


def test_all_thirteen(write: Write) -> None:
    """Each action is granted by its own word: ``true`` where there is no name, ``all`` for every name."""
    assert len(ACTIONS) == 13
    for action in ACTIONS:
        word = "true" if action in WITHOUT_NAME else "all"
        grants = grants_of(write(permissions=f"ann: {{{action}: {word}}}"), b"ann")
        for other in ACTIONS:
            assert grants.permits(other, b"a.b") == (other == action)
    assert grants_of(write(permissions="ann: {fetch: all}"), b"ann").permits(SUBSCRIBE, b">", literal=False)


def test_nothing_is_nothing(write: Write) -> None:
    """What is false, empty or missing is not allowed."""
    text = "ann: {list_topics: false, produce: [], fetch: }\nbob:\ncid: {}\n"
    users = write(permissions=text)
    assert users.names() == [b"admin", b"ann", b"bob", b"cid", b"user1"]
    for name in users.names():
        assert not any(grants_of(users, name).permits(action, b"x") for action in (*ACTIONS, PUBLISH, SUBSCRIBE))


def test_union(write: Write) -> None:
    """A user of one file alone is known: without a hash it cannot log in, without rights it may do nothing."""
    users = write(permissions="ann: {produce: all}")
    assert users.names() == [b"admin", b"ann", b"user1"]
    with pytest.raises(WrongSecret):
        users.requestAvatarId(UsernamePassword(b"ann", b""))
    assert not grants_of(users, b"user1").permits("produce", b"kastlex")
    assert write(permissions=None).names() == [b"admin", b"user1"]


def test_anonymous_is_for_requests_alone(write: Write) -> None:
    """The pseudo user is a request without credentials, and no way into a protocol that has a login."""
    users = write(PASSWD + PASSWD.replace("user1", "anonymous").replace("admin", "zoe"))
    user = users.requestAvatarId(AnonymousRequest())
    assert user.name == b"anonymous"
    assert user.grants.permits("fetch", b"kastlex")
    assert not any(kind.providedBy(Anonymous()) for kind in users.credentialInterfaces)
    with pytest.raises(UnknownUser):
        users.requestAvatarId(UsernamePassword(b"anonymous", b"user1"))
    with pytest.raises(UnknownUser):
        users.requestAvatarId(ChallengeResponse(b"anonymous", b"1234", b""))
    assert users.users([b"anonymous"])[b"anonymous"].proven() == user


def test_no_anonymous(write: Write) -> None:
    """Without an entry of that name, a request without credentials is nobody."""
    users = write(permissions="user1: {produce: all}")
    with pytest.raises(UnknownUser):
        users.requestAvatarId(AnonymousRequest())
    assert users.users([b"anonymous"]) == {}


def test_challenge(write: Write) -> None:
    """A hash cannot answer a challenge; the name is this source's all the same, so that no other is asked."""
    with pytest.raises(WrongSecret):
        write().requestAvatarId(ChallengeResponse(b"user1", b"1234", b"x" * 20))


def test_among_other_sources(write: Write) -> None:
    """Asked together with others, it gives its hashes to be checked and a sample for those that nobody knows."""
    users = write()
    answer = FirstMatch([users], Clock()).requestAvatarId(UsernamePassword(b"user1", b"user1"))
    found: list[Any] = []
    answer.addCallback(found.append)
    assert found[0].name == b"user1"
    assert users.sample.startswith("$2b$12$")


@pytest.mark.parametrize(
    ("hashed", "found"),
    [
        ("$2b$12$3iR64t7Sm", "something else"),
        ('"$2b$12$3iR64t7Sm.cAHtZs5jkxZehdWQ7knmN/NxmK.X7NBUHfiIAxT4T9yyy"', "something else"),
        ('"$2b$31$3iR64t7Sm.cAHtZs5jkxZehdWQ7knmN/NxmK.X7NBUHfiIAxT4T9y"', "something else"),
        ("user1", "something else"),
        ('""', "nothing"),
        ("", "nothing"),
    ],
)
def test_odd_hash(write: Write, hashed: str, found: str) -> None:
    """A user whose hash is odd is refused, which is said without the hash; the others log in."""
    with capturedLogs() as logs:
        users = write(f"ann:\n  password_hash: {hashed}\n{PASSWD}")
    expected = "a bcrypt hash ($2b$, 60 characters); this user cannot log in"
    assert [formatEvent(event).rpartition("/")[2] for event in logs] == [
        f"passwd.yml:2: 'ann': password_hash: found {found}, expected {expected}"
    ]
    with pytest.raises(WrongSecret):
        users.requestAvatarId(UsernamePassword(b"ann", b"user1"))
    assert login(users, "user1", "user1")


def test_unknown_action(write: Write) -> None:
    """A word that is no action is said, with the nearest one, and left alone."""
    with capturedLogs() as logs:
        users = write(permissions="ann:\n  prodce: all\n  fetch: all\n")
    assert "permissions.yml:2: 'ann': prodce: found an unknown action" in formatEvent(logs[0])
    assert "did you mean produce?" in formatEvent(logs[0])
    assert grants_of(users, b"ann").permits("fetch", b"x")
    assert not grants_of(users, b"ann").permits("produce", b"x")


@pytest.mark.parametrize(
    ("permissions", "message"),
    [
        ("", ":1: file: found nothing, expected a mapping with a key for each user"),
        ("# nothing\n", ":1: file: found nothing"),
        ("- ann\n", ":1: file: found a list, expected a mapping"),
        ("ann\n", ":1: file: found a string, expected a mapping"),
        ("ann: [produce]\n", ":1: 'ann': found a list, expected a mapping"),
        ("ann: produce\n", ":1: 'ann': found a string, expected a mapping"),
        ("a: {}\nb: {}\na: {}\n", ":3: 'a': found this key twice, expected it once"),
        ("a:\n  fetch: all\n  fetch: [x]\n", ":3: 'fetch': found this key twice"),
        ("a: {}\n--- {}\n", ":2: file: found a second document, expected one"),
        ("a: !!python/object/apply:os.system [id]\n", ":1: file: found a tag (!!python/object/apply:os.system)"),
        ("a:\n  produce: !ruby x\n", ":2: file: found a tag (!ruby), expected strings"),
        ("!!map a: {}\n", ":1: file: found a tag (!!map)"),
        ("a: {fetch: [!!str x]}\n", ":1: file: found a tag (!!str)"),
        ("a: {produce: kastlex}\n", ":1: 'a': produce: found 'kastlex', expected all, or a list of names"),
        ("a: {produce: true}\n", ":1: 'a': produce: found true or false, expected all, or a list of names"),
        ("a: {produce: {x: y}}\n", ":1: 'a': produce: found a mapping, expected all, or a list of names"),
        ("a:\n  produce:\n  - x\n  - 7\n", ":4: 'a': produce[1]: found a number, expected a string (quotes make one"),
        ("a: {show_broker: [1]}\n", ":1: 'a': show_broker[0]: found a number, expected a string (quotes make one"),
        ("a: {fetch: [[x]]}\n", ":1: 'a': fetch[0]: found a list, expected a string"),
        ("a: {fetch: [[[[x]]]]}\n", ":1: file: found a list or a mapping, expected a string"),
        ("a: {list_topics: all}\n", ":1: 'a': list_topics: found 'all', expected true or false"),
        ("a: {list_topics: yes}\n", ":1: 'a': list_topics: found 'yes', expected true or false"),
        ("a: {list_topics: [x]}\n", ":1: 'a': list_topics: found a list, expected true or false"),
        ("7: {}\n", ":1: key: found a number, expected a string (quotes make one of it)"),
        ("? [a]\n: {}\n", ":1: file: found a list or a mapping, expected a string"),
        ("a: *b\n", ":1: file: found '*b', expected the name of an anchor above"),
        ("a: &b [*b]\n", ":1: file: found '*b', expected the name of an anchor above"),
        ("a: {fetch: all\n", "file: found something else, expected YAML"),
        ("a:\n\t- b\n", ":2: file: found something else, expected YAML"),
        ("a: {fetch: [\0]}\n", ": file: found something else, expected YAML"),
        ("'': {}\n", ":1: '': found a name of 0 bytes, expected 1 to 255"),
        (f"{'x' * 256}: {{}}\n", f":1: '{'x' * 256}': found a name of 256 bytes, expected 1 to 255"),
        ("[" * 10_000, ":1: file: found a list or a mapping, expected a string"),
    ],
)
def test_bad_permissions(write: Write, permissions: str, message: str) -> None:
    """What is not as KastleX has it is one message with file, line, user and key."""
    assert message in refusal(write, permissions=permissions)


@pytest.mark.parametrize(
    ("passwd", "message"),
    [
        ("ann: {password_hash: 5}\n", "passwd.yml:1: 'ann': password_hash: found a number, expected a string"),
        ("ann: {password_hash: [hush]}\n", "passwd.yml:1: 'ann': password_hash: found a list, expected a string"),
        ("ann: hush\n", "passwd.yml:1: 'ann': found a string, expected a mapping"),
    ],
)
def test_bad_passwd(write: Write, passwd: str, message: str) -> None:
    """The same holds for the file of hashes, and nothing out of it is repeated."""
    refused = refusal(write, passwd=passwd)
    assert message in refused
    assert "hush" not in refused


def test_other_bytes(write: Write, tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused with the place of the first other byte."""
    write()
    (tmp_path / "passwd.yml").write_bytes(b"a\xff: {}")
    with pytest.raises(ConfigError, match=r"passwd\.yml: file: found other bytes at 1, expected UTF-8"):
        KastlexUsers(str(tmp_path / "passwd.yml"), "", Clock())


def test_anchors(write: Write) -> None:
    """An anchor may stand for a list that several users have; its lines are where the list is."""
    users = write(permissions="ann:\n  fetch: &most\n    - a\n    - b\nbob:\n  fetch: *most\n")
    assert grants_of(users, b"bob").permits(SUBSCRIBE, b"b")
    assert users.where(b"bob", SUBSCRIBE, Rule(b"b", literal=True)).endswith("permissions.yml:4")


def test_a_list_by_alias_is_read_once(write: Write) -> None:
    """Many users who share a long list by an alias cost no more than one: a short file takes no gigabytes."""
    items = "".join(f"    - n{i}\n" for i in range(1000))
    others = "".join(f"u{i}:\n  produce: *most\n" for i in range(100))
    users = write(permissions=f"ann:\n  fetch: &most\n{items}{others}")
    assert users._lines[b"u1"]["produce"].items is users._lines[b"ann"]["fetch"].items
    first, last = grants_of(users, b"u0"), grants_of(users, b"u99")
    assert first.actions["produce"] is last.actions["produce"]
    assert last.permits(PUBLISH, b"n999")


def test_too_much_by_aliases(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapping that is repeated by aliases until it is a bomb is refused, and no oddities without end are said."""
    monkeypatch.setattr(yaml_entries, "MOST_REPEATED", 300)
    monkeypatch.setattr(kastlex, "MOST_COMPLAINTS", 5)
    permissions = "ann: &all {" + ", ".join(f"odd{i}: all" for i in range(100)) + "}\n"
    permissions += "".join(f"u{i}: *all\n" for i in range(3))
    with capturedLogs() as logs:
        write(permissions=permissions)
    assert len(logs) == 6
    assert "more that is odd" in formatEvent(logs[-1])
    message = refusal(write, permissions=permissions + "u3: *all\n")
    assert message == "permissions.yml:5: file: found more than 300 keys by aliases, expected fewer"


def test_where(write: Write, tmp_path: Path) -> None:
    """A rule has the line of its name, and of its action where that says all; a user has the line of its hash."""
    users = write()
    assert users.where(b"user1", PUBLISH, Rule(b"logs.*", literal=True)) == f"{tmp_path}/permissions.yml:8"
    assert users.where(b"user1", "fetch", Rule(b"kastlex", literal=True)) == f"{tmp_path}/permissions.yml:10"
    assert users.where(b"anonymous", "show_topic", Rule(b">")) == f"{tmp_path}/permissions.yml:3"
    assert users.where(b"admin", PUBLISH, None) == f"{tmp_path}/passwd.yml:3"
    assert users.where(b"nobody", PUBLISH, None) == users.source


def test_read_again(write: Write, tmp_path: Path) -> None:
    """A change of either file counts within a second; a broken one keeps the users, is counted, and said once."""
    users = write()
    clock = users._clock
    users.startService()
    (tmp_path / "permissions.yml").write_text("user1: {produce: [other]}\n")
    clock.advance(1)
    assert grants_of(users, b"user1").permits(PUBLISH, b"other")
    (tmp_path / "passwd.yml").write_text("ann:\n")
    clock.advance(1)
    assert users.names() == [b"ann", b"user1"]
    (tmp_path / "permissions.yml").write_text("user1: {produce: [")
    with capturedLogs() as logs:
        clock.pump([1.0] * 5)
    assert len(logs) == 1
    assert "the users stay as they were" in formatEvent(logs[0])
    assert users.names() == [b"ann", b"user1"]
    assert (users.reloads, users.failures, users.broken, users.version) == (2, 1, True, 2)
    users.stopService()
    assert clock.getDelayedCalls() == []


def test_an_odd_user_is_said_once(write: Write, tmp_path: Path) -> None:
    """What is odd about a user is not said again each time that something else changes."""
    users = write("ann: {}\n")
    users.startService()
    (tmp_path / "permissions.yml").write_text("user1: {produce: all}\n")
    with capturedLogs() as logs:
        users._clock.advance(1)
    users.stopService()
    assert [formatEvent(event).partition(": ")[2] for event in logs][-1] == "read again: 2 users"
    assert len(logs) == 1


def test_without_the_package(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyYAML the message says how to get it."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(OperatorError, match=r"pip install 'brokerkit\[yaml\]'"):
        write()


def test_without_the_loader_in_c(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyYAML has no loader in C, the other one does."""
    import yaml

    monkeypatch.delattr(yaml, "CSafeLoader")
    assert login(write(), "user1", "user1")
    assert ":2: file: found something else, expected YAML" in refusal(write, permissions="a:\n\t- b\n")
    assert "found something else" in refusal(write, permissions="a: {fetch: [\0]}\n")


def test_plugin(tmp_path: Path) -> None:
    """One path or two may be given, and no more."""
    (tmp_path / "a.yml").write_text(PASSWD)
    (tmp_path / "b.yml").write_text(PERMISSIONS)
    found = plugins.find(f"kastlex:{tmp_path}/a.yml:{tmp_path}/b.yml", [plugins.kastlex], Clock())
    assert found.paths == (f"{tmp_path}/a.yml", f"{tmp_path}/b.yml")
    assert plugins.find(f"kastlex:{tmp_path}/a.yml", [plugins.kastlex], Clock()).paths == (f"{tmp_path}/a.yml",)
    for text in ("kastlex", "kastlex:", "kastlex::b.yml", "kastlex:a:b:c", "kastlex:/nowhere.yml"):
        with pytest.raises(ConfigError):
            plugins.find(text, [plugins.kastlex], Clock())


def test_documented_example(write: Write) -> None:
    """The example in the documentation works as it is."""
    page = Path(__file__).parents[2].joinpath("docs", "users.md").read_text(encoding="utf-8")
    users = write(*re.findall(r"^```yaml\n(.*?)^```$", page.partition("## kastlex")[2], re.MULTILINE | re.DOTALL)[:2])
    user = login(users, "user1", "user1")
    assert user.grants.permits(PUBLISH, b"kastlex")
    assert user.grants.permits(SUBSCRIBE, b">", literal=False)
    assert login(users, "admin", "admin").grants.permits("revoke", b"")
    assert users.requestAvatarId(AnonymousRequest()).grants.permits("show_topic", b"kastlex")


@given(st.text(alphabet="ab: -[]{}&*!#'\"\n\t0~>|?,%@\\ué", max_size=40))
def test_any_text(text: str) -> None:
    """Arbitrary text is users or a ConfigError, never anything else."""
    with suppress(ConfigError):
        assert all(isinstance(name, str) for name, _, _ in entries(text.encode(errors="surrogatepass"), "x.yml"))
