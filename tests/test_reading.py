"""Reading from all connections in one go: real sockets and a real epoll, and a reactor that only takes notes."""

from __future__ import annotations

import socket
from contextlib import suppress
from hashlib import sha1
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from brokerkit.protocols.hpfeeds.wire import AUTH, PUBLISH, frame, short
from brokerkit.reading import (
    AHEAD,
    CHUNK,
    ENOUGH,
    LOOKS,
    MOST,
    ROUND,
    SELDOM,
    STAY,
    TOGETHER,
    TRUST,
    WIDE,
    Reading,
    TCPConnection,
    UNIXConnection,
)
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
        connection.getPeer = connection.getHost = lambda: IPv4Address("TCP", "x", 1)
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
    assert len(heard.chunks[1]) <= 2 * CHUNK  # a connection that has filled one chunk is read in larger ones


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
    assert connection.room <= 2 * CHUNK  # it has shown that it is fast


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


def test_a_fast_connection_is_read_in_larger_pieces(desk: Desk) -> None:
    """Whoever fills a chunk is read twice as much the next time, up to a bound; a small chunk ends that."""
    _, connection = desk.connect()
    rooms = []
    for size in (CHUNK, 2 * CHUNK, WIDE, WIDE, 10):
        connection.adapt(size)
        rooms.append(connection.room)
    assert rooms == [2 * CHUNK, WIDE, WIDE, WIDE, CHUNK]


def test_a_large_frame_decides_how_much_is_read(desk: Desk) -> None:
    """While a large frame is under way it does not matter how fast the connection is; afterwards it does again."""
    _, connection = desk.connect()
    connection.make_room(MOST)
    connection.adapt(CHUNK)
    assert connection.room == MOST
    connection.make_room(0)
    assert connection.room == 2 * CHUNK


class Answering(Heard):
    """Has its peer send one byte more for each that comes."""

    def dataReceived(self, chunk: bytes) -> None:
        """Note it, and answer for the peer."""
        super().dataReceived(chunk)
        self.peer.send(b"x")

    peer: socket.socket


def test_a_lone_connection_is_looked_at_again(desk: Desk) -> None:
    """Whoever answers at once is read again without a turn of the reactor, but only so often."""
    heard = Answering()
    heard.peer, _ = desk.connect(heard)
    desk.reading._trust = 1
    heard.peer.send(b"x")
    desk.reading.doRead()
    assert len(heard.chunks) == 1 + STAY


class Flooded(Heard):
    """Has its peer send as much as it can each time that it is read."""

    def dataReceived(self, chunk: bytes) -> None:
        """Note how much came, and go on."""
        super().dataReceived(chunk)
        flood(self.peer)

    peer: socket.socket


def flood(peer: socket.socket) -> None:
    """Send as much as the socket takes."""
    peer.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            peer.send(bytes(CHUNK))


def test_a_flood_does_not_keep_the_reactor_waiting(desk: Desk) -> None:
    """A lone connection that always has more is not one that waits for answers: others get their turn in between."""
    heard = Flooded()
    heard.peer, connection = desk.connect(heard)
    desk.reading._trust = TRUST
    flood(heard.peer)
    desk.reading.doRead()
    assert ENOUGH <= sum(map(len, heard.chunks)) < ENOUGH + connection.room


def test_who_waits_for_room_does_not_wait_for_a_lone_connection(desk: Desk) -> None:
    """While a reader is behind, the reactor sees soon whether it can be written to again."""
    heard = Answering()
    heard.peer, _ = desk.connect(heard)
    desk.reading._trust = TRUST
    desk.turn.behind = 1
    heard.peer.send(b"x")
    desk.reading.doRead()
    assert len(heard.chunks) == 1


def test_a_flood_lets_everybody_speak(desk: Desk) -> None:
    """Each round reads every connection once: between two chunks of one who floods, all the others are heard."""
    said: list[object] = []
    floods = [Flooded(said.append) for _ in range(2)]
    for heard in floods:
        heard.peer, _ = desk.connect(heard)
        flood(heard.peer)
    small = [Heard(said.append) for _ in range(5)]
    peers = [desk.connect(heard)[0] for heard in small]
    for i in range(10):
        for peer in peers:
            peer.send(b"%d" % i)
        desk.reading.doRead()
        assert [len(heard.chunks) for heard in small] == [i + 1] * 5
        assert [len(heard.chunks) for heard in floods] == [i + 1] * 2
    assert max(len(chunk) for heard in floods for chunk in heard.chunks) <= WIDE


def test_a_flood_of_messages_lets_everybody_be_heard(desk: Desk) -> None:
    """The same with sessions: what others say in a round is written when it ends, before more of the flood is read."""
    memory = MemoryBroker(users={"ann": "pw"})
    make = memory.broker.listener("nats").factory.buildProtocol
    login = b'CONNECT {"verbose":false,"user":"ann","pass":"pw"}\r\nPING\r\n'
    desk.turn = desk.reading._turn = memory.broker.turn
    flooder, asks, answers = (desk.connect(make(None))[0] for _ in range(3))
    for peer in (flooder, asks, answers):
        peer.sendall(login)
    asks.sendall(b"SUB answer 1\r\n")
    answers.sendall(b"SUB question 1\r\n")
    desk.reading.doRead()
    for peer in (flooder, asks, answers):
        peer.recv(CHUNK)
    unsent = (b"PUB flood 1000\r\n" + b"x" * 1000 + b"\r\n") * 10_000
    flooder.setblocking(False)
    for _ in range(10):
        with suppress(BlockingIOError):
            while True:
                unsent = unsent[flooder.send(unsent[:CHUNK]) :]
        asks.sendall(b"PUB question 0\r\n\r\n")
        desk.reading.doRead()
        assert answers.recv(CHUNK) == b"MSG question 1 0\r\n\r\n"


def test_looking_again_has_to_pay(desk: Desk) -> None:
    """After so many times in vain it is tried once in a while only; one success and it is worth it again."""
    heard = Heard()
    peer, _ = desk.connect(heard)
    looked = 0

    class Counting:
        """Counts the looks at an epoll."""

        def __init__(self, epoll: Any) -> None:
            self.poll_really = epoll.poll

        def __getattr__(self, name: str) -> Any:
            return getattr(self.poll_really.__self__, name)

        def poll(self, *how: Any) -> Any:
            nonlocal looked
            looked += 1
            return self.poll_really(*how)

    desk.reading._epoll = Counting(desk.reading._epoll)
    desk.reading._trust = TRUST
    for _ in range(TRUST):
        peer.send(b"x")
        desk.reading.doRead()
    assert looked == TRUST * (1 + LOOKS)
    for _ in range(SELDOM):
        peer.send(b"x")
        desk.reading.doRead()
    assert looked == TRUST * (1 + LOOKS) + SELDOM + LOOKS
    assert len(heard.chunks) == TRUST + SELDOM
