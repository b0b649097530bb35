"""The names of the registry by their digests, for questions that do not show a name.

Made when the first such question comes, and kept up with what changes: nobody pays for it who does not use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.protocols.bpbroker.signed import digest_of
from brokerkit.registry.words import PUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.registry import Change, Registry


class Digests:
    """Gives the name of a digest."""

    def __init__(self, registry: Registry, key: bytes) -> None:
        """Look at that registry."""
        self._registry = registry
        self._key = key
        self._names: dict[str, str] = {}
        self._stop: Callable[[], None] | None = None

    def find(self, digest: str) -> str | None:
        """Give the name of the entry whose digest that is, ``None`` if there is none."""
        if self._stop is None:
            self._stop = self._registry.listen(self._changed)
            self._names = {digest_of(self._key, entry.name): entry.name for entry in self._registry.scan()}
        return self._names.get(digest)

    def stop(self) -> None:
        """Look no more."""
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()

    def _changed(self, change: Change) -> None:
        digest = digest_of(self._key, change.name)
        if change.operation == PUT:
            self._names[digest] = change.name
        else:
            self._names.pop(digest, None)
