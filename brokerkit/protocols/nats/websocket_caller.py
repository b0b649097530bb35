"""NATS in WebSocket, the client's side, without I/O: the caller of NATS with frames around what it says."""

from __future__ import annotations

import base64
import os
import re
from typing import TYPE_CHECKING, Any

from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed
from wsproto.utilities import generate_accept_token

from brokerkit.errors import ClientError
from brokerkit.protocols.nats.caller import NatsCaller

if TYPE_CHECKING:
    from brokerkit.run import Message

_LARGEST = 16 * 1024  # bytes of an answer in HTTP
_ACCEPT = re.compile(rb"\r\nsec-websocket-accept:[ \t]*(\S+)", re.IGNORECASE)


class NatsWebSocketCaller:
    """One client; everything else is as in NATS."""

    def __init__(self, name: str, secret: str, host: str = "brokerkit") -> None:
        """Take user and password, as NATS does; ``host`` is what the request calls the broker."""
        self._inner = NatsCaller(name, secret)
        self._frames = FrameProtocol(True, [])
        self._key = base64.b64encode(os.urandom(16))
        self._asked = False
        self._open = False
        self._answer = b""
        self._host = host.encode()

    @property
    def ready(self) -> bool:
        """Whether the login is done."""
        return self._inner.ready

    def receive(self, chunk: bytes) -> tuple[list[Message], bytes]:
        """Take what came; give the messages in it and what to send now: first of all the request."""
        request = b"" if self._asked else self._request()
        if not self._open:
            self._answer += chunk
            head, end, chunk = self._answer.partition(b"\r\n\r\n")
            if not end:
                if len(self._answer) > _LARGEST:
                    raise ClientError("what it says is no answer to a request for a WebSocket")
                return [], request
            self._check(head, chunk)
        messages: list[Message] = []
        answer = request
        for data in self._unpacked(chunk):
            heard, said = self._inner.receive(data)
            messages += heard
            answer += self._packed(said)
        return messages, answer + self._control

    def _request(self) -> bytes:
        self._asked = True
        lines = (b"GET / HTTP/1.1", b"Host: " + self._host, b"Upgrade: websocket", b"Connection: Upgrade")
        return b"\r\n".join((*lines, b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + self._key, b"", b""))

    def _check(self, head: bytes, rest: bytes) -> None:
        """Raise ``ClientError`` unless it has become a WebSocket."""
        status, _, _ = head.partition(b"\r\n")
        accept = _ACCEPT.search(head)
        if not status.startswith(b"HTTP/1.1 101") or not accept or accept[1] != generate_accept_token(self._key):
            what = (rest.strip() or status).decode(errors="replace")
            raise ClientError(f"no WebSocket: {what[:200]}")
        self._open, self._answer = True, b""

    def _unpacked(self, chunk: bytes) -> list[bytes]:
        """Give what the frames in a chunk hold; ``_control`` is then what answers those that hold nothing of NATS."""
        self._control = b""
        found: list[bytes] = []
        self._frames.receive_bytes(chunk)
        try:
            for frame in self._frames.received_frames():
                payload: Any = frame.payload
                if frame.opcode is Opcode.BINARY:
                    found.append(payload)
                elif frame.opcode is Opcode.TEXT:
                    found.append(payload.encode())
                elif frame.opcode is Opcode.PING:
                    self._control += bytes(self._frames.pong(payload))
                elif frame.opcode is Opcode.CLOSE:
                    self._control += bytes(self._frames.close(payload[0]))
        except ParseFailed as error:
            raise ClientError(f"what it says is no WebSocket: {error}") from None
        return found

    def _packed(self, data: bytes) -> bytes:
        """Give a message of one frame, masked as a client's are."""
        return bytes(self._frames.send_data(data)) if data else b""

    def publish(self, topic: bytes, payload: bytes) -> bytes:
        """Give a PUB."""
        return self._packed(self._inner.publish(topic, payload))

    def subscribe(self, pattern: bytes) -> bytes:
        """Give a SUB."""
        return self._packed(self._inner.subscribe(pattern))

    def settle(self) -> bytes:
        """Give a PING."""
        return self._packed(self._inner.settle())

    def settled(self) -> bool:
        """Say whether every PING has been answered."""
        return self._inner.settled()
