"""The source ``database+``, with SQLite; ``tests/servers`` has it with real servers."""

from __future__ import annotations

import builtins
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.application.service import IService
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from brokerkit.checkers import database, plugins
from brokerkit.checkers.database import DatabaseUsers, read_url, show
from brokerkit.checkers.polled import Unusable
from brokerkit.errors import ConfigError, OperatorError, UnknownUser, WrongSecret
from brokerkit.grants import PUBLISH, SUBSCRIBE, Rule
from tests.checkers.at_once import AtOnce

SECONDS = 10
DOCS = Path(__file__).parents[2] / "docs"
INSERT = "INSERT INTO auth_keys (identifier, secret, publish, subscribe) VALUES (?, ?, ?, ?)"
ANN = ("ann", "hush", '["a", "b"]', '["c"]')


def documented() -> str:
    """Give the statement that the documentation has for SQLite."""
    text = (DOCS / "users.md").read_text(encoding="utf-8").partition("Make it on SQLite.")[2]
    return text.partition("```sql\n")[2].partition("```")[0]


class WithFile(SynchronousTestCase):
    """A database with the documented table."""

    def setUp(self) -> None:
        """Make it."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "auth_keys.db"
        self.clock = Clock()
        self.threads = AtOnce()
        self.execute(documented())

    def execute(self, *statements: tuple[str, tuple[Any, ...]] | str) -> None:
        """Write to the file, as another tool would."""
        with closing(sqlite3.connect(self.path)) as other, other:
            for each in statements:
                other.execute(*([each] if isinstance(each, str) else each))

    def source(self, url: str = "", prefix: bytes = b"") -> DatabaseUsers:
        """Give a source that has not been started."""
        users = DatabaseUsers(url or f"sqlite:///{self.path}", self.clock, prefix, self.threads)
        users.kept = 0
        return users

    def users(self, *rows: tuple[Any, ...], prefix: bytes = b"") -> DatabaseUsers:
        """Give a source that has been started, with these rows in its table."""
        self.execute(*((INSERT, row) for row in rows))
        users = self.source(prefix=prefix)
        users.startService()
        self.addCleanup(users.stopService)
        return users

    def login(self, users: DatabaseUsers, name: str = "ann", secret: str = "hush") -> Any:
        """Log in with name and password."""
        return self.successResultOf(users.requestAvatarId(UsernamePassword(name.encode(), secret.encode())))

    def refused(
        self, users: DatabaseUsers, kind: type[Exception], name: str = "ann", secret: str = "hush"
    ) -> Exception:
        """Log in, and give the error."""
        return self.failureResultOf(users.requestAvatarId(UsernamePassword(name.encode(), secret.encode())), kind).value


class Asking(WithFile):
    """Who is known, and what of them."""

    def test_interfaces(self) -> None:
        """It is a checker and a service."""
        users = self.users()
        assert verifyObject(ICredentialsChecker, users)
        assert verifyObject(IService, users)

    def test_row(self) -> None:
        """A row is a user, who is called its own owner."""
        users = self.users(ANN)
        user = self.login(users)
        assert (user.name, user.owner, user.source) == (b"ann", "ann", f"database+sqlite:///{self.path}")
        assert [user.grants.permits(PUBLISH, topic) for topic in (b"a", b"b", b"c")] == [True, True, False]
        assert user.grants.permits(SUBSCRIBE, b"c")
        self.refused(users, WrongSecret, secret="guess")
        self.refused(users, UnknownUser, "bob")
        self.refused(users, UnknownUser, "ann\0")

    def test_prefix(self) -> None:
        """With a prefix the names lie under it."""
        assert self.login(self.users(ANN, prefix=b"honeypot")).grants.permits(PUBLISH, b"honeypot.a")

    def test_odd_rows(self) -> None:
        """A row that makes no sense is its own trouble; NULL is nothing."""
        users = self.users(
            ANN,
            ("null", "hush", None, None),
            ("none", None, None, None),
            ("bytes", b"hush", None, None),
            ("list", "hush", "{}", None),
            ("deep", "hush", None, "[" * 99999),
            ("text", "hush", None, b"\xff"),
        )
        self.execute("UPDATE auth_keys SET secret = CAST(X'FF' AS TEXT) WHERE identifier = 'none'")
        names = [b"ann", b"null", b"none", b"bytes", b"list", b"deep", b"text"]
        assert sorted(self.successResultOf(users.users(names))) == [b"ann", b"null"]
        self.refused(users, Unusable, "list")

    def test_twice(self) -> None:
        """Of two rows with one name the first counts, which is said once."""
        users = self.users(ANN, ("ann", "other", None, None))
        with capturedLogs() as logs:
            self.login(users)
            self.refused(users, WrongSecret, secret="other")
        (said,) = map(formatEvent, logs)
        assert "'ann' stands twice: table auth_keys, row id 1 counts, row id 2 does not" in said

    def test_many_at_once(self) -> None:
        """Many names are one question."""
        users = self.users(*((f"user{i}", "s", None, None) for i in range(300)), ("é", "s", None, None))
        before = self.threads.calls
        assert len(self.successResultOf(users.users(["é".encode(), *(b"user%d" % i for i in range(500))]))) == 301
        assert self.threads.calls == before + 1

    @settings(deadline=None)
    @given(st.text(max_size=20))
    def test_any_name(self, name: str) -> None:
        """No name that a peer may give is an error of the database."""
        if not hasattr(self, "asked"):
            self.asked = self.source()
        credentials = UsernamePassword(name.encode(errors="surrogatepass"), b"hush")
        self.failureResultOf(self.asked.requestAvatarId(credentials), UnknownUser)

    def test_names(self) -> None:
        """It can say who there is."""
        users = self.users(ANN, ("bob", "s", None, None), ("bob", "t", None, None), (None, "s", None, None))
        assert self.successResultOf(users.names()) == [b"ann", b"bob"]

    def test_where(self) -> None:
        """It says where a user and a rule stand, once it has looked."""
        users = self.users(ANN)
        self.login(users)
        assert users.where(b"ann", PUBLISH, None) == "table auth_keys, row id 1"
        assert users.where(b"ann", PUBLISH, Rule(b"a", literal=True)) == "table auth_keys, row id 1, column publish"
        assert users.where(b"bob", PUBLISH, None) == "table auth_keys"


class Starting(WithFile):
    """What is said at the start."""

    def refuses(self, words: str) -> None:
        """Hold that it does not start, with one line that names the database."""
        with pytest.raises(ConfigError) as error:
            self.source().startService()
        assert str(error.value).startswith(f"sqlite:///{self.path}: table auth_keys: ")
        assert words in str(error.value)
        assert "\n" not in str(error.value)

    def test_missing(self) -> None:
        """A column and a table that are not there are named."""
        self.execute("ALTER TABLE auth_keys DROP COLUMN publish")
        self.refuses("found 'no column publish', expected id, identifier, secret, publish, subscribe")
        self.execute("DROP TABLE auth_keys")
        self.refuses("found 'nothing', expected a table of this name")

    def test_no_database(self) -> None:
        """A file that is something else, or not there, is named, and none is made."""
        self.path.write_text("something else" * 1000)
        self.refuses("file is not a database")
        self.path.unlink()
        self.refuses("unable to open database file")
        assert not self.path.exists()

    def test_locked(self) -> None:
        """A database that is locked just now is an outage: it starts, and says so once."""
        users = self.source()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with capturedLogs() as logs:
                users.startService()
            assert "cannot be asked yet" in formatEvent(logs[0])
            assert str(self.refused(users, OperatorError)) == "database is locked"
        self.refused(users, UnknownUser)

    def test_nobody_there(self) -> None:
        """A server that nobody listens at is an outage, without the password in any message."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            for kind in ("postgresql", "mysql"):
                users = self.source(f"{kind}://ann:h%40sh@127.0.0.1:{taken.getsockname()[1]}/db")
                with capturedLogs() as logs:
                    users.startService()
                (said,) = map(formatEvent, logs)
                assert "refused" in said
                assert "h@sh" not in said + str(self.refused(users, OperatorError))
                assert "h%40sh" not in said

    def test_black_hole(self) -> None:
        """A server that takes connections and is silent holds up the start for seconds, and no longer."""
        self.patch(database, "AT_START", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            for kind in ("postgresql", "mysql"):
                users = self.source(f"{kind}://ann@127.0.0.1:{silent.getsockname()[1]}/db")
                begun = time.monotonic()
                with capturedLogs() as logs:
                    users.startService()
                assert "no answer in 0.1 s" in formatEvent(logs[0])
                assert time.monotonic() - begun < SECONDS

    def test_stop(self) -> None:
        """Stopping takes a second at most, whatever its threads do."""
        users = self.source()
        self.threads.hangs = True
        stopping = users.stopService()
        self.assertNoResult(stopping)
        self.clock.advance(database.AT_END)
        self.successResultOf(stopping)
        assert self.threads.stopped
        assert not users.running

    def test_without_sqlalchemy(self) -> None:
        """What has to be installed is said."""
        real = builtins.__import__
        for package, url in [
            ("sqlalchemy", "sqlite:///x"),
            ("psycopg", "postgresql://h/d"),
            ("pymysql", "mysql://h/d"),
        ]:

            def without(name: str, *arguments: Any, missing: str = package, **options: Any) -> Any:
                if name.partition(".")[0] == missing:
                    raise ModuleNotFoundError(f"No module named {missing!r}")
                return real(name, *arguments, **options)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(builtins, "__import__", without)
                with pytest.raises(OperatorError, match=r"pip install 'brokerkit\[sql\]'") as error:
                    self.source(url)
            assert package in str(error.value)


@pytest.mark.parametrize(
    ("text", "driver"),
    [
        ("postgresql://h/d", "postgresql+psycopg"),
        ("postgres://h/d", "postgresql+psycopg"),
        ("postgresql+asyncpg://h/d?min_size=1", "postgresql+psycopg"),
        ("postgresql+psycopg2://h/d", "postgresql+psycopg2"),
        ("mysql://ann:hush@h:3307/d", "mysql+pymysql"),
        ("mysql+aiomysql://h/d", "mysql+pymysql"),
        ("mariadb://h/d", "mariadb+pymysql"),
        ("sqlite:///users.db", "sqlite"),
        ("sqlite+aiosqlite:///users.db", "sqlite"),
    ],
)
def test_drivers(text: str, driver: str) -> None:
    """A URL that names no driver gets ours, and so does one that names another of hpfeeds-broker's."""
    url = read_url(text)
    assert url.drivername == driver
    assert "min_size" not in url.query
    if driver == "sqlite":
        assert url.database == str(Path.cwd() / "users.db")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hush",
        "oracle://ann:hush@h/d",
        "postgresql:ann:hush@h/d",
        "postgresql://ann:hush/x@h:port/d",
        "mysql://ann:hush@h/d?ssl=true",
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql+nosuch://ann:hush@h/d",
    ],
)
def test_bad_urls(text: str) -> None:
    """What makes no sense is a configuration error, with no part of a password in it."""
    with pytest.raises(ConfigError) as error:
        DatabaseUsers(text, Clock())
    assert "hush" not in str(error.value)


def test_shown() -> None:
    """What is shown of a URL has neither a password nor options."""
    url = read_url("postgresql://ann:h%40sh@h:5433/d?password=hush&sslmode=require")
    assert show(url) == "postgresql://ann:***@h:5433/d"


@given(st.text(max_size=40))
def test_any_url(text: str) -> None:
    """Whatever is written behind database+, it is understood or refused."""
    try:
        read_url(text)
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017


class Plugin(WithFile):
    """How it is named."""

    def find(self, text: str) -> Any:
        """Give what --auth names."""
        return plugins.find(text, [plugins.sqlite, plugins.database, plugins.json], self.clock)

    def test_spellings(self) -> None:
        """hpfeeds-broker's spelling, with a prefix or without; a file may be called .json."""
        for text, prefix in [
            (f"database+sqlite:///{self.path}", b""),
            (f"database:sqlite:///{self.path}", b""),
            (f"database+sqlite:///{self.path}:prefix=a.b", b"a.b"),
            ("database+sqlite:///users.json", b""),
        ]:
            users = self.find(text)
            assert isinstance(users, DatabaseUsers)
            assert users.prefix == prefix

    def test_prefix_in_a_password(self) -> None:
        """Only the last prefix is one."""
        users = self.find("database+mysql://ann:x:prefix=y@h/d:prefix=a")
        assert users.prefix == b"a"
        assert users.source == "database+mysql://ann:***@h/d"

    def test_bad_prefix(self) -> None:
        """A prefix is a topic."""
        with pytest.raises(ConfigError):
            self.find(f"database+sqlite:///{self.path}:prefix=a.*")
