"""The registry on disk: whole commits, sound files, backups, and clear words when it goes wrong."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import attrs
import pytest

from brokerkit.errors import OperatorError
from brokerkit.registry.words import DELETE, PUT, Change, Entry, NoRoom, Unwritable
from brokerkit.stores.registry import (
    LEAP,
    MARK,
    Commit,
    RegistryStore,
    Stored,
    backup_name,
    backups,
    copy,
    make_backup,
    restore,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WEB = Entry("web", {"port": 80}, 1, 1, 1, "192.0.2.1", 5, "ann")
LEASED = Entry("é/\n", {"x": "\ud800"}, 2, 2, 1, "", 6, "", 1.5, 7.5, "connection 1")


def _put(entry: Entry, revision: int | None = None) -> Commit:
    import json

    text = json.dumps(entry.data)
    revision = revision or entry.revision
    change = Change(revision, PUT, entry.name, entry, entry.ts, entry.by, entry.ip)
    return Commit(revision, [(entry, text)], changes=[(change, text)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a place for a store."""
    return tmp_path / "registry.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[RegistryStore]:
    """Give an empty store."""
    made = RegistryStore.open(path)
    yield made
    made.close()


def _content(path: Path) -> Stored:
    store = RegistryStore.open(path, make=False)
    try:
        return store.load()
    finally:
        store.close()


def test_what_is_committed_comes_back(path: Path, store: RegistryStore) -> None:
    """Entries, changes and the revision are there for whoever opens the file next."""
    store.commit(_put(WEB))
    store.commit(_put(LEASED))
    store.close()
    found = _content(path)
    assert found.revision == 2
    assert [entry for entry, _ in found.entries] == [WEB, LEASED]
    assert [change.entry for change, _ in found.changes] == [WEB, LEASED]
    assert [size for _, size in found.entries] == [len("web") + len('{"port": 80}'), len("é/\n".encode()) + 15]


def test_all_that_a_commit_does(store: RegistryStore) -> None:
    """It puts, takes away, prolongs, and forgets old changes, together."""
    store.commit(_put(WEB))
    store.commit(_put(LEASED))
    renewed = attrs.evolve(LEASED, ttl=9.0, expires=99.0)
    gone = Change(3, DELETE, "web", WEB, 8, "bob", "192.0.2.9")
    store.commit(Commit(3, gone=["web"], renewed=[renewed], changes=[(gone, "{}")], oldest=2))
    found = store.load()
    assert [entry for entry, _ in found.entries] == [renewed]
    assert [(change.revision, change.operation, change.by) for change, _ in found.changes] == [
        (2, PUT, ""),
        (3, DELETE, "bob"),
    ]


def test_a_commit_that_fails(store: RegistryStore) -> None:
    """It leaves nothing behind, and the next one works."""
    store.commit(_put(WEB))
    with pytest.raises(Unwritable, match="nothing was written"):
        store.commit(_put(LEASED, revision=1))  # a revision that there is already
    assert [entry for entry, _ in store.load().entries] == [WEB]
    store.commit(_put(LEASED))


def test_the_disk_is_full(store: RegistryStore) -> None:
    """A commit that finds no room says so, what was there stays, and with room it works again."""
    store.commit(_put(WEB))
    pages = store._pragma("page_count")
    store._connection.execute(f"pragma max_page_count = {pages}")
    large = Entry("large", {"x": "y" * 20_000}, 2, 2)
    with pytest.raises(NoRoom, match="the disk is full, and nothing was written"):
        store.commit(_put(large))
    assert store.load().revision == 1
    store._connection.execute("pragma max_page_count = 1000")
    store.commit(_put(large))
    assert store.load().revision == 2


def test_it_is_on_disk(store: RegistryStore) -> None:
    """SQLite is told to wait for the disk at each commit."""
    assert store._pragma("journal_mode") == "wal"
    assert store._pragma("synchronous") == 2


def test_for_the_owner_alone(path: Path) -> None:
    """No file of it can be read by others, whatever the umask; backups neither."""
    before = os.umask(0)
    try:
        store = RegistryStore.open(path)
        store.commit(_put(WEB))
        made = make_backup(path, 0, 3)
        files = [*path.parent.glob("registry*"), made]
        modes = {stat.S_IMODE(file.stat().st_mode) for file in files}
        assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700
        store.close()
    finally:
        os.umask(before)
    assert len(files) == 4
    assert modes == {0o600}


KILLED = """
import os, sys
from pathlib import Path
from brokerkit.registry.words import Entry
from brokerkit.stores.registry import Commit, RegistryStore
store = RegistryStore.open(Path(sys.argv[1]))
for i in range(1, 51):
    store.commit(Commit(i, [(Entry(f"name{i}", {}, i, i), "{}")]))
print(len(store.load().entries), flush=True)
store._connection.execute("begin immediate")
store._connection.execute("delete from entries")
os.kill(os.getpid(), 9)
"""


def test_killed(path: Path) -> None:
    """What a commit has returned for is there after the process was killed in the middle of the next one."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "50\n", done.stderr
    found = _content(path)
    assert (found.revision, len(found.entries)) == (50, 50)


# -- files that are no registry ---------------------------------------------------------------------------------------


def test_mark() -> None:
    """Files that exist carry this mark, so it must not change."""
    assert MARK == 0x626B7267


def test_another_file(path: Path) -> None:
    """What is no database is refused, and left as it is."""
    path.write_text("names: none\n" * 100)
    with pytest.raises(OperatorError, match=r"is no SQLite database.*brokerkit bpbroker restore"):
        RegistryStore.open(path)
    assert path.read_text() == "names: none\n" * 100


def test_another_database(path: Path) -> None:
    """A database of something else is refused, and left as it is."""
    with sqlite3.connect(path) as other:
        other.execute("create table entries (name text)")
    other.close()
    content = path.read_bytes()
    with pytest.raises(OperatorError, match="not one of brokerkit's registry"):
        RegistryStore.open(path)
    assert path.read_bytes() == content


def test_a_newer_store(path: Path) -> None:
    """A store of a later brokerkit is not touched."""
    RegistryStore.open(path).close()
    with sqlite3.connect(path) as other:
        other.execute("pragma user_version = 2")
    other.close()
    with pytest.raises(OperatorError, match="newer brokerkit \\(schema 2; this one knows 1\\)"):
        RegistryStore.open(path)


def _filled(path: Path, number: int = 300) -> None:
    store = RegistryStore.open(path)
    entries = [(Entry(f"name{i}", {"x": "y" * 50}, i, i), '{"x":"y"}') for i in range(1, number + 1)]
    store.commit(Commit(number, entries))
    store.close()


@pytest.mark.parametrize("place", [4096, 8192, 20_000])
def test_damaged(path: Path, place: int) -> None:
    """Damage anywhere refuses the start, with the command that helps."""
    _filled(path)
    content = bytearray(path.read_bytes())
    content[place : place + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(OperatorError, match=r"is damaged.*brokerkit bpbroker restore"):
        RegistryStore.open(path)


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_cut_short(path: Path, size: int) -> None:
    """A file that was cut is refused; an empty one is a new store."""
    _filled(path)
    os.truncate(path, size)
    if size:
        with pytest.raises(OperatorError, match="brokerkit bpbroker restore"):
            RegistryStore.open(path)
    else:
        assert _content(path).revision == 0


@pytest.mark.parametrize("text", ["no JSON", "[]", "", "5"])
def test_an_entry_that_makes_no_sense(path: Path, store: RegistryStore, text: str) -> None:
    """It is named, with the command that helps."""
    store.commit(Commit(1, [(WEB, text)]))
    with pytest.raises(OperatorError, match=r"the entry 'web' is no JSON object.*brokerkit bpbroker restore"):
        store.load()
    assert path.exists()


def test_no_directory(path: Path) -> None:
    """A directory that is not there is one line."""
    with pytest.raises(OperatorError, match="No such file or directory"):
        RegistryStore.open(path / "registry.sqlite")


# -- backups ----------------------------------------------------------------------------------------------------------


def test_a_backup(path: Path, store: RegistryStore) -> None:
    """It is a store of its own with everything in it, made while the store is in use."""
    store.commit(_put(WEB))
    made = make_backup(path, 1_800_000_000, 3)
    assert made == path.parent / "backups" / "registry.sqlite.20270115T080000Z"
    store.commit(_put(LEASED))
    assert [file.name for file in made.parent.iterdir()] == [made.name]
    assert [entry for entry, _ in _content(made).entries] == [WEB]


def test_backups_are_rotated(path: Path, store: RegistryStore) -> None:
    """The last few are kept; what is called otherwise is nobody's to take away."""
    store.commit(_put(WEB))
    for hour in range(5):
        make_backup(path, 3600 * hour, 3)
    mine = path.parent / "backups" / "registry.sqlite.before-the-move"
    mine.touch()
    assert [one.name for one in backups(path)] == [f"registry.sqlite.19700101T0{hour}0000Z" for hour in (2, 3, 4)]
    make_backup(path, 3600 * 6, 0)
    assert len(backups(path)) == 1
    assert mine.exists()


def test_a_backup_that_fails(path: Path, store: RegistryStore) -> None:
    """It leaves nothing behind."""
    store.commit(_put(WEB))
    target = path.parent / "nowhere" / "copy"
    with pytest.raises(OperatorError):
        copy(path, target)
    blocked = path.parent / "blocked"
    blocked.mkdir()
    (blocked / "in the way").touch()
    with pytest.raises(OperatorError):
        copy(path, blocked)
    assert not [one for one in path.parent.iterdir() if one.name.startswith(".")]


def test_restore(path: Path, store: RegistryStore) -> None:
    """The latest backup is put back; what was there is put aside, and no revision is given twice."""
    store.commit(_put(WEB))
    make_backup(path, 0, 3)
    made = make_backup(path, 1, 3)
    store.commit(_put(LEASED))
    store.close()
    assert restore(path) == made
    found = _content(path)
    assert [entry for entry, _ in found.entries] == [WEB]
    assert found.revision == 2 + LEAP
    assert found.changes == []
    aside = [one for one in path.parent.iterdir() if "damaged" in one.name]
    assert len(aside) == 1
    assert len(_content(aside[0]).entries) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [one for one in path.parent.iterdir() if one.name.startswith(".")]


def test_restore_over_a_damaged_store(path: Path) -> None:
    """A backup that is damaged itself is passed over for the one before it."""
    _filled(path)
    good, bad = make_backup(path, 0, 3), make_backup(path, 1, 3)
    bad.write_bytes(b"nonsense" * 1000)
    path.write_bytes(b"nonsense" * 1000)
    assert restore(path) == good
    assert len(_content(path).entries) == 300


def test_restore_one_that_is_named(path: Path, store: RegistryStore) -> None:
    """That one is taken, and if it cannot be used, no other."""
    store.commit(_put(WEB))
    first = make_backup(path, 0, 3)
    store.commit(_put(LEASED))
    make_backup(path, 1, 3)
    assert restore(path, first) == first
    assert len(_content(path).entries) == 1
    first.write_bytes(b"nonsense" * 1000)
    with pytest.raises(OperatorError, match=r"is no SQLite database$"):
        restore(path, first)
    assert len(_content(path).entries) == 1


def test_nothing_to_restore(path: Path) -> None:
    """Without a backup it is one line, and nothing is touched."""
    path.write_bytes(b"nonsense")
    with pytest.raises(OperatorError, match=r"there is no backup of registry\.sqlite"):
        restore(path)
    assert path.read_bytes() == b"nonsense"
    assert backup_name(path, 0).name == "registry.sqlite.19700101T000000Z"
