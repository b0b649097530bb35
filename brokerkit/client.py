"""The logged-in party: the only thing that can publish and subscribe, and only ``portal.login`` makes one.

A ``Client`` is one connection or one request, acting for a ``User``.  It knows no protocol: a session hands it runs and
wishes, an embedding program calls ``publish`` and ``subscribe``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit.deliver import deliver
from brokerkit.errors import NotAllowed
from brokerkit.grants import SUBSCRIBE, Grants
from brokerkit.router import Gate
from brokerkit.run import Message, Origin, Spoken
from brokerkit.subscription import Subscription
from brokerkit.topics import is_pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.framing import Framing
    from brokerkit.outbox import Outbox
    from brokerkit.router import Router
    from brokerkit.run import Batch, Run
    from brokerkit.turn import Turn


@attrs.frozen
class User:
    """Who logged in: what one source of users knows of one name.

    ``source`` is the checker's own description, so that two sources with one name are not confused and a decision can
    be explained.
    """

    name: bytes
    source: str
    grants: Grants = attrs.field(factory=Grants, repr=False)
    owner: str = ""
    tenant: str = ""


def _stop(_: Batch) -> bool:
    return False


def _ending(then: Callable[[Subscription], None] | None) -> Callable[[Subscription], None]:
    """Give what happens when a subscription ends by itself: its client, whoever that is by then, forgets it."""

    def ended(subscription: Subscription) -> None:
        owner: Client = subscription.owner  # type: ignore[assignment]  # only clients subscribe
        owner.subscriptions.pop(subscription, None)
        if then is not None:
            then(subscription)

    return ended


class Client:
    """One connection or request of one user."""

    __slots__ = ("gate", "origin", "outbox", "router", "subscriptions", "turn", "user")

    def __init__(
        self, user: User, router: Router, turn: Turn, outbox: Outbox | None = None, origin: Origin = Origin.CLIENT
    ) -> None:
        """Take the user and the parts of the broker that it may touch."""
        self.user = user
        self.router = router
        self.turn = turn
        self.outbox = outbox
        self.origin = origin
        self.gate = Gate(router, user.grants, _stop)
        self.subscriptions: dict[Subscription, None] = {}

    def send(self, run: Run) -> int:
        """Publish a run; give the number of its messages that were let through (see ``Gate.refused``)."""
        with self.turn:
            return self.deliver(run)

    def deliver(self, run: Run) -> int:
        """Do what ``send`` does, for a caller that is within a turn already."""
        run.sender = self
        run.name = self.user.name
        run.origin = self.origin
        return deliver(run, self.gate)

    def publish(self, topic: bytes, payload: bytes, *, reply: bytes = b"", headers: bytes = b"") -> None:
        """Publish one message.

        Raises ``NotAllowed`` where the user lacks the grant.
        """
        if not self.send(Spoken([Message(topic, payload, reply, headers)])):
            text = f"{self.user.name!r} may not publish to {topic!r}"
            raise NotAllowed(text, fatal=False)

    def subscribe(
        self,
        pattern: bytes,
        receive: Callable[[Batch], None] | None = None,
        *,
        framing: Framing | None = None,
        tag: bytes = b"",
        literal: bool = False,
        queue: bytes = b"",
        echo: bool = True,
        ended: Callable[[Subscription], None] | None = None,
    ) -> Subscription:
        """Receive what is published under ``pattern``, either by calls of ``receive`` or, framed, in the outbox.

        ``literal`` says that the bytes are a name, whatever they look like.  Members of one ``queue`` share messages.
        ``ended`` is called when the subscription ends by itself.  Raises ``NotAllowed`` where the user lacks the grant,
        and ``ValueError`` for a pattern that is none.
        """
        if not literal and not is_pattern(pattern):
            text = f"{pattern!r} is not a pattern"
            raise ValueError(text)
        grants = self.user.grants
        if not grants.permits(SUBSCRIBE, pattern, literal=literal):
            text = f"{self.user.name!r} may not subscribe to {pattern!r}"
            raise NotAllowed(text, fatal=False)
        subscription = Subscription(
            pattern,
            literal=literal,
            outbox=self.outbox,
            framing=framing,
            tag=tag,
            receive=receive,
            queue=queue,
            owner=self,
            mute=None if echo else self,
            origin=self.origin,
            filter=grants if not literal and grants.denies_part(pattern) else None,
            ended=_ending(ended),
        )
        self.subscriptions[subscription] = None
        self.router.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription, after: int = 0) -> None:
        """End a subscription: now, or when ``after`` messages, counted from its beginning, have been delivered."""
        left = after - subscription.messages
        if left > 0 and subscription.alive:
            subscription.left = left
            self.router.changed(subscription)
            return
        self.subscriptions.pop(subscription, None)
        self.router.remove(subscription)

    def take_over(self, former: Client) -> None:
        """Become the owner of another client's subscriptions: the same connection has logged in anew.

        Those of another tenant stay where they are.
        """
        if former.router is not self.router:
            return
        for subscription in former.subscriptions:
            subscription.owner = self
            if subscription.mute is former:
                subscription.mute = self
            self.subscriptions[subscription] = None
        former.subscriptions = {}

    def leave(self) -> None:
        """End all subscriptions; what is queued in the outbox stays there."""
        subscriptions, self.subscriptions = self.subscriptions, {}
        for subscription in subscriptions:
            self.router.remove(subscription)
