"""A file of users that is read again when it changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from twisted.application.service import IService
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from brokerkit.checkers import json_file, watched
from brokerkit.checkers.json_file import JsonUsers
from brokerkit.errors import ConfigError, UnknownUser, WrongSecret
from brokerkit.grants import PUBLISH

if TYPE_CHECKING:
    from brokerkit.client import User


def content(*names: str, secret: str = "hush") -> str:
    """Give a file with these users."""
    return json.dumps({name: {"owner": "", "secret": secret, "pubchans": ["a"], "subchans": []} for name in names})


def login(users: JsonUsers, name: str = "ann", secret: str = "hush") -> User:
    """Log in with name and password."""
    return users.requestAvatarId(UsernamePassword(name.encode(), secret.encode()))


class WithFile(SynchronousTestCase):
    """A temporary file and a clock."""

    def setUp(self) -> None:
        """Write a file with one user."""
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.path = self.directory / "users.json"
        self.path.write_text(content("ann"))
        self.clock = Clock()

    def users(self, **options: Any) -> JsonUsers:
        """Give a checker that is looking at the file."""
        users = JsonUsers(str(self.path), self.clock, **options)
        users.startService()
        self.addCleanup(users.stopService)
        return users

    def write(self, text: str) -> None:
        """Put another file in its place."""
        other = self.path.with_suffix(".new")
        other.write_text(text)
        other.rename(self.path)


class Starting(WithFile):
    """What is needed at the start."""

    def test_users_of_the_file(self) -> None:
        """It knows the users in the file, by the file's name."""
        users = self.users()
        assert verifyObject(ICredentialsChecker, users)
        assert verifyObject(IService, users)
        assert login(users).source == f"json:{self.path}"
        with pytest.raises(WrongSecret):
            login(users, "ann", "guess")
        with pytest.raises(UnknownUser):
            login(users, "bob")

    def test_prefix(self) -> None:
        """Names are put under the prefix, also when the file is read again."""
        users = self.users(prefix=b"honeypot")
        assert login(users).grants.permits(PUBLISH, b"honeypot.a")
        self.write(content("bob"))
        self.clock.advance(1)
        assert login(users, "bob").grants.permits(PUBLISH, b"honeypot.a")

    def test_relative_path(self) -> None:
        """The path counts from the directory that the broker was started in, wherever it goes afterwards."""
        assert JsonUsers(os.path.relpath(self.path), self.clock).path == str(self.path)

    def test_missing(self) -> None:
        """No file, no start."""
        self.path.unlink()
        with pytest.raises(ConfigError) as error:
            JsonUsers(str(self.path), self.clock)
        assert f"{self.path}: file: found 'No such file or directory'" in str(error.value)

    def test_broken(self) -> None:
        """A file that is not right, no start."""
        self.path.write_text("{")
        with pytest.raises(ConfigError):
            JsonUsers(str(self.path), self.clock)

    def test_no_regular_file(self) -> None:
        """A directory, a device and a pipe that nobody writes to are refused at once."""
        pipe = self.directory / "pipe"
        os.mkfifo(pipe)
        for path in (str(self.directory), "/dev/null", str(pipe), "a\0b"):
            with pytest.raises(ConfigError):
                JsonUsers(path, self.clock)

    def test_too_big(self) -> None:
        """A file that cannot be one of users is not read to its end."""
        self.patch(watched, "MAX_SIZE", len(content("ann")))
        self.users()
        self.patch(watched, "MAX_SIZE", len(content("ann")) - 1)
        with pytest.raises(ConfigError):
            JsonUsers(str(self.path), self.clock)


class Changing(WithFile):
    """How a change is found."""

    def assert_taken(self, users: JsonUsers, name: str = "bob") -> None:
        """Hold that the file's new user is known within a second."""
        self.clock.advance(1)
        assert login(users, name).name == name.encode()
        assert not users.broken

    def test_rename(self) -> None:
        """A file that is renamed over the old one is taken, and its users stand in place of the old ones."""
        users = self.users()
        self.write(content("bob"))
        with pytest.raises(UnknownUser):
            login(users, "bob")
        self.assert_taken(users)
        with pytest.raises(UnknownUser):
            login(users, "ann")
        assert (users.reloads, users.failures) == (1, 0)

    def test_in_place(self) -> None:
        """A file that is written in place is taken."""
        users = self.users()
        self.path.write_text(content("ann", "bob"))
        self.assert_taken(users)

    def test_same_size_and_time(self) -> None:
        """A file of the same length and the same date is taken: its inode or its time of change differs."""
        users = self.users()
        before = self.path.stat()
        self.write(content("bob"))
        os.utime(self.path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.assert_taken(users)

    def test_kubernetes(self) -> None:
        """A directory that is swapped behind a symbolic link is seen."""
        for name in ("ann", "bob"):
            (self.directory / name).mkdir()
            (self.directory / name / "users.json").write_text(content(name))
        self.path.unlink()
        (self.directory / "..data").symlink_to("ann")
        self.path.symlink_to("..data/users.json")
        users = self.users()
        login(users, "ann")
        (self.directory / "new").symlink_to("bob")
        (self.directory / "new").rename(self.directory / "..data")
        self.assert_taken(users)

    def test_changed_before_the_start(self) -> None:
        """What changes between the reading and the start of the service is seen too."""
        users = JsonUsers(str(self.path), self.clock)
        self.write(content("bob"))
        users.startService()
        self.addCleanup(users.stopService)
        self.assert_taken(users)

    def test_no_change(self) -> None:
        """A file that stays as it is is not read again."""
        users = self.users()
        self.patch(watched, "read", None)
        self.clock.pump([1.0] * 5)
        assert (users.reloads, users.failures, users.broken) == (0, 0, False)

    def test_stopped(self) -> None:
        """A service that is stopped leaves nothing behind, and can be started again."""
        users = self.users()
        users.stopService()
        assert self.clock.getDelayedCalls() == []
        self.write(content("bob"))
        users.startService()
        self.assert_taken(users)

    def test_version(self) -> None:
        """The version tells whoever wants to know that the users have changed, and that they have not."""
        users = self.users()
        before = users.version
        self.write(content("bob"))
        self.assert_taken(users)
        assert users.version == before + 1
        self.write("{")
        self.clock.advance(1)
        assert users.version == before + 1


class Breaking(WithFile):
    """What a file that cannot be used does to the users, and to the log."""

    def assert_kept(self, users: JsonUsers, failures: int) -> None:
        """Hold that the old users stay, however often the file is looked at, and that it is said once."""
        with capturedLogs() as logs:
            self.clock.pump([1.0] * 5)
        login(users, "ann")
        assert users.broken
        assert users.failures == failures
        assert len(logs) == 1
        assert "the users stay as they were" in formatEvent(logs[0])
        assert "hush" not in formatEvent(logs[0])

    def assert_recovers(self, users: JsonUsers) -> None:
        """Hold that a good file is taken and that it is said."""
        self.write(content("bob"))
        with capturedLogs() as logs:
            self.clock.pump([1.0] * 5)
        login(users, "bob")
        assert not users.broken
        assert [formatEvent(event) for event in logs] == [f"json:{self.path}: read again: 1 users"]

    def test_broken(self) -> None:
        """A broken file is not taken; each further broken one is said again; a good one is taken."""
        users = self.users()
        self.write(content("ann", "bob")[:-1])
        self.assert_kept(users, 1)
        self.write('{"ann": {"secret": "hush"}}')
        self.assert_kept(users, 2)
        self.assert_recovers(users)
        assert (users.reloads, users.failures) == (1, 2)

    def test_deleted(self) -> None:
        """A file that is gone takes nobody away."""
        users = self.users()
        self.path.unlink()
        self.assert_kept(users, 1)
        self.assert_recovers(users)

    def test_gone_and_back(self) -> None:
        """The very same file, away and back again, mends it."""
        users = self.users()
        away = self.path.rename(self.directory / "away")
        self.assert_kept(users, 1)
        away.rename(self.path)
        self.clock.advance(1)
        assert not users.broken

    def test_unreadable_for_a_time(self) -> None:
        """What cannot be opened is tried again, even if nothing about the file changes."""
        users = self.users()
        self.write(content("bob"))

        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        patch = self.patch(watched, "_without_waiting", refuse)
        self.assert_kept(users, 1)
        patch.restore()
        self.clock.advance(1)
        login(users, "bob")
        assert not users.broken

    def test_directory_in_its_place(self) -> None:
        """A directory in its place is a broken file, and looking at it every second uses nothing up."""
        users = self.users()
        self.path.unlink()
        self.path.mkdir()
        before = len(list(Path("/dev/fd").iterdir()))
        self.assert_kept(users, 1)
        assert len(list(Path("/dev/fd").iterdir())) == before

    def test_bug(self) -> None:
        """Not even a bug stops the looking."""
        users = self.users()
        patch = self.patch(json_file, "steps", lambda *_: 1 // 0)
        self.write(content("bob"))
        self.clock.advance(1)
        assert users.broken
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1
        login(users, "ann")
        patch.restore()
        self.write(content("bob"))
        self.clock.advance(1)
        login(users, "bob")


class Ticking(Clock):
    """A clock on which looking at the time takes some of it, as on a machine that is at work."""

    tick = 0.001

    def seconds(self) -> float:
        """Give the time, and let some pass."""
        now: float = super().seconds()
        self.rightNow = now + self.tick
        return now

    def callLater(self, when: float, what: Any, *args: object, **kwargs: object) -> Any:
        """Let what is to be done at once wait for the next step of a test."""
        return super().callLater(when or 0.5, what, *args, **kwargs)


class InSlices(WithFile):
    """A file that takes long to read is read while other work goes on."""

    def setUp(self) -> None:
        """Write a file, and take a clock that shows how long things take."""
        super().setUp()
        self.clock = Ticking()

    def begin(self, *names: str) -> JsonUsers:
        """Give users who are being replaced by others, that take many slices to read."""
        users = self.users()
        self.write(content(*names, *map(str, range(100))))
        users.look()
        return users

    def go_on(self, slices: int = 1) -> None:
        """Let some slices of work be done."""
        for _ in range(slices):
            self.clock.advance(0.5)

    def test_old_users_until_then(self) -> None:
        """Until all is read, the users are the old ones; then they are the new ones, at once."""
        users = self.begin("bob")
        slices = 0
        while not users.reloads:
            login(users, "ann")
            self.go_on()
            slices += 1
            assert slices < 100
        assert slices > 10
        login(users, "bob")
        with pytest.raises(UnknownUser):
            login(users, "ann")

    def test_broken_at_the_end(self) -> None:
        """What is wrong is found only at the end, and the users stay."""
        users = self.users()
        self.write(content(*map(str, range(100)))[:-1])
        users.look()
        assert not users.failures
        with capturedLogs() as logs:
            self.go_on(100)
        assert (users.failures, len(logs)) == (1, 1)
        login(users, "ann")

    def test_changed_meanwhile(self) -> None:
        """A file that changes while it is being read is read anew."""
        users = self.begin("bob")
        self.go_on(3)
        self.write(content("cid"))
        users.look()
        self.go_on(100)
        login(users, "cid")
        assert users.names() == [b"cid"]
        assert users.reloads == 1

    def test_gone_meanwhile(self) -> None:
        """A file that goes away while it is being read is not taken."""
        users = self.begin("bob")
        self.path.unlink()
        with capturedLogs():
            users.look()
        self.go_on(100)
        login(users, "ann")
        assert users.broken

    def test_stopped_meanwhile(self) -> None:
        """A service that is stopped reads no further, and begins anew when it is started again."""
        users = self.begin("bob")
        users.stopService()
        assert self.clock.getDelayedCalls() == []
        self.go_on(100)
        assert (users.reloads, users.failures) == (0, 0)
        users.startService()
        users.look()
        self.go_on(100)
        login(users, "bob")
