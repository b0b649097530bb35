"""WebSocket beneath a session: a connection that looks to the session like any other (RFC 6455, version 13).

What the messages hold is a stream of bytes; where one ends means nothing.  So nothing is collected: each piece goes to
the session as it comes.  A message may be text or binary, cut into frames and compressed; what is sent is binary, each
write one message.

The session stands on it from the beginning, so that a connection counts before it has agreed on anything; the session's
first words come when it has.  Backpressure goes through: the transport below asks the session's outbox to stop, and who
is not to be read from is not read from, nor is anything more inflated.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed
from zope.interface import implementer

from brokerkit.deflate import Messages
from brokerkit.errors import ClientError, ProtocolViolation, TooLarge, TooSlow
from brokerkit.tls import is_pinned
from brokerkit.upgrade import NotUpgraded, Request, Rules, Upgrade

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from brokerkit.session import Session

LINGER = 1.0  # seconds for the transport below to send what it has, when the peer has said goodbye
SLICE = 1024  # compressed bytes that are inflated before it is asked again whether to go on: they may become a megabyte
MOST = 64 * 1024 * 1024  # bytes of one message, whatever the payloads may be
_REASON = 123  # bytes of the text in a Close


@attrs.frozen
class Terms:
    """How WebSocket begins at one listener; ``limit`` is bytes of one message, ``timeout`` seconds for the request.

    ``pins`` are the digests of the keys that clients may have in TLS, any if there are none.
    """

    rules: Rules
    limit: int = MOST
    timeout: float = 2.0
    pins: frozenset[bytes] = frozenset()


@implementer(IPushProducer)
class _Gauge:
    """What a transport is given in the place of a session's outbox: it knows when the transport is full."""

    def __init__(self, producer: Any) -> None:  # noqa: ANN401  a push producer
        self._producer = producer
        self.full = False

    def pauseProducing(self) -> None:
        self.full = True
        self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self.full = False
        self._producer.resumeProducing()

    def stopProducing(self) -> None:
        self._producer.stopProducing()


@implementer(ITransport, IHandshakeListener)
class WebSocket(Protocol):
    """One connection: a protocol to the transport below, a transport to the session above.

    ``request`` is what it began with, ``None`` before that.
    """

    def __init__(self, session: Session, terms: Terms) -> None:
        """Stand beneath that session."""
        self.session = session
        self.request: Request | None = None
        self._terms = terms
        self._clock: Any = session.listener.clock
        self._upgrade: Upgrade | None = None
        self._frames: FrameProtocol | None = None  # from the request to the peer's goodbye
        self._unread = b""
        self._held = False
        self._gauge: _Gauge | None = None
        self._code = 0  # of the Close that is to be sent, where the session does not know why
        self._goodbye_said = False
        self._alarm: IDelayedCall | None = None

    # -- from the transport below -----------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Connect the session, which waits for the request."""
        session = self.session
        session.prelude = True
        session.makeConnection(self)  # type: ignore[no-untyped-call]
        self._upgrade = Upgrade(self._terms.rules, session.host)
        self._alarm = self._clock.callLater(self._terms.timeout, self._late)

    def handshakeCompleted(self) -> None:
        """Look at the certificate that was shown in TLS."""
        pins = self._terms.pins
        if pins and not is_pinned(self.getPeerCertificate(), pins):
            self.session.disagree("tls", "its certificate is none of those that are pinned")
            self.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """Take the request, or frames."""
        if self._upgrade is not None:
            self._open(self._upgrade, data)
        elif self._frames is not None:
            self._unread += data
            self._pull()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the session."""
        self._stop_alarm()
        self._upgrade = self._frames = None
        self._unread = b""
        self.session.connectionLost(reason)

    # -- the request ------------------------------------------------------------------------------------------------

    def _open(self, upgrade: Upgrade, data: bytes) -> None:
        """Go on to frames when the request is there, or answer what is wrong with it."""
        if self.session.closing:
            return
        try:
            request = upgrade.feed(data)
        except NotUpgraded as error:
            self._upgrade = None
            self._below.write(error.answer)
            self.session.disagree("websocket", str(error))
            return
        if request is not None:
            self._upgrade, self.request = None, request
            self._stop_alarm()
            self._begin(request)

    def _begin(self, request: Request) -> None:
        session = self.session
        self._frames = FrameProtocol(False, [Messages(self._terms.limit, deflate=request.deflate)])
        self._below.write(request.answer)
        if request.address:
            session.come_from(request.address)
        session.speak()
        session.expect()

    def _late(self) -> None:
        self._alarm = None
        self._upgrade = None
        self.session.disagree("websocket", "no request in time")

    def _stop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # -- frames -----------------------------------------------------------------------------------------------------

    def _pull(self) -> None:
        """Read what has come, as far as the session lets it."""
        while self._unread and self._frames is not None and not self._held:
            size = SLICE if self.request is not None and self.request.deflate else len(self._unread)
            data, self._unread = self._unread[:size], self._unread[size:]
            self._read(self._frames, data)

    def _read(self, frames: FrameProtocol, data: bytes) -> None:
        """Read some frames: what they hold goes to the session in one piece."""
        parts: list[bytes] = []
        control: dict[Opcode, Any] = {}  # the last frame of each kind
        problem: ParseFailed | None = None
        frames.receive_bytes(data)
        try:
            for frame in frames.received_frames():
                payload: Any = frame.payload
                if frame.opcode.iscontrol():
                    control[frame.opcode] = payload
                elif payload:
                    parts.append(payload.encode() if frame.opcode is Opcode.TEXT else payload)
        except ParseFailed as error:
            problem = error
        if Opcode.PING in control:
            self._pong(frames, control[Opcode.PING])
        if parts:
            self.session.dataReceived(parts[0] if len(parts) == 1 else b"".join(parts))
        if problem is not None:
            self._fail(problem)
        elif Opcode.CLOSE in control:
            self._said_goodbye(control[Opcode.CLOSE][0])

    def _pong(self, frames: FrameProtocol, ping: bytes) -> None:
        """Answer the last of several questions, unless the peer does not read: answers would pile up."""
        if not self._goodbye_said and not (self._gauge is not None and self._gauge.full):
            self._below.write(bytes(frames.pong(ping)))

    def _fail(self, problem: ParseFailed) -> None:
        """End what is no WebSocket, or has too large messages."""
        self._frames = None
        self._unread = b""
        self._code = problem.code
        error = TooLarge(None) if problem.code == CloseReason.MESSAGE_TOO_BIG else ProtocolViolation(None)
        error.why = f"WebSocket: {_WHY.get(problem.code, str(problem))}"
        with self.session.listener.broker.turn:
            self.session.refuse(error)
        if self._goodbye_said:
            self._hang_up()

    def _said_goodbye(self, code: int) -> None:
        """Say goodbye too, and hang up: nothing more comes, and nobody reads what is left."""
        self._frames = None
        self._unread = b""
        if not self._goodbye_said:
            self._say_goodbye(code)
        self._hang_up()

    def _say_goodbye(self, code: int, text: bytes = b"") -> None:
        self._goodbye_said = True
        payload = b"" if code == CloseReason.NO_STATUS_RCVD else struct.pack("!H", code) + text
        self._below.write(struct.pack("!BB", 0x88, len(payload)) + payload)

    def _hang_up(self) -> None:
        self._stop_alarm()
        self._alarm = self._clock.callLater(LINGER, self._cut)
        self._below.loseConnection()

    def _cut(self) -> None:
        self._alarm = None
        self._below.abortConnection()

    # -- what a transport is asked ----------------------------------------------------------------------------------

    @property
    def _below(self) -> Any:  # noqa: ANN401  any transport
        return self.transport

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever a transport has
        """Give what the transport below has: certificates, for example."""
        if name == "transport":  # before there is one
            raise AttributeError(name)
        return getattr(self.transport, name)

    def write(self, data: bytes) -> None:
        """Send as one message."""
        frames = self._frames
        if frames is None or self._goodbye_said:
            return
        if self.request is not None and self.request.deflate:
            self._below.write(bytes(frames.send_data(data)))
        else:
            self._below.write(_head(len(data)) + data)

    def writeSequence(self, iovec: Any) -> None:  # noqa: ANN401  ITransport's
        """Send as one message."""
        self.write(b"".join(iovec))

    def loseConnection(self) -> None:
        """Say goodbye, and hang up when the peer has said it too; the session does not wait for that forever."""
        if self._goodbye_said:
            return
        if self._frames is None and not self._code:  # it has not come to frames
            self._goodbye_said = True
            self._below.loseConnection()
            return
        self._say_goodbye(*self._why())
        self._held = False
        self._below.resumeProducing()
        if self._frames is None:
            self._hang_up()

    def _why(self) -> tuple[int, bytes]:
        """Give the code and the text of a Close: what the session ends by, if it ends by an error."""
        cause: Any = self.session.cause
        if self._code:
            return self._code, b""
        if not isinstance(cause, ClientError):
            return CloseReason.GOING_AWAY, b""
        text = (cause.reply or "").encode(errors="replace")[:_REASON].decode(errors="ignore").encode()
        found = next((code for kind, code in _CODES.items() if isinstance(cause, kind)), CloseReason.POLICY_VIOLATION)
        return found, text

    def abortConnection(self) -> None:
        """Cut the connection at once."""
        self._frames = self._upgrade = None
        self._unread = b""
        self._below.abortConnection()

    def pauseProducing(self) -> None:
        """Read no more for now."""
        self._held = True
        self._below.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again, first what has come already."""
        self._held = False
        if self._unread:
            self._clock.callLater(0, self._go_on)
        else:
            self._below.resumeProducing()

    def _go_on(self) -> None:
        if not self._held and self._frames is not None:
            self._pull()
            if not self._held and self.connected:
                self._below.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: ANN401  Twisted's
        """Have the transport below ask that producer to stop."""
        self._gauge = _Gauge(producer)
        self._below.registerProducer(self._gauge, streaming)

    def unregisterProducer(self) -> None:
        """Forget it."""
        self._gauge = None
        self._below.unregisterProducer()

    def getPeer(self) -> Any:  # noqa: ANN401  any address
        """Give the peer's address: the one that a trusted proxy speaks for, if there is one."""
        there: Any = self._below.getPeer()
        if self.request is None or not self.request.address:
            return there
        kind = IPv6Address if ":" in self.request.address else IPv4Address
        return kind("TCP", self.request.address, getattr(there, "port", 0))

    def getHost(self) -> Any:  # noqa: ANN401  any address
        """Give the broker's address."""
        return self._below.getHost()


_CODES: dict[type, CloseReason] = {
    TooLarge: CloseReason.MESSAGE_TOO_BIG,
    ProtocolViolation: CloseReason.PROTOCOL_ERROR,
    TooSlow: CloseReason.GOING_AWAY,
}
_WHY: dict[int, str] = {
    CloseReason.MESSAGE_TOO_BIG: "a message is too large",
    CloseReason.INVALID_FRAME_PAYLOAD_DATA: "a message is not what it says it is",
}


def _head(size: int) -> bytes:
    """Give the head of a binary message of one frame, not masked, as a server sends it."""
    if size <= 125:  # noqa: PLR2004  what fits into seven bits, but for two values
        return struct.pack("!BB", 0x82, size)
    if size <= 0xFFFF:  # noqa: PLR2004
        return struct.pack("!BBH", 0x82, 126, size)
    return struct.pack("!BBQ", 0x82, 127, size)
