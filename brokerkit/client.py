"""The logged-in party: the only thing that can publish and subscribe, and only ``portal.login`` makes one.

A ``Client`` is one connection or one request, acting for a ``User``.  It knows no protocol: a session hands it runs and
wishes, an embedding program calls ``publish`` and ``subscribe``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit.allowance import UNBOUNDED, Allowance, Meter
from brokerkit.deliver import deliver
from brokerkit.errors import NotAllowed
from brokerkit.grants import ALL, SUBSCRIBE, Grants
from brokerkit.router import Gate
from brokerkit.run import Message, Origin, Spoken
from brokerkit.subscription import Subscription
from brokerkit.topics import has_wildcard, is_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from brokerkit.framing import Framing
    from brokerkit.outbox import Outbox
    from brokerkit.router import Router
    from brokerkit.run import Batch, Run
    from brokerkit.turn import Turn


@attrs.frozen
class User:
    """Who logged in: what one source of users knows of one name.

    ``source`` is the checker's own description, so that two sources with one name are not confused and a decision can
    be explained.  ``valid_until`` is a moment in seconds since 1970, 0 for ever.  ``proof`` is a digest of whatever
    proves the name: when it is another, those who are logged in have not proved what would have to be proved now.
    ``protocols`` are those by which the user may come, all if there are none.  ``ticket`` is what the source wants to
    see again when it is asked whether this is still true (``Source.again``).
    """

    name: bytes
    source: str
    grants: Grants = attrs.field(factory=Grants, repr=False)
    owner: str = ""
    tenant: str = ""
    allowance: Allowance = UNBOUNDED
    valid_until: float = 0.0
    proof: bytes = attrs.field(default=b"", repr=False)
    protocols: tuple[str, ...] = ()
    ticket: object = attrs.field(default=None, repr=False, eq=False)


def _stop(_: Batch) -> bool:
    return False


def _ending(then: Callable[[Subscription], None] | None) -> Callable[[Subscription], None]:
    """Give what happens when a subscription ends by itself: its client, whoever that is by then, forgets it."""

    def ended(subscription: Subscription) -> None:
        owner: Client = subscription.owner  # type: ignore[assignment]  # only clients subscribe
        owner.forget(subscription)
        if then is not None:
            then(subscription)

    return ended


class Client:
    """One connection or request of one user."""

    __slots__ = (
        "_barred",
        "_ending",
        "_most",
        "changed",
        "ended",
        "gate",
        "grants",
        "left",
        "lost",
        "meter",
        "origin",
        "outbox",
        "past",
        "router",
        "rtt",
        "subscriptions",
        "turn",
        "user",
    )

    def __init__(
        self, user: User, router: Router, turn: Turn, outbox: Outbox | None = None, origin: Origin = Origin.CLIENT
    ) -> None:
        """Take the user and the parts of the broker that it may touch."""
        self.user = user
        self.router = router
        self.turn = turn
        self.outbox = outbox
        self.origin = origin
        # What may be done here: all that the user may, unless something is barred, or the broker's own.
        self.grants = router.guard(user.grants)
        self._barred: Collection[str] = frozenset()
        self._ending: tuple[Callable[[Subscription], None] | None, Callable[[Subscription], None]] | None = None
        self.gate = Gate(router, self.grants, _stop)
        allowance = self.allowance
        self.meter = Meter.of(allowance)
        self._most = allowance.subscriptions  # 0 for as many as it likes
        self.subscriptions: dict[Subscription, None] = {}
        self.rtt = 0.0  # seconds that a question to the peer took last, 0 while that is not known
        self.past = 0  # messages that were delivered to subscriptions which have ended
        self.ended: Callable[[str], None] | None = None  # told when the user may no longer be here, and in one word why
        self.changed: Callable[[], None] | None = None  # told when other things are allowed than before
        self.lost: Callable[[Subscription], None] | None = None  # told of a subscription that may no longer be held
        self.left: Callable[[Client], None] | None = None  # told when the client has left

    def send(self, run: Run) -> int:
        """Publish a run; give the number of its messages that were let through (see ``Gate.refused``)."""
        with self.turn:
            return self.deliver(run)

    def deliver(self, run: Run) -> int:
        """Do what ``send`` does, for a caller that is within a turn already.

        Raises ``OverAllowance`` when a payload is larger than the user's may be; what stands before it is let through.
        """
        if self.meter is not None:
            return self._deliver_measured(run, self.meter)
        run.sender = self
        run.name = self.user.name
        run.origin = self.origin
        return deliver(run, self.gate)

    def answer(self, run: Run) -> int:
        """Publish what no grant covers, because its topic was named as the one for answers; within a turn.

        Gives the number of messages.
        """
        run.sender = self
        run.name = self.user.name
        run.origin = self.origin
        # Not to where only the broker publishes: anybody may name such a topic as the one for answers.
        count = deliver(run, Gate(self.router, self.router.guard(ALL), _stop, self.gate.unheard))
        self.gate.messages += count
        return count

    def _deliver_measured(self, run: Run, meter: Meter) -> int:
        fitting = meter.fitting(run)
        over = fitting < len(run)
        if over:
            run = Spoken([run[i] for i in range(fitting)])
        meter.count(len(run))
        run.sender = self
        run.name = self.user.name
        run.origin = self.origin
        passed = deliver(run, self.gate)
        if over:
            error = meter.too_large()
            error.passed = passed
            raise error
        return passed

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
        receive: Callable[[Batch], object] | None = None,
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
        ``ended`` is called when the subscription ends by itself.  Raises ``NotAllowed`` where the user lacks the grant
        or has as many subscriptions as it may have, and ``ValueError`` for a pattern that is none.
        """
        if not literal:
            if not is_pattern(pattern):
                text = f"{pattern!r} is not a pattern"
                raise ValueError(text)
            literal = not has_wildcard(pattern)
        if not self.grants.permits(SUBSCRIBE, pattern, literal=literal, queue=queue):
            text = f"{self.user.name!r} may not subscribe to {pattern!r}"
            raise NotAllowed(text, fatal=False)
        if 0 != self._most <= len(self.subscriptions):
            text = f"{self.user.name!r} may not have more than {self.allowance.subscriptions} subscriptions"
            raise NotAllowed(text, fatal=False)
        subscription = Subscription(
            pattern,
            literal,
            self.outbox,
            framing,
            tag,
            receive,
            queue,
            self,
            None if echo else self,
            self.origin,
            None if literal else self._filter(pattern, queue, literal=False),
            self._ending_with(ended),
        )
        self.subscriptions[subscription] = None
        self.router.add(subscription)
        return subscription

    def _ending_with(self, then: Callable[[Subscription], None] | None) -> Callable[[Subscription], None]:
        """Give what ``_ending`` gives, the same one again for whoever has many subscriptions."""
        if self._ending is None or self._ending[0] is not then:
            self._ending = then, _ending(then)
        return self._ending[1]

    def unsubscribe(self, subscription: Subscription, after: int = 0) -> None:
        """End a subscription: now, or when ``after`` messages, counted from its beginning, have been delivered."""
        left = after - subscription.messages
        if left > 0 and subscription.alive:
            subscription.left = left
            self.router.changed(subscription)
            return
        self.forget(subscription)
        self.router.remove(subscription)

    def forget(self, subscription: Subscription) -> None:
        """Take note that a subscription is over."""
        if subscription in self.subscriptions:
            del self.subscriptions[subscription]
            self.past += subscription.messages

    @property
    def delivered(self) -> int:
        """The messages that were delivered here."""
        return self.past + sum([subscription.messages for subscription in self.subscriptions])

    def take_over(self, former: Client) -> None:
        """Become the owner of another client's subscriptions: the same connection has logged in anew.

        Those that this user could not have made, or that are another tenant's, end.  What was published too fast is
        owed still.
        """
        self._measure(former.meter)
        subscriptions, former.subscriptions = former.subscriptions, {}
        self.past += former.past
        for subscription in subscriptions:
            if former.router is not self.router:
                self.past += subscription.messages
                former.router.remove(subscription)
                self._tell(subscription)
                continue
            subscription.owner = self
            if subscription.mute is former:
                subscription.mute = self
            self.subscriptions[subscription] = None
            self._review(subscription)

    @property
    def allowance(self) -> Allowance:
        """What the user may have and do here, and its tenant."""
        return self.user.allowance.within(self.router.limits)

    def measure(self) -> None:
        """Hold what is done against other limits from now on."""
        self._measure(self.meter)

    def _measure(self, former: Meter | None) -> None:
        allowance = self.allowance
        self.meter = Meter.of(allowance, former)
        self._most = allowance.subscriptions

    @property
    def full(self) -> bool:
        """Whether the user has as many subscriptions here as it may have."""
        return 0 != self._most <= len(self.subscriptions)

    def become(self, user: User) -> None:
        """Go on as what the source now says of the same user: rights are new at once, subscriptions without one end."""
        self.user = user
        self.measure()
        self._take_grants()

    def bar(self, actions: Collection[str]) -> None:
        """Let nobody do those actions here, whatever the user may do, now and after a change of the user."""
        if actions != self._barred:
            self._barred = actions
            self._take_grants()

    def _take_grants(self) -> None:
        self.grants = self.router.guard(self.user.grants.without(self._barred))
        self.gate.change(self.grants)
        for subscription in list(self.subscriptions):
            self._review(subscription)
        if self.changed is not None:
            self.changed()

    def _review(self, subscription: Subscription) -> None:
        pattern, literal, queue = subscription.pattern, subscription.literal, subscription.queue
        if not self.grants.permits(SUBSCRIBE, pattern, literal=literal, queue=queue):
            self.unsubscribe(subscription)
            self._tell(subscription)
            return
        former, subscription.filter = subscription.filter, self._filter(pattern, queue, literal=literal)
        if former is not subscription.filter:
            self.router.changed(subscription)

    def _filter(self, pattern: bytes, queue: bytes, *, literal: bool) -> Grants | None:
        """Give the grants to ask at each match, if a denial reaches into the pattern."""
        return self.grants if not literal and self.grants.denies_part(pattern, queue) else None

    def _tell(self, subscription: Subscription) -> None:
        if self.lost is not None:
            self.lost(subscription)

    def leave(self) -> None:
        """End all subscriptions; what is queued in the outbox stays there."""
        self.past = self.delivered
        subscriptions, self.subscriptions = self.subscriptions, {}
        for subscription in subscriptions:
            self.router.remove(subscription)
        left, self.left = self.left, None
        if left is not None:
            left(self)
