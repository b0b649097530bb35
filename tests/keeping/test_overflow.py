"""What happens when the disk does not keep up, or does not take anything."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from brokerkit.keep import DROP, PACE, Keep
from brokerkit.keeping import Keeping
from brokerkit.keeping.intake import SAY_EVERY
from brokerkit.log import Log
from brokerkit.log.words import NoRoom, Topic
from brokerkit.outbox import Limits
from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 400_000  # bytes that may wait; a quarter of it makes publishers wait
LIMITS = Limits(limit=LIMIT, deadline=5.0)
PAYLOAD = b"x" * 1000


class Disk:
    """In the place of threads: what is to be done is done at once, or waits until the disk goes on."""

    def __init__(self) -> None:
        """Begin with a disk that works."""
        self.stands = False
        self._waiting: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def call(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Do it now, or later."""
        if not self.stands:
            return maybeDeferred(work)
        done: Deferred[Any] = Deferred()
        self._waiting.append((work, done))
        return done

    def go_on(self) -> None:
        """Do what has been waiting."""
        self.stands = False
        while self._waiting:
            work, done = self._waiting.popleft()
            maybeDeferred(work).chainDeferred(done)


class Overflow(SynchronousTestCase):
    """A broker whose log lies on a disk that a test stops."""

    def setUp(self) -> None:
        """Put the log into a directory of its own."""
        place = TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.memory = memory = MemoryBroker()
        self.disk = Disk()
        broker = memory.broker
        self.log = broker._log = Log(Path(place.name) / "log.sqlite", memory.reactor, threads=self.disk)
        self.log.setServiceParent(broker)  # type: ignore[no-untyped-call]
        self.keeping = broker._keeping = Keeping(self.log, broker.realm, memory.reactor, LIMITS)
        self.keeping.setServiceParent(broker)  # type: ignore[no-untyped-call]
        self.intake = self.keeping.intake
        self.addCleanup(self._stop)

    def _stop(self) -> None:
        self.disk.go_on()
        self.memory.broker.stopService()
        self.memory.advance(10)

    def _keep(self, overflow: str) -> None:
        """Keep a topic that is there already."""
        self.keeping.take([Keep(topics=("t", "u"), stream="t", overflow=overflow)])
        for name in (b"t", b"u"):
            self.log.create(Topic("", name, "t"))
        self.memory.advance(1)

    def _settle(self) -> None:
        """Have the disk write all there is."""
        self.disk.go_on()
        for _ in range(20):
            self.memory.advance(0.1)

    def _found(self, topic: bytes = b"t") -> list[tuple[bytes | None, int]]:
        """Give the values that are kept, and how many are missing in each place."""
        found: list[tuple[bytes | None, int]] = []
        first, following = self.log.span(topic, 0)
        while first + len(found) < following:
            some: Any = self.successResultOf(self.log.fetch(topic, 0, first + len(found)))
            found += [(record.value, record.missing) for record in some.records]
        return found

    def test_publishers_wait(self) -> None:
        """When much waits for the disk publishers are read from no more, and go on when it has; nothing is missing."""
        self._keep(PACE)
        peer = self.memory.client("nats").peer
        self.disk.stands = True
        said = 0
        for _ in range(1000):
            if not peer.transport.reading:
                break
            peer.send(b"PUB t 1000\r\n%b\r\n" % PAYLOAD)
            said += 1
        assert not peer.transport.reading
        assert LIMITS.mark <= self.intake.pending < LIMITS.brim
        assert self.intake.paced > 0
        self._settle()
        assert peer.transport.reading
        assert self._found() == [(PAYLOAD, 0)] * said
        assert not any(self.intake.missed.values())

    def test_others_do_not_wait(self) -> None:
        """Who publishes to topics that are not kept is not held back."""
        self._keep(PACE)
        one, two = self.memory.client("nats", "ann").peer, self.memory.client("nats", "bob").peer
        self.disk.stands = True
        while one.transport.reading:
            one.send(b"PUB t 1000\r\n%b\r\n" % PAYLOAD)
        two.send(b"PUB other 1000\r\n%b\r\n" % PAYLOAD)
        assert two.transport.reading

    def test_hardly_any_room(self) -> None:
        """From three quarters on publishers wait for as long as it takes, while the log makes progress."""
        self._keep(PACE)
        peers = [self.memory.client("nats").peer for _ in range(4)]
        self.disk.stands = True
        for peer in peers * 20:
            if not self.intake.brimming:
                peer.send(b"PUB t 8000\r\n%b\r\n" % (PAYLOAD * 8))
                self.memory.advance(0.02)  # one step of pacing: whoever is merely paced goes on
        for peer in peers:
            peer.send(b"PUB t 8000\r\n%b\r\n" % (PAYLOAD * 8))
        self.memory.advance(LIMITS.deadline / 2)
        assert self.intake.brimming
        assert not any(peer.transport.reading for peer in peers)
        self._settle()
        assert all(peer.transport.reading for peer in peers)
        assert not any(self.intake.missed.values())

    def test_the_disk_stands_still(self) -> None:
        """When the disk takes nothing for too long nobody is held back, memory is bounded, and the loss is a gap."""
        self._keep(PACE)
        peer = self.memory.client("nats").peer
        self.disk.stands = True
        for _ in range(800):
            peer.send(b"PUB t 1000\r\n%b\r\n" % PAYLOAD)
            self.memory.advance(0.05)
        assert peer.transport.reading
        assert self.intake.pending <= LIMIT
        missed = self.intake.missed["overflow"]
        assert missed > 100
        self._settle()
        peer.send(b"PUB t 4\r\nlast\r\n")
        self._settle()
        found = self._found()
        assert sum(missing for _, missing in found) == missed
        assert [value for value, missing in found if not missing] == [PAYLOAD] * (800 - missed) + [b"last"]
        assert found[-1] == (b"last", 0)

    def test_drop(self) -> None:
        """A rule that says drop holds nobody back: what is lost is counted, and stands in the log as a gap."""
        self._keep(DROP)
        peer = self.memory.client("nats").peer
        self.disk.stands = True
        for _ in range(600):
            peer.send(b"PUB t 1000\r\n%b\r\n" % PAYLOAD)
            self.memory.advance(0.02)
            assert self.intake.pending <= LIMITS.brim
        missed = self.intake.missed["overflow"]
        assert missed > 100
        self._settle()
        found = self._found()
        assert [missing for _, missing in found if missing] == [missed]
        assert [value for value, missing in found if not missing] == [PAYLOAD] * (600 - missed)
        assert self.intake.gaps == 1

    def test_it_is_said_now_and_then(self) -> None:
        """Losses are logged, but not each of them."""
        from twisted.logger import globalLogPublisher

        said: list[str] = []

        def observe(event: Any) -> None:
            if "are not kept" in str(event.get("log_format")):
                said.append(event["why"])

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        self.keeping.take([Keep(topics=("a.*",), stream="a", max_topics=1)])
        ann = self.memory.client("nats")
        for i in range(50):
            ann.publish(b"a.%d" % i, b"x")
        assert said == ["topics"]
        self.memory.advance(SAY_EVERY)
        ann.publish(b"a.x", b"x")
        assert said == ["topics", "topics"]

    def test_a_full_disk(self) -> None:
        """What a full disk does not take is owed and becomes a gap when there is room; publishers are not stuck."""
        self._keep(PACE)
        ann = self.memory.client("nats")
        ann.publish(b"t", b"before")
        self._settle()
        store: Any = self.log.writing._store
        commit = store.commit

        def full(_: object) -> None:
            raise NoRoom("the disk is full")

        store.commit = full
        for _ in range(3):
            ann.publish(b"t", b"lost")
            self._settle()
        assert ann.peer.transport.reading
        assert self.intake.pending == 0
        store.commit = commit
        ann.publish(b"t", b"after")
        self._settle()
        assert self._found() == [(b"before", 0), (None, 3), (b"after", 0)]

    def test_while_a_topic_is_made(self) -> None:
        """Messages wait for their topic in the order in which they came, also those of topics that are there."""
        self._keep(PACE)
        self.keeping.take([Keep(topics=(">",), stream="all")])
        ann = self.memory.client("nats")
        self.disk.stands = True
        for i in range(6):
            ann.publish((b"new", b"t", b"newer")[i % 3], b"%d" % i)
        assert self.intake.pending > 0
        self._settle()
        for topic, values in ((b"t", [b"1", b"4"]), (b"new", [b"0", b"3"]), (b"newer", [b"2", b"5"])):
            assert [value for value, _ in self._found(topic)] == values

    def test_larger_than_it_may_be(self) -> None:
        """Of several messages in one go the ones that are too large are a gap, and the others are kept."""
        self.keeping.take([Keep(topics=("t",), stream="t", max_message_bytes=5)])
        values = [b"1", b"x" * 6, b"x" * 7, b"2"]
        ann = self.memory.client("nats")
        ann.peer.send(b"".join(b"PUB t %d\r\n%b\r\n" % (len(v), v) for v in values))
        self._settle()
        assert self._found() == [(b"1", 0), (None, 1), (None, 1), (b"2", 0)]
        assert self.intake.missed["size"] == 2

    def test_stopping(self) -> None:
        """What was published before the broker stops is on disk when it has."""
        self._keep(PACE)
        ann = self.memory.client("nats")
        ann.publish(b"t", b"1")
        self.memory.broker.stopService()
        self.memory.advance(10)
        again = Log(self.log.path, self.memory.reactor, threads=self.disk)
        again.startService()
        some: Any = self.successResultOf(again.fetch(b"t", 0, 0))
        assert [record.value for record in some.records] == [b"1"]
        again.stopService()
        self.memory.advance(10)
