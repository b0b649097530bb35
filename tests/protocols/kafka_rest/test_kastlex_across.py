"""KastleX's API beside the other protocols: what comes by one leaves by the other, and the log has it all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.run import Message
from tests.protocols.kafka_rest.kastlex_world import World

if TYPE_CHECKING:
    from pathlib import Path

KEEP = [{"topics": ["pot.>"], "max_topics": 5}]


def test_what_hpfeeds_publishes_is_fetched(tmp_path: Path) -> None:
    """A message by hpfeeds to a kept topic is there by its offset."""
    world = World(tmp_path, keep=KEEP)
    world.memory.client("hpfeeds").publish(b"pot.ssh", b"one")
    world.memory.client("nats").publish(b"pot.ssh", b"two")
    world.advance(1)
    found = world.get("/api/v2/messages/pot.ssh/0/0").json
    assert [(one["offset"], one["value"]) for one in found] == [(0, "one"), (1, "two")]


def test_what_is_produced_is_heard(tmp_path: Path) -> None:
    """A subscriber by NATS hears what is produced over HTTP, and the log has it once."""
    world = World(tmp_path)
    listener = world.memory.client("nats")
    listener.subscribe(b"kastlex")
    assert world.post("/api/v1/messages/kastlex", b"hello", **world.login()).status == 204
    heard = listener.messages()
    assert [(one.topic, one.payload) for one in heard] == [(b"kastlex", b"hello")]
    assert isinstance(heard[0], Message)
    world.advance(1)
    assert world.get("/api/v1/offsets/kastlex/0").json == {"offset": 1}


def test_a_fetch_that_waits_for_another_protocol(tmp_path: Path) -> None:
    """A long poll is answered by what hpfeeds publishes."""
    world = World(tmp_path)
    world.line.begin("GET", "/api/v2/messages/kastlex/0/latest?max_wait_time=30000")
    world.memory.client("hpfeeds").publish(b"kastlex", b"now")
    world.advance(0.5)
    assert [one["value"] for one in world.line.reply().json] == ["now"]


def test_a_topic_of_a_rule_is_made_by_a_produce(tmp_path: Path) -> None:
    """What a rule names need not be made before it is produced to; what none names is unknown."""
    world = World(tmp_path, keep=KEEP)
    admin = world.login()
    assert world.post("/api/v1/messages/pot.web", b"x", **admin).status == 204
    assert world.post("/api/v1/messages/other", b"x", **admin).status == 404


def test_a_prefix(tmp_path: Path) -> None:
    """Behind a prefix a listener has names of its own, for the same topics."""
    world = World(tmp_path, "anonymous:\n  fetch: [pot.ssh]\n  list_topics: true\n", topic_prefix="pot")
    world.make("pot.ssh")
    world.put(b"x", topic="pot.ssh")
    assert world.get("/api/v1/topics").json == ["ssh"]
    assert world.get("/api/v2/messages/ssh/0").json[0]["value"] == "x"
    assert world.get("/api/v2/messages/pot.ssh/0").status == 403
