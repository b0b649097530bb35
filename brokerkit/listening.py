"""A service with one port, which is open for as long as the service runs: what every listener is.

Ports below 1024 can be opened only while the program still has its privileges, so that comes first where the service
has a part in it; a service that is added to a running broker opens its port when it starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import maybeDeferred

from brokerkit.endpoints import explain_bind_failure, where_bound
from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort
    from twisted.python.failure import Failure


class Listening(Service):
    """Opens what ``begin`` begins to listen at; ``port`` is ``None`` while it does not listen."""

    port: IListeningPort | None = None

    def begin(self) -> tuple[Any, str]:
        """Begin to listen; give the Deferred of an endpoint, and how the place is called in an error message."""
        raise NotImplementedError

    def opened_port(self, port: IListeningPort) -> None:
        """Do what follows when the port is open."""

    @property
    def address(self) -> str:
        """Where it listens, as ``host:port``; empty while it does not."""
        return where_bound(self.port) if self.port is not None else ""

    def privilegedStartService(self) -> None:
        """Open the port; raise ``OperatorError`` if that fails."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        if self.port is None:
            self._open()

    def startService(self) -> None:
        """Open the port, if it is not open yet."""
        super().startService()  # type: ignore[no-untyped-call]
        if self.port is None:
            self._open()

    def _open(self) -> None:
        failures: list[Failure] = []
        opening, place = self.begin()
        opening.addCallbacks(self._opened, failures.append)
        if failures:
            raise OperatorError(explain_bind_failure(failures[0].value, place))

    def _opened(self, port: IListeningPort) -> None:
        self.port = port
        self.opened_port(port)

    async def shut(self) -> None:
        """Close the port; what came in by it is left alone."""
        port, self.port = self.port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
