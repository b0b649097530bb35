"""The control socket: from both ends, over a real socket in a directory of its own."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet import reactor as the_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.protocols.policies import TimeoutMixin
from twisted.trial.unittest import TestCase

from brokerkit.app import make_broker
from brokerkit.checkers.memory import MemoryUsers
from brokerkit.config import Config, Listen
from brokerkit.control import CONNECTIONS, IDLE, MAX_LINE, NAME, Control, NoBroker, Refused, Talk, tell
from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from brokerkit.broker import Broker

reactor: Any = the_reactor
ROOT = Path(__file__).parent.parent


def a_broker(directory: Path | None, clock: Any = None) -> Broker:
    """Give a broker that listens nowhere else."""
    config = Config(name="here", data_dir=str(directory) if directory else None)
    return make_broker(config, clock or reactor, [MemoryUsers({"bob": "s"})])


def _place(case: TestCase) -> Path:
    """Give the path of a place where nothing is yet; it is removed after the test."""
    above = tempfile.TemporaryDirectory()
    case.addCleanup(above.cleanup)
    return Path(above.name) / "data"


class Asking(TestCase):
    """A broker that runs, and somebody who asks it."""

    timeout = 20

    async def _running(self, directory: Path | None = None) -> Path:
        directory = directory or _place(self)
        broker = a_broker(directory)
        await broker.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(broker.stop()))
        self.broker = broker
        return directory

    async def _tell(self, directory: Path, **request: object) -> dict[str, Any]:
        told: dict[str, Any] = await deferToThread(tell, directory, request, 10.0)
        return told

    async def test_who_is_there(self) -> None:
        """A ping is answered by process and name."""
        directory = await self._running()
        assert await self._tell(directory, do="ping") == {"pid": os.getpid(), "name": "here"}

    async def test_only_for_its_owner(self) -> None:
        """The socket, and a directory that is made for it, are nobody else's, whatever the umask."""
        before = os.umask(0)
        try:
            directory = await self._running()
        finally:
            os.umask(before)
        assert stat.S_IMODE((directory / NAME).stat().st_mode) == 384
        assert stat.S_IMODE(directory.stat().st_mode) == 448

    async def test_kick(self) -> None:
        """Whoever has that name is told and gone; the number is the answer."""
        directory = await self._running()
        ended: list[str] = []
        for name in ("bob", "bob", "eve"):
            user = MemoryUsers({name: "s"}).users([name.encode()])[name.encode()].user
            _, client, _ = self.broker.realm.requestAvatar(user, None, *_interfaces())
            client.ended = ended.append
        assert await self._tell(directory, do="kick", name="bob") == {"kicked": 2}
        assert ended == ["kicked", "kicked"]

    async def test_look(self) -> None:
        """The sources are looked at, and who is here is held against them, before the answer comes."""
        directory = await self._running()
        seen: list[str] = []

        async def look(*, now: bool) -> None:
            await deferLater(reactor, 0)
            seen.append(f"held against them, now={now}")

        self.patch(self.broker, "look_again", lambda: seen.append("looked"))
        self.patch(self.broker.revocation, "look", look)
        assert await self._tell(directory, do="look") == {"sources": [one.source for one in self.broker.checkers]}
        assert seen == ["looked", "held against them, now=True"]

    async def test_what_nobody_can_ask_for(self) -> None:
        """A request that is none is refused in words, and the connection is good for another."""
        directory = await self._running()
        for request in ({}, {"do": "dance"}, {"do": ["kick"]}, {"do": "kick"}, {"do": "kick", "name": "\ud800"}):
            with pytest.raises(Refused, match="expected"):
                await self._tell(directory, **request)
        assert (await self._tell(directory, do="ping"))["name"] == "here"

    async def test_a_bug(self) -> None:
        """A request that fails is answered, and logged with its traceback."""
        directory = await self._running()
        self.patch(self.broker.revocation, "kick", lambda _: 1 / 0)
        with pytest.raises(Refused, match="bug"):
            await self._tell(directory, do="kick", name="bob")
        assert len(self.flushLoggedErrors(ZeroDivisionError)) == 1

    async def test_a_long_way(self) -> None:
        """A directory whose path is too long for a socket's address works from both ends."""
        directory = await self._running(_place(self) / ("d" * 120))
        assert (await self._tell(directory, do="ping"))["name"] == "here"
        await self.broker.stop()
        assert list(directory.iterdir()) == []

    async def test_it_is_gone_afterwards(self) -> None:
        """When the broker has stopped, so has everybody who was connected, and the socket is removed."""
        directory = await self._running()
        with socket.socket(socket.AF_UNIX) as idle:
            idle.settimeout(10)
            idle.connect(str(directory / NAME))
            idle.sendall(b'{"do": "ping"}\n')
            await deferToThread(idle.recv, 1000)
            await self.broker.stop()
            assert not (directory / NAME).exists()
            with pytest.raises(NoBroker, match="no broker runs on"):
                await self._tell(directory, do="ping")
            assert await deferToThread(_rest, idle) == b""

    async def test_the_socket_was_removed(self) -> None:
        """A broker whose socket somebody has removed stops all the same."""
        directory = await self._running()
        (directory / NAME).unlink()
        await self.broker.stop()

    async def test_starting_again(self) -> None:
        """A broker that was stopped can be started again on the same directory."""
        directory = await self._running()
        await self.broker.stop()
        await self.broker.start()
        assert (await self._tell(directory, do="ping"))["name"] == "here"


class Places(TestCase):
    """What can be in the way."""

    timeout = 30

    async def _starts(self, directory: Path) -> None:
        broker = a_broker(directory)
        try:
            await broker.start()
        finally:
            await broker.stop()

    async def test_a_dead_brokers_socket(self) -> None:
        """It is replaced."""
        directory = _place(self)
        directory.mkdir()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(directory / NAME))
            dead.listen()
        await self._starts(directory)

    async def test_a_living_broker(self) -> None:
        """A second broker on the directory does not start; it names the first one, which goes on."""
        directory = _place(self)
        code = (
            "import sys\nfrom pathlib import Path\nfrom twisted.internet import reactor\n"
            "from brokerkit.app import make_broker\nfrom brokerkit.config import Config\n"
            "from twisted.internet.defer import Deferred\n"
            "broker = make_broker(Config(name='first', data_dir=sys.argv[1]), reactor)\n"
            "started = Deferred.fromCoroutine(broker.start())\n"
            "reactor.callWhenRunning(print, 'ready', flush=True)\nreactor.run()\n"
        )
        first = _program(code, directory)
        try:
            assert first.stdout is not None
            await deferToThread(first.stdout.readline)
            with pytest.raises(OperatorError, match=f"'first' \\(process {first.pid}\\) uses this data directory"):
                await self._starts(directory)
            assert (await deferToThread(tell, directory, {"do": "ping"}))["name"] == "first"
            first.kill()  # as hard as it gets: the socket stays, the lock does not
            await deferToThread(first.wait)
            assert (directory / NAME).exists()
            await self._starts(directory)
        finally:
            first.kill()
            first.communicate()

    async def test_a_second_broker_opens_nothing(self) -> None:
        """The directory is locked before any port is open, so nobody is let in for a moment."""
        directory = _place(self)
        first = a_broker(directory)
        await first.start()
        self.addCleanup(lambda: Deferred.fromCoroutine(first.stop()))
        config = Config(data_dir=str(directory), listen=(Listen("nats", "tcp:port=0:interface=127.0.0.1"),))
        second = make_broker(config, reactor, [MemoryUsers({"bob": "s"})])
        with pytest.raises(OperatorError, match="uses this data directory"):
            second.privilegedStartService()
        assert not second.listener("nats").address
        await second.stop()

    async def test_something_else_is_there(self) -> None:
        """What is no socket is not removed."""
        directory = _place(self)
        directory.mkdir()
        (directory / NAME).write_text("mine")
        with pytest.raises(OperatorError, match="is no socket"):
            await self._starts(directory)
        assert (directory / NAME).read_text() == "mine"

    async def test_no_directory_can_be_made(self) -> None:
        """It is one line that names the place."""
        file = _place(self)
        file.write_text("")
        with pytest.raises(OperatorError, match=r"control\.sock: the control socket cannot be opened"):
            await self._starts(file / "inside")

    async def test_no_data_directory(self) -> None:
        """A broker without one has no socket."""
        assert not [service for service in a_broker(None).services if isinstance(service, Control)]


# -- one connection, in memory ------------------------------------------------------------------------------------


class Line:
    """A connection to a control that is in memory, with a clock."""

    def __init__(self, control: Control | None = None) -> None:
        """Connect."""
        self.control = control or Control(a_broker(None, Clock()), Path())
        self.talk = Talk()
        self.talk.factory = self
        self.transport = StringTransport()
        self.talk.makeConnection(self.transport)

    def answers(self) -> list[dict[str, Any]]:
        """Give what was answered."""
        return [json.loads(line) for line in self.transport.value().splitlines()]


def test_byte_by_byte() -> None:
    """A line is a line however it comes, and several are answered in their order."""
    line = Line()
    for byte in b'{"do": "ping"}\n[]\n{"do": "kick", "name": "nobody"}\n':
        line.talk.dataReceived(bytes([byte]))
    first, second, third = line.answers()
    assert (first["name"], "error" in second, third) == ("here", True, {"kicked": 0})


def test_one_after_the_other() -> None:
    """What comes while a request is being done is done after it."""
    line = Line()
    done: Deferred[None] = Deferred()

    async def look(*, now: bool) -> None:  # noqa: ARG001
        await done

    line.control.broker.revocation.look = look  # type: ignore[method-assign]
    line.talk.dataReceived(b'{"do": "look"}\n{"do": "ping"}\n')
    assert not line.answers()
    done.callback(None)
    assert [list(answer) for answer in line.answers()] == [["sources"], ["pid", "name"]]


@pytest.mark.parametrize("data", [b"\xff\n", b"\n", b"[" * 5000 + b"\n", b'"do"\n', b"9" * 5000 + b"\n"])
def test_what_is_no_request(data: bytes) -> None:
    """It is answered by an error."""
    line = Line()
    line.talk.dataReceived(data)
    assert [list(answer) for answer in line.answers()] == [["error"]]
    assert not line.transport.disconnecting


def test_a_line_without_an_end() -> None:
    """It is refused when it is too long, and nothing of it is kept."""
    line = Line()
    line.talk.dataReceived(b"x" * MAX_LINE)
    assert not line.transport.disconnecting
    line.talk.dataReceived(b"x")
    assert "at most" in line.answers()[0]["error"]
    assert line.transport.disconnecting
    assert not line.talk._unread


def test_an_idle_connection() -> None:
    """It is closed, counted from its last answer."""
    line = Line()
    clock: Any = line.control.broker.reactor
    clock.advance(IDLE - 1)
    line.talk.dataReceived(b'{"do": "ping"}\n')
    clock.advance(IDLE - 1)
    assert not line.transport.disconnected
    clock.advance(2)
    assert line.transport.disconnected
    assert isinstance(line.talk, TimeoutMixin)


def test_too_many_connections() -> None:
    """One more than there is room for is closed at once; when one has gone, there is room again."""
    first = Line()
    others = [Line(first.control) for _ in range(CONNECTIONS)]
    assert [other.transport.disconnected for other in others] == [False] * (CONNECTIONS - 1) + [True]
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure

    first.talk.connectionLost(Failure(ConnectionDone()))
    assert not Line(first.control).transport.disconnected


# -- the other side -----------------------------------------------------------------------------------------------


def test_nobody_is_there(tmp_path: Path) -> None:
    """Without a broker, or a directory, the error says what to do."""
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NoBroker, match="start one with `brokerkit run`"):
            tell(directory, {"do": "ping"})


def test_no_answer(tmp_path: Path) -> None:
    """A broker that hangs is given up in time."""
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / NAME))
        deaf.listen()
        with pytest.raises(NoBroker, match=r"has not answered within 0\.2 s"):
            tell(tmp_path, {"do": "ping"}, 0.2)


def _program(code: str, directory: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.Popen([sys.executable, "-c", code, str(directory)], stdout=subprocess.PIPE, env=environment)


def _rest(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1000)
    except ConnectionResetError:
        return b""


def _interfaces() -> tuple[Any, ...]:
    from brokerkit.interfaces import IClient

    return (IClient,)
