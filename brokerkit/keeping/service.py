"""What is kept, and how it gets there: subscriptions of the log's own in the routers, and the way in for requests.

A topic is kept if the log has it, or if a rule names it: then it is made when its first message comes.  For each
pattern of a rule there is one subscription, and one for each topic that no rule names.  Where several would get a
message, the first pattern of the rules counts.  None of them counts as somebody who hears (NATS' no-responders).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from brokerkit.deliver import deliver
from brokerkit.errors import NotAllowed
from brokerkit.grants import ALL, PUBLISH
from brokerkit.holding import NOBODY
from brokerkit.keep import PACE
from brokerkit.keeping.intake import TOPICS, Intake, Lane
from brokerkit.keeping.produced import Direct, Produced, is_kept, records_of
from brokerkit.keeping.rules import Rules
from brokerkit.log.bulk import Bulk
from brokerkit.log.words import Busy, LogError, Topic, TopicExists, TopicSettings, UnknownTopic, Write
from brokerkit.notation import shown
from brokerkit.outbox import Limits
from brokerkit.run import Origin
from brokerkit.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from brokerkit.client import Client
    from brokerkit.keep import Keep
    from brokerkit.keeping.rules import Place
    from brokerkit.log import Log
    from brokerkit.log.words import Idempotency, Placed, Producer
    from brokerkit.realm import Realm
    from brokerkit.router import Router
    from brokerkit.run import Batch

log = Logger()

LIMITS = Limits(limit=48 * 1024 * 1024, deadline=30.0)  # what waits for the disk; less than the log itself takes
AHEAD = 1.0  # seconds that a request may be ahead of its user's rate


class TooFast(Busy):
    """The user has published more than its rate; it may go on after ``retry_after`` seconds."""

    def __init__(self, retry_after: float) -> None:
        """Take the seconds."""
        super().__init__(retry_after)
        self.args = (f"this user publishes too fast; try again in {retry_after:.3g} s",)


class Source:
    """One subscription of the log's: a pattern of a rule (``place``), or a topic that no rule names."""

    __slots__ = ("_keeping", "_lanes", "place", "subscription", "tenant")

    def __init__(self, keeping: Keeping, tenant: str, pattern: bytes, place: Place | None) -> None:
        """Belong to a tenant; nothing happens before a router has the subscription."""
        self.tenant = tenant
        self.place = place
        self._keeping = keeping
        self._lanes = keeping.lanes(tenant)
        self.subscription = Subscription(pattern, literal=place is None, receive=self.receive, origin=Origin.LOG)
        self.subscription.keeps = self._lanes

    def receive(self, batch: Batch) -> bool:
        """Put a batch on its way to the log; say that nobody heard it."""
        lane = self._lanes.get(batch.topic)
        if lane is None:
            lane = self._keeping.open(self, batch)
        if lane is None or lane.source is not self:
            return False
        run = batch.run
        if run.__class__ is not Produced and run.bare(batch.start, batch.stop):
            start, stop = batch.start, batch.stop
            self._keeping.intake.offer(lane, run.name or NOBODY, run.payloads(start, stop))
        elif not is_kept(batch, self.tenant):
            self._keeping.intake.offer_records(lane, records_of(batch))
        return False


class Keeping(Service):
    """Brings messages from the routers to the log; a service, child of the broker, started after the log."""

    def __init__(self, topics: Log, realm: Realm, clock: Any, limits: Limits = LIMITS) -> None:  # noqa: ANN401  a reactor
        """Keep what is published in that realm; ``limits`` bound what waits for the disk."""
        self.log = topics
        self.rules = Rules()
        self.intake = Intake(topics, realm.turn, clock, limits)
        self._realm = realm
        self._clock = clock
        self._lanes: dict[str, dict[bytes, Lane]] = {}
        self._by_rule: dict[Place, Source] = {}
        self._by_name: dict[tuple[str, bytes], Source] = {}
        self._gates: dict[str, Direct] = {}
        self._streams: dict[tuple[str, bytes], str] = {}  # of the topics that there are, or that are being made
        self._made: Counter[tuple[str, str]] = Counter()  # these, by tenant and stream
        self._making: dict[tuple[str, bytes], list[Deferred[None]]] = {}
        self._stops: list[Callable[[], None]] = []

    # -- starting, stopping, other rules ------------------------------------------------------------------------------

    def startService(self) -> None:
        """Subscribe to all that is kept; the log has been opened."""
        super().startService()  # type: ignore[no-untyped-call]
        self._stops = [
            self.log.watch(self._changed),
            self.log.notify(self.intake.moved),
            self.log.gather(self.intake.feed_or_miss),
        ]
        self._streams.clear()
        self._made.clear()
        for topic in self._topics():
            self._note(topic)
        self._subscribe()
        self._follow_rules()

    def stopService(self) -> None:
        """Take nothing more; what was handed to the log is written before that is closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._unsubscribe()
        self.intake.feed()
        for stop in self._stops:
            stop()
        self._stops = []

    def take(self, rules: Iterable[Keep]) -> None:
        """Keep what these rules name, instead of what was named before, from the next message on."""
        with self._realm.turn:
            self._unsubscribe()
            self.rules = Rules(rules)
            if self.running:
                self._subscribe()
                self._follow_rules()

    def _subscribe(self) -> None:
        self._by_rule = {p: self._begin(p.rule.tenant, p.pattern, p) for p in self.rules.places}
        for topic in self._topics():
            self._begin_by_name(topic)

    def _unsubscribe(self) -> None:
        for source in (*self._by_rule.values(), *self._by_name.values()):
            self._end(source)
        self._by_rule.clear()
        self._by_name.clear()
        for lanes in self._lanes.values():
            lanes.clear()

    def _begin(self, tenant: str, pattern: bytes, place: Place | None) -> Source:
        source = Source(self, tenant, pattern, place)
        self._realm.router(tenant).add(source.subscription)
        return source

    def _begin_by_name(self, topic: Topic) -> None:
        key = topic.tenant, topic.name
        if key not in self._by_name and self.rules.place(*key) is None:
            self._by_name[key] = self._begin(topic.tenant, topic.name, None)

    def _end(self, source: Source) -> None:
        self._realm.router(source.tenant).remove(source.subscription)

    def _topics(self) -> list[Topic]:
        return [topic for tenant in self.log.tenants() for topic in self.log.topics(tenant).values()]

    @property
    def topics(self) -> int:
        """The number of topics that are kept."""
        return len(self._topics())

    @property
    def partitions(self) -> int:
        """The number of their partitions."""
        return sum(topic.partitions for topic in self._topics())

    @property
    def size(self) -> int:
        """The bytes of all records that are kept."""
        log = self.log
        return sum(log.numbers(t.name, i, t.tenant).bytes for t in self._topics() for i in range(t.partitions))

    def _note(self, topic: Topic) -> None:
        self._forget(topic.tenant, topic.name)
        self._streams[topic.tenant, topic.name] = topic.stream
        self._made[topic.tenant, topic.stream] += 1

    def _forget(self, tenant: str, name: bytes) -> None:
        stream = self._streams.pop((tenant, name), None)
        if stream is not None:
            self._made[tenant, stream] -= 1

    def _changed(self, tenant: str, name: bytes, topic: Topic | None) -> None:
        """Hear that a topic has been made or altered, or is gone."""
        self.lanes(tenant).pop(name, None)
        if topic is not None:
            self._note(topic)
            self._begin_by_name(topic)
            return
        self._forget(tenant, name)
        if (source := self._by_name.pop((tenant, name), None)) is not None:
            self._end(source)

    def _follow_rules(self) -> None:
        """Have the topics that rules have made be as those rules say now."""
        for topic in self._topics():
            rule = self.rules.find(topic.tenant, topic.name)
            if rule is not None and topic.stream == rule.stream:
                settings, partitions = topic_of(rule, topic.name).settings, max(rule.partitions, topic.partitions)
                if (settings, partitions) != (topic.settings, topic.partitions):
                    altered = self.log.alter(topic.name, topic.tenant, settings=settings, partitions=partitions)
                    altered.addErrback(_not_altered, topic.name)

    # -- from the routers ---------------------------------------------------------------------------------------------

    def lanes(self, tenant: str) -> dict[bytes, Lane]:
        """Give the ways into the log that are known in a tenant."""
        return self._lanes.setdefault(tenant, {})

    def open(self, source: Source, batch: Batch) -> Lane | None:
        """Give the way into the log for a topic; ``None`` if it is not kept, or may not be, or has another source."""
        tenant, name = source.tenant, batch.topic
        place = self.rules.place(tenant, name)
        if place is not source.place:
            return None
        there = self.log.keeps(name, tenant)
        if not there and (place is None or not self._may_make(place.rule)):
            if place is not None:
                self.intake.lose(name, len(batch), TOPICS)
            return None
        topic = self.log.topic(name, tenant) if there else topic_of(place.rule, name)  # type: ignore[union-attr]
        overflow = PACE if place is None else place.rule.overflow
        lane = Lane(self.intake, source, name, overflow, topic.stream, self.log.delay(topic.settings.ack))
        lane.ready = there
        self.lanes(tenant)[name] = lane
        if not there and place is not None:
            self._make(topic).addBoth(self._is_made, lane)
        return lane

    def _may_make(self, rule: Keep) -> bool:
        return self._made[rule.tenant, rule.stream] < rule.max_topics

    def _make(self, topic: Topic) -> Deferred[None]:
        """Make a topic, once for all who want it; the answer comes when it is there."""
        answer: Deferred[None] = Deferred()
        key = topic.tenant, topic.name
        waiting = self._making.get(key)
        if waiting is not None:
            waiting.append(answer)
            return answer
        self._making[key] = [answer]
        self._note(topic)
        self.log.create(topic).addCallbacks(_done, _is_there_already).addBoth(self._tell, key)
        return answer

    def _tell(self, result: object, key: tuple[str, bytes]) -> None:
        if isinstance(result, Failure):
            self._forget(*key)
        for answer in self._making.pop(key):
            answer.callback(result if isinstance(result, Failure) else None)

    def _is_made(self, result: object, lane: Lane) -> None:
        lane.ready = not isinstance(result, Failure)
        lane.gone = not lane.ready
        lanes = self.lanes(lane.tenant)
        if lane.gone:
            if lanes.get(lane.name) is lane:
                del lanes[lane.name]  # the next message tries again
            log.error("{topic} is not kept: {error}", topic=shown(lane.name), error=result.getErrorMessage())  # type: ignore[attr-defined]
        self.intake.feed()

    # -- from requests ------------------------------------------------------------------------------------------------

    def produce(
        self,
        client: Client,
        writes: Sequence[Write],
        *,
        producer: Producer | Idempotency | None = None,
        cells: Mapping[tuple[str, bytes], bytes | None] | None = None,
        live: bool = True,
    ) -> Deferred[Sequence[Placed]]:
        """Keep records in one commit, all or none, and deliver them live; say where they are when they are kept.

        They are delivered at once, when there is room for them in the log, and not again if a ``producer`` repeats what
        was kept before.  The sender is the client's user, whatever the records say.  Fails with ``NotAllowed``,
        ``OverAllowance``, ``TooFast`` or another ``LogError``: then nothing is kept, though it may have been delivered
        if it was the disk that failed.
        """
        return Deferred.fromCoroutine(self._produce(client, writes, producer, cells or {}, live=live))

    async def _produce(
        self,
        client: Client,
        writes: Sequence[Write],
        producer: Producer | Idempotency | None,
        cells: Mapping[tuple[str, bytes], bytes | None],
        *,
        live: bool,
    ) -> Sequence[Placed]:
        tenant = client.user.tenant
        writes, names = self._all_permitted(client, writes)
        for name in names:
            if not self.log.keeps(name, tenant):
                await self._make(self._wanted(tenant, name))
        run = Produced(tenant, writes)
        self._measure(client, run)
        self.intake.feed()
        admitted = self.log.admit(writes, producer=producer, cells=cells)
        if live and not admitted.duplicate:
            self._deliver(client, run)
        return await admitted.done

    def _all_permitted(self, client: Client, writes: Sequence[Write]) -> tuple[Sequence[Write], set[bytes]]:
        """Give writes as they are to be kept, and their topics; raise ``NotAllowed``."""
        if type(writes) is Bulk and writes and not client.router.mappers:
            self._permitted(client, writes[0])  # the others are as this one
            sender = client.user.name or NOBODY
            return writes if writes.sender == sender else writes.sent_by(sender), {writes.topic}
        permitted = [self._permitted(client, write) for write in writes]
        return permitted, {write.topic for write in permitted}

    def _permitted(self, client: Client, write: Write) -> Write:
        """Give the write as it is to be kept; raise ``NotAllowed``."""
        tenant = client.user.tenant
        if write.tenant != tenant:
            raise NotAllowed(f"{shown(client.user.name)} is of another tenant", fatal=False)
        name = write.topic
        if client.router.mappers:
            name = self._mapped(client.router, name)
        if not client.grants.permits(PUBLISH, name):
            raise NotAllowed(f"{shown(client.user.name)} may not publish to {shown(name)}", fatal=False)
        record, sender = write.record, client.user.name or NOBODY
        if record.sender != sender:
            record = record._replace(sender=sender)
        elif name is write.topic:
            return write
        return Write(tenant, name, write.partition, record)

    @staticmethod
    def _mapped(router: Router, name: bytes) -> bytes:
        """Give what a mapping makes of a topic; raise ``UnknownTopic`` where it leads nowhere."""
        mapper = router.mapper(name)
        made = name if mapper is None else mapper(name)
        if made is None:
            raise UnknownTopic(name)
        return made

    def _wanted(self, tenant: str, name: bytes) -> Topic:
        """Give the topic that a rule wants made; raise ``UnknownTopic``."""
        rule = self.rules.find(tenant, name)
        if rule is None or not self._may_make(rule):
            raise UnknownTopic(name)
        return topic_of(rule, name)

    def _measure(self, client: Client, run: Produced) -> None:
        """Hold a request against its user's allowance; raise ``OverAllowance`` or ``TooFast``."""
        meter = client.meter
        if meter is None:
            return
        if meter.fitting(run) < len(run):
            raise meter.too_large()
        ahead = meter.wait(self._clock.seconds())
        if ahead > AHEAD:
            raise TooFast(ahead)
        meter.count(len(run))

    def _deliver(self, client: Client, run: Produced) -> None:
        tenant = client.user.tenant
        gate = self._gates.get(tenant)
        if gate is None:
            gate = self._gates[tenant] = Direct(client.router, ALL, _go_on)
        run.sender, run.name, run.origin = client, client.user.name, client.origin
        with self._realm.turn:
            client.gate.messages += deliver(run, gate)


def topic_of(rule: Keep, name: bytes) -> Topic:
    """Give the topic that a rule makes for a name."""
    settings = TopicSettings(
        ack=rule.ack,  # type: ignore[arg-type]  # these words have been checked
        retention_bytes=rule.retention_bytes,
        retention_seconds=rule.retention_seconds,
        retention_messages=rule.retention_messages,
        compact=rule.compact,
        timestamps=rule.timestamps,  # type: ignore[arg-type]
        partitioner=rule.partitioner,  # type: ignore[arg-type]
        max_message_bytes=rule.max_message_bytes,
        tombstone_seconds=rule.tombstone_seconds,
    )
    return Topic(rule.tenant, name, rule.stream, rule.partitions, settings)


def _done(_: object) -> None:
    """Forget a result."""


def _go_on(_: object) -> bool:
    return True


def _is_there_already(failure: Failure) -> None:
    failure.trap(TopicExists)


def _not_altered(failure: Failure, name: bytes) -> None:
    failure.trap(LogError)
    log.error("{topic} stays as it was: {error}", topic=shown(name), error=failure.getErrorMessage())
