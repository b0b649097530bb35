"""The plugin: pages over HTTP as a protocol of their own, with an endpoint of its own.

``twistd --help`` loads it, so what it stands for is imported when it is asked for.
"""

from __future__ import annotations

from typing import Any

from twisted.plugin import IPlugin
from zope.interface import implementer

from brokerkit.interfaces import IProtocolPlugin


@implementer(IPlugin, IProtocolPlugin)
class NatsMonitor:
    """nats-server's monitoring pages; there is no password, so they are opened only where somebody asks for them."""

    name = "nats-monitor"
    description = "nats-server's monitoring pages, over HTTP without a password"
    default = "tcp:port=8222:interface=127.0.0.1"
    by_itself = False

    def settings(self) -> Any:  # noqa: ANN401  a class
        """Give the class of settings."""
        from brokerkit.protocols.nats.monitor.service import Settings

        return Settings

    def service(self, broker: Any, listen: Any) -> Any:  # noqa: ANN401  a Broker, a Listen, an IService
        """Give the service that listens."""
        from brokerkit.protocols.nats.monitor.service import Monitor

        return Monitor(broker, listen, listen.settings if listen.settings is not None else self.settings()())

    def caller(self, name: str, secret: str) -> None:  # noqa: ARG002  there is nothing to publish to
        """Give nothing: nobody publishes here."""
        return
