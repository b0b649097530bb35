"""The message path: a run goes in, frames go into outboxes.  Everything here is paid for by each message.

For each batch of the run: one look-up in the client's gate gives permission and route; each framing spells the batch
once; each head is joined to that once; each subscriber gets the result put into its outbox.  Only what has to be
decided message by message (queue groups, subscriptions that end by themselves, origins other than clients) takes a
batch apart, and only for itself.

No log call, no Deferred, no object for each message.
"""

from __future__ import annotations

from random import randrange
from typing import TYPE_CHECKING

from twisted.logger import Logger

from brokerkit.compiled import heart
from brokerkit.grants import PUBLISH
from brokerkit.route import Route
from brokerkit.run import Batch, Carried, Origin, may_cross, renamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from brokerkit.framing import Framing
    from brokerkit.mapping import Mapper
    from brokerkit.route import Member, Only
    from brokerkit.router import Gate, Router
    from brokerkit.run import Message, Path, Run
    from brokerkit.subscription import Subscription

log = Logger()


def deliver_plainly(run: Run, gate: Gate) -> int:
    """Put a run into the outboxes of all who receive it.

    Gives the number of messages that were let through: all but those that were refused, or stood behind a refusal.
    """
    total = len(run)
    if not total:
        return 0
    topics, cuts = run.topics, run.cuts
    routes, router = gate.routes, gate.router
    batch = Batch(run, b"", 0, total)
    last = len(cuts) - 1
    passed = 0
    for k, start in enumerate(cuts):
        batch.start = start
        batch.stop = stop = cuts[k + 1] if k < last else total
        batch.topic = topic = topics[k]
        route = routes.get(topic)
        if route is None or route.stale or route.generation != router.generation:
            route = gate.miss(topic)
            if route is None:
                batch.topic = router.mapped(topic)  # that is what may not be published
                if gate.refused(batch):
                    continue
                break
        passed += stop - start
        deliver_batch(batch, gate, route)
    gate.messages += passed
    router.messages += passed
    return passed


def deliver_batch(batch: Batch, gate: Gate, route: Route) -> None:
    """Put a batch that may be published into the outboxes of all to whom the route leads."""
    if route.unspellable:
        gate.router.unspellable += route.unspellable * (batch.stop - batch.start)
    if batch.run.origin is not Origin.CLIENT:
        _deliver_each(batch, gate, route)
    elif route.only is None or not _deliver_only(batch, route.only):
        _deliver(batch, gate, route)


def _deliver_only(batch: Batch, only: Only) -> bool:
    """Give a batch to the one subscription that there is; say so, or do nothing where it is not as plain as that."""
    framing, head, s = only
    if s.mute is not None and s.mute is batch.run.sender:
        return False
    try:
        pieces = framing.pieces(batch)
        frames = framing.frame(head, pieces) if pieces is not None else b""
    except Exception:  # `_put` meets it again, with the message to blame, and logs it
        return False
    if not frames:
        return False
    s.outbox.put(frames)  # type: ignore[union-attr]
    s.messages += batch.stop - batch.start
    return True


def _deliver(batch: Batch, gate: Gate, route: Route) -> None:
    """Give a batch as a whole to those who take it so, and message by message to the others."""
    if route.mapper is not None:
        _deliver_mapped(batch, gate, route, route.mapper)
        return
    frames = _spell(batch, route) if not (route.further and route.piecemeal) else None
    if frames is None:
        _deliver_each(batch, gate, route)
        return
    heard = _deliver_whole(batch, frames, route)
    for other in route.further:
        heard = _deliver_further(renamed(batch, other.topic), other, gate.router) or heard
    if route.groups:
        share(batch, gate, route, heard=heard)
    elif not heard and gate.unheard is not None:
        gate.unheard(batch)


def _spell(batch: Batch, route: Route) -> list[tuple[bytes, tuple[Subscription, ...]]] | None:
    """Give the bytes of a whole batch for each head; ``None`` if some framing cannot spell all of it."""
    frames = []
    try:
        for framing, heads in route.plain:
            pieces = framing.pieces(batch)
            if pieces is None:
                return None
            for head, subscriptions in heads:
                spelled = framing.frame(head, pieces)
                if not spelled:
                    return None
                frames.append((spelled, subscriptions))
    except Exception:  # `_put` meets it again, with the message to blame, and logs it
        return None
    return frames


def _deliver_whole(batch: Batch, frames: list[tuple[bytes, tuple[Subscription, ...]]], route: Route) -> bool:
    """Give a batch to all who take it as it is; say whether anybody did."""
    heard = False
    count = batch.stop - batch.start
    sender = batch.run.sender
    for spelled, subscriptions in frames:
        for s in subscriptions:
            if s.mute is None or s.mute is not sender:
                s.outbox.put(spelled)  # type: ignore[union-attr]
                s.messages += count
                heard = True
    for s in route.others:
        if s.alive and (s.mute is None or s.mute is not sender):
            heard = hand_over(s, batch) or heard
    return heard


def _deliver_further(batch: Batch, route: Route, router: Router) -> bool:
    """Give a batch to those in other tenants who call its topic as it is called now; say whether anybody took it."""
    frames = _spell(batch, route)
    if frames is not None:
        return _deliver_whole(batch, frames, route)
    run, topic = batch.run, batch.topic
    heard = False
    for i in range(batch.start, batch.stop):
        heard = _deliver_one(Batch(run, topic, i, i + 1), route, router) or heard
    return heard


def _deliver_mapped(batch: Batch, gate: Gate, route: Route, mapper: Mapper) -> None:
    """Publish a batch under what a mapping makes of its topic, message by message where that is not always the same."""
    if mapper.fixed:
        _pass_mapped(batch, gate, route.topic)
        return
    for i in range(batch.start, batch.stop):
        one = Batch(batch.run, batch.topic, i, i + 1)
        topic = mapper(batch.topic)
        if topic is None or gate.grants.permits(PUBLISH, topic):
            _pass_mapped(one, gate, topic)
        elif not gate.refused(renamed(one, topic)):
            break


def _pass_mapped(batch: Batch, gate: Gate, topic: bytes | None) -> None:
    """Publish what has been mapped; nowhere, if there is no topic."""
    if topic is None:
        if gate.unheard is not None:
            gate.unheard(batch)
        return
    batch = renamed(batch, topic)
    route = gate.router.route(topic)
    if batch.run.origin is Origin.CLIENT:
        _deliver(batch, gate, route)
    else:
        _deliver_each(batch, gate, route)


def share(batch: Batch, gate: Gate, route: Route, *, heard: bool) -> None:
    """Give the messages of a batch, one by one, to the groups; ``heard`` says whether anybody has the batch already."""
    for one, now in _one_by_one(batch, gate, route):
        given = _give_to_groups(one, now, gate.router)
        if not (heard or given) and gate.unheard is not None:
            gate.unheard(one)


def _deliver_each(batch: Batch, gate: Gate, route: Route) -> None:
    """Give a batch message by message to everyone: what cannot be spelled as a whole, or may not go everywhere."""
    if route.mapper is not None:
        _deliver_mapped(batch, gate, route, route.mapper)
        return
    for one, now in _one_by_one(batch, gate, route):
        given = _deliver_one(one, now, gate.router)
        if not given and gate.unheard is not None:
            gate.unheard(one)


def _one_by_one(batch: Batch, gate: Gate, route: Route) -> Iterator[tuple[Batch, Route]]:
    """Give each message with the route that is true for it: what one message ends is not there for the next."""
    topic, run = batch.topic, batch.run
    for i in range(batch.start, batch.stop):
        if route.stale or route.generation != gate.router.generation:
            route = gate.router.route(topic)
        yield Batch(run, topic, i, i + 1), route


def _deliver_one(one: Batch, route: Route, router: Router) -> bool:
    """Give one message to every plain subscription and to one member of each group; say whether anybody took it."""
    heard = False
    for framing, heads in route.plain:
        for head, subscriptions in heads:
            for s in subscriptions:
                if _takes(s, one) and _put(s, framing, head, one, router):
                    heard = True
    for s in route.others:
        if _takes(s, one):
            heard = hand_over(s, one) or heard
    for other in route.further:
        heard = _deliver_one(renamed(one, other.topic), other, router) or heard
    return _give_to_groups(one, route, router) or heard


def _give_to_groups(one: Batch, route: Route, router: Router) -> bool:
    """Give one message to one member of each group; say whether anybody took it."""
    given = False
    for tiers in route.groups:
        if _give_to_one(tiers, one, router):
            given = True
    return given


def _takes(s: Subscription, batch: Batch) -> bool:
    run = batch.run
    return (
        s.alive
        and (s.mute is None or s.mute is not run.sender)
        and (run.origin is Origin.CLIENT or may_cross(run.origin, s.origin))
    )


def _give_to_one(tiers: tuple[tuple[Member, ...], ...], one: Batch, router: Router) -> bool:
    """Give a message to a member at random, the nearest first, to one whose reader is behind only if all are.

    A member that cannot spell it, or is being hung up on, is passed over.  Says whether there was one.
    """
    for able in (True, False):
        for members in tiers:
            first = randrange(len(members))  # noqa: S311  a fair share, not a secret
            for s, head, topic in members[first:] + members[:first]:
                outbox = s.outbox
                fit = able if outbox is None else outbox.open and outbox.able is able
                seen = one if topic is None else renamed(one, topic)
                if fit and _takes(s, one) and _give(s, head, seen, router):
                    return True
    return False


def _give(s: Subscription, head: object, one: Batch, router: Router) -> bool:
    if s.framing is not None:
        return _put(s, s.framing, head, one, router)
    return hand_over(s, one)


def _put(s: Subscription, framing: Framing, head: object, one: Batch, router: Router) -> bool:
    """Put one message into one outbox, and end a subscription that has had its last."""
    try:
        pieces = framing.pieces(one)
        frame = framing.frame(head, pieces) if pieces is not None else b""
    except Exception:
        log.failure("{framing} cannot spell a message", framing=framing)
        return False
    if not frame:
        router.unspellable += 1
        return False
    s.outbox.put(frame)  # type: ignore[union-attr]
    s.messages += 1
    if s.left > 0 and _use_up(s):
        _end(s)
    return True


def hand_over(s: Subscription, batch: Batch) -> bool:
    """Call a subscriber that is a function, and say whether anybody heard; what it raises hurts nobody else."""
    s.messages += len(batch)
    last = s.left > 0 and _use_up(s)  # before the call: what it publishes itself must not be one too many
    heard: object = True
    try:
        heard = s.receive(batch)  # type: ignore[misc]
    except Exception:
        log.failure("the subscriber of {pattern!r} failed", pattern=s.pattern)
    if last:
        _end(s)
    return heard is not False


def _use_up(s: Subscription) -> bool:
    """Count one message of those that are left; say whether it was the last, behind which nothing is delivered."""
    s.left -= 1
    if not s.left and s.router is not None:
        s.router.remove(s)
    return not s.left


def _end(s: Subscription) -> None:
    """Tell the owner of a subscription that it has ended by itself."""
    try:
        if s.ended is not None:
            s.ended(s)
    except Exception:
        log.failure("whoever is told of the end of {pattern!r} failed", pattern=s.pattern)


deliver: Callable[[Run, Gate], int] = deliver_plainly if heart is None else heart.deliver
"""What is done with a run: the compiled form takes what is plain and leaves the rest to the functions above."""


def pass_on(message: Message, sender: Run, router: Router, path: Path) -> bool:
    """Publish one message in another tenant, in the name of who sent it here; no grant is asked.

    Says whether anybody took it.  ``path`` is what has carried it from tenant to tenant, the last step included.
    Where only the broker publishes, nothing arrives from outside.
    """
    if router.reserved is not None and router.reserved.holds(message.topic):
        return False
    run = Carried([message])
    run.sender, run.name, run.origin, run.path = sender.sender, sender.name, sender.origin, path
    return _deliver_one(Batch(run, message.topic, 0, 1), router.route(message.topic), router)


def deliver_back(run: Run, owner: object, router: Router) -> bool:
    """Put an answer into the subscriptions of the one who has asked, and of nobody else; say whether there were any.

    No grant is asked.  It counts among the messages of the subscription, which may end by it.
    """
    heard = False
    for batch in run.batches():
        route = Route(batch.topic, [s for s in router.match(batch.topic) if s.owner is owner], router.generation)
        for i in range(batch.start, batch.stop):
            heard = _deliver_one(Batch(run, batch.topic, i, i + 1), route, router) or heard
    return heard


def deliver_to(s: Subscription, run: Run) -> None:
    """Put a run of the broker's own into the outbox of one framed subscription.

    There is no sender and no grant is asked; it does not count among the messages of the subscription.
    """
    framing = s.framing
    if framing is None or s.outbox is None:
        return
    for batch in run.batches():
        head, pieces = framing.head(batch.topic, s.tag), framing.pieces(batch)
        if head is not None and pieces is not None:
            s.outbox.put(framing.frame(head, pieces))
