"""HTTP for every protocol: what is asked is answered, and nobody takes more than what is theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from brokerkit.entrance import read_networks
from brokerkit.web import Answer, Asked, Bounds, Parameter, Problem, Route, Site, Stream, json_answer, openapi
from tests.talk import Line, Reply, Time

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.web.sink import Sink

BOUNDS = Bounds(head_bytes=70_000, body_bytes=1000, connections=3, head=10, body=20, idle=30)


class Shop:
    """A site with a few routes, and what was asked of it."""

    def __init__(self, *more: Route, **settings: Any) -> None:
        """Open it."""
        self.clock = Time()
        self.asked: list[Asked] = []
        self.waiting: list[Deferred[Answer]] = []
        self.cancelled: list[object] = []
        self.sinks: list[Sink] = []
        routes = [
            Route("GET", "/", self._note),
            Route("POST", "/", self._note),
            Route("GET", "/things/{name}", self._note),
            Route("PUT", "/things/{name}", self._note),
            Route("GET", "/things/{name}/parts/{part}", self._note),
            Route("GET", "/later", self._later),
            Route("GET", "/stream", lambda _: Stream(self.sinks.append)),
            Route("GET", "/bug", self._bug),
            Route("GET", "/slow-bug", self._slow_bug),
            Route("GET", "/nothing", lambda _: None),
            Route("GET", "/problem", self._problem),
            *more,
        ]
        self.site = Site(routes, self.clock, **{"bounds": BOUNDS, **settings})

    def _note(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        return json_answer({"values": asked.values})

    def _later(self, _: Asked) -> Deferred[Answer]:
        later: Deferred[Answer] = Deferred(self.cancelled.append)
        self.waiting.append(later)
        return later

    def _bug(self, _: Asked) -> Answer:
        raise ZeroDivisionError("the secret")

    async def _slow_bug(self, _: Asked) -> Answer:
        raise ZeroDivisionError("the secret")

    async def _problem(self, _: Asked) -> Answer:
        raise Problem(409, "Conflict", "it is so", revision=7)

    def line(self, address: str = "192.0.2.1") -> Line:
        """Connect."""
        return Line(self.site, address)


@pytest.fixture
def shop() -> Shop:
    """Give one."""
    return Shop()


def test_an_answer(shop: Shop) -> None:
    """It says its length, its type and the time, and the connection stays for the next."""
    line = shop.line()
    reply = line.ask("GET", "/")
    assert (reply.status, reply.reason, reply.json) == (200, "OK", {"values": {}})
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["date"] == "Fri, 15 Jan 2027 08:00:00 GMT"
    assert "connection" not in reply.headers
    assert line.ask("GET", "/").status == 200
    assert shop.site.served == {200: 2}


def test_parts_of_a_path(shop: Shop) -> None:
    """They are decoded one by one, so that a slash in a name is no part's end; what is no UTF-8 is 400."""
    line = shop.line()
    assert line.ask("GET", "/things/a%2Fb%20%C3%A9").json == {"values": {"name": "a/b é"}}
    assert line.ask("GET", "/things/x/parts/y").json == {"values": {"name": "x", "part": "y"}}
    assert line.ask("GET", "/things/%FF").status == 400
    for nowhere in ("/things", "/things/", "/things/x/", "/thingsx", "//", "/things/x/parts"):
        assert line.ask("GET", nowhere).status == 404, nowhere


def test_a_problem(shop: Shop) -> None:
    """What a call raises is problem+json, with its own members."""
    reply = shop.line().ask("GET", "/problem")
    assert reply.status == 409
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "it is so",
        "revision": 7,
    }


@pytest.mark.parametrize("path", ["/bug", "/slow-bug", "/nothing"])
def test_a_bug(shop: Shop, path: str, caplog: pytest.LogCaptureFixture) -> None:
    """A call that fails costs its own request, with nothing of it in the answer."""
    line = shop.line()
    reply = line.ask("GET", path)
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert line.ask("GET", "/").status == 200
    del caplog


def test_methods(shop: Shop) -> None:
    """HEAD is GET without the body, OPTIONS names what there is, and 405 does too."""
    line = shop.line()
    head = line.ask("HEAD", "/things/x")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) == len(line.ask("GET", "/things/x").body)
    options = line.ask("OPTIONS", "/things/x")
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, PUT")
    refused = line.ask("DELETE", "/things/x")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, PUT")
    assert line.ask("get", "/").status == 405
    assert line.received == b""


def test_what_no_route_is_for() -> None:
    """It goes where the site says, target and body as they came."""
    asked: list[Asked] = []

    def take(one: Asked) -> Answer:
        asked.append(one)
        return Answer(200)

    line = Shop(otherwise=take).line()
    line.ask("POST", "/a/B/?x=1;y", b"body")
    assert (asked[0].target, asked[0].path, asked[0].raw_query) == (b"/a/B/?x=1;y", b"/a/B/", b"x=1;y")
    assert (asked[0].body, asked[0].address) == (b"body", "192.0.2.1")


def test_secrets_are_in_no_repr(shop: Shop) -> None:
    """Neither the query nor a header of a request is shown by accident."""
    shop.line().ask("GET", "/?access_key=hush", headers={"Authorization": "Bearer hush", "X-Access-Key": "hush"})
    assert "hush" not in repr(shop.asked[0])


# -- what is hostile --------------------------------------------------------------------------------------------------


def test_large_targets(shop: Shop) -> None:
    """A query of 60 000 bytes is read; one that is longer than may be is 414, and then nothing more is read."""
    line = shop.line()
    assert line.ask("GET", "/?x=" + "y" * 60_000).status == 200
    assert len(shop.asked[0].query["x"]) == 60_000
    line.send(b"GET /?x=" + b"y" * 71_000)
    assert line.reply().status == 414
    line.send(b" HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    assert line.received == b""
    line.advance(1)
    line.advance()
    assert line.closed


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 71_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 20_000 + b"\r\n" + b"X: " + b"y" * 60_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 600 + b"\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 999999999999\r\nExpect: 100-continue\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"100\r\n" + b"x" * 256 + b"\r\n", None),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"500\r\n" + b"x" * 1280 + b"\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
def test_what_is_refused(shop: Shop, data: bytes, status: int | None) -> None:
    """It is answered once, whatever follows is not, and the connection is closed; in one piece or in many."""
    for pieces in ([data], [data[i : i + 1000] for i in range(0, len(data), 1000)]):
        line = shop.line()
        line.send(*pieces)
        if status is None:
            assert line.received == b""
            line.hang_up()
            continue
        reply = line.reply()
        assert reply.status == status
        assert reply.headers["connection"] == "close"
        line.send(b"GET / HTTP/1.1\r\n\r\n" * 3)
        assert line.received == b""
        line.advance(1)
        line.advance()
        assert line.closed
    assert shop.asked == []


def test_a_lying_length(shop: Shop) -> None:
    """Who announces more than comes waits alone, for as long as a body may take, and is told so."""
    liar, other = shop.line(), shop.line()
    liar.send(b"POST / HTTP/1.1\r\nContent-Length: 500\r\n\r\nhello")
    assert other.ask("GET", "/").status == 200
    liar.advance(19)
    liar.send(b"x")
    assert liar.received == b""
    liar.advance(1)
    assert liar.reply().status == 408


@pytest.mark.parametrize("head", [b"", b"G", b"GET / HTTP/1.1\r\nX: y\r\n"])
def test_a_stalled_head(shop: Shop, head: bytes) -> None:
    """A head has to be there in its time; a byte now and then does not prolong it."""
    line = shop.line()
    line.send(head)
    for _ in range(9):
        line.advance(1)
        if head:
            line.send(b"x")
    assert not line.closed
    line.advance(1)
    if head:
        assert line.reply().status == 408
    line.advance(1)
    line.advance()
    assert line.closed


def test_an_idle_connection(shop: Shop) -> None:
    """It is closed after a while without a request; each request begins that anew."""
    line = shop.line()
    line.ask("GET", "/")
    line.advance(29)
    line.ask("GET", "/")
    line.advance(29)
    assert not line.closed
    line.advance(1)
    line.advance()
    assert line.closed


def test_a_long_answer_has_time(shop: Shop) -> None:
    """While a request is being answered no clock runs against the peer."""
    line = shop.line()
    line.begin("GET", "/later")
    line.advance(1000)
    assert not line.closed
    shop.waiting[0].callback(Answer(200, b"done"))
    assert line.reply().body == b"done"


def test_a_reader_that_has_stopped(shop: Shop) -> None:
    """Who does not take what it asked for is cut off when the time of an idle one is over."""
    line = Shop(Route("GET", "/large", lambda _: Answer(body=b"x" * 1_000_000)), bounds=BOUNDS).line()
    line.peer.stop_reading()
    line.begin("GET", "/large")
    line.begin("GET", "/large")
    assert line.peer.transport.pending < 1_001_000  # the second is not even looked at
    line.advance(30)
    assert not line.closed
    line.advance(5)
    line.advance()
    assert line.closed
    del shop


def test_requests_that_come_too_early(shop: Shop) -> None:
    """They are answered in order, and only a little of them is held meanwhile."""
    line = shop.line()
    line.begin("GET", "/later").begin("GET", "/?n=1").begin("GET", "/?n=2")
    assert shop.asked == []
    for _ in range(300):
        line.send(b"x" * 100)
    assert not line.peer.transport.reading
    assert len(line.protocol._held) < 20_000
    shop.waiting[0].callback(Answer(200, b"first"))
    assert line.reply().body == b"first"
    assert [asked.query["n"] for asked in shop.asked] == ["1", "2"]


def test_many_requests_at_once(shop: Shop) -> None:
    """Who sends hundreds of them in one piece gets every answer, but others have their turn in between."""
    line = shop.line()
    line.peer.transport.protocol.dataReceived(b"".join(b"GET /?n=%d HTTP/1.1\r\n\r\n" % i for i in range(2000)))
    assert len(shop.asked) < 100
    assert not line.peer.transport.reading
    for _ in range(100):
        line.advance()
    assert [int(asked.query["n"]) for asked in shop.asked] == list(range(2000))
    assert line.peer.transport.reading
    line.hang_up()
    assert shop.clock.getDelayedCalls() == []


def test_bytes_one_by_one(shop: Shop) -> None:
    """A request may come in any pieces."""
    line = shop.line()
    data = b"POST /?a=b HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz"
    line.send(*(data[i : i + 1] for i in range(len(data))))
    assert line.reply().status == 200
    assert shop.asked[0].body == b"xyz"


def test_too_many(shop: Shop) -> None:
    """One connection too many is told so; a place that is left is free again."""
    lines = [shop.line() for _ in range(3)]
    extra = shop.line()
    assert extra.reply().status == 503
    extra.send(b"GET / HTTP/1.1\r\n\r\n")
    assert extra.received == b""
    lines[0].hang_up()
    assert shop.line().ask("GET", "/").status == 200
    assert shop.site.entrance.refused["connections"] == 1


def test_another_network() -> None:
    """Who comes from elsewhere is closed before anything is made for it."""
    shop = Shop(networks=read_networks(["10.0.0.0/8"], "test"))
    with pytest.raises(ConnectionRefusedError):
        shop.line("192.0.2.1")
    assert shop.line("10.1.2.3").ask("GET", "/").status == 200


@given(st.text(), st.text(max_size=30))
def test_nothing_breaks_the_head(reason: str, value: str) -> None:
    """Whatever a call puts into reason and headers, the head has as many lines as it should have."""
    answer = Answer(299, b"body", {"x-thing": value, "x-\r\nother": "y"}, reason)
    line = Shop(Route("GET", "/odd", lambda _: answer)).line()
    line.begin("GET", "/odd")
    head, _, body = line.received.partition(b"\r\n\r\n")
    assert body == b"body"
    assert len(head.splitlines()) == head.count(b"\r\n") + 1 == 7
    assert b"\n" not in head.replace(b"\r\n", b"")


def test_a_peer_that_leaves(shop: Shop) -> None:
    """Whoever works for it is told to stop, and everything about it is forgotten."""
    line = shop.line()
    line.begin("GET", "/later")
    line.hang_up()
    assert shop.cancelled == shop.waiting
    assert not shop.site.connections
    assert shop.clock.getDelayedCalls() == []


def test_old_http(shop: Shop) -> None:
    """HTTP/1.0 is answered as such, and closed."""
    line = shop.line()
    line.send(b"GET / HTTP/1.0\r\n\r\n")
    assert line.received.startswith(b"HTTP/1.0 200 OK\r\n")
    assert line.reply().headers["connection"] == "close"
    line.advance()
    assert line.closed


# -- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream(shop: Shop) -> None:
    """It comes in chunks, and the connection can be used again behind it."""
    line = shop.line()
    line.begin("GET", "/stream")
    assert line.reply().headers["transfer-encoding"] == "chunked"
    shop.sinks[0].write(b"hello")
    assert line.peer.take() == b"5\r\nhello\r\n"
    shop.sinks[0].finish()
    shop.sinks[0].write(b"too late")
    assert line.peer.take() == b"0\r\n\r\n"
    assert line.ask("GET", "/").status == 200


def test_a_stream_to_a_slow_reader(shop: Shop) -> None:
    """The sink says that it is full, and when there is room; a lost connection is told once."""
    line = shop.line()
    line.begin("GET", "/stream")
    sink = shop.sinks[0]
    said: list[str] = []
    sink.room, sink.lost = lambda: said.append("room"), lambda: said.append("lost")
    line.peer.stop_reading()
    sink.write(b"x" * 100_000)
    assert sink.full
    line.peer.read()
    assert not sink.full
    line.hang_up()
    sink.write(b"x")
    assert said == ["room", "lost"]


def test_a_stream_for_old_http(shop: Shop) -> None:
    """It ends where the connection ends."""
    line = shop.line()
    line.begin("GET", "/stream", version="1.0")
    assert "transfer-encoding" not in line.reply(with_body=False).headers
    shop.sinks[0].write(b"hello")
    shop.sinks[0].finish()
    line.advance()
    assert line.received == b"hello"
    assert line.closed


def test_stopping(shop: Shop) -> None:
    """Nobody is let in any more; what is idle is closed, what is being answered gets its time, and no more."""
    idle, busy, hung = shop.line(), shop.line(), shop.line()
    busy.begin("GET", "/later")
    hung.begin("GET", "/later")
    done: list[object] = []
    shop.site.close(2.0).addCallback(done.append)
    idle.advance()
    assert idle.closed
    with pytest.raises(ConnectionRefusedError):
        shop.line()
    shop.waiting[0].callback(Answer(200, b"done"))
    assert busy.reply().headers["connection"] == "close"
    busy.advance()
    assert busy.closed
    assert not done
    hung.advance(2)
    hung.advance()
    assert hung.closed
    assert len(done) == 1
    assert shop.clock.getDelayedCalls() == []


# -- the table --------------------------------------------------------------------------------------------------------


def test_two_routes_for_one() -> None:
    """A table that is not clear is refused."""
    twice = Route("GET", "/things/{other}", lambda _: None)
    with pytest.raises(ValueError, match="two routes for GET"):
        Shop(twice)


def test_the_document() -> None:
    """It names every route that has a summary, with parameters, answers and what a problem looks like."""
    limit = Parameter("limit", "How many.", kind="integer")
    answers = {200: "It.", 404: "No such."}
    routes = [
        Route("GET", "/a/{name}", lambda _: None, "Get a thing.", (limit,), answers),
        Route("PUT", "/a/{name}", lambda _: None, "Put a thing.", body="The thing."),
        Route("POST", "/c", lambda _: None, "Send a thing.", body="It.", request={"text/x": {}}, needs_body=True),
        Route("GET", "/b", lambda _: None),
    ]
    document = openapi(routes, "Things")
    assert list(document["paths"]) == ["/a/{name}", "/c"]
    sent = {"description": "It.", "content": {"text/x": {"schema": {}}}, "required": True}
    assert document["paths"]["/c"]["post"]["requestBody"] == sent
    get, put = document["paths"]["/a/{name}"]["get"], document["paths"]["/a/{name}"]["put"]
    assert [(one["name"], one["in"], one["required"]) for one in get["parameters"]] == [
        ("limit", "query", False),
        ("name", "path", True),
    ]
    assert set(get["responses"]) == {"200", "404"}
    assert "application/problem+json" in get["responses"]["404"]["content"]
    assert put["requestBody"]["description"] == "The thing."
    identifiers: set[str] = {get["operationId"], put["operationId"]}
    assert len(identifiers) == 2


def test_types_for_the_reader() -> None:
    """An answer is read as it is."""
    call: Callable[[Asked], Answer] = lambda _: Answer(201, b"{}", reason="Made")  # noqa: E731
    reply: Reply = Shop(Route("GET", "/made", call)).line().ask("GET", "/made")
    assert (reply.status, reply.reason, reply.json) == (201, "Made", {})
