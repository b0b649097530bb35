"""Tenants: spaces of topics, and what they take from each other while the broker runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit import exchange, topics
from brokerkit.checkers.entry import read_all
from brokerkit.checkers.listed import ListedUsers
from brokerkit.errors import LoginFailed
from brokerkit.mapping import BadMapping
from brokerkit.tenant import Destination, Export, Import, Mapping, Tenant
from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.broker import Broker
    from brokerkit.client import Client
    from brokerkit.run import Batch, Message
    from brokerkit.subscription import Subscription
    from brokerkit.tenants import Tenants
    from brokerkit.testing import Peer

ALL = {"publish": [">"], "subscribe": [">"]}
SENSORS = Tenant("sensors", exports=(Export("stream", b"pub.>"), Export("service", b"svc.*")))
READERS = Tenant(
    "readers",
    imports=(Import("stream", "sensors", b"pub.>", prefix=b"far"), Import("service", "sensors", b"svc.*", to=b"ask.*")),
)


def user(name: str, tenant: str, **more: Any) -> dict[str, Any]:
    """Give a user as a table says it."""
    return {"name": name, "secret": "pw", "tenant": tenant, **ALL, **more}


def broker(*tenants: Tenant, users: list[dict[str, Any]] | None = None, **more: Any) -> MemoryBroker:
    """Give a broker with these tenants, and users in them."""
    listed = users if users is not None else [user("ann", "sensors"), user("bob", "readers")]
    memory = MemoryBroker(users={}, sources=[ListedUsers(read_all(listed, "test"), "test")], **more)
    memory.broker.tenants.put_all(tenants)
    return memory


def nats(memory: MemoryBroker, name: str, *said: str) -> Peer:
    """Log in by NATS and say lines."""
    peer = memory.connect("nats")
    options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 0}
    peer.send(f"CONNECT {json.dumps({**options, 'user': name, 'pass': 'pw'})}\r\n".encode())
    peer.take()
    return say(peer, *said)


def say(peer: Peer, *said: str) -> Peer:
    """Say lines."""
    peer.send("".join(f"{line}\r\n" for line in said).encode())
    return peer


class Heard:
    """A subscriber within the program."""

    def __init__(self, client: Client, pattern: bytes, **more: Any) -> None:
        """Subscribe."""
        self.messages: list[Message] = []
        self.client = client
        self.subscription: Subscription = client.subscribe(pattern, self._receive, **more)

    def _receive(self, batch: Batch) -> None:
        self.messages.extend(batch)
        assert {message.topic for message in batch} == {batch.topic}

    def take(self) -> list[tuple[bytes, bytes]]:
        """Give topics and payloads of what has come."""
        taken, self.messages = self.messages, []
        return [(message.topic, message.payload) for message in taken]


def hear(memory: MemoryBroker, tenant: str, pattern: bytes = b">", **more: Any) -> Heard:
    """Subscribe within the program."""
    return Heard(memory.broker.client(tenant=tenant), pattern, **more)


def serving(broker: Broker) -> dict[str, int]:
    """Give the subscriptions of each tenant."""
    return {name: router.subscriptions - router.serving for name, router in broker.realm.routers.items()}


# -- apart ------------------------------------------------------------------------------------------------------------


def test_tenants_do_not_hear_each_other() -> None:
    """The same topic is another one in each tenant, whatever the protocol."""
    memory = broker()
    there, here, nowhere = hear(memory, "sensors"), hear(memory, "readers"), hear(memory, "")
    say(nats(memory, "ann"), "PUB a.b 1", "x")
    assert there.take() == [(b"a.b", b"x")]
    assert here.take() == nowhere.take() == []


def test_what_is_said_of_a_tenant() -> None:
    """What was put is given again, also by iteration; to drop it forgets it."""
    memory = broker(SENSORS, READERS)
    tenants = memory.broker.tenants
    assert list(tenants) == ["sensors", "readers"]
    assert tenants.get("sensors") is SENSORS
    assert "readers" in tenants
    tenants.drop("readers")
    tenants.drop("readers")
    assert tenants.get("readers") is None
    assert len(tenants) == 1


def test_a_tenant_that_is_written_wrongly_changes_nothing() -> None:
    """Where a mapping or an import cannot be meant, the tenant stays as it was."""
    memory = broker(SENSORS, READERS)
    for wrong in (
        attrs.evolve(READERS, mappings=(Mapping(b"a.*", (Destination(b"b.$2"),)),), imports=()),
        attrs.evolve(READERS, imports=(Import("stream", "sensors", b"pub.*.*", to=b"x.$1"),)),
    ):
        with pytest.raises(BadMapping):
            memory.broker.tenants.put(wrong)
    here = hear(memory, "readers")
    memory.broker.client(tenant="sensors").publish(b"pub.x", b"1")
    assert here.take() == [(b"far.pub.x", b"1")]


# -- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["subscriber", "tenants"])
def test_an_import_begins_when_it_can(first: str) -> None:
    """It does not matter who is first: the subscriber, the importer or the exporter."""
    memory = broker(*(() if first == "subscriber" else (READERS, SENSORS)))
    here = hear(memory, "readers", b"far.pub.*")
    publisher = memory.broker.client(tenant="sensors")
    publisher.publish(b"pub.x", b"0")
    memory.broker.tenants.put(READERS)
    publisher.publish(b"pub.x", b"1")
    memory.broker.tenants.put(SENSORS)
    memory.broker.tenants.put(SENSORS)
    publisher.publish(b"pub.x", b"2")
    expected = [(b"far.pub.x", b"2")]
    assert here.take() == (expected if first == "subscriber" else [(b"far.pub.x", b"%d" % i) for i in range(3)])


def test_an_import_ends() -> None:
    """When the import is taken back, the export, or the whole tenant, nothing more comes, and nothing stays behind."""
    without = attrs.evolve(SENSORS, exports=())
    ends: list[Callable[[Tenants], None]] = [
        lambda tenants: tenants.put(Tenant("readers")),
        lambda tenants: tenants.put(without),
        lambda tenants: tenants.drop("sensors"),
        lambda tenants: tenants.drop("readers"),
    ]
    for end in ends:
        memory = broker(SENSORS, READERS)
        here = hear(memory, "readers")
        publisher = memory.broker.client(tenant="sensors")
        publisher.publish(b"pub.x", b"1")
        publisher.publish(b"pub.x", b"2")
        end(memory.broker.tenants)
        publisher.publish(b"pub.x", b"3")
        assert [payload for _, payload in here.take()] == [b"1", b"2"]
        assert serving(memory.broker)["sensors"] == 0


def test_nothing_stays_behind() -> None:
    """Whoever unsubscribes, leaves or has had all messages is gone from the exporter, too."""
    memory = broker(SENSORS, READERS)
    one, two, three = hear(memory, "readers"), hear(memory, "readers"), hear(memory, "readers", b"far.pub.x")
    three.client.unsubscribe(three.subscription, after=2)
    assert serving(memory.broker)["sensors"] == 3
    publisher = memory.broker.client(tenant="sensors")
    for _ in range(4):
        publisher.publish(b"pub.x", b"1")
    assert len(three.take()) == 2
    one.client.unsubscribe(one.subscription)
    two.client.leave()
    assert set(serving(memory.broker).values()) == {0}
    publisher.publish(b"pub.x", b"2")
    assert len(one.take()) == len(two.take()) == 4


def test_an_import_counts_across_batches() -> None:
    """A subscription that ends after so many messages ends within a batch, too."""
    memory = broker(SENSORS, READERS)
    bob = nats(memory, "bob", "SUB far.> 1", "UNSUB 1 3")
    say(nats(memory, "ann"), *["PUB pub.x 1", "x"] * 5)
    assert bob.take().count(b"MSG far.pub.x 1 1") == 3


def test_private_exports() -> None:
    """An export to some tenants brings nothing to others."""
    private = Tenant("sensors", exports=(Export("stream", b"pub.>", ("others",)),))
    memory = broker(private, READERS)
    here = hear(memory, "readers")
    publisher = memory.broker.client(tenant="sensors")
    publisher.publish(b"pub.x", b"1")
    memory.broker.tenants.put(SENSORS)
    publisher.publish(b"pub.x", b"2")
    assert here.take() == [(b"far.pub.x", b"2")]


def test_hpfeeds_hears_across_tenants() -> None:
    """A channel has the name that the import gives it, however the message was published."""
    memory = broker(SENSORS, READERS)
    memory.users.update(ann="pw", bob="pw")
    reader = memory.client("hpfeeds", "bob")
    reader.subscribe(b"far.pub.ssh")
    memory.client("hpfeeds", "ann").publish(b"pub.ssh", b"1")
    memory.client("nats", "ann").publish(b"pub.ssh", b"2")
    assert [(m.topic, m.payload) for m in reader.messages()] == [(b"far.pub.ssh", b"1"), (b"far.pub.ssh", b"2")]


def test_denials_know_the_name_here() -> None:
    """What is denied to the reader is left out of a wider subscription, under the name that it has there."""
    memory = broker(
        SENSORS, READERS, users=[user("ann", "sensors"), user("bob", "readers", subscribe_deny=["far.pub.secret"])]
    )
    bob = nats(memory, "bob", "SUB > 1")
    say(nats(memory, "ann"), "PUB pub.open 1", "x", "PUB pub.secret 1", "x")
    assert bob.take() == b"MSG far.pub.open 1 1\r\nx\r\n"


def test_two_imports_of_one_message() -> None:
    """Imports that overlap bring it twice, each under its own name."""
    twice = Tenant(
        "readers", imports=(Import("stream", "sensors", b"pub.>"), Import("stream", "sensors", b"pub.*", to=b"q.$1"))
    )
    memory = broker(SENSORS, twice)
    here = hear(memory, "readers")
    memory.broker.client(tenant="sensors").publish(b"pub.x", b"1")
    assert sorted(here.take()) == [(b"pub.x", b"1"), (b"q.x", b"1")]


def test_streams_that_import_each_other() -> None:
    """Tenants that take everything from each other hear each other once, and no message goes round."""
    names = ("a", "b", "c")
    exports = (Export("stream", b">"),)
    memory = broker(
        *(
            Tenant(name, exports, tuple(Import("stream", other, b">") for other in names if other != name))
            for name in names
        )
    )
    heard = {name: hear(memory, name) for name in names}
    memory.broker.client(tenant="a").publish(b"x", b"1")
    assert [one.take() for one in heard.values()] == [[(b"x", b"1")]] * 3


TOKENS = st.sampled_from(["a", "b", "*"])
PATTERNS = st.tuples(st.lists(TOKENS, min_size=1, max_size=3), st.booleans()).map(
    lambda drawn: ".".join([*drawn[0], *([">"] if drawn[1] else [])]).encode()
)
TOPICS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4).map(lambda tokens: ".".join(tokens).encode())


@given(PATTERNS, PATTERNS, st.sampled_from([b"", b"p"]), st.lists(TOPICS, max_size=5), st.booleans())
def test_imports_bring_what_they_say(
    wanted: bytes, wish: bytes, prefix: bytes, published: list[bytes], subscribed_first: bool
) -> None:
    """A subscriber hears exactly what is imported and matches its pattern here."""
    source = Tenant("sensors", exports=(Export("stream", b">"),))
    importer = Tenant("readers", imports=(Import("stream", "sensors", wanted, prefix),))
    memory = broker(*(() if subscribed_first else (source, importer)))
    here = hear(memory, "readers", topics.under(prefix, wish))
    memory.broker.tenants.put_all([source, importer])
    publisher = memory.broker.client(tenant="sensors")
    for topic in published:
        publisher.publish(topic, b"")
    expected = [
        topics.under(prefix, topic)
        for topic in published
        if topics.matches(wanted, topic) and topics.matches(wish, topic)
    ]
    assert [topic for topic, _ in here.take()] == expected


# -- services ---------------------------------------------------------------------------------------------------------


def answers(memory: MemoryBroker) -> tuple[Peer, bytes]:
    """Ask as bob; give ann's connection, and the reply topic that she has seen."""
    ann = nats(memory, "ann", "SUB svc.* 1")
    bob = nats(memory, "bob", "SUB i.* 1", "PUB ask.x i.1 2", "rq")
    memory.bob = bob  # type: ignore[attr-defined]
    request = ann.take()
    assert request.startswith(b"HMSG svc.x 1 _R_.")
    return ann, request.split()[3]


def test_an_answer_comes_back_once() -> None:
    """A request and its answer cross under names that are each tenant's own; nothing stays open."""
    memory = broker(SENSORS, READERS)
    ann, reply = answers(memory)
    assert len(memory.broker.tenants.exchange) == 1
    say(ann, f"PUB {reply.decode()} 2", "ok", f"PUB {reply.decode()} 2", "no")
    assert memory.bob.take() == b"MSG i.1 1 2\r\nok\r\n"  # type: ignore[attr-defined]
    assert len(memory.broker.tenants.exchange) == 0


def test_an_answer_too_late() -> None:
    """After two minutes nobody waits any more, and nothing is kept for the request."""
    memory = broker(SENSORS, READERS)
    ann, reply = answers(memory)
    memory.advance(exchange.PATIENCE + 1)
    assert len(memory.broker.tenants.exchange) == 0
    say(ann, f"PUB {reply.decode()} 2", "ok")
    assert b"MSG i.1" not in memory.bob.take()  # type: ignore[attr-defined]


def test_open_requests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many requests without an answer the oldest gives way, which is counted."""
    monkeypatch.setattr(exchange, "OPEN", 10)
    memory = broker(SENSORS, READERS)
    there, here = hear(memory, "sensors", b"svc.*"), hear(memory, "readers", b"i.*")
    for i in range(15):
        here.client.publish(b"ask.x", b"%d" % i, reply=b"i.%d" % i)
    assert len(memory.broker.tenants.exchange) == 10
    assert memory.broker.tenants.exchange.dropped == 5
    responder = memory.broker.client(tenant="sensors")
    for message in there.messages:
        responder.publish(message.reply, message.payload)
    assert here.take() == [(b"i.%d" % i, b"%d" % i) for i in range(5, 15)]


def test_nobody_waits_for_who_is_not_asked() -> None:
    """A request that nobody hears leaves nothing behind."""
    memory = broker(SENSORS, READERS)
    bob = nats(memory, "bob", "SUB i.* 1", "PUB ask.x i.1 2", "rq")
    assert b"NATS/1.0 503\r\nNats-Subject: ask.x\r\n" in bob.take()
    assert len(memory.broker.tenants.exchange) == 0


def test_many_requests_at_once() -> None:
    """Each request of a chunk has a reply topic of its own; one member of a queue serves each."""
    memory = broker(SENSORS, READERS)
    servers = [hear(memory, "sensors", b"svc.*", queue=b"q") for _ in range(2)]
    here = hear(memory, "readers", b"i.*")
    requests = [line for i in range(40) for line in (f"PUB ask.x i.{i} 1", "x")]
    say(nats(memory, "bob"), *requests)
    responder = memory.broker.client(tenant="sensors")
    for server in servers:
        assert server.messages
        for message in server.messages:
            responder.publish(message.reply, b"y")
    assert sorted(topic for topic, _ in here.take()) == sorted(b"i.%d" % i for i in range(40))


def test_services_that_ask_each_other() -> None:
    """A request does not go round: tenants that import one service from each other say that nobody serves it."""
    export = (Export("service", b"svc"),)
    memory = broker(
        Tenant("sensors", export, (Import("service", "readers", b"svc"),)),
        Tenant("readers", export, (Import("service", "sensors", b"svc"),)),
    )
    bob = nats(memory, "bob", "SUB i.* 1", "PUB svc i.1 2", "rq")
    assert b"NATS/1.0 503" in bob.take()
    there = hear(memory, "sensors", b"svc")
    say(bob, "PUB svc i.1 2", "rq")
    assert there.take() == [(b"svc", b"rq")]
    assert bob.take() == b""


def test_a_service_and_a_program() -> None:
    """A program within the broker answers in the same call, and may ask on before it does."""
    further = Tenant("deep", exports=(Export("service", b"svc"),))
    middle = attrs.evolve(SENSORS, imports=(Import("service", "deep", b"svc", to=b"on"),))
    memory = broker(further, middle, READERS)
    deep, sensors = memory.broker.client(tenant="deep"), memory.broker.client(tenant="sensors")
    waiting: list[bytes] = []

    def ask_on(batch: Batch) -> None:
        for message in batch:
            waiting.append(message.reply)
            sensors.publish(b"on", message.payload, reply=b"back")

    def answer(batch: Batch) -> None:
        for message in batch:
            deep.publish(message.reply, message.payload + b"!")

    sensors.subscribe(b"svc.*", ask_on)
    sensors.subscribe(b"back", lambda batch: sensors.publish(waiting.pop(), next(iter(batch)).payload))
    deep.subscribe(b"svc", answer)
    here = hear(memory, "readers", b"i.*")
    here.client.publish(b"ask.x", b"hey", reply=b"i.1")
    assert here.take() == [(b"i.1", b"hey!")]


def test_what_a_responder_says_of_who_asks() -> None:
    """An introduction that comes with an answer is a header like any other, and breaks nothing when it asks in turn."""
    memory = broker(SENSORS, attrs.evolve(READERS, exports=(Export("service", b"i.*"),)))
    memory.broker.tenants.put(attrs.evolve(SENSORS, imports=(Import("service", "readers", b"i.*"),)))
    there, here = hear(memory, "sensors", b"svc.*"), hear(memory, "readers", b"i.*")
    here.client.publish(b"ask.x", b"", reply=b"ask.y")
    [request] = there.messages
    forged = b"NATS/1.0\r\nNats-Request-Info: {nonsense\r\n\r\n"
    memory.broker.client(tenant="sensors").publish(request.reply, b"", headers=forged)
    again = there.messages[1]
    assert again.topic == b"svc.y"
    assert again.headers == b'NATS/1.0\r\nNats-Request-Info: {"acc":"readers"}\r\n\r\n'


def test_a_round_trip_is_told() -> None:
    """The header tells how far away the requester is, in nanoseconds, where that is known."""
    memory = broker(SENSORS, READERS)
    there, here = hear(memory, "sensors", b"svc.*"), hear(memory, "readers", b"i.*")
    here.client.rtt = 0.00025
    here.client.publish(b"ask.x", b"", reply=b"i.1")
    assert b'Nats-Request-Info: {"acc":"readers","rtt":250000}\r\n' in there.messages[0].headers


# -- mappings ---------------------------------------------------------------------------------------------------------


def mapped(*pairs: tuple[bytes, bytes]) -> Tenant:
    """Give the tenant with these mappings."""
    return Tenant("sensors", mappings=tuple(Mapping(pattern, (Destination(to),)) for pattern, to in pairs))


def test_mappings_come_and_go() -> None:
    """A mapping counts from the next message on, also for topics that are remembered, and until it is taken back."""
    memory = broker()
    there = hear(memory, "sensors")
    publisher = memory.broker.client(tenant="sensors")
    for tenant in (Tenant("sensors"), mapped((b"a.*", b"b.$1")), mapped((b"a.x", b"c")), Tenant("sensors")):
        memory.broker.tenants.put(tenant)
        for _ in range(3):
            publisher.publish(b"a.x", b"")
    assert [topic for topic, _ in there.take()] == [b"a.x"] * 3 + [b"b.x"] * 3 + [b"c"] * 3 + [b"a.x"] * 3


def test_subscribers_of_a_mapped_topic_come_and_go() -> None:
    """Who subscribes to where a mapping leads hears the next message, and who leaves hears none."""
    memory = broker(mapped((b"a", b"b")))
    publisher = memory.broker.client(tenant="sensors")
    for literal in (True, False):
        for _ in range(3):
            publisher.publish(b"a", b"1")
        there = hear(memory, "sensors", b"b" if literal else b"*")
        publisher.publish(b"a", b"2")
        there.client.leave()
        publisher.publish(b"a", b"3")
        assert there.take() == [(b"b", b"2")]


def test_hpfeeds_is_mapped_too() -> None:
    """Mappings are the tenant's, whatever the protocol; the channel that is heard is the new one."""
    memory = broker(mapped((b"ssh", b"honeypot.ssh")))
    memory.users.update(ann="pw")
    reader = memory.client("hpfeeds", "ann")
    reader.subscribe(b"honeypot.ssh")
    memory.client("hpfeeds", "ann").publish(b"ssh", b"1")
    assert [(m.topic, m.payload) for m in reader.messages()] == [(b"honeypot.ssh", b"1")]


def test_the_right_is_needed_where_a_mapping_leads() -> None:
    """Also where that is decided by chance, and on a connection that wants to be told of everything."""
    to = (Destination(b"open", 50), Destination(b"closed", 50))
    memory = broker(
        Tenant("sensors", mappings=(Mapping(b"a", to), Mapping(b"b", (Destination(b"closed"),)))),
        users=[user("ann", "sensors", publish=["open", "b"])],
    )
    ann = nats(memory, "ann", "SUB open 1")
    say(ann, *["PUB a 1", "x"] * 60, "PUB b 1", "x")
    said = ann.take()
    heard, refused = said.count(b"MSG open"), said.count(b'Permissions Violation for Publish to "closed"')
    assert heard + refused == 61
    assert heard > 5
    assert refused > 5
    verbose = memory.connect("nats")
    verbose.send(b'CONNECT {"user":"ann","pass":"pw"}\r\nPUB b 1\r\nx\r\n')
    assert verbose.take().endswith(b"+OK\r\n-ERR 'Permissions Violation for Publish to \"closed\"'\r\n")


def test_mapped_topics_are_not_remembered_without_end() -> None:
    """A hundred thousand topics under a mapping leave no more behind than the caches hold."""
    memory = broker(mapped((b"a.*", b"b.$1")))
    publisher = memory.broker.client(tenant="sensors")
    for i in range(3000):
        for _ in range(2):
            publisher.publish(b"a.%d" % i, b"")
    assert len(publisher.gate.routes) <= 1024
    for i in range(20_000):
        publisher.publish(b"a.once%d" % i, b"")
    assert len(publisher.gate.routes) <= 1024
    assert len(publisher.router.remembered) <= 8192


def test_a_mapping_before_an_import() -> None:
    """What a mapping makes is what others import."""
    memory = broker(attrs.evolve(SENSORS, mappings=(Mapping(b"raw.*", (Destination(b"pub.$1"),)),)), READERS)
    bob = nats(memory, "bob", "SUB far.> 1")
    say(nats(memory, "ann"), *["PUB raw.x rep 1", "y"] * 3)
    assert bob.take() == b"MSG far.pub.x 1 rep 1\r\ny\r\n" * 3


# -- limits and doors -------------------------------------------------------------------------------------------------


def test_a_tenant_is_full() -> None:
    """One connection too many of a tenant is told so in NATS' words; when one leaves there is room again."""
    memory = broker(attrs.evolve(SENSORS, max_connections=2))
    one = nats(memory, "ann")
    nats(memory, "ann")
    third = memory.connect("nats")
    third.send(b'CONNECT {"verbose":false,"user":"ann","pass":"pw"}\r\n')
    assert third.take().endswith(b"-ERR 'maximum account active connections exceeded'\r\n")
    assert b"-ERR" not in nats(memory, "bob").take()
    one.hang_up()
    assert nats(memory, "ann", "PING").take() == b"PONG\r\n"
    assert memory.broker.realm.population["sensors"] == 2


def test_a_connection_that_logs_in_again_counts_once() -> None:
    """A second CONNECT of the same user is no second connection."""
    memory = broker(attrs.evolve(SENSORS, max_connections=1))
    ann = nats(memory, "ann")
    ann.send(b'CONNECT {"verbose":false,"user":"ann","pass":"pw"}\r\nPING\r\n')
    assert ann.take() == b"PONG\r\n"


def test_the_other_limits_of_a_tenant() -> None:
    """Subscriptions and payloads are held to the narrower of the user's limits and the tenant's, as they are now."""
    memory = broker(attrs.evolve(SENSORS, max_subscriptions=2))
    ann = nats(memory, "ann", "SUB a 1", "SUB b 2", "SUB c 3")
    assert ann.take() == b"-ERR 'maximum subscriptions exceeded'\r\n"
    memory.broker.tenants.put(attrs.evolve(SENSORS, max_payload=3))
    say(ann, "SUB c 3", "PUB d 3", "xxx", "PING")
    assert ann.take() == b"PONG\r\n"
    say(ann, "PUB d 4", "xxxx")
    assert ann.take() == b"-ERR 'Maximum Payload Violation'\r\n"
    assert b"-ERR" not in nats(memory, "bob", "PUB d 4", "xxxx").take()


def test_a_listener_for_one_tenant() -> None:
    """A user of another tenant is refused there, in the words of each protocol; others come in."""
    memory = broker(SENSORS, settings={"nats": {"tenant": "sensors"}, "hpfeeds": {"tenant": "sensors"}})
    memory.users.update(ann="pw", bob="pw")
    assert nats(memory, "ann", "PING").take() == b"PONG\r\n"
    stranger = memory.connect("nats")
    stranger.send(b'CONNECT {"verbose":false,"user":"bob","pass":"pw"}\r\n')
    assert stranger.take().endswith(b"-ERR 'Authorization Violation'\r\n")
    there = hear(memory, "sensors")
    memory.client("hpfeeds", "ann").publish(b"a", b"1")
    assert there.take() == [(b"a", b"1")]
    with pytest.raises(LoginFailed, match="Authentication failed for bob"):
        memory.client("hpfeeds", "bob")
    assert memory.broker.listener("hpfeeds").counts.logins_refused == 1


def test_users_without_a_tenant_are_no_exception() -> None:
    """A listener for a tenant is closed to those who are given none, and one for those is closed to others."""
    users = [user("ann", "sensors"), user("eve", "")]
    memory = broker(SENSORS, users=users, settings={"nats": {"tenant": "sensors"}})
    assert nats(memory, "eve", "PING").take() == b""
    memory = broker(SENSORS, users=users, settings={"nats": {"tenant": ""}})
    assert nats(memory, "ann", "PING").take() == b""
    assert nats(memory, "eve", "PING").take() == b"PONG\r\n"


def test_a_nats_client_is_so_far_away() -> None:
    """What a PING has measured last is told to who serves a request."""
    memory = broker(SENSORS, READERS)
    there, bob = hear(memory, "sensors", b"svc.*"), nats(memory, "bob", "SUB i.* 1")
    memory.advance(3)
    assert bob.take() == b"PING\r\n"
    memory.advance(0.5)
    say(bob, "PONG", "PUB ask.x i.1 1", "x")
    assert b'"rtt":500000000}' in there.messages[-1].headers
