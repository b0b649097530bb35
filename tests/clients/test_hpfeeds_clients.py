"""The clients of the hpfeeds package do with this broker all that they do with their own.

hpfeeds confirms nothing: that a subscription stands shows only in a message that comes back.  The
asyncio, threaded and Twisted clients send in order, so a message behind the subscription tells.  Of
``hpfeeds.new`` and the command nobody is told when they subscribe, so somebody publishes until
something arrives (``until``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hpfeeds
import hpfeeds.blocking.session
import pytest
from hpfeeds.asyncio import ClientSession

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

COMMAND = Path(sys.executable).with_name("hpfeeds")
SCRIPTS = Path(__file__).with_name("scripts")
MAX_PAYLOAD = 1048574 - len("sensor") - len("chan.one")
EVERY_BYTE = bytes(range(256))
SECONDS = 10

# The package uses a deprecated spelling when it loses a connection.
pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method:DeprecationWarning")

Address = tuple[str, int]
Message = tuple[str, str, bytes]


@contextlib.asynccontextmanager
async def joined(address: Address, *channels: str, ident: str = "sensor") -> AsyncIterator[ClientSession]:
    """Connect an asyncio session and return when its subscriptions stand."""
    session = ClientSession(*address, ident, "secret")
    for channel in (*channels, "chan.sync"):
        session.subscribe(channel)
    await asyncio.wait_for(session.when_connected, SECONDS)
    async with session:
        await settle(session)
        yield session


async def settle(session: ClientSession) -> None:
    """Send a message to oneself on chan.sync, which nobody else reads, and wait for it."""
    session.publish("chan.sync", b"")
    assert await received(session, 1) == [(session.ident, "chan.sync", b"")]
    session.unsubscribe("chan.sync")


async def received(session: ClientSession, count: int) -> list[Message]:
    """Receive ``count`` messages."""
    return [await asyncio.wait_for(session.read(), SECONDS) for _ in range(count)]


def until(arrived: threading.Event, act: Callable[[], object]) -> None:
    """Repeat ``act`` until ``arrived`` is set, for a bounded time."""
    for _ in range(SECONDS * 20):
        act()
        if arrived.wait(0.05):
            return
    pytest.fail("nothing arrived")


def bounded(call: Callable[[], Any]) -> Any:
    """Make a call that might block for ever, and fail instead."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(call()), daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert result, "the call did not return in time"
    return result[0]


class Listener:
    """A blocking client that receives in a thread of its own until it has got ``b"end"``."""

    def __init__(self, address: Address, *channels: str, ident: str = "sensor") -> None:
        """Connect, and begin to receive."""
        self.client = hpfeeds.new(*address, ident, "secret")
        self.client.sleepwait = 0.1
        self.client.subscribe(list(channels))
        self.messages: list[Message] = []
        self.errors: list[str] = []
        self.arrived = threading.Event()
        self._thread = threading.Thread(target=self.client.run, args=(self._on_message, self._on_error), daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until it has ended."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the client did not end in time"
        self.client.close()

    def _on_message(self, ident: str, channel: str, payload: bytes) -> None:
        self.messages.append((ident, channel, payload))
        self.arrived.set()
        if payload == b"end":
            self.client.stop()

    def _on_error(self, text: str) -> None:
        self.errors.append(text)
        self.client.stop()


@contextlib.contextmanager
def blocking(address: Address, ident: str = "sensor", secret: str = "secret") -> Iterator[Any]:
    """Connect the blocking client, and close it at the end."""
    client = hpfeeds.new(*address, ident, secret)
    yield client
    client.close()


def command(address: Address, *arguments: str, secret: str = "secret") -> list[str]:
    """Spell a call of the hpfeeds command."""
    host, port = address
    who = ["--host", host, "-p", str(port), "-i", "sensor", "-s", secret]
    return [str(COMMAND), *who, *arguments]


def output_of(words: list[str]) -> str:
    """Run a command, which must succeed, and give what it printed."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_asyncio_hears_itself(hpfeeds_port: Address) -> None:
    """A session that publishes to a channel it reads gets its own message, once."""
    async with joined(hpfeeds_port, "chan.one", "chan.two") as session:
        session.publish("chan.one", b"first")
        session.publish("chan.two", b"second")
        assert await received(session, 2) == [
            ("sensor", "chan.one", b"first"),
            ("sensor", "chan.two", b"second"),
        ]


async def test_asyncio_from_another(hpfeeds_port: Address) -> None:
    """A message carries its publisher's ident, and goes to the readers of its channel alone."""
    async with (
        joined(hpfeeds_port, "chan.one", ident="collector") as reader,
        joined(hpfeeds_port) as writer,
    ):
        writer.publish("chan.two", b"not for the reader")
        writer.publish("chan.one", b"for the reader")
        assert await received(reader, 1) == [("sensor", "chan.one", b"for the reader")]


async def test_asyncio_unsubscribe(hpfeeds_port: Address) -> None:
    """A channel that was taken back is silent, and can be taken up again."""
    async with joined(hpfeeds_port, "chan.one", "chan.two") as session:
        session.unsubscribe("chan.one")
        for channel in ("chan.one", "chan.two"):
            session.publish(channel, b"x")
        session.subscribe("chan.one")
        session.publish("chan.one", b"y")
        assert await received(session, 2) == [
            ("sensor", "chan.two", b"x"),
            ("sensor", "chan.one", b"y"),
        ]


async def test_asyncio_utf8_channel(hpfeeds_port: Address) -> None:
    """A channel's name may hold any characters."""
    async with joined(hpfeeds_port, "honeypot.été") as session:
        session.publish("honeypot.été", b"x")
        assert await received(session, 1) == [("sensor", "honeypot.été", b"x")]


@pytest.mark.parametrize("size", [0, 1, 255, 65536, MAX_PAYLOAD - 1, MAX_PAYLOAD])
async def test_asyncio_payloads(hpfeeds_port: Address, size: int) -> None:
    """Every payload from nothing to the limit arrives as it was, whatever bytes it holds."""
    body = (EVERY_BYTE * (size // 256 + 1))[:size]
    async with joined(hpfeeds_port, "chan.one") as session:
        session.publish("chan.one", body)
        session.publish("chan.one", b"next")
        assert [payload for _, _, payload in await received(session, 2)] == [body, b"next"]


async def test_asyncio_order(hpfeeds_port: Address) -> None:
    """Two readers get all of many messages, over two channels, in the order of sending."""
    async with (
        joined(hpfeeds_port, "chan.one", "chan.two") as one,
        joined(hpfeeds_port, "chan.one", "chan.two", ident="collector") as two,
        joined(hpfeeds_port) as writer,
    ):
        sent = [("sensor", ("chan.one", "chan.two")[n % 3 == 0], b"%d" % n) for n in range(5000)]
        for _, channel, payload in sent:
            writer.publish(channel, payload)
        assert await received(one, len(sent)) == sent
        assert await received(two, len(sent)) == sent


async def test_asyncio_after_an_error(hpfeeds_port: Address) -> None:
    """A denied publish costs a session its connection; it makes another and subscribes again."""
    failed = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda *_: failed.set())
    async with joined(hpfeeds_port, "chan.one") as session:
        session.publish("chan.denied", b"x")
        await asyncio.wait_for(failed.wait(), SECONDS)
        reader = asyncio.ensure_future(session.read())
        for _ in range(SECONDS * 20):
            session.publish("chan.one", b"back")
            if (await asyncio.wait({reader}, timeout=0.05))[0]:
                break
        assert reader.result() == ("sensor", "chan.one", b"back")


def test_blocking_broker_name(hpfeeds_port: Address) -> None:
    """The broker gives its name, whole, in the first thing that it sends."""
    with blocking(hpfeeds_port) as client:
        assert client.brokername == "hpfeeds"


def test_blocking_hears_itself(hpfeeds_port: Address) -> None:
    """The blocking client gets what it publishes to channels that it reads."""
    listener = Listener(hpfeeds_port, "chan.one", "chan.two")
    until(listener.arrived, lambda: listener.client.publish("chan.one", b"probe"))
    listener.client.publish(["chan.one", "chan.two"], EVERY_BYTE)
    listener.client.publish("chan.one", bytes(MAX_PAYLOAD))
    listener.client.publish("chan.one", b"end")
    listener.join()
    messages = [message for message in listener.messages if message[2] != b"probe"]
    assert messages == [
        ("sensor", "chan.one", EVERY_BYTE),
        ("sensor", "chan.two", EVERY_BYTE),
        ("sensor", "chan.one", bytes(MAX_PAYLOAD)),
        ("sensor", "chan.one", b"end"),
    ]


def test_blocking_order(hpfeeds_port: Address) -> None:
    """The blocking client gets many messages of another in the order of sending."""
    listener = Listener(hpfeeds_port, "chan.one", ident="collector")
    sent = [b"%d" % number for number in range(5000)]
    with blocking(hpfeeds_port) as writer:
        until(listener.arrived, lambda: writer.publish("chan.one", b"probe"))
        for payload in (*sent, b"end"):
            writer.publish("chan.one", payload)
        listener.join()
    payloads = [payload for _, _, payload in listener.messages if payload != b"probe"]
    assert payloads == [*sent, b"end"]


@pytest.mark.parametrize(("ident", "secret"), [("sensor", "wrong"), ("sensor", ""), ("nobody", "secret")])
def test_blocking_wrong_secret(hpfeeds_port: Address, ident: str, secret: str) -> None:
    """A wrong secret and an unknown ident are refused in the same words."""
    with blocking(hpfeeds_port, ident, secret) as client:
        assert client.wait(SECONDS) == f"Authentication failed for {ident}"


def test_blocking_right_secret(hpfeeds_port: Address) -> None:
    """The right secret is answered by silence."""
    with blocking(hpfeeds_port) as client:
        assert client.wait(0.2) is None
        assert client.connected


def test_blocking_denied_publish(hpfeeds_port: Address) -> None:
    """A publish to a channel without the right is refused by name."""
    with blocking(hpfeeds_port) as client:
        client.publish("chan.denied", b"x")
        assert client.wait(SECONDS) == "Authkey not allowed to pub here. ident=sensor, chan=chan.denied"


@pytest.mark.parametrize("channel", ["chan.denied", "chan.>", "chan.*"])
def test_blocking_denied_subscription(hpfeeds_port: Address, channel: str) -> None:
    """A channel without the right is refused by name, and no wildcard gets around that."""
    listener = Listener(hpfeeds_port, channel)
    listener.join()
    assert listener.errors == [f"Authkey not allowed to sub here. ident=sensor, chan={channel}"]


def test_blocking_restart(hpfeeds_port: Address, restart: Callable[[], None]) -> None:
    """After the broker was restarted, the blocking client comes back and subscribes again."""
    listener = Listener(hpfeeds_port, "chan.one", "chan.two")
    with blocking(hpfeeds_port) as writer:
        until(listener.arrived, lambda: writer.publish("chan.one", b"before"))
    restart()
    listener.arrived.clear()
    with blocking(hpfeeds_port) as writer:
        until(listener.arrived, lambda: writer.publish("chan.two", b"after"))
        assert listener.messages[-1] == ("sensor", "chan.two", b"after")
        writer.publish("chan.one", b"end")
        listener.join()


class Session(hpfeeds.blocking.session.ClientSession):  # type: ignore[misc]
    """The threaded session, with an event for having sent its AUTH.

    Its own ``when_connected`` comes earlier, and what is sent at that moment can overtake the AUTH.
    """

    def __init__(self, *arguments: object) -> None:
        """Take what ``ClientSession`` takes."""
        self.ready = threading.Event()
        super().__init__(*arguments)

    def _build_protocol(self) -> Any:
        protocol = super()._build_protocol()
        protocol.connection_ready = self.ready.set
        return protocol


@contextlib.contextmanager
def threaded(address: Address) -> Iterator[Session]:
    """Run a threaded session; to end it something must come in or go out, else it sleeps on."""
    session = Session(*address, "sensor", "secret")
    session.start()
    assert session.ready.wait(SECONDS)
    yield session
    stopped = threading.Event()

    def stop() -> None:
        session.stop()
        stopped.set()

    threading.Thread(target=stop, daemon=True).start()
    until(stopped, lambda: session.publish("chan.sync", b"wake up"))


def test_threaded_session(hpfeeds_port: Address) -> None:
    """The threaded session subscribes, hears itself, and unsubscribes."""
    with threaded(hpfeeds_port) as session:
        for channel in ("chan.one", "chan.two"):
            session.subscribe(channel)
            session.publish(channel, EVERY_BYTE)
        assert bounded(session.read) == ("sensor", "chan.one", EVERY_BYTE)
        assert bounded(session.read) == ("sensor", "chan.two", EVERY_BYTE)
        session.unsubscribe("chan.one")
        session.publish("chan.one", b"x")
        session.publish("chan.two", b"y")
        assert bounded(session.read) == ("sensor", "chan.two", b"y")


class Relay:
    """A listener that passes bytes on to ``target``, and can cut the connection."""

    def __init__(self, target: Address) -> None:
        """Begin to listen."""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[socket.socket] = []
        self.address: Address = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Hang up on both sides, and go on listening."""
        while self._pairs:
            with contextlib.suppress(OSError):
                self._pairs.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up and stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                self._pairs += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


def test_threaded_session_reconnects(hpfeeds_port: Address) -> None:
    """Cut off, the threaded session logs in again; to subscribe again is left to its user.

    Its thread ends for good when a reset reaches it at the wrong moment, so it is tried again.
    """
    assert any(_heard_after_a_cut(hpfeeds_port) for _ in range(3))


def _heard_after_a_cut(port: Address) -> bool:
    relay = Relay(port)
    try:
        with threaded(relay.address) as session:
            session.subscribe("chan.one")
            session.publish("chan.one", b"before")
            assert bounded(session.read)[2] == b"before"
            session.ready.clear()
            relay.cut()
            if not session.ready.wait(SECONDS):
                return False
            session.subscribe("chan.one")
            session.publish("chan.one", b"after")
            with contextlib.suppress(AssertionError):
                return bool(bounded(session.read)[2] == b"after")
            return False
    finally:
        relay.close()


def test_twisted_session(hpfeeds_port: Address) -> None:
    """The Twisted service subscribes, hears itself, and unsubscribes."""
    host, port = hpfeeds_port
    script = str(SCRIPTS / "twisted_session.py")
    printed = output_of([sys.executable, script, host, str(port), "sensor", "secret"])
    assert [json.loads(line) for line in printed.splitlines()] == [
        ["sensor", "chan.one", EVERY_BYTE.hex()],
        ["sensor", "chan.two", EVERY_BYTE.hex()],
        ["sensor", "chan.two", b"again".hex()],
        ["sensor", "chan.sync", b"again".hex()],
    ]


async def test_command_publish(hpfeeds_port: Address) -> None:
    """The publish command delivers its words to each channel that it names."""
    async with joined(hpfeeds_port, "chan.one", "chan.two", ident="collector") as reader:
        words = command(hpfeeds_port, "-c", "chan.one", "-c", "chan.two", "publish", "two", "words")
        printed = await asyncio.to_thread(output_of, words)
        assert "connected to hpfeeds" in printed
        assert "error" not in printed
        assert await received(reader, 2) == [
            ("sensor", "chan.one", b"two words"),
            ("sensor", "chan.two", b"two words"),
        ]


async def test_command_sendfile(hpfeeds_port: Address, tmp_path: Path) -> None:
    """The sendfile command delivers a file, though it hangs up at once."""
    path = tmp_path / "file"
    path.write_bytes(EVERY_BYTE * 1000)
    async with joined(hpfeeds_port, "chan.one", ident="collector") as reader:
        words = command(hpfeeds_port, "-c", "chan.one", "sendfile", str(path))
        await asyncio.to_thread(output_of, words)
        assert await received(reader, 1) == [("sensor", "chan.one", EVERY_BYTE * 1000)]


def test_command_subscribe(hpfeeds_port: Address) -> None:
    """The subscribe command prints what arrives on its channels."""
    words = command(hpfeeds_port, "-c", "chan.one", "-c", "chan.two", "subscribe")
    words[:0] = [sys.executable, "-u"]
    expected = {
        "[feedcli] connected to hpfeeds",
        "[feedcli] publish to chan.one by sensor: b'hello'",
        "[feedcli] publish to chan.two by sensor: b'hello'",
    }
    arrived = threading.Event()
    lines: set[str] = set()
    with (
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process,
        blocking(hpfeeds_port) as writer,
    ):

        def read() -> None:
            for line in process.stdout or ():
                lines.add(line.strip())
                if lines >= expected:
                    arrived.set()

        threading.Thread(target=read, daemon=True).start()
        try:
            until(arrived, lambda: writer.publish(["chan.one", "chan.two"], b"hello"))
        finally:
            process.terminate()
    assert lines == expected


def test_command_denied_publish(hpfeeds_port: Address) -> None:
    """The publish command prints why the broker refused."""
    printed = output_of(command(hpfeeds_port, "-c", "chan.denied", "publish", "x"))
    reason = "Authkey not allowed to pub here. ident=sensor, chan=chan.denied"
    assert f"got error from server: {reason}" in printed


def test_command_wrong_secret(hpfeeds_port: Address) -> None:
    """The publish command prints that it was not let in."""
    words = command(hpfeeds_port, "-c", "chan.one", "publish", "x", secret="wrong")
    assert "got error from server: Authentication failed for sensor" in output_of(words)


def test_command_subscribe_denied(hpfeeds_port: Address) -> None:
    """The subscribe command prints why the broker refused, and ends."""
    printed = output_of(command(hpfeeds_port, "-c", "chan.denied", "subscribe"))
    reason = "Authkey not allowed to sub here. ident=sensor, chan=chan.denied"
    assert f"Error message from broker: {reason}" in printed
