"""NATS in WebSocket: the same protocol to the letter, for browsers and for whom nothing but HTTP is let through.

A browser may send cookies with its request, and they may be what it logs in by; what CONNECT says counts before them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from brokerkit.endpoints import is_local
from brokerkit.entrance import read_networks
from brokerkit.errors import ConfigError
from brokerkit.protocols.nats import session
from brokerkit.securing import AFTER
from brokerkit.tls import read_pins
from brokerkit.upgrade import Rules, read_origins
from brokerkit.websocket import MOST, Terms, WebSocket

if TYPE_CHECKING:
    from twisted.cred.credentials import ICredentials

    from brokerkit.listener import Listener
    from brokerkit.protocols.nats.options import Options

PAYLOADS = 8  # of the largest kind that fit into one message, as in nats-server
COOKIES = ("jwt_cookie", "user_cookie", "pass_cookie", "token_cookie")


@attrs.frozen
class Settings(session.Settings):
    """What a listener for NATS in WebSocket can be told; names of cookies are empty where none is looked at."""

    no_tls: bool = False
    same_origin: bool = False
    allowed_origins: tuple[str, ...] = ()
    compression: bool = False
    handshake_timeout: float = 2.0
    trusted_proxies: tuple[str, ...] = ()
    jwt_cookie: str = ""
    user_cookie: str = ""
    pass_cookie: str = ""
    token_cookie: str = ""


class Shared(session.Shared):
    """What the connections of a listener have in common; ``websocket`` is set when it is known whether there is TLS."""

    websocket: Terms


class NatsWebSocketSession(session.NatsSession):
    """One NATS connection in WebSocket."""

    settings: ClassVar[type[session.Settings]] = Settings

    @classmethod
    def prepare(cls, listener: Listener) -> Shared:
        """Share the same as over TCP."""
        super().prepare(listener)
        return Shared(listener)

    @classmethod
    def terms(cls, listener: Listener, served: Any) -> None:  # noqa: ANN401  what makes TLS, or None
        """Have TLS lie beneath the whole connection; read the settings, and raise ``ConfigError`` if they cannot be."""
        settings: Settings = listener.settings  # type: ignore[assignment]
        _check(listener, settings, tls=served is not None)
        rules = Rules(
            read_origins(settings.allowed_origins, listener.protocol),
            settings.same_origin,
            settings.compression,
            served is not None,
            read_networks(settings.trusted_proxies, listener.protocol, "trusted_proxies"),
        )
        limit = min(PAYLOADS * settings.max_payload, MOST)
        pins = read_pins(settings.pinned_certs, listener.protocol)
        listener.shared.websocket = Terms(rules, limit, settings.handshake_timeout, pins)

    @classmethod
    def make(cls, listener: Listener) -> WebSocket:
        """Give the WebSocket of a new connection, with the session on it."""
        return WebSocket(cls(listener), listener.shared.websocket)

    def _credentials_in(self, options: Options) -> ICredentials | None:
        """Look at the cookies too."""
        settings: Settings = self.listener.settings  # type: ignore[assignment]
        transport: Any = self.transport
        cookies: dict[str, str] = transport.request.cookies
        self.offered_jwt = cookies.get(settings.jwt_cookie, "")
        if not (options.nkey or options.auth_token or options.user or options.password or options.jwt):
            options = attrs.evolve(
                options,
                user=cookies.get(settings.user_cookie, ""),
                password=cookies.get(settings.pass_cookie, ""),
                auth_token=cookies.get(settings.token_cookie, ""),
            )
        return super()._credentials_in(options)


def _check(listener: Listener, settings: Settings, *, tls: bool) -> None:
    """Raise ``ConfigError`` for settings that do not go together, or would let somebody in who should not be."""
    where = listener.protocol
    for key, usual in (("handshake", AFTER), ("plain", False)):
        if getattr(settings, key) != usual:
            raise ConfigError(where, key, getattr(settings, key), "it not here: wss:// is TLS from its first byte")
    if settings.pinned_certs and listener.listen.client_ca is None:
        raise ConfigError(where, "pinned_certs", list(settings.pinned_certs), "client_ca beside it")
    if not (tls or settings.no_tls or is_local(listener.listen.endpoint)):
        expected = "true where others than this machine reach an endpoint without TLS"
        raise ConfigError(where, "no_tls", settings.no_tls, expected, "or an endpoint with TLS, for wss://")
    named = [key for key in COOKIES if getattr(settings, key)]
    if named and not (settings.same_origin or settings.allowed_origins):
        hint = "browsers send cookies from any page; allowed_origins = ['*'] lets every page do so"
        expected = "same_origin or allowed_origins beside it"
        raise ConfigError(where, named[0], getattr(settings, named[0]), expected, hint)
