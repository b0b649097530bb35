"""brokerkit's own users, from the store in the data directory: held in memory, and taken again when the store changes.

Twice a second it is asked whether somebody has changed it, which costs microseconds; then only the records that are
other ones are read.  A store that cannot be read leaves the users as they were, which is said in the log once; a record
that makes no sense is that user's trouble alone, who is refused.

The store is read when the source is made, so that a mistake ends the start, and opened for good when it is started:
twistd forks in between, and an open SQLite file must not be carried across that.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from brokerkit.checkers.in_memory import InMemory
from brokerkit.checkers.known import EVERY_KIND, Known, Users
from brokerkit.checkers.listed import readable_by_all
from brokerkit.errors import ConfigError, OperatorError, WrongSecret
from brokerkit.stores.users import UserStore, read_record

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from brokerkit.checkers.entry import Entry
    from brokerkit.grants import Rule

log = Logger()

INTERVAL = 0.5  # seconds
PATIENCE = 0.02  # seconds that a look may wait for a lock; everybody waits too


class OwnUsers(InMemory, Service):
    """Knows the users of a store; a service, because it keeps looking at it.

    ``reloads`` and ``failures`` count the changes that were taken and that were not; ``broken`` says that the users are
    older than the store.
    """

    credentialInterfaces = EVERY_KIND

    def __init__(self, path: str, clock: IReactorTime) -> None:
        """Read the store; raise ``OperatorError`` if it cannot be used."""
        self.path = Path(path).absolute()
        self.source = f"users:{self.path}"
        self.reloads = 0
        self.failures = 0
        self.broken = False
        self.version: int = 0
        self._records: dict[str, str] = {}
        self._entries: dict[str, Entry | None] = {}  # None: the record makes no sense
        self._known: dict[str, Known] = {}
        self._users = Users()
        self._store: UserStore | None = None
        self._file: tuple[int, int] | None = None
        self._seen: int | None = None  # the version that was taken last; another file counts anew
        with UserStore.open(self.path) as store:
            self._take(store.records())
        if readable_by_all(str(self.path)):  # a copy that was put back, perhaps
            log.warn("{file} holds secrets and can be read by everybody: chmod go-rwx {file}", file=str(self.path))
        self._looking = LoopingCall(self.look)
        self._looking.clock = clock

    def find(self, credentials: Any) -> Known | None:  # noqa: ANN401  any that it takes
        """Give the user whom the credentials name; raise ``WrongSecret`` for one whose record makes no sense."""
        known = super().find(credentials)
        if known is None and self._is_senseless(getattr(credentials, "username", None)):
            raise WrongSecret(credentials.username)  # not unknown: no other source is asked for this name
        return known

    def where(self, name: bytes, action: str, rule: Rule | None) -> str:
        """Give the store, the user, and the place in its record."""
        entry = self._entries.get(name.decode(errors="replace"))
        return entry.where(action, rule) if entry is not None else str(self.path)

    def startService(self) -> None:
        """Begin to look at the store."""
        super().startService()  # type: ignore[no-untyped-call]
        self._looking.start(INTERVAL, now=True)

    def stopService(self) -> None:
        """Look no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._looking.stop()
        self._close()

    def look(self) -> None:
        """Take the store's users if it has changed since the last look."""
        try:
            store = self._opened()
            seen = store.version  # what is written from here on is for the next look
            if seen != self._seen:
                self._reload(store.records())
                self._seen = seen
        except (OSError, OperatorError) as error:
            self._keep(error)
        except Exception:  # whatever it is, the next look is due in a moment
            self.broken = True
            log.failure("{source}: not read again because of a bug", source=self.source)

    def _opened(self) -> UserStore:
        """Give the store; open it if it is not, or if another file is in its place."""
        status = os.stat(self.path)  # noqa: PTH116  quicker
        file = (status.st_dev, status.st_ino)
        if self._store is None or file != self._file:
            self._close()
            self._store = UserStore.open(self.path, patience=PATIENCE)
            self._file = file
        return self._store

    def _reload(self, records: dict[str, str]) -> None:
        if records != self._records:
            self._take(records)
            self.version += 1
            self.reloads += 1
            log.info("{source}: read again: {count} users", source=self.source, count=len(self._users))
        elif self.broken:
            log.info("{source}: can be read again, and has not changed", source=self.source)
        self.broken = False

    def _keep(self, error: Exception) -> None:
        """Say once that the users are older than the store; it is tried again at each look, from the beginning."""
        if not self.broken:
            self.failures += 1
            self.broken = True
            text = str(error) if isinstance(error, OperatorError) else f"{self.path}: {error}"
            log.error("the users stay as they were: {error}", error=text)
        self._close()

    def _close(self) -> None:
        store, self._store, self._seen = self._store, None, None
        if store is not None:
            try:
                store.close()
            except OperatorError as error:
                log.error("{error}", error=str(error))

    def _take(self, records: dict[str, str]) -> None:
        """Read the records that are not those that were read before."""
        before = self._entries
        self._entries = {
            name: self._entries[name] if self._records.get(name) == record else self._read(name, record)
            for name, record in records.items()
        }
        self._records = records
        self._known = {
            name: self._known[name] if entry is before.get(name) else entry.known(self.source)
            for name, entry in self._entries.items()
            if entry is not None
        }
        self._users = Users(self._known.values())

    def _read(self, name: str, record: str) -> Entry | None:
        try:
            return read_record(name, record, self.path)
        except ConfigError as error:
            log.error("a user cannot log in: {error}", error=error)
            return None

    def _is_senseless(self, name: object) -> bool:
        text = name.decode(errors="replace") if isinstance(name, bytes) else ""
        return text in self._entries and self._entries[text] is None
