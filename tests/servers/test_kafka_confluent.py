"""Confluent's consumer instances over real connections and real restarts: killed, not asked to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.servers.kafka_process import Kept

if TYPE_CHECKING:
    from pathlib import Path

JSON = "application/vnd.kafka.json.v2+json"
CONSUMER = "/consumers/g/instances/c"


def read(broker: Kept) -> list[Any]:
    """Give the values that an instance is given next."""
    return [one["value"] for one in broker.json("GET", f"{CONSUMER}/records?timeout=1000", Accept=JSON)]


def test_an_instance_outlives_a_kill(tmp_path: Path) -> None:
    """After ``kill -9`` the same instance goes on where it had committed, with no record lost and none left out."""
    broker = Kept(tmp_path)
    broker.start()
    try:
        broker.produce("logs.a", *({"value": i} for i in range(5)))
        settings = {"name": "c", "format": "json", "auto.offset.reset": "earliest", "auto.commit.enable": "false"}
        broker.json("POST", "/consumers/g", settings)
        broker.json("POST", f"{CONSUMER}/subscription", {"topics": ["logs.a"]})
        assert read(broker) == [0, 1, 2, 3, 4]
        done = {"offsets": [{"topic": "logs.a", "partition": 0, "offset": 2}]}
        broker.json("POST", f"{CONSUMER}/offsets", done)
        broker.kill()
        broker.start()
        assert broker.json("GET", f"{CONSUMER}/subscription") == {"topics": ["logs.a"]}
        assert read(broker) == [3, 4]
        broker.produce("logs.a", {"value": 5})
        assert read(broker) == [5]
        assert broker.ask("POST", "/consumers/g", settings)[0] == 409
        broker.json("POST", f"{CONSUMER}/offsets")
        broker.kill()
        broker.start()
        broker.produce("logs.a", {"value": 6})
        assert read(broker) == [6]
    finally:
        broker.stop()


def test_what_an_instance_commits_by_itself_outlives_a_kill(tmp_path: Path) -> None:
    """What was committed with a later request is not given again, what was not is: at least once, nothing less."""
    broker = Kept(tmp_path)
    broker.start()
    try:
        broker.produce("logs.a", {"value": "first"})
        broker.json("POST", "/consumers/g", {"name": "c", "format": "json", "auto.offset.reset": "earliest"})
        broker.json("POST", f"{CONSUMER}/subscription", {"topics": ["logs.a"]})
        assert read(broker) == ["first"]
        broker.produce("logs.a", {"value": "second"})
        assert read(broker) == ["second"]
        broker.kill()
        broker.start()
        assert read(broker) == ["second"]
    finally:
        broker.stop()
