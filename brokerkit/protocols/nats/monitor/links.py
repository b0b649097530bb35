"""``/routez``, ``/gatewayz``, ``/leafz`` and ``/jsz``: links and storage, none of which this broker has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.protocols.nats.monitor.spelling import moment

if TYPE_CHECKING:
    from brokerkit.protocols.nats.monitor.view import View


def routez(view: View) -> dict[str, Any]:
    """Give no routes."""
    return {**_server(view), "server_name": view.server_name, "num_routes": 0, "routes": []}


def gatewayz(view: View) -> dict[str, Any]:
    """Give no gateways."""
    return {**_server(view), "outbound_gateways": {}, "inbound_gateways": {}}


def leafz(view: View) -> dict[str, Any]:
    """Give no leaf nodes."""
    return {**_server(view), "leafnodes": 0, "leafs": []}


def jsz(view: View) -> dict[str, Any]:
    """Say that JetStream is off."""
    counts = dict.fromkeys(("memory", "storage", "reserved_memory", "reserved_storage", "accounts", "ha_assets"), 0)
    return {
        **counts,
        "api": {"level": 0, "total": 0, "errors": 0},
        **_server(view),
        "disabled": True,
        "config": {"max_memory": 0, "max_storage": 0},
        **dict.fromkeys(("streams", "consumers", "messages", "bytes", "total"), 0),
    }


def _server(view: View) -> dict[str, Any]:
    return {"server_id": view.server_id, "now": moment(view.now())}
