"""Servers that others wrote, started on loopback in a directory of their own, and stopped again.

Databases refuse to run as root.  So whoever is root gives the directory to ``nobody``, and starts them as that.

What is not installed skips its tests, and says so; ``BROKERKIT_SERVERS=required`` makes it a failure instead.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REQUIRED = os.environ.get("BROKERKIT_SERVERS") == "required"
NO_SERVER = "no nats-server: make nats-server, or say where it is in NATS_SERVER"
SECONDS = 60  # for a server to come up, or to go down
SOMEBODY: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


def missing(reason: str) -> None:
    """Skip, or fail, because something is not there."""
    if REQUIRED:
        pytest.fail(reason)
    pytest.skip(reason)


def find(name: str, *elsewhere: Path) -> str:
    """Give the path of a program on the PATH or in one of the directories; skip if there is none."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin", *map(str, elsewhere)])
    found = shutil.which(name, path=path)
    if found is None:
        missing(f"{name} is not installed")
    assert found is not None
    return found


def free_port() -> int:
    """Give a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _succeeds(question: Callable[[], object]) -> bool:
    try:
        question()
    except Exception:
        return False
    return True


class Program:
    """A server in a directory of its own; ``port`` stays the same when it is started again."""

    def __init__(self) -> None:
        """Make the directory."""
        self.home = Path(tempfile.mkdtemp(prefix="brokerkit-"))
        self.home.chmod(0o755)
        if SOMEBODY:
            shutil.chown(self.home, SOMEBODY["user"], SOMEBODY["group"])
        self.port = free_port()
        self._log = self.home / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def do(self, *command: str) -> None:
        """Run something that makes the server's data."""
        with self._log.open("ab") as log:
            done = subprocess.run(
                command,
                cwd=self.home,
                env=ENVIRONMENT,
                stdout=log,
                stderr=log,
                timeout=SECONDS,
                check=False,
                **SOMEBODY,
            )
        assert done.returncode == 0, f"{command}:\n{self.log()}"

    def run(self, command: Sequence[str], answers: Callable[[], object]) -> None:
        """Start the server, and wait until ``answers`` no longer raises."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.home, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **SOMEBODY
            )
        end = time.monotonic() + SECONDS
        while not _succeeds(answers):
            assert self._process.poll() is None, f"it has ended:\n{self.log()}"
            assert time.monotonic() < end, f"no answer:\n{self.log()}"
            time.sleep(0.1)

    def halt(self, how: int = signal.SIGTERM) -> None:
        """Stop the server, in good order if it does so in time."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Have it answer nothing, with its port open: what a dead network looks like."""
        self._signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it answer again."""
        self._signal_all(signal.SIGCONT)

    def remove(self) -> None:
        """Stop it and forget its data."""
        if self._process is not None:
            self.go_on()
        self.halt(signal.SIGQUIT)
        shutil.rmtree(self.home, ignore_errors=True)

    def log(self) -> str:
        """Give what it has said."""
        return self._log.read_text(errors="replace")

    def _signal_all(self, number: int) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for each in (self._process.pid, *map(int, children)):
            os.kill(each, number)
