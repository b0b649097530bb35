"""One wish to receive: what, where to, in which framing, and for how long.

There are two kinds.  A framed one has an ``outbox``, a ``framing`` and a ``tag`` (what the peer knows it by).  The
other has ``receive``, a function that is called with each batch: the broker's own parts and embedding programs.

A *shadow* is a subscription of one tenant's in the router of another, from which it imports: it stands for its
``original`` there, under the pattern that the wish has there.  Whoever meets one delivers to the original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.fields import Receiver
from brokerkit.run import Origin
from brokerkit.topics import has_wildcard

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.framing import Framing
    from brokerkit.grants import Grants
    from brokerkit.outbox import Outbox
    from brokerkit.router import Router
    from brokerkit.run import Batch

NOTHING: dict[bytes, Any] = {}


class Subscription(Receiver):
    """Compared by identity; the router owns ``alive``, ``messages`` and ``left``.

    ``mute`` is the sender whose messages are left out (its own client, when it asked for no echo).  ``left`` is the
    number of messages until it ends by itself, -1 for never.  ``filter`` are the grants to ask at each match, where a
    denial reaches into the pattern.  ``receive`` may give ``False`` to say that nobody has heard what it was given.
    """

    __slots__ = (
        "ended",
        "here",
        "literal",
        "owner",
        "pattern",
        "receive",
        "router",
        "shadows",
    )

    def __init__(
        self,
        pattern: bytes,
        literal: bool,
        outbox: Outbox | None = None,
        framing: Framing | None = None,
        tag: bytes = b"",
        receive: Callable[[Batch], object] | None = None,
        queue: bytes = b"",
        owner: object = None,
        mute: object = None,
        origin: Origin = Origin.CLIENT,
        filter: Grants | None = None,  # noqa: A002  the word fits, the built-in is not used here
        ended: Callable[[Subscription], None] | None = None,
    ) -> None:
        """Take the wish; nothing happens before a router has it.

        Whoever makes many gives everything by place: by name, the call alone takes three times as long.
        """
        self.pattern = pattern
        self.literal = literal or not has_wildcard(pattern)
        self.outbox = outbox
        self.framing = framing
        self.tag = tag
        self.receive = receive
        self.queue = queue
        self.owner = owner
        self.mute = mute
        self.origin = origin
        self.filter = filter
        self.ended = ended
        self.messages = 0
        self.left = -1
        self.keeps = NOTHING
        self.alive = False
        self.router: Router | None = None  # that has it, or had it
        self.original = None  # whom a shadow stands for
        self.here: Callable[[bytes], bytes] | None = None  # what a shadow's original calls a topic, if not the same
        self.shadows: list[Subscription] | None = None  # of this one, in other tenants

    def shadow(self, pattern: bytes, here: Callable[[bytes], bytes] | None) -> Subscription:
        """Give a new shadow of this one: its wish is called ``pattern`` where the shadow is going to stand."""
        shadow = Subscription(pattern, literal=self.literal, queue=self.queue, origin=self.origin)
        shadow.original = self
        shadow.here = here
        return shadow
