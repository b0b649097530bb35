"""Who has to wait after failed logins, and who has not."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from brokerkit import throttle
from brokerkit.throttle import ADDRESS, ENTRIES, LATELY, LONGEST, PAIR, PERIOD, Throttle

HERE, THERE = "192.0.2.1", "198.51.100.2"


@pytest.fixture(params=[0.0, 1_800_000_000.123])
def clock(request: pytest.FixtureRequest) -> Clock:
    """Give a clock: one that begins at 0, and one whose last digits are rounded as today's are."""
    clock = Clock()
    clock.rightNow = request.param
    return clock


def _fail(guard: Throttle, address: str, name: bytes, times: int) -> int:
    """Fail as often as it is let; give how often that was."""
    done = 0
    for _ in range(times):
        if guard.admits(address, name):
            guard.failed(address, name)
            done += 1
    return done


def test_one_name_from_one_address(clock: Clock) -> None:
    """So many failures may follow each other; then each has to wait until one more is forgiven."""
    guard = Throttle(clock)
    assert _fail(guard, HERE, b"ann", 50) == PAIR
    assert guard.refused == 50 - PAIR
    clock.advance(PERIOD / PAIR + 0.01)
    assert _fail(guard, HERE, b"ann", 50) == 1
    clock.advance(PERIOD + 1)
    assert _fail(guard, HERE, b"ann", 50) == PAIR


def test_never_a_name_alone(clock: Clock) -> None:
    """What somebody does elsewhere in a name costs its owner nothing."""
    guard = Throttle(clock)
    _fail(guard, THERE, b"ann", 50)
    assert guard.admits(HERE, b"ann")


def test_one_address(clock: Clock) -> None:
    """However many names are tried, an address has so many failures; others are not touched."""
    guard = Throttle(clock)
    assert sum(_fail(guard, HERE, b"%d" % i, 1) for i in range(500)) == ADDRESS
    assert not guard.admits(HERE, b"ann")
    assert guard.admits(THERE, b"ann")


def test_who_lately_succeeded_is_exempt(clock: Clock) -> None:
    """Behind the address of an attacker, those who were let in before get in still; for a day."""
    guard = Throttle(clock)
    guard.succeeded(HERE, b"ann")
    for i in range(500):
        _fail(guard, HERE, b"%d" % i, 1)
    assert guard.admits(HERE, b"ann")
    assert not guard.admits(HERE, b"bob")
    clock.advance(LATELY - PERIOD)
    for i in range(500):
        _fail(guard, HERE, b"%d" % i, 1)
    assert guard.admits(HERE, b"ann")
    clock.advance(PERIOD)
    for i in range(500):
        _fail(guard, HERE, b"%d" % i, 1)
    assert not guard.admits(HERE, b"ann")


def test_a_success_forgives_the_name_and_a_failure_ends_the_exemption(clock: Clock) -> None:
    """The debt of a pair is gone with its success; with a failure, so is what its success was good for."""
    guard = Throttle(clock)
    _fail(guard, HERE, b"ann", PAIR - 1)
    guard.succeeded(HERE, b"ann")
    assert _fail(guard, HERE, b"ann", 50) == PAIR
    for i in range(500):
        _fail(guard, HERE, b"%d" % i, 1)
    clock.advance(PERIOD / PAIR + 0.01)
    _fail(guard, HERE, b"x", 500)
    assert not guard.admits(HERE, b"ann")


def test_the_nameless_help_nobody(clock: Clock) -> None:
    """Who logs in without a name, between one guess and the next, is not let guess any more than others."""
    guard = Throttle(clock)
    guesses = 0
    for _ in range(500):
        guard.succeeded(HERE, b"")
        guesses += _fail(guard, HERE, b"", 1)
    assert guesses == ADDRESS


def test_many_at_once_owe_much_but_not_for_ever(clock: Clock) -> None:
    """A thousand guesses that were all admitted before the first had failed are paid for, within bounds."""
    guard = Throttle(clock)
    for _ in range(1000):
        guard.failed(HERE, b"ann")
    clock.advance(PERIOD * 2)
    assert not guard.admits(HERE, b"ann")
    clock.advance(LONGEST - PERIOD)
    assert guard.admits(HERE, b"ann")


def test_no_address(clock: Clock) -> None:
    """On a UNIX socket there is nobody to tell from others."""
    guard = Throttle(clock)
    assert _fail(guard, "", b"ann", 500) == 500
    assert len(guard) == 0


def test_the_clock_is_set_back(clock: Clock) -> None:
    """Nobody is locked out until it is that late again."""
    guard = Throttle(clock)
    guard.succeeded(HERE, b"bob")
    _fail(guard, HERE, b"ann", 50)
    clock.rightNow -= 7200
    assert guard.admits(HERE, b"ann")
    assert _fail(guard, HERE, b"ann", 50) == PAIR
    assert guard.admits(HERE, b"bob")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::2:3", True),
        ("2001:db8::1", "2001:DB8:0:0:ffff::1%eth0", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", False),
        ("no:address", "no:address", True),
        ("no:address", "no:other", False),
    ],
)
def test_ipv6(clock: Clock, one: str, other: str, same: bool) -> None:
    """A network of half an address is one machine's; what stands for an IPv4 address is that one."""
    guard = Throttle(clock)
    _fail(guard, one, b"ann", 50)
    assert guard.admits(other, b"ann") is not same


def test_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table keeps so many entries, the latest, and of long names no more than a few bytes."""
    monkeypatch.setattr(throttle, "ENTRIES", 100)
    guard = Throttle(clock)
    for i in range(1000):
        guard.failed(f"192.0.2.{i}", b"x" * 4000)
        guard.succeeded(f"192.0.2.{i}", b"y" * 4000)
    assert len(guard) == 200
    assert max(len(name) for table in (guard._paid, guard._succeeded) for _, name in table) <= throttle.LONG
    _fail(guard, "192.0.2.999", b"x" * 4000, 50)
    assert not guard.admits("192.0.2.999", b"x" * 4000)
    assert guard.admits("192.0.2.999", b"x" * 4001)
    assert ENTRIES == 65536
