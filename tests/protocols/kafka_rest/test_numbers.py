"""What the metrics say of kept topics over HTTP, and of consumer groups."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit import metrics_kept
from brokerkit.metrics import Numbers
from tests.protocols.kafka_rest.v1_world import LINES, World

KAFKA = ("kafka",)


@pytest.fixture
def world() -> World:
    """Give a broker with a record."""
    found = World(requests_per_second=20)
    found.put(b"0")
    return found


def numbers(world: World) -> dict[Any, float]:
    """Give all samples, by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in Numbers(world.broker).collect()
        for sample in family.samples
    }


def socket(world: World) -> Any:
    """Open a WebSocket."""
    key = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    return world.begin("GET", "/v1/follow", None, Upgrade="websocket", Connection="Upgrade", **key)


def test_who_follows(world: World) -> None:
    """Streams are counted by their kind while they go on."""
    lines = [world.begin("GET", "/v1/topics/a/follow"), world.begin("GET", "/v1/topics/a/follow", Accept=LINES)]
    lines += [world.begin("GET", "/v1/topics/a/follow"), socket(world)]
    found = numbers(world)
    kinds = {kind: found["brokerkit_followers", "kafka", kind] for kind in ("events", "lines", "websocket")}
    assert kinds == {"events": 2, "lines": 1, "websocket": 1}
    for line in lines:
        line.hang_up()
    assert sum(value for key, value in numbers(world).items() if key[0] == "brokerkit_followers") == 0


def test_who_is_cut_off(world: World) -> None:
    """A stream that nobody reads is cut off, and counted."""
    line = world.begin("GET", "/v1/topics/a/follow")
    line.peer.stop_reading()
    for _ in range(40):
        world.put(b"x" * 100_000)
    for _ in range(40):
        world.advance(1)
    assert numbers(world)["brokerkit_followers_cut_total", "kafka"] == 1


def test_who_waits(world: World) -> None:
    """Long polls of all APIs are counted while they wait, those of groups apart."""
    world.post("/v1/groups/g/members", {"member": "m", "topics": ["a"]})
    for target in ("/v1/topics/a/records?offset=latest&wait=5", "/api/v1/messages/a/0/latest?max_wait_time=5000"):
        world.begin("GET", target)
    world.begin("POST", "/v1/groups/g/members/m/poll?wait=5", b"")
    assert numbers(world)["brokerkit_long_polls", "kafka"] == 2
    assert numbers(world)["brokerkit_group_long_polls",] == 1
    world.advance(6)
    assert numbers(world)["brokerkit_long_polls", "kafka"] == 0
    assert numbers(world)["brokerkit_group_long_polls",] == 0


def test_an_assigned_instance_that_waits(world: World) -> None:
    """So is a request for records of partitions that were assigned by hand."""
    plain = "application/vnd.kafka.v2+json"
    world.post("/consumers/g", {"name": "c"}, Content_Type=plain)
    places = {"partitions": [{"topic": "a", "partition": 0}]}
    world.post("/consumers/g/instances/c/assignments", places, Content_Type=plain)
    world.begin("GET", "/consumers/g/instances/c/records?timeout=5000")
    assert numbers(world)["brokerkit_long_polls", "kafka"] == 1


def test_quotas(world: World) -> None:
    """Requests beyond what a user may ask for are counted."""
    statuses = [world.get("/v1/topics").status for _ in range(45)]
    assert statuses.count(429) == numbers(world)["brokerkit_quota_refused_total", "kafka"] == 5


def test_logins(world: World) -> None:
    """Who is known and who is not; who shows nothing has not tried."""
    before = numbers(world)
    world.get("/v1/topics", "ann")
    world.get("/v1/topics", "nobody")
    world.get("/v1/topics", "")
    world.get("/v1/topics", "", Authorization="Bearer a.b.c")
    world.post("/login", b"username=ann&password=x", "")
    world.post("/login", b"username=ann&password=y", "")
    found = numbers(world)
    counted = {name: found[name, "kafka"] - before[name, "kafka"] for name, *_ in LOGINS}
    assert counted == dict(LOGINS)


LOGINS = (("brokerkit_logins_total", 2), ("brokerkit_logins_refused_total", 3))


def test_groups(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups, members and lag; beyond so many groups, the rest are one."""
    for i in range(4):
        offsets = {"offsets": [{"topic": "a", "partition": 0, "offset": 0}]}
        assert world.post(f"/v1/groups/g{i}/offsets", offsets).status == 204
    for _ in range(3):
        world.put(b"x")
    world.post("/v1/groups/m/members", {"member": "m", "topics": ["a"]})
    found = numbers(world)
    assert (found["brokerkit_groups",], found["brokerkit_group_members",]) == (5, 1)
    assert found["brokerkit_group_lag", "$G", "g2"] == 4
    monkeypatch.setattr(metrics_kept, "GROUPS", 3)
    lags = {key[1:]: value for key, value in numbers(world).items() if key[0] == "brokerkit_group_lag"}
    assert len(lags) == 4
    assert lags["other", "other"] == 4
    monkeypatch.setattr(metrics_kept, "PLACES", 2)
    assert len([key for key in numbers(world) if key[0] == "brokerkit_group_lag"]) == 2


def test_nothing_is_made_for_it() -> None:
    """A broker without kept topics says that there are no groups, and has none."""
    from brokerkit.testing import MemoryBroker

    memory = MemoryBroker()
    names = {sample.name for family in Numbers(memory.broker).collect() for sample in family.samples}
    assert "brokerkit_groups" in names
    assert not memory.broker.has_groups
