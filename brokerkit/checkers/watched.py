"""Users from files that are read again when they change.

The files are looked at once a second by ``stat``, which follows symbolic links.  So an edit in place, a rename over one
and Kubernetes' swap of a directory behind a link are all seen, with no inotify, and nothing else on the machine wakes
it.

At the start, files that cannot be used are an error.  Later they are not: the users stay as they were, which is said in
the log once, until the files can be used again.  At the start they are read in one go; later in slices of a few
milliseconds, between which messages pass, and what changes meanwhile begins it anew.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from brokerkit.checkers.in_memory import InMemory
from brokerkit.checkers.slices import at_once, in_slices
from brokerkit.errors import ConfigError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    Signature = tuple[int, ...]

log = Logger()

INTERVAL = 1.0  # seconds
MAX_SIZE = 64 * 1024 * 1024  # bytes


class Watched(InMemory, Service):
    """Knows the users in some files; a service, because it keeps looking at them.  A subclass says what ``parse`` is.

    ``reloads`` and ``failures`` count the changes that were taken and that were not; ``broken`` says that the users are
    older than the files.
    """

    def __init__(self, paths: Iterable[str], clock: IReactorTime) -> None:
        """Read the files; raise ``ConfigError`` if they cannot be used."""
        self.paths = tuple(os.path.abspath(path) for path in paths)  # noqa: PTH100  resolve would follow today's links
        self.reloads = 0
        self.failures = 0
        self.broken = False
        self.version: int = 0
        self._clock = clock
        self._work: Deferred[Any] | None = None
        self._seen: tuple[Signature, ...] | None  # None: it could not be read
        self._seen, contents = self._read()
        self.take(at_once(self.parse(contents)))
        self._looking = LoopingCall(self.look)
        self._looking.clock = clock

    def parse(self, contents: list[bytes]) -> Generator[None, None, Any]:
        """Make of the files' contents, in steps, whatever ``take`` takes; raises ``ConfigError``."""
        raise NotImplementedError

    def take(self, users: Any) -> None:  # noqa: ANN401  what parse gives
        """Put these users in the place of those that were known."""
        self._users = users

    def startService(self) -> None:
        """Begin to look at the files."""
        super().startService()  # type: ignore[no-untyped-call]
        self._looking.start(INTERVAL, now=False)

    def stopService(self) -> None:
        """Look no more; what is being read is dropped."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._looking.stop()
        if self._work is not None:
            self._work.cancel()
            self._seen = ()  # so that a service which is started again reads it

    def look(self) -> None:
        """Take the files' users if they are not what was seen last."""
        try:
            if self._seen is None or self._signatures() != self._seen:
                self._reload()
        except OSError:
            self._reload()  # says what is wrong
        except Exception:  # whatever it is, the next look is due in a second
            self.broken = True
            log.failure("{source}: not read again because of a bug", source=self.source)

    def taken(self) -> Deferred[None]:
        """Give a Deferred that is done when what is being read has been taken, or cannot be."""
        done: Deferred[None] = Deferred()
        if self._work is None:
            done.callback(None)
            return done

        def pass_on(result: object) -> object:
            done.callback(None)
            return result

        self._work.addBoth(pass_on)
        return done

    def _signatures(self) -> tuple[Signature, ...]:
        return tuple(signature(os.stat(path)) for path in self.paths)  # noqa: PTH116  as in read

    def _read(self) -> tuple[tuple[Signature, ...], list[bytes]]:
        found = [read(path) for path in self.paths]
        return tuple(one for one, _ in found), [content for _, content in found]

    def _reload(self) -> None:
        if self._work is not None:
            self._work.cancel()
        try:
            seen, contents = self._read()
        except ConfigError as error:
            # Tried again at each look, since what is in the way need not show in the file; said once.
            if self._seen is not None:
                self._seen = None
                self._keep(error)
            return
        self._seen = seen
        self._work = in_slices(self.parse(contents), self._clock)
        self._work.addCallback(self._taken).addErrback(self._not_taken)

    def _taken(self, users: Any) -> None:  # noqa: ANN401  what parse gives
        self._work = None
        self.take(users)
        self.reloads += 1
        self.version += 1
        self.broken = False
        log.info("{source}: read again: {count} users", source=self.source, count=len(self._users))

    def _not_taken(self, failure: Failure) -> None:
        self._work = None
        if failure.check(OperatorError):
            self._keep(failure.value)
        elif not failure.check(CancelledError):
            self.broken = True
            log.failure("{source}: not read again because of a bug", failure, source=self.source)

    def _keep(self, error: BaseException | None) -> None:
        self.failures += 1
        self.broken = True
        log.error("the users stay as they were: {error}", error=error)


def signature(status: os.stat_result) -> Signature:
    """Give what tells one state of a file from another; the time of change is there for permissions and ``cp -p``."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def read(path: str, most: int | None = None) -> tuple[Signature, bytes]:
    """Give a file's signature and content; raise ``ConfigError`` where there is none to be had.

    It may have ``most`` bytes, or the usual number.  The signature is older than the content: what is written meanwhile
    is seen at the next look.
    """
    most = MAX_SIZE if most is None else most
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(path, "file", "something else", "a regular file")
            content = file.read(most + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(path, "file", reason, "a file of users that can be read") from None
    if len(content) > most:
        raise ConfigError(path, "file", f"more than {most} bytes", "a file of users")
    return signature(status), content


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe at its place would otherwise stop the whole broker until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)
