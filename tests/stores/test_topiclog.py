"""The log on disk: whole commits, a full disk, damage that is named, looked for and repaired, and copies."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

import brokerkit
from brokerkit.cli.log import log as command
from brokerkit.errors import OperatorError
from brokerkit.log import NoRoom, Record, Write
from brokerkit.log.codec import Batch
from brokerkit.stores.topiclog import MARK, PAGE, TopicLogStore
from brokerkit.stores.topiclog_check import backup, check
from brokerkit.stores.topiclog_repair import repair, rows_in
from tests.log.logs import got, make, on_disk, put, values

if TYPE_CHECKING:
    from brokerkit.log import Log

ROUNDS = 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a place for a log."""
    return tmp_path / "log.sqlite"


def _filled(path: Path) -> dict[bytes, list[bytes | None]]:
    """Make a log with batches of all sizes, some of it deleted, some compacted; give what has to be in it."""
    log = on_disk(path, batch_bytes=4000)
    make(log, b"a")
    make(log, b"b", retention_messages=25)
    make(log, b"keyed", compact=True)
    make(log, b"gone")
    chance = random.Random(5)  # noqa: S311
    for i in range(ROUNDS):
        put(log, *[chance.randbytes(chance.choice([5, 300, 3000])) for _ in range(3)], name=b"a")
        put(log, b"b%d" % i, name=b"b")
        put(log, b"x" * 1000, name=b"gone")
        got(
            log.append([Write("", b"keyed", 0, Record(b"%d" % i, b"k%d" % (i % 7)))], cells={("s", b"%d" % i): b"v"}),
            log,
        )
    got(log.delete(b"gone"), log)
    got(log.tidying.run())
    got(log.tidying.compact(b"keyed"))
    found = _content(log)
    got(log.stopService(), log)
    return found


def _content(log: Log) -> dict[bytes, list[bytes | None]]:
    return {name: values(log, name) for name in log.topics()}


def _read(path: Path) -> dict[bytes, list[bytes | None]]:
    log = on_disk(path)
    try:
        return _content(log)
    finally:
        got(log.stopService(), log)


# -- opening ----------------------------------------------------------------------------------------------------------


def test_it_is_for_its_owner_alone(path: Path) -> None:
    """Nobody else can read the file, or those beside it, and it is on disk at each commit."""
    store = TopicLogStore.open(path)
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}
    execute = store._connection.execute
    assert (execute("pragma synchronous").fetchone(), execute("pragma journal_mode").fetchone()) == ((2,), ("wal",))
    store.close()


def test_what_a_killed_program_leaves_in_the_wal(path: Path, tmp_path: Path) -> None:
    """It counts as written since the last checkpoint; when it is more than may be left, it is put in its place."""
    store = TopicLogStore.open(path)
    with store._whole() as connection:
        connection.execute("create table ballast (body)")
        connection.executemany("insert into ballast values (?)", [(b"x" * 4000,)] * 500)
    left = Path(f"{path}-wal").stat().st_size
    assert left > 2_000_000
    for most in (left, left - 1):  # a copy of the files is what is there after a kill
        copy = tmp_path / f"killed-{most}" / path.name
        copy.parent.mkdir()
        for end in ("", "-wal"):
            copyfile(f"{path}{end}", f"{copy}{end}")
        again = TopicLogStore.open(copy, wal=most)
        kept = Path(f"{copy}-wal").stat().st_size
        assert (again.written, kept) == ((left, left) if most == left else (0, 0))
        assert again._connection.execute("select count(*) from ballast").fetchone() == (500,)
        again.close()
    store.close()


def test_no_second_program(path: Path) -> None:
    """A log that is in use is refused, in words, and can be opened when it is not any more."""
    store = TopicLogStore.open(path)
    with pytest.raises(OperatorError, match="another program uses it; is another broker running"):
        TopicLogStore.open(path)
    with pytest.raises(OperatorError, match="another program uses it"):
        repair(path)
    store.close()
    TopicLogStore.open(path).close()


def test_files_that_are_no_logs(path: Path) -> None:
    """Another database, a newer log, a text: each is refused with one line that says what it is."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table t (x)")
    with pytest.raises(OperatorError, match="not one of brokerkit's log"):
        TopicLogStore.open(path)
    path.unlink()
    TopicLogStore.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma application_id").fetchone() == (MARK,)
        connection.execute("pragma user_version = 99")
    with pytest.raises(OperatorError, match="newer brokerkit \\(schema 99"):
        TopicLogStore.open(path)
    path.write_text("this is no database, but long enough to be taken for one" * 20)
    with pytest.raises(OperatorError, match="is no SQLite database; `brokerkit log repair --data-dir"):
        TopicLogStore.open(path)


def test_a_truncated_file(path: Path) -> None:
    """It is refused with the command that repairs it; that keeps what there is, and the log works again."""
    expected = _filled(path)
    size = path.stat().st_size
    os.truncate(path, size * 2 // 3 // PAGE * PAGE + 100)
    with pytest.raises(
        OperatorError, match=r"is damaged; `brokerkit log repair --data-dir \S+` keeps what can be read"
    ):
        on_disk(path)
    done = repair(path)
    assert done.aside is not None
    assert done.aside.stat().st_size == size * 2 // 3 // PAGE * PAGE + 100
    assert done.lost
    assert check(path).problems == []
    _is_part_of(_read(path), expected)


def _is_part_of(found: dict[bytes, list[bytes | None]], expected: dict[bytes, list[bytes | None]]) -> None:
    """See that all that was read was there, in this order; ``None`` stands for a gap."""
    for name, contents in found.items():
        there = iter(expected.get(name) or [value for some in expected.values() for value in some])
        assert all(value in there for value in contents if value is not None), name


def test_a_damaged_end_is_found_at_the_start(path: Path) -> None:
    """The last batch of each partition is looked at: nothing is written behind what is not sound."""
    log = on_disk(path)
    make(log)
    put(log, b"x" * 3000)
    got(log.stopService(), log)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"x" * 1000, b"x" * 999 + b"y", 1))
    with pytest.raises(
        OperatorError, match="is damaged: the last batch of topic 't', partition 0; `brokerkit log repair"
    ):
        on_disk(path)


def test_settings_that_make_no_sense(path: Path) -> None:
    """What stands beside the batches is read with care, too."""
    log = on_disk(path)
    make(log)
    got(log.stopService(), log)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("update topics set settings = '[]'")
        connection.commit()
    with pytest.raises(OperatorError, match=r"the settings of topic .* make no sense; `brokerkit log repair"):
        on_disk(path)


# -- a full disk ------------------------------------------------------------------------------------------------------


def test_a_full_disk(path: Path) -> None:
    """What finds no room is not there at all, reading goes on, and with room writing does."""
    log = on_disk(path)
    make(log)
    put(log, b"before")
    connection = log._store._connection
    pages = connection.execute("pragma page_count").fetchone()[0]
    connection.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(NoRoom, match="the disk is full, and nothing was written"):
        put(log, *[b"x" * 10_000] * 20)
    assert values(log) == [b"before"]
    connection.execute("pragma max_page_count = 100000")
    assert put(log, b"after")[0].offset == 1
    assert values(log) == [b"before", b"after"]
    got(log.stopService(), log)
    assert check(path).problems == []


FULL = """
import resource, signal, sys
from pathlib import Path
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from brokerkit.log import Limits, Log, NoRoom, Record, Topic, Unwritable, Write

class AtOnce:
    start = stop = lambda self: None
    call = staticmethod(maybeDeferred)

def put(value):
    answer = log.append([Write("", b"t", 0, Record(value))])
    clock.advance(0)
    found = []
    answer.addCallbacks(found.append, lambda failure: found.append(failure.value))
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0][0].offset

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
clock = Clock()
log = Log(Path(sys.argv[1]), clock, Limits(tail_bytes=0), AtOnce())
log.startService()
log.create(Topic("", b"t"))
put(b"before")
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
done = 1
try:
    while True:
        put(b"x" * 20_000)
        done += 1
except Unwritable as error:
    print(error)
there = []
log.fetch(b"t", 0, 0).addCallback(lambda fetched: there.extend(fetched.records))
assert len(there) == done > 2, (done, len(there))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert put(b"after") == done
log.stopService()
clock.advance(1)
"""


def test_the_system_has_no_room(path: Path) -> None:
    """The same with a file that the system does not let grow: all that was answered is there, and nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(brokerkit.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert "nothing was written" in done.stdout
    assert check(path).problems == []


# -- looking through it -----------------------------------------------------------------------------------------------


def test_a_sound_log(path: Path) -> None:
    """Nothing is wrong with one that was written to, trimmed and compacted, also while it is in use."""
    expected = _filled(path)
    log = on_disk(path)
    put(log, b"meanwhile", name=b"a")
    found = check(path)
    assert (found.problems, found.topics, found.partitions) == ([], 3, 3)
    assert found.records >= sum(map(len, expected.values()))
    got(log.stopService(), log)


def _spoil(path: Path, statement: str, *values_: Any) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement, values_)
        connection.commit()


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("update batches set body = cast(body || x'00' as blob) where part = 1 and last = 2", "its CRC is wrong"),
        ("update batches set stored = 'abc' where part = 1 and last = 2", "its CRC is wrong"),
        ("delete from batches where part = 1 and last = 5", "offsets 3 to 5 are missing"),
        ("update parts set next = 500 where id = 1", "offsets 120 to 499 are missing"),
        ("update parts set next = 100 where id = 1", "it should end before offset 100, but has offset 119"),
        ("update parts set records = 7 where id = 1", "7 in .* are noted"),
    ],
)
def test_what_is_wrong_is_said(path: Path, statement: str, text: str) -> None:
    """Each kind of damage is one sentence with topic, partition and offsets."""
    import re

    _filled(path)
    _spoil(path, statement)
    problems = check(path).problems
    assert any(re.search(text, problem) and "topic 'a', partition 0" in problem for problem in problems), problems


# -- repairing --------------------------------------------------------------------------------------------------------


def test_repairing_a_sound_log(path: Path) -> None:
    """It loses nothing, and brings nothing back that was deleted."""
    expected = _filled(path)
    done = repair(path)
    assert done.lost == []
    assert check(path).problems == []
    assert _read(path) == expected
    log = on_disk(path)
    assert len(log.cells.items("s")) == ROUNDS
    assert put(log, b"next", name=b"a")[0].offset == ROUNDS * 3
    got(log.stopService(), log)


def test_repairing_one_batch(path: Path) -> None:
    """A batch that is damaged becomes a record that says how many are missing; all others stay."""
    expected = _filled(path)
    _spoil(path, "update batches set body = cast(body || x'00' as blob) where part = 1 and last = 5")
    done = repair(path)
    assert done.lost == ["topic 'a', partition 0: offsets 3 to 5"]
    found = _read(path)
    assert found[b"a"] == [*expected[b"a"][:3], None, *expected[b"a"][6:]]
    log = on_disk(path)
    assert [(one.offset, one.missing) for one in got(log.fetch(b"a", 0, 3, 1)).records] == [(3, 3)]
    got(log.stopService(), log)


@pytest.mark.parametrize("seed", range(8))
def test_repairing_damaged_pages(path: Path, seed: int) -> None:
    """Pages that are overwritten anywhere cost what was in them, and no more: what is kept was there, in its order."""
    expected = _filled(path)
    chance = random.Random(seed)  # noqa: S311
    pages = path.stat().st_size // PAGE
    with path.open("r+b") as file:
        for _ in range(3):
            file.seek(chance.randrange(0 if seed % 4 == 0 else 1, pages) * PAGE + chance.randrange(100))
            file.write(chance.randbytes(chance.choice([1, 50, PAGE - 200])))
    done = repair(path)
    assert check(path).problems == []
    found = _read(path)
    _is_part_of(found, expected)
    if not done.lost:
        assert found == expected
    kept = sum(value is not None for contents in found.values() for value in contents)
    assert kept > sum(map(len, expected.values())) / 2


def test_repairing_when_nothing_but_batches_is_left(path: Path) -> None:
    """Without the tables of topics, what is kept has another name, and says so."""
    expected = _filled(path)
    with closing(sqlite3.connect(path)) as connection:
        roots = connection.execute("select rootpage from sqlite_master where name in ('topics', 'parts')").fetchall()
    with path.open("r+b") as file:
        for (root,) in roots:
            file.seek((root - 1) * PAGE)
            file.write(b"\0" * PAGE)
    done = repair(path)
    assert any("recovered.1" in lost for lost in done.lost)
    assert [value for value in _read(path)[b"recovered.1"] if value is not None] == expected[b"a"]
    assert check(path).problems == []


def test_pages_are_read_as_sqlite_reads_them(path: Path) -> None:
    """What is found in the pages of a file is what SQLite finds, however its rows are spread."""
    _filled(path)
    with closing(sqlite3.connect(path)) as connection:
        there = {row[:2] for row in connection.execute("select part, last from batches")}
    rows = list(rows_in(path))
    assert {row[:2] for row in rows} == there
    assert all(Batch(row).records() for row in rows)


# -- copies and the command -------------------------------------------------------------------------------------------


def test_a_copy_of_a_log_in_use(path: Path, tmp_path: Path) -> None:
    """It is a sound log as it was at that moment, for its owner alone, and replaces nothing."""
    log = on_disk(path)
    make(log)
    put(log, b"1")
    target = tmp_path / "copy"
    backup(path, target)
    put(log, b"2")
    got(log.stopService(), log)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert check(target).problems == []
    assert _read(target) == {b"t": [b"1"]}
    with pytest.raises(OperatorError, match="is there already"):
        backup(path, target)
    with pytest.raises(OperatorError, match="there is no such log"):
        backup(tmp_path / "nowhere", tmp_path / "other")


def test_the_command(path: Path) -> None:
    """``check`` says what is wrong by its exit code, ``repair`` what was lost, ``backup`` where it is."""
    _filled(path)

    def run(*words: str) -> Any:
        return CliRunner().invoke(command, [*words[:1], "--data-dir", str(path.parent), *words[1:]])

    sound = run("check")
    assert (sound.exit_code, "sound (3 topics, 3 partitions" in sound.stderr) == (0, True)
    _spoil(path, "update batches set body = cast(body || x'00' as blob) where part = 1 and last = 5")
    damaged = run("check")
    assert (damaged.exit_code, "offsets 3 to 5" in damaged.stdout) == (1, True)
    assert "`brokerkit log repair`" in damaged.stderr
    mended = run("repair")
    assert (mended.exit_code, mended.stdout) == (0, "lost: topic 'a', partition 0: offsets 3 to 5\n")
    assert run("check").exit_code == 0
    copied = run("backup", str(path.with_name("copy")))
    assert (copied.exit_code, check(path.with_name("copy")).problems) == (0, [])
    path.unlink()
    missing = run("check")
    assert (missing.exit_code, missing.stderr) == (1, f"brokerkit: {path}: there is no such log\n")


def test_many_rows_at_once(path: Path) -> None:
    """A commit of more rows than one statement takes has all of them, and says of each partition how far it goes."""
    log = on_disk(path)
    names = [b"t%d" % i for i in range(150)]
    for name in names:
        make(log, name)
    for value in (b"a", b"b"):
        got(log.append([Write("", name, 0, Record(value + name)) for name in names]), log)
    expected = {name: [b"a" + name, b"b" + name] for name in names}
    assert {name: values(log, name) for name in names} == expected
    log.stopService()
    again = on_disk(path)
    assert {name: values(again, name) for name in names} == expected
    assert all(again.numbers(name, 0).records == 2 for name in names)
    again.stopService()
    assert check(path).problems == []
