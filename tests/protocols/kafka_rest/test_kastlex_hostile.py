"""What KastleX's API answers to what is wrong: a status that is documented, and a sentence that helps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from brokerkit.log.words import Busy, NoRoom, Unwritable
from tests.protocols.kafka_rest.kastlex_world import BINARY, World, done
from tests.talk import Line, Reply

if TYPE_CHECKING:
    from pathlib import Path

OPEN = """\
anonymous:
  list_topics: true
  show_topic: all
  show_offsets: all
  fetch: all
  produce: all
  list_groups: true
  show_group: all
"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give an API where anonymous may produce."""
    return World(tmp_path, OPEN)


def refused(reply: Reply, status: int, text: str = "") -> str:
    """See that it was refused as KastleX does it; gives the error's text."""
    assert reply.status == status, reply
    error = str(reply.json["error"])
    assert text in error, reply
    assert 20 <= len(reply.headers["x-request-id"]) <= 200
    return error


@pytest.mark.parametrize(
    "target",
    ["/api/v1/messages/none/0", "/api/v2/messages/none/0/3", "/api/v1/messages/kastlex/7", "/api/v1/messages/%C3%A9/0"],
)
def test_unknown_topics_and_partitions(world: World, target: str) -> None:
    """404 in KastleX's words, to read and to write."""
    refused(world.get(target), 404, "unknown_topic_or_partition")
    if not target.endswith("/3"):
        refused(world.post(target, b"x"), 404, "unknown_topic_or_partition")


@pytest.mark.parametrize("partition", ["x", "-1", "1.5", "0x1", "%20", "9" * 30])
def test_odd_partitions(world: World, partition: str) -> None:
    """What is no whole number is 400, and says so."""
    for target in (f"/api/v1/messages/kastlex/{partition}", f"/api/v1/offsets/kastlex/{partition}"):
        refused(world.get(target), 400, "partition: found")
    refused(world.post(f"/api/v1/messages/kastlex/{partition}", b"x"), 400, "partition: found")


@pytest.mark.parametrize("offset", ["abc", "1.5", "--1", "+1", "first", "0x10", "9" * 40, "%00"])
def test_odd_offsets(world: World, offset: str) -> None:
    """503, as KastleX has it, with the offset that means nothing."""
    world.put(b"x")
    refused(world.get(f"/api/v1/messages/kastlex/0/{offset}"), 503, "Cannot resolve logical offset")


def test_the_last_of_nothing(world: World) -> None:
    """An empty partition has no last message: 503, as KastleX has it; its end can be waited for."""
    for offset in ("", "/last", "/-1"):
        refused(world.get(f"/api/v1/messages/kastlex/0{offset}"), 503, "Cannot resolve logical offset")
    assert world.get("/api/v2/messages/kastlex/0/earliest?max_wait_time=0").json == []
    assert world.get("/api/v2/messages/kastlex/0/-5?max_wait_time=0").json == []
    empty = world.get("/api/v1/messages/kastlex/0/latest?max_wait_time=0", **BINARY)
    assert (empty.status, empty.body, empty.headers["x-high-wm-offset"]) == (200, b"", "0")


def test_offsets_out_of_range(world: World) -> None:
    """503 for what is behind the next offset, or gone; the next itself can be waited for."""
    world.make("short", retention_messages=1)
    world.put(b"a", b"b")
    refused(world.get("/api/v1/messages/kastlex/0/3"), 503, "offset_out_of_range")
    assert world.get("/api/v2/messages/kastlex/0/2?max_wait_time=0").json == []


@pytest.mark.parametrize("name", ["max_wait_time", "min_bytes", "max_bytes"])
@pytest.mark.parametrize("value", ["-1", "x", "1e3", "9" * 30])
def test_odd_limits(world: World, name: str, value: str) -> None:
    """A limit that is negative or no number is 400, and is named."""
    world.put(b"x")
    refused(world.get(f"/api/v1/messages/kastlex/0?{name}={value}"), 400, name)


def test_limits_are_capped(world: World) -> None:
    """A time to wait that is too long is cut; so are bytes."""
    world.line.begin("GET", "/api/v2/messages/kastlex/0/latest?max_wait_time=999999999&max_bytes=99999999999")
    world.advance(299)
    assert not world.line.received
    world.advance(2)
    assert world.line.reply().json == []


@pytest.mark.parametrize("at", ["x", "-5", "1.5", "9" * 30])
def test_odd_moments(world: World, at: str) -> None:
    """400 for what is no moment, 404 for what has no offsets."""
    refused(world.get(f"/api/v1/offsets/kastlex/0?at={at}"), 400, "at: found")
    refused(world.get("/api/v1/offsets/kastlex/9"), 404, "unknown topic or partition")
    refused(world.get("/api/v1/offsets/none/0?at=5"), 404, "unknown topic or partition")


@pytest.mark.parametrize("text", ["", "x", "[1]", '"a"', "{", "1", "null", '{"a": "\\ud800"}', "[" * 5000, "\xff"])
def test_odd_headers_of_messages(world: World, text: str) -> None:
    """x-message-headers that are no JSON object are 400, and nothing is kept."""
    reply = world.post("/api/v1/messages/kastlex", b"x", x_message_headers=text)
    refused(reply, 400, "x-message-headers")
    assert world.log.span(b"kastlex", 0).next == 0


def test_headers_that_are_no_strings(world: World) -> None:
    """They become JSON text; those with one name are all kept."""
    given = '{"a": 1, "b": null, "c": true, "d": {"x": [1, {"y": 2}]}, "e": "s", "a": "again"}'
    assert world.post("/api/v1/messages/kastlex", b"x", x_message_headers=given).status == 204
    (record,) = done(world.log.fetch(b"kastlex", 0, 0)).records
    assert record.headers == (
        (b"a", b"1"),
        (b"b", b"null"),
        (b"c", b"true"),
        (b"d", b'{"x":[1,{"y":2}]}'),
        (b"e", b"s"),
        (b"a", b"again"),
    )
    found = world.get("/api/v2/messages/kastlex/0").json[0]
    assert found["headers"]["a"] == "again"
    assert [one["value"] for one in found["header_list"] if one["name"] == "a"] == ["1", "again"]


def test_what_is_no_utf8(world: World) -> None:
    """It comes in base64, and says so, next to what is text; nothing is lost, and there is no 500."""
    world.put(b"\xff\x00", key=b"\xfe", headers=((b"\xfd", b"\xfc"), (b"n", None)))
    found = world.get("/api/v2/messages/kastlex/0").json[0]
    assert (found["value"], found["value_encoding"]) == ("/wA=", "base64")
    assert (found["key"], found["key_encoding"]) == ("/g==", "base64")
    assert found["header_list"] == [
        {"name": "/Q==", "name_encoding": "base64", "value": "/A==", "value_encoding": "base64"},
        {"name": "n", "value": None},
    ]
    assert world.get("/api/v2/messages/kastlex/0", **BINARY).body == b"\xff\x00"


def test_null_and_empty(world: World) -> None:
    """A tombstone and an empty value are told apart, in both formats."""
    world.put(None, b"", key=b"k")
    assert [one["value"] for one in world.get("/api/v2/messages/kastlex/0/0").json] == [None, ""]
    null, empty = (world.get(f"/api/v1/messages/kastlex/0/{i}", **BINARY) for i in (0, 1))
    assert (null.status, null.body, null.headers["x-message-null"]) == (200, b"", "true")
    assert (empty.status, empty.body, "x-message-null" in empty.headers) == (200, b"", False)


def test_missing_messages_are_said(world: World) -> None:
    """A record that stands for lost ones says so in JSON, and is no message in binary."""
    world.put(b"a")
    done(world.log.gap(b"kastlex", 5))
    world.put(b"b")
    found = world.get("/api/v2/messages/kastlex/0/0").json
    assert [(one["value"], one.get("missing")) for one in found] == [("a", None), (None, 5), ("b", None)]
    assert world.get("/api/v2/messages/kastlex/0/1", **BINARY).body == b"b"


@pytest.mark.parametrize(
    ("accept", "status"),
    [("text/html", 406), ("application/binary;q=0", 406), ("application/json;q=x", 406), ("application/*", 200)],
)
def test_what_is_accepted(world: World, accept: str, status: int) -> None:
    """What cannot be given is 406."""
    world.put(b"x")
    for target in ("/api/v1/messages/kastlex/0", "/api/v1/topics"):
        assert world.get(target, Accept=accept).status == status


def test_the_best_format_is_given(world: World) -> None:
    """Of several the heaviest, of those the first; ``_format`` beats them."""
    world.put(b"x")
    target = "/api/v1/messages/kastlex/0"
    assert world.get(target, Accept="application/json;q=0.5, application/binary").body == b"x"
    assert world.get(target, Accept="application/binary, application/json").body == b"x"
    assert world.get(f"{target}?_format=binary", Accept="application/json").body == b"x"
    assert world.get(f"{target}?_format=json", **BINARY).json["messages"]
    assert world.get(f"{target}?_format=xml").status == 406


def test_unknown_routes_and_methods(world: World) -> None:
    """KastleX's words for what no route is for, in its own paths."""
    for target in ("/api/v1/none", "/api/v3/topics", "/login/x", "/admin/none"):
        refused(world.get(target), 404, "Something went wrong")
    assert refused(world.get("/favicon.ico"), 404) == "Not found"
    refused(world.ask("PUT", "/api/v1/topics"), 405)
    assert world.ask("HEAD", "/api/v1/topics").status == 200


def test_bodies_that_are_too_large(tmp_path: Path) -> None:
    """A body, said or sent to be larger than the bound, is refused before it is read, as KastleX says it."""
    world = World(tmp_path, OPEN, max_body_bytes=1000)
    line = Line(world.service.site)
    line.send(b"POST /api/v1/messages/kastlex HTTP/1.1\r\nHost: x\r\nContent-Length: 200000000\r\n\r\n")
    refused(line.reply(), 413)
    line = Line(world.service.site)
    line.send(b"POST /api/v1/messages/kastlex HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    line.send(b"800\r\n" + b"x" * 0x800 + b"\r\n0\r\n\r\n")
    refused(line.reply(), 413)
    assert world.log.span(b"kastlex", 0).next == 0


def test_messages_that_are_too_large(world: World) -> None:
    """A message that is larger than its topic's may be is 413."""
    world.make("small", max_message_bytes=100)
    refused(world.post("/api/v1/messages/small", b"x" * 200), 413, "message_too_large")


@pytest.mark.parametrize(
    "sent",
    [b"Content-Length: 10\r\n\r\nabc", b"Content-Length: -1\r\n\r\n", b"Content-Length: x\r\n\r\n"],
    ids=["stops", "negative", "junk"],
)
def test_bodies_that_are_not_what_they_say(world: World, sent: bytes) -> None:
    """A body that stops half way, or has no length that can be, is refused, and nothing is kept."""
    line = Line(world.service.site)
    line.send(b"POST /api/v1/messages/kastlex HTTP/1.1\r\nHost: x\r\n" + sent)
    line.advance(61)
    assert line.reply().status in {400, 408}
    assert world.log.span(b"kastlex", 0).next == 0


@pytest.mark.parametrize(
    ("error", "status", "after"),
    [(Busy(3.0), 503, "3"), (NoRoom("the disk is full"), 503, "5"), (Unwritable("x"), 503, "5")],
)
def test_a_log_that_takes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, after: str
) -> None:
    """503 with the time after which it may work, and with the reason; the reader is not concerned."""

    def refuse(*_: Any, **__: Any) -> None:
        raise error

    world.put(b"x")
    monkeypatch.setattr(world.service.keeping, "produce", refuse)
    reply = world.post("/api/v1/messages/kastlex", b"x")
    assert (reply.status, reply.headers["retry-after"]) == (status, after)
    assert reply.json["error"]
    assert world.get("/api/v1/messages/kastlex/0").status == 200


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/x-www-form-urlencoded"),
        (b"username=a", "application/x-www-form-urlencoded"),
        (b"username=%ff&password=x", "application/x-www-form-urlencoded"),
        (b"&" * 99, "application/x-www-form-urlencoded"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"username": "a", "password": 1}', "application/json"),
        (b"\xff", "application/json"),
    ],
)
def test_odd_logins(world: World, body: bytes, kind: str) -> None:
    """What has no name or no password is 400, and is not taken for a failed login."""
    refused(world.post("/login", body, Content_Type=kind), 400)


def test_request_ids(world: World) -> None:
    """One of 20 to 200 characters is given back, any other replaced, and no line can be broken with it."""
    given = "a" * 20
    assert world.get("/api/v1/topics", x_request_id=given).headers["x-request-id"] == given
    for odd in ("short", "x" * 201, ""):
        assert world.get("/api/v1/topics", x_request_id=odd).headers["x-request-id"] != odd
    one, other = (world.get("/api/v1/topics").headers["x-request-id"] for _ in range(2))
    assert one != other


def test_heads_that_are_no_text(world: World) -> None:
    """Bytes that are no UTF-8 in a header that is looked at are no 500."""
    for name in (b"Authorization", b"Accept", b"X-Request-Id", b"X-Message-Headers", b"Content-Type"):
        for path in (b"/api/v1/messages/kastlex", b"/login"):
            world.line.send(b"POST %b HTTP/1.1\r\nHost: x\r\n%b: \xff\xfe\r\nContent-Length: 1\r\n\r\nx" % (path, name))
            assert world.line.reply().status in {204, 400, 401, 406}


def test_a_fetch_that_is_hung_up_on(world: World) -> None:
    """Who goes away while it waits leaves nothing behind."""
    line = Line(world.service.site)
    line.begin("GET", "/api/v1/messages/kastlex/0/latest?max_wait_time=60000")
    assert len(world.service.arrivals) == 1
    line.hang_up()
    assert len(world.service.arrivals) == 0


def test_a_topic_that_is_deleted_under_a_fetch(world: World) -> None:
    """Who waits there is told at the end of the time."""
    world.line.begin("GET", "/api/v1/messages/kastlex/0/latest?max_wait_time=2000")
    done(world.log.delete(b"kastlex"))
    world.advance(2.1)
    assert world.line.reply().status in {200, 404}
    refused(world.get("/api/v1/messages/kastlex/0"), 404)


def test_large_answers_go_piece_by_piece(world: World) -> None:
    """Megabytes are streamed as the reader takes them, each message once and in order; v1 and v2 alike."""
    world.put(*[b"%d:" % i + b"x" * 20_000 for i in range(300)])
    line = Line(world.service.site)
    for version in ("v1", "v2"):
        line.begin("GET", f"/api/{version}/messages/kastlex/0/0?max_bytes=100000000")
        reply = line.reply()
        assert reply.headers["transfer-encoding"] == "chunked"
        found = json.loads(_unchunked(line))
        messages = found["messages"] if version == "v1" else found
        assert [one["offset"] for one in messages] == list(range(300))
        assert messages[7]["value"].startswith("7:xxx")
    line.begin("GET", "/api/v2/messages/kastlex/0/0?max_bytes=2000000")
    line.reply()
    assert 95 <= len(json.loads(_unchunked(line))) <= 103


def test_a_reader_that_stalls(world: World) -> None:
    """What is not read is not made: memory does not grow with the log."""
    world.put(*[b"x" * 100_000 for _ in range(200)])
    line = Line(world.service.site)
    line.peer.stop_reading()
    line.begin("GET", "/api/v2/messages/kastlex/0/0?max_bytes=100000000")
    line.advance(1)
    assert line.peer.transport.pending < 4_000_000
    line.peer.received = line.peer.read()
    line.reply()
    assert len(json.loads(_unchunked(line))) == 200


def _unchunked(line: Line) -> bytes:
    """Take a body in chunks off a connection."""
    rest, found = line.peer.received, b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        found, rest = found + rest[:length], rest[length + 2 :]
        if not length:
            line.peer.received = rest
            return found
