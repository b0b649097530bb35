"""The log in the process: what is answered is on disk, and what cannot be done is said in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from twisted.internet.defer import Deferred

from brokerkit.bodies import together
from brokerkit.log import (
    Busy,
    Idempotency,
    Limits,
    Log,
    NoRoom,
    OutOfRange,
    Producer,
    Record,
    TooLarge,
    Topic,
    TopicExists,
    TopicSettings,
    UnknownPartition,
    UnknownTopic,
    Unusable,
    Unwritable,
    Write,
    WrongSequence,
)
from brokerkit.stores.topiclog_check import check
from tests.checkers.at_once import AtOnce
from tests.log.logs import got, make, memory, moved, on_disk, put, values
from tests.talk import Time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Later:
    """Threads that do their work when a test says so."""

    def __init__(self) -> None:
        """Hold nothing back yet."""
        self.holds = False
        self.held: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""

    def call(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Take some work."""
        answer: Deferred[Any] = Deferred()
        self.held.append((work, answer))
        if not self.holds:
            self.do()
        return answer

    def do(self) -> None:
        """Do what is held."""
        while self.held:
            work, answer = self.held.pop(0)
            try:
                result = work()
            except Exception as error:
                answer.errback(error)
            else:
                answer.callback(result)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a place for a log."""
    return tmp_path / "log.sqlite"


@pytest.fixture
def threads() -> Later:
    """Give threads that can be held back."""
    return Later()


@pytest.fixture
def log(path: Path, threads: Later) -> Iterator[Log]:
    """Give a log on disk with a topic ``t``."""
    made = on_disk(path, threads=threads, tail_bytes=0)
    make(made)
    yield made
    threads.holds = False
    threads.do()
    if made.running:
        got(made.stopService(), made)


def _write(value: bytes | None, name: bytes = b"t", partition: int | None = 0, **rest: Any) -> Write:
    return Write("", name, partition, Record(value, **rest))


# -- writing ----------------------------------------------------------------------------------------------------------


def test_it_is_answered_when_it_is_on_disk(log: Log, threads: Later) -> None:
    """Neither an answer nor a reader nor a listener knows of a record before the commit."""
    heard: list[Any] = []
    log.listen(lambda topic, *rest: heard.append((topic.name, *rest)))
    threads.holds = True
    answer = log.append([_write(b"a")])
    moved(log)
    assert not answer.called
    assert (log.span(b"t", 0).next, heard) == (0, [])
    threads.do()
    assert got(answer)[0].offset == 0
    assert (log.span(b"t", 0).next, heard) == (1, [(b"t", 0, 0, 1)])


def test_what_comes_meanwhile_shares_the_next_commit(log: Log, threads: Later) -> None:
    """However many appends wait, they are one commit, and have their order."""
    threads.holds = True
    answers = [log.append([_write(b"%d" % i)]) for i in range(50)]
    moved(log)
    answers += [log.append([_write(b"%d" % i)]) for i in range(50, 100)]
    threads.holds = False
    threads.do()
    moved(log)
    assert [got(answer)[0].offset for answer in answers] == list(range(100))
    assert values(log) == [b"%d" % i for i in range(100)]
    assert log.writing.commits == 2


def test_all_or_nothing_over_several_topics(log: Log) -> None:
    """An append with one write that cannot be is not done at all."""
    make(log, b"u")
    for wrong in (_write(b"b", b"nowhere"), _write(b"b", b"u", 1), _write(b"b" * 9_000_000, b"u")):
        with pytest.raises((UnknownTopic, UnknownPartition, TooLarge)):
            got(log.append([_write(b"a"), wrong]), log)
    placed = got(log.append([_write(b"a"), _write(b"b", b"u"), _write(b"c")]), log)
    assert [(one.topic, one.offset) for one in placed] == [(b"t", 0), (b"u", 0), (b"t", 1)]
    assert (values(log), values(log, b"u")) == ([b"a", b"c"], [b"b"])


def test_the_policies(log: Log) -> None:
    """``commit`` answers from disk, the others at once, and the answer says which; the strictest of several counts."""
    make(log, b"i", ack="interval")
    make(log, b"n", ack="none")
    answer = log.append([_write(b"1", b"i")])
    assert (got(answer)[0].ack, got(answer)[0].offset) == ("interval", 0)
    lazy = log.append([_write(b"1", b"n")])
    assert got(lazy)[0].ack == "none"
    assert log.span(b"i", 0).next == 0
    moved(log, log.limits.interval)
    assert (log.span(b"i", 0).next, log.span(b"n", 0).next) == (1, 1)
    both = log.append([_write(b"2", b"n"), _write(b"2")])
    assert not both.called
    assert {one.ack for one in got(both, log)} == {"commit"}


def test_the_laziest_waits_its_time(log: Log) -> None:
    """A record of ack ``none`` that is alone is written after ``Limits.lazily``, or with whatever comes before."""
    make(log, b"n", ack="none")
    log.append([_write(b"1", b"n")])
    moved(log, log.limits.lazily / 2)
    assert log.span(b"n", 0).next == 0
    put(log, b"x")
    assert log.span(b"n", 0).next == 1


def test_records_are_numbered_in_the_order_of_the_calls(log: Log) -> None:
    """Over topics of one stream there is one sequence, also when a commit puts each topic's together."""
    make(log, b"a", stream="s")
    make(log, b"b", 2, stream="s")
    for i in range(6):
        log.append([_write(b"%d" % i, b"ab"[i % 2 : i % 2 + 1], 0), _write(b"x%d" % i, b"b", 1)])
    moved(log)
    found = []
    for name, part in ((b"a", 0), (b"b", 0), (b"b", 1)):
        found += [(one.sequence, one.value) for one in got(log.fetch(name, part, 0)).records]
    assert [value for _, value in sorted(found)] == [v for i in range(6) for v in (b"%d" % i, b"x%d" % i)]
    assert sorted(sequence for sequence, _ in found) == list(range(1, 13))


def test_who_chooses_the_partition(log: Log) -> None:
    """Without one it is that of the key, else that of the sender; the router's messages are the sender's, too."""
    make(log, b"many", 8)
    keyed = got(log.append([_write(b"v", b"many", None, key=b"k", sender=b"s%d" % i) for i in range(9)]), log)
    assert len({one.partition for one in keyed}) == 1
    sent = got(log.append([_write(b"v", b"many", None, sender=b"ann") for _ in range(9)]), log)
    assert len({one.partition for one in sent}) == 1
    before = {part: log.span(b"many", part).next for part in range(8)}
    log.take(b"many", "", together([b"v"]), b"ann")
    moved(log)
    part = sent[0].partition
    assert log.span(b"many", part).next == before[part] + 1


def test_timestamps(log: Log) -> None:
    """A sender's own is kept (``create``), or replaced by the log's (``append``); one that is none is refused."""
    make(log, b"a", timestamps="append")
    now = int(log._clock.seconds() * 1000)
    placed = got(log.append([_write(b"x", timestamp=5), _write(b"x", b"a", timestamp=5), _write(b"x")]), log)
    assert [one.timestamp for one in placed] == [5, now, now]
    assert got(log.fetch(b"a", 0, 0)).records[0][1:3] == (now, "append")
    with pytest.raises(Unusable, match="milliseconds"):
        got(log.append([_write(b"x", timestamp=2**63)]), log)


def test_null_is_not_empty(log: Log) -> None:
    """Values, keys and values of headers can be null, and empty, and are what they were."""
    headers = ((b"a", None), (b"a", b""), (b"", b"x"))
    writes = [_write(value, key=key, headers=headers) for value in (None, b"") for key in (None, b"")]
    got(log.append(writes), log)
    found = got(log.fetch(b"t", 0, 0)).records
    assert [(one.value, one.key) for one in found] == [(None, None), (None, b""), (b"", None), (b"", b"")]
    assert {one.headers for one in found} == {headers}


# -- too much, no room ------------------------------------------------------------------------------------------------


def test_a_full_queue(path: Path, threads: Later) -> None:
    """What would wait too long is refused with a time to come back, and taken when there is room again."""
    log = on_disk(path, threads=threads, queue_bytes=10_000)
    make(log, max_message_bytes=9_000)
    threads.holds = True
    log.append([_write(b"x" * 6000)])
    calls: list[int] = []
    stop = log.notify(lambda: calls.append(1))
    with pytest.raises(Busy) as caught:
        got(log.append([_write(b"x" * 6000)]))
    assert caught.value.retry_after > 0
    with pytest.raises(Busy):
        log.take(b"t", "", together([b"x" * 6000]), b"me")
    with pytest.raises(TooLarge):
        got(log.append([_write(b"x" * 8000), _write(b"x" * 8000)]))
    threads.holds = False
    moved(log)
    assert calls == [1]
    stop()
    assert put(log, b"x" * 6000)[0].offset == 1
    got(log.stopService(), log)


def test_a_failed_commit_fails_all_that_waits(log: Log, threads: Later) -> None:
    """The numbers of what was not written are given again, states and memory of producers are those of before."""
    put(log, b"0")
    got(log.cells.write({("s", b"k"): b"old"}), log)
    _full(log)
    threads.holds = True
    first = log.append([_write(b"1")], producer=Producer(b"p", 0, 0), cells={("s", b"k"): b"new"})
    moved(log)
    second = log.append([_write(b"2")], producer=Producer(b"p", 0, 1), cells={("s", b"k"): None})
    third = log.append([_write(b"1")], producer=Producer(b"p", 0, 0))
    assert log.cells.get("s", b"k") is None
    threads.holds = False
    threads.do()
    for answer in (first, second, third):
        with pytest.raises(NoRoom, match="the disk is full, and nothing was written"):
            got(answer)
    assert not log.writing.is_writable
    assert log.cells.get("s", b"k") == b"old"
    assert values(log) == [b"0"]
    _emptied(log)
    again = got(log.append([_write(b"1")], producer=Producer(b"p", 0, 0)), log)
    assert (again[0].offset, again[0].duplicate) == (1, False)
    assert log.writing.is_writable


def _full(log: Log) -> None:
    """Let the disk be full."""
    log._store.commit = _no_room


def _no_room(_: object) -> None:
    raise NoRoom("the disk is full, and nothing was written")


def _emptied(log: Log) -> None:
    """Let there be room."""
    del log._store.commit


def test_what_is_lost_leaves_a_gap(log: Log) -> None:
    """Messages that nobody waits for, and that found no room, are a record that says how many they were."""
    put(log, b"0")
    _full(log)
    log.take(b"t", "", together([b"a", b"b"]), b"me")
    moved(log)
    log.take(b"t", "", together([b"c"]), b"me")
    moved(log)
    assert (log.writing.lost, log.span(b"t", 0).next) == (3, 1)
    _emptied(log)
    put(log, b"1")
    found = got(log.fetch(b"t", 0, 0)).records
    assert [(one.value, one.missing) for one in found] == [(b"0", 0), (None, 3), (b"1", 0)]


def test_a_gap_is_written_though_nobody_writes_any_more(log: Log) -> None:
    """What is owed is paid by the log itself, when there is room."""
    _full(log)
    log.take(b"t", "", together([b"a"]), b"me")
    moved(log)
    got(log.tidying.run())
    moved(log)
    _emptied(log)
    got(log.tidying.run())
    moved(log)
    assert [one.missing for one in got(log.fetch(b"t", 0, 0)).records] == [1]
    assert log.writing.lost == 1


def test_a_gap_by_hand(log: Log) -> None:
    """Who loses messages on the way to the log says how many."""
    got(log.gap(b"t", 7), log)
    assert [(one.offset, one.missing) for one in got(log.fetch(b"t", 0, 0)).records] == [(0, 7)]
    with pytest.raises(UnknownTopic):
        got(log.gap(b"nowhere", 7))


def test_a_closed_log(log: Log) -> None:
    """What was taken is written before it closes; after that it says that it is closed."""
    answer = log.append([_write(b"last")])
    got(log.stopService(), log)
    assert got(answer)[0].offset == 0
    for failing in (log.append([_write(b"x")]), log.fetch(b"t", 0, 0), log.create(Topic("", b"n"))):
        with pytest.raises(Unwritable, match="closed"):
            got(failing)
    log.startService()
    assert values(log) == [b"last"]


def test_a_bug_costs_the_commit_and_not_the_log(log: Log) -> None:
    """An error that nobody foresaw is an answer, and the next append is done."""
    commit = log._store.commit
    log._store.commit = lambda _: 1 / 0
    with pytest.raises(Unwritable):
        put(log, b"x")
    log._store.commit = commit
    assert put(log, b"x")[0].offset == 0


# -- once and not again -----------------------------------------------------------------------------------------------


def test_a_key_is_used_once(log: Log, path: Path) -> None:
    """A repeat gives the first places, also after a restart; with another body it is refused."""
    key = Idempotency(b"k", b"digest")
    first = got(log.append([_write(b"a"), _write(b"b")], producer=key), log)
    again = got(log.append([_write(b"a"), _write(b"b")], producer=key), log)
    assert [one.offset for one in again] == [one.offset for one in first] == [0, 1]
    assert [one.duplicate for one in first + again] == [False, False, True, True]
    got(log.stopService(), log)
    other = on_disk(path)
    assert got(other.append([_write(b"a"), _write(b"b")], producer=key), other)[0].duplicate
    with pytest.raises(WrongSequence, match="something else"):
        got(other.append([_write(b"z")], producer=Idempotency(b"k", b"other")), other)
    assert values(other) == [b"a", b"b"]
    got(other.stopService(), other)


def test_a_repeat_of_what_is_not_written_yet(log: Log, threads: Later) -> None:
    """It is answered when the first is, with the same places, and fails if the first does."""
    threads.holds = True
    key = Idempotency(b"k", b"d")
    first, second = log.append([_write(b"a")], producer=key), log.append([_write(b"a")], producer=key)
    moved(log)
    assert not second.called
    threads.holds = False
    threads.do()
    assert (got(first)[0].offset, got(second)[0].offset, got(second)[0].duplicate) == (0, 0, True)
    assert values(log) == [b"a"]


def test_a_producer_counts(log: Log) -> None:
    """The next number is taken, a repeat of late is answered again, a hole and another body are refused."""

    def send(sequence: int, value: bytes, epoch: int = 0) -> Any:
        return got(log.append([_write(value)], producer=Producer(b"p", epoch, sequence)), log)[0]

    assert [send(n, b"%d" % n).offset for n in range(8)] == list(range(8))
    assert (send(7, b"7").offset, send(3, b"3").offset, send(3, b"3").duplicate) == (7, 3, True)
    with pytest.raises(WrongSequence, match="leaves a hole") as caught:
        send(9, b"9")
    assert caught.value.expected == 8
    with pytest.raises(WrongSequence, match="something else"):
        send(7, b"other")
    with pytest.raises(WrongSequence, match="too long ago"):
        send(1, b"1")
    assert send(0, b"new", epoch=1).offset == 8
    with pytest.raises(WrongSequence, match="is over"):
        send(8, b"8")
    with pytest.raises(WrongSequence, match="leaves a hole"):
        send(4, b"x", epoch=2)


def test_two_producers_with_one_number(log: Log) -> None:
    """The one that comes second with other records is told so; nothing of it is written."""
    one = log.append([_write(b"from one")], producer=Producer(b"p", 0, 0))
    other = log.append([_write(b"from another")], producer=Producer(b"p", 0, 0))
    assert got(one, log)[0].offset == 0
    with pytest.raises(WrongSequence):
        got(other)
    assert values(log) == [b"from one"]


def test_what_is_remembered_is_bounded(path: Path) -> None:
    """Too many, or too old: the oldest are forgotten, in memory and on disk."""
    log = on_disk(path, keys=3, producers=2, remembered=100.0)
    make(log)
    for i in range(5):
        got(log.append([_write(b"x")], producer=Idempotency(b"%d" % i, b"")), log)
        got(log.append([_write(b"x")], producer=Producer(b"%d" % i, 0, 0)), log)
    assert len(log._answers) == 5
    assert not got(log.append([_write(b"x")], producer=Idempotency(b"0", b"")), log)[0].duplicate
    assert got(log.append([_write(b"x")], producer=Idempotency(b"4", b"")), log)[0].duplicate
    moved(log, 101)
    got(log.tidying.run(), log)
    assert len(log._answers) == 0
    got(log.stopService(), log)
    again = on_disk(path)
    assert len(again._answers) == 0
    got(again.stopService(), again)


# -- states -----------------------------------------------------------------------------------------------------------


def test_cells(log: Log, path: Path) -> None:
    """They last, can be taken away, and come with records in one commit."""
    got(log.append([_write(b"a")], cells={("g", b"1"): b"one", ("g", b"2"): b"two"}), log)
    got(log.cells.write({("g", b"1"): None, ("h", b"1"): b""}), log)
    got(log.stopService(), log)
    again = on_disk(path)
    assert dict(again.cells.items("g")) == {b"2": b"two"}
    assert (again.cells.get("h", b"1"), again.cells.get("h", b"2"), again.cells.get("x", b"")) == (b"", None, None)
    got(again.stopService(), again)


def test_cells_are_bounded() -> None:
    """What would take too much memory is refused, what makes it less is not."""
    log = memory(cell_bytes=1000)
    got(log.cells.write({("g", b"k"): b"x" * 600}))
    with pytest.raises(NoRoom, match="1000 bytes"):
        got(log.cells.write({("g", b"l"): b"x" * 600}))
    got(log.cells.write({("g", b"k"): None}))
    got(log.cells.write({("g", b"l"): b"x" * 600}))
    assert dict(log.cells.items("g")) == {b"l": b"x" * 600}


# -- topics -----------------------------------------------------------------------------------------------------------


def test_topics_of_tenants(log: Log, path: Path) -> None:
    """Two tenants can have a topic of one name, each sees its own, and both last."""
    make(log, tenant="other", retention_messages=5)
    assert set(log.topics()) == set(log.topics("other")) == {b"t"}
    got(log.append([Write("other", b"t", 0, Record(b"theirs"))]), log)
    assert (log.span(b"t", 0).next, log.span(b"t", 0, "other").next) == (0, 1)
    assert log.tenants() == ["", "other"]
    got(log.stopService(), log)
    again = on_disk(path)
    assert again.topic(b"t", "other").settings.retention_messages == 5
    assert again.span(b"t", 0, "other").next == 1
    got(again.stopService(), again)


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        (Topic("", b""), "1 to 1024 bytes"),
        (Topic("", b"x" * 1025), "1 to 1024 bytes"),
        (Topic("", b"x", partitions=0), "partitions"),
        (Topic("", b"x", partitions=5000), "partitions"),
        (Topic("", b"x", settings=TopicSettings(ack="maybe")), "'maybe'"),  # type: ignore[arg-type]
        (Topic("", b"x", settings=TopicSettings(retention_bytes=-1)), "retention_bytes -1"),
        (Topic("", b"x", settings=TopicSettings(partitioner="fair")), "'fair'"),  # type: ignore[arg-type]
        (Topic("", b"x", settings=TopicSettings(timestamps="none")), "'none'"),  # type: ignore[arg-type]
        (Topic("", b"x", settings=TopicSettings(max_message_bytes=0)), "max_message_bytes 0"),
    ],
)
def test_topics_that_cannot_be(topic: Topic, text: str) -> None:
    """What is wrong with a topic is said, and nothing is made."""
    log = memory()
    with pytest.raises(Unusable, match=text):
        got(log.create(topic))
    assert not log.topics()


def test_a_topic_is_made_once() -> None:
    """Who makes one that there is is told so; two who make it at once get one topic."""
    log = memory()
    make(log, partitions=3)
    with pytest.raises(TopicExists) as caught:
        make(log)
    assert caught.value.topic.partitions == 3


def test_two_make_one_topic_at_once(log: Log, threads: Later) -> None:
    """The second waits for the first, and is told that it is there."""
    threads.holds = True
    first, second = log.create(Topic("", b"n")), log.create(Topic("", b"n"))
    threads.holds = False
    threads.do()
    assert got(first).name == b"n"
    with pytest.raises(TopicExists):
        got(second)


def test_too_many_topics() -> None:
    """Their number is bounded, and that of all partitions."""
    log = memory(topics=2, all_partitions=5)
    make(log, b"1", 2)
    with pytest.raises(NoRoom, match="5 partitions"):
        make(log, b"2", 4)
    make(log, b"2", 3)
    with pytest.raises(NoRoom, match="2 topics"):
        make(log, b"3")


def test_altering_a_topic(log: Log, path: Path) -> None:
    """It takes other settings and more partitions, never fewer, and they last."""
    put(log, b"a")
    got(log.alter(b"t", settings=TopicSettings(retention_messages=2), partitions=3), log)
    with pytest.raises(Unusable, match="can only grow"):
        got(log.alter(b"t", partitions=2), log)
    put(log, b"b", partition=2)
    got(log.stopService(), log)
    again = on_disk(path)
    assert (again.topic(b"t").partitions, again.topic(b"t").settings.retention_messages) == (3, 2)
    assert (values(again), values(again, partition=2)) == ([b"a"], [b"b"])
    got(again.stopService(), again)


def test_deleting_a_topic(log: Log, path: Path) -> None:
    """It is gone with all that was in it, also from disk; one that is made again begins anew."""
    put(log, *[b"x" * 100] * 50)
    got(log.delete(b"t"), log)
    with pytest.raises(UnknownTopic):
        put(log, b"x")
    with pytest.raises(UnknownTopic):
        log.span(b"t", 0)
    make(log)
    assert values(log) == []
    put(log, b"new")
    got(log.tidying.run())
    assert values(log) == [b"new"]
    count = log._store._connection.execute("select count(*), (select count(*) from parts) from batches").fetchone()
    assert count == (1, 1)
    got(log.stopService(), log)
    assert check(path).problems == []


def test_deleting_goes_on_after_a_restart(log: Log, path: Path) -> None:
    """What a deleted topic had is taken away by whoever opens the log next."""
    put(log, b"x")
    got(log.delete(b"t"), log)
    got(log.stopService(), log)
    again = on_disk(path)
    got(again.tidying.run())
    assert again._store._connection.execute("select count(*) from batches").fetchone() == (0,)
    got(again.stopService(), again)


def test_deleting_while_something_waits(log: Log, threads: Later) -> None:
    """What was taken before is answered; what comes after finds no topic."""
    threads.holds = True
    answer = log.append([_write(b"x")])
    gone = log.delete(b"t")
    with pytest.raises(UnknownTopic):
        got(log.append([_write(b"y")]))
    threads.holds = False
    moved(log)
    threads.do()
    assert got(answer)[0].offset == 0
    got(gone)
    assert not log.keeps(b"t")


# -- reading ----------------------------------------------------------------------------------------------------------


def test_where_to_read() -> None:
    """First, last, next, an offset, and numbers that count back, which stop at the first."""
    log = memory()
    make(log, retention_messages=3)
    with pytest.raises(OutOfRange):
        log.resolve(b"t", 0, "last")
    put(log, *[b"x"] * 5)
    got(log.tidying.run())
    spoken = ["first", "earliest", "last", "next", "latest", -1, -3, -4, 4, 99]
    assert [log.resolve(b"t", 0, where) for where in spoken] == [2, 2, 4, 5, 5, 4, 2, 2, 4, 99]
    with pytest.raises(Unusable, match="'newest'"):
        log.resolve(b"t", 0, "newest")
    for offset in (1, 6, -1):
        with pytest.raises(OutOfRange) as caught:
            got(log.fetch(b"t", 0, offset))
        assert (caught.value.first, caught.value.next) == (2, 5)
    assert got(log.fetch(b"t", 0, 5)) == ([], 2, 5, 5)
    for failing in (log.fetch(b"u", 0, 0), log.fetch(b"t", 1, 0), log.at(b"t", -1, 0)):
        with pytest.raises((UnknownTopic, UnknownPartition)):
            got(failing)


def test_times(log: Log) -> None:
    """The first record of a time or later is found, also where senders' clocks go back and forth."""
    times = [50, 10, 90, 20, 70, 100, 5]
    for time in times:
        got(log.append([_write(b"x", timestamp=time)]), log)
    for moment in (0, 10, 11, 51, 91, 100, 101):
        expected = next((i for i, time in enumerate(times) if time >= moment), len(times))
        assert got(log.at(b"t", 0, moment)) == expected


def test_a_large_record_is_given_whole(log: Log) -> None:
    """At least one record is given, however large it is and however little was asked for."""
    put(log, b"x" * 500_000, b"y")
    fetched = got(log.fetch(b"t", 0, 0, max_bytes=1))
    assert ([len(one.value) for one in fetched.records], fetched.after) == ([500_000], 1)


def test_the_tail_and_the_disk_say_the_same(path: Path) -> None:
    """What is read from memory is what is read from disk, in columns and in records."""
    log = on_disk(path, tail_bytes=10**6)
    make(log)
    for i in range(5):
        put(log, *[b"%d" % i] * 3, key=b"k")
    new = got(log.fetch(b"t", 0, 4, 1000, 7))
    assert log.fetching.from_tail == 1
    log._tail.forget(log.numbers(b"t", 0).id)
    assert got(log.fetch(b"t", 0, 4, 1000, 7)) == new
    assert log.fetching.from_disk == 1
    raw = got(log.raw(b"t", 0, 4, 1000, 7))
    assert [value for batch in raw.batches for value in batch.values] == [one.value for one in new.records]
    assert [offset for batch in raw.batches for offset in batch.offsets] == list(range(4, 11))
    got(log.stopService(), log)


def test_the_tail_is_bounded(path: Path) -> None:
    """However much is written, memory holds so much of it, and everything can be read."""
    log = on_disk(path, tail_bytes=20_000)
    make(log, partitions=2)
    for i in range(100):
        put(log, b"%d" % i * 100, partition=i % 2)
    assert log._tail.size <= 20_000
    assert values(log) == [b"%d" % i * 100 for i in range(0, 100, 2)]
    got(log.stopService(), log)


def test_listeners(log: Log) -> None:
    """Each hears what it wants to, until it stops; one that fails costs nobody else."""
    make(log, b"u")
    heard: dict[str, list[Any]] = {"all": [], "u": [], "other": []}
    log.listen(lambda *_: 1 / 0)
    stop = log.listen(lambda topic, *rest: heard["all"].append((topic.name, *rest)))
    log.listen(lambda topic, *rest: heard["u"].append((topic.name, *rest)), name=b"u", tenant="")
    log.listen(lambda topic, *rest: heard["other"].append((topic.name, *rest)), tenant="other")
    put(log, b"1", b"2")
    put(log, b"1", name=b"u")
    stop()
    put(log, b"3")
    assert heard == {"all": [(b"t", 0, 0, 2), (b"u", 0, 0, 1)], "u": [(b"u", 0, 0, 1)], "other": []}


def test_listening_before_it_is_open(path: Path) -> None:
    """Who listens before the log is started hears what comes after, and after it was started again."""
    log = Log(path, Time(), Limits(tidy_every=0), AtOnce())
    heard: list[int] = []
    commits: list[int] = []
    log.listen(lambda *rest: heard.append(rest[2]))
    log.notify(lambda: commits.append(1))
    log.startService()
    make(log)
    put(log, b"1")
    got(log.stopService(), log)
    log.startService()
    put(log, b"2")
    assert (heard, len(commits)) == ([0, 1], 2)
    got(log.stopService(), log)


def test_too_many_readers(log: Log, threads: Later) -> None:
    """What waits for a thread that reads is bounded, too, and who is refused may come again."""
    put(log, b"x")
    threads.holds = True
    reads = [log.fetch(b"t", 0, 0) for _ in range(log.limits.reading)]
    with pytest.raises(Busy):
        got(log.fetch(b"t", 0, 0))
    threads.holds = False
    threads.do()
    assert all(len(got(read).records) == 1 for read in reads)
    assert len(got(log.fetch(b"t", 0, 0)).records) == 1


def test_a_damaged_batch_is_a_gap(log: Log) -> None:
    """A batch that is not what was written is not passed over: a record says how many are missing; the rest is read."""
    for value in (b"a", b"b", b"c"):
        put(log, value, value)
    spoilt = "cast(substr(body, 1, length(body) - 1) || x'7a' as blob)"
    log._store._connection.execute(f"update batches set body = {spoilt} where last = 3")  # noqa: S608
    found = got(log.fetch(b"t", 0, 0))
    assert [(one.offset, one.value, one.missing) for one in found.records] == [
        (0, b"a", 0),
        (1, b"a", 0),
        (2, None, 2),
        (4, b"c", 0),
        (5, b"c", 0),
    ]
    assert log.fetching.damaged == 1


# -- by itself --------------------------------------------------------------------------------------------------------


def test_retention_by_size(log: Log) -> None:
    """What is oldest goes until no more than the bound and one batch are left."""
    make(log, b"s", retention_bytes=10_000)
    for i in range(50):
        put(log, b"%02d" % i * 250, name=b"s")
    got(log.tidying.run())
    numbers = log.numbers(b"s", 0)
    assert 10_000 <= numbers.bytes < 11_000
    assert values(log, b"s") == [b"%02d" % i * 250 for i in range(numbers.first, 50)]


def test_retention_goes_on_by_itself(path: Path) -> None:
    """Nobody has to ask: what is too old is gone some seconds later."""
    log = on_disk(path, tidy_every=5.0)
    make(log, retention_seconds=60)
    put(log, b"old")
    moved(log, 58)
    put(log, b"young")
    moved(log, 6)
    assert values(log) == [b"young"]
    got(log.stopService(), log)


def test_compaction_takes_turns_with_many_keys(path: Path) -> None:
    """A pass that meets too many keys ends there, and the next ones go on, until each key is there once."""
    log = on_disk(path, compaction_keys=4, slice_records=3)
    make(log, compact=True)
    for i in range(60):
        put(log, b"%d" % i, key=b"k%d" % (i % 10))
    for _ in range(20):
        got(log.tidying.compact(b"t"))
    assert values(log) == [b"%d" % i for i in range(50, 60)]
    assert log.tidying.compacted == 50
    got(log.stopService(), log)
    assert check(path).problems == []


def test_compaction_goes_on_by_itself(path: Path) -> None:
    """A compacted topic gets smaller without anybody asking; tombstones go after their time, but the last record."""
    log = on_disk(path, tidy_every=5.0)
    make(log, compact=True, tombstone_seconds=100)
    for value in (b"1", b"2", None):
        put(log, value, key=b"a")
    put(log, b"other", key=b"b")
    moved(log, 5)
    moved(log, 5)
    assert values(log) == [None, b"other"]
    moved(log, 110)
    moved(log, 5)
    assert values(log) == [b"other"]
    got(log.stopService(), log)


def test_a_large_topic_is_not_compacted_for_a_few_records(path: Path) -> None:
    """All of a partition is read only if enough is new, or it was long ago."""
    log = on_disk(path, tidy_every=5.0, slice_records=10)
    make(log, compact=True)
    put(log, *[b"x"] * 200)
    moved(log, 5)
    assert log.numbers(b"t", 0).cleaned == 200
    put(log, b"y", key=b"k")
    moved(log, 5)
    moved(log, 5)
    assert log.numbers(b"t", 0).cleaned == 200
    for _ in range(4):
        moved(log, 1000)
    assert log.numbers(b"t", 0).cleaned == 201
    got(log.stopService(), log)


def test_checkpoints(path: Path) -> None:
    """The file that SQLite writes first does not grow without bound, though the writer never pauses."""
    log = on_disk(path, checkpoint_bytes=100_000, wal_bytes=400_000)
    make(log)
    for _ in range(100):
        put(log, b"x" * 50_000)
    assert log.tidying.checkpoints > 10
    assert path.with_name("log.sqlite-wal").stat().st_size < 2_000_000
    got(log.stopService(), log)
    assert not path.with_name("log.sqlite-wal").exists()


def _fill(log: Log) -> None:
    for _ in range(100):
        put(log, b"x" * 50_000)


def test_in_memory() -> None:
    """Without a file it works at once, bounded, and what it has is there until the end."""
    log = memory(memory_bytes=2_000_000)
    make(log)
    with pytest.raises(NoRoom, match="full"):
        _fill(log)
    there = len(values(log))
    assert 10 < there < 40
    got(log.alter(b"t", settings=attrs.evolve(log.topic(b"t").settings, retention_messages=1)))
    got(log.tidying.run())
    put(log, b"y")
    assert values(log)[-1] == b"y"
