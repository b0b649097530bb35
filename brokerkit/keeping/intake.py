"""The log as the router has it: a subscriber with a bounded outbox, which a turn fills.

What is published is held here until the next commit begins, and then handed on topic by topic: so what came in several
turns costs no more than what came in one.  What waits for the disk is counted by the log itself; here is what is done
about it.  From a quarter of the bound on, the publishers of a turn that has put something here are paced as for any
slow reader (``brokerkit.pacing``); from three quarters on they wait for as long as the log makes progress.  A topic
whose rule says ``drop`` holds nobody back, and loses messages to the log from that point on.  So does any topic at the
bound itself, which is only reached when the disk stands still, or when very many connections each have a last chunk to
say.  What is lost stands in the log as a gap, is counted, and is said in the program's log from time to time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted.logger import Logger

from brokerkit.keep import DROP
from brokerkit.keeping.together import sorted_by_lane
from brokerkit.log.columns import EACH as THERE
from brokerkit.log.words import LogError, TooLarge, UnknownTopic, Write
from brokerkit.notation import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from brokerkit.keeping.together import Together
    from brokerkit.log import Log
    from brokerkit.log.words import Record
    from brokerkit.outbox import Limits, Outbox
    from brokerkit.turn import Turn

log = Logger()

EACH = 64  # bytes that a message counts for beside its payload
HERE = EACH + THERE  # the same as long as it is held here: to hand it on, where the log adds its own, changes nothing
SAY_EVERY = 10.0  # seconds between two lines about what is lost
HELD = 4 * 1024 * 1024  # bytes that are held here before they are handed on, commit or not
GAPPY = 10_000  # topics of which it is remembered that a gap has to be written

# Why a message is not kept: the disk is behind, it is larger than the topic's may be, the rule has as many topics as it
# may have, or the log could not be written to.
OVERFLOW, SIZE, TOPICS, FAILED = "overflow", "size", "topics", "failed"


class Lane:
    """One topic's way into the log.

    ``source`` is what it comes by, ``missed`` are the messages that are missing and of which the log does not know yet.
    Nothing is handed on before it is ``ready``: the topic is being made.  ``gone`` says that this came to nothing.
    ``delay`` is how many seconds the first message may wait for others.
    """

    __slots__ = ("delay", "drops", "gone", "missed", "name", "ready", "source", "stream", "tenant")

    def __init__(
        self, tenant: str, name: bytes, source: object, overflow: str, stream: str = "", delay: float = 0.0
    ) -> None:
        """Begin; a topic without a ``stream`` is in one by itself."""
        self.delay = delay
        self.tenant = tenant
        self.name = name
        self.source = source
        self.stream = (tenant, stream) if stream else self
        self.drops = overflow == DROP
        self.ready = False
        self.gone = False
        self.missed = 0


Entry = tuple[Lane, bytes, "list[bytes | None]", "list[Record] | None", int]
"""What one sender published to one topic in a row: payloads, or records where there is more to them; and its bytes."""


class Intake:
    """What a turn fills and flushes, and publishers wait for; it stands where an ``Outbox`` does."""

    peer = "the log"

    def __init__(self, topics: Log, turn: Turn, clock: IReactorTime, limits: Limits) -> None:
        """Hand everything to that log; ``limits`` are those of an outbox."""
        self.limits = limits
        self.kept = self.kept_bytes = 0  # messages that were handed to the log, and their bytes
        self.missed = {OVERFLOW: 0, SIZE: 0, TOPICS: 0, FAILED: 0}
        self.gaps = 0  # gap records that were handed to the log
        self.paced = 0  # turns whose publishers were made to wait
        self._log = topics
        self._turn = turn
        self._clock = clock
        self._entries: deque[Entry] = deque()
        self._held = 0  # bytes of them
        self._room = self._brim = 0  # bytes that may be held, as long as the log's queue is as it was
        self._delay = 0.0  # seconds that the log may wait for more
        self._is_odd = False  # not all of them can be handed on together
        self._touched = False
        self._gappy: dict[Lane, None] = {}
        self._waiting: set[Callable[[Outbox], None]] = set()
        self._behind = False
        self._moved_at = 0.0
        self._said = -SAY_EVERY
        self._unsaid = 0

    # -- filling ------------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """The bytes that wait for the disk."""
        return self._held + self._log.queued

    def put(self, lane: Lane, sender: bytes, values: list[bytes | None], size: int) -> None:
        """Keep payloads of one sender, of about so many bytes, or note that they are missing."""
        size += HERE * len(values)
        if not self._touched:
            self._touch(lane)
        held = self._held + size
        if held > (self._brim if lane.drops else self._room):
            self._overflow(lane, len(values))
            return
        if lane.delay != self._delay:
            self._delay = min(self._delay, lane.delay)
        if lane.missed or not lane.ready:
            self._is_odd = True
        self._held = held
        self._entries.append((lane, sender, values, None, size))

    def put_records(self, lane: Lane, records: list[Record]) -> None:
        """Keep messages that have more than a payload, or note that they are missing."""
        size = sum(map(_size, records))
        if not self._touched:
            self._touch(lane)
        if self._held + size > (self._brim if lane.drops else self._room):
            self._overflow(lane, len(records))
            return
        self._delay = min(self._delay, lane.delay)
        self._is_odd = True
        self._held += size
        self._entries.append((lane, b"", [], records, size))

    def _overflow(self, lane: Lane, count: int) -> None:
        """Note that messages are missing behind what is held, which is handed on first: the gap is in its place."""
        if not lane.missed:
            self.feed_or_miss()
        self.miss(lane, count, OVERFLOW)

    def _touch(self, lane: Lane) -> None:
        """Have the turn flush this when it ends."""
        self._touched = True
        self._delay = lane.delay
        self._measure()
        self._turn.touched.append(self)  # type: ignore[arg-type]  # it has what a turn asks of an outbox

    def _measure(self) -> None:
        queued = self._log.queued
        self._room, self._brim = self.limits.limit - queued, self.limits.brim - queued

    # -- what is missing ----------------------------------------------------------------------------------------------

    def miss(self, lane: Lane, count: int, why: str) -> None:
        """Note that messages are not kept: they become a gap in the log as soon as it takes one."""
        lane.missed += count
        if len(self._gappy) < GAPPY:
            self._gappy[lane] = None
        self.lose(lane.name, count, why)

    def lose(self, topic: bytes, count: int, why: str) -> None:
        """Count messages that are not kept, and say so, but not each time."""
        self.missed[why] += count
        self._unsaid += count
        now = self._clock.seconds()
        if now - self._said >= SAY_EVERY:
            count, self._unsaid, self._said = self._unsaid, 0, now
            text = "{count} messages are not kept ({why}), the last on {topic}"
            log.warn(text, count=count, why=why, topic=shown(topic))

    def _mend(self, lane: Lane) -> None:
        """Write down how many messages are missing on a topic; if that cannot be now, it is tried again later."""
        self._gappy.pop(lane, None)
        count, lane.missed = lane.missed, 0
        written = self._log.gap(lane.name, count, lane.tenant)
        written.addCallbacks(self._has_gap, self._has_none, errbackArgs=(lane, count))

    def _has_gap(self, _: object) -> None:
        self.gaps += 1

    def _has_none(self, failure: Failure, lane: Lane, count: int) -> None:
        failure.trap(LogError)
        if not failure.check(UnknownTopic):
            lane.missed += count
            self._gappy[lane] = None

    # -- emptying -----------------------------------------------------------------------------------------------------

    def flush(self) -> bool:
        """Have what the turn has put here handed on soon; say whether publishers must be paced."""
        self._touched = False
        if self._held >= HELD or not self._log.soon(self._delay):
            self.feed()
        if self.pending < self.limits.mark:
            return False
        self._is_behind(True)
        self.paced += self.congested
        return self.congested

    def feed_or_miss(self) -> None:
        """Hand on what is there, before a commit begins; nothing is raised."""
        try:
            self.feed()
        except Exception:
            log.failure("handing messages to the log failed because of a bug")
            self.abort("error")

    def feed(self) -> None:
        """Hand on what is there, up to what belongs to a topic that is still being made: the order stays."""
        entries = self._entries
        while entries and (entries[0][0].ready or entries[0][0].gone):
            some = self._next()
            self._held -= sum([entry[4] for entry in some])
            if len(some) > 1:
                self._hand_on_together(some)
            elif some[0][0].gone:
                self.lose(some[0][0].name, _count(some[0]), FAILED)
            else:
                self._hand_on(some[0])
        self._is_odd = bool(entries)
        self._measure()

    def _next(self) -> list[Entry]:
        """Take plain payloads that can be handed on together, or one entry of another kind."""
        entries, some = self._entries, list[Entry]()
        if not self._is_odd:
            some += entries
            entries.clear()
        while entries:
            lane, _, _, records, _ = entries[0]
            if records is not None or lane.missed or not lane.ready:
                break
            some.append(entries.popleft())
        return some or [entries.popleft()]

    def _hand_on(self, entry: Entry) -> None:
        lane, sender, values, records, size = entry
        if lane.missed:
            self._mend(lane)
        try:
            if records is None:
                size -= THERE * len(values)
                self._log.take(lane.name, lane.tenant, values, sender, weight=size)
            else:
                self._write(lane, records)
        except TooLarge:
            self._leave_out(entry)
        except LogError:
            self.miss(lane, _count(entry), FAILED)
        else:
            self.kept += _count(entry)
            self.kept_bytes += size

    def _hand_on_together(self, entries: list[Entry]) -> None:
        """Hand on payloads to topics that came in turn: those of each topic in one go, and their order with them."""
        groups = sorted_by_lane(entries)
        try:
            before = self._reserve(groups)
        except LogError:  # a topic has just gone
            for entry in entries:
                self._hand_on(entry)
            return
        for one in groups:
            lane, count = one.lane, len(one.values)
            size = one.size - THERE * count
            start = before.get(lane.stream, 0)
            try:
                self._log.take(
                    lane.name, lane.tenant, one.values, one.senders, weight=size, order=one.order, before=start
                )
            except LogError:  # one by one it is seen which
                for entry in [entry for entry in entries if entry[0] is lane]:
                    self._hand_on(entry)
            else:
                self.kept += count
                self.kept_bytes += size

    def _reserve(self, groups: list[Together]) -> dict[object, int]:
        """Set sequences aside for topics that share a stream; raise ``UnknownTopic``."""
        counts: dict[object, tuple[Lane, int]] = {}
        for one in groups:
            if one.order is not None:
                lane, count = counts.get(one.lane.stream, (one.lane, 0))
                counts[lane.stream] = lane, count + len(one.values)
        return {stream: self._log.reserve(lane.name, lane.tenant, count) for stream, (lane, count) in counts.items()}

    def _write(self, lane: Lane, records: list[Record]) -> None:
        """Have records written, for whose answer nobody waits."""
        writes = [Write(lane.tenant, lane.name, None, record) for record in records]
        self._log.admit(writes).done.addErrback(self._not_written, lane, len(records))

    def _not_written(self, failure: Failure, lane: Lane, count: int) -> None:
        failure.trap(LogError)
        self.miss(lane, count, FAILED)

    def _leave_out(self, entry: Entry) -> None:
        """Hand on what there is beside a message that is too large."""
        lane, sender, values, records, _ = entry
        if _count(entry) == 1:
            self.miss(lane, 1, SIZE)
            return
        for value in values:
            self._hand_on((lane, sender, [value], None, len(value or b"") + HERE))
        for record in records or ():
            self._hand_on((lane, sender, [], [record], _size(record)))

    def moved(self) -> None:
        """Hear that the log has got on, or has tried to: who waits may go on, and gaps can be written."""
        self._moved_at = self._clock.seconds()
        if self.pending >= self.limits.mark:
            return
        self._is_behind(False)
        for lane in [lane for lane in self._gappy if lane.ready]:
            self._mend(lane)
        waiting, self._waiting = self._waiting, set()
        for call in waiting:
            call(self)  # type: ignore[arg-type]  # as above

    def _is_behind(self, now: bool) -> None:
        """Note it here and for the turn, which does not put off its end while somebody is to be paced."""
        if now and not self._behind:
            self._moved_at = self._clock.seconds()
        self._turn.behind += now - self._behind
        self._behind = now

    # -- what a turn and those who wait ask of an outbox --------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """Whether publishers have to be paced: much is waiting, and the log makes progress."""
        still = self._clock.seconds() - self._moved_at
        return self.pending >= self.limits.mark and still < self.limits.deadline

    @property
    def brimming(self) -> bool:
        """Whether publishers have to wait without a bound: hardly any room is left, and the log makes progress."""
        return self.pending >= self.limits.brim and self.congested

    def when_drained(self, call: Callable[[Outbox], None]) -> None:
        """Call once when less than ``mark`` is waiting."""
        self._waiting.add(call)

    def never_mind(self, call: Callable[[Outbox], None]) -> None:
        """Forget a ``when_drained``."""
        self._waiting.discard(call)

    def abort(self, why: str) -> None:  # noqa: ARG002  a turn says it
        """Forget what this turn has put here: handing it on failed by a bug, which the turn has logged."""
        entries, self._entries = self._entries, deque()
        self._held = 0
        for entry in entries:
            self.miss(entry[0], _count(entry), FAILED)


def _count(entry: Entry) -> int:
    return len(entry[2]) or len(entry[3] or ())


def _size(record: Record) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return EACH + len(record.value or b"") + len(record.key or b"") + headers
