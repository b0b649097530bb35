"""``/accountz`` and ``/accstatz``: the tenants, which NATS calls accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.protocols.nats.monitor.memory import Sums
from brokerkit.protocols.nats.monitor.spelling import account, moment, tenant, text
from brokerkit.protocols.nats.monitor.subsz import statistics
from brokerkit.tenant import DEFAULT, STREAM, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.protocols.nats.monitor.asked import Accounts, Statistics
    from brokerkit.protocols.nats.monitor.view import View
    from brokerkit.tenant import Export, Import, Mapping


class NoAccount(LookupError):
    """There is no account of that name."""


def names(view: View) -> list[str]:
    """Give the tenants there are: configured, or in use."""
    broker = view.broker
    return list(dict.fromkeys((SYSTEM, DEFAULT, *broker.tenants, *broker.realm.routers)))


def accountz(view: View, wanted: Accounts) -> dict[str, Any]:
    """Give all accounts by name, or one in detail; raise ``NoAccount``."""
    fields: dict[str, Any] = {
        "server_id": view.server_id,
        "now": moment(view.now()),
        "system_account": SYSTEM,
    }
    if wanted.account:
        return fields | {"account_detail": in_detail(view, wanted.account)}
    return fields | {"accounts": [account(name) for name in names(view)]}


def in_detail(view: View, name: str) -> dict[str, Any]:
    """Give what is known of an account; raise ``NoAccount``."""
    found = tenant(name)
    if found not in names(view):
        raise NoAccount(f"Account {name} does not exist")
    router = view.broker.realm.routers.get(found)
    sums = view.memory.sums().get(found, Sums())
    fields: dict[str, Any] = {
        "account_name": name,
        "update_time": moment(view.loaded_at),
        "expired": False,
        "complete": True,
        "jetstream_enabled": False,
        "leafnode_connections": 0,
        "client_connections": sums.connections,
        "subscriptions": router.subscriptions if router is not None else 0,
    }
    if found == SYSTEM:
        fields["is_system"] = True
    told = view.broker.tenants.get(found)
    if told is not None:
        fields |= {
            "mappings": _mappings(told.mappings),
            "exports": [_export(one) for one in told.exports],
            "imports": [_import(one) for one in told.imports],
        }
    fields |= {"name_tag": name, "sublist_stats": statistics([router] if router is not None else [])}
    return {key: value for key, value in fields.items() if value not in ([], {})}


def _mappings(mappings: Iterable[Mapping]) -> dict[str, Any]:
    return {
        text(one.pattern): [{"subject": text(to.to), "weight": to.weight} for to in one.destinations]
        for one in mappings
    }


def _export(one: Export) -> dict[str, Any]:
    fields: dict[str, Any] = {"subject": text(one.pattern), "type": one.kind}
    if one.kind != STREAM:
        fields["response_type"] = one.response.capitalize()
    if one.accounts:
        fields["approved_accounts"] = [account(name) for name in one.accounts]
    return fields


def _import(one: Import) -> dict[str, Any]:
    """Give an import as nats-server has it: what it is called there and here."""
    here = one.to or (one.prefix + b"." + one.pattern if one.prefix else one.pattern)
    return {
        "subject": text(one.pattern),
        "account": account(one.source),
        "local_subject": text(here),
        "type": one.kind,
        "invalid": False,
        "share": False,
        "tracking": False,
    }


def statz(view: View, wanted: Statistics) -> dict[str, Any]:
    """Give the sums by account: of those that are named, or of all that are in use."""
    sums = view.memory.sums()
    chosen = [tenant(name) for name in wanted.accounts] or names(view)
    known = set(names(view))
    listed = [
        numbers(view, name, sums.get(name, Sums()))
        for name in chosen
        if name in known and (wanted.unused or sums.get(name, Sums()).connections)
    ]
    return {"server_id": view.server_id, "now": moment(view.now()), "account_statz": listed}


def numbers(view: View, name: str, sums: Sums) -> dict[str, Any]:
    """Give the sums of one tenant."""
    router = view.broker.realm.routers.get(name)
    return {
        "acc": account(name),
        "name": account(name),
        "conns": sums.connections,
        "leafnodes": 0,
        "total_conns": sums.connections,
        "num_subscriptions": router.subscriptions if router is not None else 0,
        "sent": _traffic(sums.messages_out, sums.bytes_out),
        "received": _traffic(sums.messages_in, sums.bytes_in),
        "slow_consumers": sums.slow,
    }


def _traffic(messages: int, octets: int) -> dict[str, Any]:
    """Give messages and bytes, and none of either by the links that there are not."""
    none = {"msgs": 0, "bytes": 0}
    return {"msgs": messages, "bytes": octets, "gateways": none, "routes": none, "leafs": none}
