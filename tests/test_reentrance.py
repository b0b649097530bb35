"""What may change while a run of places in a chunk is delivered: whoever is called then may do anything.

Each test holds for the pure code and for the compiled one, whichever is in use: the compiled code has pointers into
what is changed here, and remembers what it has looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.task import Clock

from brokerkit import compiled
from brokerkit.client import Client, User
from brokerkit.deliver import deliver
from brokerkit.framing import Rendering
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, patterns
from brokerkit.holding import Held, Holding
from brokerkit.mapping import Mapper
from brokerkit.outbox import Limits, Outbox
from brokerkit.protocols.hpfeeds import wire as hpfeeds
from brokerkit.protocols.hpfeeds.framing import hpfeeds_framing
from brokerkit.protocols.nats import wire as nats
from brokerkit.protocols.nats.framing import nats_framing
from brokerkit.router import Router
from brokerkit.run import Origin
from brokerkit.subscription import Subscription
from brokerkit.tenant import Destination, Mapping
from brokerkit.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.run import Batch

NATS = nats_framing(b"", headers=True)
NARROW = Grants({PUBLISH: Access(patterns([b"a"]), ()), SUBSCRIBE: Access(patterns([b">"]), ())})
LIMITS = Limits(limit=1_000_000)


class Taker:
    """A transport that takes everything, and keeps it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.taken = b""
        self.before: Callable[[], None] = lambda: None  # called before anything is taken

    def writeSomeData(self, data: Any) -> int:
        """Take it."""
        before, self.before = self.before, lambda: None
        before()
        self.taken += bytes(data)
        return len(data)


class Party:
    """A client, its outbox, and what it has heard."""

    def __init__(self, room: Room, limits: Limits = LIMITS) -> None:
        """Come in."""
        self.transport = Taker()
        self.ends: list[str] = []
        self.outbox = Outbox(self.transport, room.turn, Clock(), limits, self.ends.append, peer="x", direct=True)  # type: ignore[arg-type]
        self.client = Client(User(b"me", "test", ALL), room.router, room.turn, self.outbox)

    def listen(self, pattern: bytes, framing: Any = NATS, **how: Any) -> Subscription:
        """Subscribe, framed."""
        return self.client.subscribe(pattern, framing=framing, tag=b"1", **how)

    def heard(self) -> list[bytes]:
        """Give the payloads that have come, and forget them: of NATS, since no payload has a line's end in it."""
        heard, self.transport.taken = self.transport.taken, b""
        return heard.split(b"\r\n")[1::2]


class Room:
    """A router, one who publishes what stands in a chunk, and the run that is being delivered."""

    def __init__(self) -> None:
        """Begin with nobody else."""
        self.turn, self.router = Turn(), Router()
        self.me = Party(self)
        self.me.client.gate.refused = lambda _: True
        self.wire = nats.Wire(nats.Spellings(b"", 1_000_000, 4096))
        self.wire.headers = True
        self.run: Any = None

    def party(self, **how: Any) -> Party:
        """Have somebody come in."""
        return Party(self, **how)

    def say(self, *said: bytes) -> int:
        """Publish in one chunk what is said as ``topic payload``; give the number of messages that were let through."""
        pairs = [text.split(b" ") for text in said]
        self.wire.feed(b"".join([b"PUB %b %d\r\n%b\r\n" % (topic, len(data), data) for topic, data in pairs]))
        self.run = self.wire.scan()
        assert len(self.run) == len(said)
        with self.turn:
            try:
                return self.me.client.deliver(self.run)
            finally:
                self.run.clear()
                self.wire.settle()


@pytest.fixture
def room() -> Room:
    """Give an empty room."""
    return Room()


def _once(act: Callable[[], object]) -> Callable[[Batch], object]:
    """Give a subscriber that does something the first time that it is called, and hears nothing."""
    todo = [act]

    def receive(_: Batch) -> bool:
        if todo:
            todo.pop()()
        return False

    return receive


# -- somebody comes, goes, or may do other things than before ---------------------------------------------------------

CHUNK = (b"a 1", b"a 2", b"b 3", b"a 4")


@pytest.mark.parametrize("pattern", [b"b", b">", b"*"])
def test_a_subscriber_that_comes_hears_the_next_batch(room: Room, pattern: bytes) -> None:
    """What a batch was found to lead to is not believed any more when somebody has been called."""
    comes = room.party()
    room.say(*CHUNK, b"b 5")  # everything is remembered by now
    room.me.client.subscribe(b"a", _once(lambda: comes.listen(pattern)))
    room.say(*CHUNK)
    assert comes.heard() == ([b"3"] if pattern == b"b" else [b"3", b"4"])


@pytest.mark.parametrize("pattern", [b"b", b">", b"*"])
def test_a_subscriber_that_goes_hears_nothing_more(room: Room, pattern: bytes) -> None:
    """Nor is it delivered to whom it led to before."""
    goes = room.party()
    wish = goes.listen(pattern)
    room.say(*CHUNK, b"b 5")
    goes.heard()
    room.me.client.subscribe(b"a", _once(lambda: goes.client.unsubscribe(wish)))
    room.say(*CHUNK)
    assert goes.heard() == ([] if pattern == b"b" else [b"1", b"2"])


@pytest.mark.parametrize("seen", [True, False], ids=["known", "new"])
def test_rights_that_change_hold_for_the_next_batch(room: Room, seen: bool) -> None:
    """Permission is decided by what is allowed when a batch's turn comes, whether its topic was known or not."""
    hears = room.party()
    hears.listen(b">")
    if seen:
        room.say(*CHUNK, *CHUNK)
        hears.heard()
    narrow = User(b"me", "test", NARROW)
    room.me.client.subscribe(b"a", _once(lambda: room.me.client.become(narrow)))
    assert room.say(*CHUNK) == 3
    assert hears.heard() == [b"1", b"2", b"4"]


@pytest.mark.parametrize("seen", [True, False], ids=["known", "new"])
def test_a_mapping_that_comes_holds_for_the_next_batch(room: Room, seen: bool) -> None:
    """A tenant's mappings may be given in the middle of a run."""
    hears = room.party()
    hears.listen(b"c")
    if seen:
        room.say(*CHUNK, *CHUNK)
    mapper = Mapper(Mapping(b"b", (Destination(b"c"),)))
    room.me.client.subscribe(b"a", _once(lambda: room.router.map([mapper])))
    room.say(*CHUNK)
    assert hears.heard() == [b"3"]


def test_a_topic_that_is_kept_from_now_on_is_kept_from_the_next_batch(room: Room) -> None:
    """A function that hears of nothing but messages, as the log does, has all of them from then on, in order."""
    kept: list[bytes] = []
    log = Subscription(b">", literal=False, receive=lambda batch: kept.extend(m.payload for m in batch) or False)
    room.me.client.subscribe(b"a", _once(lambda: room.router.add(log)))
    room.say(*CHUNK, b"c 5", b"b 6")
    assert kept == [b"3", b"4", b"5", b"6"]


def test_a_client_that_leaves_hears_nothing_more(room: Room) -> None:
    """All of its subscriptions go at once, whatever they are."""
    goes, member, stays = room.party(), room.party(), room.party()
    goes.listen(b"a")
    goes.listen(b"*", queue=b"q")
    member.listen(b"*", queue=b"q")
    stays.listen(b">")
    room.say(*CHUNK)
    for party in (goes, member, stays):
        party.heard()
    room.me.client.subscribe(b"b", _once(goes.client.leave))
    room.say(b"b 1", b"a 2", b"a 3")
    assert goes.heard() in ([], [b"1"])  # the dice may have chosen it for the first one
    assert member.heard()[-2:] == [b"2", b"3"]
    assert stays.heard() == [b"1", b"2", b"3"]


# -- in the middle of a batch -----------------------------------------------------------------------------------------


def test_a_member_that_comes_in_the_middle_of_a_batch(room: Room) -> None:
    """A queue group is what it is when a message's turn comes, and not what it was when the batch's did."""
    room.me.listen(b"a", queue=b"q", echo=False)  # nobody else is there, and it does not hear itself
    comes = room.party()
    told: list[bytes] = []

    def unheard(batch: Batch) -> None:
        told.extend(m.payload for m in batch)
        if told == [b"2"]:
            comes.listen(b"a", queue=b"q")

    for _ in range(2):
        room.say(b"a 1")  # from now on the topic is remembered
    room.me.client.gate.unheard = unheard
    room.say(b"a 2", b"a 3", b"a 4")
    assert told == [b"2"]
    assert comes.heard() == [b"3", b"4"]


def test_a_group_that_goes_in_the_middle_of_a_batch(room: Room) -> None:
    """Nobody gets what comes behind its end, and that is told."""
    told: list[bytes] = []
    members = [room.party() for _ in range(3)]
    wishes = [member.listen(b"a", queue=b"q") for member in members]
    room.me.client.gate.unheard = lambda batch: told.extend(m.payload for m in batch)

    def all_go() -> None:
        for member, wish in zip(members, wishes, strict=True):
            member.client.unsubscribe(wish)

    for member in members:
        member.transport.before = all_go
    room.say(*[b"a " + b"%d" % i * 30_000 for i in range(20)])  # so much that it is written before the end
    heard = sum(len(member.heard()) for member in members)
    if compiled.heart is None:  # it writes at the end alone
        assert (heard, told) == (20, [])
    else:
        assert 0 < heard < 20
        assert heard + len(told) == 20


def test_who_wants_to_know_may_be_another_in_the_middle(room: Room) -> None:
    """It is told whoever wants to know by then."""
    first: list[bytes] = []
    then: list[bytes] = []
    gate = room.me.client.gate

    def unheard(batch: Batch) -> None:
        first.extend(m.payload for m in batch)
        gate.unheard = lambda batch: then.extend(m.payload for m in batch)

    gate.unheard = unheard
    room.say(b"a 1", b"b 2", b"c 3")
    assert (first, then) == ([b"1"], [b"2", b"3"])
    gate.unheard = unheard
    room.me.client.subscribe(b"b", _once(lambda: setattr(gate, "unheard", None)))
    room.say(b"b 1", b"c 2")
    assert then == [b"2", b"3"]


# -- the run and the outboxes themselves ------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [CHUNK, (*CHUNK, *(b"t%d 5" % i for i in range(20)))])
def test_a_run_that_is_cleared_and_used_again_breaks_nothing(room: Room, chunk: tuple[bytes, ...]) -> None:
    """Whoever is called may end the very run: what has been delivered stays so, the rest comes to nothing."""
    hears = room.party()
    hears.listen(b">")

    def spoil() -> None:
        room.run.clear()
        room.run.chunk = b"x"
        room.run.end = 1

    room.me.client.subscribe(b"b", _once(spoil))
    room.say(*chunk)
    assert hears.heard() == [b"1", b"2", b"3"]
    room.say(*CHUNK)
    assert hears.heard() == [b"1", b"2", b"3", b"4"]


class Shelf(Holding):
    """Holds whatever it is given."""

    def touch(self, lane: object) -> None:  # noqa: ARG002  it is called with it
        """Have room."""
        self.touched = True
        self.room = self.brim = 1 << 30


@pytest.mark.parametrize("size", [1, 50_000])
@pytest.mark.parametrize("chunk", [None, b"x"])
def test_a_run_that_is_cleared_before_its_payloads_are_held(room: Room, chunk: bytes | None, size: int) -> None:
    """What is held of a topic are whole payloads of it, or nothing."""

    def spoil() -> None:
        room.run.clear()
        if chunk is not None:
            room.run.chunk, room.run.end = chunk, len(chunk)

    room.me.client.subscribe(b">", _once(spoil))
    log = Subscription(b">", literal=False, receive=lambda _: False, origin=Origin.LOG)
    shelf = Shelf()
    lane = Held(shelf, log, None)
    lane.ready = True
    log.keeps = {b"a": lane}
    room.router.add(log)
    ones, twos = b"1" * size, b"2" * size
    room.say(b"a " + ones, b"a " + twos, b"b 3", b"a 4")
    assert [lane] * (lane.count > 0) == shelf.lanes
    assert all(one in (ones, twos) for one in (lane.take().bodies if lane.count else ()))


def test_a_framing_that_clears_the_run(room: Room) -> None:
    """What is made of a batch is made before anybody has it; its bytes are still those of the chunk."""

    def render(batch: Batch, _: bytes) -> bytes:
        made = b"".join(m.payload for m in batch)
        if made == b"12":
            room.run.clear()
            room.run.end = 2
        return made

    plain, odd = room.party(), room.party()
    plain.listen(b"a")
    odd.listen(b"a", framing=Rendering(render))
    room.say(*CHUNK)
    assert odd.transport.taken == b"12"
    if compiled.heart is not None:  # the pure code has cut nothing yet by then
        assert plain.heard() == [b"1", b"2"]


def test_a_nested_publish_is_in_order(room: Room) -> None:
    """A chunk that is published by whoever hears of another one is delivered before that one goes on."""
    other = room.party()
    hears = room.party()
    hears.listen(b">")
    wire = nats.Wire(nats.Spellings(b"", 1000, 1000))

    def nested() -> None:
        wire.feed(b"PUB a 1\r\nx\r\nPUB b 1\r\ny\r\n")
        run = wire.scan()
        assert run is not None
        other.client.deliver(run)
        run.clear()

    room.me.client.subscribe(b"b", _once(nested))
    room.say(*CHUNK)
    assert hears.heard() == [b"1", b"2", b"3", b"x", b"y", b"4"]
    assert room.router.messages == 6


@pytest.mark.parametrize("queue", [b"", b"q"])
def test_an_outbox_that_is_given_up_in_the_middle(room: Room, queue: bytes) -> None:
    """Who has too much waiting is given up, once; the others have everything, and the run goes on."""
    slow = room.party(limits=Limits(limit=5000))
    slow.transport.writeSomeData = lambda _: 0  # type: ignore[method-assign]
    slow.listen(b"a", queue=queue)
    hears = room.party()
    hears.listen(b">")
    room.say(*[b"a " + b"x" * 3000, b"b 2", b"a " + b"y" * 3000, b"a 4"])
    assert slow.ends == ["limit"]
    assert slow.outbox.pending == 0
    assert [len(payload) for payload in hears.heard()] == [3000, 1, 3000, 1]


def test_a_member_that_is_given_up_in_the_middle_is_passed_over(room: Room) -> None:
    """What follows goes to those of its group who are left, in the same batch, too."""
    slow, hears = room.party(limits=Limits(limit=5000)), room.party()
    slow.transport.writeSomeData = lambda _: 0  # type: ignore[method-assign]
    slow.listen(b"a")
    for party in (slow, hears):
        party.listen(b"e", queue=b"q")
    room.say(b"a " + b"x" * 3000, b"c.d 0", b"a " + b"y" * 3000, *[b"e %d" % i for i in range(20)])
    assert slow.ends == ["limit"]
    assert hears.heard()[-20:] == [b"%d" % i for i in range(20)]


def test_memory_that_is_short_loses_no_outbox() -> None:
    """An outbox that could not be noted for the end of the turn is noted the next time."""
    turn = Turn()

    class Full(list[Any]):
        """Has no room at first."""

        full = True

        def append(self, one: Any) -> None:
            full, self.full = self.full, False
            if full:
                raise MemoryError
            super().append(one)

    turn.touched = Full()
    taker = Taker()
    outbox = Outbox(taker, turn, Clock(), LIMITS, lambda _: None, direct=True)  # type: ignore[arg-type]
    with turn:
        with pytest.raises(MemoryError):
            outbox.put(b"one")
        outbox.put(b"two")
    assert taker.taken in (b"two", b"onetwo")
    assert outbox.pending == 0


# -- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("much", [2**31, 2**63, 10**30])
def test_limits_beyond_a_machine_word(room: Room, much: int) -> None:
    """A limit that is meant as none is one that is never reached."""
    hears = room.party(limits=Limits(limit=much))
    hears.outbox.follow(Limits(limit=much + 1))
    hears.listen(b"a")
    room.wire = nats.Wire(nats.Spellings(b"", much, 4096))
    room.say(b"a 1")
    assert hears.heard() == [b"1"]


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("count", [nats.RUN_LENGTH - 1, nats.RUN_LENGTH, nats.RUN_LENGTH + 1, 2 * nats.RUN_LENGTH])
def test_a_chunk_of_as_many_messages_as_a_run_may_have(count: int, size: int) -> None:
    """Also the last one has its end, and a next one begins another run; nothing is in a payload but what was."""
    room = Room()
    hears = room.party()
    hears.listen(b"a")
    room.wire.feed(b"PUB a %d\r\n%b\r\n" % (size, b"x" * size) * count)
    lengths = []
    while (run := room.wire.scan()) is not None:
        lengths.append(len(run))
        with room.turn:
            assert deliver(run, room.me.client.gate) == len(run)
        run.clear()
    assert lengths == [min(nats.RUN_LENGTH, count), *([count - nats.RUN_LENGTH] * (count > nats.RUN_LENGTH))]
    assert hears.heard() == [b"x" * size] * count


@pytest.mark.parametrize("topics", [1, 2])
def test_hpfeeds_frames_arrive_as_they_are(room: Room, topics: int) -> None:
    """One behind the other, whatever is in them, to several who listen."""
    wire = hpfeeds.Wire()
    wire.own(b"me")
    channels = [b"a%d" % i for i in range(topics)]
    frames = [hpfeeds.spell(hpfeeds.Publish(b"me", channel, b"x" * i)) for i in range(300) for channel in channels]
    parties = [room.party() for _ in range(3)]
    for party in parties:
        for channel in channels:
            party.client.subscribe(channel, framing=hpfeeds_framing(b""), literal=True)
    wire.feed(b"".join(frames))
    run = wire.scan()
    assert run is not None
    with room.turn:
        room.me.client.deliver(run)
    assert [party.transport.taken for party in parties] == [b"".join(frames)] * 3


# -- what only the compiled code has ----------------------------------------------------------------------------------

only_compiled = pytest.mark.skipif(compiled.heart is None, reason="nothing is compiled here")


@only_compiled
def test_a_message_for_many_takes_little_memory_of_each(room: Room) -> None:
    """A message of some kilobytes does not have each of its subscribers hold a block for a hundred."""
    hears = room.party()
    with room.turn:
        for size, room_taken in ((100, 2048), (2000, 16384), (10_000, 16384), (10_000, 131072)):
            hears.outbox.put(b"x" * (size // 2))
            hears.outbox.put(b"x" * (size // 2))
            assert hears.outbox._pieces[-1].room == room_taken
    assert len(hears.transport.taken) == 22_100


@only_compiled
def test_what_is_no_run_is_refused(room: Room) -> None:
    """Nothing that Python code may hand over is taken for what it is not."""
    scanner: Any = room.wire.spellings.scanner
    with pytest.raises(TypeError):
        scanner.scan(None, b"PUB a 1\r\nx\r\n", 0, False)
    with pytest.raises(TypeError):
        compiled.heart.deliver(None, room.me.client.gate)
    with pytest.raises(TypeError):
        compiled.heart.walk(None, b"a")
    with pytest.raises(ValueError, match="nothing to choose from"):
        compiled.heart.choose(0)


@only_compiled
def test_a_scan_that_fails_leaves_nothing_behind() -> None:
    """A run that a scanner could not fill is empty, and can be filled again."""

    def plain(subject: bytes) -> bool:
        if subject == b"$bad":
            raise MemoryError
        return True

    scanner = nats.scanner.Scanner(b"", 100, 100, plain, nats.CLOSED_REPLIES)
    run = nats.NatsRun(nats.Spellings(b"", 100, 100))
    good = b"PUB a 1\r\nx\r\n"
    with pytest.raises(MemoryError):
        scanner.scan(run, good + b"PUB $bad 1\r\nx\r\n", 0, False)
    assert (len(run), run.topics, run.chunk) == (0, [], b"")
    assert scanner.scan(run, good, 0, False) == len(good)
    assert len(run) == 1
