"""The log on disk: an SQLite file with batches of records, and beside them whatever has to be as durable as they are.

Only the broker writes to it, in one thread: ``commit`` is one transaction for as many appends as have come together, on
disk when it returns (WAL, ``synchronous=FULL``), or nothing has happened.  The key of a batch is its partition and its
last offset, so that the batch that has an offset is one look-up away, however many there are.

Readers have connections of their own, each used by one thread at a time, and see what was committed.  What SQLite wrote
first (the WAL) is brought to its place by a third kind of connection, so that the writer does not wait for it.

The file says whose it is.  At the start the last batch of each partition is looked at, not all: that takes as long as
the file is large, and is what ``check`` (``brokerkit.stores.topiclog_check``) is for.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import sqlite3
from contextlib import closing, contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from brokerkit.errors import OperatorError
from brokerkit.log.codec import Row, is_sound
from brokerkit.log.words import LogError, NoRoom, Topic, TopicSettings, Unwritable
from brokerkit.stores import sqlite_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

MARK = 0x62_6B_6C_67  # "bklg": SQLite's application_id says whose the file is
SCHEMA = 1
PAGE = 8192
PATIENCE = 5.0  # seconds to wait for a lock; nobody else should have one
CACHE = 8 * 1024 * 1024
WAL = 64 * 1024 * 1024
REPAIR = "; `brokerkit log repair"

TABLES = """
create table topics (
    id integer primary key autoincrement,
    tenant text not null,
    name blob not null,
    stream text not null,
    partitions integer not null,
    settings text not null,
    unique (tenant, name)
);
create table parts (
    id integer primary key autoincrement,
    topic integer not null,
    number integer not null,
    first integer not null,
    next integer not null,
    bytes integer not null,
    records integer not null,
    peak integer not null,
    stored integer not null,
    cleaned integer not null,
    tombstones integer not null
);
create table streams (
    tenant text not null,
    name text not null,
    sequence integer not null,
    primary key (tenant, name)
) without rowid;
create table batches (
    part integer not null,
    last integer not null,
    base integer not null,
    records integer not null,
    low integer not null,
    high integer not null,
    peak integer not null,
    stored integer not null,
    sequence integer not null,
    crc integer not null,
    body blob not null,
    primary key (part, last)
) without rowid;
create table cells (
    space text not null,
    key blob not null,
    value blob not null,
    primary key (space, key)
) without rowid;
create table answers (
    kind integer not null,
    key blob not null,
    at integer not null,
    answer blob not null,
    primary key (kind, key)
) without rowid;
"""


class Numbers(NamedTuple):
    """What is known of a partition without reading it.

    ``bytes`` and ``records`` are those in its batches.  ``peak`` is the greatest timestamp that there ever was,
    ``stored`` when the last record was put here, both in ms.  What is below ``cleaned`` was compacted; ``tombstones``
    is when the oldest tombstone below that was put here, 0 if there is none.
    """

    id: int
    number: int
    first: int
    next: int
    bytes: int
    records: int
    peak: int
    stored: int
    cleaned: int
    tombstones: int


@attrs.frozen
class Answer:
    """What is remembered of an append, so that it is done once: ``kind`` 0 is of a producer, 1 of a key."""

    kind: int
    key: bytes
    at: int
    answer: bytes


class Grown(NamedTuple):
    """What a commit adds to a partition."""

    part: int
    next: int
    bytes: int
    records: int
    peak: int
    stored: int


@attrs.frozen
class Commit:
    """What is written at once."""

    rows: Sequence[Row] = ()
    grown: Sequence[Grown] = ()
    streams: Sequence[tuple[str, str, int]] = ()
    cells: Sequence[tuple[str, bytes, bytes | None]] = ()
    answers: Sequence[Answer] = ()
    forgotten: Sequence[tuple[int, bytes]] = ()


@attrs.frozen
class Loaded:
    """All that is known at the start; the batches stay where they are."""

    topics: Sequence[tuple[int, Topic, Sequence[Numbers]]]
    doomed: Sequence[int]
    streams: Sequence[tuple[str, str, int]]
    cells: Sequence[tuple[str, bytes, bytes]]
    answers: Sequence[Answer]


@attrs.frozen
class Trimmed:
    """What was taken away at the beginning of a partition: ``first`` is its first offset now.

    ``more`` says that there is more to take away, ``oldest`` is when the first batch that stays was put there, in ms.
    """

    first: int
    bytes: int
    records: int
    more: bool
    oldest: int


def remedy(path: Path) -> str:
    """Give the command that helps where a file is damaged."""
    return f"{REPAIR} --data-dir {shlex.quote(str(path.absolute().parent))}` keeps what can be read of it"


def words(path: Path | None) -> Mapping[str, str]:
    """Give the words for what goes wrong with a log."""
    return sqlite_file.WORDS if path is None else sqlite_file.with_remedy(remedy(path))


def one_line(path: Path | None) -> AbstractContextManager[None]:
    """Turn whatever SQLite and the system say into the one line that the operator reads."""
    return sqlite_file.one_line(path, words(path))


def connect(path: Path | None, cache: int = CACHE) -> sqlite3.Connection:
    """Give a connection to a file that is there, or to a log in memory."""
    address = sqlite_file.address(path) if path is not None else "file::memory:"
    made = sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    made.execute(f"pragma cache_size = -{cache // 1024}")
    return made


class Lock:
    """Keeps a second program from writing to the same file; the end of the process gives it up."""

    def __init__(self, path: Path) -> None:
        """Take it, or raise ``OperatorError``."""
        self._number = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(self._number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._number)
            text = "another program uses it; is another broker running with this data directory?"
            raise OperatorError(f"{path}: {text}") from None
        except OSError:  # a network file system, perhaps: the data directory has a lock of its own
            pass

    def release(self) -> None:
        """Give it up; not before every connection is closed: POSIX locks end with any descriptor of a file."""
        os.close(self._number)


class TopicLogStore:
    """The open file; what writes is used by one thread at a time, and so is what checkpoints."""

    def __init__(self, path: Path | None, connection: sqlite3.Connection, lock: Lock | None, cache: int) -> None:
        """Take what ``open`` has made."""
        self.path = path
        self.written = 0  # bytes since the last checkpoint, about
        self._cache = cache
        self._connection = connection
        self._lock = lock
        self._checkpoints: sqlite3.Connection | None = None
        self._readers: list[Reader] = []  # those that nobody uses now
        self._closed = False

    @classmethod
    def open(
        cls, path: Path | None, *, make: bool = True, cache: int = CACHE, wal: int = WAL, most: int = 0
    ) -> TopicLogStore:
        """Open the file, or make it, or with ``None`` be in memory, where ``most`` bytes are the bound.

        ``cache`` is SQLite's for each connection, ``wal`` what is left of the file that it writes first, in bytes.
        Raises ``OperatorError`` for a file that is not a log's, or is damaged, or in use.
        """
        with one_line(path):
            lock = None
            if path is not None:
                if make:
                    sqlite_file.make_file(path)
                elif not path.exists():
                    raise OperatorError(f"{path}: there is no such log")
                lock = Lock(path)
            try:
                connection = connect(path, cache)
                store = cls(path, connection, lock, cache)
                try:
                    store._prepare(wal, most)
                except BaseException:
                    connection.close()
                    raise
            except BaseException:
                if lock is not None:
                    lock.release()
                raise
        return store

    def _prepare(self, wal: int, most: int) -> None:
        execute = self._connection.execute
        if self._is_empty():
            execute(f"pragma page_size = {PAGE}")
        else:
            check_mark(self._connection, self.path)
        if self.path is not None:
            execute("pragma journal_mode = wal")
            execute("pragma synchronous = full")
            execute("pragma wal_autocheckpoint = 0")
            execute(f"pragma journal_size_limit = {wal}")
        else:
            execute("pragma journal_mode = memory")
        if self._is_empty():
            make_tables(self._connection)
        if most:
            execute(f"pragma max_page_count = {max(most // PAGE, 64)}")
        self._settle(wal)

    def _settle(self, most: int) -> None:
        """Count what a program that was killed has left in the WAL; what is more than ``most`` is put in its place now.

        Otherwise a program that is killed again and again, each time before its first checkpoint, fills the disk.
        """
        if self.path is None:
            return
        self.written = _size(f"{self.path}-wal")
        if self.written > most:
            with suppress(LogError):  # a full disk is no reason not to read
                self._checkpoint(self._connection, "truncate")
                self.written = 0

    def _is_empty(self) -> bool:
        return not self._connection.execute("select count(*) from sqlite_master").fetchone()[0]

    def close(self) -> None:
        """Close the file; what is in the WAL is put in its place first."""
        if self._closed:
            return
        self._closed = True
        with one_line(self.path):
            while self._readers:
                self._readers.pop().close()
            if self._checkpoints is not None:
                self._checkpoints.close()
            self._connection.close()
            if self._lock is not None:
                self._lock.release()

    # -- reading all --------------------------------------------------------------------------------------------------

    def load(self) -> Loaded:
        """Give all but the batches; raise ``OperatorError`` for what makes no sense."""
        with one_line(self.path):
            parts: dict[int, list[Numbers]] = {}
            for topic, *rest in self._connection.execute(
                "select topic, id, number, first, next, bytes, records, peak, stored, cleaned, tombstones"
                " from parts order by topic, number"
            ):
                parts.setdefault(topic, []).append(Numbers(*rest))
            topics = [self._topic(row, parts) for row in self._connection.execute("select * from topics order by id")]
            for _, topic, numbers in topics:
                for one in numbers:
                    self._check_end(topic, one)
            known = {id_ for id_, _, _ in topics}
            doomed = [one.id for topic, numbers in parts.items() if topic not in known for one in numbers]
            streams = self._connection.execute("select tenant, name, sequence from streams").fetchall()
            cells = self._connection.execute("select space, key, value from cells").fetchall()
            found = self._connection.execute("select kind, key, at, answer from answers order by at")
            answers = [Answer(*row) for row in found]
        return Loaded(topics, doomed, streams, cells, answers)

    def _topic(self, row: tuple[Any, ...], parts: dict[int, list[Numbers]]) -> tuple[int, Topic, Sequence[Numbers]]:
        id_, tenant, name, stream, partitions, settings = row
        numbers = parts.get(id_, [])
        if [one.number for one in numbers] != list(range(partitions)):
            raise OperatorError(f"{self.path}: the partitions of topic {name!r} are not all there{self._remedy()}")
        return id_, Topic(tenant, bytes(name), stream, partitions, self._settings(name, settings)), numbers

    def _settings(self, name: bytes, text: str) -> TopicSettings:
        try:
            return TopicSettings(**json.loads(text))
        except (ValueError, TypeError):
            raise OperatorError(f"{self.path}: the settings of topic {name!r} make no sense{self._remedy()}") from None

    def _check_end(self, topic: Topic, numbers: Numbers) -> None:
        """Raise ``OperatorError`` unless the last batch of a partition is sound, and the last that there was."""
        row = self._connection.execute(
            "select * from batches where part = ? order by last desc limit 1", (numbers.id,)
        ).fetchone()
        if row is None:
            return
        found = Row(*row)
        if not is_sound(found) or found.last >= numbers.next:
            where = f"topic {topic.name.decode(errors='replace')!r}, partition {numbers.number}"
            raise OperatorError(f"{self.path}: {sqlite_file.DAMAGED}: the last batch of {where}{self._remedy()}")

    def _remedy(self) -> str:
        return remedy(self.path) if self.path is not None else ""

    # -- writing ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _whole(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on disk at the end; raises ``NoRoom`` if the disk is full, ``Unwritable`` for the rest."""
        connection = self._connection
        try:
            with whole(connection):
                yield connection
        except sqlite3.Error as error:
            text = f"{sqlite_file.said(error)}, and nothing was written"  # peers see it: no path
            raise (NoRoom(text) if sqlite_file.is_full(error) else Unwritable(text)) from None

    def commit(self, commit: Commit) -> None:
        """Write all of it, on disk when this returns, or nothing.

        Raises ``NoRoom`` if the disk is full, ``Unwritable`` for whatever else is in the way.
        """
        with self._whole() as connection:
            many = connection.executemany
            if commit.rows:
                _insert(connection, _PUT_ROW, "", commit.rows)
                self.written += sum(len(row.body) for row in commit.rows)
            _insert(connection, _GROW_PART, _GROW, commit.grown)
            if commit.streams:
                many("insert or replace into streams values (?, ?, ?)", commit.streams)
            if commit.cells:
                kept = [one for one in commit.cells if one[2] is not None]
                many("insert or replace into cells values (?, ?, ?)", kept)
                gone = [one[:2] for one in commit.cells if one[2] is None]
                many("delete from cells where space = ? and key = ?", gone)
            if commit.forgotten:
                many("delete from answers where kind = ? and key = ?", commit.forgotten)
            if commit.answers:
                answers = [(one.kind, one.key, one.at, one.answer) for one in commit.answers]
                many("insert or replace into answers values (?, ?, ?, ?)", answers)
        self.written += PAGE * 2

    def create(self, topic: Topic) -> tuple[int, list[int]]:
        """Make a topic; give its number and those of its partitions."""
        with self._whole() as connection:
            made = connection.execute(
                "insert into topics (tenant, name, stream, partitions, settings) values (?, ?, ?, ?, ?)",
                (topic.tenant, topic.name, topic.stream, topic.partitions, _as_text(topic.settings)),
            ).lastrowid
            assert made is not None  # noqa: S101  an insert has a row
            return made, self._make_parts(connection, made, range(topic.partitions))

    def _make_parts(self, connection: sqlite3.Connection, topic: int, numbers: Iterable[int]) -> list[int]:
        made = []
        for number in numbers:
            row = connection.execute(
                "insert into parts (topic, number, first, next, bytes, records, peak, stored, cleaned, tombstones)"
                " values (?, ?, 0, 0, 0, 0, 0, 0, 0, 0)",
                (topic, number),
            ).lastrowid
            assert row is not None  # noqa: S101  an insert has a row
            made.append(row)
        return made

    def alter(self, number: int, topic: Topic, former: int) -> list[int]:
        """Change a topic, which has had ``former`` partitions; give the numbers of those that are new."""
        with self._whole() as connection:
            connection.execute(
                "update topics set partitions = ?, settings = ? where id = ?",
                (topic.partitions, _as_text(topic.settings), number),
            )
            return self._make_parts(connection, number, range(former, topic.partitions))

    def delete(self, number: int) -> None:
        """Take a topic away; its batches are taken away by ``remove``, slice by slice."""
        with self._whole() as connection:
            connection.execute("delete from topics where id = ?", (number,))

    def remove(self, part: int, most: int) -> bool:
        """Take about ``most`` records of a partition away whose topic is gone; say whether any are left."""
        with self._whole() as connection:
            last = _last_of_slice(connection, part, most)
            if last is None:
                connection.execute("delete from parts where id = ?", (part,))
                return False
            connection.execute("delete from batches where part = ? and last <= ?", (part, last))
            self.written += PAGE * 8
            return True

    def trim(self, numbers: Numbers, *, bytes_: int, first: int, before: int, most: int) -> Trimmed:
        """Take away the oldest batches of a partition, about ``most`` records at once.

        As long as what stays has ``bytes_`` of bodies (0: no matter), or a batch ends before the offset ``first``, or
        was put here ``before`` that time (in ms).  ``first`` holds to the offset, also within a batch.
        """
        with self._whole() as connection:
            gone, last, seen, more, oldest = 0, -1, 0, False, 0
            left = numbers.bytes
            begin = max(numbers.first, min(first, numbers.next))
            rows = connection.execute(
                "select last, records, length(body), stored from batches where part = ? order by last", (numbers.id,)
            )
            with closing(rows):
                for end, count, size, stored in rows:
                    oldest = stored
                    if not ((bytes_ and left - size >= bytes_) or end < first or stored < before):
                        break
                    if seen >= most:
                        more = True
                        break
                    left -= size
                    gone += size
                    seen += count
                    last = end
            begin = max(begin, last + 1)
            if last >= 0:
                connection.execute("delete from batches where part = ? and last <= ?", (numbers.id, last))
                self.written += PAGE * 8
            if begin != numbers.first:
                connection.execute(
                    "update parts set first = ?, bytes = bytes - ?, records = records - ? where id = ?",
                    (begin, gone, seen, numbers.id),
                )
        return Trimmed(begin, gone, seen, more, oldest)

    def replace(self, part: int, former: Sequence[int], row: Row | None) -> tuple[int, int]:
        """Put one batch, or none, in the place of several (their last offsets); give the bytes and records less.

        Nothing is done, and ``(0, 0)`` given, if not all of them are there any more.
        """
        with self._whole() as connection:
            marks = ",".join("?" * len(former))
            which = f"from batches where part = ? and last in ({marks})"
            there, size, records = connection.execute(
                f"select count(*), total(length(body)), total(records) {which}", (part, *former)
            ).fetchone()
            if there != len(former):
                return 0, 0
            connection.execute(f"delete {which}", (part, *former))
            less, fewer = int(size), int(records)
            if row is not None:
                connection.execute(_PUT, row)
                less, fewer = less - len(row.body), fewer - row.records
                self.written += len(row.body)
            connection.execute(
                "update parts set bytes = bytes - ?, records = records - ? where id = ?", (less, fewer, part)
            )
            return less, fewer

    def cleaned(self, part: int, cleaned: int, tombstones: int) -> None:
        """Note how far a partition was compacted."""
        with self._whole() as connection:
            connection.execute("update parts set cleaned = ?, tombstones = ? where id = ?", (cleaned, tombstones, part))

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def checkpoint(self) -> int:
        """Bring what was committed to its place, as far as no reader is in the way; give the bytes of the WAL.

        In any one thread beside the writer's, which does not wait for it.
        """
        if self._closed or self.path is None:
            return 0
        if self._checkpoints is None:
            self._checkpoints = connect(self.path, 1024 * 1024)
        self.written = 0
        return self._checkpoint(self._checkpoints, "passive")

    def restart(self) -> None:
        """Begin the WAL anew, in the writer's thread: it grows for ever where there is never a pause."""
        if not self._closed and self.path is not None:
            self._connection.execute("pragma busy_timeout = 50")
            try:
                self._checkpoint(self._connection, "restart")
            finally:
                self._connection.execute(f"pragma busy_timeout = {int(PATIENCE * 1000)}")

    def _checkpoint(self, connection: sqlite3.Connection, mode: str) -> int:
        try:
            _, pages, _ = connection.execute(f"pragma wal_checkpoint({mode})").fetchone()
        except sqlite3.Error as error:
            text = sqlite_file.said(error)
            raise (NoRoom(text) if sqlite_file.is_full(error) else Unwritable(text)) from None
        return max(int(pages), 0) * PAGE

    # -- reading ------------------------------------------------------------------------------------------------------

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Give a connection that reads, to one thread at a time; what was used before is used again."""
        try:
            reader = self._readers.pop()
        except IndexError:
            reader = self._make_reader()
        try:
            yield reader
        except sqlite3.Error as error:
            raise Unwritable(f"the log cannot be read: {sqlite_file.said(error)}") from None
        finally:
            if self._closed:
                reader.close()
            else:
                self._readers.append(reader)

    def _make_reader(self) -> Reader:
        if self.path is None:
            return Reader(self._connection, shared=True)
        return Reader(connect(self.path, self._cache))


class Reader:
    """A connection that reads; used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, *, shared: bool = False) -> None:
        """Use that connection; one that is shared is not closed."""
        self._connection = connection
        self._shared = shared
        if not shared:
            connection.text_factory = bytes  # damage may make text of a body, and not even that

    def close(self) -> None:
        """Close the connection."""
        if not self._shared:
            self._connection.close()

    def rows(self, part: int, offset: int, most_bytes: int, most_records: int) -> list[tuple[Row, bool]]:
        """Give the batches from that offset on, at least one, until they have so many bytes or records.

        With each comes whether it is sound.
        """
        found: list[tuple[Row, bool]] = []
        rows = self._connection.execute(
            "select * from batches where part = ? and last >= ? order by last", (part, offset)
        )
        with closing(rows):
            for one in rows:
                row = Row(*one)
                found.append((row, is_sound(row)))
                most_bytes -= len(row.body)
                most_records -= row.records if row.base >= offset else 1  # of the first one, it may be the last
                if most_bytes <= 0 or most_records <= 0:
                    break
        return found

    def at(self, part: int, first: int, stop: int, timestamp: int) -> Row | None:
        """Give the first batch from the offset ``first`` on that has a record of that time or later; ``None`` if none.

        The ``peak`` of batches never sinks, so the place is found by halving; from there on ``high`` decides.
        """
        execute = self._connection.execute
        low, high = first, stop
        while low < high:
            middle = (low + high) // 2
            row = execute(
                "select last, peak from batches where part = ? and last >= ? order by last limit 1", (part, middle)
            ).fetchone()
            if row is None or row[1] >= timestamp:
                high = middle
            else:
                low = row[0] + 1
        found = execute(
            "select * from batches where part = ? and last >= ? and high >= ? order by last limit 1",
            (part, low, timestamp),
        ).fetchone()
        return Row(*found) if found is not None else None


_PUT_ROW = "insert into batches values", "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_PUT = " ".join(_PUT_ROW)
# Each of these is there: it is an insert since that takes many rows at once.
_GROW_PART = (
    "insert into parts (id, next, bytes, records, peak, stored, topic, number, first, cleaned, tombstones) values",
    "(?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0)",
)
_GROW = (
    " on conflict (id) do update set next = excluded.next, bytes = bytes + excluded.bytes,"
    " records = records + excluded.records, peak = excluded.peak, stored = excluded.stored"
)
_TOGETHER = 64  # rows of one statement


def _insert(connection: sqlite3.Connection, words: tuple[str, str], end: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many in one call: for each call the thread gives Python up and has to get it back.

    The numbers of rows are powers of two, so that there are few statements to remember.
    """
    begin, one = words
    place = 0
    while place < len(rows):
        count = min(_TOGETHER, 1 << (len(rows) - place).bit_length() - 1)
        text = f"{begin} {', '.join([one] * count)}{end}"
        connection.execute(text, list(chain.from_iterable(rows[place : place + count])))
        place += count


@contextmanager
def whole(connection: sqlite3.Connection) -> Iterator[None]:
    """Do all that is done to a connection meanwhile, or nothing."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def make_tables(connection: sqlite3.Connection) -> None:
    """Make an empty database a log's."""
    with whole(connection):
        for statement in TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"pragma application_id = {MARK}")
        connection.execute(f"pragma user_version = {SCHEMA}")


def check_mark(connection: sqlite3.Connection, path: Path | None) -> None:
    """Raise ``OperatorError`` unless the database is a log's, of a kind that we know."""
    if connection.execute("pragma application_id").fetchone()[0] != MARK:
        raise OperatorError(f"{path}: is an SQLite database, but not one of brokerkit's log")
    schema = connection.execute("pragma user_version").fetchone()[0]
    if schema != SCHEMA:
        raise OperatorError(f"{path}: was written by a newer brokerkit (schema {schema}; this one knows {SCHEMA})")


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116  a name beside another
    except OSError:
        return 0


def _as_text(settings: TopicSettings) -> str:
    return json.dumps(attrs.asdict(settings))


def _last_of_slice(connection: sqlite3.Connection, part: int, most: int) -> int | None:
    """Give the last offset of the first batches of a partition that have about so many records."""
    last, seen = None, 0
    rows = connection.execute("select last, records from batches where part = ? order by last", (part,))
    with closing(rows):
        for end, count in rows:
            last = end
            seen += count
            if seen >= most:
                break
    return last
