"""What is wanted in one tenant: which patterns somebody has subscribed to, told when the first comes and the last goes.

Links to other brokers live on that.  Nothing is counted before somebody watches, since a subscription should cost no
more than it has to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerkit.run import Origin
    from brokerkit.subscription import Subscription

    Watcher = Callable[["Interest", bool], None]


class Interest(NamedTuple):
    """What someone wants: a pattern or a literal name, alone or as a queue group, by way of one kind of origin."""

    pattern: bytes
    literal: bool
    queue: bytes
    origin: Origin


class Interests:
    """How many subscriptions there are of each interest, and who wants to be told."""

    def __init__(self, subscriptions: Iterable[Subscription]) -> None:
        """Begin with the subscriptions that there are."""
        self._counts: dict[Interest, int] = {}
        self._watchers: list[Watcher] = []
        for subscription in subscriptions:
            self.count(subscription, +1)

    def count(self, s: Subscription, step: int) -> None:
        """Take note of a subscription that came (1) or went (-1)."""
        interest = Interest(s.pattern, s.literal, s.queue, s.origin)
        count = self._counts.get(interest, 0) + step
        if count:
            self._counts[interest] = count
        else:
            del self._counts[interest]
        if count == (step > 0):
            for watcher in list(self._watchers):
                watcher(interest, step > 0)

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Do what ``Router.watch`` says."""
        for interest in list(self._counts):
            watcher(interest, True)
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)
