"""TLS that begins in the midst of a connection, for protocols in which the broker speaks first.

Such a protocol says in plain text that it wants TLS, and the peer then begins the handshake; there is no word for it,
the first byte decides.  So a ``Securing`` stands between the socket and the session until that byte is there.  Then
either TLS takes its place, with the session on top of it, or the session itself does, and a plain connection costs
nothing more than if there were no TLS here.

Who does not agree is hung up on without a word: what could be said would be taken for something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from zope.interface import implementer

from brokerkit.tls import is_pinned

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from brokerkit.listener import Listener
    from brokerkit.session import Session

AFTER, FIRST, AUTO = "after-info", "first", "auto"  # when TLS begins: after the broker's first words, before, or either
WAYS = (AFTER, FIRST, AUTO)
HELLO = 0x16  # the first byte of a peer that begins TLS: a record of its handshake


@attrs.frozen
class Terms:
    """How TLS begins at one listener: ``served`` makes the connections of OpenSSL; times are in seconds.

    With ``plain`` a peer may also go on without TLS.  The handshake has to be done within ``timeout``.  Where both ways
    are open (``AUTO``), a peer that has said nothing for ``fallback`` hears the first words.  ``pins`` are the digests
    of the keys that clients may have, any if there are none.
    """

    served: Any
    way: str = AFTER
    plain: bool = False
    timeout: float = 2.0
    fallback: float = 0.05
    pins: frozenset[bytes] = frozenset()


class Layers:
    """What makes the TLS of each connection of one listener."""

    def __init__(self, listener: Listener, terms: Terms) -> None:
        """Prepare it."""
        # Imported here: it is slow to load, and only TLS needs it.
        from brokerkit.tls_layer import LayerFactory

        self._factory = LayerFactory(terms.served, listener.factory, listener.clock)

    def above(self, transport: Any, protocol: Protocol) -> Any:  # noqa: ANN401  any transport; TLS
        """Put TLS above a connection, and beneath a protocol that knows the connection already."""
        layer: Any = self._factory.layer(protocol)
        transport.protocol = layer
        layer.makeConnection(transport)
        return layer


@implementer(IHandshakeListener)
class Securing(Protocol):
    """The beginning of one connection."""

    def __init__(self, session: Session, terms: Terms, layers: Layers) -> None:
        """Stand before that session."""
        self.session = session
        self._terms = terms
        self._layers = layers
        self._clock: Any = session.listener.clock
        self._layer: Any = None
        self._spoken = False
        self._alarm: IDelayedCall | None = None
        self._silence: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Have the session say its first words, or wait for those of the peer."""
        terms, session = self._terms, self.session
        session.prelude = True
        session.makeConnection(self.transport)  # type: ignore[no-untyped-call]
        self._alarm = self._clock.callLater(terms.timeout, self._late)
        if terms.way == AFTER:
            self._speak()
        elif terms.way == AUTO:
            self._silence = self._clock.callLater(terms.fallback, self._still_silent)

    def dataReceived(self, chunk: bytes) -> None:
        """See what the first byte says; a session that is closing has nothing more to agree upon."""
        session = self.session
        if session.closing:
            session.dataReceived(chunk)
        elif self._layer is not None:
            session.disagree("tls", "data before the end of the handshake")
        elif chunk[0] == HELLO:
            self._stop_waiting_for_silence()
            self._layer = self._layers.above(self.transport, self)
            self._layer.dataReceived(chunk)
        elif self._terms.plain:
            self._still_silent()
            self._stay_plain()
            session.dataReceived(chunk)
        else:
            self._stop()
            session.disagree("tls", "it did not begin TLS")

    def handshakeCompleted(self) -> None:
        """Put the session on top of TLS."""
        self._stop()
        session, layer = self.session, self._layer
        if self._terms.pins and not is_pinned(layer.getPeerCertificate(), self._terms.pins):
            session.disagree("tls", "its certificate is none of those that are pinned")
            layer.abortConnection()
            return
        layer.wrappedProtocol = session
        if not session.move(layer):
            return
        self._speak()
        session.expect()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the session."""
        self._stop()
        self.session.connectionLost(reason)

    def _still_silent(self) -> None:
        """Speak first, in plain text."""
        self._stop_waiting_for_silence()
        if self._terms.way == AUTO:
            self._speak()

    def _speak(self) -> None:
        if not self._spoken:
            self._spoken = True
            self.session.speak()

    def _stay_plain(self) -> None:
        """Let go of a connection that goes on as it is."""
        self._stop()
        self.transport.protocol = self.session  # type: ignore[union-attr]
        self.session.expect()

    def _late(self) -> None:
        """End the waiting: where TLS need not be, silence is plain text too."""
        self._alarm = None
        if self._terms.plain and self._layer is None and not self.session.closing:
            self._stay_plain()
        else:
            self._stop()
            self.session.disagree("tls", "no handshake in time")

    def _stop_waiting_for_silence(self) -> None:
        if self._silence is not None:
            self._silence.cancel() if self._silence.active() else None
            self._silence = None

    def _stop(self) -> None:
        self._stop_waiting_for_silence()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
