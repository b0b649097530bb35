"""A broker in its own process, for tests that reach it with clients that others wrote.

The broker is started as an operator would start it, by twistd, with ports of the kernel's choosing;
one serves a whole module.  When it is stopped it must go quickly and without a traceback, so each
module also tests the shutdown.

To find out whether a test is right, run it against the program that sets the standard:

* ``BROKERKIT_TEST_HPFEEDS`` (``host:port``): an hpfeeds-broker that has the users below as its users.json;
* ``BROKERKIT_TEST_TWISTD``: another program to start in twistd's place, with the same arguments.

test_nats_py.py does so by itself, with a nats-server.  Tests that need both protocols, or a restart, are skipped when
the first is set.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

ROOT = Path(__file__).resolve().parents[2]
TWISTD = os.environ.get("BROKERKIT_TEST_TWISTD") or str(Path(sys.executable).with_name("twistd"))
HPFEEDS = os.environ.get("BROKERKIT_TEST_HPFEEDS")

START_SECONDS = 20
STOP_SECONDS = 5
TEST_SECONDS = 30

CHANNELS = [
    "chan.one",
    "chan.two",
    "chan.sync",
    "honeypot.ssh",
    "honeypot.été",
    "plain",
    "after",
    "c" * 300,
    # What follows no NATS client could be told, or only as something else.
    "",
    "a b",
    "a..b",
    ".a",
    "a.",
    "a\tb",
    "a\x0bb",
    "a\x0cb",
    "a\r\nMSG after 1 4\r\nfake",
    ">",
    "*",
    "a.*",
    "a.>",
]
HPFEEDS_ONLY = {"owner": "tests", "secret": "secret", "pubchans": CHANNELS, "subchans": CHANNELS}
NATS_ONLY = {"owner": "tests", "secret": "secret", "pubchans": [], "subchans": []}
USERS = {
    "sensor": HPFEEDS_ONLY,
    "collector": HPFEEDS_ONLY,
    "alice": {**NATS_ONLY, "publish": [">"], "subscribe": [">"]},
    "guest": {
        **NATS_ONLY,
        "publish": ["guest.>", "_INBOX.>"],
        "subscribe": ["guest.>", "_INBOX.>"],
    },
    "robot": {**NATS_ONLY, "token": "t0ken", "publish": [">"], "subscribe": [">"]},
}


class Broker:
    """A broker process in the folder ``home``; ``ports`` says where it listens, by protocol."""

    def __init__(
        self, home: Path, flags: Sequence[str] = ("--auth", "json:users.json"), environ: Mapping[str, str] | None = None
    ) -> None:
        """Write down the users; nothing is started yet.  ``flags`` say where the users are."""
        self.home = home
        self._flags = flags
        self._environ = environ or {}
        self.ports: dict[str, int] = {}
        self.lines: list[str] = []
        (home / "users.json").write_text(json.dumps(USERS), encoding="utf-8")

    def start(self) -> None:
        """Start it, on the ports of last time if there was one, and wait until it is ready."""
        self.lines, self._ready = [], threading.Event()
        self._process = subprocess.Popen(
            [
                TWISTD,
                "-n",
                "--pidfile=",
                "brokerkit",
                *self._listeners(),
                *self._flags,
                "--name",
                "hpfeeds",
            ],
            cwd=self.home,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        in_time = self._ready.wait(START_SECONDS)
        if not in_time or not {"nats", "hpfeeds"} <= self.ports.keys():
            self._process.kill()
            self._process.wait()
            pytest.fail(f"the broker did not become ready; it said:\n{self.output()}")

    def stop(self) -> None:
        """Ask it to stop, and hold it to a quick and quiet end."""
        early = self._process.poll()
        self._process.terminate()
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            pytest.fail(f"still running {STOP_SECONDS} s after SIGTERM:\n{self.output()}")
        self._reader.join(STOP_SECONDS)
        output = self.output()
        assert early is None, f"ended by itself with status {early}:\n{output}"
        # twistd, once everything is stopped, ends itself by the signal that stopped it.
        assert status in (0, -signal.SIGTERM), f"status {status}:\n{output}"
        assert "Traceback" not in output, output
        assert "Unhandled" not in output, output

    def output(self) -> str:
        """Give what it has printed so far."""
        return "".join(self.lines)

    def _listeners(self) -> list[str]:
        return [
            word
            for protocol in ("nats", "hpfeeds")
            for word in (
                f"--{protocol}",
                f"tcp:port={self.ports.get(protocol, 0)}:interface=127.0.0.1",
            )
        ]

    def _environment(self) -> dict[str, str]:
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            **self._environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONUNBUFFERED": "1",
        }

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            if found := re.search(r"(\w+) listening on \S+:(\d+)", line):
                self.ports[found[1]] = int(found[2])
            if "brokerkit ready" in line:
                self._ready.set()
        # The end of its output: whoever still waits for it to become ready need not wait longer.
        self._ready.set()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Run a broker for the tests of one module."""
    running = Broker(tmp_path_factory.mktemp("broker"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def broker_with() -> Callable[..., AbstractContextManager[Broker]]:
    """Give what runs a broker in a folder, with flags and variables of the test's own, for as long as a ``with``."""

    @contextmanager
    def run(home: Path, flags: Sequence[str], environ: Mapping[str, str]) -> Iterator[Broker]:
        broker = Broker(home, flags, environ)
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()

    return run


@pytest.fixture(scope="module")
def nats_url(request: pytest.FixtureRequest) -> str:
    """Say where NATS clients connect to."""
    return f"nats://127.0.0.1:{request.getfixturevalue('broker').ports['nats']}"


@pytest.fixture(scope="module")
def hpfeeds_port(request: pytest.FixtureRequest) -> tuple[str, int]:
    """Say where hpfeeds clients connect to: host and port."""
    if HPFEEDS:
        host, _, port = HPFEEDS.rpartition(":")
        return host, int(port)
    return "127.0.0.1", request.getfixturevalue("broker").ports["hpfeeds"]


@pytest.fixture
def restart(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Give a function that stops the module's broker and starts it on the same ports; it blocks."""
    if HPFEEDS:
        pytest.skip("the broker under test is not ours to restart")
    running: Broker = request.getfixturevalue("broker")

    def again() -> None:
        running.stop()
        running.start()

    return again


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Run ``async def`` tests in an event loop of their own, within a time limit."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), TEST_SECONDS))
    return True
