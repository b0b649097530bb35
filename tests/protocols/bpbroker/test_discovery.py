"""Discovery: who is answered what, how often, and what a flood costs."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.entrance import read_networks
from brokerkit.protocols.bpbroker import signed
from brokerkit.protocols.bpbroker.digests import Digests
from brokerkit.protocols.bpbroker.discovery import SENDERS, Discovery, Ears, Rate
from brokerkit.registry import Delete, Put, Registry
from tests.talk import Time

NETWORKS = read_networks(("10.0.0.0/8", "fe80::/10", "127.0.0.0/8"), "test")
NEAR = "10.0.0.1"
KEY = b"discovery key"
TOLD = signed.Told("brokerkit", 20443, "ab" * 32, 7)


class World:
    """A registry with some names, and discovery before it."""

    def __init__(self, each: float = 10) -> None:
        """Begin."""
        self.clock = Time()
        self.registry = Registry(None, self.clock)
        for name in ("foo", "two words", "é", "a\nb"):
            self.registry.write([Put(name, {})])
        self.registry.write([Put("_hidden", {})])
        there = self.registry.discoverable
        self.digests = Digests(self.registry, KEY, self.clock)
        answers = signed.Answers(KEY, there, self.digests.find, lambda: TOLD)
        self.rate = Rate(self.clock, each)
        self.discovery = Discovery(there, NETWORKS, self.rate, answers)

    def ask(self, datagram: bytes, host: str = NEAR) -> bytes:
        """Give the answer."""
        return self.discovery.answer(datagram, host)


@pytest.mark.parametrize(
    ("datagram", "answer"),
    [
        (b"foo", True),
        (b"foo\n", True),
        (b"  foo \r\n", True),
        (b"\tfoo\x0b\x0c", True),
        (b"two words\n", True),
        ("é\n".encode(), True),
        (b"a\nb\n", True),
        (b"Foo\n", False),
        (b"foo\0\n", False),
        (b"fo", False),
        (b"", False),
        (b"\n", False),
        (b"\xff\n", False),
        (b"_hidden\n", False),
        (b"_access_key\n", False),
        (b"foo" + b"\n" * 9000, False),
        (b"x" * 65_000, False),
    ],
)
def test_the_originals_question(datagram: bytes, answer: bool) -> None:
    """The reply is eleven bytes for a name that is there, exactly as it is written, and silence for all else."""
    assert World().ask(datagram) == (b"Key Exists\n" if answer else b"")


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        ("10.9.9.9", True),
        ("::ffff:10.9.9.9", True),
        ("fe80::1%eth0", True),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("nonsense", False),
    ],
)
def test_only_neighbours_are_answered(host: str, answered: bool) -> None:
    """What comes from outside the networks is counted and not answered."""
    world = World()
    assert bool(world.ask(b"foo\n", host)) == answered
    assert world.discovery.counts["answered" if answered else "network"] == 1


def test_a_name_that_is_deleted_is_silent() -> None:
    """The answer follows the registry."""
    world = World()
    world.registry.write([Delete("foo")])
    assert world.ask(b"foo\n") == b""


def test_health_gates_discovery() -> None:
    """An entry whose health check fails is not found."""

    class Unwell:
        def passes(self, name: str) -> bool:
            return name != "foo"

    world = World()
    world.registry.health = Unwell()  # type: ignore[assignment]
    assert (world.ask(b"foo\n"), bool(world.ask(b"two words\n"))) == (b"", True)


def test_one_sender_is_answered_so_often() -> None:
    """An address gets its rate and no more, gets it again with time, and takes nothing from others."""
    world = World(each=5)
    assert sum(bool(world.ask(b"foo\n")) for _ in range(100)) == 10
    assert world.ask(b"foo\n", "10.0.0.2")
    world.clock.advance(1)
    assert sum(bool(world.ask(b"foo\n")) for _ in range(100)) == 5


def test_all_together_are_answered_so_often() -> None:
    """Forged addresses get no more than the rate of all together."""
    world = World()
    answers = [world.ask(b"foo\n", f"10.{i // 65536}.{i // 256 % 256}.{i % 256}") for i in range(5000)]
    assert sum(map(bool, answers)) <= 2001


def test_a_flood_takes_no_memory() -> None:
    """Whoever asks for nothing that is there is not remembered, and of the others so many."""
    world = World()
    tracemalloc.start()
    try:
        for i in range(20_000):
            world.ask(b"nothing\n", f"10.{i // 65536}.{i // 256 % 256}.{i % 256}")
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(world.rate) == 0
    assert grown < 2_000_000
    for i in range(10 * SENDERS):
        world.rate.admits(f"host {i}")
        world.clock.advance(0.01)
    assert len(world.rate) == SENDERS


@given(datagram=st.binary(max_size=400))
def test_any_datagram(datagram: bytes) -> None:
    """No datagram raises, and no answer is longer than eleven bytes or the question."""
    for text in (datagram, signed.BEGIN + datagram):
        assert len(World().ask(text)) <= max(11, len(text))


# -- the second version -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hide", [True, False])
def test_a_signed_answer(hide: bool) -> None:
    """Who has the key learns from the answer how to know the broker; it is no longer than the question."""
    nonce, question = signed.ask("foo", KEY, hide=hide)
    answer = World().ask(question)
    assert signed.read_answer(answer, nonce, KEY) == TOLD
    assert 0 < len(answer) <= len(question)
    assert (b"foo" in question) != hide


def test_its_refusals() -> None:
    """Another key, another question's nonce or one changed byte, and the answer counts for nothing."""
    nonce, question = signed.ask("foo", KEY)
    answer = World().ask(question)
    assert signed.read_answer(answer, nonce, b"other") is None
    assert signed.read_answer(answer, signed.ask("foo", KEY)[0], KEY) is None
    changed = 0
    for i in range(len(answer)):
        for bit in (1, 32):
            forged = answer[:i] + bytes([answer[i] ^ bit]) + answer[i + 1 :]
            found = signed.read_answer(forged, nonce, KEY)
            assert found is None or found == TOLD  # the case of a hex digit or of white space says nothing else
            changed += found is None
    assert changed > len(answer)


@pytest.mark.parametrize(
    "question",
    [
        b"BPD2 ",
        b"BPD2 {}",
        b"BPD2 []",
        b'BPD2 {"n": "foo"}',
        b'BPD2 {"n": "foo", "nonce": "AAAA"}',
        b'BPD2 {"n": 5, "nonce": "AAAAAAAAAAAAAAAAAAAAAA=="}',
        b'BPD2 {"n": "foo", "nonce": "AAAAAAAAAAAAAAAAAAAAAA=="}',  # right, but too short for the answer
        b'BPD2 {"h": "00", "nonce": "AAAAAAAAAAAAAAAAAAAAAA==", "pad": "' + b"." * 400 + b'"}',
        b"BPD2 " + b"[" * 4000,
        signed.ask("_hidden", KEY)[1],
        signed.ask("_hidden", KEY, hide=False)[1],
        signed.ask("nope", KEY)[1],
        signed.ask("foo", b"other key")[1],
    ],
)
def test_questions_that_are_not_answered(question: bytes) -> None:
    """What is no question, is too short, or asks for what is not there, is met by silence."""
    assert World().ask(question) == b""


def test_without_a_key_there_is_no_second_version() -> None:
    """A broker without a discovery key is as silent as one of the original."""
    world = World()
    silent = Discovery(world.registry.discoverable, NETWORKS, world.rate)
    assert silent.answer(signed.ask("foo", KEY)[1], NEAR) == b""


class Slow(Time):
    """A clock by which each look takes a millisecond."""

    def seconds(self) -> float:
        """Give the time."""
        self.rightNow += 0.001
        return super().seconds()


def test_digests_of_many_names_are_made_in_slices() -> None:
    """The first question does not stop the broker, however many names there are; soon all of them are found."""
    clock = Slow()
    registry = Registry(None, Time())
    for number in range(100):
        registry.write([Put(f"n{number:02}", {})])
    digests = Digests(registry, KEY, clock)
    last = signed.digest_of(KEY, "n99")
    assert digests.find(last) is None
    registry.write([Delete("n98")])
    assert clock.getDelayedCalls()
    clock.pump([0] * 200)
    assert digests.find(last) == "n99"
    assert digests.find(signed.digest_of(KEY, "n98")) is None
    assert digests.find(signed.digest_of(KEY, "n00")) == "n00"
    digests.stop()
    assert not clock.getDelayedCalls()


def test_digests_follow_the_registry() -> None:
    """What is written and deleted after the first question is found by its digest, or not any more."""
    world = World()
    assert world.ask(signed.ask("foo", KEY)[1])
    world.registry.write([Put("later", {}), Delete("foo")])
    assert world.ask(signed.ask("later", KEY)[1])
    assert not world.ask(signed.ask("foo", KEY)[1])
    world.digests.stop()


@given(answer=st.one_of(st.binary(max_size=200), st.recursive(st.integers() | st.text(), st.lists).map(json.dumps)))
def test_any_answer(answer: Any) -> None:
    """No answer makes the client fail, and none counts that was not signed."""
    data = answer if isinstance(answer, bytes) else answer.encode()
    assert signed.read_answer(data, "AAAA", KEY) is None


# -- sockets ------------------------------------------------------------------------------------------------------


class Sent:
    """A transport that keeps what is sent, or cannot send."""

    def __init__(self, *, fails: bool = False) -> None:
        """Begin with nothing sent."""
        self.fails = fails
        self.sent: list[tuple[bytes, Any]] = []

    def write(self, datagram: bytes, addr: Any) -> None:
        """Send."""
        if self.fails:
            raise OSError("no way there")
        self.sent.append((datagram, addr))


def test_the_answer_goes_back_where_it_came_from() -> None:
    """By the socket that can send, with the whole address; a way that is not there is counted."""
    world = World()
    hears, speaks = Ears(world.discovery), Ears(world.discovery)
    hears.mouth = speaks
    speaks.transport = sent = Sent()  # type: ignore[assignment]
    hears.datagramReceived(b"foo\n", ("fe80::1%3", 5000, 0, 3))
    hears.datagramReceived(b"nope\n", (NEAR, 5000))
    assert sent.sent == [(b"Key Exists\n", ("fe80::1%3", 5000, 0, 3))]
    speaks.transport = Sent(fails=True)  # type: ignore[assignment]
    hears.datagramReceived(b"foo\n", (NEAR, 5000))
    assert world.discovery.counts["unsent"] == 1
