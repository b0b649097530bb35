"""What hostile clients send, and many of them at once: a clear end, and nothing that grows without a bound."""

from __future__ import annotations

import gc
import json
from random import Random
from typing import TYPE_CHECKING

import pytest

from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, patterns
from brokerkit.protocols.nats.wire import SPELLINGS
from brokerkit.router import GATE_ROUTES, ROUTES, SEEN_ONCE
from brokerkit.testing import MemoryBroker

from .words import QUIET, TOO_LONG

if TYPE_CHECKING:
    from brokerkit.testing import Peer

THOUSANDS, HUNDREDS = 2000, 400
FLOOD = 10_000  # topics, more than any cache holds


def broker(**settings: object) -> MemoryBroker:
    """Give a broker that lets everybody in."""
    return MemoryBroker(auth=("anonymous",), settings={"nats": {"ping_interval": 100_000.0, **settings}})


def connect(memory: MemoryBroker, first: bytes = QUIET) -> Peer:
    """Connect, and say the first words."""
    peer = memory.connect("nats")
    peer.take()
    peer.send(first)
    peer.take()
    return peer


# -- partial frames ---------------------------------------------------------------------------------------------------


def test_partial_frames_on_thousands_of_connections() -> None:
    """Frames of thousands of connections, cut anywhere and mixed, arrive whole, each once and unmixed."""
    random = Random(5)  # noqa: S311  not a secret
    memory = broker()
    hears = connect(memory, QUIET + b"SUB > 1\r\n")
    peers = [connect(memory) for _ in range(THOUSANDS)]
    unsent = [b"PUB s.%d 9\r\n<%07d>\r\nHPUB s.%d 2 4\r\nhh%02d\r\n" % (i, i, i, i % 100) for i in range(THOUSANDS)]
    while any(unsent):
        for i in random.sample(range(THOUSANDS), THOUSANDS):
            cut = random.randint(1, 40)
            piece, unsent[i] = unsent[i][:cut], unsent[i][cut:]
            if piece:
                peers[i].protocol.dataReceived(piece)
    memory.advance()
    expected = [b"MSG s.%d 1 9\r\n<%07d>" % (i, i) for i in range(THOUSANDS)]
    expected += [b"HMSG s.%d 1 2 4\r\nhh%02d" % (i, i % 100) for i in range(THOUSANDS)]
    heard = hears.take().split(b"\r\n")
    assert sorted(map(b"\r\n".join, zip(heard[::2], heard[1::2], strict=False))) == sorted(expected)


def test_frames_that_never_end() -> None:
    """Hundreds of connections that hold a half-sent frame each hold no more than its bytes, and go when it is late."""
    memory = broker(frame_timeout=10.0)
    peers = [connect(memory) for _ in range(HUNDREDS)]
    for peer in peers:
        peer.protocol.dataReceived(b"PUB foo 1000000\r\nbegun")
    assert all(peer.protocol.unread < 100 for peer in peers)
    for _ in range(3):
        memory.advance(10.0)
    assert all(peer.closed for peer in peers)
    assert not memory.broker.listener("nats").sessions


@pytest.mark.parametrize(
    "name", [b"PUB ", b"HPUB ", b"SUB ", b"UNSUB ", b"CONNECT ", b"INFO ", b"-ERR ", b"PING", b"PONG"]
)
@pytest.mark.parametrize("filling", [b"a", b" ", b"\t", b"a ", b"\r", b"{"])
def test_control_lines_without_end(name: bytes, filling: bytes) -> None:
    """A line without an end is refused once it is too long, in whatever pieces it comes; it is not kept."""
    for size in (4096, 101):
        memory = broker()
        peer = connect(memory)
        line = name + filling * (9000 // len(filling))
        sent = 0
        while not peer.closed and sent < len(line):
            peer.send(line[sent : sent + size])
            memory.advance()
            sent += size
            assert peer.protocol.unread <= 4096 + 4096 + len(name)
        assert peer.closed
        assert peer.take() == TOO_LONG


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"HPUB foo 13 12\r\n", b""),
        (b"HPUB foo 999999999 12\r\n", b""),
        (b"HPUB foo 12 999999999\r\n", b"-ERR 'Maximum Payload Violation'\r\n"),
        (b"HPUB foo 0 999999999\r\n", b"-ERR 'Maximum Payload Violation'\r\n"),
        (b"HPUB foo -1 12\r\n", b""),
        (b"HPUB foo 12 -1\r\n", b""),
        (b"HPUB foo 12 0\r\n", b""),
        (b"HPUB foo 12\r\n", b""),
        (b"HPUB foo 1e1 12\r\n", b""),
        (b"HPUB foo \xd9\xa1 12\r\n", b""),  # a digit, but no ASCII one
    ],
)
def test_header_sizes_that_lie(line: bytes, answer: bytes) -> None:
    """They end the connection, and nothing of what follows is delivered."""
    memory = broker()
    hears, speaks = connect(memory, QUIET + b"SUB > 1\r\n"), connect(memory)
    speaks.send(line + b"NATS/1.0\r\n\r\nxx\r\nPUB foo 0\r\n\r\n")
    memory.advance()
    assert speaks.take() == answer
    assert speaks.closed
    assert hears.take() == b""


def test_wildcards_in_publishes() -> None:
    """They reach wildcards and no names, whatever was published before: no cache takes the one for the other."""
    memory = broker()
    wide, narrow = connect(memory, QUIET + b"SUB a.* 1\r\nSUB > 2\r\n"), connect(memory, QUIET + b"SUB a.b 1\r\n")
    speaks = connect(memory)
    for _ in range(3):
        speaks.send(b"PUB a.* 1\r\nx\r\nPUB a.b 1\r\ny\r\nPUB a.> 1\r\nz\r\nPUB > 1\r\n0\r\n")
    heard = wide.take()
    assert [heard.count(b"MSG %b 1 1\r\n" % name) for name in (b"a.*", b"a.b", b"a.>")] == [3, 3, 3]
    assert [heard.count(b"MSG %b 2 1\r\n" % name) for name in (b"a.*", b"a.b", b"a.>", b">")] == [3, 3, 3, 3]
    assert narrow.take() == b"MSG a.b 1 1\r\ny\r\n" * 3


# -- rights that change -----------------------------------------------------------------------------------------------


def test_rights_change_while_messages_are_queued() -> None:
    """What was queued was delivered; behind the error nothing more comes, and what stays allowed goes on."""
    memory = MemoryBroker(settings={"nats": {"ping_interval": 100_000.0}})
    hello = {"user": "ann", "pass": memory.users["ann"], "verbose": False, "pedantic": False}
    hears = connect(memory, b"CONNECT %b\r\nSUB a 1\r\nSUB b 2\r\n" % json.dumps(hello).encode())
    hello |= {"user": "bob", "pass": memory.users["bob"]}
    speaks = connect(memory, b"CONNECT %b\r\n" % json.dumps(hello).encode())
    hears.stop_reading()
    both = b"PUB a 10000\r\n%b\r\nPUB b 10000\r\n%b\r\n" % (b"a" * 10_000, b"b" * 10_000)
    speaks.send(both * 20)
    memory.source.put("ann", memory.users["ann"], Grants({SUBSCRIBE: Access(patterns([b"b"]))}))
    memory.advance(1.0)
    speaks.send(both * 20)
    heard = hears.read()
    error = b'-ERR \'Permissions Violation for Subscription to "a" (sid "1")\'\r\n'
    before, found, after = heard.partition(error)
    assert found
    assert before.count(b"MSG a 1 ") == before.count(b"MSG b 2 ") == 20
    assert after.count(b"MSG a 1 ") == 0
    assert after.count(b"MSG b 2 ") == 20
    assert not hears.closed


def test_rights_that_come_and_go() -> None:
    """A publisher whose rights change between its messages is answered for each message by what holds then."""
    memory = MemoryBroker(settings={"nats": {"ping_interval": 100_000.0}})
    hello = {"user": "ann", "pass": memory.users["ann"], "verbose": False, "pedantic": False}
    peer = connect(memory, b"CONNECT %b\r\n" % json.dumps(hello).encode())
    none = Grants({PUBLISH: Access(patterns([b"x"])), SUBSCRIBE: Access(patterns([b">"]))})
    for grants, answer in ((none, b"-ERR 'Permissions Violation for Publish to \"a\"'\r\n"), (ALL, b"")) * 3:
        memory.source.put("ann", memory.users["ann"], grants)
        memory.advance(1.0)
        peer.take()
        peer.send(b"PUB a 1\r\nx\r\nPING\r\n")
        assert peer.take() == answer + b"PONG\r\n"


# -- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [b"PUB s.%d 1\r\nx\r\n", b"PUB svc r.%d 1\r\nx\r\n", b"PUB s.%d.a s.%d.b 1\r\nx\r\n" * 2, b"pub s.%d 1\r\nx\r\n"],
)
def test_a_flood_of_subjects(line: bytes) -> None:
    """Every cache keeps its bound, whoever publishes to however many subjects and replies."""
    memory = broker()
    connect(memory, QUIET + b"SUB s.> 1\r\nSUB svc q 2\r\n")
    peer = connect(memory)
    for start in range(0, 2 * FLOOD, 1000):
        chunk = b"".join(line.replace(b"%d", b"%d" % i) for i in range(start, start + 1000))
        peer.protocol.dataReceived(chunk)
    router = memory.broker.realm.router("")
    gate = peer.protocol.client.gate
    assert len(router._routes) <= ROUTES
    assert len(router._once) <= SEEN_ONCE
    assert len(gate.routes) <= GATE_ROUTES
    assert len(memory.broker.listener("nats").shared.spellings.known) <= SPELLINGS


def test_memory_of_a_flood_of_subjects() -> None:
    """What a flood of subjects leaves behind is bounded: another flood of the same size adds no objects."""
    memory = broker()
    peer = connect(memory)

    def flooded(first: int) -> int:
        for start in range(first, first + FLOOD, 1000):
            said = b"".join(b"PUB topic.%d.x 1\r\nx\r\n" % i for i in range(start, start + 1000))
            peer.protocol.dataReceived(said * 2)
        gc.collect()
        return len(gc.get_objects())

    flooded(0)
    before = flooded(1_000_000)
    assert flooded(2_000_000) - before < FLOOD // 10


def test_a_flood_of_subscriptions_leaves_nothing() -> None:
    """Subscriptions that came and went are forgotten, with their levels in the trie."""
    memory = broker(max_subscriptions=10)
    router = memory.broker.realm.router("")
    peer = connect(memory)
    size, literals = router._patterns.size, len(router._literals)
    for i in range(3000):
        peer.protocol.dataReceived(b"SUB a.%d.* 1\r\nSUB b.%d q 2\r\nUNSUB 1\r\nUNSUB 2 0\r\n" % (i, i))
    assert (router._patterns.size, len(router._literals)) == (size, literals)
    assert b"a" not in router._patterns.root.next
