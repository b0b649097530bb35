"""One connection of HTTP/1.1: twisted.web's channel and request, with our limits and clocks.

A request has to be there, whole, within a time that does not begin anew with each byte.  What is too large or too late
is told so, once, and then nothing more of it is kept.  While a request is being answered, no more than a few kilobytes
of the next are held.  A peer that does not read what it asked for is cut off when the time of an idle one is over.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

from twisted.web.http import RESPONSES, HTTPChannel, Request

from brokerkit.web.answer import Answer, Problem, Stream, in_one_line
from brokerkit.web.asked import Asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from brokerkit.web.site import Site

LINGER = 1.0  # seconds that a refused peer gets to read why, before the connection is closed
GRACE = 5.0  # seconds that a closed connection gets to take its last bytes
PIECES = 64  # chunks of what comes too early that are kept apart
DIGITS = 18  # of a Content-Length
WITHOUT_BODY = frozenset({204, 304})

_numbers = count(1)


class Connection(HTTPChannel):
    """One connection; ``key`` is a word that no other connection of this process has."""

    abortTimeout = None  # type: ignore[assignment]
    timeOut = None  # twisted's own clock begins anew with each byte

    def __init__(self, site: Site, host: str) -> None:
        """Belong to that site; ``host`` is the peer's address, empty if it has none."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.site = site
        self.host = host
        self.key = f"connection {next(_numbers)}"
        self.requestFactory = self._exchange  # type: ignore[assignment]
        self.MAX_LENGTH = self.totalHeadersSize = site.bounds.head_bytes
        self.inside = False
        self.refused = False
        self._begun = False  # a request has begun to come
        self._moment = float("inf")
        self._alarm: IDelayedCall | None = None
        self._closing = False
        self._untaken: Exchange | None = None  # whose answer waits to be taken
        self._lost: dict[object, Callable[[], None]] = {}
        self._receive: Callable[[bytes], None] | None = None  # what speaks here now, in place of HTTP

    def _exchange(self, _: object, queued: int = 0) -> Exchange:  # noqa: ARG002  twisted.web gives it
        return Exchange(self)

    # -- beginning and end --------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Let it in, or say that there is no room."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.inside = self.site.opened(self)
        if self.inside:
            self._within(self.site.bounds.head)
        else:
            self.refuse(503, "Too Many Connections", "try again later")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Tell everybody who waits for it."""
        self._moment = float("inf")
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        self._alarm = None
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.site.closed(self)
        lost, self._lost = self._lost, {}
        for call in lost.values():
            call()

    def on_lost(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have ``call`` called when the connection ends; gives what takes that back."""
        key = object()
        self._lost[key] = call

        def forget() -> None:
            self._lost.pop(key, None)

        return forget

    def close(self) -> None:
        """Close it in order: what is unsent still goes, for a while."""
        if not self._closing:
            self._closing = True
            self.loseConnection()
            self._within(GRACE)

    def cut(self) -> None:
        """Close it at once."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return bool(self._handlingRequest)

    # -- time ---------------------------------------------------------------------------------------------------------

    def _within(self, seconds: float) -> None:
        """Go on within so many seconds; nought: no matter when."""
        clock = self.site.clock
        self._moment = clock.seconds() + seconds if seconds else float("inf")
        if not seconds:
            return
        if self._alarm is None or not self._alarm.active():
            self._alarm = clock.callLater(seconds, self._ring)
        elif self._alarm.getTime() > self._moment:
            self._alarm.reset(seconds)

    def _ring(self) -> None:
        self._alarm = None
        left = self._moment - self.site.clock.seconds()
        if left == float("inf"):
            return
        if left > 0:
            self._alarm = self.site.clock.callLater(left, self._ring)
        elif self._closing:
            self.cut()
        elif self._begun and not self.refused:
            self.refuse(408, "Request Timeout", "the request did not get on")
        else:
            self.close()

    # -- reading ------------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Read on."""
        if self._receive is not None:
            self._receive(data)
            return
        if self.refused:
            return
        if not self._begun and not self._handlingRequest:
            self._begun = True
            self._within(self.site.bounds.head)
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        """Take a line of the head."""
        if self.refused:
            return
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self.lineLengthExceeded(line)
            return
        super().lineReceived(line)  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002  twisted gives it
        """Say which part of the head is too long."""
        if self._receivedHeaderSize:
            self.refuse(431, "Request Header Fields Too Large")
        else:
            self.refuse(414, "URI Too Long")

    def headerReceived(self, line: bytes) -> bool:
        """Take a header; a length of thousands of digits is none."""
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and len(value.strip()) > DIGITS:
            self._respondToBadRequestAndDisconnect()
            return False
        return bool(super().headerReceived(line))  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:
        """Give the body its own time."""
        self._within(self.site.bounds.body)
        super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def rawDataReceived(self, data: bytes) -> None:
        """Take a piece of the body, or hold what comes too early in few pieces."""
        if self._receive is not None:
            self._receive(data)
            return
        if self.refused:
            return
        super().rawDataReceived(data)
        if len(self._dataBuffer) > PIECES:
            self._dataBuffer = [b"".join(self._dataBuffer)]
        if self._waitingForTransport and sum(map(len, self._dataBuffer)) > self._optimisticEagerReadSize:
            self._networkProducer.pauseProducing()  # twisted.web takes it for paused already

    def hand_over(self, receive: Callable[[bytes], None]) -> None:
        """Speak HTTP no more: what comes goes to ``receive``, first what has come too early."""
        self._receive = receive
        early, self._dataBuffer = b"".join(self._dataBuffer), []
        self._networkProducer.resumeProducing()
        if early:
            receive(early)

    def requestDone(self, request: Exchange) -> None:
        """Wait for the next request, or close."""
        self._begun = False
        self._within(self.site.bounds.idle)
        if not self.persistent:
            self._closing = True
            self._within(GRACE)
        elif self._waitingForTransport:  # no further answer for one who does not take this one
            self._untaken = request
            self._networkProducer.pauseProducing()
            return
        super().requestDone(request)  # type: ignore[no-untyped-call]

    def resumeProducing(self) -> None:
        """Go on: what was written has been taken."""
        super().resumeProducing()  # type: ignore[no-untyped-call]
        untaken, self._untaken = self._untaken, None
        if untaken is not None:
            self.requestDone(untaken)

    def answering(self) -> None:
        """Stop the clock: the request is there."""
        self._within(0)

    def refuse(self, status: int, title: str, detail: str = "") -> None:
        """Answer what cannot be read on, keep nothing more of it, and close when that could have been read."""
        if self.refused:
            return
        self.refused = True
        self.persistent = 0
        self.clearLineBuffer()
        self.site.count(status)
        answer = self.site.shaped(Problem(status, title, detail), getattr(self, "_path", b"").partition(b"?")[0])
        self.write(head(b"HTTP/1.1", answer, self.site.date(), persistent=False) + answer.body)
        self._within(LINGER)

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(400, "Bad Request")

    def _send100Continue(self) -> None:
        if not self.refused:
            super()._send100Continue()  # type: ignore[no-untyped-call]


class Exchange(Request):
    """One request and its answer."""

    channel: Connection

    def __init__(self, channel: Connection) -> None:
        """Belong to that connection."""
        super().__init__(channel)
        self._body = bytearray()
        self._unneeded: Any = None

    def parseCookies(self) -> None:
        """Nobody needs them."""

    def gotLength(self, length: int | None) -> None:
        """See that the body is not too large before any of it is read."""
        if length is not None and length > self.channel.site.bounds.body_bytes:
            self._too_large()

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a piece of the body."""
        if len(self._body) + len(data) > self.channel.site.bounds.body_bytes:
            self._too_large()
        elif not self.channel.refused:
            self._body += data

    def _too_large(self) -> None:
        most = self.channel.site.bounds.body_bytes
        self._body.clear()
        self.channel.refuse(413, "Content Too Large", f"a body may have {most} bytes")

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Ask the site for an answer."""
        connection = self.channel
        if connection.refused:
            return
        self.method, self.uri, self.clientproto = command, path, version
        connection.answering()
        before, _, query = path.partition(b"?")
        asked = Asked(
            command.decode("latin-1"),
            path,
            before,
            query,
            self.requestHeaders,
            bytes(self._body),
            connection.host,
            connection,
        )
        self._body.clear()
        connection.site.answer(asked, self)

    def connectionLost(self, reason: Failure) -> None:
        """Nobody waits for the answer any more."""
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        unneeded, self._unneeded = self._unneeded, None
        if unneeded is not None:
            unneeded()

    def when_unneeded(self, call: Callable[[], None]) -> None:
        """Have ``call`` called if the connection ends before the answer has."""
        self._unneeded = call

    def respond(self, answer: Answer | Stream) -> None:
        """Send an answer."""
        if self._disconnected or self.finished:
            return
        self._unneeded = None
        if self.channel.site.finish is not None:
            answer = self.channel.site.finish(answer, self.requestHeaders, self.channel)
        self.code = answer.status
        self.channel.site.count(answer.status)
        if isinstance(answer, Stream):
            self._stream(answer)
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        connection = self.channel
        if answer.close or connection.site.is_closing:
            connection.persistent = 0
        data = head(self.clientproto, answer, connection.site.date(), persistent=bool(connection.persistent))
        if self.method != b"HEAD" and answer.status not in WITHOUT_BODY:
            data += answer.body
        self.startedWriting = 1
        connection.write(data)
        self.finish()

    def _stream(self, answer: Stream) -> None:
        connection = self.channel
        if answer.receive is not None:
            self._hand_over(answer, answer.receive)
            return
        chunked = self.clientproto == b"HTTP/1.1"
        if not chunked:
            connection.persistent = 0
        headers = {"content-type": "application/octet-stream", **answer.headers}
        if chunked:
            headers["transfer-encoding"] = "chunked"
        whole = Answer(answer.status, b"", headers, answer.reason)
        self.startedWriting = 1
        persistent = bool(connection.persistent)
        connection.write(head(self.clientproto, whole, connection.site.date(), persistent=persistent, length=False))
        if self.method == b"HEAD":
            self.finish()
            return
        self.chunked = int(chunked)
        answer.start(_Flow(self, chunked=chunked))

    def _hand_over(self, answer: Stream, receive: Callable[[bytes], None]) -> None:
        """Answer that it is another protocol from here on."""
        connection = self.channel
        whole = Answer(answer.status, b"", answer.headers, answer.reason)
        self.startedWriting = 1
        connection.write(head(self.clientproto, whole, connection.site.date(), persistent=True, length=False))
        connection.persistent = 0
        answer.start(_Flow(self, chunked=False))
        connection.hand_over(receive)

    def finish(self) -> None:
        """End the answer."""
        if not (self._disconnected or self.finished):
            super().finish()  # type: ignore[no-untyped-call]


class _Flow:
    """The ``Sink`` of one stream; to the transport it is a producer."""

    def __init__(self, exchange: Exchange, *, chunked: bool) -> None:
        self.full = False
        self.room: Callable[[], None] | None = None
        self.lost: Callable[[], None] | None = None
        self._exchange: Exchange | None = exchange
        self._chunked = chunked
        self._forget = exchange.channel.on_lost(self._gone)
        exchange.registerProducer(self, streaming=True)

    def write(self, data: bytes) -> None:
        if self._exchange is not None and data:
            piece = b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data
            self._exchange.channel.write(piece)

    def finish(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._forget()
            exchange.unregisterProducer()
            exchange.finish()

    def cut(self) -> None:
        if self._exchange is not None:
            self._exchange.channel.cut()

    def _gone(self) -> None:
        self._exchange = None
        if self.lost is not None:
            self.lost()

    # -- what the transport asks --------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full = False
        if self._exchange is not None and self.room is not None:
            self.room()

    def stopProducing(self) -> None:
        pass


@lru_cache(maxsize=256)
def _name(name: str) -> bytes:
    return in_one_line(name.title())


def _usual(status: int) -> bytes:
    phrase: bytes = RESPONSES.get(status, b"Unknown")
    return phrase


def head(version: bytes, answer: Answer, date: bytes, *, persistent: bool, length: bool = True) -> bytes:
    """Give the head of an answer, up to the empty line; nothing in it can be more than one line."""
    reason = in_one_line(answer.reason) if answer.reason else _usual(answer.status)
    first = b"HTTP/1.1" if version == b"HTTP/1.1" else b"HTTP/1.0"
    lines = [b"%b %d %b\r\nServer: brokerkit\r\nDate: %b" % (first, answer.status, reason, date)]
    given = {name.lower(): value for name, value in answer.headers.items()}
    if "content-type" not in given and (answer.body or (length and answer.status not in WITHOUT_BODY)):
        lines.append(b"Content-Type: application/json")
    lines += [_name(name) + b": " + in_one_line(value) for name, value in given.items()]
    if length and answer.status not in WITHOUT_BODY:
        lines.append(b"Content-Length: %d" % len(answer.body))
    if not persistent:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"
