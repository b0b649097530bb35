"""Where received messages go: to standard output or into files, as text, as JSON lines or as they are.

Whoever wrote a payload may be an attacker, and whoever reads it sits at a terminal: as text nothing is printed that
could move a cursor or begin a line.  A channel is a name that strangers choose: it becomes a file's name only in
disguise.  Files are opened, written and closed for each message: they can be moved away meanwhile, and nothing is lost
by a Ctrl-C.
"""

from __future__ import annotations

import base64
import errno
import json
import os
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from brokerkit.errors import BrokerError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.protocols.hpfeeds.wire import Publish

LONGEST_NAME = 120  # bytes of a file's name that stand for a channel
_ENDINGS = {"text": ".log", "json": ".jsonl", "raw": ".bin"}


class NobodyReads(BrokerError):
    """Whoever read standard output has gone: no error, but the end."""


class Sink(Protocol):
    """Takes messages."""

    def take(self, message: Publish) -> None:
        """Write one message; raise ``OperatorError`` if it cannot be written."""

    def pause(self) -> None:
        """Know that no other message is there now."""


def as_text(message: Publish) -> bytes:
    """Give channel, ident and payload as one line that any terminal can show."""
    return " ".join(map(_printable, (message.channel, message.ident, message.payload))).encode() + b"\n"


def as_json(message: Publish, *, always_base64: bool = False) -> bytes:
    """Give one line of JSON; what is not UTF-8 is there in base64, under the name with ``_base64`` behind it."""
    fields: dict[str, str] = {}
    for name in ("channel", "ident", "payload"):
        value: bytes = getattr(message, name)
        text = None if always_base64 and name == "payload" else _decoded(value)
        if text is None:
            fields[f"{name}_base64"] = base64.b64encode(value).decode()
        else:
            fields[name] = text
    return json.dumps(fields).encode() + b"\n"


def as_it_is(message: Publish) -> bytes:
    """Give the payload and nothing else."""
    return message.payload


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _printable(value: bytes) -> str:
    text = value.decode(errors="backslashreplace")
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def file_name(channel: bytes) -> str:
    """Give a name for files of a channel: each channel has its own, and none is anything but a plain name.

    Letters, digits, ``-``, ``_``, ``.`` and ``~`` stay; the rest, and a dot at the beginning, is written as ``%`` and
    two digits.  A long name is cut, and made its own again by a part of its SHA-256.
    """
    name = quote(channel, safe="") or "%"
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}%%{sha256(channel).hexdigest()[:32]}"
    return name


class Output:
    """Standard output."""

    def __init__(self, spell: Callable[[Publish], bytes]) -> None:
        """Write messages as ``spell`` gives them."""
        self._spell = spell

    def take(self, message: Publish) -> None:
        """Write one message."""
        self._try(lambda: sys.stdout.buffer.write(self._spell(message)))

    def pause(self) -> None:
        """Show what was written."""
        self._try(sys.stdout.buffer.flush)

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except BrokenPipeError:
            # Python would try once more at its exit, and complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise NobodyReads from None
        except OSError as error:
            raise OperatorError(f"standard output: {error.strerror}") from None


class Appended:
    """One file for each channel in a directory."""

    def __init__(self, directory: str, kind: str, spell: Callable[[Publish], bytes]) -> None:
        """Write messages as ``spell`` gives them; ``kind`` is text, json or raw."""
        self._directory = _made(directory)
        self._ending = _ENDINGS[kind]
        self._spell = spell

    def take(self, message: Publish) -> None:
        """Write one message behind the others."""
        _write(self._directory / (file_name(message.channel) + self._ending), os.O_APPEND, self._spell(message))

    def pause(self) -> None:
        """Do nothing: all is written."""


class Separate:
    """One file for each message in a directory: ``CHANNEL.TIME.NUMBER.bin``, with the time in UTC."""

    def __init__(self, directory: str, kind: str, spell: Callable[[Publish], bytes]) -> None:
        """Write messages as ``spell`` gives them; ``kind`` is text, json or raw."""
        self._directory = _made(directory)
        self._ending = _ENDINGS[kind]
        self._spell = spell
        self._number = 0

    def take(self, message: Publish) -> None:
        """Write one message into a file that was not there before."""
        self._number += 1
        time = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        name = f"{file_name(message.channel)}.{time}.{self._number}{self._ending}"
        _write(self._directory / name, os.O_EXCL, self._spell(message))

    def pause(self) -> None:
        """Do nothing: all is written."""


def _made(directory: str) -> Path:
    """Give the directory, made if it is not there; raise ``OperatorError`` if nothing can be written in it."""
    path = Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(f"--output-dir {directory}: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise OperatorError(f"--output-dir {directory}: {os.strerror(errno.EACCES)}")
    return path


def _write(path: Path, how: int, data: bytes) -> None:
    """Write a file that is no link; nobody is meant to run it."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | how, 0o666), "wb") as file:
            file.write(data)
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None
