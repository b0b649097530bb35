"""brokerkit's own users on disk: whole changes, for the owner's eyes alone, and clear words when it goes wrong."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from brokerkit.checkers.entry import Entry
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.stores.users import MARK, NoSuchUser, UserExists, UserStore

if TYPE_CHECKING:
    from collections.abc import Iterator

ANN = Entry("ann", secret="hush", publish=("a.>",))
BOB = Entry("bob", token="t0ken", rate=1.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a place for a store."""
    return tmp_path / "users.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[UserStore]:
    """Give an empty store."""
    with UserStore.open(path, make=True) as made:
        yield made


def test_users_come_back(path: Path, store: UserStore) -> None:
    """What was put in is there for whoever opens the file next."""
    store.add(BOB)
    store.put(ANN)
    assert store.names() == ["ann", "bob"]
    store.close()
    with UserStore.open(path) as again:
        assert again.all() == [ANN, BOB]
        assert again.get("ann") == ANN


def test_each_name_once(store: UserStore) -> None:
    """To add a second time is an error, to put is to replace."""
    store.add(ANN)
    with pytest.raises(UserExists, match="ann"):
        store.add(Entry("ann", secret="other"))
    assert store.get("ann") == ANN
    other = Entry("ann", secret="other")
    store.put(other)
    assert store.all() == [other]


def test_nobody(store: UserStore) -> None:
    """Who is not there cannot be shown, changed or removed, and the error says how to see who is."""
    for attempt in (store.get, store.remove, lambda name: store.change(name, lambda entry: entry)):
        for name in ("eve", "\udc80"):
            with pytest.raises(NoSuchUser, match="brokerkit user list"):
                attempt(name)


def test_remove(store: UserStore) -> None:
    """Who was removed is gone, and may be added again."""
    store.add(ANN)
    store.remove("ann")
    assert store.names() == []
    store.add(ANN)


def test_a_change_that_fails_changes_nothing(store: UserStore) -> None:
    """An error on the way leaves the store as it was, and usable."""
    store.add(ANN)

    def fail(_: Entry) -> Entry:
        raise OperatorError("no")

    with pytest.raises(OperatorError, match="no"):
        store.change("ann", fail)
    assert store.get("ann") == ANN
    store.put(BOB)


@pytest.mark.parametrize("key", ["token", "nkey", "certificate"])
def test_what_one_user_has_alone(store: UserStore, key: str) -> None:
    """Two users with one token, nkey or certificate are refused, and the message does not repeat it."""
    store.add(Entry("ann", **{key: "the same"}))
    with pytest.raises(OperatorError, match=f"ann has the same {key}") as caught:
        store.add(Entry("bob", **{key: "the same"}))
    assert "the same the" not in str(caught.value)
    assert store.names() == ["ann"]
    store.put(Entry("ann", **{key: "the same"}, owner="its own is no other's"))


def test_a_certificate_with_the_name_of_another(store: UserStore) -> None:
    """A certificate that would be two users' is refused, whichever of them comes first."""
    store.add(Entry("ann", secret="x", certificate="ann"))
    with pytest.raises(OperatorError, match=r"bob: .*ann"):
        store.add(Entry("bob", certificate="ann"))
    store.add(Entry("bob", certificate="cat"))
    with pytest.raises(OperatorError, match="cat: one's certificate has the name of the other, the user bob"):
        store.add(Entry("cat", secret="x"))
    assert store.names() == ["ann", "bob"]


def test_version(path: Path, store: UserStore) -> None:
    """It grows with each change, made here or elsewhere, and with nothing else."""
    seen = [store.version, store.version]
    store.add(ANN)
    seen.append(store.version)
    with UserStore.open(path) as other:
        other.add(BOB)
        seen.append(store.version)
        other.all()
        seen.append(store.version)
        other.remove("bob")
    seen.append(store.version)
    assert seen[0] == seen[1] < seen[2] < seen[3] == seen[4] < seen[5]


def test_first_users(path: Path) -> None:
    """Those who are to be in a new store are put into a new one only."""
    with UserStore.open(path, make=True, first=[ANN]) as store:
        store.remove("ann")
    with UserStore.open(path, make=True, first=[ANN]) as store:
        assert store.names() == []


def test_a_start_that_was_cut_short(path: Path) -> None:
    """A file that was made and not filled is filled now."""
    path.touch()
    with UserStore.open(path, make=True, first=[ANN]) as store:
        assert store.names() == ["ann"]


def test_for_the_owner_alone(path: Path) -> None:
    """The file and those beside it are never readable by others, whatever the umask."""
    before = os.umask(0)
    try:
        with UserStore.open(path, make=True) as store:
            store.add(ANN)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}


def test_it_is_on_disk(store: UserStore) -> None:
    """SQLite is told to wait for the disk."""
    assert store._pragma("journal_mode") == "wal"
    assert store._pragma("synchronous") == 2


def test_no_store(path: Path) -> None:
    """Without a file there is an error, and still no file."""
    with pytest.raises(OperatorError, match="there is no such store of users; `brokerkit user add` makes it"):
        UserStore.open(path)
    assert not path.exists()


def test_no_directory(path: Path) -> None:
    """A directory that is not there is one line."""
    with pytest.raises(OperatorError, match="No such file or directory"):
        UserStore.open(path / "users.sqlite", make=True)


def test_a_link_that_leads_nowhere(path: Path) -> None:
    """A link is not followed to make the file in another place, where SQLite would make it for everybody to read."""
    path.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(OperatorError):
        UserStore.open(path, make=True)
    assert not path.with_name("elsewhere").exists()


def test_a_directory(path: Path) -> None:
    """A directory in its place is one line."""
    path.mkdir()
    with pytest.raises(OperatorError, match="cannot be opened"):
        UserStore.open(path)


def test_another_file(path: Path) -> None:
    """What is no database is refused and left as it is."""
    path.write_text("users: none\n" * 100)
    with pytest.raises(OperatorError, match="is no SQLite database"):
        UserStore.open(path)
    assert path.read_text() == "users: none\n" * 100


def test_another_database(path: Path) -> None:
    """A database of something else is refused, and left as it is."""
    with sqlite3.connect(path) as other:
        other.execute("create table authkeys (ident text)")
    other.close()
    content = path.read_bytes()
    with pytest.raises(OperatorError, match="not one of brokerkit's users"):
        UserStore.open(path, make=True)
    assert path.read_bytes() == content


def test_a_newer_store(path: Path) -> None:
    """A store of a later brokerkit is not touched."""
    UserStore.open(path, make=True).close()
    with sqlite3.connect(path) as other:
        other.execute("pragma user_version = 2")
    other.close()
    with pytest.raises(OperatorError, match="newer brokerkit \\(schema 2; this one knows 1\\)"):
        UserStore.open(path)


def test_damaged(path: Path) -> None:
    """Damage is said in one line."""
    with UserStore.open(path, make=True) as store:
        for i in range(200):
            store.put(Entry(f"user{i}", secret="x" * 100))
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(OperatorError, match="is damaged"), UserStore.open(path) as store:
        store.all()


def test_locked(path: Path, store: UserStore) -> None:
    """A store that somebody else is changing is one line, after the time that was given."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    with UserStore.open(path, patience=0.01) as impatient:
        with pytest.raises(OperatorError, match="another program has locked it; try again"):
            impatient.add(ANN)
        assert impatient.names() == []  # reading goes on
    other.execute("rollback")
    other.close()
    store.add(ANN)


def test_the_disk_is_full(store: UserStore) -> None:
    """A change that finds no room is one line, and what was there stays."""
    store.add(ANN)
    pages = store._pragma("page_count")
    store._connection.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(OperatorError, match="the disk is full, and nothing was changed"):
        store.add(Entry("bob", secret="x" * 4000, owner="y" * 4000))
    assert store.all() == [ANN]
    store._connection.execute("pragma max_page_count = 1000")
    store.add(BOB)


@pytest.mark.parametrize(
    "record", ["no JSON", "[]", "5", '{"secret": 5}', '{"sceret": "x"}', "{}", '{"name":"eve"}', ""]
)
def test_a_record_that_makes_no_sense(path: Path, store: UserStore, record: str) -> None:
    """It is said of whom the record is; the others can be read."""
    store.add(ANN)
    store._connection.execute("insert into users (name, record) values ('bob', ?)", (record,))
    with pytest.raises(ConfigError) as caught:
        store.get("bob")
    assert str(caught.value).startswith(f"{path}: bob: ")
    assert store.get("ann") == ANN


KILLED = """
import os, sys
from pathlib import Path
from brokerkit.checkers.entry import Entry
from brokerkit.stores.users import UserStore
store = UserStore.open(Path(sys.argv[1]), make=True)
for i in range(50):
    store.add(Entry(f"user{i}", secret="x"))
print(len(store.names()), flush=True)
store._connection.execute("begin immediate")
store._connection.execute("delete from users")
os.kill(os.getpid(), 9)
"""


def test_killed(path: Path) -> None:
    """What a change has returned for is there after the process was killed in the middle of the next one."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "50\n", done.stderr
    with UserStore.open(path) as store:
        assert len(store.names()) == 50


def test_mark() -> None:
    """Files that exist carry this mark, so it must not change."""
    assert MARK == 0x626B7573


NAMES = st.sampled_from(["ann", "bob", "'; drop table users; --", "é", "A"])
ENTRIES = st.builds(Entry, NAMES, secret=st.text(min_size=1, max_size=5).filter(str.isprintable))


class Changes(RuleBasedStateMachine):
    """Any changes, held against a dictionary."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.directory = TemporaryDirectory()
        self.store = UserStore.open(Path(self.directory.name) / "users.sqlite", make=True)
        self.expected: dict[str, Entry] = {}

    @rule(entry=ENTRIES)
    def put(self, entry: Entry) -> None:
        """Put."""
        self.store.put(entry)
        self.expected[entry.name] = entry

    @rule(entry=ENTRIES)
    def add(self, entry: Entry) -> None:
        """Add, if there is none."""
        try:
            self.store.add(entry)
        except UserExists:
            assert entry.name in self.expected
        else:
            assert self.expected.setdefault(entry.name, entry) is entry

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        """Remove, if there is one."""
        try:
            self.store.remove(name)
        except NoSuchUser:
            assert name not in self.expected
        else:
            del self.expected[name]

    @rule()
    def look(self) -> None:
        """See that all is as expected."""
        assert {entry.name: entry for entry in self.store.all()} == self.expected

    def teardown(self) -> None:
        """Look once more, and clean up."""
        self.look()
        self.store.close()
        self.directory.cleanup()


Changes.TestCase.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_any_changes = Changes.TestCase
