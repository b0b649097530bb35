"""The users that stand in the configuration itself, as ``[[users]]`` tables; read at the start, and not again."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from twisted.logger import Logger

from brokerkit.checkers.in_memory import InMemory
from brokerkit.checkers.known import EVERY_KIND, USUAL, Users

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zope.interface.interface import InterfaceClass

    from brokerkit.checkers.entry import Entry
    from brokerkit.grants import Rule

log = Logger()


class ListedUsers(InMemory):
    """Knows the users of a configuration."""

    credentialInterfaces: tuple[InterfaceClass, ...] = USUAL

    def __init__(self, entries: Iterable[Entry], file: str) -> None:
        """Take the users that stand in that file; say in the log if others can read secrets in it."""
        self.source = f"users in {file}"
        self._entries = {entry.name.encode(): entry for entry in entries}
        self._users = Users(entry.known(self.source) for entry in self._entries.values())
        if any(entry.nkey for entry in self._entries.values()):
            self.credentialInterfaces = EVERY_KIND
        if any(entry.holds_secrets for entry in self._entries.values()) and readable_by_all(file):
            log.warn("{file} holds secrets and can be read by everybody: chmod o-r {file}", file=file)

    def where(self, name: bytes, action: str, rule: Rule | None) -> str:
        """Give the file with its line, and the place in it."""
        entry = self._entries.get(name)
        return entry.where(action, rule) if entry is not None else self.source


def readable_by_all(path: str) -> bool:
    """Say whether everybody on the machine may read a file; not, if there is none."""
    with suppress(OSError, ValueError):
        return bool(os.stat(path).st_mode & stat.S_IROTH)  # noqa: PTH116  the path need not be one
    return False
