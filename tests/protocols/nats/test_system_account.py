"""The system account, in memory: who may ask, what is answered and told, and what it costs when nobody listens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from brokerkit.checkers.known import Known, Users
from brokerkit.checkers.source import Source
from brokerkit.client import User
from brokerkit.errors import OperatorError
from brokerkit.grants import ALL, PUBLISH, SUBSCRIBE, Access, Grants, patterns
from brokerkit.protocols.nats.system import lists
from brokerkit.protocols.nats.system.account import EVERY, attend
from brokerkit.protocols.nats.system.lists import WAITING, Lists
from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from brokerkit.testing.memory import Peer

LIMITED = Grants(
    {
        PUBLISH: Access(patterns([b"x.>", b"$SYS.REQ.USER.INFO"]), patterns([b"x.secret"])),
        SUBSCRIBE: Access(patterns([b">"])),
    }
)


class Directory(Source):
    """Users of several tenants, each with its name for a secret."""

    source = "tenants"

    def __init__(self, *users: tuple[str, str, Grants]) -> None:
        """Know those users."""
        self._users = Users(
            Known(User(name.encode(), self.source, grants, tenant=tenant), name.encode())
            for name, tenant, grants in users
        )

    def find(self, credentials: Any) -> Known | None:
        """Give the user whom the credentials name."""
        return self._users.find(credentials)

    def users(self, names: Any) -> dict[bytes, Known]:
        """Give those of the names that are known."""
        return self._users.among(names)


class Talker:
    """A NATS client that asks and listens."""

    def __init__(self, memory: MemoryBroker, name: str, *, protocol: int = 1) -> None:
        """Log in."""
        self.memory = memory
        self.peer: Peer = memory.connect("nats")
        options = {"user": name, "pass": name, "verbose": False, "pedantic": False, "headers": True, "name": name}
        said = json.dumps({**options, "no_responders": True, "protocol": protocol}).encode()
        self.peer.send(b"CONNECT %b\r\nSUB _INBOX.> 1\r\nPING\r\n" % said)
        self.peer.take()

    @property
    def cid(self) -> int:
        """The number of the connection."""
        number: int = self.peer.protocol.cid
        return number

    def listen(self, pattern: bytes) -> None:
        """Listen for events."""
        self.peer.send(b"SUB %b 2\r\n" % pattern)

    def heard(self) -> dict[str, Any]:
        """Give what has come, by subject; the last of each."""
        found: dict[str, Any] = {}
        data = self.peer.take()
        while data:
            line, _, data = data.partition(b"\r\n")
            words = line.split()
            if words[0] == b"MSG":
                size = int(words[-1])
                found[words[1].decode()] = json.loads(data[:size]) if size else None
                data = data[size + 2 :]
            elif words[0] == b"HMSG":
                found[words[1].decode()] = "nobody"
                data = data[int(words[-1]) + 2 :]
        return found

    def ask(self, subject: str, body: object = None) -> Any:
        """Give the answer to a request; "nobody" if nobody could answer, nothing if nobody has."""
        self.peer.take()
        said = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.peer.send(b"PUB %b _INBOX.a %d\r\n%b\r\n" % (subject.encode(), len(said), said))
        for _ in range(10):
            self.memory.advance()
        return self.heard().get("_INBOX.a")


@pytest.fixture
def memory() -> MemoryBroker:
    """Give a broker with an operator, and two tenants."""
    users = Directory(("sys", "$SYS", ALL), ("ann", "A", ALL), ("bob", "B", ALL), ("low", "A", LIMITED))
    return MemoryBroker(users={}, sources=[users])


def own(memory: MemoryBroker, verb: str) -> str:
    """Give the subject of a request to this server alone."""
    return f"$SYS.REQ.SERVER.{memory.broker.server_id}.{verb}"


# -- requests ---------------------------------------------------------------------------------------------------------


def test_server_list(memory: MemoryBroker) -> None:
    """The server answers a ping with its name and its statistics, which is what ``nats server list`` asks."""
    operator = Talker(memory, "sys")
    Talker(memory, "ann")
    answer = operator.ask("$SYS.REQ.SERVER.PING")
    assert answer["server"]["id"] == memory.broker.server_id
    assert answer["server"]["name"] == "brokerkit"
    assert (answer["statsz"]["connections"], answer["statsz"]["active_accounts"]) == (2, 2)


def test_only_for_the_system_account(memory: MemoryBroker) -> None:
    """Nobody else gets an answer: to other accounts there is nobody who hears such a request."""
    ann = Talker(memory, "ann")
    for subject in (
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.SERVER.PING.VARZ",
        own(memory, "KICK"),
        own(memory, "RELOAD"),
        "$SYS.REQ.ACCOUNT.B.CONNZ",
        "$SYS.REQ.ACCOUNT.A.INFO",
    ):
        assert ann.ask(subject, {"cid": ann.cid}) == "nobody", subject
    assert not ann.peer.closed


def test_who_am_i(memory: MemoryBroker) -> None:
    """Everybody may ask who it is, and sees its rights where they are limited."""
    assert Talker(memory, "bob").ask("$SYS.REQ.USER.INFO")["data"] == {
        "user": "bob",
        "account": "B",
        "account_name": "B",
    }
    data = Talker(memory, "low").ask("$SYS.REQ.USER.INFO")["data"]
    assert data["permissions"] == {"publish": {"allow": ["x.>", "$SYS.REQ.USER.INFO"], "deny": ["x.secret"]}}
    assert Talker(memory, "sys").ask("$SYS.REQ.USER.INFO")["data"]["account"] == "$SYS"


def test_an_account_sees_itself_alone(memory: MemoryBroker) -> None:
    """Connections and sums of one's own account can be asked for, and no word of a request leads to others."""
    ann = Talker(memory, "ann")
    Talker(memory, "bob")
    for subject in ("$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.SERVER.PING.CONNZ"):
        for body in ({}, {"acc": "B", "auth": True}, {"acc": "$SYS"}, {"cid": ann.cid + 1}):
            found = {one["cid"] for one in ann.ask(subject, body)["data"]["connections"]}
            assert found <= {ann.cid}, body
    assert ann.ask("$SYS.REQ.ACCOUNT.PING.CONNZ")["data"]["connections"]
    [sums] = ann.ask("$SYS.REQ.ACCOUNT.PING.STATZ", {"accounts": ["B"]})["data"]["account_statz"]
    assert sums["acc"] == "A"


def test_about_an_account(memory: MemoryBroker) -> None:
    """The operator sees each account."""
    operator, ann = Talker(memory, "sys"), Talker(memory, "ann")
    ann.listen(b"foo")
    assert operator.ask("$SYS.REQ.ACCOUNT.A.INFO")["data"]["client_connections"] == 1
    [one] = operator.ask("$SYS.REQ.ACCOUNT.A.CONNZ", {"auth": True})["data"]["connections"]
    assert one["authorized_user"] == "ann"
    listed = operator.ask("$SYS.REQ.ACCOUNT.A.SUBSZ")["data"]["subscriptions_list"]
    assert [entry["subject"] for entry in listed] == ["_INBOX.>", "foo"]
    assert operator.ask("$SYS.REQ.ACCOUNT.A.CONNS")["conns"] == 1
    assert operator.ask("$SYS.REQ.ACCOUNT.nobody.INFO")["error"]["code"] == 500
    assert operator.ask("$SYS.REQ.ACCOUNT.nobody.CONNS") is None
    accounts = operator.ask("$SYS.REQ.ACCOUNT.PING.STATZ")["data"]["account_statz"]
    assert {one["acc"] for one in accounts} == {"$SYS", "A"}


@pytest.mark.parametrize(
    ("body", "answered"),
    [
        ({"server_name": "broker"}, True),
        ({"server_name": "broker", "exact_match": True}, False),
        ({"server_name": "brokerkit", "exact_match": True}, True),
        ({"server_name": "other"}, False),
        ({"cluster": "c"}, False),
        ({"tags": ["a"]}, False),
        ({"domain": "hub"}, False),
        ({"host": ""}, True),
    ],
)
def test_whom_a_request_is_for(memory: MemoryBroker, body: object, answered: bool) -> None:
    """A request that is for other servers is not answered."""
    assert (Talker(memory, "sys").ask("$SYS.REQ.SERVER.PING", body) is not None) is answered


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", 400),
        (b"[1]", 400),
        (b"\xff", 400),
        (b"[" * 5000, 400),
        ({"limit": "many"}, 400),
        ({"state": 7}, 400),
        ({"sort": "unknown"}, 500),
        ({"sort": "stop"}, 500),
    ],
)
def test_what_cannot_be_meant(memory: MemoryBroker, body: object, code: int) -> None:
    """A request that is nonsense is answered by an error."""
    assert Talker(memory, "sys").ask("$SYS.REQ.SERVER.PING.CONNZ", body)["error"]["code"] == code


def test_a_message_holds_a_page(memory: MemoryBroker) -> None:
    """However many connections are asked for, an answer has at most a page of them."""
    answer = Talker(memory, "sys").ask("$SYS.REQ.SERVER.PING.CONNZ", {"limit": 1_000_000})
    assert answer["data"]["limit"] == 1024


def test_kick(memory: MemoryBroker) -> None:
    """A connection is ended by its number, without a word; of one that is not there that is said."""
    operator, ann = Talker(memory, "sys"), Talker(memory, "ann")
    assert "error" not in operator.ask(own(memory, "KICK"), {"cid": ann.cid})
    memory.advance(2)
    assert ann.peer.closed
    assert b"-ERR" not in ann.peer.take()
    assert operator.ask(own(memory, "KICK"), {"cid": ann.cid})["error"]["code"] == 500
    for nonsense in ({}, {"cid": "1"}, {"cid": [1]}, {"cid": None}):
        assert operator.ask(own(memory, "KICK"), nonsense)["error"]["code"] == 500
    closed = operator.ask("$SYS.REQ.SERVER.PING.CONNZ", {"state": 1})["data"]["connections"]
    assert [one["reason"] for one in closed] == ["Kicked"]


def test_kick_oneself(memory: MemoryBroker) -> None:
    """Whoever kicks itself is gone."""
    operator = Talker(memory, "sys")
    operator.ask(own(memory, "KICK"), {"cid": operator.cid})
    memory.advance(2)
    assert operator.peer.closed


def test_kick_a_stranger(memory: MemoryBroker) -> None:
    """A connection that has not logged in can be ended, too."""
    operator, stranger = Talker(memory, "sys"), memory.connect("nats")
    operator.ask(own(memory, "KICK"), {"cid": stranger.protocol.cid})
    memory.advance(1.5)
    assert stranger.closed


def test_send_one_away(memory: MemoryBroker) -> None:
    """One connection is told to go elsewhere, and is not closed."""
    operator, ann = Talker(memory, "sys"), Talker(memory, "ann")
    operator.ask(own(memory, "LDM"), {"cid": ann.cid})
    assert b'"ldm": true' in ann.peer.received.replace(b'":t', b'": t')
    assert not ann.peer.closed


def test_reload(memory: MemoryBroker) -> None:
    """The configuration is read again, and what is wrong with it is said."""
    operator = Talker(memory, "sys")
    done = []
    memory.broker.reload = lambda: done.append("read")
    assert "error" not in operator.ask(own(memory, "RELOAD"))
    assert done == ["read"]

    def fail() -> None:
        raise OperatorError("b.toml: no such file")

    memory.broker.reload = fail
    assert operator.ask(own(memory, "RELOAD"))["error"]["description"] == "b.toml: no such file"


def test_without_a_reply(memory: MemoryBroker) -> None:
    """A request without a reply does what it asks for, and nothing is answered to nobody."""
    operator, ann = Talker(memory, "sys"), Talker(memory, "ann")
    body = json.dumps({"cid": ann.cid}).encode()
    operator.peer.send(b"PUB $SYS.REQ.SERVER.PING.CONNZ 0\r\n\r\nPUB $SYS.REQ.SERVER.PING 0\r\n\r\n")
    operator.peer.send(b"PUB %b %d\r\n%b\r\n" % (own(memory, "KICK").encode(), len(body), body))
    memory.advance(2)
    assert ann.peer.closed
    assert operator.heard() == {}


def test_lists_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one tenant only so many lists wait; others are made all the same, and one that fails costs none of them."""
    memory = MemoryBroker()
    waiting, made = Lists(memory.reactor), []
    monkeypatch.setattr(lists.log, "failure", lambda *_: made.append(b"failed"))
    for _ in range(WAITING + 5):
        waiting.make("A", iter([b"a"]), made.append)
    waiting.make("B", (1 / 0 for _ in [0]), made.append)  # type: ignore[misc]
    waiting.make("B", iter([b"b", b"c"]), made.append)
    for _ in range(5):
        memory.advance()
    assert made == [b"a"] * WAITING + [b"failed", b"bc"]
    assert waiting.refused == 5
    waiting.make("A", iter([b"again"]), made.append)
    memory.advance()
    assert made[-1] == b"again"


# -- events -----------------------------------------------------------------------------------------------------------


def test_coming_and_going(memory: MemoryBroker) -> None:
    """The operator is told who came, who went and why, and how many are left."""
    operator = Talker(memory, "sys")
    operator.listen(b"$SYS.ACCOUNT.>")
    memory.advance(1)
    ann = Talker(memory, "ann")
    heard = operator.heard()
    assert heard["$SYS.ACCOUNT.A.CONNECT"]["client"]["user"] == "ann"
    assert heard["$SYS.ACCOUNT.A.SERVER.CONNS"]["conns"] == 1
    ann.peer.send(b"PUB foo 2\r\nhi\r\n")
    ann.peer.hang_up()
    heard = operator.heard()
    gone = heard["$SYS.ACCOUNT.A.DISCONNECT"]
    assert (gone["reason"], gone["sent"]["msgs"], gone["client"]["id"]) == ("Client Closed", 1, ann.cid)
    assert heard["$SYS.ACCOUNT.A.SERVER.CONNS"]["conns"] == 0


def test_refused_logins(memory: MemoryBroker) -> None:
    """The operator is told who was not let in, and never by what secret."""
    operator = Talker(memory, "sys")
    operator.listen(b"$SYS.SERVER.*.CLIENT.AUTH.ERR")
    memory.connect("nats").send(b'CONNECT {"user":"ann","pass":"hush hush","auth_token":""}\r\n')
    [event] = operator.heard().values()
    assert (event["client"]["user"], event["reason"]) == ("ann", "Authentication Failure")
    assert "hush" not in json.dumps(event)


def test_events_of_other_protocols(memory: MemoryBroker) -> None:
    """A client of another protocol comes and goes like those of NATS."""
    users = Directory(("sys", "$SYS", ALL), ("ann", "", ALL))
    memory = MemoryBroker(users={"ann": "ann"}, sources=[users])
    operator = Talker(memory, "sys")
    operator.listen(b"$SYS.ACCOUNT.>")
    memory.client("hpfeeds", "ann")
    assert operator.heard()["$SYS.ACCOUNT.$G.CONNECT"]["client"]["client_type"] == "hpfeeds"


def test_reports(memory: MemoryBroker) -> None:
    """The server reports every ten seconds, while somebody listens and no longer."""
    operator = Talker(memory, "sys")
    operator.listen(b"$SYS.SERVER.*.STATSZ")
    memory.advance(EVERY)
    topic = f"$SYS.SERVER.{memory.broker.server_id}.STATSZ"
    assert operator.heard()[topic]["statsz"]["connections"] == 1
    operator.peer.send(b"UNSUB 2\r\nUNSUB 1\r\n")
    assert not attend(memory.broker)._report.running
    memory.advance(3 * EVERY)
    assert topic not in operator.heard()


def test_nobody_listens(memory: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody is in the system account nothing is looked at for events, let alone made."""
    monkeypatch.setattr(attend(memory.broker).events, "_tell", lambda *_: pytest.fail("something was told"))
    ann = Talker(memory, "ann")
    ann.peer.hang_up()
    assert not attend(memory.broker).anybody


def test_not_made_for_other_interest(memory: MemoryBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that nobody listens for is not made, though somebody listens for others."""
    operator = Talker(memory, "sys")
    operator.listen(b"$SYS.SERVER.>")
    monkeypatch.setattr(attend(memory.broker).events, "_event", lambda *_: pytest.fail("an event was made"))
    Talker(memory, "ann").peer.hang_up()
    assert set(operator.heard()) == {"$SYS.SERVER.ACCOUNT.A.CONNS"}


def test_the_end_of_the_server(memory: MemoryBroker) -> None:
    """Lame duck mode and the shutdown are told before the connections are closed."""
    operator = Talker(memory, "sys")
    operator.listen(b"$SYS.SERVER.>")
    memory.broker.listener("nats").lame_duck(60, 10)
    prefix = f"$SYS.SERVER.{memory.broker.server_id}"
    assert operator.heard()[f"{prefix}.LAMEDUCK"]["name"] == "brokerkit"
    memory.broker.stopService()
    memory.advance()
    assert f"{prefix}.SHUTDOWN" in operator.heard()
    assert attend(memory.broker).view.memory.reasons == {"Server Shutdown": 1}


def test_events_are_not_forged(memory: MemoryBroker) -> None:
    """What another account publishes under such a subject stays in that account."""
    operator, ann = Talker(memory, "sys"), Talker(memory, "ann")
    operator.listen(b"$SYS.>")
    operator.heard()
    ann.peer.send(b"PUB $SYS.ACCOUNT.A.CONNECT 2\r\n{}\r\n")
    assert operator.heard() == {}
