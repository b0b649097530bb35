"""What becomes of a topic between tenants, said for people: where mappings lead it, who imports it, whom it asks.

This reads the records of the tenants alone, as the configuration has them; nothing has to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.grants import PUBLISH, SUBSCRIBE
from brokerkit.mapping import Mapper, placed
from brokerkit.notation import Name, shown
from brokerkit.tenant import SERVICE, STREAM, allowed
from brokerkit.topics import matches, meet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from brokerkit.tenant import Import, Tenant


def called(tenant: str) -> str:
    """Give how a tenant is called in a sentence."""
    return f"the tenant {tenant!r}" if tenant else "the tenant without a name"


def mapping_of(tenants: Iterable[Tenant], tenant: str, topic: bytes) -> Mapper | None:
    """Give the mapping that a message of a tenant's meets, if there is one."""
    for one in tenants:
        if one.name == tenant:
            mappers = (Mapper(mapping) for mapping in one.mappings)
            return next((mapper for mapper in mappers if matches(mapper.pattern, topic)), None)
    return None


def led_to(tenants: Iterable[Tenant], tenant: str, action: str, name: Name) -> Name:
    """Give the name that a right has to be there for: where a mapping leads it, as far as that is always the same."""
    mapper = mapping_of(tenants, tenant, name.topic) if action == PUBLISH and name.literal else None
    made = mapper(name.topic) if mapper is not None and mapper.fixed else None
    return name if made is None or made == name.topic else Name(made, literal=True, text=name.text)


def crossings(tenants: Sequence[Tenant], tenant: str, action: str, name: Name) -> list[str]:
    """Give a line for each thing that mappings, exports and imports make of a name in a tenant."""
    if action == SUBSCRIBE:
        return list(_arriving(tenants, tenant, name))
    if action != PUBLISH or not name.literal:
        return []
    mapper = mapping_of(tenants, tenant, name.topic)
    lines = list(_mapped(mapper, name.topic)) if mapper is not None else []
    topic = led_to(tenants, tenant, action, name).topic
    return [*lines, *_leaving(tenants, tenant, topic), *_asking(tenants, tenant, topic)]


def _mapped(mapper: Mapper, topic: bytes) -> Iterable[str]:
    for share, to in mapper.shares(topic):
        end = f"leads it to {shown(to)!r}" if to is not None else "loses it"
        yield f"the mapping of {shown(mapper.pattern)!r} {end}, {share} % of the time; the right is needed there"


def _imports(tenants: Iterable[Tenant], kind: str) -> Iterable[tuple[Tenant, Import]]:
    """Give each import that is allowed, with the tenant that has it."""
    named = {one.name: one for one in tenants}
    for one in named.values():
        for wanted in one.imports:
            source = named.get(wanted.source)
            if wanted.kind == kind and source is not None and allowed(source, wanted, one.name):
                yield one, wanted


def _leaving(tenants: Iterable[Tenant], tenant: str, topic: bytes) -> Iterable[str]:
    for importer, wanted in _imports(tenants, STREAM):
        if wanted.source == tenant and matches(wanted.pattern, topic):
            here = placed(wanted).here
            yield f"{called(importer.name)} imports it as {shown(here(topic) if here else topic)!r}"


def _asking(tenants: Iterable[Tenant], tenant: str, topic: bytes) -> Iterable[str]:
    for importer, wanted in _imports(tenants, SERVICE):
        place = placed(wanted)
        if importer.name == tenant and matches(place.local, topic):
            there = place.there(topic) if place.there else topic
            yield f"{called(wanted.source)} is asked, under {shown(there)!r}"


def _arriving(tenants: Iterable[Tenant], tenant: str, name: Name) -> Iterable[str]:
    for importer, wanted in _imports(tenants, STREAM):
        place = placed(wanted)
        common = name.topic if name.literal and matches(place.local, name.topic) else None
        if not name.literal:
            common = meet(place.local, name.topic)
        if importer.name == tenant and common is not None:
            there = place.there(common) if place.there else common
            yield f"{shown(there)!r} of {called(wanted.source)} arrives as {shown(common)!r}"
