"""How an entry and a change look as JSON, to whoever may read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from brokerkit.registry.words import Change, Entry


def shown_entry(entry: Entry) -> dict[str, Any]:
    """Give an entry as a JSON object; ``expires`` is in seconds since 1970, ``bound`` says that it has an owner."""
    found: dict[str, Any] = {
        "name": entry.name,
        "data": entry.data,
        "revision": entry.revision,
        "created": entry.created,
        "version": entry.version,
        "last_write_ip": entry.ip,
        "last_write_ts": entry.ts,
        "last_write_by": entry.by,
    }
    if entry.ttl is not None:
        found["ttl"] = entry.ttl
        found["expires"] = entry.expires
    if entry.owner:
        found["bound"] = True
    return found


def shown_change(change: Change) -> dict[str, Any]:
    """Give a change as a JSON object; ``record`` is the entry, for a deletion or expiry the last one that there was."""
    return {
        "revision": change.revision,
        "operation": change.operation,
        "name": change.name,
        "ts": change.ts,
        "by": change.by,
        "ip": change.ip,
        "record": shown_entry(change.entry),
    }
