"""One connection of HTTP/1.1, with limits and clocks: it reads requests one after the other.

A request has to be there, whole, within a time that does not begin anew with each byte.  What is too large, too late or
no request is told so, once, and then nothing more is kept.  While a request is being answered, no more than a few
kilobytes of the next are held, and who sends many at once waits for the others in between.  A peer that does not read
what it asked for is cut off when the time of an idle one is over.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from brokerkit.straight import straight
from brokerkit.web.answer import Problem
from brokerkit.web.answer_head import answer_head
from brokerkit.web.asked import Asked
from brokerkit.web.chunks import Chunks
from brokerkit.web.exchange import Exchange
from brokerkit.web.head import Head, NoRequest, read_head

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from brokerkit.web.flow import Flow
    from brokerkit.web.site import Site

LINGER = 1.0  # seconds that a refused peer gets to read why, before the connection is closed
GRACE = 5.0  # seconds that a closed connection gets to take its last bytes
ROUND = 32  # requests that are read before the others' turn comes
EARLY = 16 * 1024  # bytes of further requests that are held while one is being answered
NEVER = float("inf")
END = b"\r\n\r\n"

_numbers = count(1)


@implementer(IPushProducer)
class Connection(Protocol):
    """One connection; ``key`` is a word that no other connection of this process has.

    ``persistent`` says that it stays open behind the answer that is under way, ``full`` that the peer does not take
    what was written.  ``flow`` is the stream that is under way.
    """

    def __init__(self, site: Site, host: str) -> None:
        """Belong to that site; ``host`` is the peer's address, empty if it has none."""
        self.site = site
        self.host = host
        self.key = f"connection {next(_numbers)}"
        self.inside = False
        self.refused = False
        self.persistent = True
        self.full = False
        self.flow: Flow | None = None
        self.write: Callable[[bytes], None]
        self._held = bytearray()
        self._looked = 0  # bytes of it that have no end of a head in them
        self._head: Head | None = None  # of the request whose body is being read
        self._body = bytearray()
        self._chunks: Chunks | None = None
        self._exchange: Exchange | None = None  # what is being answered
        self._reading = False
        self._begun = False  # a request has begun to come
        self._moment = NEVER
        self._alarm: IDelayedCall | None = None
        self._later: IDelayedCall | None = None  # goes on with what is held
        self._closing = False
        self._lost: dict[object, Callable[[], None]] = {}
        self._receive: Callable[[bytes], None] | None = None  # what speaks here now, in place of HTTP

    # -- beginning and end --------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Let it in, or say that there is no room."""
        transport: Any = self.transport
        self.write = straight(transport).write
        transport.registerProducer(self, True)
        self.inside = self.site.opened(self)
        if self.inside:
            self._within(self.site.bounds.head)
        else:
            self.refuse(503, "Too Many Connections", "try again later")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002
        """Tell everybody who waits for it."""
        self._moment = NEVER
        if self._alarm is not None and self._alarm.active():
            self._alarm.cancel()
        if self._later is not None:
            self._later.cancel()
        self._alarm = self._later = None
        self._held.clear()
        self._body.clear()
        self._closing = True
        self.write = _nowhere
        self.site.closed(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost()
        flow, self.flow = self.flow, None
        if flow is not None:
            flow.gone()
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
            transport: Any = self.transport
            transport.unregisterProducer()
            transport.loseConnection()
            self._within(GRACE)

    def cut(self) -> None:
        """Close it at once."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self._exchange is not None

    # -- time ---------------------------------------------------------------------------------------------------------

    def _within(self, seconds: float) -> None:
        """Go on within so many seconds; nought: no matter when."""
        clock = self.site.clock
        self._moment = clock.seconds() + seconds if seconds else NEVER
        if not seconds:
            return
        if self._alarm is None or not self._alarm.active():
            self._alarm = clock.callLater(seconds, self._ring)
        elif self._alarm.getTime() > self._moment:
            self._alarm.reset(seconds)

    def _ring(self) -> None:
        self._alarm = None
        left = self._moment - self.site.clock.seconds()
        if left == NEVER:
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
        elif not self.refused and not self._closing:
            self._held += data
            self._read()

    def _read(self) -> None:
        """Take one request after the other from what is held, as long as no answer has to be waited for."""
        if self._reading:
            return
        self._reading = True
        try:
            for _ in range(ROUND):
                if not (self._may_read and self._step()):
                    break
            else:
                self._later = self.site.clock.callLater(0, self._next_round)
        except NoRequest as problem:
            self.refuse(400, "Bad Request", str(problem))
        finally:
            self._reading = False
        if self._exchange is not None or self.full or self._later is not None:
            if len(self._held) > EARLY:
                self.transport.pauseProducing()  # type: ignore[union-attr]
        elif self._held and not self._begun and not self._closing:
            self._begin()

    @property
    def _may_read(self) -> bool:
        waits = self._exchange is not None or self._later is not None or self.full
        return bool(self._held) and not (waits or self.refused or self._closing)

    def _next_round(self) -> None:
        self._later = None
        self._go_on()

    def _begin(self) -> None:
        """Start the clock: a request has begun to come, and is not all there."""
        self._begun = True
        self._within(self.site.bounds.head)

    def _step(self) -> bool:
        """Read a head or some of a body; say whether there may be more to read."""
        head = self._head
        if head is None:
            return self._read_head()
        room = self.site.bounds.body_bytes
        if self._chunks is not None:
            if not self._chunks.read(self._held, self._body, room):
                self._too_large()
            elif self._chunks.done:
                self._ask(head, bytes(self._body))
                return True
            return False
        assert head.length is not None  # noqa: S101  or it would come in chunks
        part = head.length - len(self._body)
        self._body += self._held[:part]
        del self._held[:part]
        if len(self._body) < head.length:
            return False
        self._ask(head, bytes(self._body))
        return True

    def _read_head(self) -> bool:
        held = self._held
        while held.startswith(b"\r\n"):  # as some clients have it behind a body
            del held[:2]
        end = held.find(END, self._looked)
        most = self.site.bounds.head_bytes
        if not 0 <= end <= most:
            self._looked = max(0, len(held) - len(END) + 1)
            if len(held) > most:
                self._head_too_large()
            return False
        head = read_head(bytes(held[:end]))
        del held[: end + len(END)]
        self._looked = 0
        if head.length == 0:
            self._ask(head, b"")
        elif head.length is not None and head.length <= len(held):
            self._whole(head, head.length)
        else:
            self._wait_for_body(head)
        return True

    def _whole(self, head: Head, length: int) -> None:
        """Answer a request whose body has come with its head."""
        if length > self.site.bounds.body_bytes:
            self._head = head
            self._too_large()
            return
        body = bytes(self._held[:length])
        del self._held[:length]
        self._ask(head, body)

    def _wait_for_body(self, head: Head) -> None:
        """Give the body its own time."""
        self._head = head
        self._chunks = Chunks() if head.length is None else None
        if head.length is not None and head.length > self.site.bounds.body_bytes:
            self._too_large()
            return
        self._begun = True
        self._within(self.site.bounds.body)
        if head.waits and not self._held:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _head_too_large(self) -> None:
        """Say which part of the head is too long."""
        if b"\r\n" in self._held[: self.site.bounds.head_bytes]:
            self.refuse(431, "Request Header Fields Too Large")
        else:
            self.refuse(414, "URI Too Long")

    def _too_large(self) -> None:
        self.refuse(413, "Content Too Large", f"a body may have {self.site.bounds.body_bytes} bytes")

    def _ask(self, head: Head, body: bytes) -> None:
        """Ask the site for an answer; no clock runs against the peer meanwhile."""
        self._head = self._chunks = None
        if self._body:
            self._body = bytearray()
        self._moment = NEVER
        self.persistent = head.persistent
        exchange = self._exchange = Exchange(self, head)
        path, _, query = head.target.partition(b"?")
        asked = Asked(head.method.decode("latin-1"), head.target, path, query, head.headers, body, self.host, self)
        self.site.answer(asked, exchange)

    def hand_over(self, receive: Callable[[bytes], None]) -> None:
        """Speak HTTP no more: what comes goes to ``receive``, first what has come too early."""
        self._receive = receive
        early = bytes(self._held)
        self._held.clear()
        self.transport.resumeProducing()  # type: ignore[union-attr]
        if early:
            receive(early)

    # -- answering ----------------------------------------------------------------------------------------------------

    def answered(self, exchange: Exchange) -> None:
        """Wait for the next request, or close."""
        if self._exchange is not exchange:
            return
        self._exchange = None
        self._begun = False
        if not self.persistent:
            self.close()
            return
        self._within(self.site.bounds.idle)
        self._go_on()

    def _go_on(self) -> None:
        """Read the requests that have come too early, unless the peer does not take the answers."""
        if self._held and not self.full and not self._reading and not self._closing:
            self.transport.resumeProducing()  # type: ignore[union-attr]
            self._read()

    def pauseProducing(self) -> None:
        """Take note that the peer does not take what is written."""
        self.full = True
        if self.flow is not None:
            self.flow.paused()

    def resumeProducing(self) -> None:
        """Go on: what was written has been taken."""
        self.full = False
        if self.flow is not None:
            self.flow.resumed()
        elif self._exchange is None:
            self._go_on()

    def stopProducing(self) -> None:
        """Do nothing: that the connection is gone is told elsewhere."""

    def refuse(self, status: int, title: str, detail: str = "") -> None:
        """Answer what cannot be read on, keep nothing more of it, and close when that could have been read."""
        if self.refused:
            return
        self.refused = True
        self.persistent = False
        answer = self.site.shaped(Problem(status, title, detail), self._path())
        self._held.clear()
        self._body = bytearray()
        self.site.count(status)
        self.write(answer_head(b"HTTP/1.1", answer, self.site.date(), persistent=False) + answer.body)
        self._within(LINGER)

    def _path(self) -> bytes:
        """Give the path that is asked for, as far as that is known: it says in which shape a problem is told."""
        words = bytes(self._held[: self.site.bounds.head_bytes]).partition(b"\r\n")[0].split(b" ")
        target = self._head.target if self._head is not None else words[1] if len(words) > 1 else b""
        return target.partition(b"?")[0]


def _nowhere(data: bytes) -> None:
    """Drop what is written to a connection that is gone."""
