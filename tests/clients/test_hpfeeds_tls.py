"""The clients of the hpfeeds package on an endpoint with TLS, where their own broker fails on Python 3.11 and later.

The asyncio and Twisted sessions, ``hpfeeds.new`` and the command can do TLS on every Python.  The threaded session,
``hpfeeds.blocking.ClientSession``, cannot do it on any: it has no argument for it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import shutil
import ssl
import subprocess
import sys
import threading
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hpfeeds
import hpfeeds.blocking
import pytest
from cryptography import x509
from hpfeeds.asyncio import ClientSession

from tests.certificates import Authority

from .conftest import Broker

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = Path(sys.executable).with_name("hpfeeds")
SCRIPTS = Path(__file__).with_name("scripts")
EVERY_BYTE = bytes(range(256))
SECONDS = 10
CONFIGURATION = """
auth = "json:users.json"

[[listen]]
protocol = "nats"
endpoint = "tcp:port=0:interface=127.0.0.1"

[[listen]]
protocol = "hpfeeds"
name = "hpfeeds"
endpoint = "tls:port=0:interface=127.0.0.1:key=server.key:cert=server.crt"
"""

# The package uses a deprecated spelling when it loses a connection.
pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method:DeprecationWarning")


class TLSBroker(Broker):
    """A broker with TLS for hpfeeds; ``roots`` is a directory with its authority, ``authority`` the file."""

    def __init__(self, home: Path) -> None:
        """Make the certificates and the configuration."""
        super().__init__(home)
        made = Authority(home)
        made.issue("server", "server", [x509.IPAddress(ip_address("127.0.0.1"))])
        self.authority = made.path
        self.roots = home / "roots"
        self.roots.mkdir()
        shutil.copy(made.path, self.roots / "authority.pem")
        (home / "broker.toml").write_text(CONFIGURATION)

    def _listeners(self) -> list[str]:
        return ["--config", "broker.toml"]

    @property
    def port(self) -> int:
        """Give the port with TLS."""
        return self.ports["hpfeeds"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TLSBroker]:
    """Run it for the tests of this module."""
    running = TLSBroker(tmp_path_factory.mktemp("broker"))
    running.start()
    yield running
    running.stop()


def call(broker: TLSBroker, *arguments: str, secret: str = "secret") -> str:
    """Run the hpfeeds command, which exits with 0 whatever happens, and give what it printed."""
    words = [str(COMMAND), "--host", "127.0.0.1", "-p", str(broker.port), "-i", "sensor", "-s", secret]
    words += ["--tlscert", broker.authority, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def session(broker: TLSBroker) -> ClientSession:
    """Make an asyncio session that looks at the certificate and at the name in it."""
    context = ssl.create_default_context(cafile=broker.authority)
    return ClientSession("127.0.0.1", broker.port, "sensor", "secret", ssl=context)


async def heard(client: ClientSession) -> Any:
    """Wait for a message."""
    return await asyncio.wait_for(client.read(), SECONDS)


async def test_asyncio(broker: TLSBroker) -> None:
    """The asyncio session subscribes, hears itself, and unsubscribes."""
    async with session(broker) as client:
        client.subscribe("chan.one")
        client.subscribe("chan.two")
        await asyncio.wait_for(client.when_connected, SECONDS)
        await asyncio.sleep(0)
        for channel in ("chan.one", "chan.two"):
            client.publish(channel, EVERY_BYTE)
        client.unsubscribe("chan.one")
        for channel in ("chan.one", "chan.two"):
            client.publish(channel, b"again")
        assert [await heard(client) for _ in range(3)] == [
            ("sensor", "chan.one", EVERY_BYTE),
            ("sensor", "chan.two", EVERY_BYTE),
            ("sensor", "chan.two", b"again"),
        ]


def test_twisted(broker: TLSBroker) -> None:
    """The Twisted service does the same, with an endpoint of TLS."""
    words = [sys.executable, str(SCRIPTS / "twisted_session.py"), "127.0.0.1", str(broker.port), "sensor", "secret"]
    done = subprocess.run([*words, str(broker.roots)], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        ["sensor", "chan.one", EVERY_BYTE.hex()],
        ["sensor", "chan.two", EVERY_BYTE.hex()],
        ["sensor", "chan.two", b"again".hex()],
        ["sensor", "chan.sync", b"again".hex()],
    ]


def test_new(broker: TLSBroker) -> None:
    """The client of ``hpfeeds.new`` publishes and hears, also what is larger than a record of TLS."""
    client, writer = (
        hpfeeds.new("127.0.0.1", broker.port, "sensor", "secret", certfile=broker.authority) for _ in range(2)
    )
    messages: list[tuple[str, str, bytes]] = []

    def on_message(ident: str, channel: str, payload: bytes) -> None:
        messages.append((ident, channel, payload))
        client.stop()

    client.subscribe("chan.one")
    thread = threading.Thread(target=client.run, args=(on_message, print), daemon=True)
    thread.start()
    for _ in range(SECONDS * 20):  # nobody is told when it has subscribed
        writer.publish("chan.one", EVERY_BYTE * 1000)
        thread.join(0.05)
        if not thread.is_alive():
            break
    client.close()
    writer.close()
    assert messages[:1] == [("sensor", "chan.one", EVERY_BYTE * 1000)]


def test_new_with_a_wrong_secret(broker: TLSBroker) -> None:
    """It is refused in words by TLS too."""
    client = hpfeeds.new("127.0.0.1", broker.port, "sensor", "wrong", certfile=broker.authority)
    assert client.wait(SECONDS) == "Authentication failed for sensor"
    client.close()


@pytest.mark.parametrize("action", ["publish", "sendfile"])
async def test_command(broker: TLSBroker, action: str, tmp_path: Path) -> None:
    """The command publishes words and files."""
    (tmp_path / "file").write_bytes(b"hello")
    what = "hello" if action == "publish" else str(tmp_path / "file")
    async with session(broker) as client:
        client.subscribe("chan.one")
        client.subscribe("chan.sync")
        await asyncio.wait_for(client.when_connected, SECONDS)
        await asyncio.sleep(0)
        client.publish("chan.sync", b"")
        assert (await heard(client))[1] == "chan.sync"
        await asyncio.to_thread(call, broker, "-c", "chan.one", action, what)
        assert await heard(client) == ("sensor", "chan.one", b"hello")


def test_command_refused(broker: TLSBroker) -> None:
    """The command prints why it was refused."""
    reason = "Authkey not allowed to pub here. ident=sensor, chan=denied"
    assert f"got error from server: {reason}" in call(broker, "-c", "denied", "publish", "x")
    assert "Authentication failed for sensor" in call(broker, "-c", "chan.one", "publish", "x", secret="wrong")


def test_command_subscribe(broker: TLSBroker) -> None:
    """The subscribe command prints what arrives; somebody publishes until it does."""
    words = [sys.executable, "-u", str(COMMAND), "--host", "127.0.0.1", "-p", str(broker.port), "-i", "sensor"]
    words += ["-s", "secret", "--tlscert", broker.authority, "-c", "chan.one", "subscribe"]
    arrived = threading.Event()
    writer = hpfeeds.new("127.0.0.1", broker.port, "sensor", "secret", certfile=broker.authority)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:

        def read() -> None:
            for line in process.stdout or ():
                if "publish to chan.one by sensor: b'hello'" in line:
                    arrived.set()

        threading.Thread(target=read, daemon=True).start()
        try:
            for _ in range(SECONDS * 20):
                writer.publish("chan.one", b"hello")
                if arrived.wait(0.05):
                    break
        finally:
            process.terminate()
    writer.close()
    assert arrived.is_set()


def test_the_threaded_session_has_no_tls() -> None:
    """``hpfeeds.blocking.ClientSession`` takes nothing that could ask for TLS, so there is nothing to be tested."""
    wanted = inspect.signature(hpfeeds.blocking.ClientSession).parameters
    assert list(wanted) == ["host", "port", "ident", "secret"]
