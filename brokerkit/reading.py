"""Reading from all connections of a broker in one go.

Twisted asks each readable connection on its own, within a logging context and after two look-ups, which costs about as
much as what the broker then does with a small message.  And it does not say when the last one has been asked.

So the plain connections of a broker (TCP and UNIX, also those beneath TLS) are watched by an epoll of its own, which is
one single reader to the reactor: when it becomes readable, every connection that has something is read, one after the
other.  As more are known to follow, the turns of a few small chunks are written together (``Turn.more``).  Everything
else, the waiting to write included, stays with the reactor; where there is no epoll, so does the reading.
"""

from __future__ import annotations

import select
from errno import ENOBUFS
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet import tcp, unix
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from brokerkit.turn import Turn

log = Logger()

ROUND = 256  # connections that are read before the reactor looks at its timers and at new connections again
TOGETHER = 8  # small chunks whose consequences are written together, so that the other side can begin
CHUNK = 65536  # bytes that are read from a connection at a time, unless it is in the middle of something large
AHEAD = 4  # large frames that are read together
MOST = 512 * 1024  # bytes that are read at a time where frames are large

DONE = Failure(ConnectionDone())  # the two usual ends, made once: every connection needs one
LOST = Failure(ConnectionLost())


@implementer(IReadDescriptor)
class Reading:
    """The connections of one broker that are to be read; one reader to the reactor, while there are any."""

    def __init__(self, reactor: Any, turn: Turn) -> None:  # noqa: ANN401  reactors are many interfaces
        """Begin with no connection, and nothing in the reactor."""
        self._reactor = reactor
        self._turn = turn
        self._epoll: Any = None  # made when first needed
        self._watched: dict[int, Any] = {}

    def take_over(self, port: object) -> None:
        """Have a port that Twisted opened make connections that are read here; any other port is left alone."""
        if not hasattr(select, "epoll") or not isinstance(port, tcp.Port):
            return
        kind = UNIXConnection if isinstance(port, unix.Port) else TCPConnection
        port.transport = partial(kind, self)  # type: ignore[assignment]

    def watch(self, connection: tcp.Connection) -> None:
        """Read from a connection as soon as it has something."""
        number = connection.fileno()
        if self._watched.get(number) is connection:
            return
        if self._epoll is None:
            self._epoll = select.epoll()
        if not self._watched:
            self._reactor.addReader(self)
        self._watched[number] = connection
        self._epoll.register(number, select.EPOLLIN)

    def ignore(self, connection: tcp.Connection) -> None:
        """Read no more from a connection, until ``watch`` is called again; must come before it is closed."""
        number = connection.fileno()
        if self._watched.get(number) is not connection:
            return
        del self._watched[number]
        self._epoll.unregister(number)
        if not self._watched:
            self._reactor.removeReader(self)

    # -- from Twisted -----------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Give the epoll's own descriptor."""
        return self._epoll.fileno() if self._epoll is not None else -1

    def logPrefix(self) -> str:
        """Give a name for the reactor's log."""
        return "brokerkit"

    def doRead(self) -> None:
        """Read from every connection that has something, and write what that caused."""
        ready = self._epoll.poll(0, ROUND)
        turn = self._turn
        follow = len(ready)
        try:
            for number, _ in ready:
                follow -= 1
                turn.more = follow % TOGETHER > 0
                connection = self._watched.get(number)
                if connection is not None:
                    _read(connection)
        finally:
            turn.more = False
            turn.write()

    def connectionLost(self, reason: Failure) -> None:
        """Tell every connection: the reactor ends."""
        for connection in list(self._watched.values()):
            _lose(connection, reason)


def _read(connection: _ReadTogether) -> None:
    """Read once; an error, foreseen or not, costs the one connection."""
    try:
        chunk = connection.socket.recv(connection.room)
    except BlockingIOError:
        return
    except OSError:
        _lose(connection, LOST)
        return
    if not chunk:
        _lose(connection, DONE)
        return
    try:
        connection.protocol.dataReceived(chunk)
    except Exception:
        failure = Failure()
        log.failure("reading from {connection} failed", failure, connection=connection)
        _lose(connection, failure)


def _lose(connection: tcp.Connection, reason: Failure) -> None:
    """End a connection as the reactor would."""
    connection.stopReading()
    try:
        if reason is DONE:
            connection.readConnectionLost(reason)
        else:
            connection.connectionLost(reason)
    except Exception:
        log.failure("the end of {connection} failed", connection=connection)


class _ReadTogether(tcp.Connection):
    """A connection that a ``Reading`` watches, and that writes with as little as can be around the system call."""

    room = CHUNK  # bytes that are read at a time

    def __init__(self, reading: Reading, *arguments: Any) -> None:  # noqa: ANN401  whatever Twisted's port gives
        self._reading = reading
        super().__init__(*arguments)

    def make_room(self, size: int) -> None:
        """Take note that a frame of ``size`` bytes has begun, 0 for none: large ones are read several at a time."""
        self.room = min(max(AHEAD * size, CHUNK), MOST) if size > CHUNK // 2 else CHUNK

    def startReading(self) -> None:
        """Read as soon as there is something."""
        self._reading.watch(self)

    def stopReading(self) -> None:
        """Read no more for now."""
        self._reading.ignore(self)

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        """Write what the kernel takes now; give the number of bytes, or the reason if that was the end."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            return 0 if error.errno == ENOBUFS else ConnectionLost()


class TCPConnection(_ReadTogether, tcp.Server):
    """A TCP connection."""


class UNIXConnection(_ReadTogether, unix.Server):
    """A UNIX connection; file descriptors that a peer sends along are not taken."""
