"""Appends on their way to disk: numbered as they come, written in groups, answered when they are there.

What is appended gets its offsets at once, behind all that waits, so the order of the log is the order of the
calls.  One commit is under way at a time; what comes meanwhile shares the next.  When a commit fails, all that waits
fails with it, since it was numbered behind, and the numbers are those on disk again: there is never a hole, and nothing
is half there.

What was promised a place without an answer from the disk and is lost all the same is owed: a gap record says so as soon
as there is room.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from brokerkit.log.codec import Piece
from brokerkit.log.committing import gathered
from brokerkit.log.words import Busy, LogError, Unwritable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from brokerkit.log.answers import Answers, Done, Noted
    from brokerkit.log.cells import Cells, Former
    from brokerkit.log.codec import Row
    from brokerkit.log.committing import Written
    from brokerkit.log.state import Part, State
    from brokerkit.log.words import Limits, Placed
    from brokerkit.stores.topiclog import TopicLogStore

log = Logger()

SLOWEST, QUICKEST = 30.0, 0.05  # seconds that Busy may say
REST = 4  # times as long as a commit took, at the most, nothing is written again for which nobody waits
START_RATE = 10 * 1024 * 1024  # bytes/s that are assumed until there is a measurement

Told = "Callable[[Part, int, int, Sequence[Row]], None]"


class Append:
    """What is written together or not at all.

    ``answer`` is called when it is on disk; without one nobody waits, and what is lost is owed.
    """

    __slots__ = ("answer", "cells", "done", "followers", "former", "noted", "pieces", "placed", "size")

    def __init__(self, pieces: list[tuple[Part, Piece, int]], size: int) -> None:
        """Take pieces with their partitions and first offsets."""
        self.pieces = pieces
        self.size = size
        self.placed: Sequence[Placed] = ()
        self.cells: Mapping[tuple[str, bytes], bytes | None] = {}
        self.former: list[Former] = []
        self.noted: Noted | None = None
        self.done: Done | None = None
        self.answer: Deferred[Sequence[Placed]] | None = None
        self.followers: list[Deferred[Sequence[Placed]]] = []


class Writing:
    """The queue, and the commit that is under way."""

    def __init__(
        self,
        clock: Any,  # noqa: ANN401  any reactor
        limits: Limits,
        state: State,
        cells: Cells,
        answers: Answers,
    ) -> None:
        """Write nothing until ``open`` gives a store."""
        self._clock = clock
        self._limits = limits
        self._state = state
        self._cells = cells
        self._answers = answers
        self._store: TopicLogStore | None = None
        self._threads: Any = None
        self._at_once = False
        self._queue: deque[Append] = deque()
        self._under_way: list[Append] = []
        self._call: Any = None  # the delayed call that begins the next commit
        self._settled: list[tuple[int, Deferred[None]]] = []
        self._number = 0  # of appends that were taken
        self._finished = 0  # of those that are done, or failed
        self._rate = float(START_RATE)
        self._took = 0.0  # seconds, the last commit
        self.queued = 0  # bytes that wait, or are being written
        self.commits = 0
        self.seconds = 0.0  # that they took
        self.records = 0
        self.bytes = 0
        self.failed = 0  # appends that were answered with a failure
        self.lost = 0  # records that were promised a place, and lost
        self.is_writable = True
        self.told: Callable[[Part, int, int, Sequence[Row]], None] = lambda *_: None
        self.before: list[Callable[[], None]] = []
        self.after: list[Callable[[], None]] = []
        self._is_gathering = False
        self._wanted = False  # somebody holds what is to be in the next commit

    @property
    def is_open(self) -> bool:
        """Whether appends are taken."""
        return self._store is not None

    @property
    def waiting(self) -> int:
        """The number of appends that wait, or are being written."""
        return self._number - self._finished

    def open(self, store: TopicLogStore, threads: Any) -> None:  # noqa: ANN401  Threads, or what calls at once
        """Write to that store, in those threads; to one in memory at once."""
        self._store = store
        self._threads = threads
        self._at_once = store.path is None

    def close(self) -> Deferred[None]:
        """Take no more; done when all is written that was taken."""
        done = self.settled()
        self._hurry()
        self._store_after(done)
        return done

    def _store_after(self, done: Deferred[None]) -> None:
        def forget(result: None) -> None:
            self._store = None
            return result

        done.addCallback(forget)

    # -- taking -------------------------------------------------------------------------------------------------------

    def room(self, size: int) -> None:
        """Raise ``Busy`` unless so many bytes can wait, too; ``Unwritable`` if the log is closed."""
        if self._store is None:
            raise Unwritable("the log is closed")
        if self.queued + size > self._limits.queue_bytes and self.queued:
            raise Busy(self.retry_after())

    def retry_after(self) -> float:
        """Give the seconds after which half of what waits will be written, at the rate of late."""
        return min(max(self.queued / 2 / self._rate, QUICKEST), SLOWEST)

    def put(self, append: Append, delay: float = 0.0) -> None:
        """Take what ``room`` was asked for; a ``delay`` in seconds says how long it may wait for company."""
        self._queue.append(append)
        self._number += 1
        self.queued += append.size
        if not (self._under_way or self._is_gathering):
            self._begin_soon(delay)

    def soon(self, delay: float) -> bool:
        """Begin a commit in so many seconds, as ``Log.soon`` says."""
        if self._store is None or self._at_once:
            return False
        self._wanted = True
        if not self._under_way:
            self._begin_soon(self.patient(delay))
        return True

    def patient(self, delay: float) -> float:
        """Give the seconds to wait for company where nobody waits for an answer: a commit of many rows is dear."""
        return max(delay, min(self._took * REST, self._limits.gather_most))

    def gather(self) -> None:
        """Have those who hold something append it."""
        self._wanted, self._is_gathering = False, True
        try:
            for call in list(self.before):
                call()
        finally:
            self._is_gathering = False

    def _begin_soon(self, delay: float) -> None:
        if self._at_once:
            self._begin()
            return
        if self.queued >= self._limits.commit_bytes:
            delay = 0.0
        if self._call is None:
            self._call = self._clock.callLater(delay, self._begin)
        elif delay < self._call.getTime() - self._clock.seconds():
            self._call.reset(delay)

    def _hurry(self) -> None:
        if self._queue and not self._under_way:
            self._begin_soon(0.0)

    def settled(self) -> Deferred[None]:
        """Give what is done when all that waits now is written, or failed."""
        self.gather()
        done: Deferred[None] = Deferred()
        if self._finished == self._number:
            done.callback(None)
        else:
            self._settled.append((self._number, done))
            self._hurry()
        return done

    # -- committing ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin the next commit, unless one is under way."""
        if self._wanted and not self._under_way:
            self.gather()
        if self._call is not None:
            if self._call.active():
                self._call.cancel()
            self._call = None
        while self._queue and not self._under_way and self._store is not None:
            self._under_way = taken = self._take()
            store = self._store
            try:
                work = gathered(taken, int(self._clock.seconds() * 1000))
            except Exception:
                log.failure("a commit could not be made because of a bug")
                self._not_committed(Failure(Unwritable("the write failed")))
                continue
            began = self._clock.seconds()
            done: Deferred[list[Written]] = self._threads.call(partial(work.write, store, self._limits.batch_bytes))
            done.addCallbacks(self._committed, self._not_committed, (taken, began), {}, (), {})
            done.addErrback(self._bug)

    def _take(self) -> list[Append]:
        taken, size, most = [], 0, self._limits.commit_bytes
        while self._queue and size < most:
            append = self._queue.popleft()
            size += append.size
            taken.append(append)
        return taken

    def _committed(self, written: list[Written], taken: list[Append], began: float) -> None:
        self.commits += 1
        if not self.is_writable:
            log.info("the log can be written to again")
        self.is_writable = True
        size = sum(append.size for append in taken)
        self._took = took = self._clock.seconds() - began
        self.seconds += took
        if took > 0 and size > 64 * 1024:
            self._rate += 0.1 * (size / took - self._rate)
        self.bytes += size
        for part, _, grown, _ in written:
            part.next, part.peak, part.stored = grown.next, grown.peak, grown.stored
            part.bytes += grown.bytes
            part.records += grown.records
            self.records += grown.records
        self._settle_sequences(taken)
        self._finish(taken)
        for part, base, grown, rows in written:
            self.told(part, base, grown.next, rows)
        for append in taken:
            if append.done is not None:
                append.done.pending = None
            answer(append, append.placed)
        self._go_on()

    def _settle_sequences(self, taken: list[Append]) -> None:
        for append in taken:
            for part, piece, _ in append.pieces:
                stream = part.kept.stream
                stream.sequence = max(stream.sequence, piece.last_sequence)

    def _finish(self, some: list[Append]) -> None:
        self._under_way = []
        self._finished += len(some)
        for append in some:
            self.queued -= append.size

    def _go_on(self) -> None:
        while self._settled and self._settled[0][0] <= self._finished:
            self._settled.pop(0)[1].callback(None)
        for call in list(self.after):
            try:
                call()
            except Exception:  # what one listener does must not cost the others
                log.failure("what follows a commit failed")
        if (self._queue or self._wanted) and not self._under_way:
            self._begin_soon(0.0 if self._awaited() else self.patient(self._limits.gather))

    def _awaited(self) -> bool:
        """Say whether somebody waits for what is queued, and not just for its turn."""
        return any(append.answer is not None or append.cells for append in self._queue)

    def _not_committed(self, failure: Failure) -> None:
        """Fail all that was numbered behind what is on disk."""
        if not failure.check(LogError):
            log.failure("a commit failed because of a bug", failure)
            failure = Failure(Unwritable("the write failed"))
        if self.is_writable:  # said once, however many try
            log.error("the log cannot be written to: {error}", error=failure.getErrorMessage())
        self.is_writable = False
        some = [*self._under_way, *self._queue]
        self._queue.clear()
        self._finish(some)
        self._state.fall_back()
        for append in reversed(some):
            self._cells.take_back(append.former)
            if append.noted is not None:
                self._answers.take_back(append.noted.undo)
        for append in some:
            self._fail(append, failure)
        self._go_on()

    def _fail(self, append: Append, failure: Failure) -> None:
        self.failed += append.answer is not None
        if append.answer is None:
            for part, piece, _ in append.pieces:
                if isinstance(piece.missing, int) and piece.missing:  # it was a gap record, and counted before
                    part.owed += piece.missing
                else:
                    part.owed += piece.count
                    self.lost += piece.count
        answer(append, failure)

    def _bug(self, failure: Failure) -> None:
        log.failure("what follows a commit failed because of a bug", failure)

    # -- gaps ---------------------------------------------------------------------------------------------------------

    def pay(self, part: Part) -> None:
        """Say in the log what is missing there, before something else is numbered."""
        owed, part.owed = part.owed, 0
        if owed:
            self.gap(part, owed)

    def gap(self, part: Part, count: int) -> Append:
        """Take a record that says that so many messages are missing."""
        now = int(self._clock.seconds() * 1000)
        piece = Piece([None], None, b"", b"", b"", now, 0, 64)
        piece.missing = count
        append = Append([number(part, piece)], piece.size)
        self.put(append)
        return append

    def pay_all(self) -> None:
        """Have a gap record written wherever one is owed, as it may be that nobody writes there any more."""
        for part in list(self._state.parts.values()):
            if part.owed and self.is_open and not part.kept.gone:
                self.pay(part)


def number(part: Part, piece: Piece) -> tuple[Part, Piece, int]:
    """Give a piece its offsets and sequences, behind all that waits."""
    base = part.coming
    stream = part.kept.stream
    piece.sequences = stream.coming + 1
    part.coming = base + piece.count
    stream.coming += piece.count
    return part, piece, base


def answer(append: Append, result: Sequence[Placed] | Failure) -> None:
    """Tell everybody who waits for an append what became of it."""
    waiting, append.followers = append.followers, []
    if append.answer is not None:
        waiting.insert(0, append.answer)
    append.pieces = []
    for one in waiting:
        if not one.called:
            one.callback(result)
