"""The message path: who gets what, in which order, and what one failure costs the others."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher

from brokerkit import topics
from brokerkit.client import Client, User
from brokerkit.deliver import deliver_to
from brokerkit.framing import Rendering
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, literal, patterns
from brokerkit.router import Router
from brokerkit.run import Message, Origin, Spoken
from brokerkit.turn import Turn
from tests.strategies import messages
from tests.strategies import patterns as any_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerkit.run import Batch
    from brokerkit.subscription import Subscription


class Sink:
    """An outbox that keeps what is put into it; ``frames`` are the single ones."""

    peer = "sink"

    def __init__(self) -> None:
        """Begin open and empty."""
        self.data = b""
        self.open = True
        self.able = True

    def put(self, data: bytes) -> None:
        """Keep what an open outbox would send."""
        assert data
        if self.open:
            self.data += data

    @property
    def frames(self) -> list[bytes]:
        """Give what came, frame by frame."""
        return self.data.split(b"\n")[:-1]


class Text:
    """Frames like ``topic tag payload``; neither a topic nor a payload with a bang in it can be spelled."""

    frame = staticmethod(bytes.join)

    def __init__(self) -> None:
        """Begin to count how often a batch is spelled."""
        self.spelled = 0

    def head(self, topic: bytes, tag: bytes) -> bytes | None:
        """Give topic and tag."""
        return None if b"!" in topic else b"%b %b " % (topic, tag)

    def pieces(self, batch: Batch) -> list[bytes] | None:
        """Give the payloads."""
        self.spelled += 1
        payloads = [m.payload.hex().encode() if b"\n" in m.payload else m.payload for m in batch]
        return None if any(b"!" in p for p in payloads) else [b"", *(p + b"\n" for p in payloads)]


class Broken(Text):
    """A framing with a bug, in one of its methods."""

    def __init__(self, where: str) -> None:
        """Fail in ``where``."""
        super().__init__()
        setattr(self, where, self.fail)

    def fail(self, *_: Any) -> Any:
        """Fail."""
        raise RuntimeError


class Party(Client):
    """A client with a sink, and words for tests."""

    def __init__(self, router: Router, turn: Turn, name: str, grants: Grants, origin: Origin) -> None:
        """Log in."""
        self.sink = Sink()
        super().__init__(User(name.encode(), "test", grants), router, turn, self.sink, origin)  # type: ignore[arg-type]
        self.gate.refused = lambda _: True

    def say(self, *said: bytes) -> int:
        """Publish words of the form ``topic payload`` as one run."""
        return self.send(Spoken([Message(*word.split(b" ", 1)) for word in said]))

    def take(self) -> list[bytes]:
        """Give the frames that have come since the last time."""
        frames, self.sink.data = self.sink.frames, b""
        return frames


class Room:
    """A router, a turn, and those who talk through them."""

    def __init__(self) -> None:
        """Begin alone."""
        self.router = Router()
        self.turn = Turn()
        self.text = Text()

    def party(self, name: str = "ann", grants: Grants = ALL, origin: Origin = Origin.CLIENT) -> Party:
        """Let someone in."""
        return Party(self.router, self.turn, name, grants, origin)

    def reader(self, pattern: bytes = b"a", tag: bytes = b"1", framing: Any = None, **more: Any) -> Party:
        """Let someone in who subscribes."""
        party = self.party("reader")
        party.subscribe(pattern, framing=framing or self.text, tag=tag, **more)
        return party


@pytest.fixture
def room() -> Room:
    """Give a room."""
    return Room()


@pytest.fixture
def failures() -> Iterator[list[Any]]:
    """Give the failures that are logged."""
    seen: list[Any] = []

    def observer(event: Any) -> None:
        if "log_failure" in event:
            seen.append(event["log_failure"].value)

    globalLogPublisher.addObserver(observer)
    yield seen
    globalLogPublisher.removeObserver(observer)


# -- who gets what ----------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(said=st.lists(messages), wanted=st.lists(any_pattern, max_size=4), function=st.booleans())
def test_each_subscriber_gets_its_messages_in_order(
    said: list[Message], wanted: list[bytes], *, function: bool
) -> None:
    """Across all topics, each subscriber gets what matches, once, in the sender's order."""
    room, heard = Room(), []
    for pattern in wanted:
        got: list[tuple[bytes, bytes]] = []
        heard.append((pattern, got))
        if function:
            room.party().subscribe(pattern, lambda b, got=got: got.extend((m.topic, m.payload) for m in b))  # type: ignore[misc]
        else:
            framing = Rendering(lambda b, _, got=got: got.extend((m.topic, m.payload) for m in b) or b".")  # type: ignore[misc]
            room.party().subscribe(pattern, framing=framing)
    assert room.party().send(Spoken(said)) == len(said)
    for pattern, got in heard:
        assert got == [(m.topic, m.payload) for m in said if topics.matches(pattern, m.topic)]


def test_frames_are_head_and_tail(room: Room) -> None:
    """Each subscriber has its own head before each of the shared tails, and a batch is spelled once for all."""
    readers = [room.reader(tag=b"%d" % i) for i in range(3)]
    room.party().say(b"a x", b"a y")
    assert [r.take() for r in readers] == [[b"a %d x" % i, b"a %d y" % i] for i in range(3)]
    assert room.text.spelled == 1


def test_two_subscriptions_two_copies(room: Room) -> None:
    """A client that subscribed twice gets a message twice."""
    reader = room.reader()
    reader.subscribe(b"*", framing=room.text, tag=b"2")
    room.party().say(b"a x")
    assert sorted(reader.take()) == [b"a 1 x", b"a 2 x"]


def test_a_literal_subscription_is_no_pattern(room: Room) -> None:
    """A channel that is called ``>`` is only a name."""
    reader = room.reader(b">", literal=True)
    room.party().say(b"a x", b"> y")
    assert reader.take() == [b"> 1 y"]


def test_echo(room: Room) -> None:
    """A client hears itself, unless it said that it will not; then the others still do."""
    ann = room.party()
    ann.subscribe(b"a", framing=room.text, tag=b"echo")
    ann.subscribe(b"a", framing=room.text, tag=b"mute", echo=False)
    heard: list[Any] = []
    ann.subscribe(b"a", heard.append, echo=False)
    ann.say(b"a x")
    assert ann.take() == [b"a echo x"]
    assert heard == []
    room.party("bob").say(b"a y")
    assert ann.take() == [b"a echo y", b"a mute y"]
    assert len(heard) == 1


@pytest.mark.parametrize("queue", [b"", b"q"])
def test_echo_message_by_message(room: Room, queue: bytes) -> None:
    """The same holds where each message is looked at."""
    ann = room.party()
    ann.subscribe(b"a", framing=room.text, echo=False, queue=queue)
    other = room.reader(queue=b"other")
    ann.say(b"a x", b"a y")
    assert ann.take() == []
    assert other.take() == [b"a 1 x", b"a 1 y"]


def test_denied_parts_do_not_arrive(room: Room) -> None:
    """A subscription that is wider than a denial is accepted, and what is denied is left out."""
    party = room.party(grants=Grants({SUBSCRIBE: Access(patterns([b">"]), patterns([b"secret.>"]))}))
    party.subscribe(b">", framing=room.text, tag=b"1")
    room.party().say(b"secret.a x", b"a y", b"secret.b x")
    assert party.take() == [b"a 1 y"]


def test_messages_are_counted(room: Room) -> None:
    """The gate counts what was let through, a subscription what it received."""
    ann = room.party(grants=Grants({PUBLISH: Access(literal([b"a"]))}))
    reader = room.party()
    wishes = [reader.subscribe(b"a", framing=room.text), reader.subscribe(b"a", lambda _: None)]
    ann.say(b"a 1", b"a 2", b"b 3", b"a 4")
    assert ann.gate.messages == 3
    assert [w.messages for w in wishes] == [3, 3]


def test_an_empty_run_is_nothing(room: Room) -> None:
    """Nothing said, nothing done."""
    assert room.party().say() == 0


# -- a number of messages ---------------------------------------------------------------------------------------------


KINDS = ["framed", "function", "group of one", "function in a group"]


def _counted(room: Room, kind: str, pattern: bytes, ended: list[Any]) -> tuple[Party, Subscription, list[bytes]]:
    party, got = room.party("reader"), []
    more: dict[str, Any] = {"queue": b"q" if "group" in kind else b"", "ended": ended.append}
    if "function" in kind:
        wish = party.subscribe(pattern, lambda batch: got.extend(m.payload for m in batch), **more)
    else:
        lines = Rendering(lambda batch, _: b"".join(m.payload + b"\n" for m in batch))
        wish = party.subscribe(pattern, framing=lines, **more)
        party.sink.put = lambda data: got.extend(data.split())  # type: ignore[method-assign]
    return party, wish, got


@pytest.mark.parametrize("pattern", [b"a", b"*"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_after_exactly_so_many(room: Room, kind: str, pattern: bytes) -> None:
    """A subscription that ends after n messages gets n, also out of a longer batch, and its owner hears of it once."""
    ended: list[Subscription] = []
    party, wish, got = _counted(room, kind, pattern, ended)
    party.unsubscribe(wish, after=3)
    ann = room.party()
    ann.say(b"a 1")
    ann.say(b"a 2", b"a 3", b"a 4", b"a 5")
    ann.say(b"a 6")
    assert got == [b"1", b"2", b"3"]
    assert ended == [wish]
    assert not wish.alive
    assert room.router.subscriptions == 0


@pytest.mark.parametrize("kind", KINDS)
def test_so_many_counts_from_the_beginning(room: Room, kind: str) -> None:
    """Messages that came before the number was named count too, as in NATS."""
    ended: list[Subscription] = []
    party, wish, got = _counted(room, kind, b"a", ended)
    ann = room.party()
    ann.say(b"a 1", b"a 2")
    party.unsubscribe(wish, after=3)
    ann.say(b"a 3", b"a 4")
    assert got == [b"1", b"2", b"3"]


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_that_have_come_already(room: Room, kind: str) -> None:
    """Where the number is reached already, it ends at once."""
    party, wish, got = _counted(room, kind, b"a", [])
    room.party().say(b"a 1", b"a 2")
    party.unsubscribe(wish, after=2)
    assert not wish.alive
    room.party().say(b"a 3")
    assert got == [b"1", b"2"]


@settings(deadline=None)
@given(
    after=st.integers(1, 12),
    chunks=st.lists(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=5), max_size=6),
    kind=st.sampled_from(KINDS),
)
def test_it_ends_exactly_however_runs_are_cut(after: int, chunks: list[list[bytes]], kind: str) -> None:
    """Whatever the runs look like, the first n that match arrive and no other; a neighbour gets all."""
    room = Room()
    party, wish, got = _counted(room, kind, b"a", [])
    neighbour = room.reader(b">")
    party.unsubscribe(wish, after=after)
    ann, numbered = room.party(), iter(range(1000))
    said = [[(topic, b"%d" % next(numbered)) for topic in chunk] for chunk in chunks]
    for chunk in said:
        ann.say(*(b" ".join(word) for word in chunk))
    flat = [word for chunk in said for word in chunk]
    assert got == [payload for topic, payload in flat if topic == b"a"][:after]
    assert neighbour.take() == [b"%b 1 %b" % word for word in flat]


def test_a_function_that_publishes_gets_no_more_than_its_number(room: Room) -> None:
    """A receiver that answers on its own topic is not called once more for that."""
    party, got = room.party(), []

    def receive(batch: Batch) -> None:
        got.extend(m.payload for m in batch)
        party.say(b"a again")

    party.unsubscribe(party.subscribe(b"a", receive), after=2)
    room.party().say(b"a first")
    assert got == [b"first", b"again"]


def test_who_fails_to_hear_of_the_end_costs_no_other(room: Room, failures: list[Any]) -> None:
    """An error of whoever is told of the end stays there."""
    party = room.party()
    error = RuntimeError()

    def ended(_: Subscription) -> None:
        raise error

    party.unsubscribe(party.subscribe(b"a", framing=room.text, ended=ended), after=1)
    reader = room.reader(tag=b"2")
    room.party().say(b"a x", b"a y")
    assert reader.take() == [b"a 2 x", b"a 2 y"]
    assert failures == [error]


# -- queue groups -----------------------------------------------------------------------------------------------------


def test_one_member_gets_it(room: Room) -> None:
    """Each message goes to exactly one member, and over time every member gets its share."""
    members = [room.reader(queue=b"q", tag=b"%d" % i) for i in range(3)]
    room.party().say(*(b"a %d" % i for i in range(300)))
    shares = [[frame.split()[2] for frame in m.take()] for m in members]
    assert sorted(int(payload) for share in shares for payload in share) == list(range(300))
    assert all(len(share) > 50 for share in shares)
    assert all(share == sorted(share, key=int) for share in shares)


def test_each_group_gets_it_and_so_do_the_others(room: Room) -> None:
    """Groups do not take from each other, nor from subscribers outside of any."""
    one, two, tap = room.reader(queue=b"q"), room.reader(queue=b"r"), room.reader(b">")
    room.party().say(b"a x", b"a y")
    assert one.take() == two.take() == tap.take() == [b"a 1 x", b"a 1 y"]


def test_overlapping_patterns_are_one_group(room: Room) -> None:
    """Members with one queue name are one group, whatever patterns brought them together, framed or functions."""
    members = [room.reader(pattern, queue=b"q") for pattern in (b"a.b", b"a.*", b">")]
    heard: list[bytes] = []
    room.party().subscribe(b"*.b", lambda batch: heard.extend(m.payload for m in batch), queue=b"q")
    room.party().say(*(b"a.b %d" % i for i in range(100)))
    got = heard + [frame.split()[2] for m in members for frame in m.take()]
    assert sorted(int(payload) for payload in got) == list(range(100))
    assert heard


def test_members_over_the_brim_are_passed_over(room: Room) -> None:
    """A member whose reader is behind gets nothing while another can take it."""
    members = [room.reader(queue=b"q") for _ in range(3)]
    members[0].sink.able = members[2].sink.able = False
    room.party().say(*[b"a x"] * 50)
    assert [len(m.take()) for m in members] == [0, 50, 0]


def test_all_members_over_the_brim(room: Room) -> None:
    """Where all are behind, one gets it all the same."""
    members = [room.reader(queue=b"q") for _ in range(2)]
    for member in members:
        member.sink.able = False
    room.party().say(*[b"a x"] * 50)
    assert sum(len(m.take()) for m in members) == 50


def test_a_member_that_is_given_up_gets_nothing(room: Room) -> None:
    """A closed outbox swallows no message that another member, even one that is behind, could have had."""
    closed, behind = room.reader(queue=b"q"), room.reader(queue=b"q")
    closed.sink.open = closed.sink.able = behind.sink.able = False
    room.party().say(*[b"a x"] * 50)
    assert len(behind.take()) == 50


def test_the_nearest_member_gets_it(room: Room) -> None:
    """A member here goes before one on a leaf, and that before one in the mesh."""
    parties = [room.party(origin=origin) for origin in (Origin.ROUTE, Origin.LEAF, Origin.CLIENT)]
    for party in parties:
        party.subscribe(b"a", framing=room.text, queue=b"q")
    route, leaf, here = parties
    ann = room.party()
    ann.say(*[b"a x"] * 20)
    assert [len(p.take()) for p in parties] == [0, 0, 20]
    here.sink.able = False
    ann.say(*[b"a x"] * 20)
    assert [len(p.take()) for p in parties] == [0, 20, 0]
    here.leave()
    leaf.leave()
    ann.say(*[b"a x"] * 20)
    assert len(route.take()) == 20


def test_a_member_that_cannot_spell_it_is_passed_over(room: Room, failures: list[Any]) -> None:
    """A message that one member's protocol cannot say, or fails to, goes to another member."""
    members = [room.reader(queue=b"q"), room.reader(queue=b"q", framing=Broken("pieces"))]
    plain = room.party()
    plain.subscribe(b"a", framing=Rendering(lambda b, _: b"".join(b"%b\n" % m.payload for m in b)), queue=b"q")
    room.party().say(*[b"a !"] * 50)
    assert len(plain.take()) == 50
    assert all(m.take() == [] for m in members)
    assert all(isinstance(error, RuntimeError) for error in failures)


def test_the_sender_of_a_group_that_wants_no_echo_is_passed_over(room: Room) -> None:
    """A member that does not hear itself leaves its own messages to the others."""
    ann = room.party()
    ann.subscribe(b"a", framing=room.text, queue=b"q", echo=False)
    other = room.reader(queue=b"q")
    ann.say(*[b"a x"] * 20)
    assert len(other.take()) == 20


def test_a_group_does_not_make_the_others_dear(room: Room) -> None:
    """With one queue group on a topic, a message is still not spelled anew for each subscriber outside of it."""
    readers = [room.reader(tag=b"%d" % i) for i in range(20)]
    room.reader(queue=b"q")
    room.party().say(b"a x", b"a y", b"a z")
    assert all(len(r.take()) == 3 for r in readers)
    assert room.text.spelled <= 3 + 3


# -- what nobody received ---------------------------------------------------------------------------------------------


def _listen_for_unheard(party: Party) -> list[bytes]:
    unheard: list[bytes] = []
    party.gate.unheard = lambda batch: unheard.extend(m.payload for m in batch)
    return unheard


@pytest.mark.parametrize("queue", [b"", b"q"])
def test_unheard(room: Room, queue: bytes) -> None:
    """Whoever publishes hears of exactly those messages that nobody received."""
    room.reader(queue=queue)
    ann = room.party()
    unheard = _listen_for_unheard(ann)
    ann.say(b"a 1", b"b 2", b"a 3", b"c 4", b"c 5")
    assert unheard == [b"2", b"4", b"5"]


def test_a_function_hears(room: Room) -> None:
    """A subscriber that is a function has received, even if it fails."""
    room.party().subscribe(b"a", lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    ann = room.party()
    unheard = _listen_for_unheard(ann)
    ann.say(b"a 1", b"b 2")
    assert unheard == [b"2"]


@pytest.mark.parametrize("queue", [b"", b"q"])
def test_who_does_not_hear_himself_does_not_count(room: Room, queue: bytes) -> None:
    """A message that only its own sender would have received is unheard."""
    ann = room.party()
    ann.subscribe(b"a", framing=room.text, echo=False, queue=queue)
    unheard = _listen_for_unheard(ann)
    ann.say(b"a 1", b"a 2")
    assert unheard == [b"1", b"2"]


def test_unheard_from_where_a_subscription_ended(room: Room) -> None:
    """Within one batch, what comes behind the last message that someone wanted is unheard."""
    reader = room.party()
    reader.unsubscribe(reader.subscribe(b"a", framing=room.text), after=2)
    ann = room.party()
    unheard = _listen_for_unheard(ann)
    ann.say(b"a 1", b"a 2", b"a 3", b"a 4")
    assert unheard == [b"3", b"4"]


@pytest.mark.parametrize("queue", [b"", b"q"])
def test_what_nobody_could_spell_is_unheard(room: Room, queue: bytes) -> None:
    """A message that no subscriber's protocol can say has been received by nobody; its neighbours have."""
    reader = room.reader(queue=queue)
    ann = room.party()
    unheard = _listen_for_unheard(ann)
    ann.say(b"a 1", b"a 2!", b"a 3")
    assert reader.take() == [b"a 1 1", b"a 1 3"]
    assert unheard == [b"2!"]


def test_a_topic_that_nobody_can_spell_is_unheard(room: Room) -> None:
    """So is one whose topic cannot be said."""
    room.reader(b">")
    ann = room.party()
    unheard = _listen_for_unheard(ann)
    ann.say(b"a! 1")
    assert unheard == [b"1"]


# -- what may not be published ----------------------------------------------------------------------------------------


ONLY_A = Grants({PUBLISH: Access(literal([b"a"]))})


def test_refused_and_going_on(room: Room) -> None:
    """Where the gate says so, the rest of the run is published; the refused batches are handed over as they are."""
    reader, ann = room.reader(b">"), room.party(grants=ONLY_A)
    refused: list[bytes] = []

    def refuse(batch: Batch) -> bool:
        refused.extend(m.payload for m in batch)
        return True

    ann.gate.refused = refuse
    assert ann.say(b"a 1", b"b 2", b"b 3", b"a 4", b"c 5") == 2
    assert refused == [b"2", b"3", b"5"]
    assert reader.take() == [b"a 1 1", b"a 1 4"]


def test_refused_and_stopping(room: Room) -> None:
    """Where the gate says so, nothing behind the refused batch is published, nor refused."""
    reader, ann = room.reader(b">"), room.party(grants=ONLY_A)
    refused: list[bytes] = []

    def refuse(batch: Batch) -> bool:
        refused.extend(m.payload for m in batch)
        return False

    ann.gate.refused = refuse
    assert ann.say(b"a 1", b"b 2", b"a 3", b"b 4") == 1
    assert refused == [b"2"]
    assert reader.take() == [b"a 1 1"]


def test_refused_again_and_again(room: Room) -> None:
    """A refusal is not remembered as an allowance, however often it is tried."""
    reader, ann = room.reader(b">"), room.party(grants=ONLY_A)
    for _ in range(3):
        assert ann.say(b"b x", b"b y") == 0
    assert reader.take() == []


# -- origins ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", Origin)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_goes_from_mesh_to_mesh(room: Room, source: Origin, kind: str) -> None:
    """What a route or a gateway brought is delivered here and to leaves, never to another route or gateway."""
    got: dict[Origin, list[bytes]] = {}
    for target in Origin:
        got[target] = heard = []
        framing = None if "function" in kind else Rendering(lambda b, _, heard=heard: heard.append(b.topic) or b".")  # type: ignore[misc]
        receive = None if framing else lambda b, heard=heard: heard.append(b.topic)  # type: ignore[misc]
        queue = target.value.encode() if "group" in kind else b""
        room.party(origin=target).subscribe(b"a", receive, framing=framing, queue=queue)
    sender = room.party(origin=source)
    unheard = _listen_for_unheard(sender)
    sender.say(b"a x")
    mesh = {Origin.ROUTE, Origin.GATEWAY}
    assert {o for o, heard in got.items() if heard} == (set(Origin) - mesh if source in mesh else set(Origin))
    assert unheard == []


def test_only_the_mesh_listens_to_the_mesh(room: Room) -> None:
    """Where nobody but another link would hear a link's message, nobody did."""
    room.party(origin=Origin.ROUTE).subscribe(b"a", framing=room.text)
    sender = room.party(origin=Origin.GATEWAY)
    unheard = _listen_for_unheard(sender)
    sender.say(b"a x")
    assert unheard == [b"x"]


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["head", "pieces", "frame"])
@pytest.mark.parametrize("queue", [b"", b"q"])
def test_a_broken_framing_costs_no_other(room: Room, failures: list[Any], where: str, queue: bytes) -> None:
    """A framing that fails is logged; all other subscribers get the message, and the sender notices nothing."""
    broken = room.reader(framing=Broken(where), queue=queue)
    reader, heard = room.reader(), []
    room.party().subscribe(b"a", lambda batch: heard.extend(m.payload for m in batch))
    assert room.party().say(b"a x", b"a y") == 2
    assert reader.take() == [b"a 1 x", b"a 1 y"]
    assert heard == [b"x", b"y"]
    assert broken.take() == []
    assert failures
    assert all(isinstance(error, RuntimeError) for error in failures)


def test_a_framing_that_fails_for_one_costs_no_other(room: Room, failures: list[Any]) -> None:
    """Where rendering fails for one tag, or one message, the other tags and messages are delivered."""

    def render(batch: Batch, tag: bytes) -> bytes:
        if tag == b"bad" or any(m.payload == b"bad" for m in batch):
            raise RuntimeError(tag)
        return b"".join(b"%b %b\n" % (tag, m.payload) for m in batch)

    framing = Rendering(render)
    bad, good = room.reader(tag=b"bad", framing=framing), room.reader(tag=b"good", framing=framing)
    room.party().say(b"a 1", b"a bad", b"a 3")
    assert good.take() == [b"good 1", b"good 3"]
    assert bad.take() == []
    assert failures


def test_a_broken_function_costs_no_other(room: Room, failures: list[Any]) -> None:
    """What one receiver raises is logged and stays with it."""
    error = RuntimeError()

    def receive(_: Batch) -> None:
        raise error

    room.party().subscribe(b"a", receive)
    heard: list[Any] = []
    room.party().subscribe(b"a", heard.append)
    reader = room.reader()
    assert room.party().say(b"a x", b"b y", b"a z") == 3
    assert reader.take() == [b"a 1 x", b"a 1 z"]
    assert len(heard) == 2
    assert failures == [error, error]


# -- what cannot be spelled -------------------------------------------------------------------------------------------


def test_a_message_that_cannot_be_spelled_is_counted_and_not_written(room: Room) -> None:
    """It is left out for whom it cannot be said, counted once for each of them; its neighbours arrive."""
    readers = [room.reader(tag=b"%d" % i) for i in range(2)]
    other = room.reader(framing=Rendering(lambda b, _: b"".join(b"%b\n" % m.payload for m in b)))
    room.party().say(b"a 1", b"a !", b"a 3")
    assert [r.take() for r in readers] == [[b"a %d 1" % i, b"a %d 3" % i] for i in range(2)]
    assert other.take() == [b"1", b"!", b"3"]
    assert room.router.unspellable == 2


def test_an_empty_rendering_is_not_written(room: Room) -> None:
    """A simple framing says by nothing that it cannot spell: it is counted, and nobody has received."""
    reader = room.reader(framing=Rendering(lambda _, __: b""))
    ann = room.party()
    unheard = _listen_for_unheard(ann)
    ann.say(b"a x", b"a y")
    assert reader.take() == []
    assert room.router.unspellable == 2
    assert unheard == [b"x", b"y"]


def test_a_topic_that_cannot_be_spelled_is_counted_and_not_written(room: Room) -> None:
    """A topic that no frame can carry costs one count for each message and subscriber."""
    reader = room.reader(b">")
    room.party().say(b"a! 1", b"a! 2", b"a 3")
    assert reader.take() == [b"a 1 3"]
    assert room.router.unspellable == 2


# -- re-entrancy ------------------------------------------------------------------------------------------------------


def test_a_receiver_may_publish(room: Room) -> None:
    """What a receiver publishes is delivered before it returns, and the rest of the outer run behind it, in order."""
    ann, service = room.party(), room.party("service")
    reader = room.reader(b">")

    def receive(batch: Batch) -> None:
        for m in batch:
            service.say(b"answer " + m.payload)

    service.subscribe(b"ask", receive)
    ann.say(b"ask 1", b"other 2", b"ask 3")
    assert reader.take() == [b"ask 1 1", b"answer 1 1", b"other 1 2", b"ask 1 3", b"answer 1 3"]


def test_a_receiver_may_come_and_go(room: Room) -> None:
    """A receiver may end itself and others, and begin new ones; whoever was ended is not called, from then on."""
    party, heard = room.party(), Counter[str]()

    def once(batch: Batch) -> None:
        heard["once"] += len(batch)
        party.unsubscribe(wishes[0])
        party.unsubscribe(wishes[1])
        party.subscribe(b"a", lambda batch: heard.update(new=len(batch)))

    wishes = [
        party.subscribe(b"a", once),
        party.subscribe(b"a", lambda batch: heard.update(ended=len(batch))),
        party.subscribe(b"a", lambda batch: heard.update(stays=len(batch))),
    ]
    ann = room.party()
    ann.say(b"a 1", b"b -", b"a 2", b"a 3")
    assert heard == Counter(once=1, stays=3, new=2)


def test_endless_echo_ends(room: Room, failures: list[Any]) -> None:
    """A receiver that answers itself for ever is stopped by the stack, and the broker goes on."""
    party = room.party()
    party.subscribe(b"loop", lambda _: party.publish(b"loop", b""))
    reader = room.reader()
    room.party().say(b"loop x", b"a y")
    assert reader.take() == [b"a 1 y"]
    assert failures
    assert room.turn.depth == 0


# -- the broker's own -------------------------------------------------------------------------------------------------


def test_deliver_to_one(room: Room) -> None:
    """The broker can answer one subscription by itself; the others of the topic do not see it.

    It does not count either, as nats-server's own answers do not.
    """
    reader, other = room.party(), room.reader()
    wish = reader.subscribe(b"a", framing=room.text, tag=b"7")
    reader.unsubscribe(wish, after=1)
    deliver_to(wish, Spoken([Message(b"a", b"x")]))
    assert reader.take() == [b"a 7 x"]
    assert other.take() == []
    assert (wish.alive, wish.messages) == (True, 0)
