"""brokerkit's own users, in an SQLite file: one row for each, a JSON record of what ``checkers.entry`` reads.

The commands change it while a broker runs or not; the broker only reads, and sees by SQLite's own ``data_version``
that something has changed.  A change is one transaction, on disk when the call returns, or nothing has happened.

The file holds secrets, so it is made for its owner's eyes alone before SQLite writes the first byte; the files that
SQLite puts beside it get the same mode.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from brokerkit.checkers.entry import ITS_OWN, Entry, read
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.stores import sqlite_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

MARK = 0x62_6B_75_73  # "bkus": SQLite's application_id says whose the file is
SCHEMA = 1
PATIENCE = 5.0  # seconds to wait for somebody else's change

# A replaced row gets another revision, and none is given twice.
_TABLE = """
create table users (
    revision integer primary key autoincrement,
    name text not null unique,
    record text not null
)
"""

_WORDS = {
    **sqlite_file.WORDS,
    "SQLITE_BUSY": "another program has locked it; try again",
    "SQLITE_LOCKED": "another program has locked it; try again",
    "SQLITE_FULL": "the disk is full, and nothing was changed",
    "SQLITE_CORRUPT": "is damaged; put back a copy",
}


class UserExists(OperatorError):
    """There is a user of that name already."""


class NoSuchUser(OperatorError):
    """There is no user of that name."""


def _one_line(path: Path) -> AbstractContextManager[None]:
    return sqlite_file.one_line(path, _WORDS)


class UserStore:
    """The open file; every method raises ``OperatorError`` where it cannot do what it says."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Take what ``open`` has made."""
        self.path = path
        self._connection = connection

    @classmethod
    def open(
        cls, path: Path, *, make: bool = False, first: Iterable[Entry] = (), patience: float = PATIENCE
    ) -> UserStore:
        """Open the file; with ``make``, make it where there is none, with the ``first`` users in it.

        ``patience`` is in seconds.  Used and closed in one thread.
        """
        with _one_line(path):
            if make:
                sqlite_file.make_file(path)
            elif not path.exists():
                raise OperatorError(f"{path}: there is no such store of users; `brokerkit user add` makes it")
            connection = sqlite3.connect(sqlite_file.address(path), uri=True, timeout=patience, isolation_level=None)
            store = cls(path, connection)
            try:
                store._prepare(first)
            except BaseException:
                connection.close()
                raise
        return store

    def _prepare(self, first: Iterable[Entry]) -> None:
        """See that the file is ours; make the table in one that is empty."""
        if self._pragma("journal_mode") != "wal":
            if not self._is_empty():
                self._check_mark()
            self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        if self._is_empty():
            self._make(first)
        self._check_mark()

    def _make(self, first: Iterable[Entry]) -> None:
        with self._change():
            if not self._is_empty():  # somebody else was quicker
                return
            self._connection.execute(_TABLE)
            self._connection.execute(f"pragma application_id = {MARK}")
            self._connection.execute(f"pragma user_version = {SCHEMA}")
            for entry in first:
                self._write(entry)

    def _is_empty(self) -> bool:
        return not self._connection.execute("select count(*) from sqlite_master").fetchone()[0]

    def _check_mark(self) -> None:
        if self._pragma("application_id") != MARK:
            raise OperatorError(f"{self.path}: is an SQLite database, but not one of brokerkit's users")
        schema = self._pragma("user_version")
        if schema != SCHEMA:
            text = f"{self.path}: was written by a newer brokerkit (schema {schema}; this one knows {SCHEMA})"
            raise OperatorError(text)

    def _pragma(self, name: str) -> Any:  # noqa: ANN401  a number or a word
        return self._connection.execute(f"pragma {name}").fetchone()[0]

    def __enter__(self) -> Self:
        """Close it at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        with _one_line(self.path):
            self._connection.close()

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """A number that grows with each change, made here or elsewhere; looking at it costs microseconds."""
        with _one_line(self.path):
            return int(self._pragma("data_version")) + self._connection.total_changes

    def records(self) -> dict[str, str]:
        """Give the records of all users, by name, as they are stored."""
        with _one_line(self.path):
            return dict(self._connection.execute("select name, record from users order by name"))

    def names(self) -> list[str]:
        """Give all names, in order."""
        return list(self.records())

    def all(self) -> list[Entry]:
        """Give all users, in the order of their names; raise ``ConfigError`` for a record that makes no sense."""
        return [read_record(name, record, self.path) for name, record in self.records().items()]

    def get(self, name: str) -> Entry:
        """Give one user; raise ``NoSuchUser``, or ``ConfigError`` if the record makes no sense."""
        with _one_line(self.path):
            found = self._connection.execute("select record from users where name = ?", (_sound(name),)).fetchone()
        if found is None:
            raise _nobody(name)
        return read_record(name, found[0], self.path)

    # -- changing -----------------------------------------------------------------------------------------------------

    def put(self, entry: Entry) -> None:
        """Add a user, or replace the one of that name."""
        with self._change():
            self._write(entry)

    def add(self, entry: Entry) -> None:
        """Add a user; raise ``UserExists``."""
        with self._change():
            if self._connection.execute("select 1 from users where name = ?", (entry.name,)).fetchone():
                text = f"there is a user {entry.name} already; `brokerkit user passwd`, `allow` and `deny` change it"
                raise UserExists(f"{text}, `brokerkit user remove` takes it away")
            self._write(entry)

    def change(self, name: str, how: Callable[[Entry], Entry]) -> Entry:
        """Replace a user by what ``how`` makes of it, and give that; raise ``NoSuchUser``."""
        with self._change():
            entry = how(self.get(name))
            self._write(entry)
        return entry

    def remove(self, name: str) -> None:
        """Take a user away; raise ``NoSuchUser``."""
        with self._change():
            if not self._connection.execute("delete from users where name = ?", (_sound(name),)).rowcount:
                raise _nobody(name)

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Make one transaction of what is done inside: all of it is on disk at the end, or nothing."""
        with _one_line(self.path):
            self._connection.execute("begin immediate")
            try:
                yield
                self._connection.execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def _write(self, entry: Entry) -> None:
        self._refuse_shared(entry)
        fields = {key: value for key, value in entry.fields().items() if key != "name"}
        record = json.dumps(fields, ensure_ascii=False)
        self._connection.execute("insert or replace into users (name, record) values (?, ?)", (entry.name, record))

    def _refuse_shared(self, entry: Entry) -> None:
        """Refuse what would let a login mean either of two users."""
        for key in ITS_OWN:
            value = getattr(entry, key)
            query = "select name from users where name <> ? and json_extract(record, ?) = ?"
            if value and (found := self._connection.execute(query, (entry.name, f"$.{key}", value)).fetchone()):
                raise OperatorError(f"{entry.name}: the user {found[0]} has the same {key}; each needs its own")
        # A certificate is also that of the user whose name is in it.
        query = "select name from users where name <> ? and (name = ? or json_extract(record, '$.certificate') = ?)"
        found = self._connection.execute(query, (entry.name, entry.certificate, entry.name)).fetchone()
        if found:
            text = f"{entry.name}: one's certificate has the name of the other, the user {found[0]}; it would be both's"
            raise OperatorError(text)


def read_record(name: str, record: str, path: Path) -> Entry:
    """Give the user of a row; raise ``ConfigError`` if it makes no sense."""
    place = f"{path}: {name}"
    try:
        fields = json.loads(record)
    except (ValueError, TypeError, RecursionError):
        raise ConfigError(place, "record", _Nonsense(), "a JSON object") from None
    if isinstance(fields, dict):
        fields = {**fields, "name": name}
    return read(fields, place, "", place)


class _Nonsense:
    def __repr__(self) -> str:
        return "something else"


def _sound(name: str) -> str:
    """Give a name that SQLite can be asked about; what is no Unicode is nobody's name."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise _nobody(name) from None
    return name


def _nobody(name: str) -> NoSuchUser:
    return NoSuchUser(f"there is no user {name!r}; `brokerkit user list` shows who there is")
