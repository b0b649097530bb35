"""``/varz``: how the broker is set up, and the sums of what it has done.

Settings are those of the first listener for NATS.  Sums are those of all protocols: they are one broker.  Bytes are
those of the wire, where nats-server counts payloads alone: the former are counted for every chunk anyway, the latter
would have to be counted for every message.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from brokerkit.protocols.nats.monitor.spelling import moment, nanoseconds, uptime
from brokerkit.tenant import SYSTEM

if TYPE_CHECKING:
    from brokerkit.listener import Listener
    from brokerkit.protocols.nats.monitor.view import View


def varz(view: View) -> dict[str, Any]:
    """Give the document."""
    return {**_server(view), **_settings(view), **_parts(view), **_times(view), **_process(view), **_sums(view)}


def _server(view: View) -> dict[str, Any]:
    host, port = view.place
    fields: dict[str, Any] = {
        "server_id": view.server_id,
        "server_name": view.server_name,
        "version": view.version,
        "proto": 1,
        "go": f"python{platform.python_version()}",
        "host": host,
        "port": port,
    }
    if not view.broker.admits_anonymous:
        fields["auth_required"] = True
    listener = view.listener
    if listener is not None and listener.is_tls:
        fields["tls_required"] = True
        if listener.asks_certificates:
            fields["tls_verify"] = True
    return fields


def _settings(view: View) -> dict[str, Any]:
    settings = view.settings
    fields: dict[str, Any] = {"max_connections": settings.max_connections}
    if settings.max_subscriptions:
        fields["max_subscriptions"] = settings.max_subscriptions
    return fields | {
        "ping_interval": nanoseconds(settings.ping_interval),
        "ping_max": settings.ping_max,
        **_http(view),
        "auth_timeout": settings.login_timeout,
        "max_control_line": settings.max_control_line,
        "max_payload": settings.max_payload,
        "max_pending": settings.outbox_limit,
    }


def _http(view: View) -> dict[str, Any]:
    """Give where these pages are, by HTTP and by HTTPS."""
    plain = next((one for one in view.monitors if not one.secure), None)
    secure = next((one for one in view.monitors if one.secure), None)
    any_one = plain or secure
    return {
        "http_host": any_one.place[0] if any_one else "",
        "http_port": plain.place[1] if plain else 0,
        "http_base_path": any_one.base_path if any_one else "",
        "https_port": secure.place[1] if secure else 0,
    }


def _parts(view: View) -> dict[str, Any]:
    """Give what stands for the other ports of a server: only that for WebSockets can be there."""
    websocket = next((one for one in view.broker.listeners if one.protocol == "nats-websocket"), None)
    return {
        "cluster": {},
        "gateway": {},
        "leaf": {},
        "mqtt": {},
        "websocket": _websocket(websocket) if websocket is not None else {},
        "jetstream": {},
        "tls_timeout": view.settings.tls_timeout,
        "write_deadline": nanoseconds(view.settings.outbox_deadline),
    }


def _websocket(listener: Listener) -> dict[str, Any]:
    where: Any = listener.port.getHost() if listener.port is not None else None
    fields = {"host": getattr(where, "host", ""), "port": getattr(where, "port", 0)}
    return fields if listener.is_tls else {**fields, "no_tls": True}


def _times(view: View) -> dict[str, Any]:
    now = view.now()
    started = view.broker.started
    return {"start": moment(started), "now": moment(now), "uptime": uptime(now - started)}


def _process(view: View) -> dict[str, Any]:
    usage = view.usage
    return {"mem": usage.memory, "cores": usage.cores, "gomaxprocs": 1, "cpu": usage.processor}


def _sums(view: View) -> dict[str, Any]:
    total = view.memory.total()
    slow, stale = view.memory.slow, view.memory.stale
    return {
        "connections": total.connections,
        "total_connections": view.broker.census.accepted,
        "routes": 0,
        "remotes": 0,
        "leafnodes": 0,
        "in_msgs": total.messages_in,
        "in_bytes": total.bytes_in,
        "in_client_msgs": total.messages_in,
        "in_client_bytes": total.bytes_in,
        "out_msgs": total.messages_out,
        "out_bytes": total.bytes_out,
        "out_client_msgs": total.messages_out,
        "out_client_bytes": total.bytes_out,
        "slow_consumers": slow,
        "stale_connections": stale,
        "stalled_clients": sum(listener.counts.paced for listener in view.broker.listeners),
        "subscriptions": view.subscriptions,
        "http_req_stats": view.pages,
        "config_load_time": moment(view.loaded_at),
        "config_digest": view.digest,
        "system_account": SYSTEM,
        "slow_consumer_stats": _clients(slow),
        "stale_connection_stats": _clients(stale),
    }


def _clients(count: int) -> dict[str, int]:
    """Give a count by kind of connection, of which there is one."""
    return {"clients": count, "routes": 0, "gateways": 0, "leafs": 0}
