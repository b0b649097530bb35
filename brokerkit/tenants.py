"""The tenants of a broker: what each shares with others, put to work and changed while the broker runs.

A tenant exists by its name: whoever logs in as a user of one has a space of topics, whether or not anything is said of
it here.  What is said is put in the tenant's router: the mappings, the limits, what it takes from others.  Nothing has
to be there first: an import of what nobody exports (yet) brings nothing, until somebody does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.allowance import Allowance
from brokerkit.exchange import Exchange, Service
from brokerkit.mapping import Mapper, placed
from brokerkit.router import Taken
from brokerkit.tenant import STREAM, Tenant, allowed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from brokerkit.realm import Realm
    from brokerkit.subscription import Subscription
    from brokerkit.tenant import Export, Import


class Tenants:
    """What is known of each tenant, by its name."""

    def __init__(self, realm: Realm, clock: object) -> None:
        """Begin with none that anything is known of; ``clock`` says what time it is."""
        self.exchange = Exchange(realm.router, clock.seconds)  # type: ignore[attr-defined]  # a reactor
        self._realm = realm
        self._known: dict[str, Tenant] = {}
        self._taking: dict[str, list[Subscription]] = {}  # requests, by the tenant that makes them

    def __iter__(self) -> Iterator[str]:
        """Give the names of those of whom something is known."""
        return iter(list(self._known))

    def __len__(self) -> int:
        """Give their number."""
        return len(self._known)

    def __contains__(self, name: object) -> bool:
        """Say whether something is known of a tenant."""
        return name in self._known

    def get(self, name: str) -> Tenant | None:
        """Give what is known of a tenant."""
        return self._known.get(name)

    def put_all(self, tenants: Iterable[Tenant]) -> None:
        """Put several, none of which need be there before the others."""
        for tenant in tenants:
            self.put(tenant)

    def put(self, tenant: Tenant) -> None:
        """Take what is said of a tenant, instead of what was known; to say the same again changes nothing.

        Raises ``BadMapping``, and changes nothing, if a mapping or an import is written wrongly.
        """
        former = self._known.get(tenant.name)
        if former == tenant:
            return
        mappers = [Mapper(mapping) for mapping in tenant.mappings]
        for one in tenant.imports:
            placed(one)
        self._known[tenant.name] = tenant
        with self._realm.turn:
            router = self._realm.router(tenant.name)
            if former is None or former.mappings != tenant.mappings:
                router.map(mappers)
            self._limit(tenant)
            if former is None or former.imports != tenant.imports:
                self._wire(tenant)
            if former is None or former.exports != tenant.exports:
                self._wire_importers(tenant.name)

    def drop(self, name: str) -> None:
        """Forget what is known of a tenant: it shares nothing any more.  Its clients are another's business."""
        if name in self._known:
            self.put(Tenant(name))
            del self._known[name]
            self.exchange.forget(name)

    def _limit(self, tenant: Tenant) -> None:
        """Hold the clients of a tenant to its limits, those who are here already, too."""
        limits = Allowance(subscriptions=tenant.max_subscriptions, payload=tenant.max_payload)
        self._realm.limit(tenant.name, tenant.max_connections, limits)

    def _wire_importers(self, source: str) -> None:
        for tenant in list(self._known.values()):
            if any(one.source == source for one in tenant.imports):
                self._wire(tenant)

    def _wire(self, tenant: Tenant) -> None:
        """Take what a tenant may have of others, and nothing else."""
        router = self._realm.router(tenant.name)
        for subscription in self._taking.pop(tenant.name, ()):
            router.remove(subscription)
        found = [(one, self._export(tenant.name, one)) for one in tenant.imports]
        streams = [one for one, export in found if one.kind == STREAM and export is not None]
        services = [Service(tenant.name, one.source, e, placed(one)) for one, e in found if e and one.kind != STREAM]
        if streams or router.taken:
            router.take([Taken(self._realm.router(one.source), placed(one)) for one in streams])
        if services:
            self._taking[tenant.name] = [self.exchange.offer(service) for service in services]

    def _export(self, tenant: str, one: Import) -> Export | None:
        source = self._known.get(one.source)
        return allowed(source, one, tenant) if source is not None else None
