"""What the broker says of itself to a NATS client: the first line of every connection."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import ISSLTransport

if TYPE_CHECKING:
    from brokerkit.protocols.nats.session import NatsSession, Settings, Shared

VERSION = "2.11.0"  # of nats-server, whose behaviour is meant: clients switch features on by it


def info(session: NatsSession) -> dict[str, Any]:
    """Give the fields of INFO for one connection, in nats-server's order; what is empty or false is left out."""
    shared: Shared = session.listener.shared
    settings: Settings = session.listener.settings  # type: ignore[assignment]
    transport: Any = session.transport
    here, there = transport.getHost(), transport.getPeer()
    fields = {
        "server_id": shared.server_id,
        "server_name": settings.server_name or session.listener.broker.name,
        "version": VERSION,
        "proto": 1,
        "go": f"python{platform.python_version()}",
        "host": getattr(here, "host", ""),
        "port": getattr(here, "port", 0),
        "headers": True,
        "max_payload": settings.max_payload,
        "client_id": session.cid,
    }
    if session.needs_login:
        fields["auth_required"] = True
    if ISSLTransport.providedBy(transport):  # or clients that want TLS think that they did not get it
        fields["tls_required"] = True
        if session.listener.asks_certificates:
            fields["tls_verify"] = True
    if getattr(there, "host", None):
        fields["client_ip"] = there.host
    if session.nonce:
        fields["nonce"] = session.nonce.decode()
    return fields
