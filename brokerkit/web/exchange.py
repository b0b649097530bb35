"""One request and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.web.answer import Answer, Stream
from brokerkit.web.answer_head import WITHOUT_BODY, answer_head
from brokerkit.web.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.web.connection import Connection
    from brokerkit.web.head import Head

JOINED = 64 * 1024  # bytes of a body that are copied to go out with the head


class Exchange:
    """A request that has been read to its end, and is to be answered once."""

    __slots__ = ("_answered", "_unneeded", "connection", "head")

    def __init__(self, connection: Connection, head: Head) -> None:
        """Wait for the answer to that request."""
        self.connection = connection
        self.head = head
        self._answered = False
        self._unneeded: Callable[[], None] | None = None

    def when_unneeded(self, call: Callable[[], None]) -> None:
        """Have ``call`` called if the connection ends before there is an answer."""
        self._unneeded = call

    def lost(self) -> None:
        """Take note that nobody waits for the answer any more."""
        self._answered = True
        unneeded, self._unneeded = self._unneeded, None
        if unneeded is not None:
            unneeded()

    def respond(self, answer: Answer | Stream) -> None:
        """Send the answer; another one later, or one to a connection that is gone, is nobody's."""
        if self._answered:
            return
        self._answered = True
        self._unneeded = None
        connection = self.connection
        site = connection.site
        if site.finish is not None:
            answer = site.finish(answer, self.head.headers, connection)
        site.count(answer.status)
        if isinstance(answer, Stream):
            self._stream(answer)
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        connection = self.connection
        if answer.close or connection.site.is_closing:
            connection.persistent = False
        data = self._head(answer, persistent=connection.persistent)
        body = answer.body
        if not body or self.head.method == b"HEAD" or answer.status in WITHOUT_BODY:
            connection.write(data)
        elif len(body) <= JOINED:
            connection.write(data + body)
        else:
            connection.write(data)
            connection.write(body)
        self.finish()

    def _head(self, answer: Answer, *, persistent: bool, length: bool = True) -> bytes:
        return answer_head(self.head.version, answer, self.connection.site.date(), persistent=persistent, length=length)

    def _stream(self, answer: Stream) -> None:
        connection = self.connection
        if answer.receive is not None:
            self._hand_over(answer, answer.receive)
            return
        chunked = self.head.version == b"HTTP/1.1"
        connection.persistent &= chunked
        headers = {"content-type": "application/octet-stream", **answer.headers}
        if chunked:
            headers["transfer-encoding"] = "chunked"
        whole = Answer(answer.status, b"", headers, answer.reason)
        connection.write(self._head(whole, persistent=connection.persistent, length=False))
        if self.head.method == b"HEAD":
            self.finish()
        else:
            answer.start(Flow(self, chunked=chunked))

    def _hand_over(self, answer: Stream, receive: Callable[[bytes], None]) -> None:
        """Answer that it is another protocol from here on."""
        connection = self.connection
        whole = Answer(answer.status, b"", answer.headers, answer.reason)
        connection.write(self._head(whole, persistent=True, length=False))
        connection.persistent = False
        answer.start(Flow(self, chunked=False))
        connection.hand_over(receive)

    def finish(self) -> None:
        """Have the connection go on with the next request."""
        self.connection.answered(self)
