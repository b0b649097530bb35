"""The real nats-server with the users of the tests, in place of a ``Broker``: what both let a client do is right."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

SECONDS = 20
RIGHTS = 'permissions: {publish: ["guest.>", "_INBOX.>"], subscribe: ["guest.>", "_INBOX.>"]}'
TOKEN = "authorization {token: t0ken}"
USERS = f"authorization {{users: [{{user: alice, password: secret}}, {{user: guest, password: secret, {RIGHTS}}}]}}"


class NatsServer:
    """A nats-server in the folder ``home``; ``ports`` says where it listens, by protocol."""

    def __init__(self, home: Path, users: str = USERS) -> None:
        """Write down the users (or ``TOKEN``); skip if it is not installed (``make nats-server``)."""
        beside = str(Path(sys.executable).parent)
        program = os.environ.get("NATS_SERVER") or shutil.which("nats-server", path=f"{beside}:{os.environ['PATH']}")
        if not program:
            pytest.skip("nats-server is not installed")
        self.home = home
        self.ports = {"nats": -1}
        (home / "server.conf").write_text(users)
        self._command = [program, "-c", "server.conf", "-a", "127.0.0.1", "-l", "log"]

    def start(self) -> None:
        """Start it, on the port of last time if there was one, and wait until it is ready."""
        log = self.home / "log"
        log.unlink(missing_ok=True)
        self._process = subprocess.Popen([*self._command, "-p", str(self.ports["nats"])], cwd=self.home)
        end = time.monotonic() + SECONDS
        while not (log.exists() and "Server is ready" in log.read_text()):
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                pytest.fail("nats-server did not become ready")
            time.sleep(0.02)
        found = re.search(r"Listening for client connections on \S+:(\d+)", log.read_text())
        assert found is not None
        self.ports["nats"] = int(found[1])

    def stop(self) -> None:
        """Stop it."""
        self._process.terminate()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
