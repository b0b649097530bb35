"""A broker with a registry in its own process, started as an operator would, and a plain client of its API over TLS."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 30.0  # to become ready, or to stop
LISTEN = '[[listen]]\nprotocol = "{0}"\nendpoint = "{1}:port=0:interface=127.0.0.1"\n'
EVERYBODY = "anonymous:publish=>:subscribe=>,registry.>:registry.read=*:registry.write=*"
AUTH = f'auth = ["{EVERYBODY}"]'


def unverified() -> ssl.SSLContext:
    """Give what takes any certificate: these tests are not about whom to trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Process:
    """A broker that lives in the folder ``home``; ``ports`` says where it listens, by protocol."""

    def __init__(self, home: Path, protocols: Sequence[str] = ("bpbroker",), says: str = AUTH, last: str = "") -> None:
        """Write the configuration, ``last`` behind the last listener; nothing is started yet."""
        self.home = home
        self.ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        listen = [LISTEN.format(name, "tls" if name == "bpbroker" else "tcp") for name in protocols]
        (home / "broker.toml").write_text("\n".join(['data_dir = "data"', says, *listen, last]))

    def start(self, *before: str) -> None:
        """Start it, by the command ``before`` if that is given, and wait until it is ready."""
        twistd = str(Path(sys.executable).with_name("twistd"))
        with (self.home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*before, twistd, "-n", "--pidfile=", "brokerkit", "--config", "broker.toml"],
                cwd=self.home,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + SECONDS
        while "brokerkit ready" not in self.log():
            assert self._process.poll() is None, f"it has ended:\n{self.log()}"
            assert time.monotonic() < end, f"it is not ready:\n{self.log()}"
            time.sleep(0.02)
        self.ports = {name: int(port) for name, port in re.findall(r"(\w+) listening on \S+:(\d+)", self.log())}

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        if self._process is not None:
            self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(how)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def log(self) -> str:
        """Give what it has said."""
        return (self.home / "log").read_text(errors="replace")

    def api(self, timeout: float = SECONDS) -> Api:
        """Connect to its API."""
        return Api(self.ports["bpbroker"], timeout)


class Api:
    """One connection, kept alive; ``OSError`` or ``HTTPException`` where it breaks."""

    def __init__(self, port: int, timeout: float = SECONDS) -> None:
        """Connect with the first request."""
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=unverified())

    def ask(self, method: str, target: str, data: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Give the status and the JSON of an answer."""
        body = None if data is None else json.dumps(data).encode()
        self._connection.request(method, target, body, headers or {})
        answer = self._connection.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content else None

    def put(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        """Write an entry, which has to work, and give it."""
        status, entry = self.ask("PUT", f"/v1/kv/{quote(name, safe='')}", data)
        assert status in {200, 201}, entry
        found: dict[str, Any] = entry
        return found

    def everything(self) -> dict[str, Any]:
        """Give all entries by their names."""
        found: dict[str, Any] = {}
        following: str | None = ""
        while following is not None:
            status, page = self.ask("GET", f"/v1/kv?limit=1000&after={quote(following)}")
            assert status == 200, page
            found |= {entry["name"]: entry for entry in page["entries"]}
            following = page["next"]
        return found

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
