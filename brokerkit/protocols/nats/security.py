"""How TLS begins on a NATS listener: after INFO, as every client expects; first; or as the client likes.

nats-server calls these the upgrade, ``handshake_first``, and ``handshake_first: "auto"``; ``plain`` is its
``allow_non_tls``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.errors import ConfigError
from brokerkit.securing import AFTER, FIRST, WAYS, Terms
from brokerkit.tls import read_pins

if TYPE_CHECKING:
    from brokerkit.listener import Listener
    from brokerkit.protocols.nats.session import Settings


def terms(listener: Listener, served: Any) -> Terms | None:  # noqa: ANN401  what makes TLS, or None
    """Give the terms that a listener's settings make; raise ``ConfigError`` for what cannot be meant."""
    settings: Settings = listener.settings  # type: ignore[assignment]
    where = listener.protocol
    if settings.handshake not in WAYS:
        raise ConfigError(where, "handshake", settings.handshake, f"one of {', '.join(WAYS)}")
    if settings.plain and settings.handshake == FIRST:
        raise ConfigError(where, "plain", True, f'it without handshake = "{FIRST}", which leaves no other way')
    pins = read_pins(settings.pinned_certs, where)
    if pins and listener.listen.client_ca is None:
        raise ConfigError(where, "pinned_certs", list(settings.pinned_certs), "client_ca beside it")
    if served is None:
        _refuse_without_tls(settings, where)
        return None
    return Terms(served, settings.handshake, settings.plain, settings.tls_timeout, settings.handshake_fallback, pins)


def _refuse_without_tls(settings: Settings, where: str) -> None:
    """Raise ``ConfigError`` for a key that says there is TLS, where there is none."""
    for key, usual in (("handshake", AFTER), ("plain", False)):
        if getattr(settings, key) != usual:
            raise ConfigError(where, key, getattr(settings, key), "an endpoint with TLS beside it")


def announced(listener: Listener) -> dict[str, Any]:
    """Give what INFO says of TLS."""
    if not listener.is_tls:
        return {}
    if listener.terms is not None and listener.terms.plain:
        return {"tls_available": True}
    verify = {"tls_verify": True} if listener.asks_certificates else {}
    # Where TLS is beneath a WebSocket, nats-server says so too.
    there_already = {"tls_available": True} if listener.terms is None else {}
    return {"tls_required": True, **verify, **there_already}
