"""Reading from all connections of a broker in one go.

Twisted asks each readable connection on its own, within a logging context and after two look-ups, which costs about as
much as what the broker then does with a small message.  And it does not say when the last one has been asked.

So the plain connections of a broker (TCP and UNIX, also those beneath TLS) are watched by an epoll of its own, which is
one single reader to the reactor: when it becomes readable, every connection that has something is read, one after the
other.  As more are known to follow, the turns of a few small chunks are written together (``Turn.more``).  Everything
else, the waiting to write included, stays with the reactor; where there is no epoll, so does the reading.

A lone peer that waits for each answer speaks again within microseconds, and to be put to sleep and woken up costs more
than to look again until then.  So it is looked again for a moment, as long as that has paid lately.  It must not keep
the reactor from everything else: it ends when much has come, or when somebody waits for room to be written to.

Each connection that has something is read once in a round, however much it has: who floods the broker makes the others
wait for one chunk, not for more.
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
CHUNK = 65536  # bytes that are read from a connection at a time, unless it is fast or in the middle of something large
WIDE = 256 * 1024  # bytes that are read at a time from one that sends as fast as it can
LONE = 2  # connections that were ready at the most, if it is to be looked again at once
LOOKS = 60  # that it takes to give up, some 30 microseconds
STAY = 32  # rounds at the most before the reactor looks at its timers and at new connections again
ENOUGH = 256 * 1024  # bytes that are read before it does so, whatever more there is
TRUST = 8  # times in a row that it may come to nothing before it is hardly tried any more
SELDOM = 64  # rounds of which one is tried all the same
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
        self._trust = 0
        self._untried = 0

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
        came = self._round(ready)
        for _ in range(STAY):
            if not 0 < len(ready) <= LONE or came >= ENOUGH or self._turn.behind or not self._is_worth_it():
                break
            ready = self._look_again()
            if ready:
                came += self._round(ready)

    def _is_worth_it(self) -> bool:
        """Say whether looking again has paid lately; once in a while say so, to see whether it would by now."""
        self._untried = 0 if self._trust else (self._untried + 1) % SELDOM
        return not self._untried

    def _look_again(self) -> list[tuple[int, int]]:
        """Give what becomes ready within a moment."""
        poll = self._epoll.poll
        for _ in range(LOOKS):
            ready: list[tuple[int, int]] = poll(0, ROUND)
            if ready:
                self._trust = TRUST
                return ready
        self._trust = max(self._trust - 1, 0)
        return []

    def _round(self, ready: list[tuple[int, int]]) -> int:
        """Read from each of those once; give the number of bytes that have come."""
        turn = self._turn
        follow = len(ready)
        came = 0
        try:
            for number, _ in ready:
                follow -= 1
                turn.more = follow % TOGETHER > 0
                connection = self._watched.get(number)
                if connection is not None:
                    came += _read(connection)
        finally:
            turn.more = False
            turn.write()
        return came

    def connectionLost(self, reason: Failure) -> None:
        """Tell every connection: the reactor ends."""
        for connection in list(self._watched.values()):
            _lose(connection, reason)


def _read(connection: _ReadTogether) -> int:
    """Read once, and give the number of bytes; an error, foreseen or not, costs the one connection."""
    try:
        chunk = connection.socket.recv(connection.room)
    except BlockingIOError:
        return 0
    except OSError:
        _lose(connection, LOST)
        return 0
    if not chunk:
        _lose(connection, DONE)
        return 0
    size = len(chunk)
    if (size >= CHUNK or connection.usual > CHUNK) and not connection.wanted:
        connection.adapt(size)
    try:
        connection.protocol.dataReceived(chunk)
    except Exception:
        failure = Failure()
        log.failure("reading from {connection} failed", failure, connection=connection)
        _lose(connection, failure)
    return size


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
    usual = CHUNK  # the same, if nothing large is under way
    wanted = 0  # the same, if something is

    def __init__(self, reading: Reading, *arguments: Any) -> None:  # noqa: ANN401  whatever Twisted's port gives
        self._reading = reading
        super().__init__(*arguments)

    def make_room(self, size: int) -> None:
        """Take note that a frame of ``size`` bytes has begun, 0 for none: large ones are read several at a time."""
        self.wanted = min(max(AHEAD * size, CHUNK), MOST) if size > CHUNK // 2 else 0
        self.room = self.wanted or self.usual

    def adapt(self, size: int) -> None:
        """Take note that so many bytes have come at once: more are read at a time from one that sends that fast."""
        self.usual = min(2 * size, WIDE) if size >= CHUNK else CHUNK
        self.room = self.wanted or self.usual

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
