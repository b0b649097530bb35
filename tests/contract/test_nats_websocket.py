"""NATS in WebSocket keeps every promise of a stream protocol."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING, Any

from brokerkit.testing import MemoryBroker, Peer, ProtocolContract

if TYPE_CHECKING:
    from collections.abc import Iterator


def masked(data: bytes) -> bytes:
    """Give a message of one frame, masked with nothing."""
    size = len(data)
    head = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return b"\x82" + bytes((head[0] | 0x80,)) + head[1:] + bytes(4) + data


class NatsWebSocketTest(ProtocolContract, unittest.TestCase):
    """The contract, with what a WebSocket begins with before the login."""

    protocol = "nats-websocket"
    nonsense = (
        b"\x00" * 64,
        b"\xff" * 64,
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x82\x02hi",
        masked(b"PUB a.b xx\r\n"),
        masked(b"MSG a 1 2\r\nhi\r\n"),
        masked(b"SUB\r\n"),
        masked(b"\r\n"),
    )
    endless = b"\x02\xfe\x03\xe8" + bytes(4) + b"PUB a.b " + b"x" * 992
    hostile = (b"a 1 2\r\nhi\r\nMSG forged", b"\x82\x05hello")

    def login(
        self, peer: Peer, memory: MemoryBroker, name: str = "ann", secret: str | None = None
    ) -> tuple[Any, bytes]:
        """Send the request, and give what follows it."""
        caller = memory.plugins[self.protocol].caller(name, memory.users.get(name, "") if secret is None else secret)
        _, request = caller.receive(b"")
        peer.send(request)
        _, answer = caller.receive(peer.take())
        return caller, answer

    def test_counts(self) -> None:
        """What comes in is counted without the frames around it; connections, logins and messages as always."""
        memory = self.memory()
        counts = memory.broker.listener(self.protocol).counts
        peer = memory.connect(self.protocol)
        _, hello = self.login(peer, memory, secret="wrong")
        peer.send(hello)
        ann = memory.client(self.protocol)
        before = counts.bytes_in
        ann.peer.send(ann.caller.publish(b"a.b", b"1"))
        assert len(b"PUB a.b 1\r\n1\r\n") == counts.bytes_in - before
        assert (counts.accepted, counts.logins, counts.logins_refused, counts.messages_in) == (2, 1, 1, 1)

    def test_too_many_connections(self) -> None:
        """One connection too many is told so when it has become a WebSocket; the others stay."""
        memory = self.memory(settings={self.protocol: {"max_connections": 2}})
        first, second = memory.client(self.protocol), memory.client(self.protocol)
        third = memory.connect(self.protocol)
        caller = memory.plugins[self.protocol].caller("ann", "")
        third.send(caller.receive(b"")[1])
        assert b"-ERR 'maximum connections exceeded'" in third.take()
        assert self._closes(third, memory)
        assert not (first.peer.closed)
        assert not (second.peer.closed)
        self.serves_still(memory, second)

    def serves_still(self, memory: MemoryBroker, leaving: Any) -> None:
        """Fail unless there is room for another when one has left."""
        leaving.peer.hang_up()
        self.serves(memory)

    def test_stop(self) -> None:
        """Stopping the broker says goodbye to every connection; those that do not answer are cut."""
        memory = self.memory()
        client, silent = memory.client(self.protocol), memory.client(self.protocol)
        done: list[object] = []
        memory.broker.stopService().addCallback(done.append)
        memory.advance(0.1)
        assert silent.peer.take().endswith(b"\x88\x02\x03\xe9")  # 1001, going away
        client.pump()
        memory.advance(0.1)
        assert client.peer.closed
        assert done == []
        memory.advance(1.0)
        memory.advance(0.1)
        assert silent.peer.aborted
        assert len(done) == 1

    def _junk(self) -> Iterator[bytes]:
        """Give random bytes, as they are and as what a message holds."""
        for junk in super()._junk():
            yield junk
            yield masked(junk)
