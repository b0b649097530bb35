"""The monitoring of nats-server and ours, asked the same: every key that is there is here, and of the same kind.

One play is performed with both: clients come, talk, are refused and go, while an operator looks by HTTP and in the
system account.  What either says is compared label by label.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import nats
import pytest

from tests.servers.nats import Brokerkit, NatsServer, find
from tests.servers.programs import free_port, missing
from tests.servers.shapes import differences, kind

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg

SECONDS = 10
PLAY = 60  # seconds that all of it may take

# What differs, and why.
APART = {
    "feature_flags",  # nats-server's own switches, all of JetStream
    "disk_io_wait_stats",  # of JetStream's files
    "max_subscriptions",  # bounded here unless said otherwise
    "http_req_stats",  # its keys are what was asked for
    "to",  # the subject of an import twice over: here it is in local_subject alone
    "imports",  # nats-server shows what it asks of itself as imports of every account
    "exports",
    "account_tag",
}

NATS_SERVER = """
host: "127.0.0.1", port: -1, http: "127.0.0.1:{http}", server_name: "one"
accounts {{
  A {{ users: [{{user: ann, password: "ann's"}}, {{user: bob, password: "bob's"}}] }}
  "$SYS" {{ users: [{{user: sys, password: "sys's"}}] }}
}}
"""

BROKERKIT = """
[[listen]]
protocol = "nats"
endpoint = "tcp:port=0:interface=127.0.0.1"
server_name = "one"

[[listen]]
protocol = "nats-monitor"
endpoint = "tcp:port={http}:interface=127.0.0.1"
""" + "".join(
    f"""
[[users]]
name = "{name}"
secret = "{name}'s"
tenant = "{tenant}"
publish = [">"]
subscribe = [">"]
"""
    for name, tenant in (("ann", "A"), ("bob", "A"), ("sys", "$SYS"))
)

PAGES = (
    "/varz",
    "/connz",
    "/connz?subs=1&auth=1",
    "/connz?subs=detail&auth=true",
    "/connz?state=closed&auth=1",
    "/connz?state=any&sort=bytes_to",
    "/connz?state=closed&sort=stop",
    "/connz?acc=A&auth=1",
    "/connz?cid=99999",
    "/connz?offset=1&limit=1",
    "/subsz",
    "/subsz?subs=1&acc=A",
    "/subscriptionsz?subs=1&test=foo.x",
    "/routez",
    "/gatewayz",
    "/leafz",
    "/jsz",
    "/accountz",
    "/accountz?acc=A",
    "/accountz?acc=nobody",
    "/accstatz",
    "/accstatz?unused=1",
    "/healthz",
    "/healthz?js-enabled-only=true",
    "/connz?sort=unknown",
    "/connz?sort=stop",
    "/connz?state=unknown",
    "/connz?limit=many",
    "/connz?subs=maybe",
    "/nosuch",
)

REQUESTS: tuple[tuple[str, str], ...] = (
    *((f"$SYS.REQ.SERVER.PING{verb}", "") for verb in ("", ".STATSZ", ".VARZ", ".CONNZ", ".SUBSZ", ".ROUTEZ", ".IDZ")),
    *((f"$SYS.REQ.SERVER.PING.{verb}", "") for verb in ("GATEWAYZ", "LEAFZ", "ACCOUNTZ", "HEALTHZ", "JSZ")),
    *((f"$SYS.REQ.SERVER.<id>.{verb}", "") for verb in ("STATSZ", "VARZ", "CONNZ", "HEALTHZ", "IDZ", "RELOAD")),
    *((f"$SYS.REQ.ACCOUNT.A.{verb}", "") for verb in ("INFO", "CONNZ", "CONNS", "SUBSZ", "STATZ", "LEAFZ")),
    ("$SYS.REQ.ACCOUNT.nobody.INFO", ""),
    ("$SYS.REQ.ACCOUNT.PING.STATZ", ""),
    ("$SYS.REQ.ACCOUNT.PING.STATZ", '{"accounts": ["A"], "include_unused": true}'),
    ("$SYS.REQ.USER.INFO", ""),
    ("$SYS.REQ.SERVER.PING.CONNZ", '{"limit": 1, "subscriptions": true, "auth": true}'),
    ("$SYS.REQ.SERVER.PING.CONNZ", '{"state": 1, "auth": true}'),
    ("$SYS.REQ.SERVER.PING.CONNZ", '{"sort": "unknown"}'),
    ("$SYS.REQ.SERVER.PING.VARZ", '{"server_name": "on"}'),
    ("$SYS.REQ.SERVER.PING.VARZ", "nonsense"),
    ("$SYS.REQ.SERVER.<id>.LDM", '{"cid": 99999}'),
    ("$SYS.REQ.SERVER.<id>.KICK", '{"cid": 99999}'),
)
OF_ANN = ("USER.INFO", "ACCOUNT.PING.CONNZ", "ACCOUNT.PING.STATZ", "SERVER.PING.CONNZ")
NOT_FOR_ANN = ("$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.A.INFO", "$SYS.REQ.SERVER.PING.VARZ")
EVENTS = (
    "$SYS.ACCOUNT.A.CONNECT",
    "$SYS.ACCOUNT.A.DISCONNECT",
    "$SYS.ACCOUNT.A.SERVER.CONNS",
    "$SYS.SERVER.ACCOUNT.A.CONNS",
    "$SYS.SERVER.<id>.CLIENT.AUTH.ERR",
    "$SYS.SERVER.<id>.STATSZ",
)


def get(port: int, page: str) -> Any:
    """Give what a page shows, or the status and the text of an error."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=SECONDS) as answer:
            assert answer.headers.get_content_type() == "application/json"
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return [error.code]


class Play:
    """What one server was asked, and what it said, by label."""

    def __init__(self, port: int, http: int) -> None:
        """Play with the server of those ports."""
        self.said: dict[str, Any] = {}
        self.reasons: set[str] = set()
        self._port = port
        self._http = http
        self._id: str = get(http, "/varz")["server_id"]

    def perform(self) -> Play:
        """Do all of it."""
        asyncio.run(asyncio.wait_for(self._play(), PLAY))
        return self

    def go(self, process: subprocess.Popen[str]) -> None:
        """Hear what is told when the server begins to send its clients away."""
        login = b'CONNECT {"user":"sys","pass":"sys\'s","verbose":false}\r\nSUB $SYS.SERVER.*.LAMEDUCK 1\r\nPING\r\n'
        with socket.create_connection(("127.0.0.1", self._port), SECONDS) as operator, operator.makefile("rb") as said:
            operator.sendall(login)
            while said.readline() != b"PONG\r\n":
                pass
            process.send_signal(signal.SIGUSR2)
            while not (line := said.readline()).startswith(b"MSG"):
                assert line
            self.said["LAMEDUCK"] = json.loads(said.readline())

    async def _connect(self, name: str, secret: str = "", **options: Any) -> Client:
        return await nats.connect(
            f"nats://127.0.0.1:{self._port}", user=name, password=secret or f"{name}'s", name=name, **options
        )

    async def _play(self) -> None:
        self._told = asyncio.Queue[str]()
        operator = await self._connect("sys")
        for pattern in ("$SYS.ACCOUNT.>", "$SYS.SERVER.>"):
            await operator.subscribe(pattern, cb=self._hear)
        await operator.flush()
        ann = await self._connect("ann")
        await ann.subscribe("foo.*", cb=_ignore)
        await ann.subscribe("bar", queue="q", cb=_ignore)
        for _ in range(5):
            await ann.publish("foo.x", b"hello")
        await ann.flush()
        with pytest.raises(nats.errors.Error):
            await self._connect("ann", "wrong", max_reconnect_attempts=0, allow_reconnect=False, error_cb=_ignore)
        bob = await self._connect("bob")
        await bob.close()
        await self._until("$SYS.ACCOUNT.A.DISCONNECT")
        for page in PAGES:
            self.said[page] = await asyncio.to_thread(get, self._http, page)
        for subject, body in REQUESTS:
            label = f"{subject} {body}".strip()
            self.said[label] = await self._ask(operator, subject.replace("<id>", self._id), body)
        for verb in OF_ANN:
            self.said[f"ann: {verb}"] = await self._ask(ann, f"$SYS.REQ.{verb}", "")
        for subject in NOT_FOR_ANN:
            with pytest.raises(nats.errors.NoRespondersError):
                await self._ask(ann, subject, "")
        await self._kick(operator)
        await self._until("$SYS.SERVER.<id>.STATSZ")
        self.reasons = {one["reason"] for one in get(self._http, "/connz?state=closed")["connections"]}
        await ann.close()
        await operator.close()

    async def _hear(self, message: Msg) -> None:
        subject = message.subject.replace(self._id, "<id>")
        self.said.setdefault(subject, json.loads(message.data))
        self._told.put_nowait(subject)

    async def _until(self, subject: str) -> None:
        """Wait for an event."""
        while subject not in self.said:
            await asyncio.wait_for(self._told.get(), 3 * SECONDS)

    async def _ask(self, client: Client, subject: str, body: str) -> Any:
        try:
            return json.loads((await client.request(subject, body.encode(), timeout=SECONDS)).data)
        except nats.errors.TimeoutError:
            raise AssertionError(f"{subject}: no answer") from None

    async def _kick(self, operator: Client) -> None:
        """End a connection by its number."""
        gone = asyncio.Event()

        async def left() -> None:
            gone.set()

        await self._connect("bob", error_cb=_ignore, allow_reconnect=False, closed_cb=left)
        there = get(self._http, "/connz?auth=1&user=bob")["connections"]
        body = json.dumps({"cid": there[0]["cid"]})
        self.said["kick"] = await self._ask(operator, f"$SYS.REQ.SERVER.{self._id}.KICK", body)
        await asyncio.wait_for(gone.wait(), SECONDS)


async def _ignore(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> tuple[Play, Play]:
    """Give the play with nats-server and that with brokerkit."""
    program = find()
    if program is None:
        missing("nats-server is not installed")
    assert program is not None
    home = tmp_path_factory.mktemp("monitoring")

    def perform(name: str, text: str, server: Callable[[Path], Any]) -> Play:
        http = free_port()
        file = home / name
        file.write_text(text.format(http=http))
        with server(file) as running:
            play = Play(running.port, http).perform()
            play.go(running.process)
            return play

    theirs = perform("nats.conf", NATS_SERVER, lambda file: NatsServer(program, file))
    return theirs, perform("broker.toml", BROKERKIT, Brokerkit)


LABELS = [
    *PAGES,
    *(f"{subject} {body}".strip() for subject, body in REQUESTS),
    *(f"ann: {verb}" for verb in OF_ANN),
    "kick",
    "LAMEDUCK",
    *EVENTS,
]


@pytest.mark.parametrize("label", LABELS)
def test_same_shape(plays: tuple[Play, Play], label: str) -> None:
    """Each answer, page and event has nats-server's keys, and values of the same kind."""
    theirs, ours = (play.said[label] for play in plays)
    assert differences(theirs, ours, APART) == []
    if isinstance(theirs, list):
        assert ours == theirs  # the status of an error


def test_same_reasons(plays: tuple[Play, Play]) -> None:
    """Connections end for the same reasons: closed by the client, refused, and kicked."""
    theirs, ours = plays
    assert ours.reasons == theirs.reasons == {"Client Closed", "Authentication Failure", "Kicked"}


@pytest.mark.parametrize("page", ["/connz?subs=1&auth=1", "/connz?state=closed&auth=1"])
def test_same_connections(plays: tuple[Play, Play], page: str) -> None:
    """The same connections are seen, with the same users, names, messages and subscriptions."""
    keys = ("kind", "type", "ip", "reason", "name", "lang", "authorized_user", "account")
    of_ann = ("in_msgs", "out_msgs", "subscriptions")
    theirs, ours = (
        [
            {key: one.get(key) for key in (*keys, *(of_ann if one.get("name") == "ann" else ()))}
            | {"patterns": sorted(one.get("subscriptions_list", ()))}  # nats-server lists a map, in any order
            for one in play.said[page]["connections"]
        ]
        for play in plays
    )
    assert len(ours) == 2  # the operator and ann are there; bob, and who was refused, are gone
    assert ours == theirs


@pytest.mark.parametrize("page", ["/varz", "/subsz", "/routez", "/leafz"])
def test_same_metrics(plays: tuple[Play, Play], page: str) -> None:
    """The Prometheus exporter makes a metric of each number at the top of a page: they are the same."""
    theirs, ours = ({key for key, value in play.said[page].items() if kind(value) == "number"} for play in plays)
    assert theirs
    assert ours - {"max_subscriptions"} == theirs - {"max_subscriptions"}
