"""Any appends, failures, restarts, retention, compaction and reads: a dictionary of lists says what there has to be."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokerkit.bodies import together
from brokerkit.log import Idempotency, NoRoom, Placed, Producer, Record, Write
from tests.log.logs import got, make, moved, on_disk
from tests.talk import Time

if TYPE_CHECKING:
    from brokerkit.log import Stored

NAMES = (b"plain", b"counted", b"aged", b"keyed")
COUNT, AGE, TOMB = 5, 100.0, 50.0
PARTS = [(name, part) for name in NAMES for part in (0, 1)]
RECORD = st.builds(
    Record,
    st.none() | st.binary(max_size=40),
    st.none() | st.sampled_from([b"a", b"b", b"c" * 20]),
    st.sampled_from([(), ((b"h", b"1"), (b"h", None))]),
    st.none() | st.integers(0, 50),
    st.sampled_from([b"", b"ann", b"bob"]),
    st.sampled_from([b"", b"_INBOX.1"]),
)
WRITE = st.builds(Write, st.just(""), st.sampled_from(NAMES), st.integers(0, 1), RECORD)
WRITES = st.lists(WRITE, min_size=1, max_size=6)
PLACE = st.sampled_from(PARTS)


class Anything(RuleBasedStateMachine):
    """``expected`` has of each partition what was acknowledged: offset → (record, time put there)."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.directory = TemporaryDirectory()
        self.clock = Time()
        self.expected: dict[tuple[bytes, int], dict[int, tuple[Record, int, float]]] = {place: {} for place in PARTS}
        self.first = dict.fromkeys(PARTS, 0)
        self.next = dict.fromkeys(PARTS, 0)
        self.done: list[tuple[Any, list[Write], list[Placed]]] = []
        self.sequence = 0
        self.heard: list[tuple[bytes, int, int, int]] = []

    @initialize(tail=st.sampled_from([0, 400, 10**6]), batch=st.sampled_from([60, 10**5]))
    def begin(self, tail: int, batch: int) -> None:
        """Open it, with some limits."""
        self.limits = {"tail_bytes": tail, "batch_bytes": batch, "slice_records": 3}
        self.open()
        make(self.log, b"plain", 2)
        make(self.log, b"counted", 2, retention_messages=COUNT, stream="s")
        make(self.log, b"aged", 2, retention_seconds=AGE, stream="s")
        make(self.log, b"keyed", 2, compact=True, tombstone_seconds=TOMB, timestamps="append")

    def open(self) -> None:
        """Open it."""
        self.log = on_disk(Path(self.directory.name) / "l", self.clock, **self.limits)
        self.log.listen(lambda topic, *rest: self.heard.append((topic.name, *rest)))

    # -- writing ------------------------------------------------------------------------------------------------------

    def _expect(self, writes: list[Write], placed: list[Placed]) -> None:
        now = self.clock.seconds()
        for write, place in zip(writes, placed, strict=True):
            where = write.topic, place.partition
            assert place.offset == self.next[where]
            self.expected[where][place.offset] = (write.record, place.timestamp, now)
            self.next[where] += 1

    @rule(several=st.lists(WRITES, min_size=1, max_size=3))
    def append(self, several: list[list[Write]]) -> None:
        """Append some at once; they share a commit, in their order."""
        answers = [self.log.append(writes) for writes in several]
        self.heard.clear()
        before = dict(self.next)
        moved(self.log)
        for writes, answer in zip(several, answers, strict=True):
            self._expect(writes, got(answer))
        told = {(name, part): (first, following) for name, part, first, following in self.heard}
        assert told == {place: (before[place], self.next[place]) for place in PARTS if before[place] < self.next[place]}

    @rule(contents=st.lists(st.binary(max_size=40), min_size=1, max_size=5), name=st.sampled_from(NAMES))
    def take(self, contents: list[bytes], name: bytes) -> None:
        """Have the router's messages taken."""
        before = {place: self.next[place] for place in PARTS}
        self.log.take(name, "", together(list(contents)), b"sensor")
        now = int(self.clock.seconds() * 1000)
        moved(self.log)
        part = next(part for part in (0, 1) if self.log.span(name, part).next > before[name, part])
        records = [Record(value, sender=b"sensor") for value in contents]
        placed = [Placed(name, part, before[name, part] + i, now, False, "commit") for i in range(len(records))]
        self._expect([Write("", name, part, record) for record in records], placed)

    @rule(several=st.lists(WRITES, min_size=1, max_size=3))
    def fail(self, several: list[list[Write]]) -> None:
        """Let a commit find no room: nothing of what waits is there."""
        store, commit = self.log._store, self.log._store.commit
        store.commit = _refuse
        answers = [self.log.append(writes) for writes in several]
        moved(self.log)
        store.commit = commit
        for answer in answers:
            try:
                got(answer)
            except NoRoom:
                continue
            raise AssertionError

    @rule(writes=WRITES, counts=st.booleans())
    def once(self, writes: list[Write], counts: bool) -> None:
        """Append what can be repeated."""
        who: Any = Idempotency(b"key %d" % len(self.done), b"digest")
        if counts:
            who = Producer(b"me", 0, self.sequence)
            self.sequence += 1
        placed = got(self.log.append(writes, producer=who), self.log)
        self._expect(writes, placed)
        self.done.append((who, writes, placed))

    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        """Repeat an append of late: it gives the same places, and writes nothing."""
        counted = [one for one in self.done if isinstance(one[0], Producer)][-5:]
        keyed = [one for one in self.done if isinstance(one[0], Idempotency)]
        if counted or keyed:
            who, writes, placed = data.draw(st.sampled_from(counted + keyed))
            found = got(self.log.append(writes, producer=who), self.log)
            assert [one[:3] for one in found] == [one[:3] for one in placed]
            assert all(one.duplicate for one in found)

    # -- what happens -------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1.0, 40.0, 90.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        moved(self.log, seconds)

    @rule()
    def tidy(self) -> None:
        """Have what is too much or too old taken away."""
        got(self.log.tidying.run(), self.log)
        moved(self.log)
        for part in (0, 1):
            self._keep_from(b"counted", part, self.next[b"counted", part] - COUNT)
            oldest = self.clock.seconds() - AGE
            there = self.expected[b"aged", part]
            young = [offset for offset, (_, _, put) in there.items() if put >= oldest]
            self._keep_from(b"aged", part, min(young, default=self.next[b"aged", part]))

    def _keep_from(self, name: bytes, part: int, first: int) -> None:
        first = max(first, self.first[name, part])
        self.first[name, part] = first
        kept = {offset: one for offset, one in self.expected[name, part].items() if offset >= first}
        self.expected[name, part] = kept

    @rule()
    def compact(self) -> None:
        """Compact: of each key the last record is there, and no other but the partition's last."""
        got(self.log.tidying.compact(b"keyed"), self.log)
        dead = self.clock.seconds() - TOMB
        for part in (0, 1):
            there = self.expected[b"keyed", part]
            newest = {record.key: offset for offset, (record, _, _) in there.items() if record.key is not None}
            found = {one.offset for one in self._read(b"keyed", part)}
            for offset, (record, _, put) in list(there.items()):
                is_last = record.key is None or newest[record.key] == offset
                is_stone = record.key is not None and record.value is None
                if not is_last:
                    assert offset not in found
                elif not is_stone or put > dead or offset == self.next[b"keyed", part] - 1:
                    assert offset in found
                if offset not in found:
                    del there[offset]

    @rule()
    def restart(self) -> None:
        """Stop it in good order, and start it again."""
        got(self.log.stopService(), self.log)
        self.open()

    @rule(writes=WRITES)
    def break_off(self, writes: list[Write]) -> None:
        """End in the midst: what was not written is not there, all else is."""
        self.log.append(writes).addErrback(lambda _: None)
        self.log._store.close()
        self.open()

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self, name: bytes, part: int) -> list[Stored]:
        place, found = self.log.span(name, part).first, []
        while place < self.log.span(name, part).next:
            fetched = got(self.log.fetch(name, part, place, 100))
            assert fetched.after > place
            found += fetched.records
            place = fetched.after
        return found

    @rule(place=PLACE, data=st.data(), size=st.integers(1, 200), count=st.none() | st.integers(1, 5))
    def fetch(self, place: tuple[bytes, int], data: st.DataObject, size: int, count: int | None) -> None:
        """Read from anywhere: the records from there on, in order, none left out, at least one."""
        first, following = self.log.span(*place)
        offset = data.draw(st.integers(first, following))
        fetched = got(self.log.fetch(*place, offset, size, count))
        there = sorted(one for one in self.expected[place] if one >= offset)
        found = [record.offset for record in fetched.records]
        assert found == there[: len(found)]
        assert count is None or len(found) <= count
        assert [one for one in there if one < fetched.after] == found
        assert fetched.after > offset or offset == following
        for record in fetched.records:
            self._same(place, record)

    def _same(self, place: tuple[bytes, int], stored: Stored) -> None:
        record, timestamp, _ = self.expected[place][stored.offset]
        assert stored.missing == 0
        assert stored.kind == ("append" if place[0] == b"keyed" else "create")
        assert (stored.value, stored.key, stored.headers) == (record.value, record.key, record.headers)
        assert (stored.sender, stored.reply, stored.timestamp) == (record.sender, record.reply, timestamp)

    @rule(place=PLACE, moment=st.integers(0, 60))
    def at(self, place: tuple[bytes, int], moment: int) -> None:
        """Find a time: the first record of that time or later."""
        if place[0] == b"keyed":  # what is left out may be in the way: the dictionary does not know when
            return
        times = {offset: time for offset, (_, time, _) in self.expected[place].items() if time >= moment}
        assert got(self.log.at(*place, moment)) == min(times, default=self.next[place])

    @invariant()
    def spans(self) -> None:
        """Every partition begins and ends where it should."""
        if hasattr(self, "log"):
            for place in PARTS:
                assert tuple(self.log.span(*place)) == (self.first[place], self.next[place])
                assert self.log.numbers(*place).next == self.next[place]

    @invariant()
    def one_sequence(self) -> None:
        """No two records of one stream have the same sequence, and it grows with the offsets."""
        if hasattr(self, "log"):
            seen = [
                [record.sequence for record in self._read(name, part)]
                for name in (b"counted", b"aged")
                for part in (0, 1)
            ]
            assert all(one == sorted(one) for one in seen)
            flat = [number for one in seen for number in one]
            assert len(flat) == len(set(flat))

    def teardown(self) -> None:
        """Look through the file, and close it."""
        from brokerkit.stores.topiclog_check import check

        if hasattr(self, "log"):
            got(self.log.stopService(), self.log)
            assert check(Path(self.directory.name) / "l").problems == []
        self.directory.cleanup()


def _refuse(_: object) -> None:
    raise NoRoom("the disk is full")


Anything.TestCase.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_anything = Anything.TestCase
