"""``bpbroker.json`` while the broker runs: taken over once, and written again as a view of what is there.

The registry's own file is what counts.  The view is for people, for the original's tools and for a way back: it is
written at the end and at each backup, whole or not at all.  What somebody has changed in it meanwhile beside the
entries stays; a file that cannot be read any more is left as it is.

Taking over happens once for each file: entries that are there already win.  A file that was restored says itself that
it wants to be taken in place of what is there.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from brokerkit.checkers.slices import at_once, in_slices
from brokerkit.checkers.threads import Threads
from brokerkit.errors import OperatorError
from brokerkit.protocols.bpbroker import document as doc
from brokerkit.protocols.bpbroker.durable import write
from brokerkit.protocols.bpbroker.legacy import record
from brokerkit.registry import Delete, Put, RegistryError, Unusable

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Generator, Iterable

    from brokerkit.protocols.bpbroker.document import Document, Imported
    from brokerkit.registry import Entry, Registry
    from brokerkit.registry.words import Operation

    Signature = tuple[int, int, int]

log = Logger()

MARK = "_imported/"  # what the names of the marks begin with that a file has been taken over
TOGETHER = 100  # entries in one write
AGAIN = 10.0  # seconds after which taking over is tried again
BY = "bpbroker.json"  # whose writes those are
TRIES = 5  # at a file that is changed while it is made anew
STAMP = "%Y%m%dT%H%M%SZ"


class View(Service):
    """Takes a file over and keeps it up to date.  ``ready`` says that it has been taken over."""

    def __init__(
        self,
        registry: Registry,
        path: str,
        document: Document,
        reactor: Any,  # noqa: ANN401  any reactor, also a test's
        *,
        every: float = 0.0,
        keep: int = 0,
        wrote: Callable[[os.stat_result, Document], None] | None = None,
        threads: Any = None,  # noqa: ANN401  Threads, or a test's
    ) -> None:
        """Take what the file at ``path`` said; write it every so many seconds (0: at the end only), keep so many.

        ``wrote`` is told each time of the file as it was written, and of what it says.
        """
        self.path = Path(path).absolute()
        self.ready = False
        self.keep = keep
        self.writes = self.failures = 0
        self._registry = registry
        self._document = document
        self._wrote = wrote
        self._reactor = reactor
        self._every = every
        self._threads = threads or Threads(reactor, 1)
        self._seen = _signature(self.path)
        self._backed_up: tuple[int, str] | None = None
        self._waiting: list[Deferred[None]] = []
        self._alarm: Any = None
        self._writing: Deferred[Any] | None = None
        self._looping = LoopingCall(self.back_up)
        self._looping.clock = reactor

    # -- beginning and end --------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Take the file over, unless that was done before, and begin to write it."""
        super().startService()  # type: ignore[no-untyped-call]
        self._threads.start()
        self._take_over()
        if self._every > 0:
            self._looping.start(self._every, now=False)

    def when_ready(self) -> Deferred[None]:
        """Fire when the file has been taken over, with ``CancelledError`` if that fails for now."""
        done: Deferred[None] = Deferred()
        if self.ready:
            done.callback(None)
        else:
            self._waiting.append(done)
        return done

    def stopService(self) -> None:
        """Write the file; for that it is best stopped when nobody can change anything any more."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looping.running:
            self._looping.stop()
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        if self._writing is not None:
            self._writing.cancel()
        self._tell(Deferred.cancel)
        self._threads.stop()
        if self.ready:
            self.write_now()

    # -- taking over --------------------------------------------------------------------------------------------------

    @property
    def _mark(self) -> str:
        return MARK + sha256(str(self.path).encode(errors="surrogateescape")).hexdigest()[:16]

    @property
    def _again(self) -> bool:
        """Whether the file is to be taken in place of what is there."""
        return bool(self._document.get("_config", {}).get(doc.AGAIN))

    def _take_over(self) -> None:
        self._alarm = None
        if self._registry.get(self._mark) is not None and not self._again:
            self._now_ready()
            return
        Deferred.fromCoroutine(self._import()).addCallbacks(lambda _: self._now_ready(), self._not_ready)

    async def _import(self) -> None:
        found = doc.entries(self._document)
        if self._again:
            wanted = {one.name for one in found}
            gone = [entry.name for entry in self._registry.scan() if entry.name not in wanted]
            await self._write([Delete(name) for name in gone])
        else:
            found = [one for one in found if self._registry.get(one.name) is None]
        await self._write([_put(one) for one in found])
        await self._write([Put(self._mark, {"path": str(self.path), "entries": len(found)})])
        if self._again:
            del self._document["_config"][doc.AGAIN]
            text = json.dumps(self._document, indent=4).encode()
            self._remember(await self._threads.call(lambda: write(self.path, [text])))
        log.info("{path}: {count} entries taken over", path=str(self.path), count=len(found))

    async def _write(self, operations: list[Any]) -> None:
        for start in range(0, len(operations), TOGETHER):
            some = operations[start : start + TOGETHER]
            try:
                await self._registry.write(some, BY)
            except Unusable:
                await self._one_by_one(some)

    async def _one_by_one(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            try:
                await self._registry.write([operation], BY)
            except Unusable as error:
                name = getattr(operation, "name", "")[:100]
                log.error("{path}: {name!r} left out: {error}", path=str(self.path), name=name, error=str(error))

    def _now_ready(self) -> None:
        self.ready = True
        self._tell(lambda one: one.callback(None))

    def _not_ready(self, failure: Any) -> None:  # noqa: ANN401  a Failure
        if failure.check(RegistryError, OSError):
            log.error("{path}: not taken over yet: {error}", path=str(self.path), error=failure.getErrorMessage())
        elif not failure.check(CancelledError):
            log.failure("{path}: not taken over because of a bug", failure, path=str(self.path))
        self._tell(Deferred.cancel)
        if self.running:
            self._alarm = self._reactor.callLater(AGAIN, self._take_over)

    def _tell(self, how: Callable[[Deferred[None]], None]) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:
                how(one)

    # -- writing ------------------------------------------------------------------------------------------------------

    def write_now(self) -> None:
        """Write the file, at once; where that fails, say so in the log."""
        try:
            self._remember(write(self.path, at_once(self._encoded())))
        except (OSError, OperatorError) as error:
            self._complain(error)

    def back_up(self) -> Deferred[Any]:
        """Write the file and, if anything has changed since the last one, a backup beside it; never fails."""
        if not self.ready or self._writing is not None:
            done: Deferred[Any] = Deferred()
            done.callback(None)
            return done
        self._writing = Deferred.fromCoroutine(self._back_up())
        return self._writing.addBoth(self._written)

    async def _back_up(self) -> None:
        """Write it; somebody may edit the file meanwhile, and what they say must not be lost."""
        for _ in range(TRIES):
            revision = self._registry.revision
            pieces = await in_slices(self._encoded(), self._reactor)
            state = (revision, _digest(self._document))
            written = await self._threads.call(self._writing_of(pieces, self._seen))
            if written is not None:
                self._remember(written)
                await self._copy(pieces, state)
                return
        raise OperatorError("it is being changed all the time")

    def _writing_of(self, pieces: list[bytes], seen: Signature | None) -> Callable[[], os.stat_result | None]:
        """Give what writes the file in a thread, unless it is another one by now."""
        return lambda: write(self.path, pieces) if _signature(self.path) in {seen, None} else None

    async def _copy(self, pieces: list[bytes], state: tuple[int, str]) -> None:
        """Put a backup beside it, unless nothing has changed since the last one."""
        changed, self._backed_up = state != self._backed_up, state
        if changed and self.keep > 0:
            now = self._reactor.seconds()
            await self._threads.call(lambda: _back_up(self.path, pieces, now, self.keep))

    def _remember(self, written: os.stat_result) -> None:
        self.writes += 1
        self._seen = _signature_of(written)
        if self._wrote is not None:
            self._wrote(written, self._document)

    def _written(self, result: Any) -> None:  # noqa: ANN401  a Failure or nothing
        self._writing = None
        if result is None or result.check(CancelledError):
            return
        self._backed_up = None
        if result.check(OSError, OperatorError):
            self._complain(result.value)
        else:
            log.failure("{path}: not written because of a bug", result, path=str(self.path))

    def _complain(self, error: Exception) -> None:
        self.failures += 1
        why = getattr(error, "strerror", None) or str(error)
        log.error("{path}: not written: {why}", path=str(self.path), why=why)

    def _encoded(self) -> Generator[None, None, list[bytes]]:
        """Give the file in pieces; raises ``OperatorError`` if somebody has put there what is none."""
        found = _signature(self.path)
        if found not in {self._seen, None}:
            self._document = doc.merge(doc.DEFAULTS, doc.read(self.path))
            self._seen = found
        return encoded(self._document, self._registry.list())


def encoded(document: Document, entries: Iterable[Entry]) -> Generator[None, None, list[bytes]]:
    """Give, in steps, the pieces of a file with a document's settings and these entries, one on each line."""
    services = doc.view(document, {})["services"]
    pieces = [b"{\n"]
    for name, section in document.items():
        if name != "services":
            text = json.dumps(section, indent=4).replace("\n", "\n    ")
            pieces.append(f"    {json.dumps(name)}: {text},\n".encode())
    pieces.append(b'    "services": {')
    comma = b"\n"
    for name, value in services.items():
        pieces.append(comma + _line(name, value))
        comma = b",\n"
    for entry in entries:
        pieces.append(comma + _line(entry.name, record(entry)))
        comma = b",\n"
        yield
    pieces.append(b"\n    }\n}\n" if comma == b",\n" else b"}\n}\n")
    return pieces


def _line(name: str, value: object) -> bytes:
    return f"        {json.dumps(name)}: {json.dumps(value)}".encode()


def _put(one: Imported) -> Put:
    return Put(one.name, one.data, written=one.written)


def _digest(document: Document) -> str:
    return sha256(json.dumps(doc.view(document, {}), sort_keys=True).encode()).hexdigest()


def _signature(path: Path) -> Signature | None:
    """Give what tells one state of a file from another, ``None`` if it is not there."""
    with suppress(OSError):
        return _signature_of(path.stat())
    return None


def _signature_of(found: os.stat_result) -> Signature:
    return (found.st_ino, found.st_size, found.st_mtime_ns)


# -- backups ------------------------------------------------------------------------------------------------------


def backups(path: str | Path) -> list[Path]:
    """Give the backups beside a file, oldest first."""
    path = Path(path)
    fits = re.compile(re.escape(path.name) + r"\.[0-9]{8}T[0-9]{6}Z")
    with suppress(OSError):
        return sorted(one for one in path.parent.iterdir() if fits.fullmatch(one.name))
    return []


def _back_up(path: Path, pieces: list[bytes], now: float, keep: int) -> None:
    """Write a backup of the file; remove what is more than that."""
    write(path.with_name(f"{path.name}.{datetime.fromtimestamp(now, UTC).strftime(STAMP)}"), pieces)
    for old in backups(path)[:-keep]:
        with suppress(OSError):
            old.unlink()


def restore(path: str | Path, backup: str | Path | None = None) -> Path:
    """Put a backup, the latest usable one if none is given, in the place of a file, and give the backup that it was.

    The broker takes its registry in place of its own at the next start.  Not while the broker runs: the caller sees to
    that.  Raises ``OperatorError`` if there is no backup that can be used.
    """
    path = Path(path)
    problem = f"{path}: there is no backup: expected files such as {path.name}.20270131T120000Z beside it"
    for candidate in [Path(backup)] if backup is not None else reversed(backups(path)):
        try:
            found = doc.read(candidate)
            found["_config"] = {**found.get("_config", {}), doc.AGAIN: True}
            write(path, [json.dumps(found, indent=4).encode(), b"\n"])
        except OSError as error:
            raise OperatorError(f"{path}: cannot be written: {error.strerror or error}") from None
        except OperatorError as error:
            problem = str(error)
        else:
            return candidate
    raise OperatorError(problem)
