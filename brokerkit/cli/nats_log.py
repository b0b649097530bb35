"""The log in nats-server's form: ``[pid] 2026/11/21 07:03:56.777769 [INF] text``, to standard error or to a file.

A file is opened anew when it has been moved away (SIGUSR1).  A log that cannot be written costs nobody a connection.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from twisted.logger import ILogObserver, LogLevel, formatEvent
from zope.interface import implementer

from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from brokerkit.protocols.nats.conf.server import Server

_LEVELS = {
    LogLevel.debug: "DBG",
    LogLevel.info: "INF",
    LogLevel.warn: "WRN",
    LogLevel.error: "ERR",
    LogLevel.critical: "FTL",
}
# What a listener says of itself: here it is said in nats-server's words.
_SAID_OTHERWISE = frozenset(
    {
        "{protocol} listening on {address}",
        "nats-monitor listening on {scheme}://{address}",
        "{protocol}: lame duck mode: no new connections",
    }
)
_OURS = "brokerkit"


@implementer(ILogObserver)
class ServerLog:
    """Writes what is logged; ``settings`` are replaced by a reload."""

    def __init__(self, server: Server) -> None:
        """Open the file, if there is one; raise ``OperatorError`` if it cannot be written to."""
        self._server = server
        self._path = server.log_file
        self._file = self._open()

    @property
    def to_file(self) -> bool:
        """Whether it goes to a file."""
        return bool(self._path)

    def _open(self) -> TextIO | None:
        if not self._path:
            return None
        try:
            return open(self._path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: PTH123  stays open
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise OperatorError(f"error opening log file: {self._path}: {why}") from None

    def become(self, server: Server) -> None:
        """Log as another ``Server`` says; raise ``OperatorError``, and go on as before, if its file cannot be had."""
        former, path = self._file, self._path
        if server.log_file != path:
            self._path = server.log_file
            try:
                self._file = self._open()
            except OperatorError:
                self._path = path
                raise
            if former is not None:
                former.close()
        self._server = server

    def reopen(self) -> None:
        """Open the file anew, where it has been moved away; raise ``OperatorError``, and go on with the old one."""
        former, self._file = self._file, self._open()
        if former is not None:
            former.close()

    def __call__(self, event: dict[str, Any]) -> None:
        """Write what Twisted's logger brings."""
        level = event.get("log_level", LogLevel.info)
        if level is LogLevel.debug and not self._server.debug:
            return
        space = event.get("log_namespace", "")
        if event.get("log_format") in _SAID_OTHERWISE and space.startswith(_OURS):
            return
        if level is LogLevel.info and not space.startswith(_OURS) and not self._server.debug:
            return  # what Twisted says of its own doings
        text = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            with suppress(Exception):
                text = f"{text}\n{failure.getTraceback()}"
        self.write(_LEVELS.get(level, "INF"), text)

    def write(self, level: str, text: str) -> None:
        """Write one event; lines of a traceback stand beneath it."""
        line = f"[{os.getpid()}] {self._time()}[{level}] {text.rstrip()}\n"
        with suppress(OSError, ValueError):
            file = self._file or sys.stderr
            file.write(line)
            file.flush()

    def _time(self) -> str:
        if not self._server.logtime:
            return ""
        now = datetime.now(UTC) if self._server.logtime_utc else datetime.now().astimezone()
        return f"{now:%Y/%m/%d %H:%M:%S.%f} "
