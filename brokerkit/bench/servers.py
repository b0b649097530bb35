"""Starts and stops the brokers, and asks the kernel how much memory they hold.

Each runs on loopback at a port of the kernel's choice, in an empty directory, with its log in a
file: a pipe that nobody reads would stop it. A broker that is missing or does not start is a remark
in the table.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from brokerkit.bench import cast
from brokerkit.bench.contest import say
from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from brokerkit.bench.speech import Speech

ROOT = Path(__file__).resolve().parents[2]  # where this very package is, installed or not
START_LIMIT = 15.0  # seconds
STOP_LIMIT = 3.0


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
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment variables."""

    @property
    def title(self) -> str:
        """The name and version for the head of a table."""
        return f"{self.name} {self.version}".strip()


@dataclass
class Server:
    """A broker that runs, or the reason why it does not; *speaking* gives a speech where logins are not the usual."""

    broker: Broker
    port: int = 0
    pid: int = 0
    ports: dict[str, int] = field(default_factory=dict)
    """All that it says it listens on, by protocol."""
    absent: str = ""
    host: str = "127.0.0.1"
    speaking: Callable[[], Speech] | None = None

    @property
    def place(self) -> tuple[str, int]:
        """Where it listens."""
        return self.host, self.port

    def speech(self, name: str = cast.USER) -> Speech:
        """Return the speech of one of the usual users, or of the only one."""
        return cast.SPEECHES[self.broker.protocol](name) if self.speaking is None else self.speaking()

    def memory(self, key: str = "VmRSS") -> float:
        """Return resident memory in KiB: VmRSS for now, VmHWM for the peak so far. Linux only."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return float(line.split()[1])
        raise BenchError(f"{self.broker.name} has ended")

    def worked(self) -> float:
        """Return the seconds of processor time that it has used.  Linux only."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def allow_files(number: int) -> None:
    """Raise the limit of open files for us and for the brokers that we start, as far as that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
    settings |= broker.settings
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
