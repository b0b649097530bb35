"""Producing and reading by the modern API."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from brokerkit.allowance import Allowance
from brokerkit.log.partitioning import murmur2
from brokerkit.protocols.kafka_rest import v1_given, v1_shown
from tests.protocols.kafka_rest.v1_world import LINES, NOW, World, done


@pytest.fixture
def world() -> World:
    """Give a broker with nothing in its topics."""
    return World()


# -- producing --------------------------------------------------------------------------------------------------------


def test_a_raw_body_is_kept_as_it_is(world: World) -> None:
    """Whatever its type, the body is the value; the rest stands in the query and a header."""
    query = "?key=k&timestamp=1700000000000&partition=2"
    reply = world.post(f"/v1/topics/p/records{query}", b"\xff\x00", X_Message_Headers='[{"name":"h","value":"v"}]')
    assert reply.status == 201
    assert reply.json == {"partition": 2, "offset": 0, "timestamp": 1_700_000_000_000, "ack": "commit"}
    found = world.get(reply.headers["location"]).json
    assert (found["value"], found["value_encoding"], found["key"]) == ("/wA=", "base64", "k")
    assert found["headers"] == [{"name": "h", "value": "v"}]
    assert found["sender"] == "ann"


def test_a_batch_answers_for_each_record(world: World) -> None:
    """What is wrong with one record stands in its place, and does not stop the others."""
    records = [{"value": "a"}, {"valu": 1}, {"value": "b", "partition": 9}, {"value": "c", "partition": 1}]
    reply = world.post("/v1/topics/p/records", {"records": records})
    assert reply.status == 207
    assert (reply.json["kept"], reply.json["failed"]) == (2, 2)
    assert [one.get("error", {}).get("status") for one in reply.json["results"]] == [None, 400, 404, None]
    assert world.post("/v1/topics/p/records", records[:1]).status == 200


def test_all_or_none(world: World) -> None:
    """With ``atomic`` one bad record refuses all, and says which it is."""
    body = {"records": [{"value": "a"}, {"value": "b", "partition": 9}], "atomic": True}
    reply = world.post("/v1/topics/p/records", body)
    assert (reply.status, reply.json["record"]) == (404, 1)
    assert world.values("/v1/topics/p/records") == []


def test_lines(world: World) -> None:
    """Records come as lines of JSON; one that is none has its own error; empty lines mean nothing."""
    reply = world.post("/v1/topics/a/records", b'{"value":"1"}\n\n{"value":\n{"value":"2"}', Content_Type=LINES)
    assert reply.status == 207
    assert world.values("/v1/topics/a/records") == ["1", "2"]


def test_values_of_every_kind_are_what_they_were(world: World) -> None:
    """Null is not empty, JSON is kept as text, base64 as bytes; names of headers may stand there twice."""
    headers = [{"name": "h", "value": "1"}, {"name": "h", "value": None}]
    world.post(
        "/v1/topics/a/records",
        [
            {"value": None, "key": ""},
            {"value": ""},
            {"value": {"b": [1, 2]}},
            {"value": "AP8=", "value_encoding": "base64", "headers": headers},
        ],
    )
    records = world.get("/v1/topics/a/records").json["records"]
    assert [one["value"] for one in records] == [None, "", '{"b":[1,2]}', "AP8="]
    assert records[0]["key"] == ""
    assert "key" not in records[1]
    assert records[3]["headers"] == headers
    as_json = world.get("/v1/topics/a/records?encoding=json").json["records"]
    assert as_json[2]["value"] == {"b": [1, 2]}
    assert as_json[2]["value_encoding"] == "json"


@settings(max_examples=150, deadline=None)
@given(
    st.none() | st.binary(max_size=40),
    st.none() | st.binary(max_size=20),
    st.lists(st.tuples(st.binary(max_size=8), st.none() | st.binary(max_size=8)), max_size=3),
    st.sampled_from(v1_shown.ENCODINGS),
)
def test_what_is_read_can_be_produced_again(value: Any, key: Any, headers: Any, encoding: str) -> None:
    """A record that is shown, in any encoding, gives the same bytes when it is produced."""
    from brokerkit.log.words import Stored

    stored = Stored(5, 7, "create", key, value, tuple(headers), b"\xff", 9, b"r", 0)
    (text,) = v1_shown.shown_records([stored], 't"', 3, encoding)
    assert "\n" not in text
    record, partition, topic = v1_given.read_record(json.loads(text), b"me")
    assert (record.value, record.key, record.headers) == (value, key, tuple(headers))
    assert (partition, topic, record.timestamp) == (3, 't"', 7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.binary(max_size=9) | st.just(b'a"\\'), min_size=1, max_size=4), st.booleans())
def test_batches_are_shown_as_their_records_are(values: list[bytes | None], keyed: bool) -> None:
    """The fast way and the plain one give the same."""
    world = World()
    world.make("b")
    world.put(*values, topic="b", key=b"k" if keyed else None)
    raw = done(world.log.raw(b"b", 0, 0))
    for batch in raw.batches:
        fast = v1_shown.shown_batch(batch, "b", 0, "auto", "\n")
        plain = "\n".join(v1_shown.shown_records(batch.records(), "b", 0))
        assert [json.loads(one) for one in fast.split("\n")] == [json.loads(one) for one in plain.split("\n")]


def test_murmur2_is_kafkas() -> None:
    """The hash of a key is the one of Kafka's own tests, so a key meets its partition."""
    vectors = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    for key, expected in vectors.items():
        assert murmur2(key) == expected % 2**32


def test_the_request_may_name_the_partitioner(world: World) -> None:
    """A key goes where Kafka's clients put it."""
    reply = world.post("/v1/topics/p/records?partitioner=murmur2", [{"value": "x", "key": "foobar"}])
    assert reply.json["results"][0]["partition"] == (murmur2(b"foobar") & 0x7FFFFFFF) % 3
    assert world.post("/v1/topics/p/records?partitioner=x", [{"value": "x"}]).status == 400


def test_a_key_makes_a_request_safe_to_repeat(world: World) -> None:
    """Sent again it gives the first answer, and keeps nothing; another body with the key is refused."""
    first = world.post("/v1/topics/a/records", b"x", Idempotency_Key="1")
    again = world.post("/v1/topics/a/records", b"x", Idempotency_Key="1")
    assert (first.json["offset"], again.json["offset"], again.json["duplicate"]) == (0, 0, True)
    assert world.post("/v1/topics/a/records", b"y", Idempotency_Key="1").status == 409
    assert world.post("/v1/topics/a/records", b"y", user="bob", Idempotency_Key="1").status == 201
    assert world.values("/v1/topics/a/records") == ["x", "y"]


def test_numbers_of_a_producer(world: World) -> None:
    """A number that was used gives its answer again; a hole is refused with the number that was expected."""

    def send(sequence: int, epoch: int = 0) -> Any:
        headers = {"Producer-Id": "me", "Producer-Epoch": str(epoch), "Producer-Sequence": str(sequence)}
        return world.post(
            "/v1/topics/a/records", b"%d" % sequence, **{k.replace("-", "_"): v for k, v in headers.items()}
        )

    assert send(0).status == 201
    assert send(1).json["offset"] == 1
    assert send(1).json["duplicate"] is True
    hole = send(5)
    assert (hole.status, hole.json["expected"]) == (409, 2)
    assert send(0, epoch=1).status == 201
    assert send(2).status == 409


def test_several_topics_in_one_request(world: World) -> None:
    """All of it is kept, or nothing."""
    good = [{"topic": "a", "value": "1"}, {"topic": "p", "value": "2", "partition": 1}]
    reply = world.post("/v1/records", {"records": good})
    assert [one["topic"] for one in reply.json["results"]] == ["a", "p"]
    for bad, status in (({"value": "x"}, 400), ({"topic": "no", "value": "x"}, 404)):
        assert world.post("/v1/records", {"records": [*good, bad]}).status == status
    assert world.post("/v1/records", {"records": good}, "only-a").status == 403
    assert world.values("/v1/topics/a/records") == ["1"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b'"x"', "application/json", 400),
        (b'{"records":[]}', "application/json", 400),
        (b'{"records":[{"value":"\\ud800"}]}', "application/json", 207),
        (b'{"records":[{"value":"x","value_encoding":"base64"}]}', "application/json", 207),
        (b'{"records":[{"value":1,"value_encoding":"text"}]}', "application/json", 207),
        (b'{"records":[{"headers":[{"value":"x"}]}]}', "application/json", 207),
        (b'{"records":[{"timestamp":-1}]}', "application/json", 207),
        (b'{"records":[1]}', "application/json", 207),
        (b'{"records":[{"value":NaN}]}', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"\n\n", LINES, 400),
    ],
)
def test_bodies_that_are_not_usable(world: World, body: bytes, kind: str, status: int) -> None:
    """Each is refused with a sentence, and nothing is kept."""
    reply = world.post("/v1/topics/a/records", body, Content_Type=kind)
    assert reply.status == status
    assert world.values("/v1/topics/a/records") == []


def test_rights(world: World) -> None:
    """Who may not publish learns nothing of the topic; who is nobody is asked who it is."""
    assert world.post("/v1/topics/a/records", b"x", "reader").status == 403
    assert world.post("/v1/topics/none/records", b"x", "reader").status == 403
    assert world.post("/v1/topics/none/records", b"x").status == 404
    assert world.post("/v1/topics/a/records", b"x", "").status == 401
    assert world.get("/v1/topics/a/records", "writer").status == 403
    assert world.get("/v1/topics/none/records", "only-a").status == 403


def test_what_is_produced_is_heard_live(world: World) -> None:
    """A NATS subscriber gets what REST has produced, and REST reads what NATS has published."""
    nats = world.memory.client("nats")
    nats.subscribe(b"a")
    world.post("/v1/topics/a/records", b"by rest")
    assert [message.payload for message in nats.messages()] == [b"by rest"]
    nats.publish(b"a", b"by nats")
    world.advance(1)
    assert world.values("/v1/topics/a/records") == ["by rest", "by nats"]


def test_what_a_user_may_not_is_said(world: World) -> None:
    """A record that is larger than this user's, or the topic's, may be is refused as too large."""
    world.memory.source.put("bob", "x", allowance=Allowance(payload=3))
    assert world.post("/v1/topics/a/records", b"four", "bob").status == 413
    world.make("small", max_message_bytes=3)
    assert world.post("/v1/topics/small/records", b"four").status == 413
    assert world.post("/v1/topics/small/records", [{"value": "four"}]).json["results"][0]["error"]["status"] == 413


# -- packing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_packed_bodies_both_ways(world: World, packing: str) -> None:
    """What is sent packed is unpacked, in several members too; what is asked for packed comes so."""
    pack = gzip.compress if packing == "gzip" else zstandard.ZstdCompressor().compress
    unpack = gzip.decompress if packing == "gzip" else _unpack
    assert world.post("/v1/topics/a/records", pack(b"x" * 3000) + pack(b"y"), Content_Encoding=packing).status == 201
    reply = world.get("/v1/topics/a/records", Accept_Encoding=packing)
    assert reply.headers["content-encoding"] == packing
    assert json.loads(unpack(reply.body))["records"][0]["value"] == "x" * 3000 + "y"
    assert "accept-encoding" in reply.headers["vary"]


def _unpack(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_bombs_and_broken_packing(packing: str) -> None:
    """A small body that would be a large one is refused before it is one; half of one, and none at all, too."""
    world = World(max_body_bytes=100_000)
    pack = gzip.compress if packing == "gzip" else zstandard.ZstdCompressor().compress
    bomb = pack(bytes(50_000_000))
    assert len(bomb) < 100_000
    for body, status in ((bomb, 413), (pack(b"x" * 100)[:-3], 400), (b"no", 400), (pack(b"x") + b"junk", 400)):
        assert world.post("/v1/topics/a/records", body, Content_Encoding=packing).status == status
    assert world.post("/v1/topics/a/records", b"x", Content_Encoding="br").status == 415
    assert world.values("/v1/topics/a/records") == []


# -- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "01234"),
        ("?offset=3", "34"),
        ("?offset=first&max_records=2", "01"),
        ("?offset=last", "4"),
        ("?offset=latest", ""),
        ("?offset=-2", "34"),
        ("?offset=-99", "01234"),
        ("?last=3", "234"),
        ("?cursor=0:4", "4"),
        (f"?at={int(NOW * 1000) + 2000}", "234"),
        ("?at=2027-01-15T08:00:03Z", "34"),
        ("?max_bytes=1", "0"),
    ],
)
def test_where_to_begin(world: World, query: str, expected: str) -> None:
    """By offset, from the end, by moment and by cursor; bounds hold, and at least one record comes."""
    for i in range(5):
        world.put(b"%d" % i, timestamp=int(NOW * 1000) + 1000 * i)
    assert "".join(world.values(f"/v1/topics/a/records{query}")) == expected
    assert "".join(world.values(f"/v1/topics/a/partitions/0/records{query}")) == expected


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?offset=6", 416),
        ("?offset=x", 400),
        ("?offset=1&at=1", 400),
        ("?at=soon", 400),
        ("?cursor=0", 400),
        ("?cursor=5:1", 400),
        ("?cursor=0:99", 416),
        ("?last=0", 400),
        ("?last=1&offset=1", 400),
        ("?max_records=0", 400),
        ("?max_bytes=-1", 400),
        ("?wait=-1", 400),
        ("?wait=99999", 400),
        ("?partitions=1", 404),
        ("?partitions=a", 400),
        ("?encoding=x", 400),
        ("?offset=%ff", 400),
    ],
)
def test_where_one_cannot_begin(world: World, query: str, status: int) -> None:
    """Each mistake gets its status and a sentence."""
    world.put(b"0")
    reply = world.get(f"/v1/topics/a/records{query}")
    assert reply.status == status
    assert reply.json["detail"]
    assert reply.headers["content-type"] == "application/problem+json"


def test_a_whole_topic_in_its_order(world: World) -> None:
    """Partitions are put together in the order in which the log took the records, page by page."""
    expected = []
    for i in range(40):
        world.put(b"%d" % i, topic="p", partition=i * i % 3)
        expected.append(str(i))
    found: list[str] = []
    target = "/v1/topics/p/records?max_records=7"
    for _ in range(10):
        page = world.get(target).json
        found += [record["value"] for record in page["records"]]
        target = page["next"]
        if not page["more"]:
            break
    assert found == expected
    assert world.get(target).json["records"] == []
    some = [record["partition"] for record in world.get("/v1/topics/p/records?partitions=0,2").json["records"]]
    assert set(some) <= {0, 2}


def test_lines_out(world: World) -> None:
    """As lines of JSON a page says in its head where it ends."""
    world.put(b"a\nb", b"c")
    reply = world.get("/v1/topics/a/records", Accept=LINES)
    assert [json.loads(line)["value"] for line in reply.body.splitlines()] == ["a\nb", "c"]
    assert reply.headers["cursor"] == "0:2"
    assert 'rel="next"' in reply.headers["link"]


def test_waiting(world: World) -> None:
    """A page that would be empty is answered by the commit that brings a record, or when the time is over."""
    line = world.begin("GET", "/v1/topics/p/records?offset=latest&wait=5")
    assert line.received == b""
    world.put(b"now", topic="p", partition=1)
    assert line.reply().json["records"][0]["value"] == "now"
    line = world.begin("GET", "/v1/topics/p/records?offset=latest&wait=5&partitions=0")
    world.put(b"elsewhere", topic="p", partition=1)
    world.advance(5.1)
    assert line.reply().json["records"] == []
    assert len(world.api.waiting) == 0


def test_what_cannot_change_may_be_kept(world: World) -> None:
    """One record is for ever, a page has a tag; who has it already is told so without it."""
    world.put(b"x")
    one = world.get("/v1/topics/a/partitions/0/records/0")
    assert "immutable" in one.headers["cache-control"]
    assert world.get("/v1/topics/a/partitions/0/records/0", If_None_Match=one.headers["etag"]).status == 304
    page = world.get("/v1/topics/a/records")
    assert world.get("/v1/topics/a/records", If_None_Match=page.headers["etag"]).status == 304
    world.put(b"y")
    assert world.get("/v1/topics/a/records", If_None_Match=page.headers["etag"]).status == 200
    assert "immutable" not in world.get("/v1/topics/a/partitions/0/records/last").headers["cache-control"]


def test_one_record_as_it_is(world: World) -> None:
    """Its bytes alone, never something that a browser would run; null and empty are told apart."""
    world.put(b"<script>", b"", None)
    reply = world.get("/v1/topics/a/partitions/0/records/0", Accept="application/octet-stream")
    assert reply.body == b"<script>"
    assert reply.headers["x-content-type-options"] == "nosniff"
    for offset, null in ((1, "false"), (2, "true")):
        reply = world.get(f"/v1/topics/a/partitions/0/records/{offset}", Accept="application/octet-stream")
        assert (reply.body, reply.headers["record-null"]) == (b"", null)
    assert world.get("/v1/topics/a/records", Accept="text/html").status == 406


def test_what_is_not_there(world: World) -> None:
    """A record that is not there yet is 404, one that is gone 410; so are odd partitions."""
    world.make("short", retention_messages=1)
    world.put(*[b"%d" % i for i in range(5)], topic="short")
    world.advance(60)
    assert world.get("/v1/topics/short/partitions/0/records/0").status == 410
    assert world.get("/v1/topics/short/partitions/0/records/99").status == 404
    for partition in ("9", "x", "-1", "99999999999999999999"):
        assert world.get(f"/v1/topics/short/partitions/{partition}/records").status == 404
