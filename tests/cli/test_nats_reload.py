"""Reading nats-server's configuration anew: what becomes of those who are connected; all in memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from brokerkit.cli.nats_flags import read
from brokerkit.cli.nats_program import Program
from brokerkit.cli.nats_server import server_of
from brokerkit.errors import OperatorError
from brokerkit.plugin import protocols
from brokerkit.testing import MemoryBroker
from tests.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

    from brokerkit.testing.memory import Peer

PLAIN = {"verbose": False, "pedantic": False}


class Running(MemoryBroker):
    """A program on a test's reactor, with a file that can be written anew."""

    def __init__(self, path: Path, text: str, *flags: str) -> None:
        """Start it with that file."""
        self.path = path
        self.write(text)
        self.reactor = MemoryReactorClock()
        self.plugins = dict(protocols())
        given = read(["-c", str(path), *flags])
        self.program = Program(server_of(given), lambda: server_of(given), self.reactor)
        self.broker = self.program.broker
        self.broker.privilegedStartService()
        self.broker.startService()

    def write(self, text: str) -> None:
        """Write the file."""
        self.path.write_text(text, encoding="utf-8")

    def reload(self, text: str) -> None:
        """Write the file, and have it read."""
        self.write(text)
        self.broker.reload()
        self.advance(0.1)

    def nats(self, user: str = "", password: str = "") -> Peer:
        """Connect and log in; what came so far is forgotten."""
        peer = self.connect("nats")
        said = {"user": user, "pass": password} if user else {}
        peer.send(b"CONNECT %b\r\nPING\r\n" % json.dumps({**PLAIN, **said}).encode())
        self.advance(0.1)
        assert b"PONG" in peer.take()
        return peer


@pytest.fixture
def start(tmp_path: Path) -> type[Running]:
    """Give what starts a program with a text."""

    class Here(Running):
        def __init__(self, text: str, *flags: str) -> None:
            super().__init__(tmp_path / "a.conf", text, *flags)

    return Here  # type: ignore[return-value]


def ask(broker: Running, peer: Peer, line: bytes) -> bytes:
    """Send a line and a PING; give what comes back before the PONG."""
    peer.send(line + b"\r\nPING\r\n")
    broker.advance(0.1)
    answer = peer.take()
    assert answer.endswith(b"PONG\r\n"), answer
    return answer.removesuffix(b"PONG\r\n")


def test_a_user_who_is_gone(start: type[Running]) -> None:
    """Whoever is no longer in the file, or has another password, is closed; others stay."""
    broker = start("authorization { users: [{user: a, password: b}\n{user: c, password: d}\n{user: e, password: f}] }")
    gone, changed, stays = broker.nats("a", "b"), broker.nats("c", "d"), broker.nats("e", "f")
    broker.reload("authorization { users: [{user: c, password: dd}\n{user: e, password: f}] }")
    assert [peer.closed for peer in (gone, changed, stays)] == [True, True, False]
    assert ask(broker, stays, b"SUB x 1") == b""
    broker.nats("c", "dd")


def test_rights_that_are_gone(start: type[Running]) -> None:
    """A subscription that may no longer be held ends with nats-server's words, and the connection stays."""
    text = "authorization {{ users: [{{user: a, password: b, permissions: {{ subscribe: {} }}}}] }}"
    broker = start(text.format("[x, y]"))
    peer = broker.nats("a", "b")
    assert ask(broker, peer, b"SUB x 1\r\nSUB y 2") == b""
    broker.reload(text.format("[y, z]"))
    assert peer.take() == b'-ERR \'Permissions Violation for Subscription to "x" (sid "1")\'\r\n'
    assert ask(broker, peer, b"SUB z 3") == b""
    assert not peer.closed


def test_from_open_to_closed_and_back(start: type[Running]) -> None:
    """Users that come to a server that had none close everybody else; without them it is open again."""
    broker = start("max_payload: 1k")
    anybody = broker.nats()
    broker.reload("max_payload: 1k\nauthorization { user: a, password: b }")
    assert anybody.closed
    assert b'"auth_required":true' in broker.connect("nats").take()
    broker.nats("a", "b")
    broker.reload("max_payload: 1k")
    assert b"auth_required" not in broker.connect("nats").take()
    broker.nats()


def test_how_much_may_wait(start: type[Running]) -> None:
    """A connection that is there gets the new bound, and its publishers are paced by it."""
    broker = start("max_pending: 64MB")
    outbox: Any = broker.nats().protocol.outbox
    broker.reload("max_pending: 1MB")
    assert (outbox.limit, outbox.brim, outbox.mark) == (1024 * 1024, 768 * 1024, 256 * 1024)


def test_no_auth_user(start: type[Running]) -> None:
    """It counts for who comes next."""
    users = "authorization { users: [{user: a, password: b}] }"
    broker = start(users)
    assert b"auth_required" in broker.connect("nats").take()
    broker.reload(f"{users}\nno_auth_user: a")
    assert b"auth_required" not in broker.connect("nats").take()
    broker.nats()


def test_accounts(start: type[Running]) -> None:
    """Imports are wired anew, mappings too, and an account that is gone shares nothing any more."""
    users = "users: [{user: %s, password: x}]"
    a = "A { " + users % "a" + ", exports: [{stream: s}, {stream: t}] }"
    b = "B { " + users % "b" + ", imports: [{stream: {account: A, subject: %s}}] }"
    broker = start(f"accounts {{ {a}\n {b % 's'} }}")
    sender, receiver = broker.nats("a", "x"), broker.nats("b", "x")
    ask(broker, receiver, b"SUB > 1")
    ask(broker, sender, b"PUB s 1\r\n1\r\nPUB t 1\r\n2")
    assert receiver.take() == b"MSG s 1 1\r\n1\r\n"
    broker.reload(f"accounts {{ {a}\n {b % 't'} }}")
    ask(broker, sender, b"PUB s 1\r\n3\r\nPUB t 1\r\n4")
    assert receiver.take() == b"MSG t 1 1\r\n4\r\n"
    broker.reload("accounts { B { users: [{user: b, password: x}], mappings { m: n } } }")
    assert (sender.closed, receiver.closed) == (True, False)
    assert "A" not in list(broker.broker.tenants)
    assert ask(broker, receiver, b"PUB m 1\r\n5") == b"MSG n 1 1\r\n5\r\n"


def test_limits_of_those_who_are_here(start: type[Running]) -> None:
    """A smaller payload holds at once, also for control lines that were seen before."""
    broker = start("max_payload: 1k")
    peer = broker.nats()
    ask(broker, peer, b"SUB x 1")
    assert b"MSG x 1 100" in ask(broker, peer, b"PUB x 100\r\n" + b"." * 100)
    broker.reload("max_payload: 50")
    peer.send(b"PUB x 100\r\n" + b"." * 100 + b"\r\n")
    assert peer.take() == b"-ERR 'Maximum Payload Violation'\r\n"
    assert b'"max_payload":50' in broker.connect("nats").take()


def test_shorter_lines_of_those_who_are_here(start: type[Running]) -> None:
    """A smaller limit of control lines holds at once, also for subscriptions that come in rows."""
    broker = start("max_control_line: 1k")
    peer = broker.nats()
    long = b"SUB " + b"x" * 100 + b" 1\r\n"
    assert ask(broker, peer, b"SUB a 0\r\n" + long.removesuffix(b"\r\n")) == b""
    broker.reload("max_control_line: 50")
    peer.send(b"SUB b 2\r\n" + long)
    assert peer.take() == b"-ERR 'maximum control line exceeded'\r\n"


def test_fewer_connections(start: type[Running]) -> None:
    """The newest of those who are too many are told and closed."""
    broker = start("max_connections: 9")
    first, second, third = broker.nats(), broker.nats(), broker.nats()
    broker.reload("max_connections: 2")
    assert third.take() == b"-ERR 'maximum connections exceeded'\r\n"
    assert [peer.closed for peer in (first, second, third)] == [False, False, True]
    assert b"maximum connections exceeded" in broker.connect("nats").take()


def test_what_is_decided_at_the_start(start: type[Running]) -> None:
    """What needs a restart is said in nats-server's words, and nothing of the file is taken."""
    broker = start("port: 4222\nmax_payload: 1k")
    for text, words in (
        ("port: 4223\nmax_payload: 1", "config reload not supported for Port: old=4222, new=4223"),
        ("max_payload: 1\nserver_name: x", "config reload not supported for ServerName: old=, new=x"),
        ("max_payload: 1\nhttp: 8222", "config reload not supported for HTTPPort: old=0, new=8222"),
        ("max_payload: 1\nwebsocket { port: 1, no_tls: true }", "config reload not supported for Websocket"),
    ):
        with pytest.raises(OperatorError) as caught:
            broker.reload(text)
        assert words in str(caught.value)
    assert b'"max_payload":1000' in broker.connect("nats").take()


def test_a_broken_file(start: type[Running]) -> None:
    """It changes nothing, and what is wrong with it is said."""
    broker = start("authorization { user: a, password: b }")
    peer = broker.nats("a", "b")
    for text in (
        "authorization { user: a, password: c",
        "authorization { users: [] }\nfoo: 1",
        "tls { cert_file: /nonexistent }",
    ):
        with pytest.raises(OperatorError, match=r"a\.conf:\d+:\d+: "):
            broker.reload(text)
    assert not peer.closed
    broker.nats("a", "b")


def test_without_a_file() -> None:
    """There is nothing to read then, and that is said."""
    given = read(["--user", "a", "--pass", "b"])
    program = Program(server_of(given), lambda: server_of(given), MemoryReactorClock())
    with pytest.raises(OperatorError, match="only reload config when a file"):
        program.reload()


def test_flags_stay_stronger(start: type[Running]) -> None:
    """What the command line says holds after a reload, too."""
    broker = start("port: 1", "--user", "me", "--pass", "x", "-p", "4222")
    broker.reload("port: 2\nmax_payload: 7")
    assert b'"max_payload":7' in broker.connect("nats").take()
    broker.nats("me", "x")
    assert broker.program.server.port == 4222


def test_tls_for_new_connections(start: type[Running], tmp_path: Path) -> None:
    """Certificates may come, and be in other files: who connects from then on meets them."""
    for name in ("one", "two"):
        Authority(tmp_path, f"authority-{name}").issue(name, name)
    tls = f"tls {{ cert_file: '{tmp_path}/%s.crt', key_file: '{tmp_path}/%s.key' }}"
    broker = start("max_payload: 1k")
    assert b"tls_required" not in broker.connect("nats").take()
    broker.reload(tls % ("one", "one"))
    assert b'"tls_required":true' in broker.connect("nats").take()
    former = broker.broker.listener("nats").terms
    broker.reload(tls % ("two", "two"))
    assert broker.broker.listener("nats").terms != former
    with pytest.raises(OperatorError):
        broker.reload(tls % ("one", "two"))  # a key that is another certificate's
    assert b'"tls_required":true' in broker.connect("nats").take()


def test_the_system_account_can_ask_for_it(start: type[Running]) -> None:
    """A request to the server itself does what SIGHUP does, and answers with what is wrong."""
    users = "accounts { $SYS { users: [{user: s, password: s}] } }\n"
    broker = start(users)
    peer = broker.nats("s", "s")
    subject = f"$SYS.REQ.SERVER.{broker.broker.server_id}.RELOAD".encode()
    broker.write(f"{users}max_payload: 77")
    peer.send(b"SUB r 1\r\nPUB %b r 0\r\n\r\nPING\r\n" % subject)
    broker.advance(0.1)
    assert b"MSG r 1" in peer.take()
    assert b'"max_payload":77' in broker.connect("nats").take()
    broker.write("foo: 1")
    peer.send(b"PUB %b r 0\r\n\r\nPING\r\n" % subject)
    broker.advance(0.1)
    assert b"unknown field" in peer.take()
