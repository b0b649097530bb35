"""Payloads that are held by topic for a while: one behind the other, with who sent each and its place in an order.

Whoever wants messages handed on together, and not one by one, has a ``Held`` for each topic and one ``Holding`` for all
of them.  Both have compiled twins, which the message path fills without an object for any message: a subscription
names the topics whose payloads are wanted so (``Receiver.keeps``), and ``receive`` gets what is left.
"""

from __future__ import annotations

from array import array
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from brokerkit.bodies import Bodies, together
from brokerkit.compiled import twin

if TYPE_CHECKING:
    from collections.abc import Sequence

EACH = 16  # bytes that a payload counts for beside its own
NOBODY = b"-"  # who has an empty name: without a sender stands only what the broker itself writes


@twin
class Count:
    """How many payloads are held of topics that share an order."""

    __slots__ = ("__weakref__", "count")

    def __init__(self) -> None:
        """Begin with none."""
        self.count = 0


@twin
class Holding:
    """What all topics hold together.

    ``held`` are the bytes, of which there may be ``room``, or ``brim`` for topics that hold nobody back.  ``lanes`` are
    those who hold something, in the order in which they began to.  While ``odd`` is set nothing more may be held.
    ``delay`` is how many seconds the first payload may wait.  ``touch`` is called with the first lane of a turn, and
    sets ``touched``.
    """

    __slots__ = ("brim", "delay", "held", "lanes", "odd", "room", "touched")

    def __init__(self) -> None:
        """Hold nothing, and have no room."""
        self.held = self.room = self.brim = 0
        self.delay = 0.0
        self.lanes: list[Any] = []
        self.odd = self.touched = False

    def touch(self, lane: Any) -> None:  # noqa: ANN401  a Held
        """Take note that a turn has begun to fill this."""
        raise NotImplementedError


class Taken(NamedTuple):
    """What was held.

    ``senders`` is one name, or as many as payloads.  ``places`` are those in the order, if there is one.  ``size`` are
    the bytes that it counted for.
    """

    bodies: Bodies
    senders: bytes | list[bytes]
    places: array[int]
    size: int


@twin
class Held:
    """The payloads that are held of one topic.

    They are held while it is ``ready`` and not ``gone``, and nothing is ``missed``; ``drops`` says that its publishers
    are not held back.  ``receiver`` is the subscription that they come by, ``order`` counts those of all topics that
    share one.
    """

    __slots__ = (
        "_counts",
        "_names",
        "_places",
        "_values",
        "delay",
        "drops",
        "gone",
        "holding",
        "missed",
        "order",
        "ready",
        "receiver",
        "size",
    )

    def __init__(self, holding: Holding, receiver: object, order: Count | None) -> None:
        """Hold nothing."""
        self.holding = holding
        self.receiver = receiver
        self.order = order
        self.ready = self.gone = self.drops = False
        self.missed = 0
        self.delay = 0.0
        self._empty()

    def _empty(self) -> None:
        self._values: list[bytes] = []
        self._names: list[bytes] = []
        self._counts: list[int] = []
        self._places = array("I")
        self.size = 0  # bytes that they count for

    @property
    def count(self) -> int:
        """The payloads that are held."""
        return len(self._values)

    def put(self, sender: bytes, payloads: list[bytes], size: int) -> None:
        """Hold payloads of one sender that count for so many bytes."""
        holding, order, count = self.holding, self.order, len(payloads)
        if not count:
            return
        if not self._values:
            holding.lanes.append(self)
        holding.held += size
        self.size += size
        if self._names and self._names[-1] == sender:
            self._counts[-1] += count
        else:
            self._names.append(sender)
            self._counts.append(count)
        if order is not None:
            self._places.extend(range(order.count, order.count + count))
            order.count += count
        self._values += payloads

    def take(self) -> Taken:
        """Give what is held, and hold nothing, whatever happens; raise ``ValueError`` if there is nothing."""
        if not self._values:
            raise ValueError("nothing is held")
        try:
            names = self._names
            senders = names[0] if len(names) == 1 else spread(names, self._counts)
            return Taken(together(self._values), senders, self._places, self.size)
        finally:
            self._empty()


def spread(names: Sequence[bytes], counts: Sequence[int]) -> list[bytes]:
    """Give each name as often as its count says."""
    found: list[bytes] = []
    for name, count in zip(names, counts, strict=True):
        found += repeat(name, count)
    return found
