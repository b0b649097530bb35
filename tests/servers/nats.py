"""A real nats-server, and brokerkit as a program, for as long as a test wants them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

SECONDS = 10
LIFE = 300  # seconds after which a server that was forgotten is killed
SINCE = (2, 14)


def find() -> str | None:
    """Give the path of a nats-server that is new enough: $NATS_SERVER, or beside Python, or in the PATH or ~/go/bin."""
    places = [os.environ.get("NATS_SERVER"), Path(sys.executable).with_name("nats-server")]
    places += [shutil.which("nats-server"), Path.home() / "go/bin/nats-server"]
    path = next((path for path in places if path and Path(path).is_file()), None)
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=SECONDS, check=False).stdout
    version = re.search(r"v(\d+)\.(\d+)", said)
    return str(path) if version and (int(version[1]), int(version[2])) >= SINCE else None


class Program:
    """A server as a process of its own; ``port`` is where it listens."""

    def __init__(self, command: list[str], ready: str) -> None:
        """Take the command, and an expression for what it says when it listens, with the port as its group."""
        self._command = command
        self._ready = re.compile(ready)
        self.port = 0

    def __enter__(self) -> Self:
        """Start it."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._alarm = threading.Timer(LIFE, self.process.kill)
        self._alarm.start()
        log = self.process.stdout
        assert log is not None
        said = []
        for line in log:
            said.append(line)
            if found := self._ready.search(line):
                self.port = int(found[1])
                threading.Thread(target=log.read, daemon=True).start()  # what nobody reads would stop it
                return self
        self.__exit__(None, None, None)
        raise AssertionError("".join(said))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._alarm.cancel()
        self.process.kill()
        self.process.wait(SECONDS)


class NatsServer(Program):
    """A nats-server with a configuration file."""

    def __init__(self, program: str, configuration: Path) -> None:
        """Take the path of the program and that of the file."""
        super().__init__([program, "-c", str(configuration)], r"Listening for client connections on .*:(\d+)")


class Brokerkit(Program):
    """brokerkit with a configuration file."""

    def __init__(self, configuration: Path) -> None:
        """Take the path of the file."""
        command = [sys.executable, "-m", "twisted", "--log-format=text", "brokerkit", "--config", str(configuration)]
        super().__init__(command, r"nats listening on .*:(\d+)")
