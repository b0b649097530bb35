"""The metrics of hpfeeds-broker: the original and this broker tell the same story of the same events.

Both run the same little scenario, and their pages are compared sample by sample.  What is different on purpose is
named here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
ORIGINAL = shutil.which(str(BIN / "hpfeeds-broker")) or shutil.which("hpfeeds-broker")
SECONDS = 15
ENVIRONMENT = {
    "HPFEEDS_SENSOR_SECRET": "secret",
    "HPFEEDS_SENSOR_OWNER": "lab",
    "HPFEEDS_SENSOR_PUBCHANS": "ssh,web",
    "HPFEEDS_SENSOR_SUBCHANS": "ssh",
    "HPFEEDS_READER_SECRET": "secret",
    "HPFEEDS_READER_PUBCHANS": "none",
    "HPFEEDS_READER_SUBCHANS": "ssh,web",
}
INFO, AUTH, PUBLISH, SUBSCRIBE, UNSUBSCRIBE = 1, 2, 3, 4, 5

Sample = tuple[str, tuple[tuple[str, str], ...]]

pytestmark = pytest.mark.skipif(ORIGINAL is None, reason="hpfeeds-broker is not installed")


def short(text: str) -> bytes:
    """Give a short string."""
    return bytes([len(text)]) + text.encode()


class Wire:
    """A connection that says exactly what it is told."""

    def __init__(self, port: int) -> None:
        """Connect, and take the challenge."""
        self.sock = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.sock.settimeout(SECONDS)
        body = self.frame()[1]
        self._nonce = body[1 + body[0] :]

    def say(self, opcode: int, body: bytes) -> None:
        """Send a frame."""
        self.sock.sendall(struct.pack("!IB", 5 + len(body), opcode) + body)

    def login(self, ident: str, secret: str = "secret") -> Wire:
        """Answer the challenge."""
        digest = hashlib.sha1(self._nonce + secret.encode()).digest()  # noqa: S324  the protocol's own
        self.say(AUTH, short(ident) + digest)
        time.sleep(0.15)  # both count what comes with the login and what comes behind it in different ways
        return self

    def publish(self, channel: str, payload: bytes, ident: str = "sensor") -> None:
        """Publish."""
        self.say(PUBLISH, short(ident) + short(channel) + payload)

    def subscribe(self, channel: str, ident: str = "reader") -> None:
        """Subscribe."""
        self.say(SUBSCRIBE, short(ident) + channel.encode())

    def frame(self) -> tuple[int, bytes]:
        """Receive a frame."""
        size, opcode = struct.unpack("!IB", self._exactly(5))
        return opcode, self._exactly(size - 5)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            assert more, "the broker hung up"
            data += more
        return data

    def refused(self) -> None:
        """Wait for the error and the end."""
        assert self.frame()[0] == 0
        assert self.sock.recv(1) == b""
        self.sock.close()


def scenario(port: int) -> ExitStack:
    """Do a bit of everything; two connections stay open until the stack is closed."""
    reader = Wire(port).login("reader")
    sensor = Wire(port).login("sensor")
    for channel in ("ssh", "web"):
        reader.subscribe(channel)
    sensor.subscribe("ssh", "sensor")
    time.sleep(0.2)
    for channel, size in (("ssh", 12), ("ssh", 1024), ("ssh", 1025), ("web", 5000), ("web", 0), ("web", 100_000)):
        sensor.publish(channel, b"x" * size)
    sensor.publish("ssh", b"", "sensor")
    for _ in range(7):
        reader.frame()
    for _ in range(4):
        sensor.frame()
    reader.say(UNSUBSCRIBE, short("reader") + b"web")
    Wire(port).login("sensor", "wrong").refused()
    first = Wire(port)
    first.publish("ssh", b"")
    first.refused()
    other = Wire(port).login("sensor")
    other.publish("forbidden", b"")
    other.refused()
    other = Wire(port).login("reader")
    other.subscribe("secret")
    other.refused()
    gone = Wire(port).login("sensor")
    gone.publish("web", b"bye")
    gone.sock.close()
    Wire(port).sock.close()
    stack = ExitStack()
    stack.callback(reader.sock.close)
    stack.callback(sensor.sock.close)
    time.sleep(0.5)
    return stack


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[None]:
    """Run a broker."""
    environ = {
        **os.environ,
        **ENVIRONMENT,
        "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))),
    }
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def free_port() -> int:
    """Give a port that nobody listens to."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Wait until somebody listens."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("the broker did not start")


def page(port: int) -> dict[Sample, float]:
    """Give the samples of a metrics page that are hpfeeds-broker's."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SECONDS) as answer:
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("hpfeeds_") and not sample.name.endswith("_created")
    }


@pytest.fixture
def pages(tmp_path: Path) -> dict[str, dict[Sample, float]]:
    """Give the pages of both brokers: with two connections, and without any (``… after``)."""
    (tmp_path / "brokerkit.toml").write_text("")
    found = {}
    for name, make in {"original": _original, "brokerkit": _brokerkit}.items():
        port, exporter = free_port(), free_port()
        with running(make(port, exporter), tmp_path):
            wait_for(port)
            wait_for(exporter)
            time.sleep(0.2)
            stack = scenario(port)
            found[name] = page(exporter)
            stack.close()
            time.sleep(0.3)
            found[f"{name} after"] = page(exporter)
    return found


def _original(port: int, exporter: int) -> list[str]:
    endpoint = f"tcp:port={port}:interface=127.0.0.1"
    return [str(ORIGINAL), "-e", endpoint, "--exporter", f"127.0.0.1:{exporter}", "--auth", "env"]


def _brokerkit(port: int, exporter: int) -> list[str]:
    endpoint = f"tcp:port={port}:interface=127.0.0.1"
    flags = ["--hpfeeds", endpoint, "--exporter", f"127.0.0.1:{exporter}", "--auth", "env", "--name", "hpfeeds"]
    return [str(BIN / "twistd"), "-n", "--pidfile=", "brokerkit", *flags]


# A subscription that is refused is counted all the same by the original, which forgets it at the end of the connection.
REFUSED = ("hpfeeds_broker_subscriptions", (("chan", "secret"), ("ident", "reader")))


def test_pages(pages: dict[str, dict[Sample, float]]) -> None:
    """Names, labels and values are the same, sample by sample."""
    for moment in ("", " after"):
        ours, theirs = pages[f"brokerkit{moment}"], pages[f"original{moment}"]
        assert {key: value for key, value in theirs.items() if ours.get(key) != value} in ({}, {REFUSED: 0.0})
        more = {key: value for key, value in ours.items() if key not in theirs}
        assert not any(more.values()), more  # what has not happened yet is there with a nought
