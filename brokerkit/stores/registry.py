"""The registry on disk: an SQLite file with the entries, the last changes, and one number, the revision.

Only the broker opens it, and uses it in one thread: ``commit`` is one transaction for as many writes as have come
together, on disk when it returns (WAL, ``synchronous=FULL``), or nothing has happened.  The file says whose it is, and
is looked through before it is used: what is damaged is refused, and named together with the command that helps.

A backup is made by SQLite while the file is in use, written whole or not at all, and is a store like any other.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.errors import OperatorError
from brokerkit.on_disk import to_disk
from brokerkit.registry.words import Change, Entry, NoRoom, Unwritable
from brokerkit.stores import sqlite_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

MARK = 0x62_6B_72_67  # "bkrg": SQLite's application_id says whose the file is
SCHEMA = 1
PATIENCE = 5.0  # seconds to wait for a lock; nobody else should have one
LEAP = 1_000_000  # revisions that a restored store begins later, so that none is given twice
WAL = 16 * 1024 * 1024  # bytes that the log beside the file is cut down to
RESTORE = "; `brokerkit bpbroker restore"

_TABLES = """
create table entries (
    name text primary key,
    data text not null,
    revision integer not null,
    created integer not null,
    version integer not null,
    ip text not null,
    ts integer not null,
    writer text not null,
    ttl real,
    expires real,
    owner text not null
);
create table changes (
    revision integer primary key,
    operation text not null,
    name text not null,
    ts integer not null,
    writer text not null,
    ip text not null,
    entry text not null,
    data text not null
);
create table counter (revision integer not null);
insert into counter values (0);
"""
_PUT = "insert or replace into entries values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_CHANGE = "insert into changes values (?, ?, ?, ?, ?, ?, ?, ?)"

_BACKUP = re.compile(r"\.\d{8}T\d{6}Z(-\d+)?\Z", re.ASCII)


@attrs.frozen
class Commit:
    """What is written at once.

    ``puts`` are entries with their data as JSON, ``gone`` names, ``renewed`` entries of which only the time is another.
    ``changes`` come with their data as JSON.  Changes before ``oldest`` are forgotten.
    """

    revision: int
    puts: Sequence[tuple[Entry, str]] = ()
    gone: Sequence[str] = ()
    renewed: Sequence[Entry] = ()
    changes: Sequence[tuple[Change, str]] = ()
    oldest: int = 0


@attrs.frozen
class Stored:
    """All that is in a store; sizes are in bytes of name and data."""

    revision: int
    entries: Sequence[tuple[Entry, int]]
    changes: Sequence[tuple[Change, int]]


def _remedy(path: Path) -> str:
    """Give the command that helps where a file is damaged."""
    return f"{RESTORE} --data-dir {shlex.quote(str(path.absolute().parent))}` puts back the latest backup"


def _one_line(path: Path) -> AbstractContextManager[None]:
    return sqlite_file.one_line(path, sqlite_file.with_remedy(_remedy(path)))


class RegistryStore:
    """The open file; used by one thread at a time."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Take what ``open`` has made."""
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, *, make: bool = True) -> RegistryStore:
        """Open the file, or make it; raise ``OperatorError`` for one that is not a registry's, or is damaged."""
        with _one_line(path):
            if make:
                sqlite_file.make_file(path)
            elif not path.exists():
                raise OperatorError(f"{path}: there is no such registry")
            connection = _connect(path)
            store = cls(path, connection)
            try:
                store._prepare()
            except BaseException:
                connection.close()
                raise
        return store

    def _prepare(self) -> None:
        if not self._is_empty():
            self._check_mark()
            self._check_soundness()
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.execute(f"pragma journal_size_limit = {WAL}")
        if self._is_empty():
            self._make()

    def _make(self) -> None:
        with self._whole():
            for statement in _TABLES.split(";"):
                self._connection.execute(statement)
            self._connection.execute(f"pragma application_id = {MARK}")
            self._connection.execute(f"pragma user_version = {SCHEMA}")

    def _is_empty(self) -> bool:
        return not self._connection.execute("select count(*) from sqlite_master").fetchone()[0]

    def _check_mark(self) -> None:
        if self._pragma("application_id") != MARK:
            raise OperatorError(f"{self.path}: is an SQLite database, but not one of brokerkit's registry")
        schema = self._pragma("user_version")
        if schema != SCHEMA:
            text = f"{self.path}: was written by a newer brokerkit (schema {schema}; this one knows {SCHEMA})"
            raise OperatorError(text)

    def _check_soundness(self) -> None:
        if self._connection.execute("pragma integrity_check(1)").fetchone()[0] != "ok":
            raise OperatorError(f"{self.path}: {sqlite_file.DAMAGED}{_remedy(self.path)}")

    def _pragma(self, name: str) -> Any:  # noqa: ANN401  a number or a word
        return self._connection.execute(f"pragma {name}").fetchone()[0]

    def close(self) -> None:
        """Close the file; what is in the log beside it is put in its place first."""
        with _one_line(self.path):
            self._connection.close()

    # -- reading ------------------------------------------------------------------------------------------------------

    def load(self) -> Stored:
        """Give everything; raise ``OperatorError`` for a row that makes no sense."""
        with _one_line(self.path):
            revision = int(self._connection.execute("select revision from counter").fetchone()[0])
            entries = [self._entry(row) for row in self._connection.execute("select * from entries order by name")]
            changes = [self._change(row) for row in self._connection.execute("select * from changes order by revision")]
        return Stored(revision, entries, changes)

    def _entry(self, row: tuple[Any, ...]) -> tuple[Entry, int]:
        name, text, *rest = row
        return Entry(name, self._data(name, text), *rest), len(name.encode()) + len(text)

    def _change(self, row: tuple[Any, ...]) -> tuple[Change, int]:
        revision, operation, name, ts, writer, ip, rest, text = row
        entry = Entry(name, self._data(name, text), *self._list(name, rest))
        return Change(revision, operation, name, entry, ts, writer, ip), len(name.encode()) + len(text)

    def _data(self, name: str, text: str) -> Mapping[str, Any]:
        with suppress(ValueError, TypeError, RecursionError):
            found = json.loads(text)
            if isinstance(found, dict):
                return found
        raise OperatorError(f"{self.path}: the entry {name!r} is no JSON object{_remedy(self.path)}")

    def _list(self, name: str, text: str) -> list[Any]:
        with suppress(ValueError, TypeError, RecursionError):
            found = json.loads(text)
            if isinstance(found, list) and len(found) == _IN_CHANGE:
                return found
        raise OperatorError(f"{self.path}: a change of {name!r} makes no sense{_remedy(self.path)}")

    # -- writing ------------------------------------------------------------------------------------------------------

    def commit(self, commit: Commit) -> None:
        """Write all of it, on disk when this returns, or nothing.

        Raises ``NoRoom`` if the disk is full, ``Unwritable`` for whatever else is in the way.
        """
        try:
            with self._whole():
                self._write(commit)
        except sqlite3.Error as error:
            text = f"{sqlite_file.said(error)}, and nothing was written"  # peers see it: no path
            raise (NoRoom(text) if sqlite_file.is_full(error) else Unwritable(text)) from None

    def _write(self, commit: Commit) -> None:
        execute, many = self._connection.execute, self._connection.executemany
        many(_PUT, (_row(entry, text) for entry, text in commit.puts))
        many("delete from entries where name = ?", ((name,) for name in commit.gone))
        many(
            "update entries set ttl = ?, expires = ? where name = ?",
            ((entry.ttl, entry.expires, entry.name) for entry in commit.renewed),
        )
        many(_CHANGE, (_change_row(change, text) for change, text in commit.changes))
        if commit.oldest:
            execute("delete from changes where revision < ?", (commit.oldest,))
        execute("update counter set revision = ?", (commit.revision,))

    @contextmanager
    def _whole(self) -> Iterator[None]:
        self._connection.execute("begin immediate")
        try:
            yield
            self._connection.execute("commit")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            raise

    def begin_anew(self, last: int) -> None:
        """Forget the history, and go on behind ``last`` and every revision that may have been given."""
        with _one_line(self.path), self._whole():
            self._connection.execute("delete from changes")
            self._connection.execute("update counter set revision = max(revision, ?) + ?", (last, LEAP))


def _connect(path: Path) -> sqlite3.Connection:
    # SQLite is not to make a file: it would be readable by others.
    return sqlite3.connect(
        sqlite_file.address(path), uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False
    )


_IN_CHANGE = 9  # fields of an entry beside its name and data


def _rest(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.revision,
        entry.created,
        entry.version,
        entry.ip,
        entry.ts,
        entry.by,
        entry.ttl,
        entry.expires,
        entry.owner,
    )


def _row(entry: Entry, text: str) -> tuple[Any, ...]:
    return (entry.name, text, *_rest(entry))


def _change_row(change: Change, text: str) -> tuple[Any, ...]:
    rest = json.dumps(_rest(change.entry))
    return (change.revision, change.operation, change.name, change.ts, change.by, change.ip, rest, text)


# -- backups that are rotated, and putting one back -------------------------------------------------------------------


def backup_name(path: Path, now: float) -> Path:
    """Give the name of a backup made now: beside others in the directory ``backups``, with the time in UTC."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    return path.parent / "backups" / f"{path.name}.{stamp}"


def backups(path: Path) -> list[Path]:
    """Give the backups of a store that there are, oldest first."""
    with suppress(OSError):
        found = (path.parent / "backups").glob(f"{path.name}.*")
        return sorted(one for one in found if _BACKUP.fullmatch(one.name.removeprefix(path.name)))
    return []


def copy(path: Path, target: Path) -> None:
    """Write a copy of a store, whole or not at all, for the owner's eyes alone; raise ``OperatorError``.

    In any thread, while the store is written to: a reader of its own sees one moment of it.
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    with _one_line(target):
        try:
            draft.unlink(missing_ok=True)
            os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            with closing(_connect(path)) as source, closing(sqlite3.connect(draft, isolation_level=None)) as fresh:
                source.backup(fresh)
                fresh.execute("pragma journal_mode = delete")  # one file, without a log beside it
            to_disk(draft)
            draft.replace(target)
            to_disk(target.parent)
        finally:
            draft.unlink(missing_ok=True)


def make_backup(path: Path, now: float, keep: int) -> Path:
    """Make a backup of a store, take away all but the last ``keep``, and give its path; raise ``OperatorError``."""
    target = backup_name(path, now)
    with _one_line(target.parent):
        target.parent.mkdir(mode=0o700, exist_ok=True)
    copy(path, target)
    for old in backups(path)[: -max(keep, 1)]:
        with suppress(OSError):
            old.unlink()
    return target


def restore(path: Path, backup: Path | None = None) -> Path:
    """Put a backup, the latest sound one if none is given, in the place of a store; give the backup that it was.

    What is there is not lost: it is put aside as ``NAME.damaged.<UTC>``.  The restored store begins at a revision that
    was never given, without a history, so that nobody who watches takes one time for the other.  Not while the broker
    runs: the caller sees to that.  Raises ``OperatorError`` if there is no backup that can be used.
    """
    candidates = [backup] if backup is not None else list(reversed(backups(path)))
    problem = f"{path.parent / 'backups'}: there is no backup of {path.name}"
    for candidate in candidates:
        try:
            _put_back(path, candidate)
        except OperatorError as error:
            problem = str(error).partition(RESTORE)[0]
        else:
            return candidate
    raise OperatorError(problem)


def is_sound(path: Path) -> bool:
    """Say whether there is a store that can be used."""
    try:
        store = RegistryStore.open(path, make=False)
        try:
            store.load()
        finally:
            store.close()
    except OperatorError:
        return False
    return True


def begin_empty(path: Path) -> None:
    """Put a damaged store aside, and an empty one in its place; raise ``OperatorError``.

    As with ``restore``, that begins at a revision that was never given.
    """
    last = _last_revision(path)
    with _one_line(path):
        _put_aside(path)
    store = RegistryStore.open(path)
    try:
        store.begin_anew(last)
    finally:
        store.close()


def _put_back(path: Path, backup: Path) -> None:
    fresh = path.with_name(f".{path.name}.restored")
    with _one_line(backup):
        for old in _with_companions(fresh):
            old.unlink(missing_ok=True)
        try:
            source = RegistryStore.open(_copied(backup, fresh), make=False)
            try:
                source.load()
                source.begin_anew(_last_revision(path))
            finally:
                source.close()
            _put_aside(path)
            to_disk(fresh)
            fresh.replace(path)
            to_disk(path.parent)
        finally:
            for old in _with_companions(fresh):
                old.unlink(missing_ok=True)


def _copied(source: Path, target: Path) -> Path:
    content = source.read_bytes()
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    return target


def _put_aside(path: Path) -> None:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for one in _with_companions(path):
        with suppress(FileNotFoundError):
            one.replace(one.with_name(one.name.replace(path.name, f"{path.name}.damaged.{stamp}", 1)))


def _with_companions(path: Path) -> list[Path]:
    """Give a store's file and those that SQLite puts beside it; these first, as they mean nothing without it."""
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "")]


def _last_revision(path: Path) -> int:
    """Give the last revision of a store that may be damaged, as far as that can be found out."""
    with suppress(sqlite3.Error, OSError, TypeError, ValueError), closing(_connect(path)) as connection:
        return int(connection.execute("select revision from counter").fetchone()[0])
    return 0
