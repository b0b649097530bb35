"""Starts and stops the brokers, and asks the kernel how much memory they hold.

Each runs on loopback at a port of the kernel's choice, in an empty directory, with its log in a
file: a pipe that nobody reads would stop it. A broker that is missing or does not start is a remark
in the table.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import cast
from bench.contest import say
from bench.speech import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.certificate import Certificate

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
START_LIMIT = 15.0  # seconds
STOP_LIMIT = 3.0
EVERYTHING = "anonymous:publish=>:subscribe=>"
LISTEN = '[[listen]]\nprotocol = "{}"\nendpoint = "tcp:port=0:interface=127.0.0.1"\n'


@dataclass(frozen=True)
class Broker:
    """How one broker is started for one protocol."""

    name: str
    protocol: str
    program: Path | None
    arguments: tuple[str, ...]
    announces: str = ""
    """Regular expression that finds the port in the log; without one, we choose ``{port}``."""
    version: str = ""
    configuration: str = ""
    """What stands in ``broker.toml`` in its directory; nothing if it is empty."""

    @property
    def title(self) -> str:
        """The name and version for the head of a table."""
        return f"{self.name} {self.version}".strip()


@dataclass
class Server:
    """A broker that runs, or the reason why it does not."""

    broker: Broker
    port: int = 0
    pid: int = 0
    ports: dict[str, int] = field(default_factory=dict)
    """All that it says it listens on, by protocol."""
    absent: str = ""

    def memory(self, key: str = "VmRSS") -> float:
        """Return resident memory in KiB: VmRSS for now, VmHWM for the peak so far. Linux only."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return float(line.split()[1])
        msg = f"{self.broker.name} has ended"
        raise BenchError(msg)

    def worked(self) -> float:
        """Return the seconds of processor time that it has used.  Linux only."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def brokers(protocol: str, users: str = "") -> list[Broker]:
    """Return brokerkit and its peer for a protocol, installed or not; *users* is another source than usual."""
    if protocol == "bpbroker":
        return [_registry(), _empty_handler()]
    if protocol == "kafka":
        return [_keeping("brokerkit", protocol, ["kafka"], ["log.>"]), _empty_handler("--plain", protocol)]
    if protocol == "kept":
        topics = [topic.decode() for topic in cast.TOPICS]  # but not what the generator's readers are told by
        return [_keeping("kept", "nats", ["nats", "kafka"], topics), _keeping("not kept", "nats", ["nats"], [])]
    if protocol == "nats":
        return [_brokerkit("nats", users or "anonymous"), _nats_server()]
    return [_brokerkit("hpfeeds", users or "env"), _hpfeeds_broker(users or "env")]


def secure_brokers(certificate: Certificate) -> list[Broker]:
    """Return brokerkit and nats-server with TLS that begins after INFO."""
    files = f"cert={certificate.certificate}:key={certificate.key}"
    peer = _nats_server()
    flags = ("--tls", "--tlscert", str(certificate.certificate), "--tlskey", str(certificate.key))
    return [
        _brokerkit("nats", "anonymous", f"tls:port=0:interface=127.0.0.1:{files}"),
        replace(peer, arguments=(*peer.arguments, *flags)),
    ]


def _brokerkit(protocol: str, checker: str, endpoint: str = "tcp:port=0:interface=127.0.0.1") -> Broker:
    # hpfeeds-broker always counts for Prometheus, by user and channel, so brokerkit has to do it beside it.
    counting = ("--exporter", "127.0.0.1:{exporter}") if protocol == "hpfeeds" else ()
    return Broker(
        "brokerkit",
        protocol,
        _which(BIN / "twistd", "twistd"),
        ("-n", "--pidfile=", "brokerkit", f"--{protocol}", endpoint, "--auth", checker, *counting),
        announces=rf"{protocol} listening on \S+:(\d+).*brokerkit ready",
        version=_distribution("brokerkit"),
    )


def _registry() -> Broker:
    endpoint = "tls:port=0:interface=127.0.0.1"
    return Broker(
        "brokerkit",
        "bpbroker",
        _which(BIN / "twistd", "twistd"),
        ("-n", "--pidfile=", "brokerkit", "--bpbroker", endpoint, "--auth", "anonymous", "--data-dir", "data"),
        announces=r"bpbroker listening on \S+:(\d+).*brokerkit ready",
        version=_distribution("brokerkit"),
    )


def _keeping(name: str, protocol: str, listeners: list[str], topics: list[str]) -> Broker:
    """Return brokerkit with these listeners; the first one's port is the server's.  The topics are kept, if any."""
    listen = "".join(LISTEN.format(one) for one in listeners)
    keep = f'[[keep]]\nstream = "bench"\ntopics = {json.dumps(topics)}\n' if topics else ""
    return Broker(
        name,
        protocol,
        _which(BIN / "twistd", "twistd"),
        ("-n", "--pidfile=", "brokerkit", "--config", "broker.toml"),
        announces=rf"{protocol} listening on \S+:(\d+).*brokerkit ready",
        version=_distribution("brokerkit"),
        configuration=f'data_dir = "data"\nauth = ["{EVERYTHING}"]\n{keep}{listen}',
    )


def _empty_handler(flag: str = "--secure", protocol: str = "bpbroker") -> Broker:
    return Broker(
        "empty handler",
        protocol,
        Path(sys.executable),
        ("-m", "bench.empty_handler", flag),
        announces=r"empty listening on \S+:(\d+)",
        version=f"of Twisted {_distribution('twisted')}",
    )


def _nats_server() -> Broker:
    program = _which(
        os.environ.get("NATS_SERVER", ""),
        "nats-server",
        Path.home() / "go/bin/nats-server",
        ROOT / ".venv/bin/nats-server",
    )
    return Broker(
        "nats-server",
        "nats",
        program,
        ("-a", "127.0.0.1", "-p", "-1"),
        announces=r"Listening for client connections on \S+:(\d+).*Server is ready",
        version=_nats_version(program),
    )


def _hpfeeds_broker(users: str) -> Broker:
    endpoint = "tcp:port={port}:interface=127.0.0.1"
    exporter = "127.0.0.1:{exporter}"  # without one it opens port 8080 to the world
    return Broker(
        "hpfeeds-broker",
        "hpfeeds",
        _which(BIN / "hpfeeds-broker", "hpfeeds-broker"),
        ("-e", endpoint, "--exporter", exporter, "--auth", users),
        version=_distribution("hpfeeds"),
    )


def _which(*candidates: str | Path) -> Path | None:
    """Return the first candidate that can be executed."""
    found = (shutil.which(candidate) for candidate in candidates if str(candidate))
    return next((Path(path) for path in found if path), None)


def _distribution(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _nats_version(program: Path | None) -> str:
    if program is None:
        return ""
    command = [str(program), "--version"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    return output.strip().rpartition("v")[2]


@contextlib.contextmanager
def running(broker: Broker) -> Iterator[Server]:
    """Run a broker for the length of a block."""
    if broker.program is None:
        yield Server(broker, absent="not installed")
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, _process(broker, folder) as server:
        yield server


@contextlib.contextmanager
def hall(contestants: list[Broker]) -> Iterator[list[Server]]:
    """Run several brokers side by side; only one is loaded at a time."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(running(broker)) for broker in contestants]


@contextlib.contextmanager
def _process(broker: Broker, folder: str) -> Iterator[Server]:
    ports = {"port": _free_port(), "exporter": _free_port()}
    command = [str(broker.program), *(part.format(**ports) for part in broker.arguments)]
    settings = os.environ | cast.environment() | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    log = Path(folder, "log")
    if broker.configuration:
        Path(folder, "broker.toml").write_text(broker.configuration)
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=settings, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield _started(Server(broker, ports["port"], process.pid), process, log)
    finally:
        _stop(process)


def _started(server: Server, process: subprocess.Popen[bytes], log: Path) -> Server:
    """Wait until the broker listens; say why if it does not."""
    deadline = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        if server.broker.announces:
            found = re.search(server.broker.announces, log.read_text(errors="replace"), re.DOTALL)
            if found:
                server.port = int(found[1])
                said = re.findall(r"(\w+) listening on \S+:(\d+)", log.read_text(errors="replace"))
                server.ports = {name: int(port) for name, port in said}
                return server
        elif _accepts(server.port):
            return server
        time.sleep(0.02)
    lines = log.read_text(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
    say(f"  {server.broker.name} did not start: {last[-200:]}")
    server.absent = "did not start"
    return server


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_LIMIT)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0
