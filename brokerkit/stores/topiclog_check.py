"""Looking through a log, batch by batch, whether a broker uses it or not; and a copy of it as it is at one moment.

SQLite says whether its own structure is sound; then each batch is read, its CRC compared, its columns counted, and its
offsets held against those around it and against what the log believes of the partition.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import attrs

from brokerkit.errors import OperatorError
from brokerkit.log.codec import Batch, Corrupt, Row, is_sound
from brokerkit.on_disk import to_disk
from brokerkit.stores.sqlite_file import said
from brokerkit.stores.topiclog import check_mark, connect, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MOST = 100  # problems that are told; of more, how many they are
_PARTS = """
select parts.id, topics.tenant, topics.name, parts.number, parts.first, parts.next, parts.bytes, parts.records,
       parts.cleaned
from parts join topics on topics.id = parts.topic order by topics.id, parts.number
"""


@attrs.define
class Checked:
    """What was found: ``problems`` are sentences, at most so many; ``more`` counts those beyond."""

    topics: int = 0
    partitions: int = 0
    batches: int = 0
    records: int = 0
    bytes: int = 0
    problems: list[str] = attrs.Factory(list)
    more: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def note(self, problem: str) -> None:
        """Take a problem in."""
        if len(self.problems) < MOST:
            self.problems.append(problem)
        else:
            self.more += 1


@attrs.frozen
class Place:
    """One partition, as the log has it."""

    id: int
    tenant: str
    name: bytes
    number: int
    first: int
    next: int
    bytes: int
    records: int
    cleaned: int

    def __str__(self) -> str:
        """Give it in words."""
        tenant = f"tenant {self.tenant!r}, " if self.tenant else ""
        return f"{tenant}topic {self.name.decode(errors='backslashreplace')!r}, partition {self.number}"


def check(path: Path, progress: Callable[[int], None] = lambda _: None) -> Checked:
    """Look through a log; ``progress`` is called with the number of batches, now and then.

    Raises ``OperatorError`` if it cannot be opened at all.
    """
    found = Checked()
    if not path.exists():
        raise OperatorError(f"{path}: there is no such log")
    with one_line(path), closing(connect(path)) as connection:
        check_mark(connection, path)
        connection.execute("begin")  # one moment of it, whatever is written meanwhile
        try:
            _check_structure(connection, found)
            for place in _places(connection):
                found.partitions += 1
                _check_part(connection, place, found, progress)
            found.topics = connection.execute("select count(*) from topics").fetchone()[0]
        except sqlite3.DatabaseError as error:
            found.note(f"the file cannot be read to its end: {said(error)}")
    return found


def _check_structure(connection: sqlite3.Connection, found: Checked) -> None:
    for (text,) in connection.execute(f"pragma quick_check({MOST})"):
        if text != "ok":
            found.note(f"SQLite: {' '.join(text.split())}")


def _places(connection: sqlite3.Connection) -> list[Place]:
    return [Place(id_, tenant, bytes(name), *rest) for id_, tenant, name, *rest in connection.execute(_PARTS)]


def _check_part(connection: sqlite3.Connection, place: Place, found: Checked, progress: Callable[[int], None]) -> None:
    size = records = 0
    after = -1
    for row in _rows(connection, place.id):
        found.batches += 1
        if not found.batches % 1000:
            progress(found.batches)
        size += len(row.body)
        records += row.records
        problem = _problem(row)
        if problem:
            found.note(f"{place}: the batch with offsets {row.base} to {row.last} {problem}")
        elif row.base < after:
            found.note(f"{place}: offset {row.base} is there twice")
        elif row.base > after >= place.cleaned and after > place.first:
            found.note(f"{place}: offsets {after} to {row.base - 1} are missing")
        after = row.last + 1
    if after > place.next:
        found.note(f"{place}: it should end before offset {place.next}, but has offset {after - 1}")
    if place.first < place.next and after < place.next and place.cleaned < place.next:
        found.note(f"{place}: offsets {max(after, place.first)} to {place.next - 1} are missing")
    if (size, records) != (place.bytes, place.records):
        text = f"it has {records} records in {size} bytes, and {place.records} in {place.bytes} are noted"
        found.note(f"{place}: {text}")
    found.records += records
    found.bytes += size


def _rows(connection: sqlite3.Connection, part: int) -> Iterator[Row]:
    for row in connection.execute("select * from batches where part = ? order by last", (part,)):
        yield Row(*row)


def _problem(row: Row) -> str:
    """Say what is wrong with a batch, nothing if it is sound."""
    if not is_sound(row):
        return "is not what was written: its CRC is wrong"
    try:
        batch = Batch(row)
        first, last = batch.offsets[0], batch.offsets[-1]
    except Corrupt as error:
        return f"cannot be taken apart: {error}"
    mended = last + max(batch.missing[-1] - 1, 0)  # what repair puts in the place of many stands for the last of them
    if first != row.base or row.last not in (last, mended):
        return "has other offsets inside"
    return ""


def backup(path: Path, target: Path) -> None:
    """Write a copy of a log as it is now, whole or not at all, also while a broker writes to it.

    The copy is a log of its own, without what was deleted.  Raises ``OperatorError``, also if ``target`` exists.
    """
    if not path.exists():
        raise OperatorError(f"{path}: there is no such log")
    if target.exists():
        raise OperatorError(f"{target}: is there already; name a file that is not")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    with one_line(target):
        try:
            draft.unlink(missing_ok=True)
            os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            with closing(connect(path)) as source:
                check_mark(source, path)
                source.execute("vacuum into ?", (str(draft),))
            to_disk(draft)
            draft.replace(target)
            to_disk(target.absolute().parent)
        finally:
            draft.unlink(missing_ok=True)
