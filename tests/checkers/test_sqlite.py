"""Users in an SQLite file, as hpfeeds-broker makes it."""

from __future__ import annotations

import sqlite3
import stat
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

from brokerkit.checkers import plugins, table
from brokerkit.checkers.polled import Unusable
from brokerkit.checkers.sqlite import SqliteUsers
from brokerkit.errors import ConfigError, OperatorError, UnknownUser, WrongSecret
from brokerkit.grants import PUBLISH, SUBSCRIBE, Rule
from brokerkit.testing import MemoryBroker
from tests.checkers.at_once import AtOnce

INSERT = "INSERT INTO authkeys (owner, ident, secret, pubchans, subchans) VALUES (?, ?, ?, ?, ?)"
ANN = ("Ann", "ann", "hush", '["a", "b"]', '["c"]')
HPFEEDS = [  # what the original has made
    """create table authkeys (
        id integer primary key autoincrement, owner text, ident text, secret text, pubchans text, subchans text
    )""",
    "create table logs (id integer primary key autoincrement, data text)",
    "create table stats (id integer primary key autoincrement, ak text, uid text, data text)",
]


class WithFile(SynchronousTestCase):
    """A path where a file may be, and a clock."""

    def setUp(self) -> None:
        """Make a directory."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "sqlite.db"
        self.clock = Clock()
        self.threads = AtOnce()

    def users(self, *rows: tuple[Any, ...], prefix: bytes = b"") -> SqliteUsers:
        """Give a source that has been started, with these rows in its file."""
        users = SqliteUsers(str(self.path), self.clock, prefix, self.threads)
        users.kept = 0
        users.startService()
        self.addCleanup(users.stopService)
        self.execute(*((INSERT, row) for row in rows))
        return users

    def execute(self, *statements: tuple[str, tuple[Any, ...]] | str) -> None:
        """Write to the file, as another tool would."""
        with closing(sqlite3.connect(self.path)) as database, database:
            for each in statements:
                database.execute(*([each] if isinstance(each, str) else each))

    def login(self, users: SqliteUsers, name: str = "ann", secret: str = "hush") -> Any:
        """Log in with name and password."""
        return self.successResultOf(users.requestAvatarId(UsernamePassword(name.encode(), secret.encode())))

    def refused(self, users: SqliteUsers, kind: type[Exception], name: str = "ann", secret: str = "hush") -> Exception:
        """Log in, and give the error."""
        return self.failureResultOf(users.requestAvatarId(UsernamePassword(name.encode(), secret.encode())), kind).value


class Starting(WithFile):
    """What is needed at the start."""

    def test_interfaces(self) -> None:
        """It is a checker and a service."""
        users = self.users()
        assert verifyObject(ICredentialsChecker, users)
        assert verifyObject(IService, users)

    def test_makes_the_file(self) -> None:
        """Where there is no file one is made, for the owner's eyes alone, with the tables of hpfeeds-broker."""
        self.users()
        assert stat.S_IMODE(self.path.stat().st_mode) == 0o600
        with closing(sqlite3.connect(self.path)) as made, closing(sqlite3.connect(":memory:")) as theirs:
            for table in HPFEEDS:
                theirs.execute(table)
            for table in ("authkeys", "logs", "stats"):
                info = f"PRAGMA table_info({table})"
                assert [(*map(str.lower, map(str, row)),) for row in made.execute(info)] == [
                    (*map(str.lower, map(str, row)),) for row in theirs.execute(info)
                ]

    def test_takes_the_file_of_hpfeeds(self) -> None:
        """A file that hpfeeds-broker has made is taken as it is."""
        self.execute(*HPFEEDS, (INSERT, ANN))
        assert self.login(self.users()).owner == "Ann"

    def test_adds_the_tables(self) -> None:
        """A database of something else gets the tables in addition."""
        self.execute("CREATE TABLE other (x)")
        assert self.login(self.users(ANN)).name == b"ann"

    def test_nothing_before_the_start(self) -> None:
        """Nothing is made before the service starts."""
        SqliteUsers(str(self.path), self.clock)
        assert not self.path.exists()

    def refuses(self, words: str) -> None:
        """Hold that it does not start, with one line that names the file."""
        users = SqliteUsers(str(self.path), self.clock, b"", self.threads)
        with pytest.raises(ConfigError) as error:
            users.startService()
        assert str(error.value).startswith(f"{self.path}: ")
        assert words in str(error.value)
        assert "\n" not in str(error.value)

    def test_directory(self) -> None:
        """A directory is no database."""
        self.path.mkdir()
        self.refuses("file: found 'something else', expected an SQLite database")

    def test_no_directory(self) -> None:
        """A place where no file can be made is an error that says why."""
        self.path = self.path / "no" / "where"
        self.refuses("No such file or directory")
        self.path = Path("/proc/brokerkit.db")
        self.refuses("expected an SQLite database, or a place where one can be made")

    def test_no_database(self) -> None:
        """A file that is something else is left as it is."""
        self.path.write_text("ann:hush\n" * 1000)
        self.refuses("file is not a database")
        assert self.path.read_text() == "ann:hush\n" * 1000

    def test_missing_column(self) -> None:
        """A table without a column that is needed is an error that names both."""
        self.execute("CREATE TABLE authkeys (id, owner, ident, secret, pubchans)")
        self.refuses("table authkeys: found 'no column subchans'")

    def test_locked(self) -> None:
        """A file that is locked just now is no reason not to start."""
        self.execute(*HPFEEDS, (INSERT, ANN))
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with capturedLogs() as logs:
                users = self.users()
            assert "database is locked" in formatEvent(logs[0])
            self.refused(users, OperatorError)
        assert self.login(users).name == b"ann"


class Asking(WithFile):
    """Who is known, and what of them."""

    def test_row(self) -> None:
        """A row is a user: the secret counts, the lists are literal names."""
        users = self.users(ANN)
        user = self.login(users)
        assert (user.name, user.owner, user.source) == (b"ann", "Ann", f"sqlite:{self.path}")
        assert [user.grants.permits(PUBLISH, topic) for topic in (b"a", b"b", b"c")] == [True, True, False]
        assert user.grants.permits(SUBSCRIBE, b"c")
        self.refused(users, WrongSecret, secret="guess")
        self.refused(users, UnknownUser, "bob")
        self.refused(users, UnknownUser, "Ann")

    def test_prefix(self) -> None:
        """With a prefix the names lie under it."""
        assert self.login(self.users(ANN, prefix=b"honeypot")).grants.permits(PUBLISH, b"honeypot.a")

    def test_at_once(self) -> None:
        """What another tool writes counts at once: a new row, another secret, a row less, another file."""
        users = self.users()
        self.refused(users, UnknownUser)
        self.execute((INSERT, ANN))
        self.login(users)
        self.execute("UPDATE authkeys SET secret = 'other'")
        self.refused(users, WrongSecret)
        self.execute("DELETE FROM authkeys")
        self.refused(users, UnknownUser)
        self.path.rename(self.path.with_suffix(".old"))
        self.execute(*HPFEEDS, (INSERT, ANN))
        self.login(users)

    def test_more_columns(self) -> None:
        """Columns that hpfeeds-broker does not know do no harm."""
        users = self.users()
        self.execute("ALTER TABLE authkeys ADD COLUMN comment TEXT", (INSERT, ANN))
        assert self.login(users).owner == "Ann"

    def test_nulls(self) -> None:
        """A list that is NULL allows nothing; without a secret nobody logs in."""
        users = self.users((None, "ann", "hush", None, None), (None, "bob", None, None, None))
        user = self.login(users)
        assert not user.grants.permits(PUBLISH, b"a")
        assert user.owner == ""
        with capturedLogs() as logs:
            self.refused(users, Unusable, "bob", "")
            self.refused(users, Unusable, "bob", "")
        assert len(logs) == 1
        assert "table authkeys, row id 2: secret: found nothing" in formatEvent(logs[0])

    def test_twice(self) -> None:
        """Of two rows with one name the first counts, which is said once."""
        users = self.users(ANN, ("Bob", "ann", "other", "[]", "[]"))
        with capturedLogs() as logs:
            assert self.login(users).owner == "Ann"
            self.refused(users, WrongSecret, secret="other")
        (said,) = map(formatEvent, logs)
        assert "'ann' stands twice: table authkeys, row id 1 counts, row id 2 does not" in said

    def test_odd_rows(self) -> None:
        """A row that makes no sense is its own trouble: text that is no text, lists that are none."""
        odd = [b"hush", 7, "", 7.5]
        rows = [("", f"odd{i}", secret, "[]", "[]") for i, secret in enumerate(odd)]
        rows += [
            ("", f"list{i}", "hush", value, "[]") for i, value in enumerate(["{}", "[1]", "x", 7, b"\xff", "[" * 9999])
        ]
        users = self.users(ANN, *rows)
        self.execute("UPDATE authkeys SET secret = CAST(X'FF' AS TEXT) WHERE ident = 'odd1'")
        names = [row[1].encode() for row in rows]
        known = self.successResultOf(users.users([b"ann", *names]))
        # A number in a column of text becomes text.
        assert sorted(known) == [b"ann", b"odd3"]
        for row in rows:
            if row[1] != "odd3":
                self.refused(users, Unusable, row[1])

    def test_collation(self) -> None:
        """Names are compared byte by byte, also where the column's are not."""
        self.execute(HPFEEDS[0].replace("ident text", "ident text collate nocase"), (INSERT, ANN))
        users = self.users()
        self.login(users)
        self.refused(users, UnknownUser, "ANN")

    def test_many_at_once(self) -> None:
        """Many names are one question."""
        users = self.users(*(("", f"user{i}", "s", "[]", "[]") for i in range(600)))
        before = self.threads.calls
        known = self.successResultOf(users.users([b"user%d" % i for i in range(1000)]))
        assert len(known) == 600
        assert self.threads.calls == before + 1
        assert self.successResultOf(users.users([])) == {}
        assert self.threads.calls == before + 1

    @settings(deadline=None)
    @given(st.text(max_size=20))
    def test_any_name(self, name: str) -> None:
        """No name that a peer may give is an error of the database."""
        if not self.path.exists():
            self.users(ANN)
        users = SqliteUsers(str(self.path), self.clock, b"", self.threads)
        credentials = UsernamePassword(name.encode(errors="surrogatepass"), b"hush")
        kind = UnknownUser if name != "ann" else ()
        if kind:
            self.failureResultOf(users.requestAvatarId(credentials), kind)

    def test_names(self) -> None:
        """It can say who there is."""
        users = self.users(ANN, ("", "bob", "s", "[]", "[]"), ("", "bob", "t", "[]", "[]"), ("", None, "s", "[]", "[]"))
        assert self.successResultOf(users.names()) == [b"ann", b"bob"]

    def test_where(self) -> None:
        """It says where a user and a rule stand, once it has looked."""
        users = self.users(("", "bob", "s", None, None), ANN)
        assert users.where(b"ann", PUBLISH, None) == "table authkeys"
        self.login(users)
        assert users.where(b"ann", PUBLISH, None) == "table authkeys, row id 2"
        assert users.where(b"ann", PUBLISH, Rule(b"a", literal=True)) == "table authkeys, row id 2, column pubchans"
        assert users.where(b"ann", SUBSCRIBE, Rule(b"c", literal=True)) == "table authkeys, row id 2, column subchans"


class Outages(WithFile):
    """A file that cannot be asked is never a wrong password."""

    def test_locked(self) -> None:
        """A lock is an outage, and over when it is gone."""
        users = self.users(ANN)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert str(self.refused(users, OperatorError)) == "database is locked"
        self.login(users)

    def test_gone(self) -> None:
        """A file that has gone takes nobody away, and is not made anew."""
        users = self.users(ANN)
        self.path.unlink()
        self.refused(users, OperatorError)
        self.failureResultOf(users.users([b"ann"]), OperatorError)
        assert not self.path.exists()

    def test_broken(self) -> None:
        """A file that has become something else is an outage."""
        users = self.users(ANN)
        self.path.write_text("something else" * 1000)
        assert "not a database" in str(self.refused(users, OperatorError))

    def test_stopped(self) -> None:
        """Stopping ends the threads."""
        users = self.users()
        users.stopService()
        assert self.threads.stopped

    def test_broker(self) -> None:
        """In a broker, named as an operator names it: an outage takes nobody away, a row that goes does."""
        self.patch(table, "Threads", lambda _: self.threads)
        memory = MemoryBroker(auth=(f"sqlite:{self.path}",))
        memory.users["eve"] = "hush"
        self.execute((INSERT, ("", "eve", "hush", '["a"]', '["a"]')))
        clients = [memory.client(protocol, "eve") for protocol in ("hpfeeds", "nats")]
        for client in clients:
            client.subscribe(b"a")
        clients[0].publish(b"a", b"x")
        assert [len(client.messages()) for client in clients] == [1, 1]
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            pass_time(memory, 5)
            assert [client.peer.closed for client in clients] == [False, False]
            other.execute("DELETE FROM authkeys")
            other.execute("COMMIT")
        pass_time(memory, 5)
        assert [client.peer.closed for client in clients] == [True, True]


def pass_time(memory: MemoryBroker, seconds: int) -> None:
    """Let time pass bit by bit."""
    for _ in range(seconds * 4):
        memory.advance(0.25)


class Plugin(WithFile):
    """How it is named."""

    def find(self, text: str) -> Any:
        """Give what --auth names."""
        return plugins.find(text, [plugins.sqlite, plugins.database, plugins.json], self.clock)

    def test_spellings(self) -> None:
        """A path, a prefix, both or neither."""
        here = str(Path.cwd() / "sqlite.db")
        for text, path, prefix in [
            ("sqlite", here, b""),
            ("sqlite:", here, b""),
            ("sqlite:prefix=a.b", here, b"a.b"),
            (f"sqlite:{self.path}", str(self.path), b""),
            (f"sqlite:{self.path}:prefix=a", str(self.path), b"a"),
        ]:
            users = self.find(text)
            assert isinstance(users, SqliteUsers)
            assert (users.path, users.prefix) == (path, prefix)

    def test_mistakes(self) -> None:
        """A URL and a prefix that is no topic are refused."""
        for text in ("sqlite:///users.db", "sqlite:a.db:prefix=a.*", "sqlite:a.db:prefix=a..b"):
            with pytest.raises(ConfigError):
                self.find(text)

    def test_a_url_is_not_repeated(self) -> None:
        """What was meant as a URL may have a password in it."""
        with pytest.raises(ConfigError) as error:
            self.find("sqlite://ann:hush@host/db")
        assert "hush" not in str(error.value)
