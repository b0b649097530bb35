"""The listener of the monitoring pages: twisted.web behind an endpoint, with few connections and no password.

Whatever else a listener can be told has no meaning here, and is refused rather than ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.server import Site

from brokerkit.config import Listen
from brokerkit.endpoints import opening, said
from brokerkit.entrance import Entrance, read_networks
from brokerkit.errors import ConfigError, Words
from brokerkit.listening import Listening
from brokerkit.protocols.nats.monitor.site import tree
from brokerkit.protocols.nats.system.account import attend
from brokerkit.tls import clients

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IListeningPort

    from brokerkit.broker import Broker

log = Logger()

IDLE = 30.0  # seconds after which a silent connection is closed
_MEANT = ("protocol", "endpoint", "settings", "networks", "client_ca", "client_certificate")


def _is_path(_: object, attribute: attrs.Attribute[str], text: str) -> None:
    if text and (not text.startswith("/") or not text.isascii() or not text.isprintable() or " " in text):
        raise ValueError(f"{attribute.name}: a path such as /monitoring")


@attrs.frozen
class Settings:
    """What the pages can be told: the path above them, and how many may look at a time."""

    http_base_path: str = attrs.field(default="", validator=_is_path)
    max_connections: int = 64


class Monitor(Listening):
    """The pages at one endpoint."""

    def __init__(self, broker: Broker, listen: Listen, settings: Settings) -> None:
        """Take where to listen; raise ``ConfigError`` for what makes no sense here."""
        _refuse_others(listen)
        here = said(listen.endpoint, listen.protocol)
        if here.mode:
            raise ConfigError(listen.protocol, "endpoint", listen.endpoint, "no mode=, since nobody publishes here")
        networks = read_networks(here.networks or listen.networks, listen.protocol)
        found = opening(listen.endpoint, broker.reactor, listen.protocol, clients(listen), broker.renewal)
        self.secure = found.served is not None
        self.base_path = settings.http_base_path.rstrip("/")
        self.entrance = Entrance(listen.protocol, networks, settings.max_connections, 0, broker.reactor)
        self._endpoint = found.whole
        self._listen = listen
        view = attend(broker).view
        root = tree(view, self.base_path, broker.reactor)
        site = Pages(root, timeout=IDLE, reactor=broker.reactor)  # type: ignore[no-untyped-call]
        self._door = Door(self.entrance, site)
        view.monitors.append(self)

    @property
    def place(self) -> tuple[str, int]:
        """Host and port; of no port while it does not listen."""
        where: Any = self.port.getHost() if self.port is not None else None
        return getattr(where, "host", ""), getattr(where, "port", 0)

    def begin(self) -> tuple[Any, str]:
        """Begin to listen at the endpoint."""
        return self._endpoint.listen(self._door), self._listen.endpoint

    def opened_port(self, port: IListeningPort) -> None:  # noqa: ARG002
        """Say where the pages are."""
        scheme = "https" if self.secure else "http"
        log.info("nats-monitor listening on {scheme}://{address}", scheme=scheme, address=self.address)

    def stopService(self) -> Deferred[None]:
        """Close the port and the connections."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.shut()
        self._door.cut()


def _refuse_others(listen: Listen) -> None:
    """Raise ``ConfigError`` for a key that other listeners have, and this one cannot follow."""
    for field in attrs.fields(Listen):
        if field.name not in _MEANT and getattr(listen, field.name) != field.default:
            raise ConfigError(
                listen.protocol, field.name, Words("a value"), "nothing: pages of monitoring have no such"
            )


class Door(WrappingFactory):
    """Stands before the pages: lets in as many connections as there may be, from where they may come."""

    noisy = False

    def __init__(self, entrance: Entrance, site: Site) -> None:
        """Let in to that site."""
        super().__init__(site)  # type: ignore[no-untyped-call]
        self._entrance = entrance

    def buildProtocol(  # type: ignore[override]  # which may give nothing, by Factory's own word
        self, addr: IAddress | None
    ) -> ProtocolWrapper | None:
        """Give the protocol of a new connection; nothing, and it is closed, where there is no room for it."""
        host = getattr(addr, "host", "")
        if self._entrance.turns_away(host, 0) or not self._entrance.enter(host):
            return None
        return super().buildProtocol(addr)

    def unregisterProtocol(self, p: ProtocolWrapper) -> None:
        """Take note that a connection is gone."""
        super().unregisterProtocol(p)  # type: ignore[no-untyped-call]
        self._entrance.leave(getattr(p.getPeer(), "host", ""))

    def cut(self) -> None:
        """Cut all connections."""
        for connection in list(self.protocols):
            connection.abortConnection()


class Pages(Site):
    """The site, without a log line for each request: who watches does so every few seconds."""

    noisy = False

    def log(self, request: Any) -> None:  # noqa: ANN401  twisted.web's own
        """Log nothing."""
