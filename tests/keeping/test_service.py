"""What is kept of what the protocols bring, under which name, and what requests produce."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from brokerkit.allowance import Allowance
from brokerkit.client import Client, User
from brokerkit.errors import NotAllowed, OverAllowance
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, patterns
from brokerkit.keep import Keep
from brokerkit.keeping.service import TooFast
from brokerkit.log.words import Idempotency, NoRoom, Producer, Record, Stored, Topic, UnknownTopic, Write
from brokerkit.tenant import ALL_OF_IT, STREAM, Destination, Export, Import, Mapping, Tenant
from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from brokerkit.log.words import Placed

ALL_KEPT = ({"topics": ">"},)


def _records(memory: MemoryBroker, topic: bytes, tenant: str = "", partition: int = 0) -> list[Stored]:
    """Give all that is kept of a topic."""
    memory.advance()
    first, following = memory.broker.log.span(topic, partition, tenant)
    found: list[Stored] = []
    while first + len(found) < following:
        some: Any = memory.broker.log.fetch(topic, partition, first + len(found), tenant=tenant)
        found += _now(some).records
    return found


def _now(answer: Deferred[Any]) -> Any:
    """Give the result of what is done already; raise what it failed with."""
    results: list[Any] = []
    answer.addBoth(results.append)
    assert results, "nothing has come of it yet"
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


def _values(memory: MemoryBroker, topic: bytes, tenant: str = "") -> list[bytes | None]:
    return [record.value for record in _records(memory, topic, tenant)]


def _topics(memory: MemoryBroker, tenant: str = "") -> set[bytes]:
    memory.advance()
    return set(memory.broker.log.topics(tenant))


def _produce(memory: MemoryBroker, client: Client, topic: bytes, record: Record, **more: Any) -> list[Placed]:
    write = Write(client.user.tenant, topic, None, record)
    answer = memory.broker.keeping.produce(client, [write], **more)
    memory.advance()
    placed: list[Placed] = _now(answer)
    return placed


def _produce_often(memory: MemoryBroker, client: Client) -> None:
    for _ in range(5):
        _produce(memory, client, b"t", Record(b"1"))


def _client(memory: MemoryBroker, grants: Grants = ALL, tenant: str = "", allowance: Allowance | None = None) -> Client:
    user = User(b"eve", "test", grants, tenant=tenant, allowance=allowance or Allowance())
    return Client(user, memory.broker.realm.router(tenant), memory.broker.turn)


class FromTheProtocols(SynchronousTestCase):
    """Messages that the router brings."""

    def test_every_protocol(self) -> None:
        """What is published to a kept topic is kept in its order, with who said it; the rest is not."""
        memory = MemoryBroker(keep=[{"topics": ["a.>", "b"]}])
        clients = [memory.client("nats", "ann"), memory.client("hpfeeds", "bob")]
        for i, client in enumerate(clients * 2):
            for topic in (b"a.x", b"b", b"c"):
                client.publish(topic, b"%d" % i)
        memory.local("eve").publish(b"b", b"4")
        assert [(r.offset, r.value, r.sender) for r in _records(memory, b"b")] == [
            (0, b"0", b"ann"),
            (1, b"1", b"bob"),
            (2, b"2", b"ann"),
            (3, b"3", b"bob"),
            (4, b"4", b"eve"),
        ]
        assert _topics(memory) == {b"a.x", b"b"}

    def test_one_sequence(self) -> None:
        """The topics of a rule share one sequence, in the order in which one client said it."""
        memory = MemoryBroker(keep=[{"topics": "a.*"}])
        ann = memory.client("nats")
        ann.peer.send(b"".join(b"PUB a.%d 1\r\n%d\r\n" % (i % 3, i) for i in range(9)))
        found = [record for topic in (b"a.0", b"a.1", b"a.2") for record in _records(memory, topic)]
        assert [r.value for r in sorted(found, key=lambda r: r.sequence)] == [b"%d" % i for i in range(9)]
        assert {r.sequence for r in found} == set(range(1, 10))

    def test_headers_and_replies(self) -> None:
        """Headers are kept as pairs, with those that come twice, and where the answer was to go."""
        memory = MemoryBroker(keep=ALL_KEPT)
        block = b"NATS/1.0\r\na: 1\r\nb: 2\r\na: 3\r\n\r\n"
        said = b"HPUB t re.ply %d %d\r\n%bpayload\r\nPUB t r2 1\r\nx\r\nPUB t 1\r\ny\r\n"
        memory.client("nats").peer.send(said % (len(block), len(block) + 7, block))
        one, two, three = _records(memory, b"t")
        assert (one.value, one.reply) == (b"payload", b"re.ply")
        assert one.headers == ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))
        assert [(r.value, r.reply, r.headers) for r in (two, three)] == [(b"x", b"r2", ()), (b"y", b"", ())]

    def test_nobody_hears_it(self) -> None:
        """Being kept is no answer to a request: whoever asked for 503 gets it, and the request is kept."""
        memory = MemoryBroker(keep=ALL_KEPT)
        peer = memory.client("nats").peer
        peer.send(b'CONNECT {"headers":true,"no_responders":true,"user":"ann","pass":"ann\'s secret"}\r\n')
        peer.send(b"SUB _INBOX.> 1\r\n")
        peer.take()
        peer.send(b"PUB ask _INBOX.1 2\r\nhi\r\n")
        assert b"NATS/1.0 503" in peer.take()
        assert _values(memory, b"ask") == [b"hi"]

    def test_answers_are_not_kept(self) -> None:
        """Answers to requests and topics that begin with a dollar are kept only where they are named."""
        memory = MemoryBroker(keep=[{"topics": [">", "$NAMED.>"]}])
        ann = memory.client("nats")
        for topic in (b"_INBOX.x", b"$NAMED.x", b"$OTHER.x", b"t"):
            ann.publish(topic, b"")
        assert _topics(memory) == {b"t", b"$NAMED.x"}

    def test_a_prefix(self) -> None:
        """A listener's prefix is a part of the topic, and does not make its inboxes something else."""
        memory = MemoryBroker(keep=ALL_KEPT, settings={"nats": {"topic_prefix": "site"}})
        memory.client("nats").publish(b"t", b"1")
        memory.client("nats").publish(b"_INBOX.x", b"2")
        assert _topics(memory) == {b"site.t"}

    def test_two_rules(self) -> None:
        """What two patterns name is kept once, by the first."""
        memory = MemoryBroker(keep=[{"topics": ["a.b", "a.*"], "stream": "one"}, {"topics": "a.>", "stream": "two"}])
        ann = memory.client("nats")
        for topic in (b"a.b", b"a.c", b"a.b.c"):
            ann.publish(topic, b"x")
        assert [_values(memory, topic) for topic in (b"a.b", b"a.c", b"a.b.c")] == [[b"x"]] * 3
        streams = {name: topic.stream for name, topic in memory.broker.log.topics().items()}
        assert streams == {b"a.b": "one", b"a.c": "one", b"a.b.c": "two"}

    def test_odd_channels(self) -> None:
        """A channel of hpfeeds with blanks, or one that looks like a pattern, is a topic with that name."""
        memory = MemoryBroker(keep=[{"topics": "a.>"}])
        bob = memory.client("hpfeeds", "bob")
        for channel in (b"a.b c", b"a.>", b"a.\xff"):
            bob.publish(channel, channel)
        assert {topic: _values(memory, topic) for topic in _topics(memory)} == {
            b"a.b c": [b"a.b c"],
            b"a.>": [b"a.>"],
            b"a.\xff": [b"a.\xff"],
        }

    def test_partitions(self) -> None:
        """Messages without a key go to their sender's partition, in order."""
        memory = MemoryBroker(keep=[{"topics": "t", "partitions": 16}], users={f"u{i}": "s" for i in range(8)})
        for turn in range(3):
            for i in range(8):
                memory.client("nats", f"u{i}").publish(b"t", b"%d" % turn)
        found = [_records(memory, b"t", partition=p) for p in range(16)]
        assert sum(map(len, found)) == 24
        for i in range(8):
            own = [[r.value for r in some if r.sender == b"u%d" % i] for some in found]
            assert [some for some in own if some] == [[b"0", b"1", b"2"]]
        assert sum(bool(some) for some in found) > 1

    def test_max_topics(self) -> None:
        """A rule makes as many topics as it may; what comes on others is counted, and said in the log once."""
        memory = MemoryBroker(keep=[{"topics": "a.*", "max_topics": 2}, {"topics": "b.*"}])
        ann = memory.client("nats")
        for i in range(5):
            ann.publish(b"a.%d" % i, b"x")
            ann.publish(b"b.%d" % i, b"x")
        ann.publish(b"a.0", b"y")
        assert _topics(memory) == {b"a.0", b"a.1", *(b"b.%d" % i for i in range(5))}
        assert memory.broker.keeping.intake.missed["topics"] == 3
        assert _values(memory, b"a.0") == [b"x", b"y"]
        _now(memory.broker.log.delete(b"a.0"))
        ann.publish(b"a.4", b"now there is room")
        assert _values(memory, b"a.4") == [b"now there is room"]

    def test_one_run(self) -> None:
        """The first messages on many topics, said in one go, are all kept."""
        memory = MemoryBroker(keep=[{"topics": "a.*"}])
        memory.client("nats").peer.send(b"".join(b"PUB a.%d 1\r\nx\r\n" % i for i in [*range(40), *range(40)]))
        assert all(_values(memory, b"a.%d" % i) == [b"x", b"x"] for i in range(40))


class Tenants(SynchronousTestCase):
    """Names across tenants and mappings, and what the broker says itself."""

    def test_a_rule_is_one_tenants(self) -> None:
        """What another tenant says on the same topic is not kept."""
        memory = MemoryBroker(keep=[{"topics": "t", "tenant": "blue"}])
        _client(memory, tenant="").publish(b"t", b"no")
        _client(memory, tenant="blue").publish(b"t", b"yes")
        assert _values(memory, b"t", "blue") == [b"yes"]
        assert _topics(memory) == set()

    def test_an_import(self) -> None:
        """What comes from another tenant is kept under the name that it has here, and there under its own."""
        memory = MemoryBroker(keep=[{"topics": "from.>", "tenant": "red"}, {"topics": "x.>", "tenant": "blue"}])
        memory.broker.tenants.put_all(
            [
                Tenant("blue", exports=(Export(STREAM, b"x.>"),)),
                Tenant("red", imports=(Import(STREAM, "blue", b"x.>", prefix=b"from"),)),
            ]
        )
        client = _client(memory, tenant="blue")
        client.publish(b"x.y", b"1")
        record = Record(b"2", b"key", ((b"h", None),), 77)
        _produce(memory, client, b"x.y", record)
        assert [(r.value, r.key, r.sender) for r in _records(memory, b"x.y", "blue")] == [
            (b"1", None, b"eve"),
            (b"2", b"key", b"eve"),
        ]
        one, two = _records(memory, b"from.x.y", "red")
        assert (one.value, one.sender) == (b"1", b"eve")
        assert (two.value, two.key, two.headers, two.timestamp) == (b"2", b"key", ((b"h", None),), 77)

    def test_a_mapping(self) -> None:
        """What a mapping leads elsewhere is kept there, by whatever way it comes, and delivered there."""
        memory = MemoryBroker(keep=[{"topics": ["old", "new"]}])
        memory.broker.tenants.put(Tenant("", mappings=(Mapping(b"old", (Destination(b"new", ALL_OF_IT),)),)))
        ann, bob = memory.client("nats"), memory.client("hpfeeds", "bob")
        bob.subscribe(b"new")
        ann.publish(b"old", b"1")
        placed = _produce(memory, _client(memory), b"old", Record(b"2"))
        assert [one.topic for one in placed] == [b"new"]
        assert _values(memory, b"new") == [b"1", b"2"]
        assert [message.payload for message in bob.messages()] == [b"1", b"2"]
        assert _topics(memory) == {b"new"}

    def test_the_registry(self) -> None:
        """Changes of the registry can be kept, though nobody else listens."""
        memory = MemoryBroker(keep=[{"topics": "registry.>"}])
        from brokerkit.registry.words import Put

        memory.broker.registry.write([Put("web-1", {"a": 1})], "", "")
        (record,) = _records(memory, b"registry.web-1")
        assert b'"web-1"' in (record.value or b"")
        assert record.sender == b"registry"


class Topics(SynchronousTestCase):
    """Topics that are made without a rule, and rules that change."""

    def test_made_by_request(self) -> None:
        """A topic that somebody makes is kept from then on, also after rules have changed, until it is deleted."""
        memory = MemoryBroker(keep=[{"topics": "other"}])
        ann = memory.client("nats")
        ann.publish(b"t", b"before")
        _now(memory.broker.log.create(Topic("", b"t")))
        ann.publish(b"t", b"1")
        memory.broker.keeping.take([])
        ann.publish(b"t", b"2")
        assert _values(memory, b"t") == [b"1", b"2"]
        _now(memory.broker.log.delete(b"t"))
        ann.publish(b"t", b"after")
        assert _topics(memory) == set()

    def test_a_literal_name(self) -> None:
        """A topic that looks like a pattern, made by request, keeps what is published to it and nothing else."""
        memory = MemoryBroker(keep=[{"topics": "other"}])
        _now(memory.broker.log.create(Topic("", b"a.*")))
        bob = memory.client("hpfeeds", "bob")
        bob.publish(b"a.b", b"no")
        bob.publish(b"a.*", b"yes")
        assert _values(memory, b"a.*") == [b"yes"]

    def test_other_rules(self) -> None:
        """New rules count from the next message on; what was made by a former one stays, and is kept."""
        memory = MemoryBroker(keep=[{"topics": "a.*"}])
        ann = memory.client("nats")
        ann.publish(b"a.1", b"1")
        memory.broker.keeping.take([Keep(topics=("b.*",), stream="b")])
        for topic in (b"a.1", b"a.2", b"b.1"):
            ann.publish(topic, b"2")
        assert _topics(memory) == {b"a.1", b"b.1"}
        assert _values(memory, b"a.1") == [b"1", b"2"]

    def test_other_settings(self) -> None:
        """A rule that says something else changes the topics that it has made; partitions are never taken away."""
        memory = MemoryBroker(keep=[{"topics": "a.*", "partitions": 2}])
        memory.client("nats").publish(b"a.1", b"1")
        memory.advance()
        memory.broker.keeping.take([Keep(topics=("a.*",), stream="a", partitions=1, retention_messages=7)])
        memory.advance()
        topic = memory.broker.log.topic(b"a.1")
        assert (topic.partitions, topic.settings.retention_messages) == (2, 7)
        memory.broker.keeping.take([Keep(topics=("a.*",), stream="a", partitions=3)])
        memory.advance()
        assert memory.broker.log.topic(b"a.1").partitions == 3

    def test_deleted_while_the_rule_is_there(self) -> None:
        """A topic that a rule names is made again with the next message, from offset 0 on."""
        memory = MemoryBroker(keep=[{"topics": "a"}])
        ann = memory.client("nats")
        ann.publish(b"a", b"1")
        memory.advance()
        _now(memory.broker.log.delete(b"a"))
        ann.publish(b"a", b"2")
        assert [(r.offset, r.value) for r in _records(memory, b"a")] == [(0, b"2")]

    def test_no_room_for_a_topic(self) -> None:
        """Where a topic cannot be made the messages are counted as missing, nothing waits, and it is tried again."""
        memory = MemoryBroker(keep=[{"topics": "a.*"}])
        keeping, ann = memory.broker.keeping, memory.client("nats")
        create = keeping.log.create
        keeping.log.create = lambda _: Deferred.fromCoroutine(_full())  # type: ignore[method-assign]
        ann.publish(b"a.1", b"1")
        memory.advance()
        assert keeping.intake.missed["failed"] == 1
        assert keeping.intake.pending == 0
        keeping.log.create = create  # type: ignore[method-assign]
        ann.publish(b"a.1", b"2")
        assert _values(memory, b"a.1") == [b"2"]
        assert len(self.flushLoggedErrors()) == 0


async def _full() -> Topic:
    raise NoRoom("there is no room")


class Requests(SynchronousTestCase):
    """Producing, with an answer."""

    def test_live(self) -> None:
        """What is produced reaches subscribers of every protocol at once, with headers where there are such."""
        memory = MemoryBroker(keep=ALL_KEPT)
        ann, bob = memory.client("nats"), memory.client("hpfeeds", "bob")
        ann.subscribe(b"t")
        bob.subscribe(b"t")
        record = Record(b"value", b"key", ((b"h", b"1"), (b"n", None)), 5, b"somebody else")
        (placed,) = _produce(memory, _client(memory), b"t", record)
        assert (placed.partition, placed.offset, placed.timestamp, placed.duplicate) == (0, 0, 5, False)
        (message,) = ann.messages()
        assert (message.payload, message.headers) == (b"value", b"NATS/1.0\r\nh: 1\r\nn: \r\n\r\n")
        assert [(m.payload, m.headers) for m in bob.messages()] == [(b"value", b"")]
        (stored,) = _records(memory, b"t")
        assert stored[1:] == (5, "create", b"key", b"value", ((b"h", b"1"), (b"n", None)), b"eve", 1, b"", 0)

    def test_not_live(self) -> None:
        """If that is not wanted, nobody hears of it; it is kept all the same."""
        memory = MemoryBroker(keep=ALL_KEPT)
        ann = memory.client("nats")
        ann.subscribe(b"t")
        _produce(memory, _client(memory), b"t", Record(None, b"key"), live=False)
        assert ann.messages() == []
        assert _values(memory, b"t") == [None]

    def test_null(self) -> None:
        """A null value is kept as null, and is an empty message to those who listen."""
        memory = MemoryBroker(keep=ALL_KEPT)
        ann = memory.client("nats")
        ann.subscribe(b"t")
        _produce(memory, _client(memory), b"t", Record(None, b"key"))
        assert [message.payload for message in ann.messages()] == [b""]
        assert _values(memory, b"t") == [None]

    def test_between_the_others(self) -> None:
        """What is produced stands in the log where it stands for those who listen."""
        memory = MemoryBroker(keep=ALL_KEPT)
        ann, bob = memory.client("nats"), memory.client("hpfeeds", "bob")
        bob.subscribe(b"t")
        for i in range(6):
            if i % 2:
                ann.publish(b"t", b"%d" % i)
            else:
                _produce(memory, _client(memory), b"t", Record(b"%d" % i))
        wanted = [b"%d" % i for i in range(6)]
        assert _values(memory, b"t") == wanted
        assert [message.payload for message in bob.messages()] == wanted

    def test_several(self) -> None:
        """Several records to several topics are kept together, or none of them is, and nobody hears any."""
        memory = MemoryBroker(keep=[{"topics": "a.*"}])
        ann = memory.client("nats")
        ann.subscribe(b">")
        client = _client(memory)
        writes = [Write("", topic, None, Record(topic)) for topic in (b"a.1", b"a.2", b"a.1")]
        placed = _now(memory.broker.keeping.produce(client, writes))
        assert [(one.topic, one.offset) for one in placed] == [(b"a.1", 0), (b"a.2", 0), (b"a.1", 1)]
        assert [message.topic for message in ann.messages()] == [b"a.1", b"a.2", b"a.1"]
        with pytest.raises(UnknownTopic):
            _now(memory.broker.keeping.produce(client, [*writes, Write("", b"b", None, Record(b""))]))
        assert len(_records(memory, b"a.1")) == 2
        assert ann.messages() == []

    def test_unknown(self) -> None:
        """A produce makes no topic that no rule names, and no more than a rule may have."""
        memory = MemoryBroker(keep=[{"topics": "a.*", "max_topics": 1}])
        client = _client(memory)
        _produce(memory, client, b"a.1", Record(b""))
        for topic in (b"b", b"a.2", b"_INBOX.x", b""):
            with pytest.raises(UnknownTopic):
                _produce(memory, client, topic, Record(b""))
        assert _topics(memory) == {b"a.1"}

    def test_rights(self) -> None:
        """Who may not publish there does not produce, and makes no topic; another tenant's is nobody's."""
        memory = MemoryBroker(keep=[{"topics": "a.*"}, {"topics": "a.*", "tenant": "blue"}])
        client = _client(memory, Grants({PUBLISH: Access(patterns([b"a.1"])), SUBSCRIBE: Access(patterns([b">"]))}))
        _produce(memory, client, b"a.1", Record(b""))
        with pytest.raises(NotAllowed, match=r"eve may not publish to a\.2"):
            _produce(memory, client, b"a.2", Record(b""))
        with pytest.raises(NotAllowed, match="of another tenant"):
            _now(memory.broker.keeping.produce(client, [Write("blue", b"a.1", None, Record(b""))]))
        assert (_topics(memory), _topics(memory, "blue")) == ({b"a.1"}, set())

    def test_reserved(self) -> None:
        """Where only the broker publishes nobody produces, whatever the grants."""
        memory = MemoryBroker(keep=ALL_KEPT)
        assert memory.broker.registry is not None
        with pytest.raises(NotAllowed):
            _produce(memory, _client(memory), b"registry.x", Record(b""))

    def test_once(self) -> None:
        """What is repeated is neither kept nor heard a second time, and gets the first answer."""
        memory = MemoryBroker(keep=ALL_KEPT)
        ann, client = memory.client("nats"), _client(memory)
        ann.subscribe(b"t")
        for producer in (Idempotency(b"k", b"digest"), Producer(b"p", 0, 0)):
            first = _produce(memory, client, b"t", Record(b"x"), producer=producer)
            again = _produce(memory, client, b"t", Record(b"x"), producer=producer)
            assert [one.offset for one in first] == [one.offset for one in again]
            assert [one.duplicate for one in (*first, *again)] == [False, True]
        assert len(_records(memory, b"t")) == len(ann.messages()) == 2

    def test_an_allowance(self) -> None:
        """A payload that is larger than the user's may be is refused; so is who is too fast, for a while."""
        memory = MemoryBroker(keep=ALL_KEPT)
        client = _client(memory, allowance=Allowance(payload=3, rate=2.0))
        with pytest.raises(OverAllowance):
            _produce(memory, client, b"t", Record(b"1234"))
        with pytest.raises(TooFast, match="publishes too fast") as caught:
            _produce_often(memory, client)
        assert 0 < caught.value.retry_after < 5
        memory.advance(10)
        _produce(memory, client, b"t", Record(b"1"))

    def test_a_failure_is_told(self) -> None:
        """If the disk fails the request is answered as failed."""
        memory = MemoryBroker(keep=ALL_KEPT)
        client = _client(memory)
        _produce(memory, client, b"t", Record(b"1"))
        store: Any = memory.broker.log.writing._store

        def full(_: object) -> None:
            raise NoRoom("the disk is full")

        self.patch(store, "commit", full)
        with pytest.raises(NoRoom):
            _produce(memory, client, b"t", Record(b"2"))
        self.flushLoggedErrors()
