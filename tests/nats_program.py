"""A program that behaves as nats-server does, brokerkit or the original, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

ROOT = Path(__file__).parent.parent
PATIENCE = 30  # seconds
ENDING = ['Trapped "terminated" signal', "Initiating Shutdown...", "Server Exiting.."]  # the last lines of a log
BROKERKIT = (sys.executable, "-m", "brokerkit", "nats-server")
LINE = re.compile(r"\[(\d+)\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} \[([A-Z]{3})\] (.*)\n")


def environment(**more: str) -> dict[str, str]:
    """Give an environment in which the checkout is found."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    kept = {key: value for key, value in os.environ.items() if not key.startswith("BROKERKIT_")}
    return {**kept, "PYTHONPATH": path, **more}


def run(command: Sequence[str], place: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [*command, *words],
        cwd=place,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something is true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class Server:
    """A server that runs for the length of a ``with``."""

    def __init__(self, command: Sequence[str], place: Path, *words: str, log: Path | None = None, **more: str) -> None:
        """Take the program and its command line; a log that it writes to a file is read there."""
        self._command = [*command, *words]
        self._place = place
        self._log = log
        self._environment = environment(**more)
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        """Start it, and wait until it is ready."""
        self.process = subprocess.Popen(
            self._command,
            cwd=self._place,
            env=self._environment,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        self._alarm = threading.Timer(PATIENCE * 2, self.process.kill)
        self._alarm.start()
        if self._log is None:
            self.until("Server is ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill it, if it still runs."""
        self._alarm.cancel()
        self.process.kill()
        self.process.wait(PATIENCE)
        if self.process.stderr is not None:
            self.process.stderr.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def port(self) -> int:
        """Where clients connect."""
        found = re.search(r"Listening for client connections on \S+:(\d+)", "".join(self.lines))
        assert found is not None, self.lines
        return int(found[1])

    def until(self, words: str) -> str:
        """Read its log up to a line with these words; give that line."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"{words!r} is not in:\n" + "".join(self.lines))

    def tell(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal that ends it; give the exit code."""
        self.tell(number)
        assert self.process.stderr is not None
        self.lines += self.process.stderr.readlines()
        return self.process.wait(PATIENCE)

    def said(self) -> list[tuple[str, str]]:
        """Give level and text of each line of the log; raise where a line has another form."""
        found = [LINE.fullmatch(line) for line in self.lines]
        assert all(one is not None and int(one[1]) == self.pid for one in found), self.lines
        return [(one[2], one[3]) for one in found if one is not None]
