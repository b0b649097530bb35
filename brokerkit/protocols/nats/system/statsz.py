"""The statistics that a server reports of itself (``STATSZ``): what ``nats server list`` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.protocols.nats.monitor.memory import Sums
from brokerkit.protocols.nats.monitor.spelling import moment

if TYPE_CHECKING:
    from brokerkit.protocols.nats.monitor.view import View


def statsz(view: View) -> dict[str, Any]:
    """Give the document."""
    by_tenant = view.memory.sums()
    total = Sums()
    for sums in by_tenant.values():
        total = total.plus(sums)
    sent = {"msgs": total.messages_out, "bytes": total.bytes_out}
    received = {"msgs": total.messages_in, "bytes": total.bytes_in}
    slow, stale = view.memory.slow, view.memory.stale
    fields: dict[str, Any] = {
        "start": moment(view.broker.started),
        "mem": view.usage.memory,
        "cores": view.usage.cores,
        "cpu": view.usage.processor,
        "connections": total.connections,
        "total_connections": view.broker.census.accepted,
        "active_accounts": sum(bool(sums.connections) for sums in by_tenant.values()),
        "subscriptions": view.subscriptions,
        "sent": sent,
        "sent_to_clients": sent,
        "received": received,
        "received_from_clients": received,
        "slow_consumers": slow,
    }
    if slow:
        fields["slow_consumer_stats"] = {"clients": slow, "routes": 0, "gateways": 0, "leafs": 0}
    if stale:
        fields["stale_connections"] = stale
        fields["stale_connection_stats"] = {"clients": stale, "routes": 0, "gateways": 0, "leafs": 0}
    return {**fields, "active_servers": 1, "gomaxprocs": 1}
