"""The brokers that clients are tried with: nats-server, and brokerkit in its place.

Each place is a process of its own, since nats-server's logins and TLS are for a whole process.  One is started when a
client first wants it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509

from tests.certificates import Authority
from tests.servers.nats_clients.documents import USER, Key, Organization
from tests.servers.nats_clients.places import places
from tests.servers.programs import find, free_port

if TYPE_CHECKING:
    from typing import Any, Self

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 20
KINDS = ("nats", "websocket", "monitor")  # of ports


def nats_server() -> list[str]:
    """Give the command of the real one."""
    return [os.environ.get("NATS_SERVER") or find("nats-server", Path(sys.executable).parent)]


def brokerkit() -> list[str]:
    """Give the command of what stands in its place."""
    return [sys.executable, "-m", "brokerkit", "nats-server"]


BROKERS = {"brokerkit": brokerkit, "nats-server": nats_server}


class Process:
    """A broker for one place, with ports that stay the same when it is started again."""

    def __init__(self, command: list[str], home: Path, place: str, content: str) -> None:
        """Start it."""
        self.ports = {kind: free_port() for kind in KINDS}
        for kind, port in self.ports.items():
            content = content.replace(f"{kind.upper()}_PORT", str(port))
        path = home / f"{place}.conf"
        path.write_text(content)
        self._command = [*command, "-c", str(path)]
        self._home, self._log = home, home / f"{place}.log"
        self.start()

    def start(self) -> None:
        """Start it, again, and wait until it says that it is ready."""
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._home, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        end = time.monotonic() + SECONDS
        while b"Server is ready" not in self._log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                message = f"{self._command} did not become ready:\n{self._log.read_text(errors='replace')}"
                raise AssertionError(message)
            time.sleep(0.02)

    def restart(self) -> None:
        """Stop it and start it, on the same ports."""
        self.stop()
        self.start()

    def lame_duck(self) -> None:
        """Have it announce its end."""
        self._process.send_signal(signal.SIGUSR2)

    def stop(self) -> None:
        """Stop it, in good order if it does so in time."""
        self._process.terminate()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Broker:
    """One kind of broker at all places."""

    def __init__(self, kind: str, home: Path) -> None:
        """Make what its processes read; none is started yet."""
        self.kind = kind
        self._command = BROKERS[kind]()
        self.home = home
        self._organization, self._nkey = Organization(), Key(USER, "nkey")
        self._places = places(self._organization, self._nkey.public)
        authority = Authority(home)
        names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(_loopback())]
        authority.issue("server", "localhost", names)
        authority.issue("client", "alice")
        self.broken: dict[str, str] = {}
        """Why places did not open."""
        self._running: dict[str, Process] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Be stopped when this block ends."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all of its processes."""
        self._stack.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def at(self, place: str) -> Process:
        """Give the process of a place."""
        if place not in self._running:
            self._running[place] = process = Process(self._command, self.home, place, self._places[place])
            self._stack.callback(process.stop)
        return self._running[place]

    def config(self) -> dict[str, Any]:
        """Give what a client has to know."""
        urls = {}
        for place, content in self._places.items():
            ports = self._ports(place)
            scheme = "wss" if content.count("server.crt") > 1 else "ws"
            urls[place] = {
                "nats": f"nats://127.0.0.1:{ports['nats']}",
                "websocket": f"{scheme}://localhost:{ports['websocket']}" if "websocket" in content else "",
                "monitor": f"http://127.0.0.1:{ports['monitor']}",
            }
        names = ("good", "expired", "stranger", "revoked")
        return {
            "places": urls,
            "seed": self._nkey.seed,
            "strange_seed": Key(USER, "strange nkey").seed,
            "creds": {name: self._organization.credentials(name) for name in names},
            "ca": (self.home / "authority.crt").read_text(),
            "certificate": (self.home / "client.crt").read_text(),
            "key": (self.home / "client.key").read_text(),
        }

    def _ports(self, place: str) -> dict[str, int]:
        if place not in self.broken:
            try:
                return self.at(place).ports
            except AssertionError as problem:
                self.broken[place] = str(problem)
        return dict.fromkeys(KINDS, 1)  # where nobody listens

    def do(self, question: dict[str, str]) -> dict[str, str]:
        """Do what a client wants to happen; give what it has to know of it."""
        wants = question["wants"]
        if wants == "short credentials":
            return {"creds": self._organization.credentials("short")}
        process = self.at(question["of"])
        {"restart": process.restart, "lame duck": process.lame_duck, "start": process.restart}[wants]()
        return {}


def _loopback() -> Any:
    from ipaddress import IPv4Address

    return IPv4Address("127.0.0.1")
