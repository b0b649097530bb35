"""Asking the network for a broker that has a name: plain sockets with a time limit, and no Twisted.

The question goes out of every interface, several times, since datagrams get lost.  With a discovery key only signed
answers count, and each says how to recognise its broker by TLS; without one it is the question of the original, which
any broker answers and anybody can lie about.
"""

from __future__ import annotations

import select
import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import attrs

from brokerkit.protocols.bpbroker import signed
from brokerkit.protocols.bpbroker.places import targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Target = tuple[str, str, int]

PORT = 20443
TIMEOUT, TRIES = 3.0, 3  # seconds in all, as the original waits; questions in that time
FOUND = b"Key Exists\n"
LARGEST = 4096  # bytes of an answer
MOST = 256  # answers that are collected


@attrs.frozen
class Found:
    """A broker that has the name.

    ``host`` is where its answer came from (of a link-local address with the interface behind ``%``), ``port`` where its
    API is.  ``tls_sha256`` is the fingerprint of its certificate in hex and ``id`` its own name for itself, both empty
    where the answer was not signed.
    """

    host: str
    port: int
    tls_sha256: str = ""
    id: str = ""

    @property
    def signed(self) -> bool:
        """Whether whoever answered has the discovery key."""
        return bool(self.id)


def ask(
    name: str,
    *,
    port: int = PORT,
    key: str = "",
    timeout: float = TIMEOUT,
    tries: int = TRIES,
    every: bool = False,
    to: Sequence[Target] | None = None,
) -> list[Found]:
    """Give the brokers that have an entry of that name: the first that answers, or with ``every`` all.

    ``timeout`` is in seconds; all of it passes where nobody answers, and with ``every`` always.  ``key`` is the
    discovery key.  ``to`` are addresses to ask in place of everybody: each with an address of ours and the number of an
    interface, empty and 0 where that does not matter.  Raises ``OSError`` where nothing can be sent at all.
    """
    secret = key.encode()
    nonce, question = signed.ask(name, secret) if key else ("", name.encode() + b"\n")
    found: dict[tuple[str, int], Found] = {}
    with ExitStack() as stack:
        sockets = [(stack.enter_context(one), target) for one, target in _sockets(to if to is not None else targets())]
        for answer, host in _answers(sockets, question, port, timeout, tries):
            one = _read(answer, host, port, nonce, secret)
            if one is not None:
                found.setdefault((one.host, one.port), one)
                if not every or len(found) >= MOST:
                    break
    return list(found.values())


def _read(answer: bytes, host: str, port: int, nonce: str, key: bytes) -> Found | None:
    """Give whom an answer is of, ``None`` for what is no answer."""
    if not nonce:
        return Found(host, port) if answer == FOUND else None
    told = signed.read_answer(answer, nonce, key)
    return Found(host, told.port, told.tls_sha256, told.id) if told is not None else None


def _sockets(to: Sequence[Target]) -> Iterator[tuple[socket.socket, Target]]:
    for target in to:
        address, own, number = target
        with suppress(OSError):  # what cannot be asked from here
            yield _socket(address, own, number), target


def _socket(address: str, own: str, number: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, number)
            return opened
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if own:
            opened.bind((own, 0))
            _leave_by(opened, number)
    except OSError:
        opened.close()
        raise
    return opened


def _leave_by(opened: socket.socket, number: int) -> None:
    """Have the limited broadcast leave by that interface, where the system lets us say so."""
    option = getattr(socket, "SO_BINDTODEVICE", None)
    if option is not None and number:
        with suppress(OSError):
            opened.setsockopt(socket.SOL_SOCKET, option, socket.if_indextoname(number).encode())


def _answers(
    sockets: list[tuple[socket.socket, Target]],
    question: bytes,
    port: int,
    timeout: float,
    tries: int,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[bytes, str]]:
    """Send, again and again, and give what comes with the host that it comes from, until the time is over."""
    begin = clock()
    pause = timeout / max(1, tries)
    for i in range(max(1, tries)):
        if not _send(sockets, question, port):
            raise OSError("nothing can be sent: there is no network")
        end = begin + min(timeout, pause * (i + 1))
        while (left := end - clock()) > 0:
            ready, _, _ = select.select([one for one, _ in sockets], [], [], left)
            for one in ready:
                yield from _received(one)


def _send(sockets: list[tuple[socket.socket, Target]], question: bytes, port: int) -> bool:
    """Send one question out of each; say whether one went out."""
    sent = False
    for one, (address, _, number) in sockets:
        to = (address, port, 0, number) if ":" in address else (address, port)
        with suppress(OSError):
            one.sendto(question, to)
            sent = True
    return sent


def _received(one: socket.socket) -> Iterator[tuple[bytes, str]]:
    with suppress(OSError):
        for _ in range(MOST):
            answer, sender = one.recvfrom(LARGEST)
            yield answer, socket.getnameinfo(sender, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
