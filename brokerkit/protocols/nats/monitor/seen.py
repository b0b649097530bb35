"""One connection as the monitoring sees it: numbers read off a session at one moment.

They are read, not counted: what stands here is counted for each chunk anyway, or summed up when somebody asks.  The
same record is kept of connections that have ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.interfaces import ISSLTransport

from brokerkit.protocols.nats.monitor.reasons import reason
from brokerkit.protocols.nats.monitor.spelling import account, duration, moment, text, uptime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.session import Session

TYPES: Mapping[str, str] = {"nats-websocket": "websocket"}  # what nats-server calls a kind of connection, if not alike
NAME = 256  # characters of what a peer calls itself


@attrs.frozen
class Seen:
    """One connection; times are seconds since 1970."""

    cid: int
    kind: str
    ip: str
    port: int
    started: float
    heard_at: float
    stopped: float | None
    reason: str
    rtt: float
    pending: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    stalls: int
    subscriptions: int
    introduced: tuple[str, str, str]
    tls: tuple[str, str]
    user: str
    tenant: str | None  # where it has not logged in, none

    def lasted(self, now: float) -> float:
        """Give the seconds that it has lasted."""
        return (now if self.stopped is None else self.stopped) - self.started

    def idle(self, now: float) -> float:
        """Give the seconds since something was last heard of it."""
        return (now if self.stopped is None else self.stopped) - self.heard_at


def look(session: Session, stopped: float | None = None) -> Seen:
    """Give what is to be seen of a session; ``stopped`` is when it ended, if it has."""
    client, outbox = session.client, session.outbox
    peer: Any = session.transport.getPeer()  # type: ignore[union-attr]
    return Seen(
        session.cid,
        TYPES.get(session.listener.protocol, session.listener.protocol),
        session.host,
        getattr(peer, "port", 0),
        session.started,
        session.heard_at,
        stopped,
        reason(session.cause) if stopped is not None else "",
        session.rtt,
        outbox.pending,
        session.messages,
        client.delivered if client is not None else 0,
        session.received,
        outbox.sent,
        session.stalls,
        len(client.subscriptions) if client is not None else 0,
        _short(session.introduced()),
        _tls(session.transport),
        text(client.user.name) if client is not None else session.claimed()[:NAME],
        client.user.tenant if client is not None else None,
    )


def _short(words: tuple[str, str, str]) -> tuple[str, str, str]:
    """Cut what a peer says of itself: it is remembered beyond its end."""
    name, language, version = words
    return name[:NAME], language[:NAME], version[:NAME]


def _tls(transport: Any) -> tuple[str, str]:  # noqa: ANN401  any transport
    """Give version and cipher, empty without TLS or before it is agreed upon; those of TLS 1.2 are OpenSSL's names."""
    if not ISSLTransport.providedBy(transport):
        return "", ""
    handle: Any = transport.getHandle()  # type: ignore[attr-defined]
    cipher = handle.get_cipher_name() if hasattr(handle, "get_cipher_name") else None
    if cipher is None:
        return "", ""
    return handle.get_protocol_version_name().removeprefix("TLSv"), cipher


def row(seen: Seen, now: float, *, auth: bool) -> dict[str, Any]:
    """Give the entry of ``connections`` in ``/connz``, in nats-server's order; with ``auth`` it names the user."""
    name, language, version = seen.introduced
    tls_version, cipher = seen.tls
    entry: dict[str, Any] = {
        "cid": seen.cid,
        "kind": "Client",
        "type": seen.kind,
        "ip": seen.ip,
        "port": seen.port,
        "start": moment(seen.started),
        "last_activity": moment(seen.heard_at),
        "stop": moment(seen.stopped) if seen.stopped is not None else None,
        "reason": seen.reason,
        "rtt": duration(seen.rtt) if seen.rtt else None,
        "uptime": uptime(seen.lasted(now)),
        "idle": uptime(seen.idle(now)),
        "pending_bytes": seen.pending,
        "in_msgs": seen.messages_in,
        "out_msgs": seen.messages_out,
        "in_bytes": seen.bytes_in,
        "out_bytes": seen.bytes_out,
        "stalls": seen.stalls or None,
        "subscriptions": seen.subscriptions,
        "name": name,
        "lang": language,
        "version": version,
        "tls_version": tls_version,
        "tls_cipher_suite": cipher,
    }
    if auth:
        entry["authorized_user"] = seen.user
        if seen.tenant is not None:
            entry |= {"account": account(seen.tenant), "name_tag": account(seen.tenant)}
    return {key: value for key, value in entry.items() if (value is not None and value != "") or key == "ip"}
