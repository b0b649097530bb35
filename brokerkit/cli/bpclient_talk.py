"""What ``bpclient`` says to a broker, over one connection: the original's calls, and those of the modern API.

Parameters go in the body, never in the address, and the access key in a header, where no log has them.  A broker of
the original knows no such header: when it asks for the key, it gets it in the body.
"""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import attrs

from brokerkit.cli.bpclient_errors import NOT_ALLOWED, NOT_FOUND, Fatal
from brokerkit.cli.http_line import Answer, HttpLine, TooLong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.cli.bpclient_trust import Trust

PORT = 443  # where the original's client looks without a port
_ORIGINAL = "BaseHTTP"


class Reply(Answer):
    """An answer, and what it says."""

    @property
    def is_originals(self) -> bool:
        """Whether it comes from a broker of the original."""
        return self.headers.get("server", "").startswith(_ORIGINAL)

    def json(self) -> Any:  # noqa: ANN401  any JSON
        """Give what it says; raise ``ValueError`` if it is no JSON."""
        return json.loads(self.body)

    def message(self) -> str:
        """Give what it says of an error, from wherever that stands."""
        try:
            said = self.json()
        except ValueError:
            return self.reason or str(self.status)
        if not isinstance(said, dict):
            return self.reason
        return str(said.get("message") or said.get("detail") or said.get("title") or self.reason)


@attrs.define
class Talk:
    """Talks to one broker; ``timeout`` is the seconds for a connection and for each answer beyond what it may take."""

    host: str
    port: int
    trust: Trust
    key: str = attrs.field(repr=False)
    timeout: float = 30.0
    _line: HttpLine | None = None

    def method(self, package: str, method: str, **parameters: str) -> Reply:
        """Call a method as the original does: ``/package/Method/``."""
        path = f"/{quote(package, safe='.')}/{quote(method)}/"
        body = urlencode(parameters)
        kind = {"content-type": "application/x-www-form-urlencoded"}
        reply = self._ask("POST", path, body.encode(), kind)
        if reply.status == 401 and self.key and reply.is_originals:  # noqa: PLR2004
            body = urlencode({"access_key": self.key, **parameters})
            reply = self._ask("POST", path, body.encode(), kind)
        return reply

    def modern(
        self,
        method: str,
        path: tuple[str, ...],
        query: Mapping[str, object] | None = None,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        longer: float = 0.0,
    ) -> Reply:
        """Ask by the modern API; ``longer`` is the seconds that the broker may wait before it answers."""
        target = "/v1/" + "/".join(quote(part, safe="") for part in path)
        if query:
            target += "?" + urlencode(query)
        reply = self._ask(method, target, body, headers or {}, longer)
        if reply.is_originals:
            raise Fatal("the broker is an original one, which cannot do this")
        return reply

    def _ask(self, method: str, target: str, body: bytes, headers: Mapping[str, str], longer: float = 0.0) -> Reply:
        try:
            return self._once(method, target, body, headers, longer)
        except TimeoutError:
            raise Fatal(f"{self.host}:{self.port}: no answer within {self.timeout + longer:g} seconds") from None
        except ssl.SSLError as error:
            raise Fatal(f"{self.host}:{self.port}: TLS: {_tls_text(error)}") from None
        except OSError as error:
            raise Fatal(f"{self.host}:{self.port}: {error.strerror or error}") from None
        except TooLong as error:
            raise Fatal(str(error)) from None
        except http.client.HTTPException as error:
            raise Fatal(f"{self.host}:{self.port}: this is no answer of a broker ({type(error).__name__})") from None

    def _once(self, method: str, target: str, body: bytes, headers: Mapping[str, str], longer: float) -> Reply:
        mine = {"x-access-key": self.key} if self.key else {}
        line = self._line = self._line or HttpLine(self.host, self.port, self._connect)
        used = line.was_used
        try:
            found = line.ask(method, target, body, {**mine, **headers}, self.timeout + longer)
        except (ConnectionError, http.client.RemoteDisconnected):
            # The broker may have closed a connection that said nothing for a while, and has not read this then.
            if not used:
                raise
            found = line.ask(method, target, body, {**mine, **headers}, self.timeout + longer)
        return Reply(found.status, found.reason, found.headers, found.body)

    def _connect(self) -> ssl.SSLSocket:
        return self.trust.connect(self.host, self.port, self.timeout)

    def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.close()


def read_address(text: str) -> tuple[str, int]:
    """Give host and port of ``HOST[:PORT]``; an IPv6 address stands in brackets.  Raises ``Fatal``."""
    host, colon, port = text.rpartition(":")
    if text.endswith("]") or not colon:
        host, port = text, str(PORT)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise Fatal(f"-b {text}: an IPv6 address stands in brackets, as in [::1]:20443")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 0xFFFF):  # noqa: PLR2004
        raise Fatal(f"-b {text}: expected HOST:PORT")
    return host, int(port)


def _tls_text(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    return error.reason or "the handshake failed"


def refusal(reply: Reply) -> Fatal:
    """Give what a command ends with when the broker refuses."""
    code = {401: NOT_ALLOWED, 403: NOT_ALLOWED, 404: NOT_FOUND}.get(reply.status, 1)
    return Fatal(reply.message(), code)
