"""What every stream protocol promises, as tests that a plugin's author gets by subclassing.

They know nothing of the protocol but its caller: bytes that log in, publish and subscribe, and a parser for what comes.
An author names the protocol and, better, gives a few ways to say nonsense in it.
"""

from __future__ import annotations

import random
import tracemalloc
from typing import TYPE_CHECKING, Any, ClassVar

from brokerkit.allowance import Allowance
from brokerkit.errors import ClientError
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, literal
from brokerkit.testing.chunking import every_chunking
from brokerkit.testing.memory import Client, MemoryBroker, Peer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brokerkit.run import Batch

TOPIC = b"contract.test"
CHUNK = 64 * 1024
ENOUGH = 2 * 1024 * 1024 + 2 * CHUNK  # bytes that a connection may hold unparsed, with default settings
HOSTILE = (
    b"",
    b"a b",
    b"a\r\nMSG x 1 2",
    b"a..b",
    b".",
    b">",
    b"*",
    b"a.>",
    b"x" * 300,
    b"\xff\xfe",
    b"a\tb",
    b"\x00",
    b"a\nb",
)


def _only(topic: bytes) -> Grants:
    """Give grants for one topic."""
    return Grants({PUBLISH: Access(literal([topic])), SUBSCRIBE: Access(literal([topic]))})


class ProtocolContract:
    """Subclass it together with a TestCase and name the ``protocol``.

    ``plugins`` are the protocols to load, all that are installed if ``None``.  ``nonsense`` are inputs of a logged-in
    client that are not the protocol; ``endless`` is something that, repeated, never ends; ``hostile`` are topics that
    would be taken for something else if they were spelled carelessly.
    """

    protocol: ClassVar[str]
    plugins: ClassVar[Mapping[str, Any] | None] = None
    nonsense: ClassVar[tuple[bytes, ...]] = (b"\x00" * 64, b"\xff" * 64, b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n")
    endless: ClassVar[bytes] = b"x" * 1024
    hostile: ClassVar[tuple[bytes, ...]] = ()

    assertEqual: Any
    assertIn: Any
    assertLess: Any
    assertTrue: Any
    assertFalse: Any
    subTest: Any

    # -- what the tests are made of ---------------------------------------------------------------------------------

    def memory(self, **more: Any) -> MemoryBroker:  # noqa: ANN401  the keywords of MemoryBroker
        """Give a broker in memory that has the protocol."""
        return MemoryBroker(plugins=self.plugins, **more)

    def others(self) -> list[str]:
        """Give the other protocols that a client can be had for."""
        memory = self.memory()
        return [n for n, p in memory.plugins.items() if n != self.protocol and p.caller("ann", "") is not None]

    def login(
        self, peer: Peer, memory: MemoryBroker, name: str = "ann", secret: str | None = None
    ) -> tuple[Any, bytes]:
        """Give a caller and the bytes that log it in."""
        caller = memory.plugins[self.protocol].caller(name, memory.users.get(name, "") if secret is None else secret)
        _, first = caller.receive(b"")
        _, answer = caller.receive(peer.take())
        return caller, first + answer

    def heard(self, memory: MemoryBroker) -> list[tuple[bytes, bytes]]:
        """Give the list that everything which is published will be added to."""
        found: list[tuple[bytes, bytes]] = []

        def receive(batch: Batch) -> None:
            found.extend((m.topic, m.payload) for m in batch)

        for pattern in (b">", b""):
            memory.local("listener").subscribe(pattern, receive, literal=not pattern)
        return found

    def payloads(self, client: Client) -> list[bytes]:
        """Give the payloads that a client has received since the last time."""
        return [message.payload for message in client.messages()]

    def serves(self, memory: MemoryBroker) -> None:
        """Fail unless the broker still serves a client of this protocol, and nothing is left of the others."""
        client = memory.client(self.protocol, "bob")
        client.subscribe(TOPIC)
        client.publish(TOPIC, b"still here")
        self.assertEqual([b"still here"], self.payloads(client))

    def small(self, limit: int = CHUNK * 4) -> dict[str, dict[str, Any]]:
        """Give settings with a small outbox."""
        return {self.protocol: {"outbox_limit": limit, "outbox_deadline": 5.0}}

    # -- talking ----------------------------------------------------------------------------------------------------

    def test_publish_and_subscribe(self) -> None:
        """What one client publishes reaches another that subscribed."""
        memory = self.memory()
        ann, bob = memory.client(self.protocol, "ann"), memory.client(self.protocol, "bob")
        bob.subscribe(TOPIC)
        ann.publish(TOPIC, b"hello")
        self.assertEqual([(TOPIC, b"hello")], [(m.topic, m.payload) for m in bob.messages()])

    def test_only_what_was_subscribed(self) -> None:
        """Other topics do not arrive."""
        memory = self.memory()
        ann = memory.client(self.protocol)
        ann.subscribe(TOPIC)
        ann.publish(b"contract.other", b"no")
        ann.publish(TOPIC, b"yes")
        self.assertEqual([b"yes"], self.payloads(ann))

    def test_order(self) -> None:
        """Messages of one sender arrive in the order in which they were sent, across topics."""
        memory = self.memory()
        ann, bob = memory.client(self.protocol, "ann"), memory.client(self.protocol, "bob")
        topics = [b"contract.a", b"contract.b", b"contract.c"]
        for topic in topics:
            bob.subscribe(topic)
        sent = [(topics[i * i % 3], b"%d" % i) for i in range(300)]
        ann.peer.send(b"".join(ann.caller.publish(topic, payload) for topic, payload in sent))
        self.assertEqual(sent, [(m.topic, m.payload) for m in bob.messages()])

    def test_payloads_are_untouched(self) -> None:
        """Any bytes, and none, go through unchanged."""
        memory = self.memory()
        ann = memory.client(self.protocol)
        ann.subscribe(TOPIC)
        for payload in (b"", bytes(range(256)), b"\r\n" * 9, b"x" * 100_000):
            ann.publish(TOPIC, payload)
            self.assertEqual([payload], self.payloads(ann))

    def test_many_subscribers(self) -> None:
        """Every subscriber gets its copy."""
        memory = self.memory()
        clients = [memory.client(self.protocol) for _ in range(20)]
        for client in clients:
            client.subscribe(TOPIC)
        clients[0].publish(TOPIC, b"all")
        self.assertEqual([[b"all"]] * 20, [self.payloads(client) for client in clients])

    # -- cut anywhere -----------------------------------------------------------------------------------------------

    def test_any_chunking(self) -> None:
        """However the bytes are cut on their way, the same happens."""
        memory = self.memory()
        for chunks in every_chunking(self._conversation(memory)):
            client = memory.client(self.protocol)
            client.peer.send(*chunks)
            self.assertEqual([b"one\r\n", b"", b"two"], self.payloads(client))
            client.peer.hang_up()

    def _conversation(self, memory: MemoryBroker) -> bytes:
        caller = memory.client(self.protocol).caller
        publishes = [caller.publish(TOPIC, payload) for payload in (b"one\r\n", b"", b"two")]
        return b"".join((caller.subscribe(TOPIC), *publishes))

    def test_login_in_any_chunking(self) -> None:
        """A login may be cut anywhere too."""
        memory = self.memory()
        _, example = self.login(memory.connect(self.protocol), memory)
        for cut in range(len(example) + 1):
            peer = memory.connect(self.protocol)
            caller, hello = self.login(peer, memory)
            peer.send(hello[:cut], hello[cut:])
            peer.send(caller.subscribe(TOPIC) + caller.publish(TOPIC, b"in"))
            self.assertEqual([b"in"], [m.payload for m in caller.receive(peer.take())[0]])
            peer.hang_up()

    def test_all_in_one_chunk(self) -> None:
        """Login, subscription and publish may come at once."""
        memory = self.memory()
        peer = memory.connect(self.protocol)
        caller, hello = self.login(peer, memory)
        peer.send(hello + caller.subscribe(TOPIC) + caller.publish(TOPIC, b"at once"))
        self.assertEqual([b"at once"], [m.payload for m in caller.receive(peer.take())[0]])

    def test_hang_up_in_mid_frame(self) -> None:
        """A message that is not all there is never delivered, and nothing is left of its sender."""
        memory = self.memory()
        heard = self.heard(memory)
        frame = memory.client(self.protocol).caller.publish(TOPIC, b"half")
        for cut in range(1, len(frame)):
            client = memory.client(self.protocol)
            client.peer.send(frame[:cut])
            client.peer.hang_up()
        self.assertEqual([], heard)
        self.assertEqual(1, len(memory.broker.listener(self.protocol).sessions))

    # -- who may ----------------------------------------------------------------------------------------------------

    def test_publish_before_login(self) -> None:
        """Nobody publishes without a login."""
        memory = self.memory()
        heard = self.heard(memory)
        peer = memory.connect(self.protocol)
        caller, hello = self.login(peer, memory)
        peer.send(caller.publish(TOPIC, b"sneaked in") + hello + caller.publish(TOPIC, b"behind an error"))
        self.assertEqual([], heard)
        self.assertTrue(peer.closed or self._closes(peer, memory))
        self._no_bugs(memory)

    def test_subscribe_before_login(self) -> None:
        """Nobody receives without a login."""
        memory = self.memory()
        peer = memory.connect(self.protocol)
        caller, _ = self.login(peer, memory)
        peer.send(caller.subscribe(TOPIC))
        memory.local().publish(TOPIC, b"private words")
        self.assertFalse(b"private words" in peer.received)
        self._no_bugs(memory)

    def test_wrong_secret(self) -> None:
        """A wrong secret ends the connection, and nothing behind it is done."""
        memory = self.memory()
        heard = self.heard(memory)
        peer = memory.connect(self.protocol)
        caller, hello = self.login(peer, memory, secret="wrong")  # noqa: S106
        peer.send(hello + caller.publish(TOPIC, b"no"))
        self.assertEqual([], heard)
        self.assertTrue(peer.closed or self._closes(peer, memory))

    def test_unknown_user(self) -> None:
        """Nor does an unknown name get in."""
        memory = self.memory()
        heard = self.heard(memory)
        peer = memory.connect(self.protocol)
        caller, hello = self.login(peer, memory, name="mallory", secret="x")  # noqa: S106
        peer.send(hello)
        peer.send(caller.publish(TOPIC, b"no"))
        self.assertEqual([], heard)
        self.assertTrue(peer.closed or self._closes(peer, memory))

    def test_login_decided_later(self) -> None:
        """While a source of users thinks, nothing behind the login is done; when it has answered, all of it is."""
        memory = self.memory(thinking=1.0)
        heard = self.heard(memory)
        peer = memory.connect(self.protocol)
        caller, hello = self.login(peer, memory)
        peer.send(hello + caller.subscribe(TOPIC), caller.publish(TOPIC, b"patient"))
        self.assertEqual([], heard)
        memory.advance(1.0)
        memory.advance()
        self.assertEqual([b"patient"], [m.payload for m in caller.receive(peer.take())[0]])
        self._no_bugs(memory)

    def test_login_refused_later(self) -> None:
        """Nor is anything behind it done when the answer is no, or when the client has gone meanwhile."""
        memory = self.memory(thinking=1.0)
        heard = self.heard(memory)
        gone, wrong = memory.connect(self.protocol), memory.connect(self.protocol)
        before = self._subscriptions(memory)
        for peer, secret in ((gone, None), (wrong, "wrong")):
            caller, hello = self.login(peer, memory, secret=secret)
            peer.send(hello + caller.subscribe(TOPIC) + caller.publish(TOPIC, b"no"))
        gone.hang_up()
        memory.advance(1.0)
        self.assertTrue(wrong.closed or self._closes(wrong, memory))
        self.assertEqual(([], before), (heard, self._subscriptions(memory)))
        self._no_bugs(memory)

    def test_login_timeout(self) -> None:
        """Who says nothing does not stay."""
        memory = self.memory(settings={self.protocol: {"login_timeout": 3.0}})
        peer = memory.connect(self.protocol)
        memory.advance(3.0)
        self.assertTrue(peer.closed or self._closes(peer, memory))

    def test_may_not_publish(self) -> None:
        """Without the grant nothing is delivered; others are not touched."""
        memory = self.memory(grants={"ann": Grants({SUBSCRIBE: ALL.actions[SUBSCRIBE]})})
        heard = self.heard(memory)
        ann = memory.client(self.protocol, "ann")
        ann.peer.send(ann.caller.publish(TOPIC, b"no"))
        self.assertEqual([], heard)
        self._no_bugs(memory)
        self.serves(memory)

    def test_may_not_subscribe(self) -> None:
        """Without the grant nothing arrives; others are not touched."""
        memory = self.memory(grants={"ann": Grants({PUBLISH: ALL.actions[PUBLISH]})})
        ann = memory.client(self.protocol, "ann")
        ann.peer.send(ann.caller.subscribe(TOPIC))
        memory.local().publish(TOPIC, b"private words")
        self.assertFalse(b"private words" in ann.peer.received)
        self._no_bugs(memory)
        self.serves(memory)

    def test_grants_are_for_names(self) -> None:
        """A grant for one topic is none for another."""
        only = Grants({PUBLISH: Access(literal([TOPIC])), SUBSCRIBE: Access(literal([TOPIC]))})
        memory = self.memory(grants={"ann": only})
        heard = self.heard(memory)
        ann = memory.client(self.protocol, "ann")
        ann.publish(TOPIC, b"yes")
        ann.peer.send(ann.caller.publish(b"contract.other", b"no"))
        self.assertEqual([(TOPIC, b"yes")], heard)

    def test_what_is_refused_holds_nothing_back(self) -> None:
        """Behind a refusal the connection is closed, or goes on at once: nothing waits for the next chunk."""
        only = Grants({PUBLISH: Access(literal([TOPIC])), SUBSCRIBE: Access(literal([TOPIC]))})
        memory = self.memory(grants={"ann": only})
        for what in ("publish", "subscribe"):
            heard = self.heard(memory)
            ann = memory.client(self.protocol, "ann")
            refused = ann.caller.publish(b"contract.other", b"no") if what == "publish" else ann.caller.subscribe(b"no")
            ann.peer.send(refused + ann.caller.publish(TOPIC, b"yes"))
            closed = ann.peer.closed or self._closes(ann.peer, memory)
            self.assertEqual([] if closed else [(TOPIC, b"yes")], heard)

    def test_too_many_subscriptions(self) -> None:
        """Nobody has more subscriptions than the listener's settings say."""
        memory = self.memory(settings={self.protocol: {"max_subscriptions": 2}})
        client = memory.client(self.protocol)
        before = self._subscriptions(memory)
        for i in range(5):
            client.peer.send(client.caller.subscribe(b"contract.%d" % i))
            self.assertLess(self._subscriptions(memory), before + 3)
        self._no_bugs(memory)
        self.serves(memory)

    # -- what a source of users says --------------------------------------------------------------------------------

    def test_an_outage_is_no_refusal(self) -> None:
        """While a source of users is down, a login ends in other words than by a wrong secret, and is forgotten."""
        memory = self.memory()
        heard = self.heard(memory)
        _, refused = self._said(memory, "wrong")
        memory.source.up = False
        for _ in range(30):
            client, said = self._said(memory, None)
            self.assertTrue(client.closed or self._closes(client, memory))
            self.assertFalse(said == refused)
        memory.source.up = True
        memory.advance(10.0)
        self.assertEqual([], heard)
        self.serves(memory)

    def _said(self, memory: MemoryBroker, secret: str | None) -> tuple[Peer, bytes]:
        """Log in and publish; give what was said in answer."""
        peer = memory.connect(self.protocol)
        caller, hello = self.login(peer, memory, secret=secret)
        peer.send(hello + caller.publish(TOPIC, b"no"))
        return peer, peer.take()

    def test_revoked(self) -> None:
        """Whose user has gone, or has another secret, is told and closed within seconds; others stay."""
        memory = self.memory(users={"ann": "1", "bob": "2", "eve": "3"})
        ann, eve, bob = (memory.client(self.protocol, name) for name in ("ann", "eve", "bob"))
        for client in (ann, eve, bob):
            client.subscribe(TOPIC)
        memory.source.remove("ann")
        memory.source.put("eve", "another")
        self._seconds_pass(memory)
        for client in (ann, eve):
            self.assertTrue(client.peer.take())
            self.assertTrue(client.peer.closed or self._closes(client.peer, memory))
        bob.publish(TOPIC, b"among ourselves")
        self.assertEqual([[], [], [b"among ourselves"]], [self.payloads(client) for client in (ann, eve, bob)])
        self._no_bugs(memory)

    def test_kicked(self) -> None:
        """Who is kicked is closed at once, and hears nothing more."""
        memory = self.memory()
        ann, bob = memory.client(self.protocol, "ann"), memory.client(self.protocol, "bob")
        ann.subscribe(TOPIC)
        self.assertEqual(1, memory.broker.revocation.kick(b"ann"))
        bob.publish(TOPIC, b"private words")
        self.assertFalse(b"private words" in ann.peer.take())
        self.assertTrue(ann.peer.closed or self._closes(ann.peer, memory))
        self.serves(memory)

    def test_narrowed(self) -> None:
        """Who loses a grant loses within seconds what it had by that, and nothing else."""
        memory = self.memory()
        heard = self.heard(memory)
        ann, bob = memory.client(self.protocol, "ann"), memory.client(self.protocol, "bob")
        for topic in (TOPIC, b"contract.other"):
            ann.subscribe(topic)
            ann.publish(topic, b"before")  # so that the way is known by heart
        ann.messages()
        memory.source.put("ann", memory.users["ann"], _only(TOPIC))
        self._seconds_pass(memory)
        self.assertTrue(ann.peer.take())
        for topic in (b"contract.other", TOPIC):
            bob.publish(topic, b"after")
        self.assertEqual([(TOPIC, b"after")], [(m.topic, m.payload) for m in ann.messages()])
        heard.clear()
        for topic in (TOPIC, b"contract.other"):
            ann.peer.send(ann.caller.publish(topic, b"mine"))
        self.assertEqual([(TOPIC, b"mine")], heard)
        self._no_bugs(memory)

    def test_widened(self) -> None:
        """Who gets a grant has it within seconds, without a new login."""
        memory = self.memory(grants={"ann": _only(TOPIC)})
        ann, bob = memory.client(self.protocol, "ann"), memory.client(self.protocol, "bob")
        memory.source.put("ann", memory.users["ann"])
        self._seconds_pass(memory)
        bob.subscribe(b"contract.other")
        ann.subscribe(b"contract.other")
        ann.publish(b"contract.other", b"new")
        self.assertEqual([[b"new"]] * 2, [self.payloads(client) for client in (ann, bob)])

    def _seconds_pass(self, memory: MemoryBroker) -> None:
        for _ in range(20):
            memory.advance(0.25)

    # -- what one user may have -------------------------------------------------------------------------------------

    def test_too_many_connections_of_a_user(self) -> None:
        """One connection more than a user may have is turned away; the others stay, and so do other users."""
        memory = self.memory(allowances={"ann": Allowance(connections=2)})
        first, second = memory.client(self.protocol), memory.client(self.protocol)
        third, _ = self._said(memory, None)
        self.assertTrue(third.closed or self._closes(third, memory))
        first.subscribe(TOPIC)
        first.publish(TOPIC, b"still here")
        self.assertEqual([b"still here"], self.payloads(first))
        second.peer.hang_up()
        self.assertFalse(memory.client(self.protocol).peer.closed)
        self.serves(memory)

    def test_too_fast(self) -> None:
        """Who publishes faster than it may is slowed down, and loses nothing."""
        memory = self.memory(allowances={"ann": Allowance(rate=10.0)})
        heard = self.heard(memory)
        ann = memory.client(self.protocol)
        sent = [(TOPIC, b"%d" % i) for i in range(50)]
        for topic, payload in sent:
            ann.peer.send(ann.caller.publish(topic, payload))
        self.assertLess(len(heard), 25)
        self.assertTrue(heard)
        for _ in range(60):
            memory.advance(0.25)
        self.assertEqual(sent, heard)
        self.assertFalse(ann.peer.closed)

    def test_payload_over_the_users_limit(self) -> None:
        """What is larger than a user may publish is answered and not delivered; what came before it is."""
        memory = self.memory(allowances={"ann": Allowance(payload=10)})
        heard = self.heard(memory)
        ann = memory.client(self.protocol)
        ann.peer.take()
        ann.peer.send(ann.caller.publish(TOPIC, b"x" * 10) + ann.caller.publish(TOPIC, b"x" * 11))
        self.assertEqual([(TOPIC, b"x" * 10)], heard)
        self.assertTrue(ann.peer.take() or ann.peer.closed)
        self._no_bugs(memory)
        self.serves(memory)

    # -- under a prefix ---------------------------------------------------------------------------------------------

    def test_topic_prefix(self) -> None:
        """A listener with a topic prefix puts everything under it, and nobody there sees it."""
        memory = self.memory(settings={self.protocol: {"topic_prefix": "some.where"}})
        heard = self.heard(memory)
        ann = memory.client(self.protocol)
        ann.subscribe(TOPIC)
        ann.publish(TOPIC, b"from beneath")
        memory.local().publish(b"some.where." + TOPIC, b"from above")
        for outside in (TOPIC, b"some." + TOPIC, b"some.where", b"some.wherever." + TOPIC):
            memory.local().publish(outside, b"not for you")
        self.assertEqual((b"some.where." + TOPIC, b"from beneath"), heard[0])
        arrived = [(m.topic, m.payload) for m in ann.messages()]
        self.assertEqual([(TOPIC, b"from beneath"), (TOPIC, b"from above")], arrived)

    def test_no_way_out_of_a_prefix(self) -> None:
        """Whatever is subscribed to, nothing outside of the prefix arrives, and grants are for the names inside it."""
        only = Grants({PUBLISH: Access(literal([TOPIC])), SUBSCRIBE: ALL.actions[SUBSCRIBE]})
        memory = self.memory(settings={self.protocol: {"topic_prefix": "some"}}, grants={"bob": only})
        client, bob = memory.client(self.protocol), memory.client(self.protocol, "bob")
        for pattern in (b">", b"*", b"*.*", TOPIC, *HOSTILE, *self.hostile):
            if self._can_subscribe(memory, pattern):
                client.subscribe(pattern)
        for topic in (TOPIC, b"x", b"some", b"somebody", b"somebody.x"):
            memory.local().publish(topic, b"outside")
        heard = self.heard(memory)
        bob.peer.send(bob.caller.publish(TOPIC, b"granted by another name"))
        self.assertEqual(([], []), (self.payloads(client), heard))

    # -- nonsense ---------------------------------------------------------------------------------------------------

    def test_nonsense(self) -> None:
        """What is not the protocol is answered or hung up on, never logged as a bug, and nobody else notices."""
        memory = self.memory()
        for junk in self.nonsense:
            memory.connect(self.protocol).send(junk)
            memory.client(self.protocol).peer.send(junk)
        self._no_bugs(memory)
        self.serves(memory)

    def test_random_bytes(self) -> None:
        """Nor do random bytes, before a login or behind it, do any harm."""
        memory = self.memory()
        for junk in self._junk():
            memory.connect(self.protocol).send(junk)
            memory.client(self.protocol).peer.send(junk)
        self._no_bugs(memory)
        self.serves(memory)

    def test_mutations(self) -> None:
        """Nor do valid bytes with one byte changed."""
        memory = self.memory()
        valid = self._conversation(memory)
        dice = random.Random(5)  # noqa: S311
        for i in range(len(valid)):
            changed = valid[:i] + bytes((dice.randrange(256),)) + valid[i + 1 :]
            client = memory.client(self.protocol)
            client.peer.send(changed)
            client.peer.hang_up()
        self._no_bugs(memory)
        self.serves(memory)

    def _junk(self) -> Iterator[bytes]:
        dice = random.Random(7)  # noqa: S311
        for _ in range(200):
            yield dice.randbytes(dice.randrange(1, 200))

    def _no_bugs(self, memory: MemoryBroker) -> None:
        self.assertEqual(0, memory.broker.listener(self.protocol).counts.errors["bug"])

    def test_input_without_end(self) -> None:
        """Input that never becomes a frame is not collected without a bound."""
        memory = self.memory()
        client = memory.client(self.protocol)
        piece = self.endless * (CHUNK // len(self.endless))
        for _ in range(100):
            client.peer.send(piece)
            self.assertLess(len(client.peer.protocol.wire), ENOUGH)
        self.serves(memory)

    def test_nothing_is_kept(self) -> None:
        """What has been published is forgotten, also if nobody ever hangs up."""
        memory = self.memory()
        client = memory.client(self.protocol)
        frame = client.caller.publish(TOPIC, b"x" * 50_000)
        client.peer.send(frame * 4)
        tracemalloc.start()
        try:
            for _ in range(100):
                client.peer.send(frame * 2 + frame[:-1], frame[-1:])
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(kept, ENOUGH)
        self.assertEqual(304, memory.broker.listener(self.protocol).counts.messages_in)

    def test_counts(self) -> None:
        """Connections, logins and messages are counted, once each, and what comes in to the byte."""
        memory = self.memory()
        listener = memory.broker.listener(self.protocol)
        peer = memory.connect(self.protocol)
        _, hello = self.login(peer, memory, secret="wrong")  # noqa: S106
        peer.send(hello)
        ann = memory.client(self.protocol)
        before = listener.counts.bytes_in
        talk = ann.caller.subscribe(TOPIC) + ann.caller.publish(TOPIC, b"1") + ann.caller.publish(TOPIC, b"2")
        ann.peer.send(talk)
        counts = listener.counts
        self.assertEqual((1, 1, 2), (counts.logins, counts.logins_refused, counts.messages_in))
        self.assertEqual(len(talk), counts.bytes_in - before)
        self.assertEqual(2, counts.accepted)

    # -- readers that do not read -----------------------------------------------------------------------------------

    def test_stalled_reader(self) -> None:
        """Who has stopped reading costs no more than the limit, is dropped, and nobody else loses anything."""
        memory = self.memory(settings=self.small())
        stalled, healthy, ann = (memory.client(self.protocol) for _ in range(3))
        stalled.subscribe(TOPIC)
        healthy.subscribe(TOPIC)
        stalled.peer.stop_reading()
        sent = 0
        while not stalled.peer.closed and sent < 100:
            ann.publish(TOPIC, b"x" * 10_000)
            self.assertLess(stalled.peer.protocol.outbox.pending, CHUNK * 4 + 1)
            self.assertLess(stalled.peer.transport.pending, CHUNK * 2 + 1)  # nothing goes around the outbox
            memory.advance(0.1)
            sent += 1
        self.assertTrue(stalled.peer.aborted)
        self.assertEqual(0, stalled.peer.protocol.outbox.pending)
        self.assertEqual(sent, len(healthy.messages()))

    def test_deadline(self) -> None:
        """Who has stopped reading is dropped in time, also if little is waiting."""
        memory = self.memory(settings=self.small(CHUNK * 100))
        stalled, ann = memory.client(self.protocol), memory.client(self.protocol)
        stalled.subscribe(TOPIC)
        stalled.peer.stop_reading()
        for _ in range(10):
            ann.publish(TOPIC, b"x" * 10_000)
        memory.advance(4.9)
        self.assertFalse(stalled.peer.closed)
        memory.advance(0.2)
        self.assertTrue(stalled.peer.aborted)

    def test_slow_reader_is_waited_for(self) -> None:
        """Who reads slowly but steadily is not dropped: the publisher is made to wait."""
        memory = self.memory(settings=self.small())
        slow, ann = memory.client(self.protocol), memory.client(self.protocol)
        slow.subscribe(TOPIC)
        slow.peer.stop_reading()
        for _ in range(60):
            for _ in range(5):
                ann.peer.send(ann.caller.publish(TOPIC, b"x" * 10_000))
            slow.peer.read()
            slow.peer.stop_reading()
            memory.advance(0.05)
        self.assertFalse(slow.peer.closed)

    def test_hang_up_removes_subscriptions(self) -> None:
        """A client that is gone has no subscriptions."""
        memory = self.memory()
        client = memory.client(self.protocol)
        before = self._subscriptions(memory)
        client.subscribe(TOPIC)
        client.peer.hang_up()
        self.assertEqual(before, self._subscriptions(memory))

    def _subscriptions(self, memory: MemoryBroker) -> int:
        return sum(router.subscriptions - router.serving for router in memory.broker.realm.routers.values())

    # -- together ---------------------------------------------------------------------------------------------------

    def test_to_every_protocol(self) -> None:
        """What is published here arrives by every other protocol."""
        for other in self.others():
            memory = self.memory()
            there, here = memory.client(other, "bob"), memory.client(self.protocol, "ann")
            there.subscribe(TOPIC)
            here.publish(TOPIC, b"from here")
            self.assertEqual([(TOPIC, b"from here")], [(m.topic, m.payload) for m in there.messages()])

    def test_from_every_protocol(self) -> None:
        """What is published by any other protocol arrives here."""
        for other in self.others():
            memory = self.memory()
            there, here = memory.client(other, "bob"), memory.client(self.protocol, "ann")
            here.subscribe(TOPIC)
            there.publish(TOPIC, b"from there")
            self.assertEqual([(TOPIC, b"from there")], [(m.topic, m.payload) for m in here.messages()])

    def test_nothing_is_forged(self) -> None:
        """Topics and payloads made to look like frames arrive as themselves or not at all."""
        memory = self.memory()
        client = memory.client(self.protocol)
        topics = (TOPIC, *HOSTILE, *self.hostile)
        for pattern in (b">", *topics):
            if self._can_subscribe(memory, pattern):
                client.subscribe(pattern)
        local = memory.local()
        sent = {(topic, b"1\r\nMSG forged 1 2\r\nhi") for topic in topics}
        for topic, payload in sorted(sent):
            local.publish(topic, payload)
        arrived = {(m.topic, m.payload) for m in client.messages()}
        self.assertEqual(set(), arrived - sent)
        self.assertIn((TOPIC, b"1\r\nMSG forged 1 2\r\nhi"), arrived)

    def test_nothing_is_forged_beside_the_topic(self) -> None:
        """Nor do the sender's name, the reply topic and the headers, whatever is in them, become anything else."""
        memory = self.memory()
        client = memory.client(self.protocol)
        client.subscribe(TOPIC)
        odds = (*HOSTILE, *self.hostile)
        sent = [(TOPIC, b"%d" % i) for i in range(3 * len(odds))]
        payloads = iter(payload for _, payload in sent)
        for odd in odds:
            name = odd.decode(errors="replace")
            memory.local(name).publish(TOPIC, next(payloads))
            memory.local().publish(TOPIC, next(payloads), reply=odd)
            memory.local().publish(TOPIC, next(payloads), headers=odd)
        arrived = [(m.topic, m.payload) for m in client.messages()]
        self.assertEqual([], [one for one in arrived if one not in sent])
        self.assertEqual(sorted(set(arrived), key=arrived.index), arrived)
        self.assertIn((TOPIC, b"1"), arrived)

    def _can_subscribe(self, memory: MemoryBroker, pattern: bytes) -> bool:
        """Say whether the protocol can say this, and the broker takes it."""
        client = memory.client(self.protocol)
        try:
            client.subscribe(pattern)
        except (ValueError, ClientError):
            return False
        return not (client.peer.closed or self._closes(client.peer, memory))

    def test_too_many_connections(self) -> None:
        """One connection too many is turned away; the others stay."""
        memory = self.memory(settings={self.protocol: {"max_connections": 2}})
        first = memory.client(self.protocol)
        memory.client(self.protocol)
        third = memory.connect(self.protocol)
        self.assertTrue(third.closed or self._closes(third, memory))
        first.subscribe(TOPIC)
        first.publish(TOPIC, b"still here")
        self.assertEqual([b"still here"], self.payloads(first))

    def test_stop(self) -> None:
        """Stopping the broker closes every connection, and is done when they are closed."""
        memory = self.memory()
        client = memory.client(self.protocol)
        stalled = memory.client(self.protocol)
        stalled.subscribe(TOPIC)
        stalled.peer.stop_reading()
        for _ in range(20):
            client.publish(TOPIC, b"x" * 10_000)
        done: list[object] = []
        memory.broker.stopService().addCallback(done.append)
        memory.advance(0.1)
        self.assertTrue(client.peer.closed)
        memory.advance(2.0)
        memory.advance(0.1)
        self.assertTrue(stalled.peer.closed)
        self.assertEqual(1, len(done))

    def _closes(self, peer: Peer, memory: MemoryBroker) -> bool:
        """Let a connection that is being closed go."""
        memory.advance(0.0)
        memory.advance(1.5)
        return peer.closed
