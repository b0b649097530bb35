"""What the accounts that are known make of tenants: what they share, and what they may have.

Private exports name the accounts that may import them, and in a JWT it is the other way round: the importer shows that
it may.  So all accounts are looked at together, whenever one of them is another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.jwts.authority import is_activated
from brokerkit.jwts.claims import STREAM
from brokerkit.tenant import ALL_OF_IT, Destination, Export, Import, Mapping, Tenant
from brokerkit.topics import covers, is_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerkit.jwts.claims import Account, Exported, Imported


def tenants(accounts: Iterable[Account], called: Callable[[str], str], now: float) -> list[Tenant]:
    """Give a tenant for each account; ``called`` gives the name of the tenant of an account's key."""
    known = {account.key: account for account in accounts}
    return [_tenant(account, known, called, now) for account in known.values()]


def _tenant(account: Account, known: dict[str, Account], called: Callable[[str], str], now: float) -> Tenant:
    return Tenant(
        called(account.key),
        tuple(_export(one, account, known, called, now) for one in account.exports if _sound(one.subject)),
        tuple(_import(one, called) for one in account.imports if _is_allowed(one, account, known, now)),
        tuple(
            Mapping(subject.encode(), tuple(Destination(to.encode(), weight) for to, weight in destinations))
            for subject, destinations in account.mappings
            if destinations and _sound(subject) and sum(weight for _, weight in destinations) <= ALL_OF_IT
        ),
        max_connections=max(account.connections, 0),
        max_payload=max(account.payload, 0),
    )


def _export(
    exported: Exported, account: Account, known: dict[str, Account], called: Callable[[str], str], now: float
) -> Export:
    allowed: tuple[str, ...] = ()
    if exported.private or exported.position:
        allowed = tuple(
            called(importer.key)
            for importer in known.values()
            for one in importer.imports
            if one.account == account.key
            and _fits(one, exported)
            and is_activated(one, exported, account, importer.key, now)
        )
        allowed = allowed or (called(account.key),)  # nobody else: an empty list would be everybody
    return Export(exported.kind, exported.subject.encode(), tuple(dict.fromkeys(allowed)), exported.response)


def _import(imported: Imported, called: Callable[[str], str]) -> Import:
    """Give an import: the former ``to`` is a prefix of streams, and of services what they are called over there."""
    source, subject = called(imported.account), imported.subject.encode()
    local, to = imported.local.encode(), imported.to.encode()
    if imported.kind == STREAM:
        return Import(imported.kind, source, subject, prefix=b"" if local else to, to=local)
    if local or not to:
        return Import(imported.kind, source, subject, to=local)
    return Import(imported.kind, source, to, to=subject)


def _is_allowed(imported: Imported, account: Account, known: dict[str, Account], now: float) -> bool:
    """Say whether an import is of something that is exported, as far as the exporter is known."""
    exporter = known.get(imported.account)
    if not _sound(imported.subject) or (exporter is not None and exporter.key == account.key):
        return False
    if exporter is None:
        return True  # nothing comes before it is known, and then all is looked at again
    return any(
        _fits(imported, one)
        and (not (one.private or one.position) or is_activated(imported, one, exporter, account.key, now))
        for one in exporter.exports
    )


def _fits(imported: Imported, exported: Exported) -> bool:
    subject = imported.to if imported.kind != STREAM and imported.to and not imported.local else imported.subject
    return (
        imported.kind == exported.kind
        and _sound(subject)
        and _sound(exported.subject)
        and covers(exported.subject.encode(), subject.encode())
    )


def _sound(subject: str) -> bool:
    return is_pattern(subject.encode()) and " " not in subject
