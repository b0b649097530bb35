"""TLS above a TCP connection, without the waiting of Twisted's own.

Twisted's layer collects small writes until the next round of the reactor, and its transport does so again.  Who writes
here has collected already: a session writes once in a turn, and HTTP once for an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from brokerkit.straight import straight

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IListeningPort, IProtocolFactory
    from twisted.internet.protocol import Protocol

    from brokerkit.renewal import Served


class Layer(TLSMemoryBIOProtocol):
    """The TLS of one connection."""

    def makeConnection(self, transport: Any) -> None:  # noqa: ANN401  any transport
        """Stand above that transport."""
        super().makeConnection(straight(transport))  # type: ignore[no-untyped-call]


class LayerFactory(TLSMemoryBIOFactory):
    """Makes the server's side of TLS above each connection of a factory."""

    protocol = Layer

    def __init__(self, served: Served, factory: IProtocolFactory, clock: Any) -> None:  # noqa: ANN401  any clock
        """Stand before that factory."""
        super().__init__(served, False, factory, clock=clock)

    def layer(self, protocol: Protocol) -> Layer:
        """Give the TLS of one connection for a protocol that knows the connection already."""
        return Layer(self, protocol, False)  # type: ignore[no-untyped-call]


@implementer(IStreamServerEndpoint)
class Secured:
    """An endpoint with TLS above another one."""

    def __init__(self, below: IStreamServerEndpoint, served: Served, clock: Any) -> None:  # noqa: ANN401  any clock
        """Listen there."""
        self._below = below
        self._served = served
        self._clock = clock

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803  Twisted's name
        """Begin to listen, with TLS before each connection of the factory."""
        return self._below.listen(LayerFactory(self._served, protocolFactory, self._clock))
