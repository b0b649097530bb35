"""Making a sound log of a damaged one: every batch whose CRC is right is kept, and what is lost is said.

It works on a copy.  What SQLite can still read of topics and states is taken from it row by row.  Batches are looked
for in the pages of the file themselves (the format is that of https://www.sqlite.org/fileformat2.html), since one
damaged page in SQLite's tree hides all below it.  A page in the list of free ones has only what was deleted and is left
alone.

Where offsets are lost in the midst of a partition, a gap record says so, and at its end the numbering goes on behind
what is known to have been.  Batches of which nobody knows the topic become one called ``recovered.N``.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.errors import OperatorError
from brokerkit.log.codec import Batch, Corrupt, Row, gap, is_sound
from brokerkit.log.words import Topic, TopicSettings
from brokerkit.on_disk import to_disk
from brokerkit.stores.sqlite_file import make_file
from brokerkit.stores.topiclog import PAGE, Lock, TopicLogStore, connect, one_line, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MORE = 0x80  # the bit of a varint that says that another octet follows
LEAF, INTERIOR = 0x0A, 0x02  # pages of a table without rowid
HEADER = 100  # bytes at the start of the first page
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # serial type → bytes
_TYPES = {"topics": 6, "parts": 11, "streams": 3, "cells": 3, "answers": 4}  # table → columns


@attrs.define
class Repaired:
    """What was done: ``lost`` are sentences."""

    batches: int = 0
    records: int = 0
    lost: list[str] = attrs.Factory(list)
    aside: Path | None = None


# -- pages ------------------------------------------------------------------------------------------------------------


class Pages:
    """The pages of a database file, numbered from 1 on."""

    def __init__(self, path: Path) -> None:
        """Open it."""
        self._file = path.open("rb")
        self.count = path.stat().st_size // PAGE

    def close(self) -> None:
        """Close it."""
        self._file.close()

    def __getitem__(self, number: int) -> bytes:
        """Give a page."""
        if not 0 < number <= self.count:
            raise Corrupt(f"there is no page {number}")
        self._file.seek((number - 1) * PAGE)
        return self._file.read(PAGE)

    def free(self) -> set[int]:
        """Give the pages that are not in use, as far as the list of them can be read."""
        found: set[int] = set()
        with suppress(Corrupt, struct.error):
            trunk: int = struct.unpack_from(">I", self[1], 32)[0]
            while trunk and trunk not in found:
                page = self[trunk]
                following, count = struct.unpack_from(">II", page)
                found.add(trunk)
                found.update(struct.unpack_from(f">{min(count, PAGE // 4 - 2)}I", page, 8))
                trunk = following
        return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for i in range(8):
        octet = data[place + i]
        value = value << 7 | octet & 0x7F
        if not octet & MORE:
            return value, place + i + 1
    return value << 8 | data[place + 8], place + 9


def _local(size: int) -> int:
    """Give how many bytes of a payload stand in the page of an index itself."""
    most, least = (PAGE - 12) * 64 // 255 - 23, (PAGE - 12) * 32 // 255 - 23
    if size <= most:
        return size
    rest = least + (size - least) % (PAGE - 4)
    return rest if rest <= most else least


def _payloads(pages: Pages, number: int) -> Iterator[bytes]:
    """Give the payloads of the cells in a page, those that can be read."""
    page = pages[number]
    kind = page[0]
    if kind not in (LEAF, INTERIOR):
        return
    start = 12 if kind == INTERIOR else 8
    count = int.from_bytes(page[3:5], "big")
    if start + 2 * count > PAGE:
        return
    for place in struct.unpack_from(f">{count}H", page, start):
        with suppress(Corrupt, IndexError, struct.error):
            yield _payload(pages, page, place + (4 if kind == INTERIOR else 0))


def _payload(pages: Pages, page: bytes, place: int) -> bytes:
    size, place = _varint(page, place)
    local = _local(size)
    parts = [page[place : place + local]]
    left = size - local
    if left > pages.count * PAGE:
        raise Corrupt("a payload is larger than the file")
    following = int.from_bytes(page[place + local : place + local + 4], "big") if left else 0
    while left > 0:
        more = pages[following]
        following = int.from_bytes(more[:4], "big")
        parts.append(more[4 : 4 + min(left, PAGE - 4)])
        left -= PAGE - 4
    return b"".join(parts)


def _record(payload: bytes) -> list[Any]:
    """Give the columns of a record of integers and blobs."""
    end, place = _varint(payload, 0)
    types = []
    while place < end:
        kind, place = _varint(payload, place)
        types.append(kind)
    found: list[Any] = []
    place = end
    for kind in types:
        if kind in (8, 9):
            found.append(kind - 8)
            continue
        size = _INTEGERS.get(kind)
        if size is not None:
            found.append(int.from_bytes(payload[place : place + size], "big", signed=True))
        elif kind >= 12 and not kind % 2:  # noqa: PLR2004  the first that is a blob
            size = (kind - 12) // 2
            found.append(payload[place : place + size])
        else:
            raise Corrupt("a column is neither a number nor a blob")
        place += size
    return found


def rows_in(path: Path) -> Iterator[Row]:
    """Give every batch with a right CRC that stands in the pages of a file, in no order, perhaps more than once."""
    with closing(Pages(path)) as pages:
        free = pages.free()
        for number in range(1, pages.count + 1):
            if number not in free:
                for payload in _payloads(pages, number):
                    row = _row(payload)
                    if row is not None:
                        yield row


def _row(payload: bytes) -> Row | None:
    with suppress(Corrupt, IndexError, struct.error, TypeError, ValueError):
        columns = _record(payload)
        if len(columns) == len(Row._fields):
            row = Row(*columns)
            if is_sound(row) and len(Batch(row).offsets) == row.records:
                return row
    return None


# -- the rest of the file ---------------------------------------------------------------------------------------------


def _readable(copy: Path) -> tuple[dict[str, list[tuple[Any, ...]]], list[str]]:
    """Give what can be read of the small tables, and which of them are not whole."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    broken = []
    for table, width in _TYPES.items():
        found[table] = []
        try:
            with closing(connect(copy)) as connection:
                for row in connection.execute(f"select * from {table}"):  # noqa: S608  one of our own
                    if len(row) == width:
                        found[table].append(row)
        except sqlite3.Error:
            broken.append(table)
    return found, broken


def _copied(path: Path, copy: Path) -> None:
    """Copy a log with its WAL, fill it up to the length that it says it has, and put the WAL in its place."""
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        if source.exists():
            target = copy.with_name(copy.name + suffix)
            make_file(target)
            shutil.copyfile(source, target)
    size = copy.stat().st_size
    with copy.open("rb") as file:
        head = file.read(HEADER)
    stated = int.from_bytes(head[28:32], "big") * PAGE if len(head) == HEADER else 0
    full = -(-size // PAGE) * PAGE
    os.truncate(copy, max(full, stated if stated < size * 16 + 2**30 else 0))
    with suppress(sqlite3.Error), closing(connect(copy)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)").fetchone()


# -- repair -----------------------------------------------------------------------------------------------------------


def repair(path: Path, progress: Callable[[int], None] = lambda _: None) -> Repaired:
    """Put a sound log in the place of a damaged one, which is kept as ``NAME.damaged.<UTC>``.

    Not while a broker runs: raises ``OperatorError`` then, and if there is no file, or no room for two more of them.
    """
    if not path.exists():
        raise OperatorError(f"{path}: there is no such log")
    copy, fresh = path.with_name(f".{path.name}.copy"), path.with_name(f".{path.name}.repaired")
    with one_line(path):
        lock = Lock(path)
        try:
            _clear(copy, fresh)
            _copied(path, copy)
            done = _rebuilt(copy, fresh, progress)
            to_disk(fresh)
            done.aside = _put_aside(path)
            fresh.replace(path)
            to_disk(path.absolute().parent)
        finally:
            _clear(copy, fresh)
            lock.release()
    return done


def _clear(*paths: Path) -> None:
    for path in paths:
        for suffix in ("-wal", "-shm", "-journal", ""):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _put_aside(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged.{stamp}")
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
    return aside


def _rebuilt(copy: Path, fresh: Path, progress: Callable[[int], None]) -> Repaired:
    done = Repaired()
    tables, broken = _readable(copy)
    done.lost += [f"the table {table} could not be read to its end" for table in broken]
    store = TopicLogStore.open(fresh)
    try:
        with closing(connect(fresh)) as connection:
            connection.execute("pragma synchronous = off")  # it is brought to the disk as a whole, at the end
            with whole(connection):
                _put_tables(connection, tables)
                _put_rows(connection, copy, done, progress, is_known="parts" not in broken)
                _mend_parts(connection, done)
            connection.execute("pragma wal_checkpoint(truncate)").fetchone()
    finally:
        store.close()
    return done


def _put_tables(connection: sqlite3.Connection, tables: dict[str, list[tuple[Any, ...]]]) -> None:
    for table, rows in tables.items():
        marks = ",".join("?" * _TYPES[table])
        connection.executemany(f"insert or ignore into {table} values ({marks})", rows)  # noqa: S608


def _put_rows(
    connection: sqlite3.Connection, copy: Path, done: Repaired, progress: Callable[[int], None], *, is_known: bool
) -> None:
    """Put all batches in; of two for one place the one with fewer records, which compaction has written later."""
    parts = dict(connection.execute("select id, first from parts").fetchall())
    for row in rows_in(copy):
        if is_known and (row.part not in parts or row.last < parts[row.part]):
            continue  # what was deleted
        there = connection.execute(
            "select last, records from batches where part = ? and last >= ? and base <= ?",
            (row.part, row.base, row.last),
        ).fetchall()
        if any(records <= row.records for _, records in there):
            continue
        connection.executemany(
            "delete from batches where part = ? and last = ?", [(row.part, last) for last, _ in there]
        )
        connection.execute("insert into batches values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        done.batches += 1
        if not done.batches % 1000:
            progress(done.batches)


def _mend_parts(connection: sqlite3.Connection, done: Repaired) -> None:
    """Make topics and partitions what the batches say."""
    known = {id_ for (id_,) in connection.execute("select id from parts")}
    for (part,) in connection.execute("select distinct part from batches").fetchall():
        if part not in known:
            _recover(connection, part, done)
    for id_, topic, partitions in connection.execute("select id, name, partitions from topics").fetchall():
        numbers = {number for (number,) in connection.execute("select number from parts where topic = ?", (id_,))}
        for number in set(range(partitions)) - numbers:
            done.lost.append(f"topic {_shown(topic)}, partition {number}: all of it")
            connection.execute(_NEW, (None, id_, number))
    rows = connection.execute(
        "select parts.id, parts.first, parts.next, parts.cleaned, topics.name, parts.number"
        " from parts join topics on topics.id = parts.topic"
    ).fetchall()
    for row in rows:
        _mend_part(connection, *row, done=done)
    done.batches, done.records = connection.execute("select count(*), ifnull(sum(records), 0) from batches").fetchone()


_NEW = "insert into parts values (?, ?, ?, 0, 0, 0, 0, 0, 0, 0, 0)"


def _shown(name: bytes) -> str:
    return repr(bytes(name).decode(errors="backslashreplace"))


def _recover(connection: sqlite3.Connection, part: int, done: Repaired) -> None:
    import json

    name = f"recovered.{part}".encode()
    settings = json.dumps(attrs.asdict(TopicSettings()))
    topic = Topic("", name)
    made = connection.execute(
        "insert into topics (tenant, name, stream, partitions, settings) values (?, ?, ?, ?, ?)",
        (topic.tenant, topic.name, topic.stream, 1, settings),
    ).lastrowid
    first = connection.execute("select min(base) from batches where part = ?", (part,)).fetchone()[0]
    connection.execute(_NEW, (part, made, 0))
    connection.execute("update parts set first = ?, next = ? where id = ?", (first, first, part))
    done.lost.append(f"the name of a topic: what was in it is in {_shown(name)}")


def _mend_part(
    connection: sqlite3.Connection,
    part: int,
    first: int,
    following: int,
    cleaned: int,
    name: bytes,
    number: int,
    *,
    done: Repaired,
) -> None:
    place = first
    where = f"topic {_shown(name)}, partition {number}"
    peak = stored = 0
    for base, last, high, put in connection.execute(
        "select base, last, peak, stored from batches where part = ? order by last", (part,)
    ).fetchall():
        if base > place >= cleaned:
            done.lost.append(f"{where}: offsets {place} to {base - 1}")
            _put_gap(connection, part, place, base - place, stored or put, peak)
        place, peak, stored = last + 1, max(peak, high), max(stored, put)
    if place < following and following > cleaned:
        begin = max(place, cleaned)
        done.lost.append(f"{where}: offsets {begin} to {following - 1}")
        _put_gap(connection, part, begin, following - begin, stored, peak)
    following = max(following, place)
    size, records = connection.execute(
        "select ifnull(sum(length(body)), 0), ifnull(sum(records), 0) from batches where part = ?", (part,)
    ).fetchone()
    connection.execute(
        "update parts set next = ?, bytes = ?, records = ?, peak = max(peak, ?), stored = max(stored, ?) where id = ?",
        (following, size, records, peak, stored, part),
    )


def _put_gap(connection: sqlite3.Connection, part: int, place: int, count: int, stored: int, peak: int) -> None:
    row = gap(part, place, place + count - 1, stored, peak)
    connection.execute("insert into batches values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
