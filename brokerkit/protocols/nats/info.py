"""What the broker says of itself to a NATS client: the first line of every connection, and later ones when it is news.

Keys and their order are nats-server's; what is empty or false is left out.  What nobody here could keep is not
promised: ``jetstream``, the level of its API (``api_lvl``), and the key for sealed logins (``xkey``).
"""

from __future__ import annotations

import platform
from json import dumps
from typing import TYPE_CHECKING, Any

from brokerkit.protocols.nats.advertise import joined, read_address
from brokerkit.protocols.nats.security import announced

if TYPE_CHECKING:
    from brokerkit.protocols.nats.session import NatsSession, Settings

VERSION = "2.14.0"  # of nats-server, whose behaviour is meant: clients switch features on by it
GLOBAL_ACCOUNT, SYSTEM_ACCOUNT = "$G", "$SYS"


def spelled(session: NatsSession, *, account: bool = False, leaving: bool = False) -> bytes:
    """Give the line that says INFO."""
    return b"INFO %b \r\n" % dumps(info(session, account=account, leaving=leaving), separators=(",", ":")).encode()


def info(session: NatsSession, *, account: bool = False, leaving: bool = False) -> dict[str, Any]:
    """Give the fields of INFO for one connection as it is now.

    ``account`` says that the client is to learn where it has logged in, ``leaving`` that this broker will be gone soon.
    """
    settings: Settings = session.listener.settings  # type: ignore[assignment]
    transport: Any = session.transport
    there = transport.getPeer()
    host, port = _address(session, settings)
    fields = {
        "server_id": session.listener.broker.server_id,
        "server_name": settings.server_name or session.listener.broker.name,
        "version": VERSION,
        "proto": 1,
        "go": f"python{platform.python_version()}",
        "host": host,
        "port": port,
        "headers": True,
    }
    if session.needs_login:
        fields["auth_required"] = True
    fields |= announced(session.listener)
    fields["max_payload"] = _max_payload(session, settings)
    fields["client_id"] = session.cid
    if getattr(there, "host", None):
        fields["client_ip"] = there.host
    if session.nonce and not (account or leaving):
        fields["nonce"] = session.nonce.decode()
    own = [] if leaving else [joined(host, port)]
    if settings.connect_urls:
        fields["connect_urls"] = [*own, *settings.connect_urls]
    if leaving:
        fields["ldm"] = True
    if account:
        fields |= _account(session)
    return fields


def _address(session: NatsSession, settings: Settings) -> tuple[str, int]:
    """Give where clients are told that they are: the address that they have come to, or what the operator says."""
    transport: Any = session.transport
    here = transport.getHost()
    own = getattr(here, "port", 0)
    if not settings.client_advertise:
        return getattr(here, "host", ""), own
    host, port = read_address(settings.client_advertise)
    return host, port or own


def _max_payload(session: NatsSession, settings: Settings) -> int:
    """Give the largest payload that this client may send: the user's limit may be lower than the listener's."""
    allowed = session.client.user.allowance.payload if session.client is not None else 0
    return min(allowed, settings.max_payload) if allowed else settings.max_payload


def _account(session: NatsSession) -> dict[str, Any]:
    """Give the fields that are said once the client has an account."""
    tenant = session.client.user.tenant if session.client is not None else ""
    fields: dict[str, Any] = {"connect_info": True, "remote_account": tenant or GLOBAL_ACCOUNT}
    if tenant == SYSTEM_ACCOUNT:
        fields["acc_is_sys"] = True
    return fields
