"""NATS, the client's side, without I/O: for ``brokerkit pub`` and ``sub``, and for tests that cross protocols."""

from __future__ import annotations

import re
from json import dumps, loads

from brokerkit.errors import ClientError
from brokerkit.run import Message
from brokerkit.topics import has_empty_token, is_pattern
from brokerkit.unread import Unread

_CONTROL = re.compile(rb"(INFO|MSG|HMSG|PING|PONG|\+OK|-ERR)[ \t]*([^\r\n]*)\r\n", re.IGNORECASE)


class NatsCaller:
    """One client; quiet, without echo of errors: what the broker refuses is raised.

    TLS begins when INFO has come: who makes the connection sets ``hold``, looks at ``offered`` and ``required``, and
    has the login said by ``login``.
    """

    upgrades = True

    def __init__(self, name: str, secret: str) -> None:
        """Take user and password; without a name the secret is a token, without either nobody is named."""
        login = {"user": name, "pass": secret} if name else {"auth_token": secret} if secret else {}
        options = {"verbose": False, "pedantic": False, "headers": True, "protocol": 1, "lang": "brokerkit"}
        self._hello = b"CONNECT %b\r\nPING\r\n" % dumps({**options, **login}).encode()
        self._unread = Unread()
        self._sids = 0
        self._asked = 1
        self.ready = False
        self.hold = False
        self.offered: bool | None = None  # TLS, as INFO says; not known before it has come
        self.required = False  # TLS, likewise

    def receive(self, chunk: bytes) -> tuple[list[Message], bytes]:
        """Take what came; give the messages in it and what to send now."""
        messages: list[Message] = []
        answer = b""
        unread = self._unread
        unread.feed(chunk)
        while found := _CONTROL.match(unread.chunk, unread.pos):
            name, arguments = found[1].upper(), found[2]
            end = found.end()
            if name in (b"MSG", b"HMSG"):
                words = arguments.split()
                size = int(words[-1])
                if unread.lacks(end + size + 2 - unread.pos):
                    break
                head = int(words[-2]) if name == b"HMSG" else 0
                body = unread.chunk[end : end + size]
                reply = words[2] if len(words) == 4 + bool(head) else b""
                messages.append(Message(words[0], body[head:], reply, body[:head]))
                end += size + 2
            else:
                answer += self._control(name, arguments)
            unread.pos = end
        unread.settle()
        return messages, answer

    def _control(self, name: bytes, arguments: bytes) -> bytes:
        if name == b"-ERR":
            raise ClientError(arguments.decode(errors="replace").strip("'"))
        if name == b"INFO" and not self.ready:
            self._read_info(arguments)
            return b"" if self.hold else self.login()
        if name == b"PONG":
            self._asked -= 1
            self.ready = True
        return b"PONG\r\n" if name == b"PING" else b""

    def _read_info(self, text: bytes) -> None:
        """See what is said of TLS; only the first INFO counts."""
        if self.offered is None:
            try:
                said = loads(text)
            except ValueError:
                said = None
            if not isinstance(said, dict):
                raise ClientError("what it says is not the protocol")
            self.required = bool(said.get("tls_required"))
            self.offered = self.required or bool(said.get("tls_available"))

    def login(self) -> bytes:
        """Give the CONNECT, once."""
        hello, self._hello = self._hello, b""
        return hello

    def publish(self, topic: bytes, payload: bytes) -> bytes:
        """Give a PUB."""
        if has_empty_token(topic) or re.search(rb"\s", topic):
            text = "a NATS subject has no blanks and no empty tokens"
            raise ValueError(text)
        return b"PUB %b %d\r\n%b\r\n" % (topic, len(payload), payload)

    def subscribe(self, pattern: bytes) -> bytes:
        """Give a SUB."""
        if not is_pattern(pattern) or re.search(rb"\s", pattern):
            text = "a NATS subject has no blanks and no empty tokens, and > only at its end"
            raise ValueError(text)
        self._sids += 1
        return b"SUB %b %d\r\n" % (pattern, self._sids)

    def settle(self) -> bytes:
        """Give a PING: its PONG says that all before it has been done."""
        self._asked += 1
        return b"PING\r\n"

    def settled(self) -> bool:
        """Say whether every PING has been answered."""
        return not self._asked
