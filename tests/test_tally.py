"""Counting by name: what is counted, that nothing is lost with a connection, and that nothing grows without bound."""

from __future__ import annotations

from hashlib import sha1

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokerkit import tally
from brokerkit.protocols.hpfeeds import wire
from brokerkit.tally import BUCKETS, FIRST, OTHER, Tally, bucket
from brokerkit.testing import MemoryBroker


@pytest.fixture
def memory() -> MemoryBroker:
    """Give a broker that counts by name."""
    memory = MemoryBroker()
    memory.broker.tally = Tally()
    return memory


def settled(memory: MemoryBroker) -> Tally:
    """Give the tally as it is now."""
    counts = memory.broker.tally
    assert counts is not None
    counts.settle()
    return counts


def test_off() -> None:
    """Where nobody asked for it, nothing is counted by name."""
    memory = MemoryBroker()
    memory.client("hpfeeds").publish(b"a", b"")
    assert memory.broker.tally is None
    assert all(session.teller is None for session in memory.broker.listener("hpfeeds").sessions)


@given(st.integers(0, FIRST << (BUCKETS + 1)))
def test_buckets(octets: int) -> None:
    """A payload is in the first bucket that is large enough for it."""
    number = bucket(octets)
    assert number == BUCKETS or octets <= FIRST << number
    assert number == 0 or octets > FIRST << (number - 1)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([b"a", b"bcd"]), st.integers(0, 3000)), min_size=1, max_size=20))
def test_what_is_said(messages: list[tuple[bytes, int]]) -> None:
    """Messages, bytes and sizes are counted for each channel, whatever runs the messages came in."""
    memory = MemoryBroker()
    memory.broker.tally = Tally()
    ann = memory.client("hpfeeds", "ann")
    ann.peer.send(b"".join(wire.spell(wire.Publish(b"ann", channel, b"x" * size)) for channel, size in messages))
    for channel in {channel for channel, _ in messages}:
        sizes = [size for one, size in messages if one == channel]
        said = settled(memory).said[b"ann", channel]
        assert (said.messages, said.octets) == (len(sizes), sum(sizes))
        assert said.buckets == [sum(bucket(size) == i for size in sizes) for i in range(BUCKETS + 1)]


def test_what_is_heard(memory: MemoryBroker) -> None:
    """A subscriber is given what is published from its subscription to its end, by whoever it is."""
    ann, bob = memory.client("hpfeeds", "ann"), memory.client("hpfeeds", "bob")
    ann.publish(b"a", b"before")
    bob.subscribe(b"a")
    ann.publish(b"a", b"12345")
    assert settled(memory).accounts[b"bob"].queued == 5
    bob.publish(b"a", b"123")
    bob.publish(b"b", b"1234567")
    bob.peer.send(wire.spell(wire.Unsubscribe(b"bob", b"a")))
    ann.publish(b"a", b"after")
    counts = settled(memory)
    assert counts.accounts[b"bob"].queued == 8
    assert counts.accounts[b"ann"].queued == 0


def test_the_gone_are_not_lost(memory: MemoryBroker) -> None:
    """What a connection has done is counted also when it is gone, and what it held is let go."""
    bob = memory.client("hpfeeds", "bob")
    bob.subscribe(b"a")
    bob.publish(b"a", b"12345")
    sent = memory.broker.listener("hpfeeds").bytes_out
    bob.peer.hang_up()
    counts = settled(memory)
    account = counts.accounts[b"bob"]
    assert (account.ready, account.lost, account.queued) == (1, 1, 5)
    assert account.sent == len(wire.spell(wire.Publish(b"bob", b"a", b"12345"))) < sent
    assert not counts.tellers
    assert not counts.heard("")


def test_a_second_login(memory: MemoryBroker) -> None:
    """What follows another login on the same connection is counted for the other user, subscriptions included."""
    peer = memory.connect("hpfeeds")
    for name in ("ann", "bob"):
        peer.send(_auth(peer.protocol.nonce, name, memory.users[name]))
        peer.send(wire.spell(wire.Subscribe(b"", b"a")), wire.spell(wire.Publish(name.encode(), b"a", b"123")))
    counts = settled(memory)
    assert [counts.accounts[name].queued for name in (b"ann", b"bob")] == [3, 3]
    assert [counts.said[name, b"a"].messages for name in (b"ann", b"bob")] == [1, 1]
    assert list(counts.heard("")) == [b"a"]
    peer.hang_up()
    assert not counts.heard("")


def _auth(nonce: bytes, name: str, secret: str) -> bytes:
    return wire.spell(wire.Auth(name.encode(), sha1(nonce + secret.encode()).digest()))  # noqa: S324  the protocol's own


def test_a_claimed_name_is_no_name(memory: MemoryBroker) -> None:
    """Who has not logged in cannot put a name into the tables; a wrong secret is counted for a user who has been in."""
    for name in ("stranger", "ann"):
        memory.connect("hpfeeds").send(_auth(b"", name, "wrong"))
    counts = settled(memory)
    assert not counts.accounts
    assert counts.nobody.errors == {"invalid-ident": 1, "invalid-secret": 1}
    memory.client("hpfeeds", "ann")
    memory.connect("hpfeeds").send(_auth(b"", "ann", "wrong"))
    assert counts.accounts[b"ann"].errors == {"invalid-secret": 1}


def test_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many users and channels there are, beyond so many they are one."""
    monkeypatch.setattr(tally, "IDENTS", 3)
    monkeypatch.setattr(tally, "PAIRS", 4)
    monkeypatch.setattr(tally, "KNOWN", 5)
    names = [f"user{i}" for i in range(6)]
    memory = MemoryBroker(users=dict.fromkeys(names, "secret"))
    memory.broker.tally = Tally()
    for name in names:
        client = memory.client("hpfeeds", name)
        for i in range(10):
            client.publish(b"c%d" % i, b"1")
    counts = settled(memory)
    assert sum(said.messages for said in counts.said.values()) == 60
    assert len(counts.said) == 5
    assert counts.said[OTHER, OTHER].messages == 56
    assert len(counts.accounts) == 4
    assert counts.accounts[OTHER].ready == 3
    assert all(len(teller._said) <= 5 for teller in counts.tellers)


def test_nearly_full() -> None:
    """It is counted when an outbox is nearly full, and when its reader has caught up."""
    memory = MemoryBroker(settings={"hpfeeds": {"outbox_limit": 400_000}})
    memory.broker.tally = Tally()
    bob = memory.client("hpfeeds", "bob")
    bob.subscribe(b"a")
    bob.peer.stop_reading()
    for _ in range(24):
        memory.local().publish(b"a", b"x" * 16_000)
    account = settled(memory).accounts[b"bob"]
    assert (account.filled, account.recovered) == (1, 0)
    bob.peer.read()
    settled(memory)
    assert (account.filled, account.recovered) == (1, 1)


def test_given_up() -> None:
    """A reader that is given up, by limit or deadline, is counted for its user under the original's word."""
    memory = MemoryBroker(settings={"hpfeeds": {"outbox_limit": 100_000, "outbox_deadline": 1.0}})
    memory.broker.tally = Tally()
    for size, count in ((16_000, 8), (60_000, 10)):
        bob = memory.client("hpfeeds", "bob")
        bob.subscribe(b"a")
        bob.peer.stop_reading()
        for _ in range(count):
            memory.local().publish(b"a", b"x" * size)
        memory.advance(2)
    errors = settled(memory).accounts[b"bob"].errors
    assert errors == {"deadline-timer-expired": 2}
