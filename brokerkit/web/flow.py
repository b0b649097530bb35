"""The ``Sink`` of one stream: what is written goes out at once, in chunks if the peer knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.web.exchange import Exchange


class Flow:
    """The rest of the answer to one request; see ``Sink``."""

    def __init__(self, exchange: Exchange, *, chunked: bool) -> None:
        """Go on behind the head of the answer."""
        self.full = exchange.connection.full
        self.room: Callable[[], None] | None = None
        self.lost: Callable[[], None] | None = None
        self._exchange: Exchange | None = exchange
        self._chunked = chunked
        self._write = exchange.connection.write
        exchange.connection.flow = self

    def write(self, data: bytes) -> None:
        """Write; does nothing when the connection is gone."""
        if self._exchange is not None and data:
            self._write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def finish(self) -> None:
        """End the answer, in order."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            if self._chunked:
                self._write(b"0\r\n\r\n")
            exchange.connection.flow = None
            exchange.finish()

    def cut(self) -> None:
        """End the connection at once; what is unsent is thrown away."""
        if self._exchange is not None:
            self._exchange.connection.cut()

    # -- what the connection says -------------------------------------------------------------------------------------

    def paused(self) -> None:
        """Take note that the peer is behind."""
        self.full = True

    def resumed(self) -> None:
        """Go on: the peer has taken what was written."""
        self.full = False
        if self._exchange is not None and self.room is not None:
            self.room()

    def gone(self) -> None:
        """Tell who writes here that nobody reads any more."""
        if self._exchange is not None:
            self._exchange = None
            if self.lost is not None:
                self.lost()
