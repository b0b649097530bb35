"""Plays a script to a broker in memory, and tells what everybody heard: the half of the test that runs in a child.

As a program it reads pickled scripts, each behind its length, and answers with what came of each in the same way; its
first answer says which variant it is.  So the broker of one process is pure Python, and that of another one compiled.
It imports nothing of the tests: those of another package may stand before them on a child's path.

A script is a world and its steps: tuples of a word and plain
values (``Stage.do_...``).  Nothing in it is left to chance: the clock is a test's, the choice of a queue group's member
is seeded, and a connection takes as many bytes as the script says.
"""

from __future__ import annotations

import json
import pickle
import random
import re
import struct
import sys
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from attrs import evolve
from twisted import plugin
from twisted.internet.tcp import Connection
from twisted.logger import globalLogPublisher

from brokerkit import compiled, deliver, exchange
from brokerkit.allowance import Allowance
from brokerkit.checkers.entry import read_all
from brokerkit.checkers.listed import ListedUsers
from brokerkit.errors import ClientError
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, Responses, patterns
from brokerkit.keep import Keep
from brokerkit.protocols.hpfeeds import wire as hpfeeds
from brokerkit.tenant import Destination, Export, Import, Mapping, Tenant
from brokerkit.testing import MemoryBroker, memory
from brokerkit.testing.memory import Peer, Pipe, streams

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from brokerkit.run import Batch

Step = tuple[Any, ...]
LENGTH = struct.Struct("!I")
SECRET = "pw"
NAMES = ("ann", "bob", "cat")
ROOM = 2048  # bytes that a socket takes while its peer does not read
_INFO = re.compile(rb"INFO \{[^\r\n]*\} ?\r\n")
NARROW = Grants(
    {
        PUBLISH: Access(patterns([b"a.>", b"cc", b"_R.>"]), patterns([b"a.b"])),
        SUBSCRIBE: Access(patterns([b">"]), patterns([b"a.cc"])),
    }
)
ANSWERING = Grants(
    {PUBLISH: Access(patterns([b"b"]), ()), SUBSCRIBE: Access(patterns([b">"]), ())}, responses=Responses(2, 3.0)
)
KEPT: tuple[dict[str, object], ...] = ({"topics": ["a.>", "b"]}, {"topics": ["*.b"], "stream": "s", "partitions": 2})
RULES = ((), (Keep(topics=("a",)), Keep(topics=(">",))), (Keep(topics=("a.b", "b")),))
SIZES = ((1024 * 1024, 4096), (100, 4096), (300, 40))  # of payloads and control lines, to be changed while it runs
TENANTS = (
    Tenant(
        "sensors",
        exports=(Export("stream", b"a.>"), Export("service", b"b.*")),
        mappings=(Mapping(b"cc", (Destination(b"a.mapped"),)), Mapping(b"cc.*", (Destination(b"a.b.$1"),))),
    ),
    Tenant(
        "readers",
        imports=(Import("stream", "sensors", b"a.>", prefix=b"far"), Import("service", "sensors", b"b.*", to=b"b.*")),
    ),
)


class Script(NamedTuple):
    """A world by its name, the seed of chance, and what happens in it."""

    world: str
    seed: int
    steps: tuple[Step, ...]


class Dice:
    """What the pure code chooses a member of a queue group by: the numbers that the compiled code would."""

    def __init__(self, seed: int) -> None:
        """Begin."""
        self._state = seed + 1

    def __call__(self, most: int) -> int:
        """Give a number below ``most``."""
        state = self._state
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        self._state = state
        return state % most


def choose_alike(seed: int) -> None:
    """Have all choices begin at the same place in both variants; mappings and replies choose by what Python has."""
    random.seed(seed)
    exchange.choice = random.choice  # type: ignore[attr-defined]
    if compiled.heart is None:
        deliver.randrange = Dice(seed)  # type: ignore[attr-defined]
    else:
        compiled.heart.seed(seed + 1)
        deliver.randrange = compiled.heart.choose  # type: ignore[attr-defined]  # what is left to the pure code


class Socket(Pipe, Connection):
    """A transport that takes itself for a TCP socket, whose kernel takes what there is room for while nobody reads."""

    def __init__(self, *arguments: Any) -> None:
        """Connect."""
        Pipe.__init__(self, *arguments)
        self._wants = False

    def writeSomeData(self, data: Any) -> int:
        """Take what there is room for."""
        if not self.connected or self._losing:
            return 0
        taken = len(data) if self._peer.reads else min(len(data), ROOM - len(self._held))
        if self._peer.reads:
            self._peer.received += bytes(data)
        else:
            self._held += bytes(data)[:taken]  # any buffer
        return taken

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Ask it at once, as Twisted does."""
        assert not streaming
        self._producer = producer
        producer.resumeProducing()

    def startWriting(self) -> None:
        """Ask the producer when there is room again."""
        self._wants = True

    def stopWriting(self) -> None:
        """Ask nobody."""
        self._wants = False

    def stopReading(self) -> None:
        """Read no more."""
        self.pauseProducing()

    def startReading(self) -> None:
        """Read again."""
        self.resumeProducing()

    def drain(self) -> None:
        """Bring what was held to the peer, which reads again."""
        while self._held or self._wants:
            held, self._held = bytes(self._held), bytearray()
            self._peer.received += held
            self._wants, wanted = False, self._wants
            if wanted and self._producer is not None:
                self._producer.resumeProducing()
        Pipe.drain(self)


class Listener:
    """A subscriber within the program, who does what its way says with whatever it hears."""

    def __init__(self, stage: Stage, pattern: bytes, way: str, word: bytes) -> None:
        """Subscribe."""
        self.heard: list[tuple[bytes, ...]] = []
        self.stage = stage
        self.way = way
        self.word = word
        self.nested = 0
        self.client = stage.memory.local(f"local{len(stage.listeners)}")
        self.subscription = self.client.subscribe(pattern, self.receive)

    def receive(self, batch: Batch) -> bool:
        """Note the messages, and act."""
        self.heard += [(batch.sender, *message) for message in batch]
        return getattr(self, f"_{self.way}")()  # type: ignore[no-any-return]

    def _hear(self) -> bool:
        return True

    def _deaf(self) -> bool:
        return False

    def _fail(self) -> bool:
        raise RuntimeError("as the script has it")

    def _leave(self) -> bool:
        self.client.unsubscribe(self.subscription)
        return True

    def _publish(self) -> bool:
        """Publish within the turn, though not for ever."""
        if self.nested < 3:
            self.nested += 1
            self.client.publish(self.word, b"nested", reply=b"a.reply")
            self.nested -= 1
        return True

    def _join(self) -> bool:
        """Have somebody else listen from now on, but not many."""
        if len(self.stage.listeners) < 6:
            self.stage.do_listen(self.word, "hear", b"")
        return False

    def _narrow(self) -> bool:
        """Have somebody be allowed less in the middle of a turn."""
        self.stage.narrow(self.word)
        return True

    def _limits(self) -> bool:
        """Have other limits hold in the middle of a turn."""
        self.stage.do_limits(int(self.word))
        return True

    def _keep(self) -> bool:
        """Have other topics be kept in the middle of a turn."""
        self.stage.do_keep(int(self.word))
        return True

    def _tenants(self) -> bool:
        """Have tenants be others, or gone, in the middle of a turn."""
        self.stage.do_tenants(int(self.word))
        return True

    def _kick(self) -> bool:
        """Have the operator end somebody in the middle of a turn."""
        self.stage.memory.broker.revocation.kick(self.word)
        return True

    def _drop(self) -> bool:
        """Have a connection break in the middle of a turn."""
        self.stage.break_down(int(self.word))
        return True


class Stage:
    """One broker, and all who talk to it."""

    def __init__(self, world: str, seed: int) -> None:
        """Build it."""
        choose_alike(seed)
        self.memory = _WORLDS[world]()
        self.peers: list[Peer | None] = []
        self.listeners: list[Listener] = []
        self.problems: list[str] = []
        self._read: dict[tuple[str, bytes, int], int] = {}  # how far each partition of the log has been told
        globalLogPublisher.addObserver(self._noted)

    def _noted(self, event: Any) -> None:
        """Keep what is told of a bug: both variants are to have none, or the same ones."""
        failure = event.get("log_failure")
        if failure is not None:
            self.problems.append(f"{event['log_format']}: {failure.type.__name__}: {failure.value}")

    def leave(self) -> None:
        """End."""
        globalLogPublisher.removeObserver(self._noted)

    def do(self, step: Step) -> list[Any]:
        """Do one step, and give what everybody has heard since the one before."""
        word, *arguments = step
        answer: Any = None
        try:
            answer = getattr(self, f"do_{word}")(*arguments)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
            if not isinstance(error, ClientError):
                self.problems.append(answer)
        self.memory.advance()
        heard = [None if peer is None else (_plain(peer.take()), peer.closed, peer.aborted) for peer in self.peers]
        for listener in self.listeners:
            heard.append(listener.heard)
            listener.heard = []
        return [answer, heard, self.numbers(), self.problems.copy()]

    def numbers(self) -> list[Any]:
        """Give the counts that users see."""
        broker = self.memory.broker
        routers = broker.realm.routers.values()
        outboxes = [
            (o.pending, o.sent, o.filled, o.recovered, o.open, o.closed)
            for o in (peer.protocol.outbox for peer in self.peers if peer is not None)
        ]
        counts = [(r.messages, r.unspellable, r.subscriptions, r.added, r.asked, r.matched) for r in routers]
        clients = [
            c and (c.gate.messages, c.delivered) for c in (p.protocol.client for p in self.peers if p is not None)
        ]
        return [counts, outboxes, clients, broker.turn.behind, broker.turn.depth, self._kept()]

    def _kept(self) -> list[Any]:
        """Give what is new in the log, in its order, and what it says is missing."""
        broker = self.memory.broker
        if not broker.has_log:
            return []
        log = broker.log
        found: list[Any] = [broker.keeping.intake.missed, broker.keeping.intake.kept]
        for tenant in log.tenants():
            for name, topic in sorted(log.topics(tenant).items()):
                for partition in range(topic.partitions):
                    first, following = log.span(name, partition, tenant)
                    at = max(first, self._read.get((tenant, name, partition), 0))
                    self._read[tenant, name, partition] = following
                    found.append((name, partition, first, following))
                    while at < following:
                        answers: list[Any] = []
                        log.fetch(name, partition, at, tenant=tenant).addBoth(answers.append)
                        records = answers[0].records
                        found += [(tenant, name, partition, *record) for record in records]
                        at += len(records)
        return found

    def _peer(self, number: int) -> Peer | None:
        return self.peers[number % len(self.peers)] if self.peers else None

    # -- the steps --------------------------------------------------------------------------------------------------

    def do_connect(self, protocol: str, name: str, way: str, options: dict[str, bool]) -> None:
        """Connect and log in; the way is a ``socket`` or a ``pipe``."""
        listener = self.memory.broker.listener(protocol)
        peer = _Peer(self.memory, listener.factory.buildProtocol(None), way)
        self.peers.append(peer)
        if protocol == "nats":
            login = {"verbose": False, "pedantic": False, **options, "user": name, "pass": SECRET}
            peer.send(b"CONNECT %b\r\n" % json.dumps(login).encode())
        else:
            nonce = peer.take()[-4:]
            peer.send(_auth(name, nonce))

    def do_say(self, number: int, data: bytes, cuts: Sequence[int]) -> None:
        """Say something, cut where the script says."""
        peer = self._peer(number)
        if peer is not None:
            peer.send(*_cut(data, cuts))

    def do_together(self, said: Sequence[tuple[int, bytes]]) -> None:
        """Have several connections read one after the other, their turns written together."""
        turn = self.memory.broker.turn
        for left, (number, data) in enumerate(said, 1 - len(said)):
            turn.more = left < 0
            peer = self._peer(number)
            if peer is not None:
                peer._unsent += data
                peer.push()
        turn.more = False
        turn.write()

    def do_stop(self, number: int) -> None:
        """Have a connection read no more."""
        peer = self._peer(number)
        if peer is not None:
            peer.stop_reading()

    def do_read(self, number: int) -> bytes | None:
        """Have it read again."""
        peer = self._peer(number)
        return None if peer is None else _plain(peer.read())

    def do_hang_up(self, number: int) -> None:
        """Close a connection from its side."""
        peer = self._peer(number)
        if peer is not None and peer.transport.connected:
            peer.hang_up()

    def break_down(self, number: int) -> None:
        """Have a connection break, whatever is going on."""
        peer = self._peer(number)
        if peer is not None and peer.transport.connected:
            peer.transport.abortConnection()

    do_break = break_down

    def do_wait(self, seconds: float) -> None:
        """Let time pass."""
        self.memory.advance(seconds)

    def do_kick(self, name: str) -> int:
        """Have the operator end somebody's connections."""
        return self.memory.broker.revocation.kick(name.encode())

    def do_rights(self, name: str, narrow: bool) -> None:
        """Give somebody other rights, which are noticed within two seconds."""
        if name in self.memory.source._known:
            self.memory.source.put(name, SECRET, NARROW if narrow else ALL)
            self.memory.advance(2)

    def narrow(self, name: bytes) -> None:
        """Give those who are here by that name less rights, at once."""
        for there in list(self.memory.broker.realm.clients.values()):
            for client in list(there):
                if client.user.name == name:
                    client.become(evolve(client.user, grants=NARROW))

    def do_limits(self, number: int) -> None:
        """Have other limits hold for what NATS clients say, as a reload does."""
        spellings: Any = self.memory.broker.listener("nats").shared.spellings
        spellings.follow(*SIZES[number % len(SIZES)])

    def do_keep(self, number: int) -> None:
        """Have other topics be kept, as a reload does."""
        if self.memory.broker.has_log:
            self.memory.broker.keeping.take(RULES[number % len(RULES)])

    def do_tenants(self, number: int) -> None:
        """Have tenants export and import other things, or be gone."""
        tenants = self.memory.broker.tenants
        if number == 0:
            tenants.put_all(TENANTS)
        elif number == 1:
            tenants.put(Tenant("sensors", exports=(Export("stream", b"a.b"),)))
        else:
            tenants.drop("readers")

    def do_publish(self, topic: bytes, payload: bytes, reply: bytes, headers: bytes) -> None:
        """Publish from within the program."""
        self.memory.local("program").publish(topic, payload, reply=reply, headers=headers)

    def do_listen(self, pattern: bytes, way: str, word: bytes) -> None:
        """Subscribe from within the program."""
        self.listeners.append(Listener(self, pattern, way, word))

    def do_unlisten(self, number: int) -> None:
        """End such a subscription."""
        if self.listeners:
            listener = self.listeners[number % len(self.listeners)]
            listener.client.unsubscribe(listener.subscription)


class _Peer(Peer):
    """A peer whose transport is a socket or a pipe."""

    def __init__(self, memory: MemoryBroker, protocol: Any, way: str) -> None:
        self.received = b""
        self.closed = self.aborted = False
        self.reads = True
        self.protocol = getattr(protocol, "session", protocol)
        self._memory = memory
        self._unsent = b""
        kind = Socket if way == "socket" else Pipe
        self.transport = kind(self, protocol, memory.reactor, "192.0.2.1")
        protocol.makeConnection(self.transport)
        memory.advance()


def _cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut bytes in pieces of these lengths, again and again; the last piece is what is left."""
    pieces, start, sizes = [], 0, deque(size for size in cuts if size > 0)
    while sizes and start < len(data):
        pieces.append(data[start : start + sizes[0]])
        start += sizes[0]
        sizes.rotate(-1)
    return [piece for piece in [*pieces, data[start:]] if piece]


def _auth(name: str, nonce: bytes) -> bytes:
    from hashlib import sha1

    digest = sha1(nonce + SECRET.encode()).digest()  # noqa: S324  the protocol's own
    return hpfeeds.spell(hpfeeds.Auth(name.encode(), digest))


def _plain(heard: bytes) -> bytes:
    """Leave out what is another in each broker, and hpfeeds' challenges with it, which are never asked for here."""
    return _INFO.sub(b"INFO\r\n", heard)


# -- the worlds -------------------------------------------------------------------------------------------------------


# Thousands of brokers are made here: what is the same for all is found once.
plugin.getCache = cache(plugin.getCache)
_streams = cache(streams)
_CONFIGURATIONS: dict[str, Any] = {}
_structure = memory.structure


def _structured(table: Any, *arguments: Any) -> Any:
    name = repr(table)
    if name not in _CONFIGURATIONS:
        _CONFIGURATIONS[name] = _structure(table, *arguments)
    return _CONFIGURATIONS[name]


memory.structure = _structured


def _known(
    settings: dict[str, dict[str, object]],
    keep: Sequence[dict[str, object]] = (),
    replier: Grants = ALL,
    **allowances: Allowance,
) -> MemoryBroker:
    return MemoryBroker(
        users=dict.fromkeys(NAMES, SECRET),
        grants={"cat": NARROW, "bob": replier},
        keep=keep,
        settings=settings,
        allowances=allowances,
        plugins=_streams(),
    )


def _open() -> MemoryBroker:
    return _known({})


def _tight() -> MemoryBroker:
    """Every limit is near."""
    limits: dict[str, object] = {"outbox_limit": 8192, "outbox_deadline": 3.0, "max_subscriptions": 4}
    nats = {**limits, "max_payload": 256, "max_control_line": 250}
    few = Allowance(subscriptions=3, payload=100, rate=50.0)
    return _known({"nats": nats, "hpfeeds": limits}, bob=few)


def _prefixed() -> MemoryBroker:
    """All names of one protocol are beneath a topic that the other one sees."""
    return _known({"nats": {"topic_prefix": "a"}})


def _same_prefix() -> MemoryBroker:
    return _known({"nats": {"topic_prefix": "a.b"}, "hpfeeds": {"topic_prefix": "a.b"}})


def _kept() -> MemoryBroker:
    """Keep some of the topics, and some of those in one order."""
    return _known({"hpfeeds": {"topic_prefix": "a"}}, KEPT)


def _answering() -> MemoryBroker:
    """One may only answer what it is asked."""
    return _known({}, replier=ANSWERING)


def _divided(keep: Sequence[dict[str, object]] = ()) -> MemoryBroker:
    """Tenants, with imports and mappings between them."""
    entries = [
        {"name": name, "secret": SECRET, "tenant": tenant, "publish": [">"], "subscribe": [">"]}
        for name, tenant in (("ann", "sensors"), ("bob", "readers"), ("cat", ""))
    ]
    users = [ListedUsers(read_all(entries, "test"), "test")]
    divided = MemoryBroker(users={}, sources=users, plugins=_streams(), keep=keep)
    divided.broker.tenants.put_all(TENANTS)
    return divided


_WORLDS: dict[str, Callable[[], MemoryBroker]] = {
    "open": _open,
    "tight": _tight,
    "prefixed": _prefixed,
    "same prefix": _same_prefix,
    "divided": _divided,
    "kept": _kept,
    "kept, divided": lambda: _divided([{**keep, "tenant": name} for keep in KEPT for name in ("sensors", "readers")]),
    "answering": _answering,
}
WORLDS = tuple(_WORLDS)


def play(script: Script) -> list[Any]:
    """Play a script; give what came of each step."""
    stage = Stage(script.world, script.seed)
    try:
        return [stage.do(step) for step in script.steps]
    finally:
        stage.leave()


def main() -> None:
    """Answer scripts until there are no more."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    _answer(sink, compiled.variant())
    while header := source.read(LENGTH.size):
        world, seed, steps = pickle.loads(source.read(*LENGTH.unpack(header)))  # noqa: S301  from the test beside it
        _answer(sink, play(Script(world, seed, steps)))


def _answer(sink: BinaryIO, what: object) -> None:
    data = pickle.dumps(what)
    sink.write(LENGTH.pack(len(data)) + data)
    sink.flush()


if __name__ == "__main__":
    main()
