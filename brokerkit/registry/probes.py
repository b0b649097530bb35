"""Looking whether something is well: a TCP connection that comes about, or a GET that is answered with 2xx.

Only towards networks that are allowed: whoever may write to the registry could otherwise have the broker knock at doors
that are closed to them.  A name is resolved first, and what is connected to is the address that was looked at.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.basic import LineOnlyReceiver
from zope.interface import implementer

from brokerkit.entrance import is_within
from brokerkit.registry.words import Unusable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.internet.interfaces import IAddress, IHostResolution
    from twisted.python.failure import Failure

    from brokerkit.entrance import Network

TTL, TCP, HTTP = "ttl", "tcp", "http"
LEAST, LONGEST = 1.0, 86400.0  # seconds between two looks
USUAL_TIMEOUT, LONGEST_TIMEOUT = 3.0, 30.0  # seconds
LINE = 1024  # bytes of a status line
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})", re.ASCII)
_STATUS = re.compile(rb"HTTP/1\.[01] (\d\d\d)(?: .*)?", re.ASCII)
_SAFE = re.compile(r"[!-~]*", re.ASCII)


class Unwell(Exception):
    """Something is not well; the text says how, and holds nothing that anybody else has said."""


@attrs.frozen
class Probe:
    """What is looked at: ``every`` so many seconds, for ttl within so many; ``url`` is for http alone."""

    kind: str
    every: float
    timeout: float = USUAL_TIMEOUT
    host: str = ""
    port: int = 0
    path: str = ""


def read_probe(data: Mapping[str, Any], usual: float) -> Probe:
    """Read ``{"kind": "tcp", "address": "HOST:PORT"}`` and its like; raise ``Unusable`` for what cannot be meant.

    ``usual`` are the seconds between two looks where it says none.
    """
    kind = data.get("kind")
    wanted = {TTL: {"ttl"}, TCP: {"address", "interval", "timeout"}, HTTP: {"url", "interval", "timeout"}}
    if not isinstance(kind, str) or kind not in wanted:
        raise Unusable("kind: expected ttl, tcp or http")
    if unknown := data.keys() - wanted[kind] - {"kind"}:
        raise Unusable(f"{min(unknown)[:100]}: a check of kind {kind} has no such member")
    if kind == TTL:
        return Probe(TTL, _seconds(data, "ttl", None, LONGEST))
    every = _seconds(data, "interval", usual, LONGEST)
    timeout = _seconds(data, "timeout", USUAL_TIMEOUT, LONGEST_TIMEOUT)
    host, port, path = _address(data.get("address")) if kind == TCP else _url(data.get("url"))
    return Probe(kind, every, timeout, host, port, path)


def _seconds(data: Mapping[str, Any], key: str, usual: float | None, most: float) -> float:
    found = data.get(key, usual)
    if isinstance(found, bool) or not isinstance(found, int | float) or not LEAST <= found <= most:
        raise Unusable(f"{key}: expected a number of seconds from {LEAST:g} to {most:g}")
    return float(found)


def _address(text: object) -> tuple[str, int, str]:
    found = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None or not 0 < int(found[2]) < 1 << 16:
        raise Unusable("address: expected HOST:PORT")
    return found[1].strip("[]"), int(found[2]), ""


def _url(text: object) -> tuple[str, int, str]:
    if isinstance(text, str) and _SAFE.fullmatch(text):
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if host and parts.scheme == "http" and not parts.username:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            return host, 80 if port is None else port, path
    raise Unusable("url: expected http://HOST:PORT/PATH")


async def look(reactor: Any, probe: Probe, networks: tuple[Network, ...]) -> None:  # noqa: ANN401  any reactor
    """Look once; raise ``Unwell``."""
    address = await _allowed(reactor, probe, networks)
    kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
    answer: Deferred[None] = Deferred()
    endpoint = kind(reactor, address, probe.port, timeout=probe.timeout)
    try:
        protocol = await endpoint.connect(_Looking(probe, answer))
    except Exception as error:
        raise Unwell(f"no connection: {type(error).__name__}") from None
    if probe.kind == TCP:
        protocol.transport.abortConnection()  # type: ignore[union-attr]
        return
    alarm = reactor.callLater(probe.timeout, protocol.transport.abortConnection)  # type: ignore[union-attr]
    try:
        await answer
    finally:
        if alarm.active():
            alarm.cancel()


class _Looking(Factory):
    noisy = False

    def __init__(self, probe: Probe, answer: Deferred[None]) -> None:
        self._probe = probe
        self._answer = answer

    def buildProtocol(self, addr: IAddress | None) -> Protocol:  # noqa: ARG002  twisted gives it
        return Protocol() if self._probe.kind == TCP else _Get(self._probe, self._answer)


class _Get(LineOnlyReceiver):
    """One GET, of whose answer the first line is read."""

    MAX_LENGTH = LINE

    def __init__(self, probe: Probe, answer: Deferred[None]) -> None:
        self._probe = probe
        self._answer = answer

    def connectionMade(self) -> None:
        probe = self._probe
        host = f"[{probe.host}]" if ":" in probe.host else probe.host
        lines = [
            f"GET {probe.path} HTTP/1.1",
            f"Host: {host}:{probe.port}",
            "User-Agent: brokerkit",
            "Connection: close",
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("ascii"))  # type: ignore[union-attr]

    def lineReceived(self, line: bytes) -> None:
        found = _STATUS.fullmatch(line)
        if found is None:
            self._say("the answer is not HTTP")
        else:
            self._say("" if found[1].startswith(b"2") else f"status {found[1].decode()}")
        self.transport.abortConnection()  # type: ignore[union-attr]

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002  twisted gives it
        self._say("the answer is not HTTP")
        self.transport.abortConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = ConnectionDone) -> None:  # type: ignore[assignment]  # noqa: ARG002
        self._say("no answer in time")

    def _say(self, why: str) -> None:
        answer = self._answer
        if not answer.called:
            if why:
                answer.errback(Unwell(why))
            else:
                answer.callback(None)


# -- where it is ------------------------------------------------------------------------------------------------------


async def _allowed(reactor: Any, probe: Probe, networks: tuple[Network, ...]) -> str:  # noqa: ANN401  any reactor
    """Give an address of the host that may be connected to; raise ``Unwell`` if there is none."""
    found = [probe.host] if _is_address(probe.host) else await _resolved(reactor, probe)
    for address in found:
        if is_within(address, networks):
            return address
    raise Unwell("its address is in none of the networks that may be looked at" if found else "its name is not known")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def _resolved(reactor: Any, probe: Probe) -> list[str]:  # noqa: ANN401  any reactor
    receiver = _Addresses()
    reactor.nameResolver.resolveHostName(receiver, probe.host, probe.port)
    alarm = reactor.callLater(probe.timeout, receiver.resolutionComplete)
    try:
        return await receiver.complete
    finally:
        if alarm.active():
            alarm.cancel()


@implementer(IResolutionReceiver)
class _Addresses:
    def __init__(self) -> None:
        self._found: list[str] = []
        self.complete: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N803  twisted's name
        pass

    def addressResolved(self, address: IAddress) -> None:
        self._found.append(address.host)  # type: ignore[attr-defined]

    def resolutionComplete(self) -> None:
        if not self.complete.called:
            self.complete.callback(list(self._found))
