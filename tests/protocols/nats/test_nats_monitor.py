"""The monitoring pages, in memory: what they show, what they refuse, and that they do not stop the broker."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from brokerkit.errors import ClientError, ConfigError, LoginFailed, ProtocolViolation
from brokerkit.plugin import protocols
from brokerkit.protocols.nats.monitor import asked, memory, spelling
from brokerkit.protocols.nats.monitor.connz import connz
from brokerkit.protocols.nats.monitor.document import STEP, listing
from brokerkit.protocols.nats.monitor.reasons import reason
from brokerkit.protocols.nats.monitor.service import Monitor
from brokerkit.protocols.nats.system.account import attend
from brokerkit.testing import MemoryBroker
from brokerkit.testing.memory import streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.testing.memory import Peer

CONNECT = b'CONNECT {"user":"%b","pass":"%b\'s secret","verbose":false,"pedantic":false,"name":"%b","lang":"go"}\r\n'


def broker(**settings: Mapping[str, object]) -> MemoryBroker:
    """Give a broker with pages."""
    plugins = streams() | {"nats-monitor": protocols()["nats-monitor"]}
    return MemoryBroker(settings=settings, plugins=plugins)


def monitor(memory: MemoryBroker) -> Monitor:
    """Give the service of the pages."""
    return next(one for one in memory.broker.services if isinstance(one, Monitor))


def talk(memory: MemoryBroker, name: bytes = b"ann") -> Peer:
    """Connect and log in by NATS."""
    peer = memory.connect("nats")
    peer.send(CONNECT % (name, name, b"of " + name))
    return peer


class Reader:
    """An HTTP client in memory, which may stop reading."""

    def __init__(self, memory: MemoryBroker, address: str = "127.0.0.1") -> None:
        """Connect; ``closed`` says whether that was refused."""
        self._memory = memory
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", address, 40000))
        self.transport.abortConnection = self.transport.loseConnection  # type: ignore[attr-defined]
        self.protocol = monitor(memory)._door.buildProtocol(self.transport.getPeer())
        self.closed = self.protocol is None
        if self.protocol is not None:
            self.protocol.makeConnection(self.transport)

    def ask(self, path: str, method: str = "GET") -> None:
        """Send a request."""
        assert self.protocol is not None
        self.protocol.dataReceived(f"{method} {path} HTTP/1.0\r\n\r\n".encode())

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Give status, headers and body, when all is done."""
        for _ in range(400):
            if self.transport.disconnecting:
                break
            self._memory.advance()
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
        return int(first.split()[1]), headers, body


def get(memory: MemoryBroker, path: str) -> Any:
    """Give the JSON of a page."""
    reader = Reader(memory)
    reader.ask(path)
    code, headers, body = reader.answer()
    assert (code, headers["content-type"]) == (200, "application/json"), body
    return json.loads(body)


def status(memory: MemoryBroker, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Give the status and the text of a page."""
    reader = Reader(memory)
    reader.ask(path, method)
    code, _, body = reader.answer()
    return code, body


# -- the pages --------------------------------------------------------------------------------------------------------


def test_a_connection_is_seen() -> None:
    """It has its number, its name, what it has said and heard, and whoever it is where that is asked for."""
    memory = broker()
    ann = talk(memory)
    ann.send(b"SUB foo.* 7\r\nSUB q workers 8\r\nPUB foo.a 5\r\nhello\r\nPUB foo.b 2\r\nhi\r\n")
    [one] = get(memory, "/connz?auth=1&subs=detail")["connections"]
    assert one["cid"] == ann.protocol.cid
    assert (one["type"], one["name"], one["lang"]) == ("nats", "of ann", "go")
    assert (one["in_msgs"], one["out_msgs"], one["subscriptions"]) == (2, 2, 2)
    assert (one["authorized_user"], one["account"]) == ("ann", "$G")
    assert [entry["subject"] for entry in one["subscriptions_list_detail"]] == ["foo.*", "q"]
    assert one["subscriptions_list_detail"][1]["qgroup"] == "workers"
    assert "authorized_user" not in get(memory, "/connz")["connections"][0]


def test_messages_of_ended_subscriptions_count() -> None:
    """What was delivered is not forgotten when the subscription is over, nor when the connection is."""
    memory = broker()
    ann = talk(memory)
    ann.send(b"SUB foo 1\r\nUNSUB 1 1\r\nSUB bar 2\r\nPUB foo 0\r\n\r\nPUB bar 0\r\n\r\nUNSUB 2\r\n")
    assert get(memory, "/connz")["connections"][0]["out_msgs"] == 2
    ann.hang_up()
    varz = get(memory, "/varz")
    assert (varz["in_msgs"], varz["out_msgs"], varz["connections"], varz["total_connections"]) == (2, 2, 0, 1)


def test_other_protocols_are_seen() -> None:
    """A connection of hpfeeds is a client of the broker like others, and says what it speaks."""
    memory = broker()
    bob = memory.client("hpfeeds", "bob")
    bob.subscribe(b"a")
    [one] = get(memory, "/connz?auth=1&subs=1")["connections"]
    assert (one["type"], one["kind"], one["authorized_user"], one["subscriptions_list"]) == (
        "hpfeeds",
        "Client",
        "bob",
        ["a"],
    )


def test_names_are_those_of_the_listener() -> None:
    """A subscription is shown by the name that its client gave it, without the prefix of the listener."""
    memory = broker(nats={"topic_prefix": "lab"})
    talk(memory).send(b"SUB foo 1\r\n")
    assert get(memory, "/connz?subs=1")["connections"][0]["subscriptions_list"] == ["foo"]


def test_order_and_pages() -> None:
    """Connections come in the order that is asked for, a page at a time."""
    memory = broker()
    peers = [talk(memory) for _ in range(4)]
    for count, peer in enumerate(peers):
        peer.send(b"PUB foo 0\r\n\r\n" * count)
    numbers = [peer.protocol.cid for peer in peers]

    def listed(query: str) -> list[int]:
        return [one["cid"] for one in get(memory, f"/connz?{query}")["connections"]]

    assert listed("") == numbers
    assert listed("sort=msgs_from") == numbers[::-1]
    assert listed("sort=msgs_from&limit=2&offset=1") == numbers[2:0:-1]
    assert listed(f"cid={numbers[2]}") == [numbers[2]]
    assert listed("offset=9") == []
    assert listed("user=bob") == []
    assert listed("acc=$SYS") == []
    assert get(memory, "/connz?limit=1")["total"] == 4


@pytest.mark.parametrize("sort", [sort for sort in asked.SORTS if sort not in {"stop", "reason"}])
def test_every_order(sort: str) -> None:
    """Every order that nats-server has can be asked for."""
    memory = broker()
    numbers = {talk(memory).protocol.cid for _ in range(3)}
    assert {one["cid"] for one in get(memory, f"/connz?sort={sort}")["connections"]} == numbers


def test_ended_connections() -> None:
    """Those that have ended are remembered, with the reason, until there are too many of them."""
    memory = broker()
    ann = talk(memory)
    ann.send(b"SUB foo 1\r\n")
    ann.hang_up()
    stranger = memory.connect("nats")
    stranger.send(b'CONNECT {"user":"eve","pass":"secret"}\r\n')
    assert get(memory, "/connz")["total"] == 0
    [first, second] = get(memory, "/connz?state=closed&auth=1")["connections"]
    assert (first["reason"], first["authorized_user"], first["subscriptions"]) == ("Client Closed", "ann", 1)
    assert (second["reason"], second["authorized_user"]) == ("Authentication Failure", "eve")
    assert "account" not in second
    assert [one["cid"] for one in get(memory, "/connz?state=closed&sort=stop")["connections"]]
    talk(memory)
    assert len(get(memory, "/connz?state=any")["connections"]) == 3


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest end is forgotten; what it had counted is not, and long names are cut."""
    monkeypatch.setattr(memory, "REMEMBERED", 3)
    broker_in_memory = broker()
    for _ in range(5):
        peer = broker_in_memory.connect("nats")
        peer.send(CONNECT % (b"ann", b"ann", b"x" * 3000) + b"PUB foo 0\r\n\r\n")
        peer.hang_up()
    ended = get(broker_in_memory, "/connz?state=closed")["connections"]
    assert [one["cid"] for one in ended] == [3, 4, 5]
    assert {len(one["name"]) for one in ended} == {256}
    assert get(broker_in_memory, "/varz")["in_msgs"] == 5


def test_subscriptions() -> None:
    """They are counted, listed, and looked up as a message would."""
    memory = broker()
    talk(memory).send(b"SUB foo.* 1\r\nSUB foo.a 2\r\nSUB bar 3\r\n")
    before = get(memory, "/subsz")
    assert "subscriptions_list" not in before
    talk(memory, b"bob").send(b"SUB foo.> 4\r\nPUB foo.a 0\r\n\r\nUNSUB 4\r\n")
    after = get(memory, "/subsz")
    assert after["num_inserts"] - before["num_inserts"] == after["num_removes"] - before["num_removes"] == 1
    assert after["num_matches"] > before["num_matches"]
    listed = get(memory, "/subsz?subs=1")
    assert [one["subject"] for one in listed["subscriptions_list"]] == ["foo.*", "foo.a", "bar"]
    assert listed["total"] == 3
    reached = get(memory, "/subscriptionsz?subs=1&test=foo.a")["subscriptions_list"]
    assert sorted(one["sid"] for one in reached) == ["1", "2"]
    assert get(memory, "/subsz?subs=1&acc=nobody")["total"] == 0


def test_accounts() -> None:
    """Tenants are listed, described, and summed up."""
    memory = broker()
    talk(memory).send(b"SUB foo 1\r\nPUB foo 0\r\n\r\n")
    assert set(get(memory, "/accountz")["accounts"]) == {"$G", "$SYS"}
    assert get(memory, "/accountz?acc=$G")["account_detail"]["client_connections"] == 1
    [sums] = get(memory, "/accstatz")["account_statz"]
    assert (sums["acc"], sums["conns"], sums["received"]["msgs"], sums["sent"]["msgs"]) == ("$G", 1, 1, 1)
    assert len(get(memory, "/accstatz?unused=1")["account_statz"]) == 2


def test_health() -> None:
    """A listener that is not open is said, with 503."""
    memory = broker()
    assert get(memory, "/healthz") == {"status": "ok"}
    memory.broker.listener("hpfeeds").port = None
    code, body = status(memory, "/healthz")
    assert code == 503
    assert "hpfeeds" in json.loads(body)["error"]


def test_links() -> None:
    """The page above the others leads to each of them."""
    code, body = status(broker(), "/")
    assert code == 200
    assert b'href="/connz"' in body


@pytest.mark.parametrize(
    ("path", "method", "code"),
    [
        ("/nosuch", "GET", 404),
        ("/varz/more", "GET", 404),
        ("/varz", "POST", 404),
        ("/", "DELETE", 404),
        ("/varz", "HEAD", 200),
        ("/connz?sort=unknown", "GET", 400),
        ("/connz?sort=stop", "GET", 400),
        ("/connz?limit=many", "GET", 400),
        ("/connz?limit=99999999999999999999", "GET", 400),
        ("/connz?auth=maybe", "GET", 400),
        ("/connz?state=unknown", "GET", 400),
        ("/accountz?acc=nobody", "GET", 400),
        ("/connz?limit=-1&offset=-5", "GET", 200),
        ("/connz?callback=evil", "GET", 200),
        ("/subsz?subs=1&test=%ff%00", "GET", 200),
    ],
)
def test_what_is_refused(path: str, method: str, code: int) -> None:
    """What is not there is 404, as is any method but GET and HEAD; what cannot be meant is 400."""
    assert status(broker(), path, method)[0] == code


def test_base_path() -> None:
    """The pages lie below the path that is set, and nowhere else."""
    memory = broker(**{"nats-monitor": {"http_base_path": "/a/b"}})
    assert get(memory, "/a/b/varz")["http_base_path"] == "/a/b"
    assert status(memory, "/varz")[0] == status(memory, "/a/varz")[0] == 404
    assert b'href="/a/b/varz"' in status(memory, "/a/b/")[1]
    assert b'href="/a/b/varz"' in status(memory, "/a/b")[1]


def test_requests_are_counted() -> None:
    """How often each page was asked for is on one of them; what is not there is not counted."""
    memory = broker()
    status(memory, "/nosuch")
    get(memory, "/connz")
    assert get(memory, "/varz")["http_req_stats"] == {"/connz": 1, "/varz": 1}


# -- who may ask, and what it costs -----------------------------------------------------------------------------------


def test_room() -> None:
    """One connection too many is closed at once, and there is room again when another has gone."""
    memory = broker(**{"nats-monitor": {"max_connections": 2}})
    first, second = Reader(memory), Reader(memory)
    assert Reader(memory).closed
    first.ask("/varz")
    first.answer()
    assert first.protocol is not None
    first.protocol.connectionLost(Failure(ConnectionDone()))
    assert not Reader(memory).closed
    assert not second.closed


def test_networks() -> None:
    """Only the networks that are named may look."""
    memory = broker(**{"nats-monitor": {"networks": ["10.0.0.0/8"]}})
    assert Reader(memory, "192.0.2.7").closed
    assert not Reader(memory, "10.1.2.3").closed


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("topic_prefix", "lab"),
        ("mode", "push"),
        ("tenant", "A"),
        ("certificate_user", "cn"),
        ("http_base_path", "monitoring"),
        ("endpoint", "tcp:port=0:mode=push"),
    ],
)
def test_what_makes_no_sense_is_refused(key: str, value: str) -> None:
    """A key that the pages could not follow ends the start."""
    with pytest.raises(ConfigError, match=key if key != "endpoint" else "mode"):
        broker(**{"nats-monitor": {key: value}})


def test_not_opened_by_itself() -> None:
    """``brokerkit run`` does not open it: there is no password."""
    plugin = protocols()["nats-monitor"]
    assert not plugin.by_itself
    assert "127.0.0.1" in plugin.default


def test_a_long_page_is_made_in_steps() -> None:
    """Between two parts of it the broker does other things."""
    memory = broker()
    for _ in range(STEP + 10):
        talk(memory)
    pieces = list(connz(attend(memory.broker).view, asked.Connections(sort="subs")))
    assert len(pieces) > 4
    assert len(json.loads(b"".join(pieces))["connections"]) == STEP + 10


def test_a_reader_that_goes_is_forgotten() -> None:
    """A page is not made for nobody, and nothing fails."""
    memory = broker()
    for _ in range(STEP + 10):
        talk(memory)
    reader = Reader(memory)
    reader.ask("/connz")
    assert reader.protocol is not None
    reader.protocol.connectionLost(Failure(ConnectionDone()))
    for _ in range(5):
        memory.advance()
    assert get(memory, "/connz")["total"] == STEP + 10


def test_many_connections_are_summed_up_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks again and again does not have the broker add up all connections each time."""
    monkeypatch.setattr(memory, "FEW", 1)
    broker_in_memory = broker()
    peers = [talk(broker_in_memory) for _ in range(3)]
    broker_in_memory.advance(2)
    assert get(broker_in_memory, "/varz")["in_msgs"] == 0
    peers[0].send(b"PUB foo 0\r\n\r\n")
    assert get(broker_in_memory, "/varz")["in_msgs"] == 0
    broker_in_memory.advance(1)
    assert get(broker_in_memory, "/varz")["in_msgs"] == 1


# -- spelling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (61, "1m1s"), (3600, "1h0m0s"), (90061, "1d1h1m1s"), (31_536_000, "1y0d0h0m0s")],
)
def test_uptime(seconds: float, text: str) -> None:
    """Uptimes are spelled as nats-server does, where the exporter knows how to read them."""
    assert spelling.uptime(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.000655, "655µs"), (0.001314628, "1.315ms"), (1.5, "1.5s"), (2e-9, "2ns")]
)
def test_duration(seconds: float, text: str) -> None:
    """Round trips are spelled as Go does."""
    assert spelling.duration(seconds) == text


def test_moment() -> None:
    """Times are RFC 3339 in UTC."""
    assert spelling.moment(1_700_000_000.25) == "2023-11-14T22:13:20.250000Z"


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        ("closed", "Client Closed"),
        ("lost", "Read Error"),
        ("limit", "Slow Consumer (Pending Bytes)"),
        ("deadline", "Slow Consumer (Write Deadline)"),
        ("shutdown", "Server Shutdown"),
        ("kicked", "Kicked"),
        ("revoked", "Credentials Revoked"),
        ("expired", "Authentication Expired"),
        (None, "Client Closed"),
        (LoginFailed("Authorization Violation"), "Authentication Failure"),
        (LoginFailed(None), "Authentication Failure"),
        (LoginFailed("Authentication Timeout"), "Authentication Timeout"),
        (ClientError("Stale Connection"), "Stale Connection"),
        (ClientError("maximum connections exceeded"), "Maximum Connections Exceeded"),
        (ProtocolViolation("Unknown Protocol Operation"), "Protocol Violation"),
        (ProtocolViolation(None), "Protocol Violation"),
        (ProtocolViolation("invalid client protocol"), "Bad Client Protocol Version"),
    ],
)
def test_reasons(cause: object, text: str) -> None:
    """Why a connection ended is said in nats-server's words."""
    assert reason(cause) == text


@given(st.lists(st.dictionaries(st.text(), st.integers()), max_size=2 * STEP + 3))
def test_a_listing_is_json(entries: list[dict[str, int]]) -> None:
    """However many entries there are, what is given piece by piece is one document."""
    head = {"now": "x", "limit": 3}
    pieces = list(listing(head, "entries", entries))
    assert json.loads(b"".join(pieces)) == {**head, "entries": entries}


@given(st.dictionaries(st.sampled_from(["sort", "subs", "auth", "limit", "offset", "cid", "state", "x"]), st.text()))
def test_any_query(query: dict[str, str]) -> None:
    """Whatever a query says, it is read within bounds or refused."""
    try:
        wanted = asked.connections(query)
    except asked.NotAsked:
        return
    assert wanted.offset >= 0
    assert wanted.limit > 0


_values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.text())
_keys = st.sampled_from(
    ["sort", "auth", "limit", "offset", "cid", "state", "acc", "user", "accounts", "tags", "domain"]
)


@given(st.dictionaries(_keys, _values))
def test_any_request(said: dict[str, Any]) -> None:
    """Whatever the JSON of a request says, it is read or refused."""
    found = asked.object_in(json.dumps(said).encode())
    for kind in (asked.Connections, asked.Subscribed, asked.Accounts, asked.Statistics, asked.Whom):
        try:
            asked.record(kind, found)
        except asked.NotAsked:
            continue


def test_one_memory_for_each_broker() -> None:
    """Pages and system account of one broker see the same."""
    memory = broker()
    assert attend(memory.broker) is attend(memory.broker)
    assert attend(memory.broker) is not attend(broker().broker)
