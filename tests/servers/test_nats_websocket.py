"""NATS in WebSocket as nats-server does it: the same clients at both, and the same comes of it."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from tests.certificates import Authority, client_context
from tests.servers.programs import find, free_port
from tests.servers.test_nats_tls import running

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

SECONDS = 10
PATIENCE = 1.5  # seconds in which what is to come comes
HELLO = b'CONNECT {"verbose":false,"protocol":0}\r\nPING\r\n'
MAX_PAYLOAD = 10_000
HEADERS = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

# name: what nats-server's websocket block says, and the keys of brokerkit's [[listen]]
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("no_tls: true", {}),
    "compressed": ("no_tls: true, compression: true", {"compression": True}),
    "secure": ("tls { cert_file: server.crt, key_file: server.key }", {}),
    "same origin": ("no_tls: true, same_origin: true", {"same_origin": True}),
    "origins": (
        'no_tls: true, allowed_origins: ["https://app.example.org", "http://other.example.org:8080"]',
        {"allowed_origins": ["https://app.example.org", "http://other.example.org:8080"]},
    ),
}


@attrs.define
class Outcome:
    """What became of one client: the status of the answer in HTTP and what it agrees on, what was heard, the end."""

    status: int = 0
    extensions: str = ""
    heard: bytes = b""
    kinds: set[str] = attrs.field(factory=set)
    code: int = 0
    end: str = "open"


class Client:
    """A client of raw bytes."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        """Connect."""
        self.outcome = Outcome()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        if context is not None:
            self._socket = context.wrap_socket(self._socket)
        self._frames = FrameProtocol(True, [])
        self.port = port

    def ask(self, more: dict[str, str | None] | None = None, method: str = "GET", behind: bytes = b"") -> bool:
        """Send the request; say whether it is a WebSocket then."""
        headers = {**HEADERS, **(more or {})}
        lines = [f"{method} / HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + behind)
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = self._socket.recv(1)
            if not data:
                break
            answer += data
        if found := re.match(rb"HTTP/1\.1 (\d+)", answer):
            self.outcome.status = int(found[1])
        if found := re.search(rb"(?i)sec-websocket-extensions: *([^\r]*)", answer):
            self.outcome.extensions = ",".join(sorted(found[1].decode().replace(" ", "").split(";")))
        return self.outcome.status == 101

    def say(self, data: bytes | bytearray) -> None:
        """Send raw bytes; a connection that is gone shows itself when it is read from."""
        try:
            self._socket.sendall(data)
        except OSError:
            self.outcome.end = "closed"

    def send(self, data: bytes) -> None:
        """Send a message."""
        self.say(self._frames.send_data(data))

    def listen(self, until: bytes = b"PONG\r\n") -> Outcome:
        """Read until that has come, the connection is closed, or nothing comes."""
        self._socket.settimeout(PATIENCE)
        try:
            while until not in self.outcome.heard and (data := self._socket.recv(65536)):
                self._take(data)
            if until not in self.outcome.heard:
                self.outcome.end = "closed"
        except TimeoutError:
            pass
        except (OSError, ParseFailed):
            self.outcome.end = "closed"
        return self.outcome

    def _take(self, data: bytes) -> None:
        self._frames.receive_bytes(data)
        for frame in self._frames.received_frames():
            payload: Any = frame.payload
            if frame.opcode is Opcode.CLOSE:
                self.outcome.code = int(payload[0])
                self.say(self._frames.close(payload[0]))
                continue
            self.outcome.kinds.add(frame.opcode.name)
            self.outcome.heard += payload if isinstance(payload, bytes) else str(payload).encode()

    def done(self) -> Outcome:
        """Hang up, and give what came of it, without what is never the same."""
        self._socket.close()
        self.outcome.heard = re.sub(rb"INFO [^\n]*\n", _info, self.outcome.heard)
        return self.outcome


def _info(line: re.Match[bytes]) -> bytes:
    """Give what INFO says of the transport."""
    said = json.loads(line[0][5:])
    return b"INFO %b\n" % json.dumps({key: said.get(key) for key in ("tls_required", "tls_verify", "host")}).encode()


def frame(opcode: int, payload: bytes, *, mask: bool = True, first: int = 0x80) -> bytes:
    """Give a frame, masked with nothing; ``first`` holds FIN and the reserved bits."""
    size = len(payload)
    short = size if size < 126 else 126 if size <= 0xFFFF else 127
    head = bytes((first | opcode, short | (0x80 if mask else 0)))
    longer = b"" if short < 126 else struct.pack("!H" if short == 126 else "!Q", size)
    return head + longer + (bytes(4) if mask else b"") + payload


# -- both servers ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make an authority and a certificate of it."""
    made = Authority(tmp_path_factory.mktemp("websocket"))
    made.issue("server", "server")
    return made


@pytest.fixture(scope="module")
def ports(home: Authority) -> Iterator[dict[str, dict[str, int]]]:
    """Run both for each variant; give their ports."""
    program = find(os.environ.get("NATS_SERVER", "nats-server"))
    ours, theirs = ({name: free_port() for name in VARIANTS} for _ in range(2))
    tables = []
    with ExitStack() as stack:
        for name, (block, keys) in VARIANTS.items():
            tls = ":key=server.key:cert=server.crt" if name == "secure" else ""
            endpoint = f"{'tls' if tls else 'tcp'}:port={ours[name]}:interface=127.0.0.1{tls}"
            lines = ["[[listen]]", 'protocol = "nats-websocket"', f'endpoint = "{endpoint}"']
            given = {"max_payload": MAX_PAYLOAD, **keys}
            tables.append("\n".join([*lines, *(f"{key} = {json.dumps(value)}" for key, value in given.items())]))
            file = home.directory / f"{name.replace(' ', '-')}.conf"
            listen = f'listen: "127.0.0.1:{theirs[name]}", handshake_timeout: "2s"'
            text = f"listen: 127.0.0.1:-1\nmax_payload: {MAX_PAYLOAD}\nwebsocket {{ {listen}, {block} }}\n"
            file.write_text(text)
            stack.enter_context(running([program, "-c", str(file)], home.directory, [theirs[name]]))
        (home.directory / "broker.toml").write_text("\n".join(['auth = "anonymous"', *tables]))
        command = [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "brokerkit", "-c", "broker.toml"]
        stack.enter_context(running(command, home.directory, list(ours.values())))
        yield {"brokerkit": ours, "nats-server": theirs}


def both(ports: dict[str, dict[str, int]], home: Authority, variant: str, way: Callable[[Client], object]) -> Outcome:
    """Give the outcome, which has to be the same at both."""
    found = {}
    for server in ("nats-server", "brokerkit"):
        client = Client(ports[server][variant], client_context(home) if variant == "secure" else None)
        way(client)
        found[server] = client.done()
    assert found["brokerkit"] == found["nats-server"], f"{found}"
    return found["brokerkit"]


@pytest.mark.parametrize("variant", ["plain", "compressed", "secure"])
@pytest.mark.parametrize("cut", [1, 7, len(HELLO)])
def test_hello(ports: dict[str, dict[str, int]], home: Authority, variant: str, cut: int) -> None:
    """A client is greeted in binary, and may cut what it says into messages anywhere."""

    def way(client: Client) -> None:
        client.ask()
        for start in range(0, len(HELLO), cut):
            client.send(HELLO[start : start + cut])
        client.listen()

    assert both(ports, home, variant, way).heard.endswith(b"PONG\r\n")


OFFERS = [
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
    "x-webkit-deflate-frame",
]


@pytest.mark.parametrize("variant", ["plain", "compressed"])
@pytest.mark.parametrize("offer", OFFERS)
def test_compression(ports: dict[str, dict[str, int]], home: Authority, variant: str, offer: str) -> None:
    """Compression is agreed on in the same words, or not at all."""
    both(ports, home, variant, lambda client: client.ask({"Sec-WebSocket-Extensions": offer}))


ORIGINS = [
    None,
    "null",
    "http://localhost",
    "https://localhost",
    "http://localhost:80",
    "http://evil.example.org",
    "https://app.example.org",
    "https://app.example.org:443",
    "http://app.example.org",
    "http://other.example.org:8080",
    "http://other.example.org",
    "https://app.example.org.evil.example.org",
]


@pytest.mark.parametrize("variant", ["plain", "same origin", "origins"])
@pytest.mark.parametrize("origin", ORIGINS)
def test_origin(ports: dict[str, dict[str, int]], home: Authority, variant: str, origin: str | None) -> None:
    """Pages of the same places are let in and kept out."""
    both(ports, home, variant, lambda client: client.ask({"Origin": origin}))


@pytest.mark.parametrize(
    ("headers", "method", "behind"),
    [
        ({}, "POST", b""),
        ({"Connection": "keep-alive"}, "GET", b""),
        ({"Sec-WebSocket-Key": None}, "GET", b""),
        ({"Host": None}, "GET", b""),
        ({"Connection": "keep-alive, Upgrade", "Upgrade": "WebSocket"}, "GET", b""),
    ],
)
def test_request(
    ports: dict[str, dict[str, int]], home: Authority, headers: dict[str, str | None], method: str, behind: bytes
) -> None:
    """A request is taken or refused with the same status."""
    both(ports, home, "plain", lambda client: client.ask(headers, method, behind))


FRAMES = {
    "text": frame(1, HELLO),
    "ping": frame(9, b"are you there") + frame(2, HELLO),
    "fragments": frame(2, HELLO[:9], first=0) + frame(9, b"") + frame(0, HELLO[9:20], first=0) + frame(0, HELLO[20:]),
    "empty": frame(2, b"") + frame(2, HELLO),
    "close": frame(8, struct.pack("!H", 1000) + b"bye"),
    "close without a code": frame(8, b""),
}
# what no client may send, with the code that it is told; nats-server often resets the connection before that is read
WRONG = {
    "unmasked": frame(2, HELLO, mask=False),
    "reserved bit": frame(2, HELLO, first=0xA0),
    "compressed without agreement": frame(2, HELLO, first=0xC0),
    "unknown opcode": frame(3, b""),
    "long control": frame(9, b"x" * 126),
    "cut control": frame(9, b"x", first=0),
    "continuation of nothing": frame(0, HELLO),
    "message in a message": frame(2, HELLO, first=0) + frame(2, HELLO),
    "close with a code of nobody": frame(8, struct.pack("!H", 999)),
    "close with half a code": frame(8, b"x"),
    "text that is none": frame(1, b"\xff\xfe"),
    "nonsense": frame(2, b"nonsense\r\n"),
    "too large a payload": frame(2, HELLO + b"PUB a %d\r\n" % (MAX_PAYLOAD + 1)),
    "too large a message": frame(2, HELLO) + frame(2, b"x" * (8 * MAX_PAYLOAD + 1)),
    "too large by promise": b"\x82\xff" + struct.pack("!Q", 2**40) + bytes(4),
}


CODES = {
    "too large a payload": CloseReason.MESSAGE_TOO_BIG,
    "too large a message": CloseReason.MESSAGE_TOO_BIG,
    "too large by promise": CloseReason.MESSAGE_TOO_BIG,
    "text that is none": CloseReason.INVALID_FRAME_PAYLOAD_DATA,
}
OTHERS = ("text that is none",)  # nats-server takes it for data


@pytest.mark.parametrize("name", FRAMES)
def test_frames(ports: dict[str, dict[str, int]], home: Authority, name: str) -> None:
    """Frames, well formed or not, are answered alike."""

    def way(client: Client) -> None:
        client.ask()
        client.say(FRAMES[name])
        client.listen(b"nothing of the kind" if name.startswith("close") else b"PONG\r\n")

    both(ports, home, "plain", way)


@pytest.mark.parametrize("name", WRONG)
def test_wrong(ports: dict[str, dict[str, int]], name: str) -> None:
    """What no client may send ends the connection, with a reason."""
    found = {}
    for server in ("nats-server", "brokerkit"):
        client = Client(ports[server]["plain"], None)
        client.ask()
        client.say(WRONG[name])
        found[server] = client.listen(b"nothing of the kind")
        client.done()
    assert found["brokerkit"].end == "closed"
    assert found["brokerkit"].code == CODES.get(name, CloseReason.PROTOCOL_ERROR)
    if found["nats-server"].code and name not in OTHERS:
        assert found["nats-server"].code == found["brokerkit"].code


def test_silence(ports: dict[str, dict[str, int]], home: Authority) -> None:
    """A client that asks for nothing is closed in time, and is told nothing."""

    def way(client: Client) -> None:
        client._socket.settimeout(4)
        assert client._socket.recv(1) == b""
        client.outcome.end = "closed"

    both(ports, home, "plain", way)
