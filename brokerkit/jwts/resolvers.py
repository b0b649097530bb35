"""Where the tokens of accounts come from: out of the configuration, or from a directory with a file for each.

A resolver that fetches them by URL, or from other servers, is not there: ``nsc push`` and others can fill a directory.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from brokerkit import nkeys
from brokerkit.jwts.decode import MAX_SIZE

if TYPE_CHECKING:
    from collections.abc import Mapping

    State = tuple[int, ...]


class Resolver(Protocol):
    """Finds the token of an account."""

    def state(self, account: str) -> State | None:
        """Give something that is another one when the token may be; ``None`` if there is none."""

    def fetch(self, account: str) -> str | None:
        """Give the token of an account by its key; ``None`` if there is none."""

    def accounts(self) -> list[str]:
        """Give the keys of all accounts that there are."""


class Preloaded:
    """The accounts that somebody has written down."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        """Take tokens by the keys of their accounts."""
        self._tokens = dict(tokens)

    def state(self, account: str) -> State | None:
        """Give the same for as long as it is there."""
        return () if account in self._tokens else None

    def fetch(self, account: str) -> str | None:
        """Give the token."""
        return self._tokens.get(account)

    def accounts(self) -> list[str]:
        """Give all keys."""
        return sorted(self._tokens)


class Directory:
    """Files called ``<KEY>.jwt``, or so in directories that are called like the last two letters of the key.

    It may be filled and emptied while the broker runs.  Files are looked at by ``stat``, which follows links.
    """

    def __init__(self, path: str) -> None:
        """Take the directory."""
        self.path = Path(path).absolute()

    def state(self, account: str) -> State | None:
        """Give what tells one state of the file from another."""
        for path in self._places(account):
            try:
                found = os.stat(path)  # noqa: PTH116  quicker
            except OSError:
                continue
            return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        return None

    def fetch(self, account: str) -> str | None:
        """Give the content of the file; ``None`` if there is none that can be read."""
        for path in self._places(account):
            text = _read(path)
            if text is not None:
                return text.strip()
        return None

    def accounts(self) -> list[str]:
        """Give the keys that files are called by."""
        found = {path.stem for pattern in ("*.jwt", "??/*.jwt") for path in self.path.glob(pattern)}
        return sorted(key for key in found if nkeys.is_key(key, nkeys.ACCOUNT))

    def _places(self, account: str) -> tuple[str, ...]:
        if not nkeys.is_key(account, nkeys.ACCOUNT):  # it becomes part of a path
            return ()
        return f"{self.path}/{account}.jwt", f"{self.path}/{account[-2:]}/{account}.jwt"


def _read(path: str) -> str | None:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            content = file.read(MAX_SIZE + 1)
    except OSError:
        return None
    return content.decode("ascii", "replace") if len(content) <= MAX_SIZE else None


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe at its place would otherwise stop the whole broker until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)
