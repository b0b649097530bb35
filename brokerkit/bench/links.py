"""One connection of the generator, and the sentinel that proves that everybody listens.

hpfeeds confirms neither login nor subscription. So a numbered sentinel is published until the
stream of every reader ends with it; as a broker keeps the order of one publisher, nothing is under
way then. The same sentinel after a run proves that nothing more comes, and that what was counted is
exactly what was sent.
"""

from __future__ import annotations

import itertools
import socket
import ssl
import time
from typing import TYPE_CHECKING, Self

from brokerkit.bench.cast import READY
from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from brokerkit.bench.speech import Speech

LIMIT = 10.0  # seconds that one step of set-up may take
PATIENCE = 0.5  # seconds until a sentinel is sent again
READY_NUMBER = 99  # its subscription; those of the topics begin at 100, all with three digits
FIRST_NUMBER = 100

# Small enough for a core's second-level cache, large enough to cost few calls.
BUFFER = memoryview(bytearray(256 * 1024))
SENTINELS = itertools.count(10_000_000)


class Link:
    """A logged-in connection. Between steps its socket is non-blocking."""

    def __init__(self, place: tuple[str, int], speech: Speech, receive_buffer: int = 0) -> None:
        """Connect to host and port, and log in; a *receive_buffer* of 0 bytes is the kernel's choice."""
        self.speech = speech
        self.heard = 0
        self.sock = socket.socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET)
        try:
            if receive_buffer:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.sock.settimeout(LIMIT)
            self.sock.connect(place)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = speech.secure(self.sock)
            speech.login(self.sock)
        except BaseException:
            self.sock.close()
            raise
        self.sock.settimeout(0)

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close the socket at once."""
        self.sock.close()

    def tell(self, data: bytes) -> None:
        """Send all of *data*, waiting for room if needed."""
        self.sock.settimeout(LIMIT)
        self.sock.sendall(data)
        self.sock.settimeout(0)

    def subscribe(self, topics: Iterable[bytes], first: int = FIRST_NUMBER, queue: bytes = b"") -> None:
        """Subscribe to the topics, perhaps in a queue group, and last to the sentinel's, which everybody hears."""
        wishes = [self.speech.subscribe(topic, number, queue) for number, topic in enumerate(topics, first)]
        self.tell(b"".join([*wishes, self.speech.subscribe(READY, READY_NUMBER)]))

    def drain(self) -> int:
        """Count what has come and forget it; return how much it was, 0 at the end of the stream."""
        try:
            count = self.sock.recv_into(BUFFER)
        except ssl.SSLWantReadError:  # no whole record yet: it counts as something, and is counted later
            return 1
        self.heard += count
        return count

    def hears(self, mark: bytes, patience: float) -> bool:
        """Read until *mark* comes; return False after *patience* seconds of silence."""
        self.sock.settimeout(patience)
        tail = b""
        while mark not in tail:
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                return False
            if not data:
                raise BenchError(f"the broker closed a reader; last heard {tail[-80:]!r}")
            self.heard += len(data)
            tail = tail[-len(mark) :] + data
        self.sock.settimeout(0)
        return True


def agree(publisher: Link, readers: Sequence[Link]) -> int:
    """Publish sentinels until all readers got one; return the bytes of those sent, as delivered."""
    sent = 0
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        payload = b"%d" % next(SENTINELS)
        mark = publisher.speech.delivery(READY, READY_NUMBER, payload)
        publisher.tell(publisher.speech.publish(READY, payload))
        sent += len(mark)
        if all(reader.hears(mark, PATIENCE) for reader in readers):
            return sent
    raise BenchError(f"not every reader got a first message within {LIMIT:.0f} s: may this user publish and subscribe?")


def settled(reader: Link) -> None:
    """Return when the broker has taken everything that *reader*, who has the sentinel's subscription, told it."""
    payload = b"%d" % next(SENTINELS)
    reader.tell(reader.speech.publish(READY, payload))
    if not reader.hears(reader.speech.delivery(READY, READY_NUMBER, payload), LIMIT):
        raise BenchError(f"what was said was not taken within {LIMIT:.0f} s")
