"""How much one user may publish."""

from __future__ import annotations

import pytest

from brokerkit.allowance import BURST, UNBOUNDED, Allowance, Meter
from brokerkit.client import Client, User
from brokerkit.errors import OverAllowance
from brokerkit.grants import ALL
from brokerkit.router import Router
from brokerkit.run import Message, Spoken
from brokerkit.turn import Turn

NOW = 1000.0


def _meter(rate: float = 0.0, payload: int = 0) -> Meter:
    meter = Meter.of(Allowance(rate=rate, payload=payload))
    assert meter is not None
    return meter


def _run(*payloads: bytes) -> Spoken:
    return Spoken([Message(b"a", payload) for payload in payloads])


def test_nothing_to_measure() -> None:
    """Who has no limits on messages has no meter."""
    assert Meter.of(UNBOUNDED) is Meter.of(Allowance(connections=1, subscriptions=1)) is None


def test_rate() -> None:
    """A second's worth may come at once; from then on each message takes its time."""
    meter = _meter(rate=10)
    meter.count(10)
    assert meter.wait(NOW) == pytest.approx(1.0 - BURST)
    meter.count(5)
    assert meter.wait(NOW) == pytest.approx(0.5)
    assert meter.wait(NOW + 0.2) == pytest.approx(0.3)
    meter.count(1)
    assert meter.wait(NOW + 0.5) == pytest.approx(0.1)


def test_what_was_not_used_is_not_saved() -> None:
    """After an hour of silence it is a second's worth again."""
    meter = _meter(rate=10)
    meter.wait(NOW)
    meter.count(30)
    assert meter.wait(NOW + 3600) == pytest.approx(3.0 - BURST)


def test_slower_than_one_in_a_second() -> None:
    """A rate may be a fraction."""
    meter = _meter(rate=0.1)
    meter.count(1)
    assert meter.wait(NOW) == pytest.approx(10.0 - BURST)


def test_the_clock_is_set_back() -> None:
    """What is owed stays what it is: nobody waits until it is that late again."""
    meter = _meter(rate=10)
    meter.count(30)
    assert meter.wait(NOW) == pytest.approx(2.0)
    assert meter.wait(NOW - 500) == pytest.approx(2.0)
    assert meter.wait(NOW - 499) == pytest.approx(1.0)


def test_goes_on_where_the_former_was() -> None:
    """A new meter for the same connection begins with what is owed; one without a rate has nothing to do with it."""
    former = _meter(rate=10)
    former.count(30)
    meter = Meter.of(Allowance(rate=10), former)
    assert meter is not None
    assert meter.wait(NOW) == pytest.approx(2.0)
    unhurried = Meter.of(Allowance(payload=5), meter)
    assert unhurried is not None
    assert unhurried.wait(NOW) <= 0
    assert Meter.of(UNBOUNDED, meter) is None


def test_payload() -> None:
    """A run fits up to the first payload that is too large."""
    meter = _meter(payload=3)
    assert meter.fitting(_run(b"123", b"", b"12")) == 3
    assert meter.fitting(_run(b"123", b"1234", b"12")) == 1
    assert _meter(rate=1).fitting(_run(b"x" * 100)) == 1


def test_what_comes_before_the_large_one_is_published() -> None:
    """And it is said how much that was; what comes behind it is not."""
    client = Client(User(b"ann", "test", ALL, allowance=Allowance(payload=3)), Router(), Turn())
    heard: list[tuple[bytes, bytes]] = []
    client.subscribe(b"a", lambda batch: heard.extend((batch.sender, m.payload) for m in batch))
    with pytest.raises(OverAllowance, match="3 bytes") as raised:
        client.send(_run(b"1", b"22", b"4444", b"3"))
    assert heard == [(b"ann", b"1"), (b"ann", b"22")]
    assert raised.value.passed == 2
    assert client.send(_run(b"5")) == 1
