"""Lame duck mode: the port closes, peers are told, and connections end one by one."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from brokerkit.testing import Peer

NEW = b'CONNECT {"verbose":false,"pedantic":false,"protocol":1}\r\nPING\r\n'
OLD = b'CONNECT {"verbose":false,"pedantic":false,"protocol":0}\r\nPING\r\n'


def broker(**settings: Any) -> MemoryBroker:
    """Give a broker that lets everybody in."""
    return MemoryBroker(auth=("anonymous",), settings={"nats": settings})


def connect(memory: MemoryBroker, first: bytes = NEW) -> Peer:
    """Connect, and say the first words."""
    peer = memory.connect("nats")
    peer.send(first)
    peer.take()
    return peer


def begin(memory: MemoryBroker, duration: float, grace: float) -> list[object]:
    """Begin; give a list that holds something when it is done."""
    done: list[object] = []
    ending: Deferred[None] = memory.broker.listener("nats").lame_duck(duration, grace)
    ending.addBoth(done.append)
    memory.advance()
    return done


def pass_time(memory: MemoryBroker, seconds: float) -> None:
    """Let time pass in small steps."""
    for _ in range(round(seconds * 20)):
        memory.advance(0.05)


def infos(peer: Peer) -> list[dict[str, Any]]:
    """Give what INFO says in what has come."""
    return [json.loads(said) for said in re.findall(rb"INFO (\{.*\}) \r\n", peer.take())]


def test_clients_are_told() -> None:
    """Clients of protocol 1 that have had their first PONG get INFO with ldm and others' addresses; no others do."""
    memory = broker(connect_urls=["other.example:4222"])
    new, old, silent = connect(memory), connect(memory, OLD), connect(memory, b"")
    begin(memory, 30, 10)
    [said] = infos(new)
    assert said["ldm"] is True
    assert said["connect_urls"] == ["other.example:4222"]
    assert "connect_info" not in said
    assert old.take() == silent.take() == b""
    assert not new.closed


def test_the_port_is_closed() -> None:
    """Nobody new comes in from the first moment."""
    memory = broker()
    listener = memory.broker.listener("nats")
    connect(memory)
    begin(memory, 30, 10)
    assert listener.port is None
    assert listener.address == ""


def test_nobody_is_closed_within_the_grace() -> None:
    """For so long clients go by themselves, and what they publish is still delivered."""
    memory = broker()
    peers = [connect(memory) for _ in range(4)]
    begin(memory, 30, 10)
    pass_time(memory, 9.9)
    assert not any(peer.closed for peer in peers)
    peers[0].take()
    peers[0].send(b"SUB a 1\r\nPUB a 1\r\nx\r\n")
    assert b"MSG a 1 1\r\nx\r\n" in peers[0].take()


@pytest.mark.parametrize(("number", "duration", "most"), [(4, 30.0, 4.0), (60, 30.0, 20.5), (300, 12.0, 2.5)])
def test_one_after_the_other(number: int, duration: float, most: float) -> None:
    """They are closed over the rest of the time, a second apart at the most, without a word; then it is done."""
    memory = broker(max_connections=1000, ping_interval=1000.0)
    peers = [connect(memory) for _ in range(number)]
    done = begin(memory, duration, 10)
    for peer in peers:
        peer.take()
    pass_time(memory, 10.2)
    half = 0.0
    while not done:
        pass_time(memory, 0.1)
        half += 0.1
        assert half <= most + 1.5
        closed = sum(peer.closed for peer in peers)
        if half < most / 2:
            assert closed < number
    assert all(peer.closed for peer in peers)
    assert b"-ERR" not in b"".join(peer.take() for peer in peers)


def test_in_random_order() -> None:
    """Who goes first is not who came first."""
    orders = set()
    for _ in range(8):
        memory = broker(ping_interval=1000.0)
        peers = [connect(memory) for _ in range(6)]
        begin(memory, 30, 1)
        pass_time(memory, 1.2)
        orders.add(tuple(peer.closed for peer in peers))
    assert len(orders) > 1


def test_done_at_once_where_nobody_is() -> None:
    """Without connections there is nothing to wait for."""
    memory = broker()
    assert begin(memory, 30, 10)


def test_done_when_all_have_gone_by_themselves() -> None:
    """The rest of the time is not waited for, and no timer is left."""
    memory = broker()
    idle = memory.reactor.getDelayedCalls()
    peers = [connect(memory) for _ in range(2)]
    done = begin(memory, 30, 10)
    for peer in peers:
        assert not done
        peer.hang_up()
    assert done
    assert memory.reactor.getDelayedCalls() == idle


def test_again() -> None:
    """Asked for twice it goes on as it was, and is done for both."""
    memory = broker()
    peer = connect(memory)
    first, second = begin(memory, 30, 10), begin(memory, 3000, 1000)
    assert len(infos(peer)) == 1
    pass_time(memory, 12)
    assert first
    assert second


def test_stopped_on_the_way() -> None:
    """A broker that is stopped meanwhile ends as it would else."""
    memory = broker()
    idle = memory.reactor.getDelayedCalls()
    peer = connect(memory)
    done = begin(memory, 3000, 1000)
    stopped: list[object] = []
    memory.broker.stopService().addBoth(stopped.append)
    memory.advance()
    assert peer.closed
    assert done
    assert stopped
    left = set(memory.reactor.getDelayedCalls()) - set(idle)
    assert not left


def test_a_grace_that_is_all_the_time() -> None:
    """Then connections are closed within a second."""
    memory = broker()
    peers = [connect(memory) for _ in range(10)]
    done = begin(memory, 5, 5)
    pass_time(memory, 4.9)
    assert not any(peer.closed for peer in peers)
    pass_time(memory, 1.5)
    assert done


def test_all_listeners() -> None:
    """The broker does it for every protocol, also those that have no words for it."""
    memory = MemoryBroker()
    nats, hpfeeds = connect(memory), memory.connect("hpfeeds")
    done: list[object] = []
    memory.broker.lame_duck(10, 1).addBoth(done.append)
    pass_time(memory, 5)
    assert nats.closed
    assert hpfeeds.closed
    assert done == [None]


def test_a_reader_that_has_stopped_does_not_hold_it_up_for_ever() -> None:
    """Its time is up when that of any slow reader is."""
    memory = broker(outbox_deadline=5.0, ping_interval=1000.0)
    stalled, speaks = connect(memory), connect(memory)
    stalled.send(b"SUB a 1\r\n")
    stalled.stop_reading()
    speaks.send(b"PUB a 100000\r\n" + bytes(100_000) + b"\r\n")
    done = begin(memory, 4, 1)
    pass_time(memory, 12)
    assert done
    assert stalled.aborted
