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
from typing import TYPE_CHECKING, NamedTuple

from brokerkit.grants import PUBLISH
from brokerkit.route import Route
from brokerkit.trie import Trie

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.grants import Grants
    from brokerkit.run import Batch, Origin
    from brokerkit.subscription import Subscription

ROUTES = 8192  # topics that a router remembers
GATE_ROUTES = 1024  # topics that a client's gate remembers; nats-server's has 512
SEEN_ONCE = 4096  # topics of which it is remembered that they were asked for once


class Interest(NamedTuple):
    """What someone wants: a pattern or a literal name, alone or as a queue group, by way of one kind of origin."""

    pattern: bytes
    literal: bool
    queue: bytes
    origin: Origin


class Router:
    """Who receives what, within one tenant."""

    def __init__(self) -> None:
        """Begin with no subscriptions."""
        self.generation = 0
        self._literals: dict[bytes, dict[Subscription, None]] = {}
        self._patterns = Trie()
        self._routes: dict[bytes, Route] = {}
        self._once: set[bytes] = set()
        self._interest: dict[Interest, int] = {}
        self._watchers: list[Callable[[Interest, bool], None]] = []
        self.subscriptions = 0
        self.unspellable = 0

    def add(self, subscription: Subscription) -> None:
        """Deliver to ``subscription`` from the next message on."""
        name = subscription.pattern
        if subscription.literal:
            self._literals.setdefault(name, {})[subscription] = None
        else:
            self._patterns.add(name, subscription)
        subscription.alive = True
        self.subscriptions += 1
        self.changed(subscription)
        self._count(subscription, +1)

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
        self.changed(subscription)
        self._count(subscription, -1)

    def changed(self, subscription: Subscription) -> None:
        """Throw away the routes that ``subscription`` takes part in, or will."""
        if subscription.literal:
            route = self._routes.pop(subscription.pattern, None)
            if route is not None:
                route.stale = True
        else:
            self.generation += 1

    def match(self, topic: bytes) -> list[Subscription]:
        """Give all subscriptions that ``topic`` reaches."""
        found = self._patterns.match(topic)
        found.extend(self._literals.get(topic, ()))
        return found

    def route(self, topic: bytes) -> Route:
        """Give the current route of a topic, from the cache or made new."""
        route = self._routes.get(topic)
        if route is not None and route.generation == self.generation:
            return route
        known = route is not None
        route = Route(topic, self.match(topic), self.generation)
        if known or topic in self._once:
            self._keep(topic, route)
        else:
            if len(self._once) >= SEEN_ONCE:
                self._once.clear()
            self._once.add(topic)
        return route

    def _keep(self, topic: bytes, route: Route) -> None:
        """Remember a route; make room by dropping the oldest."""
        self._once.discard(topic)
        old = self._routes.pop(topic, None)
        if old is None and len(self._routes) >= ROUTES:
            old = self._routes.pop(next(iter(self._routes)))
        if old is not None:
            old.stale = True
        self._routes[topic] = route
        route.kept = True

    # -- interest ---------------------------------------------------------------------------------------------------

    def watch(self, watcher: Callable[[Interest, bool], None]) -> Callable[[], None]:
        """Call ``watcher(interest, True)`` for each interest there is and appears, with ``False`` when one disappears.

        Gives the function that ends it.
        """
        for interest in list(self._interest):
            watcher(interest, True)
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def _count(self, s: Subscription, step: int) -> None:
        interest = Interest(s.pattern, s.literal, s.queue, s.origin)
        count = self._interest.get(interest, 0) + step
        if count:
            self._interest[interest] = count
        else:
            del self._interest[interest]
        if count == (step > 0):
            for watcher in list(self._watchers):
                watcher(interest, step > 0)


class Gate:
    """What one client's messages pass: permission and route in one look-up.

    ``refused(batch)`` is called for what may not be published and says whether the rest of the run goes on.
    ``unheard(batch)`` is called for what nobody received; ``None`` where nobody wants to know.
    """

    __slots__ = ("grants", "messages", "refused", "router", "routes", "unheard")

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
        self.refused = refused
        self.unheard = unheard
        self.routes: dict[bytes, Route] = {}
        self.messages = 0

    def change(self, grants: Grants) -> None:
        """Decide by other grants from the next message on."""
        self.grants = grants
        self.routes.clear()

    def miss(self, topic: bytes) -> Route | None:
        """Give the route of a topic that the cache does not have; ``None`` if it may not be published."""
        if not self.grants.permits(PUBLISH, topic):
            return None
        route = self.router.route(topic)
        if route.kept:
            if len(self.routes) >= GATE_ROUTES and topic not in self.routes:
                for old in list(islice(self.routes, GATE_ROUTES // 4)):
                    del self.routes[old]
            self.routes[topic] = route
        return route
