"""One HTTP connection to a broker, for one request after another; made when it is needed, and anew when it was closed.

What an answer means, whom to trust and what to try again is for those who ask.
"""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import attrs

from brokerkit.errors import BrokerError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

LONGEST = 256 * 1024 * 1024  # bytes of an answer


class TooLong(BrokerError):
    """The answer is longer than it may be; it was not read to its end."""


@attrs.frozen
class Answer:
    """What came back; ``headers`` have small names."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)


class HttpLine:
    """A connection to ``host``; ``connect`` gives a socket to a broker that is trusted."""

    def __init__(self, host: str, port: int, connect: Callable[[], socket.socket]) -> None:
        """Connect when something is asked."""
        self._where = host, port
        self._connect = connect
        self._connection: _Connection | None = None

    @property
    def was_used(self) -> bool:
        """Whether there is a connection by which an answer has come; the broker may have closed it meanwhile."""
        return self._connection is not None

    def ask(self, method: str, target: str, body: bytes, headers: Mapping[str, str], seconds: float) -> Answer:
        """Give an answer; raise ``OSError``, ``http.client.HTTPException`` or ``TooLong``, and the line is closed.

        ``seconds`` is for each step of it: connecting, and each time that nothing comes.
        """
        connection, self._connection = self._connection or _Connection(*self._where, self._connect), None
        try:
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(seconds)
            length = {"content-length": str(len(body))} if method != "GET" else {}
            connection.request(method, target, body or None, {"accept": "application/json", **length, **headers})
            response = connection.getresponse()
            content = response.read(LONGEST + 1)
            if len(content) > LONGEST:
                raise TooLong(f"the answer is longer than {LONGEST} bytes")
        except BaseException:
            connection.close()
            raise
        self._connection = connection  # which connects again by itself where the broker closes it
        return Answer(response.status, response.reason, {k.lower(): v for k, v in response.getheaders()}, content)

    def close(self) -> None:
        """Hang up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, port: int, opened: Callable[[], socket.socket]) -> None:
        super().__init__(host, port)
        self._opened = opened

    def connect(self) -> None:
        """Connect, and see who is there."""
        self.sock = self._opened()
