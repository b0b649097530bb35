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

from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from twisted.logger import Logger

from brokerkit.bodies import together
from brokerkit.holding import EACH, Count, Held, Holding, Taken
from brokerkit.keep import DROP
from brokerkit.log.words import LogError, TooLarge, UnknownTopic, Write
from brokerkit.notation import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from brokerkit.keeping.service import Source
    from brokerkit.log import Log
    from brokerkit.log.words import Record
    from brokerkit.outbox import Limits, Outbox
    from brokerkit.turn import Turn

log = Logger()

RECORD = 64  # bytes that a message that has more than a payload counts for beside what it carries
SAY_EVERY = 10.0  # seconds between two lines about what is lost
ENTRY = 128  # bytes more that an entry counts for, and each of its payloads, which is an object for as long
HELD = 4 * 1024 * 1024  # bytes that are held here before they are handed on, commit or not
GAPPY = 10_000  # topics of which it is remembered that a gap has to be written

# Why a message is not kept: the disk is behind, it is larger than the topic's may be, the rule has as many topics as it
# may have, or the log could not be written to.
OVERFLOW, SIZE, TOPICS, FAILED = "overflow", "size", "topics", "failed"


class Lane(Held):
    """One topic's way into the log.

    ``source`` is what it comes by, ``missed`` are the messages that are missing and of which the log does not know yet.
    Nothing is handed on before it is ``ready``: the topic is being made.  ``gone`` says that this came to nothing.
    ``delay`` is how many seconds the first message may wait for others.
    """

    __slots__ = ("name", "source", "tenant")

    def __init__(
        self, intake: Intake, source: Source, name: bytes, overflow: str = "", stream: str = "", delay: float = 0.0
    ) -> None:
        """Begin; a topic without a ``stream`` is in one by itself."""
        tenant = source.tenant
        super().__init__(intake, source.subscription, intake.order(tenant, stream) if stream else None)
        self.source = source
        self.tenant = tenant
        self.name = name
        self.delay = delay
        self.drops = overflow == DROP


class Entry(NamedTuple):
    """What cannot be held with the rest: payloads of one sender, or records where there is more to them; its bytes."""

    lane: Lane
    sender: bytes
    values: list[bytes]
    records: list[Record]
    size: int

    @property
    def messages(self) -> int:
        """The number of messages."""
        return len(self.values) or len(self.records)


class Intake(Holding):
    """What a turn fills and flushes, and publishers wait for; it stands where an ``Outbox`` does."""

    peer = "the log"

    def __init__(self, topics: Log, turn: Turn, clock: IReactorTime, limits: Limits) -> None:
        """Hand everything to that log; ``limits`` are those of an outbox."""
        super().__init__()
        self.limits = limits
        self.kept = self.kept_bytes = 0  # messages that were handed to the log, and their bytes
        self.missed = {OVERFLOW: 0, SIZE: 0, TOPICS: 0, FAILED: 0}
        self.gaps = 0  # gap records that were handed to the log
        self.paced = 0  # turns whose publishers were made to wait
        self._log = topics
        self._turn = turn
        self._clock = clock
        self._entries: deque[Entry] = deque()
        self._orders: WeakValueDictionary[tuple[str, str], Count] = WeakValueDictionary()
        self._gappy: dict[Lane, None] = {}
        self._waiting: set[Callable[[Outbox], None]] = set()
        self._behind = False
        self._moved_at = 0.0
        self._said = -SAY_EVERY
        self._unsaid = 0

    def order(self, tenant: str, stream: str) -> Count:
        """Give what counts the messages of a stream that are held, for all of its topics."""
        return self._orders.setdefault((tenant, stream), Count())

    # -- filling ------------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """The bytes that wait for the disk."""
        return self.held + self._log.queued

    def offer(self, lane: Lane, sender: bytes, values: list[bytes]) -> None:
        """Keep payloads of one sender, or note that they are missing."""
        size = _weight(values)
        is_odd = self.odd or lane.missed or not lane.ready
        if is_odd:
            size += ENTRY * (1 + len(values))
        if not self._fits(lane, len(values), size):
            return
        if is_odd:
            self._put(Entry(lane, sender, values, [], size))
        else:
            lane.put(sender, values, size)

    def offer_records(self, lane: Lane, records: list[Record]) -> None:
        """Keep messages that have more than a payload, or note that they are missing."""
        size = sum(map(_size, records))
        if self._fits(lane, len(records), size):
            self._put(Entry(lane, b"", [], records, size))

    def _put(self, entry: Entry) -> None:
        self.held += entry.size
        self.odd = True
        self._entries.append(entry)

    def _fits(self, lane: Lane, count: int, size: int) -> bool:
        """Say whether there is room, and if not that messages are missing behind what is held, which goes first."""
        if not self.touched:
            self.touch(lane)
        if self.held + size > (self.brim if lane.drops else self.room):
            if not lane.missed:
                self.feed_or_miss()
            self.miss(lane, count, OVERFLOW)
            return False
        self.delay = min(self.delay, lane.delay)
        return True

    def touch(self, lane: Lane) -> None:
        """Have the turn flush this when it ends."""
        self.touched = True
        self.delay = lane.delay
        self._measure()
        self._turn.touched.append(self)  # type: ignore[arg-type]  # it has what a turn asks of an outbox

    def _measure(self) -> None:
        queued = self._log.queued
        self.room, self.brim = self.limits.limit - queued, self.limits.brim - queued

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
        self.touched = False
        if self.held >= HELD or not self._log.soon(self.delay):
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
        self._empty_lanes()
        entries = self._entries
        while entries and (entries[0].lane.ready or entries[0].lane.gone):
            entry = entries.popleft()
            lane, sender, values, records, size = entry
            self.held -= size
            if lane.gone:
                self.lose(lane.name, entry.messages, FAILED)
            elif records or lane.missed:
                self._empty_lanes()
                self._hand_on(entry)
            else:
                lane.put(sender, values, _weight(values))
        self._empty_lanes()
        self.odd = bool(entries)
        self._measure()

    def _empty_lanes(self) -> None:
        """Hand on what lanes hold, in the order in which they began to."""
        before = self._reserve(self.lanes)
        for lane, taken in self._take_all():  # all at once: a log in memory calls others, who may publish
            try:
                self._hand_on_held(lane, taken, before.get(lane.order))
            except Exception:  # the other lanes are not to blame
                log.failure("handing messages to the log failed because of a bug")
                self.miss(lane, len(taken.bodies), FAILED)

    def _take_all(self) -> list[tuple[Lane, Taken]]:
        """Have lanes hold nothing any more, and give what they held."""
        lanes, self.lanes = self.lanes, []
        found: list[tuple[Lane, Taken]] = []
        for lane in lanes:
            count = lane.count
            self.held -= lane.size
            try:
                found.append((lane, lane.take()))
            except Exception:
                log.failure("taking what is held for the log failed")
                self.miss(lane, count, FAILED)
        return found

    def _hand_on_held(self, lane: Lane, taken: Taken, before: int | None) -> None:
        """Hand on all of a topic in one go; if it shares its stream with others, with its order among them."""
        order = None if before is None else taken.places
        try:
            self._log.take(lane.name, lane.tenant, taken.bodies, taken.senders, order=order, before=before or 0)
        except TooLarge:
            self._hand_on_others(lane, taken, before)
        except LogError:
            self.miss(lane, len(taken.bodies), FAILED)
        else:
            self.kept += len(taken.bodies)
            self.kept_bytes += taken.size

    def _reserve(self, lanes: list[Lane]) -> dict[Count | None, int]:
        """Set sequences aside for topics that share a stream: what each stream's are counted from."""
        before: dict[Count | None, int] = {}
        shared = Counter([lane.order for lane in lanes if lane.order is not None])
        for lane in lanes:
            order = lane.order
            if order is None or shared[order] == 1 or order in before:
                continue
            if self._log.keeps(lane.name, lane.tenant):  # it may just have gone
                before[order] = self._log.reserve(lane.name, lane.tenant, order.count)
        for order in shared:
            order.count = 0
        return before

    def _hand_on_others(self, lane: Lane, taken: Taken, before: int | None) -> None:
        """Hand on payloads of which some are too large: those are missing, each in its place."""
        most = self._log.topic(lane.name, lane.tenant).settings.max_message_bytes
        values, senders, start = list(taken.bodies), taken.senders, 0
        for stop in [*(i for i, value in enumerate(values) if len(value) > most), len(values)]:
            if lane.missed:
                self._mend(lane)
            if some := values[start:stop]:
                names = senders if isinstance(senders, bytes) else senders[start:stop]
                part = Taken(together(some), names, taken.places[start:stop], _weight(some))
                self._hand_on_held(lane, part, before)
            if stop < len(values):
                self.miss(lane, 1, SIZE)
            start = stop + 1

    def _hand_on(self, entry: Entry) -> None:
        lane, sender, values, records, size = entry
        if lane.missed:
            self._mend(lane)
        if values:
            lane.put(sender, values, _weight(values))
            self._empty_lanes()
            return
        try:
            self._write(lane, records)
        except TooLarge:
            self._leave_out(entry)
        except LogError:
            self.miss(lane, entry.messages, FAILED)
        else:
            self.kept += entry.messages
            self.kept_bytes += size

    def _write(self, lane: Lane, records: list[Record]) -> None:
        """Have records written, for whose answer nobody waits."""
        writes = [Write(lane.tenant, lane.name, None, record) for record in records]
        self._log.admit(writes).done.addErrback(self._not_written, lane, len(records))

    def _not_written(self, failure: Failure, lane: Lane, count: int) -> None:
        failure.trap(LogError)
        self.miss(lane, count, FAILED)

    def _leave_out(self, entry: Entry) -> None:
        """Hand on what there is beside a record that is too large."""
        if entry.messages == 1:
            self.miss(entry.lane, 1, SIZE)
            return
        for record in entry.records:
            self._hand_on(Entry(entry.lane, b"", [], [record], _size(record)))

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
        for lane in self.lanes:
            if lane.order is not None:
                lane.order.count = 0  # places begin anew; no sequence has been set aside for what is lost
        for lane, taken in self._take_all():
            self.miss(lane, len(taken.bodies), FAILED)
        self.held, self.odd = 0, False
        for entry in entries:
            self.miss(entry.lane, entry.messages, FAILED)


def _weight(values: list[bytes]) -> int:
    return sum(map(len, values)) + EACH * len(values)


def _size(record: Record) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return RECORD + len(record.value or b"") + len(record.key or b"") + headers
