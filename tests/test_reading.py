"""Reading from all connections in one go: real sockets and a real epoll, and a reactor that only takes notes."""

from __future__ import annotations

import socket
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from brokerkit.protocols.hpfeeds.wire import AUTH, PUBLISH, frame, short
from brokerkit.reading import AHEAD, CHUNK, MOST, ROUND, TOGETHER, Reading, TCPConnection, UNIXConnection
from brokerkit.testing import MemoryBroker
from brokerkit.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif("not hasattr(__import__('select'), 'epoll')", reason="there is no epoll here")


class Reactor:
    """Knows who reads and writes, and asks nobody."""

    def __init__(self) -> None:
        """Begin with none."""
        self.readers: list[object] = []
        self.writers: list[object] = []

    def addReader(self, reader: object) -> None:
        """Take a reader."""
        assert reader not in self.readers
        self.readers.append(reader)

    def removeReader(self, reader: object) -> None:
        """Let one go."""
        self.readers.remove(reader)

    def addWriter(self, writer: object) -> None:
        """Take a writer."""
        self.writers.append(writer)

    def removeWriter(self, writer: object) -> None:
        """Let one go."""


class Heard(Protocol):
    """Notes what comes, and can be told to do more."""

    def __init__(self, also: Callable[[bytes], None] = lambda _: None) -> None:
        """Begin with nothing."""
        self.chunks: list[bytes] = []
        self.ends: list[type] = []
        self._also = also

    def dataReceived(self, chunk: bytes) -> None:
        """Note a chunk."""
        self.chunks.append(chunk)
        self._also(chunk)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Note the end."""
        assert reason is not None
        self.ends.append(reason.type)


class Desk:
    """A reading, its turn, and as many connections as a test asks for."""

    def __init__(self) -> None:
        """Begin with none."""
        self.reactor = Reactor()
        self.turn = Turn()
        self.reading = Reading(self.reactor, self.turn)
        self.peers: list[socket.socket] = []

    def connect(self, protocol: Heard | None = None, kind: Any = TCPConnection) -> tuple[socket.socket, Any]:
        """Make a connection; give the other end and ours."""
        ours, peer = socket.socketpair()
        ours.setblocking(False)
        self.peers.append(peer)
        protocol = protocol or Heard()
        connection = kind(self.reading, ours, protocol, ("x", 1), None, len(self.peers), self.reactor)
        connection.getPeer = lambda: IPv4Address("TCP", "x", 1)
        protocol.makeConnection(connection)
        return peer, connection

    def close(self) -> None:
        """Close everything."""
        self.reading.connectionLost(Failure(ConnectionDone()))
        for peer in self.peers:
            peer.close()


@pytest.fixture
def desk() -> Iterator[Desk]:
    """Give a desk, and clear it."""
    desk = Desk()
    yield desk
    desk.close()


class Written:
    """An outbox that notes when it is flushed."""

    def __init__(self, turn: Turn) -> None:
        """Begin with none."""
        self._turn = turn
        self.flushes = 0

    def touch(self, *, small: bool = True) -> None:
        """Do one turn that puts something here."""
        self._turn.depth += 1
        if self not in self._turn.touched:
            self._turn.touched.append(self)  # type: ignore[arg-type]
        self._turn.leave(small=small)

    def flush(self) -> bool:
        """Take note."""
        self.flushes += 1
        return False


def test_all_that_is_readable_is_read(desk: Desk) -> None:
    """One call reads each connection that has something, once, and no other."""
    ends = [desk.connect() for _ in range(5)]
    for peer, _ in ends[1:]:
        peer.send(b"hello")
    desk.reading.doRead()
    assert [connection.protocol.chunks for _, connection in ends] == [[], *[[b"hello"]] * 4]


def test_it_is_one_reader_and_only_while_there_are_connections(desk: Desk) -> None:
    """The reactor knows the reading while something is watched; pausing the last one takes it out."""
    assert desk.reactor.readers == []
    _, first = desk.connect()
    _, second = desk.connect()
    assert desk.reactor.readers == [desk.reading]
    first.pauseProducing()
    second.pauseProducing()
    assert desk.reactor.readers == []
    second.resumeProducing()
    second.resumeProducing()
    assert desk.reactor.readers == [desk.reading]
    second.connectionLost(Failure(ConnectionDone()))
    assert desk.reactor.readers == []


def test_a_paused_connection_is_not_read(desk: Desk) -> None:
    """What comes meanwhile waits in the kernel and is read when it goes on."""
    peer, connection = desk.connect()
    desk.connect()
    connection.pauseProducing()
    peer.send(b"later")
    desk.reading.doRead()
    assert connection.protocol.chunks == []
    connection.resumeProducing()
    desk.reading.doRead()
    assert connection.protocol.chunks == [b"later"]


def test_pausing_another_in_the_same_round_holds(desk: Desk) -> None:
    """A connection that is paused, or ended, by what came on another one is not read although it was readable."""
    ends: list[Any] = []

    def pause_the_others(_: bytes) -> None:
        for _, connection in ends:
            if not connection.protocol.chunks:
                connection.pauseProducing()

    ends += [desk.connect(Heard(pause_the_others)) for _ in range(4)]
    for peer, _ in ends:
        peer.send(b"x")
    desk.reading.doRead()
    assert sum(len(connection.protocol.chunks) for _, connection in ends) == 1


def test_the_end_of_a_connection_is_told_once(desk: Desk) -> None:
    """A peer that hangs up is ``ConnectionDone``, one that resets is ``ConnectionLost``; neither is asked again."""
    done, reset = Heard(), Heard()
    desk.connect(done)[0].close()

    class Broken:
        def recv(self, _: int) -> bytes:
            raise ConnectionResetError

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    lost_peer, lost = desk.connect(reset)
    lost_peer.send(b"x")
    real, lost.socket = lost.socket, Broken()
    desk.reading.doRead()
    assert done.ends == [ConnectionDone]
    assert reset.ends == [ConnectionLost]
    assert desk.reactor.readers == []


def test_a_bug_costs_one_connection(desk: Desk) -> None:
    """An exception in one protocol ends its connection and nobody else's."""

    def fail(_: bytes) -> None:
        raise ValueError

    broken, sound = Heard(fail), Heard()
    for heard in (broken, sound):
        peer, _ = desk.connect(heard)
        peer.send(b"x")
    desk.reading.doRead()
    assert broken.ends == [ValueError]
    assert (sound.chunks, sound.ends) == ([b"x"], [])
    assert not desk.turn.more


def test_small_turns_of_a_round_are_written_together(desk: Desk) -> None:
    """So many at once, the rest at the end of the round, and nothing waits beyond it."""
    outbox = Written(desk.turn)
    count = TOGETHER * 2 + 3
    for _ in range(count):
        peer, _ = desk.connect(Heard(lambda _: outbox.touch()))
        peer.send(b"x")
    desk.reading.doRead()
    assert outbox.flushes == 3
    assert not desk.turn.touched


def test_a_single_turn_is_written_when_it_ends(desk: Desk) -> None:
    """With one readable connection nothing waits."""
    outbox = Written(desk.turn)
    seen = []
    peer, _ = desk.connect(Heard(lambda _: (outbox.touch(), seen.append(outbox.flushes))[0]))
    peer.send(b"x")
    desk.reading.doRead()
    assert seen == [1]


def test_a_large_chunk_waits_for_nobody(desk: Desk) -> None:
    """Its sender has to be paced at once if a reader is slow; so has every sender while one is behind."""
    outbox = Written(desk.turn)
    for _ in range(TOGETHER):
        peer, _ = desk.connect(Heard(lambda _: outbox.touch(small=False)))
        peer.send(b"x")
    desk.reading.doRead()
    assert outbox.flushes == TOGETHER


def test_while_a_reader_is_behind_nothing_waits(desk: Desk) -> None:
    """Pacing sees every publisher."""
    outbox = Written(desk.turn)
    desk.turn.behind = 1
    for _ in range(TOGETHER):
        peer, _ = desk.connect(Heard(lambda _: outbox.touch()))
        peer.send(b"x")
    desk.reading.doRead()
    assert outbox.flushes == TOGETHER


def test_a_last_chunk_of_a_closing_connection_does_not_keep_the_others_waiting(desk: Desk) -> None:
    """What was put off is written at the end of the round even if the last connections cause nothing."""
    outbox = Written(desk.turn)
    touching = [True] + [False] * 3
    for touches in touching:
        peer, _ = desk.connect(Heard((lambda _: outbox.touch()) if touches else (lambda _: None)))
        peer.send(b"x")
    desk.reading.doRead()
    assert outbox.flushes == 1


@pytest.mark.parametrize(("size", "room"), [(0, CHUNK), (CHUNK // 2, CHUNK), (CHUNK, AHEAD * CHUNK), (10 * MOST, MOST)])
def test_large_frames_are_read_several_at_a_time(desk: Desk, size: int, room: int) -> None:
    """Within bounds, and only for as long as one is unfinished: small messages are read as little as ever at a time."""
    heard = Heard()
    peer, connection = desk.connect(heard)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MOST)
    peer.setblocking(False)
    connection.make_room(size)
    peer.send(bytes(2 * MOST))
    desk.reading.doRead()
    sent = len(heard.chunks[0])
    assert sent <= room
    assert sent == room or size > CHUNK  # a machine may allow smaller buffers than were asked for
    connection.make_room(0)
    desk.reading.doRead()
    assert len(heard.chunks[1]) <= CHUNK


def test_a_session_says_what_it_expects(desk: Desk) -> None:
    """While a large frame is unfinished more is read at a time, and behind it as little as before."""
    memory = MemoryBroker(users={"ann": "secret"})
    session = memory.broker.listener("hpfeeds").factory.buildProtocol(None)
    peer, connection = desk.connect(session)
    whole = frame(PUBLISH, short(b"ann"), short(b"files"), bytes(CHUNK))
    greeting = peer.recv(CHUNK)
    nonce = greeting[-4:]
    peer.sendall(frame(AUTH, short(b"ann"), sha1(nonce + b"secret", usedforsecurity=False).digest()) + whole[:-1])
    while session.received < len(whole):
        desk.reading.doRead()
    assert connection.room == AHEAD * len(whole)
    peer.sendall(whole[-1:])
    desk.reading.doRead()
    assert connection.room == CHUNK


def test_a_round_is_bounded(desk: Desk) -> None:
    """However many are readable, the reactor gets its turn in between."""
    ends = [desk.connect() for _ in range(ROUND + 10)]
    for peer, _ in ends:
        peer.send(b"x")
    desk.reading.doRead()
    assert sum(len(connection.protocol.chunks) for _, connection in ends) == ROUND
    desk.reading.doRead()
    assert sum(len(connection.protocol.chunks) for _, connection in ends) == ROUND + 10


def test_the_end_of_the_reactor_is_the_end_of_all(desk: Desk) -> None:
    """What the reactor says to its readers when it stops reaches every connection."""
    protocols = [Heard() for _ in range(3)]
    for heard in protocols:
        desk.connect(heard)
    desk.reading.connectionLost(Failure(ConnectionLost()))
    assert [heard.ends for heard in protocols] == [[ConnectionLost]] * 3


def test_writing_gives_what_the_kernel_took(desk: Desk) -> None:
    """A number of bytes, nothing when it is full, and the reason when nobody is there any more."""
    peer, connection = desk.connect()
    assert connection.writeSomeData(b"abc") == 3
    taken = 1
    while taken:
        taken = connection.writeSomeData(b"x" * 65536)
    peer.close()
    assert isinstance(connection.writeSomeData(b"x"), ConnectionLost)


def test_a_descriptor_that_a_peer_sends_along_is_not_taken(desk: Desk) -> None:
    """Nobody fills our table of open files over a UNIX socket."""
    heard = Heard()
    peer, _ = desk.connect(heard, UNIXConnection)
    before = _open_files()
    socket.send_fds(peer, [b"x"], [peer.fileno()])
    desk.reading.doRead()
    assert heard.chunks == [b"x"]
    assert _open_files() == before


def _open_files() -> int:
    highest = socket.socket()
    number = highest.fileno()
    highest.close()
    return number


def test_other_ports_are_left_alone() -> None:
    """A port in memory has no transports to replace."""
    port = object()
    Desk().reading.take_over(port)
