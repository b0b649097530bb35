"""Carrying a script out: in memory against brokerkit, or over TCP against whatever listens on a port.

The bytes of each step can be cut into pieces in several ways, and the answers may not depend on how.  The end of an
answer is known by the PONG to a last PING, or by the end of the connection; nothing is waited for by time.
"""

from __future__ import annotations

import re
import socket
import tomllib
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Protocol

from twisted.internet.testing import MemoryReactorClock

from brokerkit.app import make_broker
from brokerkit.config import structure
from brokerkit.plugin import protocols
from brokerkit.testing import MemoryBroker

from .transcript import DIRECTORY, Heard, Script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PING, PONG = b"PING\r\n", b"PONG\r\n"
SECONDS = 10.0
SMALL = 400  # bytes that are also said one by one
LARGEST_PIECE = 40  # of those that are cut at random
_SID = re.compile(rb"\bSUB[ \t][^\r\n]*?([^ \t\r\n]+)[ \t]*\r?\n", re.IGNORECASE)
WAYS = ("whole", "bytes", "random")


def pieces(data: bytes, way: str, seed: str) -> list[bytes]:
    """Cut what is said in one of the ``WAYS``; the same seed cuts in the same places."""
    if way == "bytes" and len(data) <= SMALL:
        return [data[i : i + 1] for i in range(len(data))]
    if way in {"whole", "bytes"}:
        return [data]
    return list(_random_pieces(data, Random(seed)))  # noqa: S311  not a secret


def _random_pieces(data: bytes, random: Random) -> Iterator[bytes]:
    largest = max(LARGEST_PIECE, len(data) // 20)
    start = 0
    while start < len(data):
        end = start + random.randint(1, largest)
        yield data[start:end]
        start = end


class Line(Protocol):
    """One connection, by whatever way."""

    def say(self, chunks: list[bytes]) -> None:
        """Send these pieces."""

    def hear(self, pongs: int) -> Heard:
        """Give all that has come, when there are so many PONGs in it or the connection has ended."""

    def hear_all(self) -> Heard:
        """Give all that has come when the connection has ended."""

    def leave(self) -> None:
        """Hang up."""

    @property
    def pongs(self) -> int:
        """The number of PONGs that have come."""


def converse(script: Script, connect: Callable[[], Line], way: str, expected: dict[str, Heard]) -> dict[str, Heard]:
    """Carry a script out; give what each connection has heard.

    ``expected`` says which connections are to be closed, which are not asked by a last PING, and how many PONGs are to
    be waited for.
    """
    lines: dict[str, Line] = {}
    asked: dict[str, int] = {}
    for number, (who, said, ask, end) in enumerate(script.steps):
        if who not in lines:
            lines[who] = connect()
            asked[who] = 0
        line = lines[who]
        if said or ask:
            line.say(pieces(said or PING, way, f"{script}{number}"))
        if ask:
            asked[who] += 1
            line.hear(asked[who])
        if end:
            line.hear_all()
    heard = {who: _last(line, expected.get(who, Heard())) for who, line in lines.items()}
    for who, line in lines.items():
        if not heard[who].closed:
            _forget(line, b"".join(step.said for step in script.steps if step.who == who))
        line.leave()
    return {who: script.compared(what) for who, what in heard.items()}


def _forget(line: Line, said: bytes) -> None:
    """End the subscriptions before hanging up, which a server may notice later than the next script begins."""
    unsubs = b"".join(b"UNSUB %b\r\n" % sid for sid in _SID.findall(said))
    line.say([unsubs + PING])
    line.hear(line.pongs + 1)


def _last(line: Line, expected: Heard) -> Heard:
    """Hear the rest."""
    if expected.closed:
        return line.hear_all()
    line.say([PING])
    text, closed = line.hear(expected.text.count(PONG) + 1)
    return Heard(text if closed else text[: text.rindex(PONG)], closed)


# -- in memory --------------------------------------------------------------------------------------------------------


class Configured(MemoryBroker):
    """brokerkit in memory, with the configuration of that name."""

    def __init__(self, server: str) -> None:
        """Build and start it."""
        self.reactor = MemoryReactorClock()
        self.plugins = protocols()
        path = DIRECTORY / f"{server}.toml"
        config = structure(tomllib.loads(path.read_text()), self.plugins, str(path))
        self.broker = make_broker(config, self.reactor, [], self.plugins)
        self.broker.privilegedStartService()
        self.broker.startService()


_ADDRESSES = count()  # each connection comes from elsewhere: nobody is slow because of others who were refused


class InMemory:
    """A connection to a broker in memory."""

    def __init__(self, memory: MemoryBroker, *, info: bool) -> None:
        """Connect."""
        self._memory = memory
        address = next(_ADDRESSES)
        self._peer = memory.connect("nats", f"10.0.{address // 256 % 256}.{address % 256}")
        if not info:
            self._peer.take()

    def say(self, chunks: list[bytes]) -> None:
        """Send these pieces."""
        self._peer.send(*chunks)

    def hear(self, pongs: int) -> Heard:  # noqa: ARG002  all that can come has come
        """Give all that has come."""
        self._memory.advance()
        return Heard(self._peer.received, self._peer.closed)

    def hear_all(self) -> Heard:
        """Give all that has come."""
        return self.hear(0)

    def leave(self) -> None:
        """Hang up."""
        self._peer.hang_up()

    @property
    def pongs(self) -> int:
        """The number of PONGs that have come."""
        return self._peer.received.count(PONG)


# -- over TCP ---------------------------------------------------------------------------------------------------------


class OverTCP:
    """A connection to whatever listens on a port."""

    def __init__(self, port: int, *, info: bool) -> None:
        """Connect, and wait for INFO."""
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._heard = b""
        self._closed = False
        while not self._heard.endswith(b"\r\n") and self.more():
            pass
        if not info:
            self._heard = b""

    def say(self, chunks: list[bytes]) -> None:
        """Send these pieces, as far as they are taken."""
        try:
            for chunk in chunks:
                self._socket.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was closed before the end: what it said of that is still to be read

    def more(self) -> bool:
        """Wait for more; say whether there is."""
        try:
            data = self._socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self._heard += data
        self._closed = not data
        return bool(data)

    def quiet(self, seconds: float) -> Heard:
        """Give all that has come, when nothing more has come for so long: for recording only."""
        self._socket.settimeout(seconds)
        try:
            while self.more():
                pass
        except TimeoutError:
            pass
        self._socket.settimeout(SECONDS)
        return Heard(self._heard, self._closed)

    def hear(self, pongs: int) -> Heard:
        """Give all that has come, when there are so many PONGs in it or the connection has ended."""
        while self._heard.count(PONG) < pongs and not self._closed:
            self.more()
        return Heard(self._heard, self._closed)

    def hear_all(self) -> Heard:
        """Give all that has come when the connection has ended."""
        while not self._closed:
            self.more()
        return Heard(self._heard, self._closed)

    def leave(self) -> None:
        """Hang up."""
        self._socket.close()

    @property
    def pongs(self) -> int:
        """The number of PONGs that have come."""
        return self._heard.count(PONG)
