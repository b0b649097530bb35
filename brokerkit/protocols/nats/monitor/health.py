"""``/healthz``: whether the broker takes clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokerkit.protocols.nats.monitor.view import View

OK, UNAVAILABLE = 200, 503


def healthz(view: View) -> tuple[int, dict[str, Any]]:
    """Give the status code and the document: every listener has to be open.

    Sources of users are not looked at, since nats-server has none that could be away; see the exporter's ``/healthz``.
    """
    closed = [one.protocol for one in view.broker.listeners if not one.address]
    if not closed:
        return OK, {"status": "ok"}
    return UNAVAILABLE, {"status": "unavailable", "error": f"not listening for {', '.join(closed)}"}
