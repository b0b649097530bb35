"""A service that listens with a ``Site`` at an endpoint, for any protocol that is HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from brokerkit.endpoints import tune
from brokerkit.listening import Listening

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint

    from brokerkit.web.site import Site

log = Logger()

GRACE = 2.0  # seconds that requests get to be answered when the listener stops
KEEPALIVE = 30  # seconds of silence after which the kernel asks whether the peer is there


class HttpListener(Listening):
    """Listens at ``endpoint`` with ``site``; ``text`` is how messages call the endpoint.

    ``protocol`` and ``address`` are what the table of listeners shows.
    """

    def __init__(self, site: Site, endpoint: IStreamServerEndpoint, text: str) -> None:
        """Take what to listen with; nothing is opened before the service starts."""
        self.site = site
        self.protocol = site.protocol_name
        self._endpoint = endpoint
        self._text = text

    def begin(self) -> tuple[Any, str]:
        """Begin to listen."""
        self.site.is_closing = False
        return self._endpoint.listen(self.site), self._text

    def opened_port(self, port: IListeningPort) -> None:
        """Set what connections inherit, and say where it is."""
        tune(port, KEEPALIVE)
        log.info("{protocol} listening on {address}", protocol=self.protocol, address=self.address)

    def stopService(self) -> Deferred[None]:
        """Listen no more, answer what was asked, and close every connection; done when all are gone."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.shut()
        await self.site.close(GRACE)
