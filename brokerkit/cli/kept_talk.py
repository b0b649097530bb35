"""What ``produce``, ``consume`` and ``group`` say to a broker, by its modern HTTP API, over one connection.

A request that got no answer may have been done all the same.  So only those are sent again that do nothing twice: those
that read, and those that carry a number or a key (see ``again``).
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode, urlsplit

import attrs

from brokerkit.cli.http_line import Answer, HttpLine, TooLong
from brokerkit.errors import BrokerError, OperatorError
from brokerkit.place import DEMO, default_directory, demo_secret, running

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from brokerkit.cli.trust import Trust

PROTOCOL = "kafka"  # by which name the listener says that it is there
PORTS = {"http": 8092, "https": 8093}
PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds before another try
_OK = range(200, 300)
_BUSY = (429, 503)


class Unreachable(BrokerError):
    """There is no answer: no connection, or it broke."""


class Refused(BrokerError):
    """The broker says no; ``status`` is its word for it."""

    def __init__(self, status: int, text: str) -> None:
        """Take what it says."""
        super().__init__(text)
        self.status = status


class Reply(Answer):
    """An answer, and what it says."""

    def json(self) -> Any:  # noqa: ANN401  any JSON
        """Give what it says; raise ``Refused`` if that is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise Refused(self.status, "the answer is no JSON: is this the HTTP port of a broker?") from None

    def see(self) -> Reply:
        """Give it again, unless it says no; then raise ``Refused``."""
        if self.status in _OK:
            return self
        try:
            said = json.loads(self.body)
        except ValueError:
            said = {}
        said = said if isinstance(said, dict) else {}
        text = said.get("detail") or said.get("title") or said.get("error") or f"HTTP status {self.status}"
        raise Refused(self.status, str(text))


@attrs.frozen
class Address:
    """Which broker, and who asks: ``authorization`` is the header."""

    scheme: str
    host: str
    port: int
    authorization: str = attrs.field(default="", repr=False)
    trust: Trust | None = None

    @property
    def text(self) -> str:
        """How messages call it."""
        return f"{self.scheme}://{self.host}:{self.port}"


def find(url: str | None, directory: str | None, token: str, trust: Trust | None) -> Address:
    """Read a URL, or find the broker of this host; raise ``OperatorError``, ``Unreachable``.

    A ``token`` goes before a name in the URL.  Where nothing is shown the demo user of this host is, if there is one.
    """
    from pathlib import Path

    place = Path(directory) if directory else default_directory()
    if not url:
        address = running(place).get(PROTOCOL)
        if address is None:
            text = f"no broker with kept topics is running here ({place}): start one, or give --server"
            raise Unreachable(text)
        url = f"{'https' if trust else 'http'}://{address}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
        raise OperatorError(f"{url!r}: expected http://[USER:SECRET@]HOST[:PORT], or https://")
    return Address(parts.scheme, parts.hostname, port or PORTS[parts.scheme], _shown(parts, token, place), trust)


def _shown(parts: Any, token: str, place: Path) -> str:  # noqa: ANN401  a SplitResult
    if token:
        return f"Bearer {token}"
    name, secret = unquote(parts.username or ""), unquote(parts.password or "")
    if not secret and name in {"", DEMO}:
        name, secret = DEMO, demo_secret(place)
    return "Basic " + b64encode(f"{name}:{secret}".encode()).decode() if secret else ""


@attrs.define
class Talk:
    """Talks to one broker; ``patience`` is the seconds for each answer beyond what it may take, and for all tries."""

    address: Address
    patience: float = 30.0
    told: Callable[[str], None] = attrs.field(default=lambda _: None)
    _line: HttpLine | None = None

    def ask(
        self,
        method: str,
        path: tuple[str, ...],
        query: Mapping[str, object] | None = None,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        longer: float = 0.0,
        again: bool = False,
    ) -> Reply:
        """Give the answer, whatever it says; raise ``Unreachable``.

        ``longer`` is the seconds that the broker may wait before it answers.  With ``again`` it is tried again for a
        while where the broker cannot be reached, or has no time.
        """
        target = "/v1/" + "/".join(quote(part, safe="") for part in path)
        if query:
            target += "?" + urlencode(query)
        until, pause = time.monotonic() + self.patience, PAUSE
        while True:
            try:
                reply = self._once(method, target, body, headers or {}, longer)
            except Unreachable as error:
                if not again or time.monotonic() + pause > until:
                    raise
                self.told(f"{error}; trying again")
            else:
                if not again or reply.status not in _BUSY or time.monotonic() + pause > until:
                    return reply
                pause = max(pause, min(LONGEST_PAUSE, _seconds(reply.headers.get("retry-after", ""))))
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _once(self, method: str, target: str, body: bytes, headers: Mapping[str, str], longer: float) -> Reply:
        where = self.address.text
        try:
            return self._over(method, target, body, headers, longer)
        except TimeoutError:
            raise Unreachable(f"{where}: no answer within {self.patience + longer:g} seconds") from None
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"{where}: the certificate is not accepted: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise Unreachable(f"{where}: TLS: {error.reason or 'the handshake failed'}") from None
        except TooLong as error:
            raise Unreachable(f"{where}: {error}") from None
        except OSError as error:
            raise Unreachable(f"{where} cannot be reached: {error.strerror or error}") from None
        except http.client.HTTPException as error:
            raise Unreachable(f"{where}: this is no answer of a broker ({type(error).__name__})") from None

    def _over(self, method: str, target: str, body: bytes, headers: Mapping[str, str], longer: float) -> Reply:
        address = self.address
        mine = {"authorization": address.authorization} if address.authorization else {}
        line = self._line = self._line or HttpLine(address.host, address.port, self._connect)
        found = line.ask(method, target, body, {**mine, **headers}, self.patience + longer)
        return Reply(found.status, found.reason, found.headers, found.body)

    def _connect(self) -> socket.socket:
        address, trust = self.address, self.address.trust
        plain = socket.create_connection((address.host, address.port), self.patience)
        try:
            if address.scheme == "http":
                return plain
            name = (trust.name if trust else "") or address.host
            return _context(trust).wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()


def _context(trust: Trust | None) -> ssl.SSLContext:
    """Give what TLS is spoken with; raise ``OperatorError`` for a file that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=trust.ca if trust else None)
        if trust and trust.cert:
            context.load_cert_chain(trust.cert, trust.key)
    except (OSError, ssl.SSLError) as error:
        raise OperatorError(f"--ca, --cert or --key: {error}") from None
    if trust and trust.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _seconds(text: str) -> float:
    return float(text) if text.isdigit() else 0.0
