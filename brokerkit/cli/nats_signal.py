"""``nats-server --signal``: tell a server that runs to reload, to go, or to open its log anew.

Without a process id it is the only one that runs; where there are several, none is told, and they are listed.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAME = "nats-server"
SIGNALS = {
    "ldm": signal.SIGUSR2,
    "stop": signal.SIGKILL,
    "quit": signal.SIGINT,
    "term": signal.SIGTERM,
    "reopen": signal.SIGUSR1,
    "reload": signal.SIGHUP,
}
_INTERPRETERS = ("python", "sh")


def send(text: str, running: Callable[[], list[int]] | None = None) -> None:
    """Do what ``SIGNAL`` or ``SIGNAL=PID`` asks for; raise ``OperatorError``.

    ``running`` gives the ids of the servers that run.
    """
    word, equals, where = text.partition("=")
    if word not in SIGNALS:
        raise OperatorError(f'unknown signal "{word}", expected one of {", ".join(SIGNALS)}')
    pid = _given(where) if equals else _only((running or servers)())
    try:
        os.kill(pid, SIGNALS[word])
    except OSError as error:
        raise OperatorError(f'signal "{word}" {pid}: {error.strerror}') from None


def _given(where: str) -> int:
    """Give the process id of a text: a number, or a file with one."""
    text = where
    if not where.isdigit():
        try:
            text = Path(where).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            raise OperatorError(f"invalid pid: {where}") from None
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**31):
        raise OperatorError(f"invalid pid: {where}")
    return int(text)


def _only(pids: list[int]) -> int:
    if not pids:
        raise OperatorError(f"no {NAME} processes running")
    if len(pids) > 1:
        raise OperatorError("\n".join([f"multiple {NAME} processes running:", *map(str, pids)]))
    return pids[0]


def servers() -> list[int]:
    """Give the process ids of all servers that run, nats-server's own too, but not of this process."""
    return [pid for pid, words in _processes() if pid != os.getpid() and is_server(words)]


def is_server(words: list[str]) -> bool:
    """Say whether a command line is one of a server: by its own name, by an interpreter, or as ``brokerkit`` has it."""
    names = [word.rpartition("/")[2] for word in words[:4]]
    if names and names[0].startswith(_INTERPRETERS):
        names = names[1:]
        if names[:1] == ["-m"]:
            names = names[1:]
    if names[:2] == ["brokerkit", NAME]:
        names = names[1:]
    sending = any(word.lstrip("-").partition("=")[0] in {"sl", "signal"} for word in words)
    return names[:1] == [NAME] and not sending


def _processes() -> Iterable[tuple[int, list[str]]]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        yield int(entry.name), line.decode(errors="replace").rstrip("\0").split("\0")
