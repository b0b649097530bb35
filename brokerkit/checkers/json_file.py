"""Users from a file in the format of hpfeeds' users.json, read again when it changes.

The file is looked at once a second by ``stat``, which follows symbolic links.  So an edit in place, a rename over it
and Kubernetes' swap of a directory behind a link are all seen, with no inotify, and nothing else on the machine wakes
it.

At the start, a file that cannot be used is an error.  Later it is not: the users stay as they were, which is said in
the log once, until the file can be used again.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from twisted.application.service import Service
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from brokerkit.checkers.known import BY_SECRET
from brokerkit.checkers.users_json import parse
from brokerkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.cred.credentials import ICredentials
    from twisted.internet.interfaces import IReactorTime

    from brokerkit.checkers.known import Users
    from brokerkit.client import User

    Signature = tuple[int, ...]

log = Logger()

INTERVAL = 1.0  # seconds
MAX_SIZE = 64 * 1024 * 1024  # bytes


@implementer(ICredentialsChecker)
class JsonUsers(Service):
    """Knows the users in a file; a service, because it keeps looking at the file.

    ``reloads`` and ``failures`` count the changes that were taken and that were not; ``broken`` says that the users are
    older than the file.  Each of ``changed`` is called after the users have been replaced.
    """

    credentialInterfaces = BY_SECRET

    def __init__(self, path: str, clock: IReactorTime, prefix: bytes = b"") -> None:
        """Read the file; raise ``ConfigError`` if it cannot be used."""
        self.path = os.path.abspath(path)  # noqa: PTH100  Path.resolve would follow the links, today's
        self.source = f"json:{self.path}"
        self.reloads = 0
        self.failures = 0
        self.broken = False
        self.changed: list[Callable[[], None]] = []
        self._prefix = prefix
        self._seen: Signature | None
        self._seen, content = read(self.path)
        self._users: Users = parse(content, self.path, prefix)
        self._looking = LoopingCall(self.look)
        self._looking.clock = clock

    def requestAvatarId(self, credentials: ICredentials) -> User:  # type: ignore[override]
        """Give the user of the credentials."""
        return self._users.login(credentials)

    def startService(self) -> None:
        """Begin to look at the file."""
        super().startService()  # type: ignore[no-untyped-call]
        self._looking.start(INTERVAL, now=False)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._looking.stop()

    def look(self) -> None:
        """Take the file's users if it is not what was seen last."""
        try:
            if self._seen is None or signature(os.stat(self.path)) != self._seen:  # noqa: PTH116  as in read
                self._reload()
        except OSError:
            self._reload()  # says what is wrong
        except Exception:  # whatever it is, the next look is due in a second
            self.broken = True
            log.failure("{source}: not read again because of a bug", source=self.source)

    def _reload(self) -> None:
        try:
            seen, content = read(self.path)
        except ConfigError as error:
            # Tried again at each look, since what is in the way need not show in the file; said once.
            if self._seen is not None:
                self._seen = None
                self._keep(error)
            return
        self._seen = seen
        try:
            self._users = parse(content, self.path, self._prefix)
        except ConfigError as error:
            self._keep(error)
            return
        self._taken()

    def _keep(self, error: ConfigError) -> None:
        self.failures += 1
        self.broken = True
        log.error("the users stay as they were: {error}", error=error)

    def _taken(self) -> None:
        self.reloads += 1
        self.broken = False
        log.info("{source}: read again: {count} users", source=self.source, count=len(self._users))
        for call in self.changed:
            try:
                call()
            except Exception:
                log.failure("{source}: a listener for changes failed", source=self.source)


def signature(status: os.stat_result) -> Signature:
    """Give what tells one state of a file from another; the time of change is there for permissions and ``cp -p``."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def read(path: str) -> tuple[Signature, bytes]:
    """Give a file's signature and content; raise ``ConfigError`` where there is none to be had.

    The signature is older than the content: what is written meanwhile is seen at the next look.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(path, "file", "something else", "a regular file")
            content = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(path, "file", reason, "a file of users that can be read") from None
    if len(content) > MAX_SIZE:
        raise ConfigError(path, "file", f"more than {MAX_SIZE} bytes", "a file of users")
    return signature(status), content


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe at its place would otherwise stop the whole broker until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)
