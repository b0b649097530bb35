"""Who asks the modern API, what they may do, and how they write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from brokerkit.protocols.bpbroker import v1_reading as reading
from brokerkit.registry import Conflict, RegistryError
from brokerkit.registry.access import may
from brokerkit.web import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from brokerkit.client import Client
    from brokerkit.registry import Entry, Registry
    from brokerkit.registry.words import Operation
    from brokerkit.web import Asked

    Admit = Callable[[Asked], Awaitable[Client]]


T = TypeVar("T")


class Asker:
    """What all routes have in common.

    ``admit`` gives the client of a request, or raises ``Problem`` 401, 429 or 503; who gets it has to ``leave`` it.
    """

    def __init__(self, registry: Registry, admit: Admit) -> None:
        """Ask that registry, and that about who it is."""
        self.registry = registry
        self._admit = admit
        self._owners: set[str] = set()

    async def admit(self, asked: Asked) -> Client:
        """Give the client of a request."""
        return await self._admit(asked)

    async def allowed(self, asked: Asked, action: str, *names: str) -> str:
        """See that the action may be done with all the names, and give the name of who asks; raise ``Problem`` 403."""
        client = await self.admit(asked)
        try:
            for name in names:
                see(client, action, name)
            return client.user.name.decode(errors="replace")
        finally:
            client.leave()

    async def write(self, operations: Sequence[Operation], by: str, asked: Asked) -> Sequence[Entry | None]:
        """Write; raise ``Conflict``, or ``Problem`` for whatever else is in the way."""
        try:
            return await self.registry.write(operations, by, asked.address)
        except Conflict:
            raise
        except RegistryError as error:
            raise reading.problem(error) from None

    def owner(self, asked: Asked) -> str:
        """Give the owner of what is bound to the connection of a request: it ends when that does."""
        key = asked.connection.key
        if key not in self._owners:
            self._owners.add(key)
            asked.on_lost(lambda: self._gone(key))
        return key

    def _gone(self, key: str) -> None:
        self._owners.discard(key)
        self.registry.release(key).addErrback(lambda _: None)  # what cannot be taken away now goes at the next start


async def unless_gone(work: Deferred[T], undo: Callable[[T], object]) -> T:
    """Give what ``work`` gives; if who waits for it is cancelled first, it goes on, and is undone when it is done."""
    told: Deferred[T] = Deferred()

    def done(outcome: Any) -> None:  # noqa: ANN401  a T, or a Failure
        if not told.called:
            told.callback(outcome)
        elif not isinstance(outcome, Failure):
            undo(outcome)

    work.addBoth(done)
    return await told


def see(client: Client, action: str, name: str) -> None:
    """Raise ``Problem`` 403 unless a client may do that with an entry."""
    if not may(client, action, name):
        raise Problem(403, "Forbidden", f"{action} is not allowed for this name")
