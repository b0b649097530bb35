"""brokerkit's own users as a source: held in memory, and taken again when the store changes."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from twisted.application.service import IService
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from brokerkit.app import make_broker
from brokerkit.checkers.entry import Entry
from brokerkit.checkers.own import INTERVAL, OwnUsers
from brokerkit.checkers.plugins import users as plugin
from brokerkit.config import Config
from brokerkit.credentials import Token
from brokerkit.errors import OperatorError, UnknownUser, WrongSecret
from brokerkit.grants import PUBLISH, Rule
from brokerkit.hashing import make_hash
from brokerkit.stores.users import UserStore

ANN = Entry("ann", secret="hush", publish=("a.>",))


class WithStore(SynchronousTestCase):
    """A store with one user, and a clock."""

    def setUp(self) -> None:
        """Make the store."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "users.sqlite"
        self.store = UserStore.open(self.path, make=True, first=[ANN])
        self.addCleanup(self.close)
        self.clock = Clock()

    def close(self) -> None:
        """Close the store that is open now."""
        self.store.close()

    def replace(self, other: Path) -> None:
        """Put another file in the store's place, and take away what SQLite keeps beside the former one."""
        for ending in ("-wal", "-shm"):
            Path(f"{self.path}{ending}").unlink()
        other.rename(self.path)

    def users(self) -> OwnUsers:
        """Give a source that is looking at the store."""
        users = OwnUsers(str(self.path), self.clock)
        users.startService()
        self.addCleanup(users.stopService)
        return users

    def knows(self, users: OwnUsers, name: str, secret: str = "hush") -> bool:
        """Say whether somebody can log in."""
        try:
            users.requestAvatarId(UsernamePassword(name.encode(), secret.encode()))
        except (UnknownUser, WrongSecret):
            return False
        return True


class Users(WithStore):
    """Who is known."""

    def test_a_store_that_everybody_can_read(self) -> None:
        """A store that was put back with another mode is said to be open, and nothing is said of a closed one."""
        with capturedLogs() as logs:
            self.users()
            self.path.chmod(0o644)
            self.users()
        said = [formatEvent(event) for event in logs if event["log_level"] is LogLevel.warn]
        text = f"{self.path} holds secrets and can be read by everybody: chmod go-rwx {self.path}"
        assert said == [text]

    def test_users_of_the_store(self) -> None:
        """It knows those in the store, by the store's name."""
        users = self.users()
        assert verifyObject(ICredentialsChecker, users)
        assert verifyObject(IService, users)
        user = users.requestAvatarId(UsernamePassword(b"ann", b"hush"))
        assert user.source == f"users:{self.path}"
        assert user.grants.permits(PUBLISH, b"a.b")
        assert users.names() == [b"ann"]
        with pytest.raises(WrongSecret):
            users.requestAvatarId(UsernamePassword(b"ann", b"guess"))
        with pytest.raises(UnknownUser):
            users.requestAvatarId(UsernamePassword(b"eve", b"hush"))

    def test_tokens_and_hashes(self) -> None:
        """Who has a token or a hash can log in by that."""
        hashed = make_hash(b"pw")
        self.store.add(Entry("bob", token="t0ken", password_hash=hashed))
        users = self.users()
        assert users.requestAvatarId(Token(b"t0ken")).name == b"bob"
        assert self.successResultOf(users.requestAvatarId(UsernamePassword(b"bob", b"pw"))).name == b"bob"
        self.failureResultOf(users.requestAvatarId(UsernamePassword(b"bob", b"hush")), WrongSecret)
        assert users.sample == hashed

    def test_where(self) -> None:
        """A rule is found by the store, the user and the key."""
        users = self.users()
        assert users.where(b"ann", PUBLISH, Rule(b"a.>")) == f"{self.path}: ann.publish[0]"
        assert users.where(b"ann", PUBLISH, None) == f"{self.path}: ann"
        assert users.where(b"eve", PUBLISH, None) == str(self.path)

    def test_no_store(self) -> None:
        """Without a store the start ends with one line that says what to do."""
        with pytest.raises(OperatorError, match="brokerkit user add"):
            OwnUsers(str(self.path.with_name("none")), self.clock)


class Changing(WithStore):
    """What happens when the store changes."""

    def test_changes_count_within_a_second(self) -> None:
        """Users are added, changed and removed without a restart."""
        users = self.users()
        self.store.add(Entry("bob", secret="hush"))
        assert not self.knows(users, "bob")
        self.clock.advance(INTERVAL)
        assert self.knows(users, "bob")
        self.store.put(Entry("bob", secret="other"))
        self.store.remove("ann")
        self.clock.advance(INTERVAL)
        assert self.knows(users, "bob", "other")
        assert not self.knows(users, "bob")
        assert not self.knows(users, "ann")
        assert (users.reloads, users.version, users.failures) == (2, 2, 0)

    def test_changes_count_at_once_when_told(self) -> None:
        """A look takes what is there, whatever the clock says."""
        users = self.users()
        self.store.remove("ann")
        users.look()
        assert not self.knows(users, "ann")

    def test_changes_before_the_start(self) -> None:
        """What changes between the first reading and the start of the service is seen by the start."""
        users = OwnUsers(str(self.path), self.clock)
        self.store.add(Entry("bob", secret="hush"))
        users.startService()
        self.addCleanup(users.stopService)
        assert self.knows(users, "bob")

    def test_no_change(self) -> None:
        """Without a change nothing is taken, and nobody who is logged in is looked at again."""
        users = self.users()
        self.clock.pump([INTERVAL] * 10)
        assert (users.reloads, users.version) == (0, 0)

    def test_only_what_has_changed_is_read(self) -> None:
        """Records that are the same are the same objects afterwards."""
        users = self.users()
        before = users._entries["ann"]
        self.store.add(Entry("bob", secret="hush"))
        self.clock.advance(INTERVAL)
        assert users._entries["ann"] is before

    def test_changes_by_hand(self) -> None:
        """A record that some SQL tool has changed counts too."""
        users = self.users()
        self.store._connection.execute("update users set record = replace(record, 'hush', 'shout')")
        self.clock.advance(INTERVAL)
        assert self.knows(users, "ann", "shout")
        assert not self.knows(users, "ann")

    def test_another_file_in_its_place(self) -> None:
        """A copy that is put back is seen, though the file is another one."""
        users = self.users()
        copy = self.path.with_name("copy")
        UserStore.open(copy, make=True, first=[Entry("bob", secret="hush")]).close()
        self.store.close()
        self.replace(copy)
        self.clock.advance(INTERVAL)
        assert self.knows(users, "bob")
        assert not self.knows(users, "ann")
        self.store = UserStore.open(self.path)
        self.store.remove("bob")
        self.clock.advance(INTERVAL)
        assert not self.knows(users, "bob")


class Failing(WithStore):
    """What happens when the store cannot be read."""

    def test_the_users_stay(self) -> None:
        """A store that is gone takes nobody away; it is said once, and again when it is back."""
        users = self.users()
        aside = self.path.with_name("aside")
        self.path.rename(aside)
        with capturedLogs() as logs:
            self.clock.pump([INTERVAL] * 5)
        assert len(logs) == 1
        assert "the users stay as they were" in str(formatEvent(logs[0]))
        assert str(self.path) in str(formatEvent(logs[0]))
        assert (users.failures, users.broken, users.version) == (1, True, 0)
        assert self.knows(users, "ann")
        aside.rename(self.path)
        with capturedLogs() as logs:
            self.clock.pump([INTERVAL] * 5)
        assert len(logs) == 1
        assert not users.broken

    def test_another_database_in_its_place(self) -> None:
        """What is not ours takes nobody away."""
        users = self.users()
        other = self.path.with_name("other")
        connection = sqlite3.connect(other)
        connection.execute("create table x (y)")
        connection.close()
        self.replace(other)
        self.clock.pump([INTERVAL] * 3)
        assert (users.failures, users.broken) == (1, True)
        assert self.knows(users, "ann")

    def test_a_record_that_makes_no_sense(self) -> None:
        """It is that user's trouble alone; no other source is asked for the name, and the secret is not logged."""
        self.store.add(Entry("bob", secret="hush"))
        users = self.users()
        with capturedLogs() as logs:
            self.store._connection.execute("update users set record = '{\"secret\": [\"hush\"]}' where name = 'bob'")
            self.clock.pump([INTERVAL] * 3)
        said = [str(formatEvent(event)) for event in logs]
        assert len([text for text in said if "bob" in text]) == 1
        assert "hush" not in repr(said)
        assert self.knows(users, "ann")
        with pytest.raises(WrongSecret):
            users.requestAvatarId(UsernamePassword(b"bob", b"hush"))
        assert users.users([b"ann", b"bob"]).keys() == {b"ann"}

    def test_locked(self) -> None:
        """A store that is locked altogether keeps nobody waiting, and its users in."""
        users = self.users()
        self.store.add(Entry("bob", secret="hush"))
        users.stopService()
        self.store.close()
        other = sqlite3.connect(self.path, isolation_level=None)
        other.execute("pragma locking_mode = exclusive")
        other.execute("begin exclusive")
        users.startService()
        assert (users.failures, users.broken) == (1, True)
        assert self.knows(users, "ann")
        other.close()
        self.clock.advance(INTERVAL)
        assert self.knows(users, "bob")
        assert not users.broken
        self.store = UserStore.open(self.path)


class Wiring(WithStore):
    """How it is named."""

    def test_the_store_of_the_data_directory(self) -> None:
        """``users`` alone is the store in the broker's data directory."""
        broker = make_broker(Config(auth=("users",), data_dir=str(self.path.parent)), self.clock)
        assert [asked.name for asked in broker.users.asked] == [f"users:{self.path}"]

    def test_a_path(self) -> None:
        """A path may be given; colons in it are its own."""
        odd = self.path.with_name("a:b.sqlite")
        UserStore.open(odd, make=True).close()
        broker = make_broker(Config(auth=(f"users:{odd}",)), self.clock)
        assert [asked.name for asked in broker.users.asked] == [f"users:{odd}"]

    def test_the_usual_place(self) -> None:
        """Without a data directory it is the usual one."""
        from unittest.mock import patch

        with patch.dict("os.environ", {"BROKERKIT_DATA_DIR": str(self.path.parent)}):
            assert plugin.checker("", self.clock).path == self.path
