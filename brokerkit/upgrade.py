"""The request by which HTTP becomes a WebSocket (RFC 6455, section 4), and what is said against it.

A refusal is an answer in HTTP with a sentence that says what to do, since it is mostly read by somebody who has typed
the wrong URL.  Browsers send an ``Origin`` that pages cannot forge, and cookies that pages need not know: where cookies
log in, it has to be looked at, or any page could speak in the name of whoever looks at it.
"""

from __future__ import annotations

import base64
import binascii
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs
import h11
from wsproto.utilities import generate_accept_token

from brokerkit.deflate import AGREED, agree
from brokerkit.entrance import is_within
from brokerkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.entrance import Network

LARGEST = 16 * 1024  # bytes of a request
VERSION = b"13"
_KEY_BYTES = 16
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_REASONS = {400: "Bad Request", 403: "Forbidden", 405: "Method Not Allowed", 426: "Upgrade Required"}
_REASONS[431] = "Request Header Fields Too Large"

Origin = tuple[str, str, int]


class NotUpgraded(Exception):
    """A request is refused; ``answer`` is what to send."""

    def __init__(self, status: int, sentence: str, *headers: tuple[str, str]) -> None:
        """Take the status, a sentence for people, and headers that say the same to programs."""
        super().__init__(sentence)
        self.status = status
        self.headers = dict(headers)
        body = f"{sentence}\n".encode()
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}", "Connection: close", *(f"{k}: {v}" for k, v in headers)]
        lines += ["Content-Type: text/plain; charset=utf-8", f"Content-Length: {len(body)}", "", ""]
        self.answer = "\r\n".join(lines).encode() + body


@attrs.frozen
class Rules:
    """Whose requests are taken: ``origins`` (any if there are none) and ``same_origin`` are for those that name one.

    ``tls`` says which scheme a page of the same origin has.  ``proxies`` are networks whose X-Forwarded-For is
    believed.
    """

    origins: frozenset[Origin] = frozenset()
    same_origin: bool = False
    compression: bool = False
    tls: bool = False
    proxies: tuple[Network, ...] = ()


@attrs.frozen
class Request:
    """What a request that was taken says: ``address`` is the peer's as a trusted proxy gives it, or empty."""

    accept: str
    deflate: bool
    cookies: dict[str, str] = attrs.field(repr=False)
    address: str = ""

    @property
    def answer(self) -> bytes:
        """The answer, after which it is a WebSocket."""
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines.append(f"Sec-WebSocket-Accept: {self.accept}")
        if self.deflate:
            lines.append(f"Sec-WebSocket-Extensions: {AGREED}")
        return "\r\n".join([*lines, "", ""]).encode()


class Upgrade:
    """The request of one connection, as it comes in; ``host`` is where it comes from."""

    def __init__(self, rules: Rules, host: str) -> None:
        """Wait for it."""
        self._rules = rules
        self._host = host
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST)

    def feed(self, data: bytes) -> Request | None:
        """Give the request when all of it has come; raise ``NotUpgraded``."""
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:  # noqa: PLR2004
                raise NotUpgraded(431, f"The request is longer than {LARGEST} bytes.") from None
            raise NotUpgraded(400, "This is no HTTP/1.1, or it is not well formed.") from None
        if not isinstance(event, h11.Request):
            return None
        request = taken(event, self._rules, self._host)
        if not isinstance(self._next(), h11.EndOfMessage) or self._http.trailing_data[0]:
            raise NotUpgraded(400, "Nothing may follow the request before it has been answered.")
        return request

    def _next(self) -> object:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError:
            return None


def taken(request: h11.Request, rules: Rules, host: str) -> Request:
    """Read a request, wherever it was read from the wire; raise ``NotUpgraded``."""
    headers: dict[str, list[str]] = {}
    for name, value in request.headers:
        headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    if request.method != b"GET":
        raise NotUpgraded(405, "A WebSocket begins with GET.", ("Allow", "GET"))
    if request.http_version != b"1.1":
        raise NotUpgraded(400, "A WebSocket begins with HTTP/1.1.")
    if "websocket" not in _words(headers, "upgrade"):
        raise NotUpgraded(426, "This is a WebSocket: open it with ws:// or wss://.", *_WANTED)
    if "upgrade" not in _words(headers, "connection"):
        raise NotUpgraded(400, "The header Connection does not say Upgrade: does a proxy take it away?")
    if headers.get("sec-websocket-version") != [VERSION.decode()]:
        raise NotUpgraded(426, "Only version 13 of WebSocket is spoken here.", *_WANTED)
    key = headers.get("sec-websocket-key", [])
    if len(key) != 1 or not _is_key(key[0]):
        raise NotUpgraded(400, "The header Sec-WebSocket-Key is not 16 bytes in base64, once.")
    _check_origin(headers, rules)
    deflate = rules.compression and agree(",".join(headers.get("sec-websocket-extensions", [])))
    address = _forwarded(headers, host, rules.proxies)
    return Request(generate_accept_token(key[0].encode()).decode(), deflate, _cookies(headers), address)


_WANTED = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION.decode()))


def _words(headers: dict[str, list[str]], name: str) -> list[str]:
    """Give the words of a header that is a list."""
    return [word.strip().lower() for line in headers.get(name, []) for word in line.split(",")]


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


# -- where from ---------------------------------------------------------------------------------------------------


def read_origins(texts: Iterable[str], where: str) -> frozenset[Origin]:
    """Read origins such as https://app.example.org; an asterisk allows all, which is none; raise ``ConfigError``."""
    found = set()
    for text in texts:
        origin = origin_of(text)
        if origin is None and text != "*":
            expected = "origins such as https://app.example.org or http://localhost:8080, or * for all"
            raise ConfigError(where, "allowed_origins", text, expected)
        found.add(origin)
    return frozenset() if None in found else frozenset(filter(None, found))


def _check_origin(headers: dict[str, list[str]], rules: Rules) -> None:
    """Refuse pages of other places; programs that are no browsers name no origin."""
    named = headers.get("origin", [])
    if not named or not (rules.origins or rules.same_origin):
        return
    origin = origin_of(named[0]) if len(named) == 1 else None
    own = origin_of(f"{'https' if rules.tls else 'http'}://{headers['host'][0]}")
    if origin is None or (rules.origins and origin not in rules.origins) or (rules.same_origin and origin != own):
        raise NotUpgraded(403, "Pages of this origin may not connect here; allowed_origins and same_origin say which.")


def origin_of(text: str) -> Origin | None:
    """Read scheme, host and port; ``None`` for what is no origin, such as the ``null`` of a page without one."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    if parts.path.strip("/") or parts.query or parts.username:
        return None
    return parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port


def _forwarded(headers: dict[str, list[str]], host: str, proxies: tuple[Network, ...]) -> str:
    """Give the address that a trusted proxy speaks for: the last one that is not itself a trusted proxy's."""
    if not proxies or not is_within(host, proxies):
        return ""
    found = ""
    for word in reversed(_words(headers, "x-forwarded-for")):
        try:
            found = str(ip_address(word))
        except ValueError:
            break
        if not is_within(found, proxies):
            break
    return found


def _cookies(headers: dict[str, list[str]]) -> dict[str, str]:
    """Give the cookies; of two with one name the first counts, being the more specific."""
    found: dict[str, str] = {}
    for line in headers.get("cookie", []):
        for pair in line.split(";"):
            name, mark, value = pair.strip().partition("=")
            if mark:
                found.setdefault(name.strip(), value.strip().strip('"'))
    return found
