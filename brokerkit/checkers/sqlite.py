"""Users in an SQLite file, as hpfeeds-broker has them: table ``authkeys``, made when it is not there.

The file is opened anew for each question.  That costs a tenth of a millisecond, and so an edit by any tool counts at
once, and so does another file at its place.  Questions are asked in a thread: who writes to the file may lock it.  They
are given up soon, and a lock is an outage, which says nothing about anybody's password.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twisted.logger import Logger

from brokerkit.checkers.registry_rights import FIELDS
from brokerkit.checkers.table import AUTHKEYS, Layout, Table
from brokerkit.errors import ConfigError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from brokerkit.checkers.threads import Threads

log = Logger()

DEFAULT = "sqlite.db"
PATIENCE = 0.5  # seconds that a lock is waited for
TABLES = (
    """CREATE TABLE IF NOT EXISTS authkeys (
        id INTEGER PRIMARY KEY AUTOINCREMENT, owner TEXT, ident TEXT, secret TEXT, pubchans TEXT, subchans TEXT
    )""",
    # hpfeeds-broker makes these two as well; nobody uses them.
    "CREATE TABLE IF NOT EXISTS logs (id INTEGER PRIMARY KEY AUTOINCREMENT, data TEXT)",
    "CREATE TABLE IF NOT EXISTS stats (id INTEGER PRIMARY KEY AUTOINCREMENT, ak TEXT, uid TEXT, data TEXT)",
)


class SqliteUsers(Table):
    """Knows the users in the file's table ``authkeys``."""

    def __init__(self, path: str, reactor: Any, prefix: bytes = b"", threads: Threads | None = None) -> None:  # noqa: ANN401
        """Take the path; nothing is opened before the service starts."""
        self.path = os.path.abspath(path)  # noqa: PTH100  Path.resolve would follow the links, today's
        super().__init__(reactor, f"sqlite:{self.path}", AUTHKEYS, prefix, threads)

    def startService(self) -> None:
        """Make what is not there; raise ``ConfigError`` if the file cannot be used.

        A file that is locked just now is no such case.
        """
        super().startService()
        try:
            prepare(self.path)
        except sqlite3.OperationalError as error:
            if not is_locked(error):
                raise _unusable(self.path, error) from None
            log.warn("{source}: not looked at yet: {error}", source=self.source, error=error)
        except (sqlite3.Error, ValueError) as error:  # ValueError: a NUL in the path
            raise _unusable(self.path, error) from None

    def select(self, names: Sequence[str]) -> list[tuple[Any, ...]]:
        """Give the rows of those names; called in a thread."""
        try:
            with closing(connect(self.path)) as database:
                there = columns(database)
                return database.execute(statement(AUTHKEYS, len(names), there), names).fetchall()
        except (sqlite3.Error, ValueError) as error:
            raise OperatorError(str(error)) from None

    def select_names(self) -> list[object]:
        """Give the names in all rows; called in a thread."""
        try:
            with closing(connect(self.path)) as database:
                return [row[0] for row in database.execute(f"SELECT {AUTHKEYS.name} FROM {AUTHKEYS.table}")]  # noqa: S608
        except (sqlite3.Error, ValueError) as error:
            raise OperatorError(str(error)) from None


def connect(path: str) -> sqlite3.Connection:
    """Open a file that has to be there; text in it that is not UTF-8 comes as bytes."""
    database = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=rw",
        uri=True,
        timeout=PATIENCE,
        isolation_level=None,
        check_same_thread=False,  # each connection is one thread's at a time
    )
    database.text_factory = _text
    return database


def columns(database: sqlite3.Connection) -> set[str]:
    """Give the names of the columns that the table has."""
    return {row[1] for row in database.execute(f"PRAGMA table_info({AUTHKEYS.table})")}


def statement(layout: Layout, count: int, there: Container[str]) -> str:
    """Give the question for ``count`` names; a column of the registry that is not ``there`` is NULL."""
    marks = ",".join("?" * count)
    optional = [name if name in there else "NULL" for name in FIELDS]
    wanted = ", ".join([*layout.columns, *optional])
    return f"SELECT {wanted} FROM {layout.table} WHERE {layout.name} IN ({marks}) ORDER BY id"  # noqa: S608


def is_locked(error: BaseException | None) -> bool:
    """Say whether this is over when whoever writes to the file has done so."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def prepare(path: str) -> None:
    """Make the file and the tables as far as they are not there, and see whether the columns are.

    Raises ``ConfigError``, or what ``sqlite3`` raises.
    """
    _make_file(path)
    with closing(connect(path)) as database:
        has_table = "SELECT 1 FROM sqlite_master WHERE name = ?"
        if not database.execute(has_table, (AUTHKEYS.table,)).fetchone():
            for table in TABLES:
                database.execute(table)
        there = columns(database)
    for column in AUTHKEYS.columns:
        if column not in there:
            raise ConfigError(path, f"table {AUTHKEYS.table}", f"no column {column}", ", ".join(AUTHKEYS.columns))


def _make_file(path: str) -> None:
    """Make an empty file for the owner's eyes alone, since there will be secrets in it; SQLite takes it as its own."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  a path with a NUL is an error here, too
            raise ConfigError(path, "file", "something else", "an SQLite database")
    except FileNotFoundError:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            expected = "an SQLite database, or a place where one can be made"
            raise ConfigError(path, "file", error.strerror, expected) from None
    except OSError as error:
        raise ConfigError(path, "file", error.strerror, "an SQLite database") from None


def _unusable(path: str, error: Exception) -> ConfigError:
    return ConfigError(path, "file", str(error), "an SQLite database that can be used")


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
