"""A child that runs extensions, as the broker sees it: calls go in, questions and outcomes come out.

It gets two pipes for that, an empty standard input, and its output goes into the log, line by line.  It inherits
nothing else: no socket, no file, and of the environment only what says where programs and words are found.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger

import brokerkit
from brokerkit.protocols.bpbroker.extension_child import ANSWERS, CALLS
from brokerkit.protocols.bpbroker.extension_frames import Frames, frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.python.failure import Failure

log = Logger()

KEPT = {"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "PYTHONPATH", "VIRTUAL_ENV"}
FRAME_MARGIN = 128 * 1024  # bytes that a frame may be longer than an answer in base64
LINE = 1000  # characters of a line of output that are logged
LINES = 200  # lines of output that are logged for each call


class Parent(Protocol):
    """Whom a child tells."""

    def said(self, child: Child, what: dict[str, Any]) -> None:
        """Take a question or an outcome."""

    def died(self, child: Child, why: str) -> None:
        """Take note of its end."""


class Child(ProcessProtocol):
    """One child; ``kill`` it when it is not wanted any more."""

    def __init__(self, parent: Parent, output_bytes: int) -> None:
        """Tell ``parent``; nothing is started yet."""
        self._parent = parent
        self._frames = Frames(output_bytes * 4 // 3 + FRAME_MARGIN)
        self._lines = Lines()
        self._over = False
        self.pid = 0

    def start(self, reactor: Any, library: Path, output_bytes: int) -> None:  # noqa: ANN401  any reactor
        """Start the program; raise ``OSError`` if there can be none."""
        module = "brokerkit.protocols.bpbroker.extension_child"
        line = [sys.executable, "-u", "-P", "-m", module, str(library), str(output_bytes)]
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            pipes = {0: nothing, 1: "r", 2: "r", CALLS: "w", ANSWERS: "r"}
            reactor.spawnProcess(self, sys.executable, line, environment(os.environ), childFDs=pipes)
            self.pid = self.transport.pid  # type: ignore[union-attr]
        finally:
            os.close(nothing)

    def tell(self, what: dict[str, Any]) -> None:
        """Send a call, or the answer to a question."""
        self._lines.left = LINES if "package" in what else self._lines.left
        if not self._over:
            self.transport.writeToChild(CALLS, frame(what))  # type: ignore[union-attr]

    def kill(self) -> None:
        """End it at once, with what it has started; nothing more is heard of it."""
        if self._over:
            return
        self._over = True
        # It is the leader of its session as soon as it runs Python; before that there is only itself.
        with suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N803  Twisted's name
        """Take what it says, in one way or another."""
        if childFD != ANSWERS:
            self._lines.receive(data)
            return
        try:
            found = self._frames.receive(data)
        except ValueError as error:
            self._end(f"it said what cannot be understood: {error}")
            return
        for what in found:
            if not self._over:
                self._parent.said(self, what)

    def processExited(self, reason: Failure) -> None:
        """Take note of its end; something that it has started may still hold a pipe."""
        self._end(reason.getErrorMessage())

    def _end(self, why: str) -> None:
        if not self._over:
            self.kill()
            self._parent.died(self, why)


class Lines:
    """Logs lines of output, so many of them, each cut to a length."""

    def __init__(self) -> None:
        """Begin with an empty line; ``left`` is how many are still logged."""
        self.left = LINES
        self._begun = b""

    def receive(self, data: bytes) -> None:
        """Take some output."""
        *whole, rest = (self._begun + data).split(b"\n")
        self._begun = rest[: 4 * LINE]
        for line in whole:
            self.left -= 1
            if self.left >= 0:
                log.info("extension: {line}", line=line.decode(errors="replace")[:LINE])
            elif self.left == -1:
                log.warn("extension: it says more than {lines} lines; the rest is left out", lines=LINES)


def environment(here: Mapping[str, str]) -> dict[str, str]:
    """Give what a child may know of this process's environment, and where it finds brokerkit."""
    kept = {name: value for name, value in here.items() if name in KEPT or name.startswith("LC_")}
    root = str(Path(brokerkit.__file__).absolute().parent.parent)
    told = kept.get("PYTHONPATH", "").split(os.pathsep)
    # Nothing relative: what lies where the broker was started must not be taken for a module of the same name.
    kept["PYTHONPATH"] = os.pathsep.join([*(part for part in told if os.path.isabs(part)), root])  # noqa: PTH117  text
    return kept
