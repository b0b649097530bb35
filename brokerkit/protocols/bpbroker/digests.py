"""The names of the registry by their digests, for questions that do not show a name.

Made when the first such question comes, and kept up with what changes: nobody pays for it who does not use it.  Anybody
can ask the first one, so of a large registry they are made in slices; what is not made yet is not found, and whoever
asks asks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from brokerkit.checkers.slices import in_slices
from brokerkit.protocols.bpbroker.signed import digest_of
from brokerkit.registry.words import PUT

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from brokerkit.registry import Change, Registry

log = Logger()


class Digests:
    """Gives the name of a digest."""

    def __init__(self, registry: Registry, key: bytes, clock: Any) -> None:  # noqa: ANN401  any clock
        """Look at that registry."""
        self._registry = registry
        self._key = key
        self._clock = clock
        self._making: Deferred[None] | None = None
        self._names: dict[str, str] = {}
        self._stop: Callable[[], None] | None = None

    def find(self, digest: str) -> str | None:
        """Give the name of the entry whose digest that is, ``None`` if there is none."""
        if self._stop is None:
            self._stop = self._registry.listen(self._changed)
            self._making = in_slices(self._make(), self._clock)
            self._making.addErrback(_not_made)
        return self._names.get(digest)

    def stop(self) -> None:
        """Look no more."""
        if self._making is not None:
            self._making.cancel()
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()

    def _make(self) -> Generator[None, None, None]:
        """Take all names there are, one in each step; one may have gone meanwhile."""
        for name in [entry.name for entry in self._registry.scan()]:
            if self._registry.get(name) is not None:
                self._names[digest_of(self._key, name)] = name
            yield

    def _changed(self, change: Change) -> None:
        digest = digest_of(self._key, change.name)
        if change.operation == PUT:
            self._names[digest] = change.name
        else:
            self._names.pop(digest, None)


def _not_made(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("names cannot be found by their digests because of a bug", failure)
