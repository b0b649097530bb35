"""What a logged-in party can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from brokerkit.allowance import Allowance
from brokerkit.client import Client, User
from brokerkit.errors import NotAllowed
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, literal, patterns
from brokerkit.router import Router
from brokerkit.run import Message, Origin, Spoken
from brokerkit.turn import Turn

if TYPE_CHECKING:
    from brokerkit.run import Batch
    from brokerkit.subscription import Subscription


@pytest.fixture
def router() -> Router:
    """Give a router."""
    return Router()


def _client(router: Router, grants: Grants = ALL, **more: Any) -> Client:
    return Client(User(b"ann", "test", grants), router, Turn(), **more)


class Ear:
    """A receiver that keeps what it hears."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.heard: list[Message] = []

    def __call__(self, batch: Batch) -> None:
        """Hear."""
        self.heard += batch

    def payloads(self) -> list[bytes]:
        """Give what was said."""
        return [m.payload for m in self.heard]


def test_publish_and_subscribe(router: Router) -> None:
    """A message arrives with all that it had, in the name of its sender."""
    ann, ear, names = _client(router), Ear(), []
    ann.subscribe(b"a.*", ear)
    ann.subscribe(b"a.b", lambda batch: names.append(batch.sender))
    ann.publish(b"a.b", b"hello", reply=b"r", headers=b"h")
    assert ear.heard == [Message(b"a.b", b"hello", b"r", b"h")]
    assert names == [b"ann"]


def test_a_run_is_stamped(router: Router) -> None:
    """Whatever a run said of its sender, it is the client that published it."""
    leaf = _client(router, origin=Origin.LEAF)
    run = Spoken([Message(b"a", b"")])
    run.name, run.sender = b"mallory", object()
    leaf.send(run)
    assert (run.name, run.sender, run.origin) == (b"ann", leaf, Origin.LEAF)


def test_publishing_takes_a_grant(router: Router) -> None:
    """Without one, publish raises, and nothing is delivered."""
    ear = Ear()
    _client(router).subscribe(b">", ear)
    ann = _client(router, Grants({PUBLISH: Access(literal([b"mine"]))}))
    with pytest.raises(NotAllowed, match="yours") as raised:
        ann.publish(b"yours", b"no")
    assert not raised.value.fatal
    ann.publish(b"mine", b"yes")
    assert ear.payloads() == [b"yes"]


def test_a_run_ends_at_the_first_refusal_unless_the_gate_says_otherwise(router: Router) -> None:
    """Sending a run gives the number of messages that were let through."""
    ann = _client(router, Grants({PUBLISH: Access(literal([b"mine"]))}))
    said = [Message(topic, b"") for topic in (b"mine", b"yours", b"mine")]
    assert ann.send(Spoken(said)) == 1
    ann.gate.refused = lambda _: True
    assert ann.send(Spoken(said)) == 2


@pytest.mark.parametrize("name", [b"yours", b">", b"*", b"mine.>"])
def test_subscribing_takes_a_grant(router: Router, name: bytes) -> None:
    """Without one, subscribe raises, and nothing is subscribed."""
    ann = _client(router, Grants({SUBSCRIBE: Access(patterns([b"mine", b"mine.*"]))}))
    with pytest.raises(NotAllowed):
        ann.subscribe(name, Ear())
    assert router.subscriptions == 0
    assert not ann.subscriptions


def test_a_literal_grant_counts_however_it_is_asked_for(router: Router) -> None:
    """A user with a list of channels may subscribe to them in a protocol that knows patterns, but to no pattern."""
    ann = _client(router, Grants({SUBSCRIBE: Access(literal([b"a", b"*"]))}))
    ann.subscribe(b"a", Ear())
    ann.subscribe(b"*", Ear(), literal=True)
    with pytest.raises(NotAllowed):
        ann.subscribe(b"*", Ear())


def test_a_wide_subscription_is_filtered(router: Router) -> None:
    """Where a denial reaches into a pattern, what is denied does not arrive; where none does, nothing is asked."""
    ann, ear = _client(router, Grants({SUBSCRIBE: Access(patterns([b">"]), literal([b"a.secret"]))})), Ear()
    assert ann.subscribe(b"b.*", ear).filter is None
    ann.subscribe(b"a.*", ear)
    bob = _client(router)
    bob.publish(b"a.secret", b"no")
    bob.publish(b"a.open", b"yes")
    bob.publish(b"a.secret", b"no")
    assert ear.payloads() == [b"yes"]


def test_unsubscribe(router: Router) -> None:
    """Nothing comes any more; doing it again does nothing."""
    ann, ear = _client(router), Ear()
    wish = ann.subscribe(b"a", ear)
    ann.unsubscribe(wish)
    ann.unsubscribe(wish, after=5)
    ann.publish(b"a", b"no")
    assert ear.heard == []
    assert not ann.subscriptions
    assert router.subscriptions == 0


def test_unsubscribe_after(router: Router) -> None:
    """A number counts from the beginning; a later word takes its place."""
    ann, ear, ended = _client(router), Ear(), []
    wish = ann.subscribe(b"a", ear, ended=ended.append)
    ann.publish(b"a", b"1")
    ann.unsubscribe(wish, after=2)
    ann.unsubscribe(wish, after=3)
    for payload in (b"2", b"3", b"4"):
        ann.publish(b"a", payload)
    assert ear.payloads() == [b"1", b"2", b"3"]
    assert ended == [wish]


def test_what_has_ended_by_itself_is_forgotten(router: Router) -> None:
    """A client that makes one short subscription after the other does not collect the dead ones."""
    ann = _client(router)
    for _ in range(3):
        ann.unsubscribe(ann.subscribe(b"a", Ear()), after=1)
        ann.publish(b"a", b"")
    assert router.subscriptions == 0
    assert not ann.subscriptions


def test_leave(router: Router) -> None:
    """All subscriptions end, those of others do not; leaving twice does nothing."""
    ann, bob, ear, other = _client(router), _client(router), Ear(), Ear()
    for pattern in (b"a", b"*", b">"):
        ann.subscribe(pattern, ear)
    bob.subscribe(b"a", other)
    ann.leave()
    ann.leave()
    bob.publish(b"a", b"x")
    assert ear.heard == []
    assert other.payloads() == [b"x"]
    assert router.subscriptions == 1


def test_taking_over(router: Router) -> None:
    """A connection that logs in anew keeps its subscriptions, and is deaf to itself where it was so before."""
    former, ear, deaf = _client(router), Ear(), Ear()
    wishes: list[Subscription] = [former.subscribe(b"a", ear), former.subscribe(b"a", deaf, echo=False)]
    ann = _client(router)
    ann.take_over(former)
    former.leave()
    ann.publish(b"a", b"mine")
    _client(router).publish(b"a", b"another's")
    assert ear.payloads() == [b"mine", b"another's"]
    assert deaf.payloads() == [b"another's"]
    assert [w.owner for w in wishes] == [ann, ann]
    ann.leave()
    assert router.subscriptions == 0


def test_nothing_is_taken_over_into_another_tenant(router: Router) -> None:
    """What was subscribed to in one tenant's topics stays there, and goes with whom it belongs to."""
    former, ear = _client(router), Ear()
    former.subscribe(b"a", ear)
    elsewhere = Router()
    ann = _client(elsewhere)
    ann.take_over(former)
    former.leave()
    ann.publish(b"a", b"x")
    ann.leave()
    assert ear.heard == []
    assert router.subscriptions == elsewhere.subscriptions == 0


def test_publishing_is_a_turn(router: Router) -> None:
    """A publish from outside makes a turn of its own, one from inside is a part of the turn that is."""
    ann, depths = _client(router), []
    ann.subscribe(b"a", lambda _: depths.append(ann.turn.depth))
    ann.publish(b"a", b"")
    with ann.turn:
        ann.publish(b"a", b"")
    assert depths == [1, 2]
    assert ann.turn.depth == 0


# -- other rights -----------------------------------------------------------------------------------------------------


def _may(publish: tuple[bytes, ...] = (b">",), subscribe: tuple[bytes, ...] = (b">",), *deny: bytes) -> Grants:
    return Grants({PUBLISH: Access(patterns(publish)), SUBSCRIBE: Access(patterns(subscribe), patterns(deny))})


def test_becoming_less(router: Router) -> None:
    """What may no longer be held ends, and is told once; what may goes on; publishing is asked for anew."""
    ann, bob, ear, lost = _client(router), _client(router), Ear(), []
    ann.lost = lost.append
    kept = [ann.subscribe(b"a.*", ear), ann.subscribe(b"a.b", ear), ann.subscribe(b"a.b", ear, queue=b"q")]
    gone = [ann.subscribe(p, ear, queue=q) for p, q in ((b">", b""), (b"b", b""), (b"b", b"q"), (b"*.b", b"q"))]
    for _ in range(3):  # so that the routes are known by heart
        ann.publish(b"a.b", b"")
        ann.publish(b"b", b"")
    ann.become(User(b"ann", "test", _may((b"a.>",), (b"a.>",))))
    assert lost == gone
    assert list(ann.subscriptions) == kept
    with pytest.raises(NotAllowed):
        ann.publish(b"b", b"")
    ear.heard.clear()
    bob.publish(b"b", b"no")
    bob.publish(b"a.b", b"yes")
    assert ear.payloads() == [b"yes"] * 3


def test_becoming_more(router: Router) -> None:
    """What is newly allowed works at once, and what is no longer denied arrives where it was left out."""
    ann, bob, ear = _client(router, _may((b"a",), (b">",), b"secret")), _client(router), Ear()
    ann.subscribe(b">", ear)
    for _ in range(3):
        bob.publish(b"secret", b"no")
    ann.become(User(b"ann", "test", ALL))
    bob.publish(b"secret", b"yes")
    ann.publish(b"b", b"mine")
    assert ear.payloads() == [b"yes", b"mine"]
    ann.become(User(b"ann", "test", _may((b"a",), (b">",), b"secret")))
    bob.publish(b"secret", b"no")
    assert ear.payloads() == [b"yes", b"mine"]


def test_becoming_keeps_echo_and_number(router: Router) -> None:
    """A subscription that stays is as deaf to its own client, and ends after as many messages, as before."""
    ann, bob, deaf, few = _client(router), _client(router), Ear(), Ear()
    ann.subscribe(b"a.*", deaf, echo=False)
    ann.unsubscribe(ann.subscribe(b"a.b", few), after=2)
    ann.become(User(b"ann", "test", _may((b">",), (b"a.>",), b"a.x")))
    ann.publish(b"a.b", b"1")
    bob.publish(b"a.x", b"no")
    for payload in (b"2", b"3"):
        bob.publish(b"a.b", payload)
    assert (deaf.payloads(), few.payloads()) == ([b"2", b"3"], [b"1", b"2"])


def test_becoming_the_same_costs_no_routes(router: Router) -> None:
    """Where no filter changes, what the router has worked out stays."""
    ann = _client(router)
    ann.subscribe(b"a.*", Ear())
    generation = router.generation
    ann.become(User(b"ann", "test", ALL, owner="another"))
    assert router.generation == generation


def test_literal_names_stay_literal(router: Router) -> None:
    """A subscription to a channel called * is held by a literal grant, and by no other."""
    ann = _client(router, Grants({SUBSCRIBE: Access(literal([b"*"]))}))
    ann.subscribe(b"*", Ear(), literal=True)
    ann.become(User(b"ann", "test", Grants({SUBSCRIBE: Access(literal([b"*", b"b"]))})))
    assert len(ann.subscriptions) == 1
    ann.become(User(b"ann", "test", Grants({SUBSCRIBE: Access(literal([b"b"]))})))
    assert not ann.subscriptions


def test_taking_over_what_may_not_be_held(router: Router) -> None:
    """Who logs in anew as another user loses what that one may not have, and hears what it may not hear no more."""
    former, ear = _client(router), Ear()
    wishes = [former.subscribe(b">", ear), former.subscribe(b"b", ear)]
    bob = Client(User(b"bob", "test", _may((), (b">",), b"b")), router, Turn())
    lost: list[Subscription] = []
    bob.lost = lost.append
    bob.take_over(former)
    former.leave()
    ann = _client(router)
    for topic in (b"a", b"b"):
        ann.publish(topic, topic)
    assert ear.payloads() == [b"a"]
    assert lost == wishes[1:]


def test_what_is_another_tenants_is_lost(router: Router) -> None:
    """Whoever keeps a list of subscriptions is told of those that cannot be taken over."""
    former = _client(router)
    wish = former.subscribe(b"a", Ear())
    ann, lost = _client(Router()), []
    ann.lost = lost.append
    ann.take_over(former)
    assert lost == [wish]
    assert router.subscriptions == 0


def test_logging_in_anew_pays_no_debts(router: Router) -> None:
    """What was published too fast is owed still by the same connection, under whatever name; and by new rights."""
    slow = User(b"ann", "test", ALL, allowance=Allowance(rate=10))
    former = Client(slow, router, Turn())
    former.send(Spoken([Message(b"a", b"")] * 30))
    ann = Client(slow, router, Turn())
    ann.take_over(former)
    assert ann.meter is not None
    assert ann.meter.wait(100.0) == pytest.approx(2.0)
    ann.become(User(b"ann", "test", ALL, allowance=Allowance(rate=20)))
    assert ann.meter.wait(100.5) == pytest.approx(1.5)
    ann.become(User(b"ann", "test", ALL))
    assert ann.meter is None


def test_so_many_subscriptions(router: Router) -> None:
    """One more than the user may have is refused until one has ended."""
    ann = Client(User(b"ann", "test", ALL, allowance=Allowance(subscriptions=2)), router, Turn())
    wish = ann.subscribe(b"a", Ear())
    ann.subscribe(b"b", Ear())
    assert ann.full
    with pytest.raises(NotAllowed, match="2 subscriptions"):
        ann.subscribe(b"c", Ear())
    ann.unsubscribe(wish)
    ann.subscribe(b"c", Ear())


def test_leaving_is_told_once(router: Router) -> None:
    """However often a client leaves."""
    ann, told = _client(router), []
    ann.left = told.append
    ann.leave()
    ann.leave()
    assert told == [ann]
