"""A source that holds all of its users in memory, however they came there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.checkers.known import Users
from brokerkit.checkers.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.checkers.known import Known


class InMemory(Source):
    """Answers from the table ``_users``, which a subclass fills and replaces."""

    _users: Any = Users()  # or what looks like it

    @property
    def sample(self) -> str:  # type: ignore[override]
        """Some password hash; empty if there is none."""
        hashed: str = self._users.sample
        return hashed

    def find(self, credentials: Any) -> Known | None:  # noqa: ANN401  any that it takes
        """Give the user whom the credentials name."""
        known: Known | None = self._users.find(credentials)
        return known

    def users(self, names: Iterable[bytes]) -> dict[bytes, Known]:
        """Give those of the names that are known."""
        known: dict[bytes, Known] = self._users.among(names)
        return known

    def names(self) -> list[bytes]:
        """Give all names."""
        names: list[bytes] = self._users.names()
        return names
