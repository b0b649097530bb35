"""What a logged-in party can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

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
