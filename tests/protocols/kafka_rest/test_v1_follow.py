"""Following: server-sent events, lines, and WebSockets with credit."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wsproto.frame_protocol import FrameProtocol, Opcode

from brokerkit.grants import Grants
from brokerkit.protocols.kafka_rest.v1_feed import STALL
from tests.protocols.kafka_rest.v1_world import LINES, World, chunks, events, shown

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@pytest.fixture
def world() -> World:
    """Give a broker with three records in ``a``."""
    found = World()
    found.put(b"0", b"1", b"2")
    return found


def follow(world: World, query: str = "", topic: str = "a", user: str = "ann", **headers: str) -> Any:
    """Begin to follow; gives the connection, its head taken."""
    line = world.begin("GET", f"/v1/topics/{topic}/follow{query}", None, user, **headers)
    head, _, rest = line.peer.take().partition(b"\r\n\r\n")
    assert b" 200 " in head, head
    line.peer.received = rest
    return line


def values(line: Any) -> list[Any]:
    """Give the values of events that have come."""
    return [one["data"]["value"] for one in events(line) if "value" in one["data"]]


def test_what_comes_is_told_at_once(world: World) -> None:
    """A follower gets what is new; from an earlier place it gets that first."""
    new, old = follow(world), follow(world, "?offset=1")
    assert values(old) == ["1", "2"]
    world.put(b"3")
    assert values(new) == ["3"]
    assert values(old) == ["3"]


def test_an_id_goes_on_exactly_there(world: World) -> None:
    """After every event its id can be shown, over several partitions, and nothing is missing or comes twice."""
    for i in range(9):
        world.put(b"%d" % i, topic="p", partition=i % 3)
    all_of_it = events(follow(world, "?offset=first", "p"))
    assert [one["data"]["value"] for one in all_of_it] == [str(i) for i in range(9)]
    for i, event in enumerate(all_of_it):
        again = follow(world, "", "p", Last_Event_ID=event["id"])
        assert values(again) == [str(j) for j in range(i + 1, 9)]


def test_events_are_made_once_for_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many follow, a record is written as text one time."""
    from brokerkit.protocols.kafka_rest import v1_feed

    calls: list[int] = []
    plain = v1_feed.rendered
    monkeypatch.setattr(v1_feed, "rendered", lambda *given: calls.append(1) or plain(*given))
    lines = [follow(world) for _ in range(20)]
    world.put(b"x")
    assert all(values(line) == ["x"] for line in lines)
    assert len(calls) == 1


def test_signs_of_life(world: World) -> None:
    """A stream that has nothing to say says so, with the place to go on from."""
    line = follow(world, "?heartbeat=5")
    chunks(line)
    world.advance(4)
    assert chunks(line) == b""
    world.advance(2)
    assert chunks(line) == b"id: 0:3\n: alive\n\n"


def test_a_slow_reader_costs_nothing_and_catches_up(world: World) -> None:
    """Who does not read is left behind, and gets all of it when it reads again; the others wait for nobody."""
    slow, fast = follow(world), follow(world)
    slow.peer.stop_reading()
    for i in range(300):
        world.put(b"%03d" % i * 300)
    held = slow.peer.transport.pending
    assert held < 400_000
    assert len(values(fast)) == 300
    found: list[Any] = []
    slow.peer.received = slow.peer.read()
    for _ in range(50):
        world.advance(0.01)
        found += values(slow)
    assert [value[:3] for value in found] == [f"{i:03d}" for i in range(300)]


def test_a_reader_that_has_stopped_is_cut_off(world: World) -> None:
    """After a while it is gone, and counted."""
    line = follow(world)
    line.peer.stop_reading()
    for i in range(300):
        world.put(b"%03d" % i * 300)
    world.advance(STALL + 1)
    assert line.closed
    assert world.api.following.cut == 1
    assert len(world.api.following) == 0


def test_followers_leave_nothing_behind(world: World) -> None:
    """When the last one hangs up there is no feed, no ear and no clock."""
    lines = [follow(world), follow(world, "?offset=first")]
    assert len(world.api.following) == 2
    for line in lines:
        line.hang_up()
    assert len(world.api.following) == 0
    assert not world.api.following._feeds
    assert len(world.api.waiting) == 0
    world.put(b"x")


def test_rights_end_a_stream(world: World) -> None:
    """Who may not read the topic any more is told, and hears no more."""
    line = follow(world, user="reader")
    world.memory.source.put("reader", "x", Grants())
    world.advance(60)
    world.put(b"secret")
    text = line.received
    assert b"secret" not in text
    assert b"event: end" in text or line.closed


def test_a_topic_that_goes_ends_its_streams(world: World) -> None:
    """When it is deleted, followers are told; of another topic's, nobody."""
    line, other = follow(world), follow(world, "", "p")
    assert world.ask("DELETE", "/v1/topics/a").status == 204
    assert b'"reason":"deleted"' in line.received
    assert b"end" not in other.received


def test_a_topic_that_grows_is_followed_anew(world: World) -> None:
    """With more partitions the stream ends; the last id goes on, and new partitions are read from the start."""
    line = follow(world, "?offset=first")
    last = events(line)[-1]["id"]
    world.ask("PATCH", "/v1/topics/a", {"settings": {"ack": "none"}})
    assert b"end" not in line.received
    world.ask("PATCH", "/v1/topics/a", {"partitions": 2})
    assert b'"reason":"altered"' in line.received
    world.put(b"new", partition=1)
    assert values(follow(world, Last_Event_ID=last)) == ["new"]


def test_records_that_are_gone_are_said(world: World) -> None:
    """Who comes back too late goes on at the first record that there is, and is told what is missing."""
    world.make("short", retention_messages=2)
    world.put(*[b"%d" % i for i in range(9)], topic="short")
    world.advance(60)
    first = world.log.span(b"short", 0).first
    found = events(follow(world, "", "short", Last_Event_ID="0:0"))
    assert found[0] == {"event": "skipped", "data": {"partition": 0, "from": 0, "to": first}}
    assert found[-1]["data"]["value"] == "8"


def test_lines_go_on_too(world: World) -> None:
    """The same as lines of JSON."""
    line = follow(world, "?offset=-1", Accept=LINES)
    world.put(b"3")
    assert [json.loads(one)["value"] for one in chunks(line).splitlines()] == ["2", "3"]


@pytest.mark.parametrize("last", ["x", "0", "9:1", "0:1,", "0:1\u00e9"])
def test_odd_ids(world: World, last: str) -> None:
    """What is no id of ours is refused."""
    assert world.get("/v1/topics/a/follow", Last_Event_ID=last.encode().decode("latin-1")).status == 400


def test_followers_are_bounded() -> None:
    """One more than there may be is told to come later."""
    world = World(max_followers=1)
    follow(world)
    reply = world.get("/v1/topics/a/follow")
    assert reply.status == 503
    assert reply.headers["retry-after"]


# -- WebSocket --------------------------------------------------------------------------------------------------------


class Socket:
    """The other end of a WebSocket."""

    def __init__(self, world: World, query: str = "", user: str = "ann", **headers: str) -> None:
        """Open it."""
        given = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": KEY,
            **shown(user),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        self.line = world.line().begin("GET", f"/v1/follow{query}", None, given)
        self.head, _, rest = self.line.peer.take().partition(b"\r\n\r\n")
        self.frames = FrameProtocol(True, [])
        self._rest = rest
        self.code = 0

    def say(self, **what: Any) -> Socket:
        """Send an order."""
        self.line.send(bytes(self.frames.send_data(json.dumps(what), fin=True)))
        return self

    def hear(self) -> list[dict[str, Any]]:
        """Give what has come."""
        self.frames.receive_bytes(self._rest + self.line.peer.take())
        self._rest = b""
        found, text = [], ""
        for frame in self.frames.received_frames():
            if frame.opcode is Opcode.CLOSE:
                self.code = frame.payload[0]
            elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.CONTINUATION:
                text += frame.payload
                if frame.message_finished:
                    found.append(json.loads(text))
                    text = ""
        return found

    def values(self) -> list[Any]:
        """Give the values of records that have come."""
        return [one["value"] for said in self.hear() if said["type"] == "records" for one in said["records"]]


def test_a_socket_follows_topics(world: World) -> None:
    """It says hello, what it follows, and records as they come."""
    socket = Socket(world)
    assert b"101 Switching Protocols" in socket.head
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in socket.head
    socket.say(type="follow", topics=["a", "p"], offset="first", id=7)
    said = socket.hear()
    assert said[0]["type"] == "hello"
    assert (said[1]["type"], said[1]["id"]) == ("following", 7)
    assert [one["value"] for one in said[2]["records"]] == ["0", "1", "2"]
    assert said[2]["cursors"] == {"a": "0:3"}
    world.put(b"x", topic="p", partition=2)
    assert socket.values() == ["x"]
    again = Socket(world).say(type="follow", topics={"a": "0:2"})
    assert again.values() == ["2"]


def test_no_more_than_the_credit(world: World) -> None:
    """Without credit nothing is sent; what is given is used up."""
    socket = Socket(world, "?credit=0").say(type="follow", topics=["a"], offset="first")
    assert socket.values() == []
    assert socket.say(type="credit", records=2).values() == ["0", "1"]
    world.put(b"3")
    assert socket.values() == []
    assert socket.say(type="credit", records=5).values() == ["2", "3"]


def test_a_socket_acknowledges_as_a_member(world: World) -> None:
    """What is acknowledged is committed in the group, and the next connection goes on there."""
    socket = Socket(world).say(type="follow", group="g", member="m", topics=["a"], start="first")
    assert socket.values() == ["0", "1", "2"]
    offsets = [{"topic": "a", "partition": 0, "offset": 2}]
    assert socket.say(type="ack", offsets=offsets).hear()[-1]["type"] == "acknowledged"
    assert world.get("/v1/groups/g/offsets").json["offsets"][0]["offset"] == 2
    socket.line.hang_up()
    world.put(b"3")
    assert world.post("/v1/groups/g/members/m/poll").json["records"][0]["value"] == "3"
    world.ask("DELETE", "/v1/groups/g/members/m")
    assert Socket(world).say(type="follow", group="g", topics=["a"]).values() == ["2", "3"]


@pytest.mark.parametrize(
    "order",
    [
        {"type": "x"},
        {},
        {"type": "follow"},
        {"type": "follow", "topics": ["none"]},
        {"type": "follow", "topics": ["a"], "offset": "99"},
        {"type": "follow", "topics": {"a": 5}},
        {"type": "follow", "group": "g"},
        {"type": "credit", "records": -1},
        {"type": "ack", "offsets": []},
    ],
)
def test_orders_that_make_no_sense(world: World, order: dict[str, Any]) -> None:
    """They are answered with an error that names them, and the socket goes on."""
    socket = Socket(world)
    socket.hear()
    (said,) = socket.say(**order, id=3).hear()
    assert (said["type"], said["id"]) == ("error", 3)
    assert socket.say(type="ping").hear() == [{"type": "pong"}]


def test_pages_say_who_they_are_in_their_first_message() -> None:
    """Without a header nothing is given before the login, and after a while it is over."""
    world = World()
    world.put(b"0")
    socket = Socket(world, user="")
    assert socket.hear()[0]["user"] is None
    assert socket.say(type="follow", topics=["a"]).hear()[0]["status"] == 401
    assert socket.say(type="login", authorization="Basic eHg=").hear()[0]["status"] == 401
    assert socket.say(type="login", authorization=shown("ann")["Authorization"]).hear()[0]["user"] == "ann"
    assert socket.say(type="follow", topics=["a"], offset="first").values() == ["0"]
    other = Socket(world, user="")
    world.advance(11)
    other.hear()
    assert other.code == 1008


def test_pages_of_other_places_are_refused(world: World) -> None:
    """A page of another origin cannot open one; what is no WebSocket is told so."""
    assert b" 403 " in Socket(world, Origin="http://evil.example").head
    assert b" 101 " in Socket(world, Origin="http://test").head
    assert world.get("/v1/follow").status == 426


@pytest.mark.parametrize("data", [b"\x00" * 50, b"\x81\xff" + b"\xff" * 12, b"\x82\x80\0\0\0\0", b"\xff" * 9])
def test_junk_ends_a_socket(world: World, data: bytes) -> None:
    """What is no frame, not masked, binary or much too long ends it with a code; nothing is left."""
    socket = Socket(world)
    socket.line.send(data)
    world.advance(10)
    assert socket.line.closed
    assert len(world.api.sockets) == 0


def test_a_socket_that_hangs_up_leaves_nothing(world: World) -> None:
    """Its client, its ear and its clocks are gone."""
    socket = Socket(world).say(type="follow", topics=["a"])
    socket.line.hang_up()
    assert len(world.api.sockets) == 0
    assert len(world.api.waiting) == 0
