"""What is written straight to a socket: it goes at once, in order, and nothing is lost when the kernel is full."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock

from brokerkit.straight import Straight, straight

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pair:
    """A connection of Twisted's, and the socket at its other end."""

    def __init__(self) -> None:
        """Connect them."""
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.peer.settimeout(5)
        self.reactor: Any = MemoryReactorClock()
        self.transport: Any = Connection(ours, Protocol(), self.reactor)  # type: ignore[no-untyped-call]
        self.transport.connected = 1
        self.straight: Any = straight(self.transport)

    @property
    def waits(self) -> bool:
        """Whether the reactor is to say when there is room."""
        return self.transport in self.reactor.writers

    def take(self, size: int) -> bytes:
        """Read so many bytes at the other end, while the reactor does its part."""
        got = b""
        while len(got) < size:
            got += self.peer.recv(size - len(got))
            if self.waits:
                self.transport.doWrite()
        return got


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Give one."""
    pair = Pair()
    yield pair
    pair.peer.close()
    pair.transport.socket.close()


def test_at_once(pair: Pair) -> None:
    """What the kernel takes needs no round of the reactor."""
    pair.straight.write(b"one")
    pair.straight.write(b"two")
    assert pair.peer.recv(10) == b"onetwo"
    assert not pair.waits


def test_in_order(pair: Pair) -> None:
    """What it does not take waits, and everything that is written later waits behind it."""
    parts = [bytes([65 + i]) * 300_000 for i in range(8)]
    for part in parts:
        pair.straight.write(part)
    assert pair.waits
    assert pair.take(2_400_000) == b"".join(parts)
    assert not pair.waits
    pair.straight.write(b"again at once")
    assert pair.peer.recv(20) == b"again at once"


def test_a_peer_that_has_gone(pair: Pair) -> None:
    """It is the reactor that finds it out; who writes notices nothing."""
    pair.peer.close()
    pair.straight.write(b"x")
    pair.straight.write(b"y")
    assert pair.waits
    assert isinstance(pair.transport.doWrite(), Exception)


def test_a_producer_is_paused(pair: Pair) -> None:
    """Whoever writes more than fits is told to stop, as by the transport itself."""
    said: list[str] = []

    class Producer:
        pauseProducing = staticmethod(lambda: said.append("pause"))
        resumeProducing = staticmethod(lambda: said.append("resume"))

    pair.straight.registerProducer(Producer(), True)
    pair.straight.write(b"x" * 3_000_000)
    assert said == ["pause"]
    pair.take(3_000_000)
    assert said == ["pause", "resume"]


def test_other_transports() -> None:
    """What is no TCP socket is written to as ever."""
    other = object()
    assert straight(other) is other
    assert isinstance(Pair().straight, Straight)
