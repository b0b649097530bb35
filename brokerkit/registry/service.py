"""The registry in the process: reading in memory, writing in groups, each on disk before it is answered.

What is read is what is on disk, never more: a write is decided when the commit before it is done, together with all
that have come in the meantime; one thread writes them, in one transaction; then they are there, told to those who
listen, and answered.  So one commit is under way at a time, and whatever waits for it shares the next.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from brokerkit.checkers.threads import Threads
from brokerkit.errors import OperatorError
from brokerkit.registry.decide import Draft, Limits, State
from brokerkit.registry.history import History
from brokerkit.registry.leases import Leases
from brokerkit.registry.words import HIDDEN, Expire, RegistryError, Release, Unusable, Unwritable
from brokerkit.stores import registry as stores  # the module: it is imported by itself, too, and needs our words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from brokerkit.registry.health import Health
    from brokerkit.registry.words import Change, Entry, Operation

    Told = Callable[[Change], None]
    Results = list[Entry | None]
    Entries = list[Entry]
    Names = list[str]

log = Logger()

TOGETHER = 512  # writes in one commit
TOGETHER_BYTES = 4 * 1024 * 1024  # of data; the write that goes over it is the last
AGAIN = 5.0  # seconds after which an entry that could not be taken away is tried again
BACKUP_EVERY, BACKUPS = 3600.0, 24  # seconds, files


@attrs.define(eq=False)
class _Waiting:
    operations: tuple[Operation, ...]
    by: str
    ip: str
    answer: Deferred[Results]


Answers = list[tuple[_Waiting, Any]]  # what is given to whom; a Failure for one that was not done


class Registry(Service):
    """Names and JSON objects that last; a service, child of the broker.

    With ``path`` it is kept in that file, which is opened when the service starts; without, in memory, and it can be
    used at once.  ``threads`` is what writes: something with the methods of ``brokerkit.checkers.threads.Threads``.
    ``reactor`` is the clock, too.
    """

    def __init__(
        self,
        path: Path | None,
        reactor: Any,  # noqa: ANN401  any reactor, also a test's
        limits: Limits | None = None,
        threads: Any = None,  # noqa: ANN401  Threads, or a test's
    ) -> None:
        """Take what is needed; nothing is opened yet."""
        self.path = path
        self.limits = limits or Limits()
        self.health: Health | None = None
        self.backup_every = BACKUP_EVERY  # seconds, 0: never; and the number that is kept.  Set before the start
        self.backup_keep = BACKUPS
        self.writes = 0  # that were done
        self.commits = 0
        self.conflicts = 0
        self.failed = 0  # writes that could not be done because of the disk, or the registry's bounds
        self.expired = 0
        self.backups = 0  # that were made
        self.backup_failures = 0
        self.slow_watchers = 0  # that were cut off because they did not read
        self.is_writable = True  # whether the last commit was done
        self._clock = reactor
        self._threads: Any = threads or Threads(reactor, 1)  # a thread is made when there is work for it
        self._copying: Any = threads or Threads(reactor, 1)
        self._store: stores.RegistryStore | None = None
        self._open = path is None
        self._clear()
        self._waiting: deque[_Waiting] = deque()
        self._committing = False
        self._idle: list[Deferred[None]] = []
        self._listeners: dict[object, tuple[Told, bool]] = {}
        self._untold: deque[Change] = deque()
        self._telling = False
        self._backing_up: LoopingCall | None = None

    def _clear(self) -> None:
        limits = self.limits
        self._state = State()
        self._names: list[str] = []
        self._history = History(limits.history, limits.history_bytes, limits.history_age)
        self._leases = Leases(self._clock, self._state.entries, self._over)

    # -- starting and stopping ----------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Open the file and read it; raise ``OperatorError`` if it cannot be used."""
        super().startService()  # type: ignore[no-untyped-call]
        if self.path is None:
            log.warn("the registry is in memory only, since there is no data directory: what is written does not last")
            return
        self._clear()
        self._threads.start()
        self._copying.start()
        self._store = stores.RegistryStore.open(self.path)
        self._load(self._store)
        self._open = True
        self._sweep(self._store)
        if self.backup_every > 0:
            self._backing_up = LoopingCall(self._back_up)
            self._backing_up.clock = self._clock
            self._backing_up.start(self.backup_every, now=False)

    def _load(self, store: stores.RegistryStore) -> None:
        stored = store.load()
        self._state.revision = stored.revision
        for entry, size in stored.entries:
            self._state.put(entry, size)
            if entry.expires is not None:
                self._leases.note(entry.name, entry.expires)
        self._names = sorted(self._state.entries)
        self._history.begin(stored.revision, stored.changes)

    def _sweep(self, store: stores.RegistryStore) -> None:
        """Take away, before anybody asks, what ended while nobody was here: the connections did, at the least."""
        now = self._clock.seconds()
        draft = Draft(self._state, self.limits, now)
        for owner in list(self._state.owned):
            draft.write([Release(owner)], "", "")
        for entry in list(self._state.entries.values()):
            if entry.is_over(now):
                draft.write([Expire(entry.name)], "", "")
        if draft.is_empty:
            return
        try:
            store.commit(self._commit_of(draft))
        except RegistryError as error:
            log.error("what has ended cannot be taken away now: {error}", error=str(error))
            for owner in list(self._state.owned):
                self.release(owner).addErrback(lambda _: None)
        else:
            self._apply(draft)
            self._untold.clear()

    def stopService(self) -> Deferred[None]:
        """Do what was begun, and close the file."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._open = self.path is None
        self._leases.stop()
        if self._backing_up is not None and self._backing_up.running:
            self._backing_up.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._committing:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        store, self._store = self._store, None
        if store is not None:
            await maybeDeferred(self._threads.call, store.close)
            self._threads.stop()
            self._copying.stop()

    # -- reading ------------------------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """The revision of the last change."""
        return self._state.revision

    @property
    def oldest(self) -> int:
        """The revision after which every change is known."""
        return self._history.oldest

    @property
    def known(self) -> int:
        """The number of changes that are known."""
        return len(self._history)

    @property
    def size(self) -> int:
        """The bytes of all names and data."""
        return self._state.total

    @property
    def waiting(self) -> int:
        """The number of writes that wait for those before them."""
        return len(self._waiting)

    def size_of(self, name: str) -> int:
        """Give the bytes of an entry, nought if there is none."""
        return self._state.sizes.get(name, 0)

    def __len__(self) -> int:
        """Give the number of entries, hidden ones too."""
        return len(self._names)

    def get(self, name: str) -> Entry | None:
        """Give an entry, ``None`` if there is none, or not any more."""
        entry = self._state.entries.get(name)
        return None if entry is None or entry.is_over(self._clock.seconds()) else entry

    def scan(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        """Give the entries whose names begin with ``prefix`` and come behind ``after``, in the order of code points.

        What is hidden is left out, unless the prefix is.  To be used up before the next write.
        """
        names, entries, now = self._names, self._state.entries, self._clock.seconds()
        start = bisect_left(names, prefix)
        if after:
            start = max(start, bisect_right(names, after))
        hidden = prefix.startswith(HIDDEN)
        for i in range(start, len(names)):
            name = names[i]
            if not name.startswith(prefix):
                return
            entry = entries[name]
            if (hidden or not name.startswith(HIDDEN)) and not entry.is_over(now):
                yield entry

    def list(self, prefix: str = "", after: str = "", limit: int = 0) -> Entries:
        """Give what ``scan`` gives, at most ``limit`` of them, nought: all."""
        found = []
        for entry in self.scan(prefix, after):
            found.append(entry)
            if len(found) == limit:
                break
        return found

    def since(self, revision: int, prefix: str = "", most: int = 0) -> Sequence[Change]:
        """Give what has changed since that revision, oldest first; with ``most``, among so many changes only.

        Raises ``Compacted`` where not all of it is known.
        """
        return self._history.since(revision, prefix, most)

    def history(self, name: str) -> Sequence[Change]:
        """Give the changes of one name that are known, oldest first."""
        return self._history.of(name)

    def discoverable(self, name: str) -> bool:
        """Say whether discovery may answer for a name: it is there, not hidden, and its health checks pass."""
        if name.startswith(HIDDEN) or self.get(name) is None:
            return False
        return self.health is None or self.health.passes(name)

    def listen(self, call: Told, *, hidden: bool = False) -> Callable[[], None]:
        """Have ``call`` called with each change when it is on disk, in the order of revisions; gives what ends that.

        Of what is hidden it hears with ``hidden`` only.
        """
        key = object()
        self._listeners[key] = (call, hidden)

        def stop() -> None:
            self._listeners.pop(key, None)

        return stop

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, operations: Sequence[Operation], by: str = "", ip: str = "") -> Deferred[Results]:
        """Do all of the operations or none, for ``by`` at the address ``ip``.

        Gives for each operation the entry that there is now, once it is on disk.  Fails with ``Conflict`` if a
        condition does not hold, ``Unusable`` for what cannot be kept, ``NoRoom`` if the disk is full, ``Unwritable`` if
        it cannot be done now.
        """
        if not self._open:
            return fail(Unwritable("the registry is closed"))
        if len(operations) > self.limits.operations:
            return fail(Unusable(f"a write may have {self.limits.operations} operations, this has {len(operations)}"))
        if len(self._waiting) >= self.limits.waiting:
            self.failed += 1
            return fail(Unwritable("too many writes wait already"))
        return self._enqueue(tuple(operations), by, ip)

    def release(self, owner: str) -> Deferred[Results]:
        """Take away all that is bound to a connection that has ended, also what is being written now."""
        if not self._open:
            return fail(Unwritable("the registry is closed"))
        return self._enqueue((Release(owner),), "", "")

    def _enqueue(self, operations: tuple[Operation, ...], by: str, ip: str) -> Deferred[Results]:
        by = by.encode(errors="replace").decode()
        waiting = _Waiting(operations, by, ip, Deferred())
        self._waiting.append(waiting)
        self._next()
        return waiting.answer

    def _next(self) -> None:
        """Begin the next commit, unless one is under way."""
        while self._waiting and not self._committing:
            draft = Draft(self._state, self.limits, self._clock.seconds())
            answers = self._decide(draft)
            if draft.is_empty:
                self._answer(answers)
            else:
                self._committing = True
                self._commit(draft).addCallbacks(
                    self._committed, self._not_committed, (draft, answers), {}, (answers,), {}
                )
        if not self._committing:
            idle, self._idle = self._idle, []
            for one in idle:
                one.callback(None)

    def _decide(self, draft: Draft) -> Answers:
        answers: Answers = []
        while self._waiting and len(answers) < TOGETHER and draft.written < TOGETHER_BYTES:
            one = self._waiting.popleft()
            try:
                result: Any = draft.write(one.operations, one.by, one.ip)
            except RegistryError as error:
                result = Failure(error)
            except Exception:  # a bug costs the one who met it
                log.failure("a write could not be decided because of a bug")
                result = Failure(Unwritable("the write failed"))
            answers.append((one, result))
        return answers

    def _commit(self, draft: Draft) -> Deferred[None]:
        store = self._store
        if store is None:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        commit = self._commit_of(draft)
        answer: Deferred[None] = self._threads.call(lambda: store.commit(commit))
        return answer

    def _commit_of(self, draft: Draft) -> stores.Commit:
        there = [entry for entry in draft.entries.values() if entry is not None]
        put = [(entry, draft.texts[entry.name]) for entry in there if entry.name in draft.texts]
        renewed = [entry for entry in there if entry.name not in draft.texts]
        gone = [name for name, entry in draft.entries.items() if entry is None]
        return stores.Commit(draft.revision, put, gone, renewed, draft.changes, self._history.oldest + 1)

    def _committed(self, _: object, draft: Draft, answers: Answers) -> None:
        self.commits += 1
        if not self.is_writable:
            log.info("{path}: can be written to again", path=str(self.path))
        self.is_writable = True
        self._apply(draft)
        self._committing = False
        self._answer(answers)
        self._tell()
        self._next()

    def _not_committed(self, failure: Failure, answers: Answers) -> None:
        """Answer everybody alike: also a conflict may have been one with what is not there now."""
        if not failure.check(RegistryError):
            log.failure("a commit failed because of a bug", failure)
            failure = Failure(Unwritable("the write failed"))
        if self.is_writable:  # said once, however many try
            log.error("{path}: {error}", path=str(self.path), error=failure.getErrorMessage())
        self.is_writable = False
        self._committing = False
        self._answer([(one, failure) for one, _ in answers])
        self._next()

    def _apply(self, draft: Draft) -> None:
        state = self._state
        for name, entry in draft.entries.items():
            if entry is None:
                self._remove(name)
                continue
            text = draft.texts.get(name)
            size = state.sizes[name] if text is None else len(name.encode()) + len(text)
            if name not in state.entries:
                insort(self._names, name)
            state.put(entry, size)
            if entry.expires is not None:
                self._leases.note(name, entry.expires)
        for change, text in draft.changes:
            self._history.add(change, len(change.name.encode()) + len(text), draft.now)
            self._untold.append(change)
            self.expired += change.operation == "expire"
        state.revision = draft.revision

    def _remove(self, name: str) -> None:
        if name in self._state.entries:
            self._state.remove(name)
            del self._names[bisect_left(self._names, name)]

    def _answer(self, answers: Answers) -> None:
        for one, result in answers:
            self._count(result)
            if not one.answer.called:
                one.answer.callback(result)

    def _count(self, result: object) -> None:
        if not isinstance(result, Failure):
            self.writes += 1
        elif isinstance(result.value, Unusable):
            pass
        elif hasattr(result.value, "entry"):
            self.conflicts += 1
        else:
            self.failed += 1

    def _tell(self) -> None:
        """Tell of what has changed, one after the other, also if somebody who is told writes at once."""
        if self._telling:
            return
        self._telling = True
        try:
            while self._untold:
                change = self._untold.popleft()
                for call, hidden in list(self._listeners.values()):
                    if hidden or not change.name.startswith(HIDDEN):
                        self._tell_one(call, change)
        finally:
            self._telling = False

    def _tell_one(self, call: Told, change: Change) -> None:
        try:
            call(change)
        except Exception:  # what one listener does must not cost the others
            log.failure("a listener for changes of the registry failed")

    def _over(self, names: Names) -> None:
        """Take away those whose time has passed; where that fails, try again."""
        most = self.limits.operations
        for start in range(0, len(names), most):
            some = names[start : start + most]
            done = self._enqueue(tuple(Expire(name) for name in some), "", "")
            done.addErrback(self._later, some)

    def _later(self, _: Failure, names: Names) -> None:
        self._leases.again(names, AGAIN)

    # -- backups ------------------------------------------------------------------------------------------------------

    def backup(self) -> Deferred[Path]:
        """Make a backup beside the file, keep as many as ``backup_keep`` says, and give its path.

        Fails with ``OperatorError``.  Writing goes on meanwhile.
        """
        path, now, keep = self.path, self._clock.seconds(), self.backup_keep
        if path is None or not self._open:
            return fail(OperatorError("a registry that is in memory, or closed, has no backups"))
        made: Deferred[Path] = self._copying.call(lambda: stores.make_backup(path, now, keep))
        return made

    def _back_up(self) -> Deferred[Any]:
        return self.backup().addCallbacks(self._backed_up, self._not_backed_up)

    def _backed_up(self, path: Path) -> None:
        self.backups += 1
        log.debug("backup of the registry: {path}", path=str(path))

    def _not_backed_up(self, failure: Failure) -> None:
        self.backup_failures += 1
        log.error("no backup of the registry: {error}", error=failure.getErrorMessage())
