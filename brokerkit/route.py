"""What a topic leads to, worked out once: the answer of a match, arranged so that delivery has little to decide.

A ``Route`` is replaced, never changed in place; a stale one is thrown away by whoever meets it.  ``plain`` groups the
subscribers by framing and head, since all with the same head receive the very same bytes; ``others`` are functions.
Both take batches whole.  ``groups`` are what has to be decided message by message: queue groups, and subscriptions that
end after so many messages, each as a group of one.  ``only`` is the case that matters most for small chunks: a single
plain subscriber and nobody else.  ``further`` are routes under other topics: of subscribers in tenants that import this
one and call it differently.  ``mapper`` is there instead of all others where a mapping leads the topic elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from brokerkit.fields import Leads
from brokerkit.run import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brokerkit.framing import Framing
    from brokerkit.mapping import Mapper
    from brokerkit.subscription import Subscription

log = Logger()

_DISTANCE = {Origin.LEAF: 1, Origin.ROUTE: 2, Origin.GATEWAY: 2}

Heads = tuple[tuple[Any, tuple["Subscription", ...]], ...]
"""Heads of one framing, each with the subscriptions that share it."""

Member = tuple["Subscription", Any, bytes | None]
"""A member of a queue group, with its head, and with the topic that it is to see if that is another."""

Only = tuple["Framing", Any, "Subscription"]
"""The one who receives, with its framing and its head."""


class Route(Leads):
    """Everyone who receives one topic at one state of the router (``generation``)."""

    __slots__ = (
        "further",
        "groups",
        "kept",
        "mapper",
        "only",
        "others",
        "plain",
        "topic",
        "unspellable",
    )

    def __init__(self, topic: bytes, found: Iterable[Subscription], generation: int) -> None:
        """Arrange what the router found for ``topic``."""
        framed: dict[Framing, dict[Any, list[Subscription]]] = {}
        groups: dict[bytes, list[Member]] = {}
        others: list[Subscription] = []
        counted: list[list[Member]] = []
        elsewhere: dict[bytes, list[Subscription]] = {}
        self.topic = topic
        self.unspellable = 0
        for one in self._usual(found, framed):
            s, name = (one, topic) if one.original is None else _behind(one, topic)
            if s.filter is not None and s.filter.denies("subscribe", name, queue=s.queue):
                continue
            if name != topic and not s.queue:
                elsewhere.setdefault(name, []).append(s)
                continue
            head = _head(s, name)
            if head is None:
                self.unspellable += 1
            elif s.queue:
                groups.setdefault(s.queue, []).append((s, head, None if name == topic else name))
            elif s.left >= 0 or s.origin is Origin.SERVICE:
                counted.append([(s, head, None)])
            elif s.framing is None:
                others.append(s)
            else:
                framed.setdefault(s.framing, {}).setdefault(head, []).append(s)
        self.plain: tuple[tuple[Framing, Heads], ...] = tuple(
            (framing, tuple((head, tuple(subs)) for head, subs in heads.items())) for framing, heads in framed.items()
        )
        self.groups = tuple(_tiers(members) for members in (*groups.values(), *counted))
        self.others = tuple(others)
        self.further: tuple[Route, ...] = ()
        if elsewhere:
            self.further = tuple(Route(name, subs, generation) for name, subs in elsewhere.items())
            self.unspellable += sum(route.unspellable for route in self.further)
        self.mapper: Mapper | None = None
        self.only = self._only()
        self.generation = generation
        self.stale = False
        self.kept = False

    def _usual(
        self, found: Iterable[Subscription], framed: dict[Framing, dict[Any, list[Subscription]]]
    ) -> list[Subscription]:
        """Arrange those about whom there is nothing special, without asking more, and give the others."""
        special = []
        for s in found:
            framing = s.framing
            if (
                framing is None
                or s.queue
                or s.filter is not None
                or s.original is not None
                or s.left >= 0
                or s.origin is Origin.SERVICE
            ):
                special.append(s)
            elif (head := _head(s, self.topic)) is None:
                self.unspellable += 1
            else:
                framed.setdefault(framing, {}).setdefault(head, []).append(s)
        return special

    def _only(self) -> Only | None:
        """Give the subscription, if the topic leads to a single one that takes batches whole."""
        if self.groups or self.others or self.further or len(self.plain) != 1:
            return None
        [(framing, heads)] = self.plain
        if len(heads) != 1 or len(heads[0][1]) != 1:
            return None
        [(head, [subscription])] = heads
        return framing, head, subscription

    @property
    def leads_nowhere(self) -> bool:
        """Whether nobody receives the topic."""
        return not (self.plain or self.groups or self.others or self.further)

    @property
    def piecemeal(self) -> bool:
        """Whether, in another tenant, some of the messages of a batch may reach others than the rest do."""
        return any(route.groups for route in self.further)


def _behind(shadow: Subscription, topic: bytes) -> tuple[Subscription, bytes]:
    """Give whom a shadow stands for, and what that one calls the topic."""
    original = shadow.original or shadow
    return original, topic if shadow.here is None else shadow.here(topic)


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
