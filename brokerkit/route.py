"""What a topic leads to, worked out once: the answer of a match, arranged so that delivery has little to decide.

A ``Route`` is replaced, never changed in place; a stale one is thrown away by whoever meets it.  ``plain`` groups the
subscribers by framing and head, since all with the same head receive the very same bytes; ``others`` are functions.
Both take batches whole.  ``groups`` are what has to be decided message by message: queue groups, and subscriptions that
end after so many messages, each as a group of one.  ``only`` is the case that matters most for small chunks: a single
plain subscriber and nobody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from brokerkit.run import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.framing import Framing
    from brokerkit.subscription import Subscription

log = Logger()

_DISTANCE = {Origin.LEAF: 1, Origin.ROUTE: 2, Origin.GATEWAY: 2}

Heads = tuple[tuple[Any, tuple["Subscription", ...]], ...]
"""Heads of one framing, each with the subscriptions that share it."""

Member = tuple["Subscription", Any]
"""A member of a queue group, with its head."""

Only = tuple["Framing", Any, "Subscription"]
"""The one who receives, with its framing and its head."""


class Route:
    """Everyone who receives one topic at one state of the router (``generation``)."""

    __slots__ = ("generation", "groups", "kept", "only", "others", "plain", "stale", "unspellable")

    def __init__(self, topic: bytes, found: Iterable[Subscription], generation: int) -> None:
        """Arrange what the router found for ``topic``."""
        framed: dict[Framing, dict[Any, list[Subscription]]] = {}
        groups: dict[bytes, list[Member]] = {}
        others: list[Subscription] = []
        counted: list[list[Member]] = []
        self.unspellable = 0
        for s in found:
            if s.filter is not None and not s.filter.permits("subscribe", topic):
                continue
            head = _head(s, topic)
            if head is None:
                self.unspellable += 1
            elif s.queue:
                groups.setdefault(s.queue, []).append((s, head))
            elif s.left >= 0:
                counted.append([(s, head)])
            elif s.framing is None:
                others.append(s)
            else:
                framed.setdefault(s.framing, {}).setdefault(head, []).append(s)
        self.plain: tuple[tuple[Framing, Heads], ...] = tuple(
            (framing, tuple((head, tuple(subs)) for head, subs in heads.items())) for framing, heads in framed.items()
        )
        self.groups = tuple(_tiers(members) for members in (*groups.values(), *counted))
        self.others = tuple(others)
        self.only = self._only()
        self.generation = generation
        self.stale = False
        self.kept = False

    def _only(self) -> Only | None:
        """Give the subscription, if the topic leads to a single one that takes batches whole."""
        if self.groups or self.others or len(self.plain) != 1:
            return None
        [(framing, heads)] = self.plain
        if len(heads) != 1 or len(heads[0][1]) != 1:
            return None
        [(head, [subscription])] = heads
        return framing, head, subscription

    @property
    def leads_nowhere(self) -> bool:
        """Whether nobody receives the topic."""
        return not (self.plain or self.groups or self.others)


def _head(s: Subscription, topic: bytes) -> Any:  # noqa: ANN401  whatever its framing makes
    """Give the head of a subscription's frames; ``None`` if its framing cannot spell the topic, or fails."""
    if s.framing is None:
        return b""
    try:
        return s.framing.head(topic, s.tag)
    except Exception:
        log.failure("{framing} cannot spell a topic", framing=s.framing)
        return None


def _tiers(members: list[Member]) -> tuple[tuple[Member, ...], ...]:
    """Sort the members of a group by how far away they are: here, on a leaf, in the mesh."""
    tiers: tuple[list[Member], ...] = ([], [], [])
    for member in members:
        tiers[_DISTANCE.get(member[0].origin, 0)].append(member)
    return tuple(tuple(tier) for tier in tiers if tier)
