"""Topics, quotas, pages of other origins, health, and the document of the whole listener."""

from __future__ import annotations

import json
from typing import Any

import pytest

from brokerkit.errors import ConfigError
from tests.protocols.kafka_rest.v1_world import World


@pytest.fixture
def world() -> World:
    """Give a broker."""
    return World()


def test_a_topic_is_created_altered_and_deleted(world: World) -> None:
    """Each step shows in the next; what is not said of a PUT is as usual, of a PATCH as it was."""
    body = {"topic": "new", "partitions": 2, "settings": {"compact": True, "retention_seconds": 60}}
    created = world.post("/v1/topics", body)
    assert created.status == 201
    assert created.json["settings"]["retention_seconds"] == 60
    assert world.post("/v1/topics", body).status == 409
    patched = world.ask("PATCH", "/v1/topics/new", {"settings": {"ack": "none"}}).json
    assert (patched["settings"]["ack"], patched["settings"]["compact"]) == ("none", True)
    put = world.ask("PUT", "/v1/topics/new", {"partitions": 3}).json
    assert (put["partitions"], put["settings"]["compact"], len(put["spans"])) == (3, False, 3)
    assert world.ask("PUT", "/v1/topics/other", {}).status == 201
    assert [one["topic"] for one in world.get("/v1/topics").json["topics"]] == ["a", "new", "other", "p"]
    assert world.ask("DELETE", "/v1/topics/new").status == 204
    assert world.get("/v1/topics/new").status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"partitions": 0},
        {"partitions": True},
        {"settings": {"ack": "maybe"}},
        {"settings": {"compact": 1}},
        {"settings": {"retention_bytes": -1}},
        {"settings": {"retention_seconds": "1"}},
        {"settings": {"no": 1}},
        {"no": 1},
        {"stream": "other"},
        [],
    ],
)
def test_settings_that_make_no_sense(world: World, body: Any) -> None:
    """Each is refused with a sentence, and changes nothing."""
    before = world.get("/v1/topics/p").json
    reply = world.ask("PATCH", "/v1/topics/p", body)
    assert reply.status == 400
    assert reply.json["detail"]
    assert world.get("/v1/topics/p").json == before


def test_fewer_partitions_are_refused(world: World) -> None:
    """Their number can only grow."""
    assert world.ask("PATCH", "/v1/topics/p", {"partitions": 1}).status == 400


def test_who_may_change_topics(world: World) -> None:
    """To publish and to subscribe is not to create or delete."""
    for user in ("reader", "writer", "only-a"):
        assert world.post("/v1/topics", {"topic": "x"}, user).status == 403
        assert world.ask("DELETE", "/v1/topics/a", user=user).status == 403
        assert world.ask("PUT", "/v1/topics/a", {}, user).status == 403
    assert [one["topic"] for one in world.get("/v1/topics", "only-a").json["topics"]] == ["a"]


def test_topics_in_pages(world: World) -> None:
    """A list goes on behind the last name; a prefix narrows it."""
    for i in range(5):
        world.make(f"x{i}")
    page = world.get("/v1/topics?prefix=x&limit=3").json
    assert ([one["topic"] for one in page["topics"]], page["next"]) == (["x0", "x1", "x2"], "x2")
    page = world.get("/v1/topics?prefix=x&limit=3&after=x2").json
    assert ([one["topic"] for one in page["topics"]], page["next"]) == (["x3", "x4"], None)


# -- quotas -----------------------------------------------------------------------------------------------------------


def test_requests_are_bounded_for_each_user() -> None:
    """Too many are refused with the time to wait; others are not held up; later it goes on."""
    world = World(requests_per_second=2)
    statuses = [world.get("/v1/topics").status for _ in range(6)]
    assert statuses == [200] * 4 + [429] * 2
    refused = world.get("/v1/topics")
    assert refused.headers["retry-after"] == "1"
    assert world.get("/v1/topics", "bob").status == 200
    world.advance(1)
    assert world.get("/v1/topics").status == 200


def test_bytes_are_bounded_both_ways() -> None:
    """A large body, or a large answer, has to be paid for before the next request."""
    world = World(bytes_per_second=1000)
    assert world.post("/v1/topics/a/records", b"x" * 10_000).status == 201
    assert world.post("/v1/topics/a/records", b"x").status == 429
    world.advance(10)
    assert world.get("/v1/topics/a/records", "bob").status == 200
    world.advance(20)
    line = world.line()
    headers = {"Authorization": "Basic YW5uOng="}
    assert line.ask("GET", "/v1/topics/a/records", None, headers).status == 200
    assert line.ask("GET", "/v1/topics/a/records", None, headers).status == 429


# -- pages of other origins -------------------------------------------------------------------------------------------


def test_no_page_may_ask_unless_it_is_named(world: World) -> None:
    """Without a setting nothing is allowed; with one, that origin and no other."""
    assert "access-control-allow-origin" not in world.get("/v1/topics", Origin="https://app.example").headers
    some = World(cors=["https://app.example"])
    reply = some.get("/v1/topics", Origin="https://app.example")
    assert reply.headers["access-control-allow-origin"] == "https://app.example"
    assert "origin" in reply.headers["vary"]
    assert "Cursor" in reply.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in reply.headers
    other = some.get("/v1/topics", Origin="https://evil.example")
    assert "access-control-allow-origin" not in other.headers
    refused = some.get("/v1/topics", "", Origin="https://app.example")
    assert (refused.status, "access-control-allow-origin" in refused.headers) == (401, True)


def test_a_page_may_ask_what_it_may_ask() -> None:
    """The question before a request is answered without a login, for every API here."""
    world = World(cors=["*"])
    for path in ("/v1/topics/a/records", "/api/v1/topics", "/topics/a"):
        reply = world.ask("OPTIONS", path, None, "", Origin="https://x.example", Access_Control_Request_Method="POST")
        assert reply.status == 204
        assert reply.headers["access-control-allow-origin"] == "*"
        assert "Authorization" in reply.headers["access-control-allow-headers"]


def test_an_origin_has_to_be_one() -> None:
    """What is none ends the start."""
    with pytest.raises(ConfigError, match=r"app\.example"):
        World(cors=["app.example/path"])


# -- about it ---------------------------------------------------------------------------------------------------------


def test_health(world: World) -> None:
    """Anybody may ask; ready says what is missing."""
    assert world.get("/healthz", "").json == {"ok": True}
    assert world.get("/readyz", "").status == 200
    world.log.writing.is_writable = False
    reply = world.get("/readyz", "")
    assert (reply.status, reply.json["ok"], reply.json["writable"]) == (503, False, False)


def test_the_document_describes_every_route(world: World) -> None:
    """Every route with a summary is there, with a name of its own, and every reference leads somewhere."""
    document = world.get("/v1/openapi.json").json
    assert document["openapi"] == "3.1.0"
    routes = [route for route in world.service.site.routes.all if route.summary]
    for route in routes:
        assert route.method.lower() in document["paths"][route.template]
    names = [one["operationId"] for operations in document["paths"].values() for one in operations.values()]
    assert len(set(names)) == len(names) == len(routes)
    text = json.dumps(document)
    for name in document["components"]["schemas"]:
        text = text.replace(f'"#/components/schemas/{name}"', '""')
    assert "#/components" not in text


def test_the_document_as_a_page(world: World) -> None:
    """It is plain HTML that runs nothing and loads nothing."""
    reply = world.get("/v1/docs", "")
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert b"/v1/topics/{topic}/records" in reply.body
    assert b"<script" not in reply.body


def test_problems_are_told_as_such(world: World) -> None:
    """What no route is for, and the wrong method, are problems here."""
    for method, path, status in (("GET", "/v1/nothing", 404), ("DELETE", "/v1/records", 405)):
        reply = world.ask(method, path)
        assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /v1/topics/a/records HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /topics/a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST /api/v1/messages/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"DELETE /v1/records HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /" + b"x" * 80_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 80_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_cannot_be_read_is_told_why(world: World, request_: bytes, status: int) -> None:
    """Each refusal says in a sentence what is wrong, in the words of whichever API was asked."""
    reply = world.line().send(request_).reply()
    said = reply.json
    assert reply.status == status
    assert len(said.get("detail") or said.get("message") or said["error"]) > 20
