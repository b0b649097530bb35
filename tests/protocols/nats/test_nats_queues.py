"""Queue groups: one member gets each message, and all members about as many.

Fairness is measured by chi-square: for k members and n messages each, the sum of the squared deviations from n, divided
by n, stays below a bound that a fair pick exceeds once in a million runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brokerkit.testing import MemoryBroker

from .words import NO_ECHO, QUIET

if TYPE_CHECKING:
    from brokerkit.testing import Peer

BOUNDS = {2: 24.0, 3: 27.7, 5: 33.4, 10: 45.1}  # chi-square with k-1 degrees of freedom, p = 1e-6
EACH = 400
MESSAGE = b"PUB foo.bar 1\r\nx\r\n"


def connect(memory: MemoryBroker, first: bytes) -> Peer:
    """Connect, and say the first words."""
    peer = memory.connect("nats")
    peer.send(first)
    peer.take()
    return peer


def broker() -> MemoryBroker:
    """Give a broker that lets everybody in."""
    return MemoryBroker(auth=("anonymous",))


def publish(memory: MemoryBroker, number: int) -> None:
    """Publish so many messages in chunks of different sizes."""
    speaks = connect(memory, QUIET)
    while number:
        now = min(number, 1 + number % 37)
        speaks.send(MESSAGE * now)
        number -= now


def chi_square(counts: list[int]) -> float:
    """Give how far the counts are from being equal."""
    mean = sum(counts) / len(counts)
    return sum((count - mean) ** 2 for count in counts) / mean


@pytest.mark.parametrize("members", BOUNDS)
def test_fair_among_connections(members: int) -> None:
    """Members on connections of their own get about as many messages each, and no message is lost or doubled."""
    memory = broker()
    peers = [connect(memory, QUIET + b"SUB foo.bar g 1\r\n") for _ in range(members)]
    publish(memory, EACH * members)
    counts = [peer.take().count(b"MSG foo.bar 1 1\r\nx\r\n") for peer in peers]
    assert sum(counts) == EACH * members
    assert chi_square(counts) < BOUNDS[members]


def test_fair_on_one_connection() -> None:
    """So do members on one connection."""
    memory = broker()
    peer = connect(memory, QUIET + b"".join(b"SUB foo.bar g %d\r\n" % sid for sid in range(5)))
    publish(memory, EACH * 5)
    heard = peer.take()
    counts = [heard.count(b"MSG foo.bar %d 1\r\n" % sid) for sid in range(5)]
    assert sum(counts) == EACH * 5
    assert chi_square(counts) < BOUNDS[5]


def test_fair_across_subjects_that_overlap() -> None:
    """Members with one queue name are one group for a message, whatever subjects they asked for."""
    memory = broker()
    subjects = (b"foo.bar", b"foo.*", b"foo.>", b"*.bar", b">")
    peers = [connect(memory, QUIET + b"SUB %b g 1\r\n" % subject) for subject in subjects]
    other = connect(memory, QUIET + b"SUB foo.* h 1\r\n")
    publish(memory, EACH * 5)
    counts = [peer.take().count(b"MSG foo.bar") for peer in peers]
    assert sum(counts) == EACH * 5
    assert chi_square(counts) < BOUNDS[5]
    assert other.take().count(b"MSG foo.bar") == EACH * 5


def test_fair_among_those_who_can() -> None:
    """A member that may not hear its own messages leaves its share to the others."""
    memory = broker()
    peers = [connect(memory, QUIET + b"SUB foo.bar g 1\r\n") for _ in range(3)]
    own = connect(memory, NO_ECHO + b"SUB foo.bar g 1\r\n")
    own.send(MESSAGE * 1200)
    assert own.take() == b""
    counts = [peer.take().count(b"MSG foo.bar") for peer in peers]
    assert sum(counts) == 1200


def test_members_that_leave_one_by_one() -> None:
    """Each ends after its number of messages; when none is left, a request is answered by 503."""
    memory = broker()
    limits = (1, 5, 20)
    peers = [connect(memory, QUIET + b"SUB foo.bar g 1\r\nUNSUB 1 %d\r\n" % limit) for limit in limits]
    asks = connect(memory, NO_ECHO + b"SUB r 1\r\n")
    asks.send(b"PUB foo.bar r 1\r\nx\r\n" * 30)
    assert [peer.take().count(b"MSG foo.bar") for peer in peers] == list(limits)
    assert asks.take().count(b"NATS/1.0 503") == 30 - sum(limits)


def test_a_full_member_is_passed_over() -> None:
    """A member whose reader is far behind gets nothing while another can take it."""
    settings = {"outbox_limit": 256 * 1024, "outbox_deadline": 1000.0, "ping_interval": 1000.0}
    memory = MemoryBroker(auth=("anonymous",), settings={"nats": settings})
    stalled, able = (connect(memory, QUIET + b"SUB foo.bar g 1\r\n") for _ in range(2))
    stalled.stop_reading()
    speaks = connect(memory, QUIET)
    body = bytes(32 * 1024)
    for _ in range(40):
        speaks.send(b"PUB foo.bar %d\r\n%b\r\n" % (len(body), body))
        memory.advance(2.0)
    assert not stalled.closed
    took = able.take().count(b"MSG foo.bar")
    assert took >= 40 - 256 // 32
    assert took + stalled.read().count(b"MSG foo.bar") == 40


def test_many_answers_to_one_request() -> None:
    """All plain subscribers and one of each group answer, in any order, and the requester takes as many as it asked."""
    memory = broker()
    plain = [connect(memory, QUIET + b"SUB svc 1\r\n") for _ in range(3)]
    group = [connect(memory, QUIET + b"SUB svc g 1\r\n") for _ in range(3)]
    asks = connect(memory, QUIET + b"SUB _INBOX.x.* 1\r\n")
    asks.send(b"PUB svc _INBOX.x.1 0\r\n\r\n")
    answered = 0
    for peer in (*plain, *group):
        if b"MSG svc 1 _INBOX.x.1 0" in peer.take():
            peer.send(b"PUB _INBOX.x.1 2\r\nok\r\n")
            answered += 1
    assert answered == 4
    assert asks.take() == b"MSG _INBOX.x.1 1 2\r\nok\r\n" * 4
