"""What the monitoring looks at: the broker, what is remembered of it, and what it is called.

One view serves the pages and the requests of the system account, so both tell the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.protocols.nats.info import VERSION
from brokerkit.protocols.nats.monitor.memory import Memory
from brokerkit.protocols.nats.monitor.usage import Usage

if TYPE_CHECKING:
    from brokerkit.broker import Broker
    from brokerkit.listener import Listener

NATS = "nats"  # the protocol whose first listener is the one that a page can tell of


class View:
    """What pages and answers are made from."""

    def __init__(self, broker: Broker) -> None:
        """Look at that broker."""
        self.broker = broker
        self.memory = Memory(broker)
        self.usage = Usage()
        self.pages: dict[str, int] = {}  # how often each path was asked for
        self.monitors: list[Any] = []  # the services that listen for HTTP
        self.loaded_at: float = broker.started  # when the configuration was read
        self.digest = ""  # of the configuration, where it was a file

    @property
    def server_id(self) -> str:
        """The broker's name for itself among servers."""
        return self.broker.server_id

    @property
    def listener(self) -> Listener | None:
        """The first listener for NATS."""
        return next((one for one in self.broker.listeners if one.protocol == NATS), None)

    @property
    def settings(self) -> Any:  # noqa: ANN401  the class of a protocol
        """The settings of the first listener for NATS; without one, the defaults."""
        if self.listener is not None:
            return self.listener.settings
        from brokerkit.protocols.nats.session import Settings  # which needs this module, to attend to its broker

        return Settings()

    @property
    def server_name(self) -> str:
        """The name that INFO says."""
        return str(self.settings.server_name or self.broker.name)

    @property
    def version(self) -> str:
        """The version that INFO says."""
        return VERSION

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of the first listener for NATS, as far as there is one."""
        port = self.listener.port if self.listener is not None else None
        where: Any = port.getHost() if port is not None else None
        return getattr(where, "host", ""), getattr(where, "port", 0)

    def now(self) -> float:
        """Give the time, in seconds since 1970."""
        seconds: float = self.broker.reactor.seconds()
        return seconds

    @property
    def subscriptions(self) -> int:
        """All subscriptions, those of the broker's own parts too, as nats-server counts."""
        return sum(router.subscriptions for router in self.broker.realm.routers.values())
