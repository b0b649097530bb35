"""Who asks: looked up once, and out when the right to be here ends, for requests and for streams."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred

from brokerkit.allowance import Allowance
from brokerkit.protocols.kafka_rest import who as module
from brokerkit.protocols.kafka_rest.ledger import TopicLedger
from brokerkit.protocols.kafka_rest.tokens import Tokens
from brokerkit.protocols.kafka_rest.who import Who, normal
from brokerkit.web import Asked, Problem
from tests.protocols.kafka_rest.kastlex_world import World, finished, hashes

if TYPE_CHECKING:
    from pathlib import Path

    from brokerkit.client import Client


def asking(world: World, headers: dict[str, str]) -> Asked:
    """Give a request that shows this."""
    found: list[Asked] = []
    world.service.site._otherwise = lambda asked: found.append(asked) or Deferred()  # type: ignore[func-returns-value]
    world.line.begin("GET", "/somewhere/else", headers=headers)
    (asked,) = found
    return asked


def staying(world: World, headers: dict[str, str], heard: list[str]) -> Client:
    """Log in for a stream."""
    client: Client = finished(world.service.who.stay(asking(world, headers), heard.append))
    return client


def test_a_stream_ends_with_its_token(tmp_path: Path) -> None:
    """When the token expires, the stream is told, once."""
    world = World(tmp_path, token_ttl_seconds=100)
    heard: list[str] = []
    staying(world, world.login("user1"), heard)
    world.advance(99)
    assert heard == []
    world.advance(2)
    assert heard == ["expired"]


def test_a_stream_ends_when_its_token_is_taken_back(tmp_path: Path) -> None:
    """Also by a new login, and only that user's."""
    world = World(tmp_path, token_storage=True)
    heard: list[str] = []
    others: list[str] = []
    user, admin = world.login("user1"), world.login()
    staying(world, user, heard)
    world.line = type(world.line)(world.service.site)
    staying(world, admin, others)
    world.line = type(world.line)(world.service.site)
    assert world.ask("DELETE", "/admin/tokens/user1", **admin).status == 204
    assert (heard, others) == (["revoked"], [])


def test_a_stream_ends_when_its_user_is_gone(tmp_path: Path) -> None:
    """Within seconds after the files say so."""
    world = World(tmp_path)
    heard: list[str] = []
    staying(world, world.login("user1"), heard)
    world.passwd.write_text(hashes({"admin": "admin"}))
    world.permissions.write_text("admin:\n  reload: true\n")
    world.reread()
    world.advance(2)
    assert heard == ["revoked"]


def test_leaving(tmp_path: Path) -> None:
    """A stream that has left is told nothing more, and nothing is left of it."""
    world = World(tmp_path, token_ttl_seconds=100)
    heard: list[str] = []
    client = staying(world, world.login("user1"), heard)
    client.leave()
    world.advance(200)
    assert heard == []
    assert not world.service.who._staying
    assert not world.broker.realm.has(client)


def test_rights_that_change(tmp_path: Path) -> None:
    """Who is remembered has the rights of now."""
    world = World(tmp_path)
    user = world.login("user1")
    assert world.post("/api/v1/messages/kastlex", b"x", **user).status == 204
    world.permissions.write_text("user1:\n  fetch: all\n")
    world.reread()
    world.advance(2)
    assert world.post("/api/v1/messages/kastlex", b"x", **user).status == 403
    assert world.get("/api/v1/messages/kastlex/0", **user).status == 200


def test_no_more_than_so_many_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who came first is looked up again."""
    monkeypatch.setattr(module, "MOST", 3)
    world = World(tmp_path)
    shown = [{"Authorization": "Basic " + b64encode(f"u{i}:secret".encode()).decode()} for i in range(6)]
    for i in range(6):
        world.memory.source.put(f"u{i}", "secret")
    for one in shown:
        assert world.get("/api/v1/topics", **one).status == 200
    assert len(world.service.who) == 3


def test_an_operator_says_who_shows_nothing(tmp_path: Path) -> None:
    """``no_auth_user`` is who gives no credentials."""
    world = World(tmp_path, "user1:\n  list_topics: true\n", no_auth_user="user1")
    assert world.get("/api/v1/topics").status == 200


def test_connections_of_a_user(tmp_path: Path) -> None:
    """Requests of one user count as one connection; where there is no room for that, it is 503."""
    world = World(tmp_path)
    world.memory.source.put("one", "secret", allowance=Allowance(connections=1))
    shown = {"Authorization": "Basic " + b64encode(b"one:secret").decode()}
    for _ in range(3):
        assert world.get("/api/v1/topics", **shown).status == 200
    assert world.post("/login", b"username=one&password=secret").status == 503


def test_a_token_taken_back_at_another_listener(tmp_path: Path) -> None:
    """Two listeners on one log know at once of each other's tokens."""
    world = World(tmp_path, token_storage=True)
    ledger = TopicLedger(world.log, b"_kastlex_tokens", world.memory.reactor)
    ledger.startService()
    other = Tokens(world.service.tokens._key, world.memory.reactor, 60, ledger)
    heard: list[Any] = []
    other.on_revoked(heard.append)
    world.login("user1")
    assert heard == []
    world.login("user1")
    assert heard == ["user1"]


def test_what_is_shown() -> None:
    """The scheme counts in any case; what is no scheme of ours is nothing, what is too long is refused."""
    assert normal(b"BEARER  x ") == b"bearer x"
    assert normal(b"bearer: x") == b"bearer x"
    assert normal(b"Digest x") == normal(b"Bearer") == normal(b"") == b""
    with pytest.raises(Problem):
        normal(b"Bearer " + b"x" * 9000)


def test_it_stops(tmp_path: Path) -> None:
    """When the listener stops, nobody is remembered, and no alarm is left."""
    world = World(tmp_path)
    world.post("/api/v1/messages/kastlex", b"x", **world.login("user1"))
    who: Who = world.service.who
    assert len(who) == 1
    who.stop()
    assert len(who) == 0
    assert who._alarm is None
