"""Users from a file in the format of hpfeeds' users.json, read again when it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.checkers import registry_rights
from brokerkit.checkers.json_lines import where
from brokerkit.checkers.users_json import RAW, steps
from brokerkit.checkers.watched import Watched
from brokerkit.grants import PUBLISH
from brokerkit.topics import beneath

if TYPE_CHECKING:
    from collections.abc import Generator

    from twisted.internet.interfaces import IReactorTime

    from brokerkit.checkers.users_json import JsonTable
    from brokerkit.grants import Rule


class JsonUsers(Watched):
    """Knows the users in a file."""

    def __init__(self, path: str, clock: IReactorTime, prefix: bytes = b"") -> None:
        """Read the file, with all its names under ``prefix``; raise ``ConfigError`` if it cannot be used."""
        self.prefix = prefix
        super().__init__([path], clock)
        self.path = self.paths[0]
        self.source = f"json:{self.path}"

    def parse(self, contents: list[bytes]) -> Generator[None, None, JsonTable]:
        """Make users of the file's content."""
        return steps(contents[0], self.paths[0], self.prefix)

    def where(self, name: bytes, action: str, rule: Rule | None) -> str:
        """Give file and line."""
        ident = name.decode(errors=RAW)
        if rule is None:
            return where(self.path, ident)
        if listed := registry_rights.field(action):
            return where(self.path, ident, listed, entry=registry_rights.entry(rule))
        lists = ("pubchans", "publish") if action == PUBLISH else ("subchans", "subscribe")
        entry = beneath(self.prefix, rule.name) or b""
        return where(self.path, ident, lists[not rule.literal], entry=entry.decode(errors=RAW))
