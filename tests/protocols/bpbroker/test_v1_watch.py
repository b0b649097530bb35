"""Watching: nothing is missed from a revision on, nobody hears what is not theirs, and a slow one costs nothing."""

from __future__ import annotations

import pytest

from brokerkit.registry import Delete, Put
from tests.protocols.bpbroker.v1_world import World, events, shown

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def world() -> World:
    """Give a registry and its API."""
    return World()


def _names(line: object) -> list[object]:
    return [(one.get("event"), one["data"].get("name")) for one in events(line) if "data" in one]


def test_what_is_there(world: World) -> None:
    """Without an index, the answer is what is there, and the index to go on from."""
    world.put("a", {})
    world.put("b", {})
    found = world.ask("GET", "/v1/watch?prefix=a").json
    assert ([one["name"] for one in found["entries"]], found["index"]) == (["a"], 2)


def test_a_question_that_waits(world: World) -> None:
    """It is answered when something it asks for changes, and not by anything else."""
    world.put("a", {})
    line = world.line().begin("GET", "/v1/watch?prefix=a&index=1")
    world.put("b", {})
    assert line.received == b""
    world.put("ab", {"n": 1})
    found = line.reply().json
    assert [(one["operation"], one["name"], one["record"]["data"]) for one in found["changes"]] == [
        ("put", "ab", {"n": 1})
    ]
    assert found["index"] == 3
    assert len(world.api.watching) == 0
    assert not world.here


def test_what_has_changed_already(world: World) -> None:
    """Changes since the index are answered at once, deletions and expiries too."""
    world.put("a", {})
    world.ask("PUT", "/v1/kv/b?ttl=1", {})
    world.ask("DELETE", "/v1/kv/a")
    world.clock.advance(1)
    changes = world.ask("GET", "/v1/watch?index=0").json["changes"]
    assert [(one["operation"], one["name"]) for one in changes] == [
        ("put", "a"),
        ("put", "b"),
        ("delete", "a"),
        ("expire", "b"),
    ]


def test_the_time_is_over(world: World) -> None:
    """It is answered with nothing, a little later than it asked for, at random; the index moves on."""
    line = world.line().begin("GET", "/v1/watch?name=a&index=0&wait=16")
    world.put("b", {})
    world.clock.advance(16)
    world.clock.advance(1)
    assert line.reply().json == {"index": 1, "changes": []}
    assert world.ask("GET", "/v1/watch?name=a&index=0&wait=0").json == {"index": 1, "changes": []}


def test_one_name_is_not_a_prefix(world: World) -> None:
    """A watch of one name hears of that name only."""
    line = world.line().begin("GET", "/v1/watch?name=a&index=0")
    world.put("ab", {})
    assert line.received == b""
    world.put("a", {})
    assert [one["name"] for one in line.reply().json["changes"]] == ["a"]


def test_what_is_forgotten() -> None:
    """An index that is too old, or was never given, is 410 with where to begin."""
    world = World(history=10)
    for i in range(400):
        world.put("a", {"i": i})
    gone = world.ask("GET", "/v1/watch?index=1")
    assert (gone.status, gone.json["index"]) == (410, 400)
    assert gone.json["oldest"] > 100
    assert world.ask("GET", "/v1/watch?index=401").status == 410
    assert world.ask("GET", "/v1/watch", last_event_id="1", accept="text/event-stream").status == 410
    assert world.ask("GET", f"/v1/watch?index={gone.json['oldest']}").status == 200


@pytest.mark.parametrize(
    "query",
    ["index=x", "index=-1", "index=" + "9" * 30, "wait=x", "wait=601", "name=a&prefix=b", "prefix=_", "name=_x"],
)
def test_what_cannot_be_watched(world: World, query: str) -> None:
    """It is 400."""
    assert world.ask("GET", f"/v1/watch?{query}").status == 400


def test_one_who_leaves(world: World) -> None:
    """Nothing of it stays."""
    for headers in ({}, STREAM):
        line = world.line().begin("GET", "/v1/watch?index=0", headers=headers)
        assert len(world.api.watching) == 1
        line.hang_up()
        assert len(world.api.watching) == 0
        assert not world.here
    assert world.clock.getDelayedCalls() == []


# -- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream(world: World) -> None:
    """First comes what is there, then that it was all, then each change with its revision."""
    world.put("a", {"n": 1})
    line = world.line().begin("GET", "/v1/watch", headers=STREAM)
    head = line.reply()
    assert (head.status, head.headers["content-type"]) == (200, "text/event-stream")
    first, ready = [one for one in events(line) if "data" in one]
    assert (first["event"], first["data"]["record"]["data"], "id" in first) == ("put", {"n": 1}, False)
    assert (ready["event"], ready["id"]) == ("ready", "1")
    world.put("b", {})
    world.ask("DELETE", "/v1/kv/a")
    world.ask("PUT", "/v1/kv/b?ttl=5", {})
    world.clock.advance(5)
    assert [(one["id"], one["event"], one["data"]["name"]) for one in events(line)] == [
        ("2", "put", "b"),
        ("3", "delete", "a"),
        ("4", "put", "b"),
        ("5", "expire", "b"),
    ]


def test_a_stream_that_goes_on(world: World) -> None:
    """From Last-Event-ID on, nothing is missed and nothing comes twice."""
    for name in "abc":
        world.put(name, {})
    line = world.line().begin("GET", "/v1/watch", headers={**STREAM, "Last-Event-ID": "1"})
    line.reply()
    world.put("d", {})
    assert _names(line) == [("put", "b"), ("put", "c"), ("put", "d")]


def test_a_stream_is_alive(world: World) -> None:
    """Now and then it says so, with the revision that it has come to, also if that was not for it."""
    line = world.line().begin("GET", "/v1/watch?name=a", headers=STREAM)
    line.reply()
    events(line)
    world.put("b", {})
    world.clock.advance(15)
    assert events(line) == [{"id": "1"}]


def test_a_stream_of_what_may_be_read(world: World) -> None:
    """Others' entries are in no stream."""
    world.put("b", {})
    line = world.line().begin("GET", "/v1/watch", headers={**STREAM, **shown("only-a")})
    line.reply()
    world.put("a", {})
    world.put("b", {})
    assert _names(line) == [("ready", None), ("put", "a")]


def test_a_right_that_ends(world: World) -> None:
    """A user who may no longer be here hears no more."""
    line = world.line().begin("GET", "/v1/watch", headers=STREAM)
    line.reply()
    (client,) = world.here
    client.ended("revoked")
    events(line)
    world.put("a", {})
    assert line.received == b""
    assert len(world.api.watching) == 0


def test_a_large_beginning(world: World) -> None:
    """What is there comes piece by piece, and others get their turn in between."""
    for i in range(1000):
        world.registry.write([Put(f"a{i:04}", {"x": "y" * 100})])
    line = world.line().begin("GET", "/v1/watch", headers=STREAM)
    line.reply()
    world.registry.write([Put("a0000", {"late": True})])
    found = []
    for _ in range(20):
        found += events(line)
        line.advance()
    names = [one["data"].get("name") for one in found if one.get("event") == "put"]
    assert set(names) == {f"a{i:04}" for i in range(1000)}
    assert found[-1]["data"]["record"]["data"] == {"late": True}


def test_a_reader_that_is_slow(world: World) -> None:
    """Nothing is kept for one that does not read; when it reads again it misses nothing."""
    line = world.line().begin("GET", "/v1/watch?index=0", headers=STREAM)
    line.reply()
    line.peer.stop_reading()
    for i in range(500):
        world.registry.write([Put("a", {"i": i, "x": "y" * 1000})])
    assert line.peer.transport.pending < 200_000
    line.peer.reads = True
    found = []
    for _ in range(20):
        line.peer.transport.drain()
        found += events(line)
    assert [one["data"]["record"]["data"]["i"] for one in found] == list(range(500))
    line.hang_up()


def test_a_reader_that_has_stopped(world: World) -> None:
    """It is cut off after a while, and counted."""
    line = world.line().begin("GET", "/v1/watch?index=0", headers=STREAM)
    line.peer.stop_reading()
    for i in range(100):
        world.registry.write([Put("a", {"i": i, "x": "y" * 1000})])
    line.advance(29)
    assert not line.closed
    line.advance(1)
    line.advance()
    assert line.closed
    assert world.registry.slow_watchers == 1
    assert not world.here


def test_a_place_that_is_forgotten() -> None:
    """A reader that falls too far behind is told to begin anew, and its stream ends."""
    world = World(history=10)
    line = world.line().begin("GET", "/v1/watch?index=0", headers=STREAM)
    line.reply()
    line.peer.stop_reading()
    for i in range(900):
        world.registry.write([Put("a", {"i": i, "x": "y" * 1000})])
    line.peer.reads = True
    line.peer.transport.drain()
    data = line.peer.take()
    assert b"event: compacted" in data
    assert data.endswith(b"0\r\n\r\n")
    assert len(world.api.watching) == 0


def test_stopping(world: World) -> None:
    """Everybody who watches is let go."""
    stream = world.line().begin("GET", "/v1/watch?index=0", headers=STREAM)
    question = world.line().begin("GET", "/v1/watch?index=0")
    world.api.stop()
    stream.reply()
    assert stream.received.endswith(b"0\r\n\r\n")
    assert question.reply().json == {"index": 0, "changes": []}
    assert not world.here


def test_a_change_is_written_once_for_all(world: World) -> None:
    """However many watch, a change is made into text once."""
    lines = [world.line().begin("GET", "/v1/watch?name=a&index=0", headers=STREAM) for _ in range(50)]
    world.put("a", {"n": 1})
    assert {line.received.partition(b"\r\n\r\n")[2] for line in lines} == {lines[0].received.partition(b"\r\n\r\n")[2]}
    assert len(world.api.watching.texts._texts) == 1
    world.registry.write([Delete("a")])
    for line in lines:
        line.reply()
        assert [one["event"] for one in events(line)] == ["put", "delete"]


def test_what_happens_elsewhere() -> None:
    """However much that is, who waits for something else does not lose its place."""
    world = World(history=10)
    stream = world.line().begin("GET", "/v1/watch?name=a&index=0", headers=STREAM)
    question = world.line().begin("GET", "/v1/watch?name=a&index=0&wait=60")
    quiet = world.line().begin("GET", "/v1/watch?name=c&index=0&wait=1")
    for i in range(1000):
        world.registry.write([Put("b", {"i": i})])
    world.registry.write([Put("a", {})])
    stream.reply()
    assert [(one["id"], one["event"]) for one in events(stream)] == [("1001", "put")]
    assert question.reply().json["index"] == 1001
    world.clock.advance(2)
    assert quiet.reply().json == {"index": 1001, "changes": []}
