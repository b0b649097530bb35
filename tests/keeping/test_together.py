"""Messages that come in several turns before one commit: their order, their senders, and when they are written."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from brokerkit.keeping import Keeping
from brokerkit.log import Limits, Log, Record, Stored, Topic, TopicSettings, Write
from brokerkit.outbox import Limits as Bounds
from brokerkit.testing import MemoryBroker
from tests.keeping.test_overflow import Disk

ONE, SHARED, WIDE = b"one", [b"s.1", b"s.2", b"s.3"], b"wide"
NAMES = [ONE, *SHARED, WIDE]


class Together(SynchronousTestCase):
    """A broker whose log lies on a disk, so that commits come when their time has come."""

    def setUp(self) -> None:
        """Make the topics: one by itself, three of one stream, and one with three partitions."""
        place = TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.memory = memory = MemoryBroker(users={f"user{i}": "x" for i in range(6)})
        self.disk = Disk()
        limits = Limits(tidy_every=0.0)
        self.log = memory.broker._log = Log(Path(place.name) / "log.sqlite", memory.reactor, limits, self.disk)
        self.log.setServiceParent(memory.broker)  # type: ignore[no-untyped-call]
        self.keeping = memory.broker._keeping = Keeping(self.log, memory.broker.realm, memory.reactor)
        self.keeping.setServiceParent(memory.broker)  # type: ignore[no-untyped-call]
        for name in NAMES:
            stream = "s" if name in SHARED else ""
            self.log.create(Topic("", name, stream, 3 if name == WIDE else 1, TopicSettings()))
        memory.advance(1)
        self.users = [memory.client("nats", f"user{i}").peer for i in range(6)]
        self.addCleanup(memory.broker.stopService)

    def _say(self, user: int, topic: bytes, *values: bytes) -> None:
        self.users[user].send(b"".join(b"PUB %b %d\r\n%b\r\n" % (topic, len(value), value) for value in values))

    def _found(self, topic: bytes, partition: int = 0) -> list[Stored]:
        fetched: Any = self.successResultOf(self.log.fetch(topic, partition, 0))
        records: list[Stored] = fetched.records
        return records

    def test_one_commit(self) -> None:
        """What comes in several turns is in one commit; in each topic all are in the order in which they came."""
        commits = self.log.writing.commits
        said = [(i % 6, NAMES[i * 7 % 4], b"%d" % i) for i in range(40)]
        for user, topic, value in said:
            self._say(user, topic, value, value)
        assert self.log.span(ONE, 0).next == 0
        self.memory.advance(0.01)
        assert self.log.writing.commits == commits + 1
        for name in NAMES[:4]:
            expected = [(value, b"user%d" % user) for user, topic, value in said if topic == name for _ in range(2)]
            assert [(one.value, one.sender) for one in self._found(name)] == expected
        shared = sorted((one for name in SHARED for one in self._found(name)), key=lambda one: one.sequence)
        assert [one.value for one in shared] == [v for _, topic, v in said if topic in SHARED for _ in range(2)]
        assert [one.sequence for one in shared] == list(range(1, len(shared) + 1))

    def test_many_in_a_row(self) -> None:
        """What one sender says in a row is left as it stands; its order among the rest of its stream stays, too."""
        said: list[tuple[bytes, bytes]] = []
        for i in range(12):
            topic = NAMES[i % 4]
            values = [b"%d.%d" % (i, j) for j in range(40 if i % 3 else 2)]
            self._say(i % 6, topic, *values)
            said += [(topic, value) for value in values]
        self.memory.advance(0.01)
        for name in NAMES[:4]:
            assert [one.value for one in self._found(name)] == [value for topic, value in said if topic == name]
        shared = sorted((one for name in SHARED for one in self._found(name)), key=lambda one: one.sequence)
        assert [one.value for one in shared] == [value for topic, value in said if topic in SHARED]
        assert [one.sequence for one in shared] == list(range(1, len(shared) + 1))
        assert self.keeping.intake.kept == len(said)

    def test_one_of_many_is_too_large(self) -> None:
        """The others are kept, and in its place the log says that one is missing."""
        self.log.alter(ONE, settings=TopicSettings(max_message_bytes=10))
        self.memory.advance(0.1)
        values = [b"%d" % i for i in range(50)]
        self._say(0, ONE, *values[:20], b"x" * 11, *values[20:])
        self.memory.advance(0.1)
        assert [one.value for one in self._found(ONE)] == [*values[:20], None, *values[20:]]
        assert self.keeping.intake.missed["size"] == 1

    def test_no_room_for_many(self) -> None:
        """What there is no room for is missing as a whole, in its place."""
        self.keeping.intake.limits = Bounds(limit=3000, deadline=5.0)
        for values in ([b"a"], [b"x" * 100] * 40, [b"b"]):
            self._say(0, ONE, *values)
        self.memory.advance(0.1)
        assert [(one.value, one.missing) for one in self._found(ONE)] == [(b"a", 0), (None, 40), (b"b", 0)]

    def test_partitions(self) -> None:
        """What one sender says is in one partition, in its order; sequences say the order of all."""
        for i in range(30):
            self._say(i % 6, WIDE, b"%d" % i)
        self._say(0, ONE, b"x")
        self.memory.advance(0.01)
        parts = [self._found(WIDE, i) for i in range(3) if self.log.span(WIDE, i).next]
        assert len(parts) > 1
        whole = sorted((one for part in parts for one in part), key=lambda one: one.sequence)
        assert [one.value for one in whole] == [b"%d" % i for i in range(30)]
        assert [one.sequence for one in whole] == list(range(1, 31))
        assert all([one.sequence for one in part] == sorted(one.sequence for one in part) for part in parts)
        senders = [{one.sender for one in part} for part in parts]
        assert sum(map(len, senders)) == len(set().union(*senders)) == 6

    def test_a_request_comes_behind(self) -> None:
        """What a request produces is behind what was published before it."""
        self._say(0, ONE, b"first")
        client: Any = self.memory.local("eve")
        self.keeping.produce(client, [Write("", ONE, None, Record(b"second"))])
        self.memory.advance(0.01)
        assert [one.value for one in self._found(ONE)] == [b"first", b"second"]

    def test_the_most_urgent(self) -> None:
        """What may wait longer is written with what may not, whichever came first in a turn."""
        self.log.create(Topic("", b"lazy", "", 1, TopicSettings(ack="none")))
        self.memory.advance(0.1)
        for count in (1, 2):  # when it comes for the first time, and later
            self.users[0].send(b"PUB lazy 1\r\na\r\nPUB one 1\r\nb\r\n")
            self.memory.advance(0.01)
            assert [self.log.span(name, 0).next for name in (b"lazy", ONE)] == [count, count]
        self.users[0].send(b"PUB lazy 1\r\na\r\n")
        self.memory.advance(0.5)
        assert self.log.span(b"lazy", 0).next == 2

    def test_deleted(self) -> None:
        """What came before its topic was deleted is not said to be missing, and the other topics have theirs."""
        self._say(0, SHARED[0], b"a")
        self._say(0, SHARED[1], b"b")
        self.log.delete(SHARED[0])
        self.memory.advance(0.01)
        assert not any(self.keeping.intake.missed.values())
        assert [one.value for one in self._found(SHARED[1])] == [b"b"]

    def test_a_gap_in_its_place(self) -> None:
        """What is missing is said behind what was published before it, and before what came after."""
        self.keeping.intake.limits = Bounds(limit=3000, deadline=5.0)
        for values in ([b"a"], [b"x" * 5000], [b"b"], [b"c"]):
            self._say(0, ONE, *values)
        self.memory.advance(0.1)
        assert [(one.value, one.missing) for one in self._found(ONE)] == [(b"a", 0), (None, 1), (b"b", 0), (b"c", 0)]

    def test_stopped(self) -> None:
        """What was published before the end is written."""
        self._say(0, ONE, b"last")
        self.keeping.stopService()
        self.memory.advance(0.01)
        assert [one.value for one in self._found(ONE)] == [b"last"]

    def test_a_slow_disk(self) -> None:
        """Where a commit takes long the next waits longer for company, but not for longer than a bound."""
        self.disk.stands = True
        self._say(0, ONE, b"a")
        self.memory.advance(0.01)
        self.memory.advance(1.0)
        self.disk.go_on()
        self.memory.advance(0)
        self._say(0, ONE, b"b")
        self.memory.advance(0.04)
        assert self.log.span(ONE, 0).next == 1
        self.memory.advance(0.011)
        assert self.log.span(ONE, 0).next == 2

    def test_much(self) -> None:
        """Not more than a few megabytes wait for the commit; they are the log's from then on."""
        self.disk.stands = True
        for _ in range(12):
            self._say(0, ONE, b"x" * 500_000)
        assert self.log.queued > 4_000_000
        assert self.keeping.intake.pending - self.log.queued < 4_200_000
        self.disk.go_on()
        self.memory.advance(0.1)
        assert len(self._found(ONE)) > 0
        assert self.log.span(ONE, 0).next == 12


def test_rules_are_followed() -> None:
    """A rule's topics have a way in that knows how long it may wait."""
    memory = MemoryBroker(keep=[{"topics": "t", "ack": "interval"}])
    client = memory.client("nats")
    client.publish(b"t", b"1")  # which makes it
    client.publish(b"t", b"2")
    memory.advance()
    (lane,) = memory.broker.keeping.lanes("").values()
    assert lane.delay == Limits().interval
