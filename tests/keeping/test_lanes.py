"""What is published to kept topics in any mixture is in the log in its order: payloads in a row, alone, and odd."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from brokerkit import compiled
from brokerkit.bodies import together
from brokerkit.holding import EACH, NOBODY, Count, Held, Holding
from brokerkit.keep import Keep
from brokerkit.keeping import Keeping
from brokerkit.keeping.intake import Lane
from brokerkit.log import Limits, Log
from brokerkit.outbox import Limits as Bounds
from brokerkit.protocols.hpfeeds import wire as hpfeeds
from brokerkit.testing import MemoryBroker
from tests.keeping.test_overflow import Disk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.log import Stored

HEAD = b"NATS/1.0\r\nx: y\r\n\r\n"
TOPICS = (b"own", b"s.1", b"s.2", b"not")
PAYLOAD = st.binary(max_size=12) | st.sampled_from([b"", b"\n", b"\r\n", b"PUB own 1\r\n", b"x" * 300])
# Who says it, by which protocol, to which topic; how often; whether with headers, a reply, or neither.
SAID = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["nats", "hpfeeds"]),
    st.lists(st.tuples(st.integers(0, 3), PAYLOAD, st.sampled_from(["", "", "", "headers", "reply"])), max_size=8),
    st.booleans(),
)


# The last of the rules names what others have: the first counts.
RULES = (Keep(topics=("own",)), Keep(topics=("s.*",), stream="s"), Keep(topics=("*.1",), stream="1"))


class World:
    """A broker that keeps topics by itself and in a stream, in a file, and a user of each protocol for each name."""

    def __init__(self, path: Path | None, rules: Sequence[Keep] = RULES) -> None:
        """Begin."""
        self.memory = memory = MemoryBroker(users={f"user{i}": "x" for i in range(3)})
        limits = Limits(tidy_every=0.0)
        self.disk = Disk()
        self.log = memory.broker._log = Log(path, memory.reactor, limits, self.disk)
        self.log.setServiceParent(memory.broker)  # type: ignore[no-untyped-call]
        self.keeping = memory.broker._keeping = Keeping(self.log, memory.broker.realm, memory.reactor)
        self.keeping.setServiceParent(memory.broker)  # type: ignore[no-untyped-call]
        self.keeping.take(rules)
        self.users = {p: [memory.client(p, f"user{i}").peer for i in range(3)] for p in ("nats", "hpfeeds")}

    def say(self, user: int, protocol: str, messages: list[tuple[int, bytes, str]]) -> None:
        """Publish messages in one chunk."""
        spelled = [self._spelled(user, protocol, TOPICS[t], payload, kind) for t, payload, kind in messages]
        self.users[protocol][user].send(b"".join(spelled))

    @staticmethod
    def _spelled(user: int, protocol: str, topic: bytes, payload: bytes, kind: str) -> bytes:
        if protocol == "hpfeeds":
            return hpfeeds.spell(hpfeeds.Publish(b"user%d" % user, topic, payload))
        if kind == "headers":
            return b"HPUB %b %d %d\r\n%b%b\r\n" % (topic, len(HEAD), len(HEAD) + len(payload), HEAD, payload)
        return b"PUB %b %b%d\r\n%b\r\n" % (topic, b"r " if kind == "reply" else b"", len(payload), payload)

    def found(self, topic: bytes) -> list[Stored]:
        """Read all of a topic."""
        if not self.log.keeps(topic):
            return []
        fetched: Any = []
        self.log.fetch(topic, 0, 0).addCallback(lambda found: fetched.extend(found.records))
        self.memory.advance(0)
        return list(fetched)


class Anything(SynchronousTestCase):
    """Any mixture."""

    @settings(deadline=None, max_examples=60)
    @given(st.lists(SAID, max_size=10))
    def test_order(self, script: list[tuple[int, str, list[tuple[int, bytes, str]], bool]]) -> None:
        """Of each topic all is there, in order, with who said it; sequences say the order of a stream's topics."""
        with TemporaryDirectory() as place:
            world = World(Path(place) / "log.sqlite")
            said: list[tuple[bytes, bytes, bytes, bool, bytes]] = []
            for user, protocol, messages, is_late in script:
                world.say(user, protocol, messages)
                for topic, payload, spelling in messages:
                    kind = spelling if protocol == "nats" else ""
                    reply = b"r" if kind == "reply" else b""
                    said.append((TOPICS[topic], payload, b"user%d" % user, kind == "headers", reply))
                if is_late:
                    world.memory.advance(0.1)
            world.memory.advance(1)
            for name in TOPICS:
                expected = [one[1:] for one in said if one[0] == name and name != b"not"]
                found = world.found(name)
                assert [(r.value, r.sender, bool(r.headers), r.reply) for r in found] == expected
            stream = sorted((r for name in TOPICS[1:3] for r in world.found(name)), key=lambda one: one.sequence)
            assert [r.value for r in stream] == [one[1] for one in said if one[0] in TOPICS[1:3]]
            assert [r.sequence for r in stream] == list(range(1, len(stream) + 1))
            assert world.keeping.intake.pending == world.keeping.intake.held == 0
            assert world.keeping.intake.kept == len([one for one in said if one[0] != b"not"])
            world.memory.broker.stopService()


class Trouble(SynchronousTestCase):
    """What goes wrong with one topic, or one message, is not the others' trouble."""

    def setUp(self) -> None:
        """Have the topics made, in a log in a file."""
        place = TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.world = self._world(Path(place.name) / "log.sqlite")

    def _world(self, path: Path | None, rules: Sequence[Keep] = RULES) -> World:
        world = World(path, rules)
        self.addCleanup(world.memory.broker.stopService)
        for topic in range(3):
            world.say(0, "nats", [(topic, b"0", "")])
            world.memory.advance(1)
        return world

    def _say(self, *messages: tuple[int, bytes]) -> None:
        self.world.say(0, "nats", [(topic, payload, "") for topic, payload in messages])

    def _found(self, *topics: int) -> list[tuple[int, bytes | None, int]]:
        found = [(r.sequence, r.value, r.missing) for topic in topics for r in self.world.found(TOPICS[topic])]
        return sorted(found, key=lambda one: one[0])

    def test_memory_is_short(self) -> None:
        """What cannot be taken of one topic is missing there; the others have theirs, and later all have."""
        real, short = Lane.take, [MemoryError()]

        def take(lane: Lane) -> Any:
            taken = real(lane)
            if short:
                raise short.pop()
            return taken

        self.patch(Lane, "take", take)
        self._say((1, b"a"), (2, b"b"), (0, b"c"))
        self.world.memory.advance(1)
        self._say((1, b"d"), (2, b"e"), (0, b"f"))
        self.world.memory.advance(1)
        assert [(value, missing) for _, value, missing in self._found(0)] == [(b"0", 0), (b"c", 0), (b"f", 0)]
        assert [(r.value, r.missing) for r in self.world.found(b"s.1")] == [(b"0", 0), (None, 1), (b"d", 0)]
        assert [r.value for r in self.world.found(b"s.2")] == [b"0", b"b", b"e"]
        assert self.world.keeping.intake.missed["failed"] == 1
        assert self.world.keeping.intake.held == 0
        self.flushLoggedErrors()

    def test_given_up(self) -> None:
        """What a turn had put there is missing, and the sequences of the stream have no hole for it."""
        self._say((1, b"a"), (2, b"b"))
        self.world.keeping.intake.abort("error")
        self._say((1, b"c"), (2, b"d"))
        self.world.memory.advance(1)
        found = self._found(1, 2)
        assert [sequence for sequence, _, _ in found] == list(range(1, len(found) + 1))
        assert [value for _, value, missing in found if not missing] == [b"0", b"0", b"c", b"d"]
        assert sum(missing for _, _, missing in found) == 2

    def test_a_listener_that_publishes(self) -> None:
        """Where a log in memory tells of one topic while another one's messages are handed on, the order stays."""
        self.world = world = self._world(None)
        again = [True]

        def told(*_: object) -> None:
            if again:
                again.pop()
                world.say(1, "nats", [(2, b"nested", ""), (1, b"nested", "")])

        world.log.listen(told, name=b"s.1", tenant="")
        self._say((1, b"a"), (2, b"b"), (1, b"c"))
        world.memory.advance(1)
        assert [one[0] for one in self._found(1, 2)] == list(range(1, 8))
        assert [r.value for r in world.found(b"s.1")] == [b"0", b"a", b"c", b"nested"]
        assert [r.value for r in world.found(b"s.2")] == [b"0", b"b", b"nested"]

    def test_many_beside_one_that_is_too_large(self) -> None:
        """They are not taken apart: what is before and behind the large one is handed on in one go each."""
        self.world = world = self._world(None, [Keep(topics=("own",), max_message_bytes=10), *RULES[1:]])
        taken = []
        real = world.log.take
        self.patch(world.log, "take", lambda *a, **k: (real(*a, **k), taken.append(len(a[2]))))
        self._say(*[(0, b"x")] * 500, (0, b"y" * 11), *[(0, b"z")] * 300)
        world.memory.advance(1)
        assert taken == [500, 300]
        assert [missing for _, _, missing in self._found(0)].index(1) == 501

    def test_while_nothing_is_handed_on(self) -> None:
        """What waits behind a topic that is being made counts for what it takes, which is more than its bytes."""
        self.world.disk.stands = True
        self.world.keeping.take([*RULES, Keep(topics=("not",))])
        self._say((3, b"makes it"))
        before = self.world.keeping.intake.held
        for _ in range(10):
            self._say((0, b"x"))
        assert self.world.keeping.intake.held - before > 10 * 200
        self.world.disk.go_on()
        self.world.memory.advance(1)
        assert self.world.keeping.intake.pending == 0
        assert len(self._found(0)) == 11

    def test_no_room(self) -> None:
        """A topic that holds nothing keeps no memory for what there was no room for."""
        self.world.keeping.intake.limits = Bounds(limit=1000, deadline=5.0)
        self._say((0, b"x" * 50_000))
        lane = self.world.keeping.lanes("")[b"own"]
        assert (lane.count, lane.size, self.world.keeping.intake.missed["overflow"]) == (0, 0, 1)


def test_it_is_counted_alike() -> None:
    """The compiled twin has the same constants."""
    if compiled.heart is not None:
        assert compiled.heart.AS_THERE == (EACH, NOBODY)


def test_nothing() -> None:
    """Nothing can be held, but not taken."""
    holding = Holding()
    lane = Held(holding, None, None)
    lane.put(b"ann", [], 0)
    assert (lane.count, holding.lanes) == (0, [])
    with pytest.raises(ValueError, match="nothing is held"):
        lane.take()


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([b"ann", b"bob"]), st.lists(PAYLOAD, min_size=1)), min_size=1))
def test_held(script: list[tuple[bool, bytes, list[bytes]]]) -> None:
    """What two topics of one order hold comes out as it went in, with senders and places; then they hold nothing."""
    holding, order = Holding(), Count()
    lanes = [Held(holding, None, order), Held(holding, None, order)]
    for _ in range(2):
        expected: dict[bool, list[tuple[bytes, bytes, int]]] = {}
        place = order.count = 0
        for which, sender, payloads in script:
            lanes[which].put(sender, payloads, sum(map(len, payloads)) + EACH * len(payloads))
            expected.setdefault(which, []).extend((p, sender, place + i) for i, p in enumerate(payloads))
            place += len(payloads)
        assert holding.lanes == [lanes[which] for which in expected]
        assert holding.held == sum(len(p) + EACH for _, _, payloads in script for p in payloads)
        for which, rows in expected.items():
            taken = lanes[which].take()
            names = taken.senders if isinstance(taken.senders, list) else [taken.senders] * len(rows)
            assert list(zip(taken.bodies, names, taken.places, strict=True)) == rows
            assert isinstance(taken.senders, bytes) == (len({sender for _, sender, _ in rows}) == 1)
            assert taken.bodies.lengths == together([p for p, _, _ in rows]).lengths
            holding.held -= taken.size
        holding.lanes.clear()
        assert holding.held == 0


def test_without_an_order() -> None:
    """Who is in an order by itself has no places."""
    lane = Held(Holding(), None, None)
    lane.put(b"ann", [b"x"], 1)
    assert list(lane.take().places) == []
