"""HTTP by hand, in memory: raw bytes to a site, and what comes back cut into answers."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from brokerkit.testing.memory import ADDRESS, Peer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.web import Site

WITHOUT_BODY = (204, 304)


@attrs.frozen
class Reply:
    """One answer, cut by its own words; ``headers`` have names in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Give the body as JSON."""
        return json.loads(self.body)


class Time(Clock):
    """A test's clock that begins at some moment, and counts nothing by itself."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        """Begin there."""
        super().__init__()
        self.rightNow = now


class Line:
    """One connection to a site; ``address`` is where it comes from."""

    def __init__(self, site: Site, address: str = ADDRESS) -> None:
        """Connect."""
        self.reactor: Any = site.clock
        protocol = site.buildProtocol(IPv4Address("TCP", address, 54321))
        if protocol is None:
            raise ConnectionRefusedError(address)
        self.protocol = protocol
        self.peer = Peer(self, protocol, address)  # type: ignore[arg-type]  # it needs a reactor and its time

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.reactor.advance(seconds)

    @property
    def received(self) -> bytes:
        """Give what has come and was not taken."""
        return self.peer.received

    @property
    def closed(self) -> bool:
        """Whether the site has hung up."""
        return self.peer.closed

    def send(self, *chunks: bytes) -> Line:
        """Send bytes."""
        self.peer.send(*chunks)
        return self

    def begin(
        self,
        method: str,
        target: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        version: str = "1.1",
    ) -> Line:
        """Send a request; a body that is not bytes goes as JSON."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {target} HTTP/{version}", "Host: test"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines.append(f"Content-Length: {len(data)}")
        return self.send("\r\n".join([*lines, "", ""]).encode() + data)

    def ask(
        self,
        method: str,
        target: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        version: str = "1.1",
    ) -> Reply:
        """Send a request and give the answer, which has to be there."""
        return self.begin(method, target, body, headers, version).reply(with_body=method != "HEAD")

    def reply(self, *, with_body: bool = True) -> Reply:
        """Take one answer off what has come."""
        head, gap, rest = self.peer.received.partition(b"\r\n\r\n")
        assert gap, f"no answer in {self.peer.received!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, reason = first.split(" ", 2)
        assert version.startswith("HTTP/1.")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, f"{name} twice"
            headers[name.lower()] = value
        number = int(status)
        has_body = with_body and number not in WITHOUT_BODY and "transfer-encoding" not in headers
        length = int(headers["content-length"]) if has_body else 0
        assert len(rest) >= length
        self.peer.received = rest[length:]
        return Reply(number, reason, headers, rest[:length])

    def hang_up(self) -> None:
        """Close from this side."""
        self.peer.hang_up()


def usual(status: int) -> str:
    """Give the usual phrase of a status."""
    return HTTPStatus(status).phrase
