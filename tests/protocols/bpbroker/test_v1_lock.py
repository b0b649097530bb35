"""Locks: one holder at a time, in the order in which they came, and never for longer than the lease."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from brokerkit.registry import Put
from tests.protocols.bpbroker.v1_world import World


@pytest.fixture
def world() -> World:
    """Give a registry and its API."""
    return World()


def test_take_and_release(world: World) -> None:
    """The token renews and releases; without it, or with another, nothing happens."""
    taken = world.ask("PUT", "/v1/lock/job?ttl=10", {"host": "h1"})
    assert (taken.status, taken.json["token"], taken.headers["etag"]) == (201, 1, '"1"')
    held = world.ask("PUT", "/v1/lock/job")
    assert (held.status, held.json["holder"]) == (409, {"host": "h1"})
    assert world.ask("GET", "/v1/lock/job").json["data"] == {"host": "h1"}
    assert world.ask("DELETE", "/v1/lock/job").status == 428
    assert world.ask("DELETE", "/v1/lock/job", if_match='"9"').status == 412
    world.clock.advance(9)
    assert world.ask("POST", "/v1/lock/job/renew", if_match='"1"').json["expires"] == 1_800_000_019
    assert world.ask("DELETE", "/v1/lock/job", if_match='"1"').status == 204
    assert world.ask("DELETE", "/v1/lock/job", if_match='"1"').status == 404
    assert world.ask("GET", "/v1/lock/job").status == 404


def test_a_lease_that_ends(world: World) -> None:
    """A holder that does not renew has lost it, and is told so."""
    world.ask("PUT", "/v1/lock/job?ttl=5")
    world.clock.advance(5)
    assert world.ask("POST", "/v1/lock/job/renew", if_match='"1"').status == 404
    again = world.ask("PUT", "/v1/lock/job")
    assert (again.status, again.json["ttl"]) == (201, 15)
    assert again.json["token"] > 1
    assert world.ask("POST", "/v1/lock/job/renew", if_match='"1"').status == 412


def test_waiting_in_line(world: World) -> None:
    """Those who wait get it one after the other, in the order in which they came."""
    world.ask("PUT", "/v1/lock/job?ttl=100")
    lines = [world.line().begin("PUT", "/v1/lock/job?wait=60&ttl=100") for _ in range(3)]
    world.ask("DELETE", "/v1/lock/job", if_match='"1"')
    tokens = []
    for i, line in enumerate(lines):
        tokens.append(line.reply().json["token"])
        assert all(other.received == b"" for other in lines[i + 1 :])
        world.ask("DELETE", "/v1/lock/job", if_match=f'"{tokens[-1]}"')
    assert tokens == sorted(set(tokens))
    assert world.api.locks._lines == {}


def test_waiting_for_a_lease(world: World) -> None:
    """The end of a lease is a turn, too."""
    world.ask("PUT", "/v1/lock/job?ttl=5")
    line = world.line().begin("PUT", "/v1/lock/job?wait=60")
    world.clock.advance(5)
    assert line.reply().status == 201


def test_waiting_in_vain(world: World) -> None:
    """When the time is over it is 409, and those behind move up."""
    world.ask("PUT", "/v1/lock/job?ttl=100")
    first, second = (world.line().begin("PUT", f"/v1/lock/job?wait={wait}") for wait in (5, 60))
    world.clock.advance(5)
    assert first.reply().status == 409
    world.ask("DELETE", "/v1/lock/job", if_match='"1"')
    assert second.reply().status == 201


def test_who_does_not_wait_does_not_jump_the_line(world: World) -> None:
    """While others wait, one who asks just then does not get it before them."""
    world.ask("PUT", "/v1/lock/job?ttl=100")
    waiting = world.line().begin("PUT", "/v1/lock/job?wait=60")
    assert world.ask("PUT", "/v1/lock/job").status == 409
    world.ask("DELETE", "/v1/lock/job", if_match='"1"')
    assert waiting.reply().status == 201


def test_one_who_leaves_the_line(world: World) -> None:
    """It holds nobody up, and gets nothing."""
    world.ask("PUT", "/v1/lock/job?ttl=100")
    gone, other = (world.line().begin("PUT", "/v1/lock/job?wait=60") for _ in range(2))
    gone.hang_up()
    world.ask("DELETE", "/v1/lock/job", if_match='"1"')
    assert other.reply().status == 201
    assert not world.here


def test_wishes_that_make_no_sense(world: World) -> None:
    """They are 400."""
    for query in ("ttl=0", "ttl=x", "wait=-1", "wait=601", "ttl=1e9"):
        assert world.ask("PUT", f"/v1/lock/job?{query}").status == 400
    assert world.ask("PUT", "/v1/lock/job", b"[]").status == 400


def test_a_lock_is_an_entry(world: World) -> None:
    """It can be listed and watched as all entries; taking one that is an entry already is refused."""
    world.ask("PUT", "/v1/lock/job")
    assert world.ask("GET", "/v1/kv?prefix=lock/&keys").json["names"] == ["lock/job"]
    world.registry.write([Put("lock/other", {})])
    assert world.ask("PUT", "/v1/lock/other").status == 409


def test_stopping(world: World) -> None:
    """Those who wait are let go."""
    world.ask("PUT", "/v1/lock/job?ttl=100")
    line = world.line().begin("PUT", "/v1/lock/job?wait=60")
    world.api.stop()
    assert line.reply().status == 409


def test_one_who_leaves_while_it_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that nobody can be told of is let go at once, not when its lease ends."""
    disk: Deferred[None] = Deferred()
    monkeypatch.setattr(world.registry, "_commit", lambda _: disk)
    line = world.line().begin("PUT", "/v1/lock/job?ttl=100")
    line.hang_up()
    monkeypatch.undo()
    disk.callback(None)
    assert world.registry.get("lock/job") is None
    assert [change.operation for change in world.registry.history("lock/job")] == ["put", "delete"]
