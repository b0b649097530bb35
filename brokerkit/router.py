"""The router finds who receives a topic, and remembers it.

Behind it stands a dict of the literal subscriptions and a trie of the patterns; in front of it two caches.  A
``Route`` (for each topic, shared by all) is marked stale when a literal subscription to its topic comes or goes; a
pattern that comes or goes bumps ``generation``, which makes all routes old at once.  A ``Gate`` (for each client)
holds the routes of what that client publishes, entered only when the grant allows it: so the message path pays one
look-up for permission and match together.

Both caches are bounded and take a topic in only when it is asked for a second time: reply topics that are used once
do not wash out the others.

``watch`` tells of interest: which patterns someone wants that nobody wanted before, and the other way round.  Links to
other brokers live on that.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from brokerkit.allowance import UNBOUNDED
from brokerkit.grants import PUBLISH
from brokerkit.interest import Interests
from brokerkit.route import Route
from brokerkit.run import Origin
from brokerkit.topics import matches, meet
from brokerkit.trie import Trie

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from brokerkit.grants import Grants
    from brokerkit.interest import Interest
    from brokerkit.mapping import Mapper, Placed
    from brokerkit.reserved import Reserved
    from brokerkit.run import Batch
    from brokerkit.subscription import Subscription

_OWN = frozenset((Origin.SERVICE, Origin.LOG))  # the broker's own subscriptions

ROUTES = 8192  # topics that a router remembers
GATE_ROUTES = 1024  # topics that a client's gate remembers; nats-server's has 512
SEEN_ONCE = 4096  # topics of which it is remembered that they were asked for once


class Router:
    """Who receives what, within one tenant."""

    def __init__(self) -> None:
        """Begin with no subscriptions."""
        self.generation = 0
        self.reserved: Reserved | None = None  # set before anybody logs in
        self._literals: dict[bytes, dict[Subscription, None]] = {}
        self._patterns = Trie()
        self._routes: dict[bytes, Route] = {}
        self._once: set[bytes] = set()
        self._interests: Interests | None = None  # not before somebody watches
        self.subscriptions = 0
        self.serving = 0  # of them, the broker's own
        self.added = 0  # subscriptions that there have ever been
        self.asked = self.matched = 0  # topics that were looked up here, and those that the cache did not have
        self.unspellable = 0
        self.messages = 0  # that were published here
        self.limits = UNBOUNDED  # of each client here, beside its user's own
        self.mappers: tuple[Mapper, ...] = ()
        self.taken: tuple[Taken, ...] = ()

    def add(self, subscription: Subscription) -> None:
        """Deliver to ``subscription`` from the next message on."""
        name = subscription.pattern
        if subscription.literal:
            same = self._literals.get(name)
            if same is None:
                self._literals[name] = {subscription: None}
            else:
                same[subscription] = None
        else:
            self._patterns.add(name, subscription)
        subscription.alive = True
        subscription.router = self
        self.subscriptions += 1
        self.added += 1
        self.serving += subscription.origin in _OWN
        self._outdate(subscription)
        if self._interests is not None:
            self._interests.count(subscription, +1)
        if self.taken:
            self._shade(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Deliver nothing more to ``subscription``; removing twice does nothing."""
        if not subscription.alive:
            return
        subscription.alive = False
        name = subscription.pattern
        if subscription.literal:
            same = self._literals[name]
            del same[subscription]
            if not same:
                del self._literals[name]
        else:
            self._patterns.remove(name, subscription)
        self.subscriptions -= 1
        self.serving -= subscription.origin in _OWN
        self.changed(subscription)
        if self._interests is not None:
            self._interests.count(subscription, -1)
        if subscription.shadows is not None:
            self._lift(subscription)

    def changed(self, subscription: Subscription) -> None:
        """Throw away the routes that ``subscription`` takes part in, or will."""
        for shadow in subscription.shadows or ():
            shadow.router.changed(shadow)  # type: ignore[union-attr]  # it has been added there
        self._outdate(subscription)

    def _outdate(self, subscription: Subscription) -> None:
        if subscription.literal:
            route = self._routes.pop(subscription.pattern, None)
            if route is not None:
                route.stale = True
        else:
            self.generation += 1

    def guard(self, grants: Grants) -> Grants:
        """Give the grants as they are here, where a part of the topics may be the broker's own."""
        return self.reserved.guard(grants) if self.reserved is not None else grants

    def match(self, topic: bytes) -> list[Subscription]:
        """Give all subscriptions that ``topic`` reaches."""
        found = self._patterns.match(topic)
        found.extend(self._literals.get(topic, ()))
        return found

    def route(self, topic: bytes) -> Route:
        """Give the current route of a topic, from the cache or made new."""
        self.asked += 1
        route = self._routes.get(topic)
        if route is not None and route.generation == self.generation:
            return route
        self.matched += 1
        known = route is not None
        route = Route(topic, self.match(topic), self.generation)
        if known or self.comes_again(topic):
            self._keep(topic, route)
        return route

    @property
    def tables(self) -> tuple[Any, ...]:
        """What the compiled message path looks into for topics that are asked for only once, while there is no mapping.

        All of these are changed in place.
        """
        return () if self.mappers else (self._routes, self._once, SEEN_ONCE, self._literals, self._patterns.root)

    def comes_again(self, topic: bytes) -> bool:
        """Say whether a topic has been asked for before, so that it is worth remembering."""
        if topic in self._once:
            return True
        if len(self._once) >= SEEN_ONCE:
            self._once.clear()
        self._once.add(topic)
        return False

    def _keep(self, topic: bytes, route: Route) -> None:
        """Remember a route; make room by dropping some of the oldest, as looking for one costs as much as for many."""
        self._once.discard(topic)
        former = self._routes.pop(topic, None)
        if former is not None:
            former.stale = True
        elif len(self._routes) >= ROUTES:
            for old in list(islice(self._routes, ROUTES // 4)):
                self._routes.pop(old).stale = True
        self._routes[topic] = route
        route.kept = True

    @property
    def remembered(self) -> Collection[Route]:
        """The routes that are remembered, some of them old."""
        return self._routes.values()

    # -- what tenants take from each other, and where they lead what is published here --------------------------------

    def take(self, taken: Iterable[Taken]) -> None:
        """Take this, and nothing else, from the routers of other tenants: for who is here and for who comes."""
        for subscription in self.everyone():
            self._lift(subscription)
        self.taken = tuple(taken)
        if self.taken:
            for subscription in self.everyone():
                self._shade(subscription)

    def everyone(self) -> list[Subscription]:
        """Give all subscriptions of this tenant's own."""
        return [s for s in self._all() if s.original is None]

    def _all(self) -> Iterator[Subscription]:
        """Give all that are here, other tenants' shadows among them."""
        for same in self._literals.values():
            yield from same
        yield from self._patterns

    def _shade(self, subscription: Subscription) -> None:
        """Have a subscription take part in what is imported; what is here for others' sake does not."""
        if subscription.original is not None or subscription.origin is Origin.SERVICE:
            return
        shadows = [(taken.router, taken.shadow(subscription)) for taken in self.taken]
        subscription.shadows = [shadow for _, shadow in shadows if shadow is not None] or None
        for router, shadow in shadows:
            if shadow is not None:
                router.add(shadow)

    @staticmethod
    def _lift(subscription: Subscription) -> None:
        shadows, subscription.shadows = subscription.shadows or (), None
        for shadow in shadows:
            shadow.router.remove(shadow)  # type: ignore[union-attr]  # it has been added there

    def map(self, mappers: Iterable[Mapper]) -> None:
        """Lead what is published here where these mappings say, and only these; the first that fits counts."""
        self.mappers = tuple(mappers)
        self.generation += 1

    def mapper(self, topic: bytes) -> Mapper | None:
        """Give the mapping of a topic, if there is one."""
        for mapper in self.mappers:
            if matches(mapper.pattern, topic):
                return mapper
        return None

    def mapped(self, topic: bytes) -> bytes:
        """Give where a message on a topic goes, as far as that is always the same."""
        mapper = self.mapper(topic)
        made = mapper(topic) if mapper is not None and mapper.fixed else None
        return topic if made is None else made

    # -- interest ---------------------------------------------------------------------------------------------------

    def watch(self, watcher: Callable[[Interest, bool], None]) -> Callable[[], None]:
        """Call ``watcher(interest, True)`` for each interest there is and appears, with ``False`` when one disappears.

        Gives the function that ends it.
        """
        if self._interests is None:
            self._interests = Interests(self._all())
        return self._interests.watch(watcher)


class Gate:
    """What one client's messages pass: permission and route in one look-up.

    ``refused(batch)`` is called for what may not be published and says whether the rest of the run goes on.
    ``unheard(batch)`` is called for what nobody received; ``None`` where nobody wants to know.
    """

    __slots__ = ("free_but_for", "grants", "messages", "refused", "router", "routes", "unheard")

    def __init__(
        self,
        router: Router,
        grants: Grants,
        refused: Callable[[Batch], bool],
        unheard: Callable[[Batch], None] | None = None,
    ) -> None:
        """Begin with an empty cache."""
        self.router = router
        self.grants = grants
        self.free_but_for = grants.free_but_for(PUBLISH)
        self.refused = refused
        self.unheard = unheard
        self.routes: dict[bytes, Route] = {}
        self.messages = 0

    def change(self, grants: Grants) -> None:
        """Decide by other grants from the next message on."""
        self.grants = grants
        self.free_but_for = grants.free_but_for(PUBLISH)
        self.routes.clear()

    def miss(self, topic: bytes) -> Route | None:
        """Give the route of a topic that the cache does not have; ``None`` if it may not be published."""
        router = self.router
        mapper = router.mapper(topic) if router.mappers else None
        if mapper is not None:
            return self._mapped(topic, mapper)
        if not self.grants.permits(PUBLISH, topic):
            return None
        route = router.route(topic)
        if route.kept:
            self._keep(topic, route)
        return route

    def permits(self, topic: bytes) -> bool:
        """Say whether a topic may be published to; where a mapping leads by chance, that is asked for each message."""
        mapper = self.router.mapper(topic)
        if mapper is None:
            return self.grants.permits(PUBLISH, topic)
        made = mapper(topic) if mapper.fixed else None
        return made is None or self.grants.permits(PUBLISH, made)

    def _mapped(self, topic: bytes, mapper: Mapper) -> Route | None:
        """Give the route of a topic that a mapping leads elsewhere: there one has to be allowed to publish."""
        router = self.router
        made = mapper(topic) if mapper.fixed else topic
        if made is not None and mapper.fixed and not self.grants.permits(PUBLISH, made):
            return None
        if mapper.fixed and made == topic:
            return router.route(topic)
        route = Route(topic if made is None else made, (), router.generation)
        route.mapper = mapper if made is not None else None
        if router.comes_again(topic):
            self._keep(topic, route)
        return route

    def _keep(self, topic: bytes, route: Route) -> None:
        """Remember a route; make room by dropping some of the oldest."""
        if len(self.routes) >= GATE_ROUTES and topic not in self.routes:
            for old in list(islice(self.routes, GATE_ROUTES // 4)):
                del self.routes[old]
        self.routes[topic] = route


class Taken:
    """What a tenant takes from another: where it is found, and how a wish here is called there."""

    __slots__ = ("placed", "router")

    def __init__(self, router: Router, placed: Placed) -> None:
        """Take it from that router."""
        self.router = router
        self.placed = placed

    def shadow(self, subscription: Subscription) -> Subscription | None:
        """Give the shadow of a subscription in the other tenant; ``None`` if it has no part in what is taken."""
        placed, wish = self.placed, subscription.pattern
        common = meet(placed.local, wish)
        if subscription.literal:
            common = wish if matches(placed.local, wish) else None
        if common is None:
            return None
        return subscription.shadow(common if placed.there is None else placed.there(common), placed.here)
