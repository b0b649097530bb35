"""The connections of a broker, by their numbers: who asks for one, or for all, finds them here.

Numbers go up from 1 through all listeners and are never used again, so that a word about a connection cannot be
taken for one about its successor.  Watchers hear of logins and of ends.  Who watches does so for an operator: when one
fails that is logged, and costs nobody a connection.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Protocol

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.session import Session

log = Logger()


class Watcher(Protocol):
    """What wants to hear of connections."""

    def logged_in(self, session: Session) -> None:
        """Hear that a connection has a client, or another one than before."""

    def will_go(self) -> None:
        """Hear that the broker begins to send connections away."""

    def will_stop(self) -> None:
        """Hear that the broker stops now."""

    def ended(self, session: Session) -> None:
        """Hear that a connection is gone; what it has counted can still be read."""


class Census:
    """Every connection there is."""

    def __init__(self) -> None:
        """Begin with none."""
        self.there: dict[int, Session] = {}  # in the order of their numbers
        self.accepted = 0
        self.watchers: list[Watcher] = []
        self._numbers = count(1)

    def number(self) -> int:
        """Give the number of one more connection."""
        self.accepted += 1
        return next(self._numbers)

    def enter(self, session: Session) -> None:
        """Take note of a connection that has its number."""
        self.there[session.cid] = session

    def logged_in(self, session: Session) -> None:
        """Tell who watches that a connection has a client."""
        for watcher in self.watchers:
            _tell(watcher.logged_in, session)

    def will_go(self) -> None:
        """Tell who watches that the broker begins to send connections away."""
        for watcher in self.watchers:
            _tell(watcher.will_go)

    def will_stop(self) -> None:
        """Tell who watches that the broker stops, while its connections are still there."""
        for watcher in self.watchers:
            _tell(watcher.will_stop)

    def leave(self, session: Session) -> None:
        """Forget a connection that is gone, and tell who watches."""
        if self.there.pop(session.cid, None) is not None:
            for watcher in self.watchers:
                _tell(watcher.ended, session)


def _tell(hear: Callable[..., None], *what: Session) -> None:
    try:
        hear(*what)
    except Exception:
        log.failure("who watches the connections failed")
