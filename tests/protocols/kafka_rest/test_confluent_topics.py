"""Confluent's API for topics: what is there, producing, and reading by offset."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode

import pytest

from brokerkit.log.words import Busy, NoRoom, Topic
from tests.protocols.kafka_rest.confluent_world import BINARY, JSON, PLAIN, World, code


@pytest.fixture
def world() -> World:
    """Give a broker with a topic of one partition and one of three."""
    world = World()
    world.produce("logs.a", 1)
    world.broker.log.create(Topic("", b"three", "", 3))
    return world


def test_what_is_there(world: World) -> None:
    """Topics, partitions and brokers are shown in Confluent's shape, with its media type."""
    reply = world.ask("GET", "/topics")
    assert (reply.status, reply.headers["content-type"], reply.json) == (200, PLAIN, ["logs.a", "three"])
    replicas = [{"broker": 0, "leader": True, "in_sync": True}]
    partitions = [{"partition": i, "leader": 0, "replicas": replicas} for i in range(3)]
    shown = world.ask("GET", "/topics/three").json
    assert (shown["name"], shown["partitions"], shown["configs"]["cleanup.policy"]) == ("three", partitions, "delete")
    assert world.ask("GET", "/topics/three/partitions").json == partitions
    assert world.ask("GET", "/topics/three/partitions/2").json == partitions[2]
    assert world.ask("GET", "/topics/logs.a/partitions/0/offsets").json == {"beginning_offset": 0, "end_offset": 1}
    assert world.ask("GET", "/brokers").json == {"brokers": [0]}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/topics/nothing", 40401),
        ("/topics/nothing/partitions", 40401),
        ("/topics/three/partitions/3", 40402),
        ("/topics/three/partitions/x", 40402),
        ("/topics/three/partitions/-1", 40402),
        ("/topics/three/partitions/3/offsets", 40402),
        ("/topics/nothing/partitions/0/records?offset=0", 40401),
        ("/topics/three/what", 404),
        ("/consumers", 404),
    ],
)
def test_what_is_not_there(world: World, target: str, expected: int) -> None:
    """It is 404 with the code that says what is missing."""
    assert code(world.ask("GET", target)) == (404, expected)


def test_produce_binary(world: World) -> None:
    """Keys and values in base64 are kept as bytes; the answer says where each is."""
    records = [
        {"key": b64encode(b"k").decode(), "value": b64encode(b"\x00\xff").decode(), "partition": 2},
        {"value": None, "partition": 2},
        {"value": "", "partition": 0},
    ]
    reply = world.ask("POST", "/topics/three", {"records": records}, Content_Type=BINARY)
    assert (reply.status, reply.headers["content-type"]) == (200, PLAIN)
    assert (reply.json["key_schema_id"], reply.json["value_schema_id"]) == (None, None)
    places = [(one["partition"], one["offset"], one["error_code"], one["error"]) for one in reply.json["offsets"]]
    assert places == [(2, 0, None, None), (2, 1, None, None), (0, 0, None, None)]
    read = world.ask("GET", "/topics/three/partitions/2/records?offset=0").json
    assert [(one["key"], one["value"]) for one in read] == [("aw==", "AP8="), (None, None)]


def test_produce_to_a_partition(world: World) -> None:
    """The path may name the partition; then all go there."""
    body = {"records": [{"value": 1}, {"value": 2}]}
    reply = world.ask("POST", "/topics/three/partitions/1", body, Content_Type=JSON)
    assert [(one["partition"], one["offset"]) for one in reply.json["offsets"]] == [(1, 0), (1, 1)]
    assert code(world.ask("POST", "/topics/three/partitions/3", body, Content_Type=JSON)) == (404, 40402)


def test_keys_choose_the_partition(world: World) -> None:
    """Records with one key are in one partition."""
    for i in range(5):
        world.produce("three", i, key="same")
    spans = [world.broker.log.span(b"three", i) for i in range(3)]
    assert sorted(span.next for span in spans) == [0, 0, 5]


def test_headers_and_timestamps(world: World) -> None:
    """They are kept, and come back in order, a name twice if it was said twice."""
    headers = [{"key": "a", "value": "MQ=="}, {"key": "a", "value": None}]
    world.produce("logs.h", "x", headers=headers, timestamp=1234)
    (record,) = world.ask("GET", "/topics/logs.h/partitions/0/records?offset=0", Accept=JSON).json
    assert (record["headers"], record["timestamp"], record["value"]) == (headers, 1234, "x")


def test_what_was_published_is_there(world: World) -> None:
    """A message of an hpfeeds client is read by its offset."""
    world.memory.client("hpfeeds").publish(b"logs.hp", b"\x00from hpfeeds")
    world.advance(1)
    (record,) = world.ask("GET", "/topics/logs.hp/partitions/0/messages?offset=0").json
    assert (record["offset"], record["value"]) == (0, b64encode(b"\x00from hpfeeds").decode())


def test_what_is_produced_is_heard(world: World) -> None:
    """A subscriber by NATS hears what is produced."""
    client = world.memory.client("nats")
    client.subscribe(b"logs.live")
    world.produce("logs.live", {"n": 1})
    assert [message.payload for message in client.messages()] == [b'{"n":1}']


def test_reading_by_offset(world: World) -> None:
    """The first version's ``messages`` gives one record unless more are asked for; the offset has to be there."""
    world.produce("logs.b", *range(10))
    base = "/topics/logs.b/partitions/0"
    assert [one["offset"] for one in world.ask("GET", f"{base}/messages?offset=3").json] == [3]
    assert [one["offset"] for one in world.ask("GET", f"{base}/messages?offset=3&count=4").json] == [3, 4, 5, 6]
    assert [one["offset"] for one in world.ask("GET", f"{base}/records?offset=8").json] == [8, 9]
    assert world.ask("GET", f"{base}/records?offset=10").json == []
    assert world.ask("GET", f"{base}/records?offset=99").status == 404
    for query in ("", "?offset=-1", "?offset=x", "?offset=0&max_bytes=x", "?offset=0&max_bytes=-5"):
        assert code(world.ask("GET", f"{base}/records{query}")) == (422, 422), query


def test_packed_bodies(world: World) -> None:
    """A body may be packed by gzip; one that is broken is refused."""
    body = gzip.compress(json.dumps({"records": [{"value": "packed"}]}).encode())
    headers = {"Content_Type": JSON, "Content_Encoding": "gzip"}
    assert world.ask("POST", "/topics/logs.z", body, **headers).status == 200
    assert code(world.ask("POST", "/topics/logs.z", body[:-9], **headers))[0] == 400
    bomb = gzip.compress(b" " * (64 * 1024 * 1024))
    assert code(world.ask("POST", "/topics/logs.z", bomb, **headers)) == (413, 413)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"null", b'{"records": []}', b"[" * 100_000])
def test_bodies_that_are_refused(world: World, body: bytes) -> None:
    """They are 422 in Confluent's shape, and nothing is kept."""
    assert code(world.ask("POST", "/topics/logs.n", body, Content_Type=JSON)) == (422, 422)
    assert b"logs.n" not in world.broker.log.topics()


def test_media_types_that_are_refused(world: World) -> None:
    """Avro needs a registry, which is not here: 415; an answer in HTML is 406."""
    avro = "application/vnd.kafka.avro.v2+json"
    body = {"records": [{"value": 1}]}
    assert code(world.ask("POST", "/topics/logs.n", body, Content_Type=avro)) == (415, 415)
    assert code(world.ask("GET", "/topics", Accept="text/html")) == (406, 406)


def test_an_unknown_topic_is_not_made(world: World) -> None:
    """What no rule names is not created by producing to it; all or nothing is kept."""
    assert code(world.produce("unknown", 1)) == (404, 40401)
    body = {"records": [{"value": 1, "partition": 0}, {"value": 1, "partition": 9}]}
    assert code(world.ask("POST", "/topics/three", body, Content_Type=JSON)) == (404, 40402)
    assert world.broker.log.span(b"three", 0).next == 0


def test_rights(world: World) -> None:
    """Who may not do it gets 403, who is nobody 401, both in Confluent's shape; others' topics are not listed."""
    assert code(world.produce("logs.a", 1, user="reader")) == (403, 40301)
    assert code(world.ask("GET", "/topics/logs.a/partitions/0/records?offset=0", user="writer")) == (403, 40301)
    assert world.produce("logs.a", 1, user="writer").status == 200
    assert world.ask("GET", "/topics", user="logs").json == ["logs.a"]
    assert code(world.ask("GET", "/topics/three", user="logs")) == (403, 40301)
    assert code(world.ask("GET", "/topics/nothing", user="logs")) == (403, 40301)
    assert code(world.ask("GET", "/topics", user="nobody")) == (403, 40301)
    reply = world.ask("GET", "/topics", user="")
    assert (code(reply), "www-authenticate" in reply.headers) == ((401, 40101), True)


@pytest.mark.parametrize(("error", "expected"), [(Busy(2.5), (503, 50003)), (NoRoom("full"), (507, 50002))])
def test_a_log_that_cannot(world: World, error: Exception, expected: tuple[int, int]) -> None:
    """A full queue or disk is said with a code, and when to try again."""

    async def fails(*_: object, **__: object) -> None:
        raise error

    world.service.keeping.produce = fails
    reply = world.produce("logs.a", 1)
    assert code(reply) == expected
    if isinstance(error, Busy):
        assert reply.headers["retry-after"] == "3"
