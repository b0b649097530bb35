"""How many logins a broker decides in a second, with ten thousand users in a users.json.

Every login is a connection of its own, by a user of its own: connect, answer the challenge, publish
one message, hang up. hpfeeds confirms no login, so a reader counts the messages: one that arrived
was a login that was accepted.
"""

from __future__ import annotations

import contextlib
import hashlib
import selectors
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.brokers import brokers
from brokerkit.bench import cast
from brokerkit.bench.contest import Measure, contest
from brokerkit.bench.links import LIMIT, Link, agree
from brokerkit.bench.servers import hall
from brokerkit.bench.speak_hpfeeds import AUTH, Hpfeeds, frame, short
from brokerkit.bench.speech import BenchError

if TYPE_CHECKING:
    from brokerkit.bench.contest import Options, Row
    from brokerkit.bench.servers import Server

AT_ONCE = 20  # connections that are logging in
RATE = Measure("logins", "1/s")


def scenario(protocol: str, options: Options) -> list[Row]:
    """Measure logins through the challenge of hpfeeds; other protocols have no peer that reads the file."""
    if protocol != "hpfeeds":
        return []
    count = 500 if options.quick else 2000
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder, "users.json")
        path.write_bytes(cast.users_json())
        with hall(brokers(protocol, str(path))) as servers:
            case = f"{count} of {cast.MANY} users, {AT_ONCE} at once"
            return contest(case, [servers] * options.rounds, [RATE], lambda server: {RATE: logins(server, count)})


def logins(server: Server, count: int) -> float:
    """Log so many users in; return how many that was in a second, until the last message came."""
    speech = Hpfeeds(cast.USER)
    with Link(server.place, speech) as reader:
        reader.subscribe([cast.HELLO])
        agree(reader, [reader])
        reader.heard = 0
        start = time.perf_counter()
        expected = _log_in_all(server.port, cast.MEMBERS[:count], reader)
        deadline = time.monotonic() + LIMIT
        reader.sock.settimeout(LIMIT)
        while reader.heard < expected and time.monotonic() < deadline:
            if not reader.drain():
                break
        elapsed = time.perf_counter() - start
        if reader.heard != expected:
            msg = f"{reader.heard} of {expected} bytes of greetings came"
            raise BenchError(msg)
    return count / elapsed


def _log_in_all(port: int, names: list[str], reader: Link) -> int:
    """Log in one after the other, some at a time; return the bytes that the reader is to hear."""
    waiting = iter(names)
    expected = 0
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
        selector.register(reader.sock, selectors.EVENT_READ)

        def connect() -> None:
            name = next(waiting, None)
            if name is not None:
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), LIMIT))
                selector.register(sock, selectors.EVENT_READ, name)

        for _ in range(AT_ONCE):
            connect()
        while len(selector.get_map()) > 1:
            ready = selector.select(LIMIT)
            if not ready:
                msg = f"no challenge for {LIMIT:.0f} s"
                raise BenchError(msg)
            for key, _ in ready:
                if key.data is None:
                    reader.drain()
                    continue
                expected += _answer(key.fileobj, key.data)
                selector.unregister(key.fileobj)
                connect()
    return expected


def _answer(sock: socket.socket, name: str) -> int:
    """Answer a challenge, say something and hang up; return the length of what was said."""
    info = sock.recv(4096)
    nonce = info[6 + info[5] :]
    digest = hashlib.sha1(nonce + cast.secret(name).encode()).digest()  # noqa: S324 - the protocol's own
    ident = short(name.encode())
    said = Hpfeeds(name).publish(cast.HELLO, b"x")
    sock.sendall(frame(AUTH, ident + digest) + said)
    sock.shutdown(socket.SHUT_WR)
    return len(said)
