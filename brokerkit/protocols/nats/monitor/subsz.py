"""``/subsz``: the subscriptions, and how well the routers remember who receives what.

What is listed are the subscriptions of connections; what the broker's own parts listen to is in the numbers only.  With
``test`` the router is asked, as a message would ask it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from brokerkit.protocols.nats.monitor.document import listing, whole
from brokerkit.protocols.nats.monitor.spelling import account, moment, tenant, text
from brokerkit.topics import beneath

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from brokerkit.protocols.nats.monitor.asked import Subscribed
    from brokerkit.protocols.nats.monitor.view import View
    from brokerkit.route import Route
    from brokerkit.router import Router
    from brokerkit.subscription import Subscription


def subsz(view: View, wanted: Subscribed) -> Iterator[bytes]:
    """Give the document, in pieces."""
    routers = view.broker.realm.routers
    if wanted.account:
        name = tenant(wanted.account)
        routers = {name: routers[name]} if name in routers else {}
    head = {"server_id": view.server_id, "now": moment(view.now()), **statistics(routers.values())}
    if not wanted.subscriptions:
        yield from whole({**head, "total": 0, "offset": wanted.offset, "limit": wanted.limit})
        return
    if wanted.test:
        listed = [pair for name in routers for pair in _reached(view, name, routers[name], wanted.test.encode())]
        total = len(listed)
        found: Iterable[tuple[Subscription, int, bytes, str]] = listed
    else:
        total, found = _count(view, set(routers)), _all(view, set(routers))
    page = islice(found, wanted.offset, wanted.offset + wanted.limit)
    rows = ({"account": account(t), "account_tag": account(t), **detail(s, cid, prefix)} for s, cid, prefix, t in page)
    head |= {"total": total, "offset": wanted.offset, "limit": wanted.limit}
    yield from listing(head, "subscriptions_list", rows)


def statistics(routers: Iterable[Router]) -> dict[str, Any]:
    """Give the numbers of ``/subsz``: what was looked up and not remembered counts as a match, as in nats-server."""
    routers = list(routers)
    there, added = sum(r.subscriptions for r in routers), sum(r.added for r in routers)
    looked_up, matched = sum(r.asked for r in routers), sum(r.matched for r in routers)
    fanout = [_reach(route) for r in routers for route in r.remembered]
    return {
        "num_subscriptions": there,
        "num_cache": len(fanout),
        "num_inserts": added,
        "num_removes": added - there,
        "num_matches": looked_up,
        "cache_hit_rate": (looked_up - matched) / looked_up if looked_up else 0,
        "max_fanout": max(fanout, default=0),
        "avg_fanout": sum(fanout) / len(fanout) if fanout else 0,
    }


def _reach(route: Route) -> int:
    """Give the number of subscriptions that a route leads to."""
    plain = sum(len(subscriptions) for _, heads in route.plain for _, subscriptions in heads)
    grouped = sum(len(tier) for tiers in route.groups for tier in tiers)
    return plain + grouped + len(route.others) + sum(_reach(further) for further in route.further)


def detail(s: Subscription, cid: int, prefix: bytes) -> dict[str, Any]:
    """Give the entry of one subscription, by the name that its connection has for the topic."""
    entry: dict[str, Any] = {"subject": text(beneath(prefix, s.pattern) or b"")}
    if s.queue:
        entry["qgroup"] = text(s.queue)
    entry |= {"sid": text(s.tag), "msgs": s.messages}
    if s.left >= 0:
        entry["max"] = s.messages + s.left
    return {**entry, "cid": cid}


def _all(view: View, tenants: set[str]) -> Iterator[tuple[Subscription, int, bytes, str]]:
    """Give the subscriptions of those tenants, connection by connection."""
    for session in list(view.broker.census.there.values()):
        client = session.client
        if client is not None and client.user.tenant in tenants:
            for subscription in list(client.subscriptions):
                yield subscription, session.cid, session.listener.prefix, client.user.tenant


def _count(view: View, tenants: set[str]) -> int:
    clients = (session.client for session in view.broker.census.there.values())
    return sum(len(c.subscriptions) for c in clients if c is not None and c.user.tenant in tenants)


def _reached(view: View, name: str, router: Router, topic: bytes) -> Iterator[tuple[Subscription, int, bytes, str]]:
    """Give the subscriptions of connections that a message to ``topic`` would reach."""
    reached = set(router.match(topic))
    if reached:
        owners = {subscription.owner for subscription in reached}
        for session in view.broker.census.there.values():
            if session.client in owners and session.client is not None:
                for subscription in session.client.subscriptions:
                    if subscription in reached:
                        yield subscription, session.cid, session.listener.prefix, name
