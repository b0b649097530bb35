"""Consumer instances of Confluent's API, kept in the log: what each was made with, what it reads, when it expires.

With the peers an instance is an object in one process, so that requests have to find that process, and a restart loses
it.  Here it is a cell of the log.  Whatever it has subscribed to it reads as a member of a group, with the group's
own leases; partitions that were assigned by hand it reads by itself, from positions that stand in the cell.

There is one table for all listeners of a broker.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from brokerkit.protocols.kafka_rest.confluent_errors import EXISTS, NO_INSTANCE, refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.interfaces import IDelayedCall

    from brokerkit.broker import Broker

logger = Logger()

SPACE = "confluent"  # of the cells
USUAL_TIMEOUT = 300.0  # seconds without a request, after which an instance is gone
MOST, MOST_EACH = 10_000, 1_000  # instances, of all and of one user
Place = tuple[bytes, int]
Key = tuple[str, str, str]  # tenant, group, name

TOPICS, PATTERN, PARTITIONS = "topics", "pattern", "partitions"  # what an instance reads by; nothing at first


@attrs.define(eq=False)
class Instance:
    """One consumer instance; ``expires`` is in seconds since 1970.

    ``wait`` is the seconds that a request for records waits for ``least`` bytes of them.
    ``positions`` are for partitions that were assigned by hand: where it goes on; ``kept`` is where it does so after a
    restart.  ``given`` says up to where records were given that are not committed.
    """

    tenant: str
    group: str
    name: str
    owner: str
    format: str
    earliest: bool
    auto_commit: bool
    wait: float
    timeout: float = USUAL_TIMEOUT
    least: int = 1
    reads: str = ""
    topics: tuple[bytes, ...] = ()
    pattern: str = ""
    positions: dict[Place, int] = attrs.field(factory=dict)
    kept: dict[Place, int] = attrs.field(factory=dict)
    given: dict[Place, int] = attrs.field(factory=dict)
    joined: tuple[bytes, ...] | None = None  # the topics that the group was told of, by this process
    expires: float = 0.0

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.tenant, self.group, self.name

    def cell(self) -> bytes:
        """Give it as it is kept."""
        return json.dumps(
            {
                "owner": self.owner,
                "format": self.format,
                "earliest": self.earliest,
                "auto_commit": self.auto_commit,
                "wait": self.wait,
                "timeout": self.timeout,
                "least": self.least,
                "reads": self.reads,
                "topics": [topic.hex() for topic in self.topics],
                "pattern": self.pattern,
                "positions": [[topic.hex(), partition, at] for (topic, partition), at in self.kept.items()],
            }
        ).encode()


def read_cell(key: bytes, cell: bytes) -> Instance:
    """Give the instance of a cell; raise ``ValueError`` if it is none."""
    try:
        tenant, group, name = json.loads(key)
        found = json.loads(cell)
        kept = {(bytes.fromhex(topic), int(partition)): int(at) for topic, partition, at in found["positions"]}
        return Instance(
            tenant,
            group,
            name,
            str(found["owner"]),
            str(found["format"]),
            bool(found["earliest"]),
            bool(found["auto_commit"]),
            float(found["wait"]),
            float(found["timeout"]),
            int(found.get("least", 1)),
            str(found["reads"]),
            tuple(bytes.fromhex(topic) for topic in found["topics"]),
            str(found["pattern"]),
            dict(kept),
            kept,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def cell_key(key: Key) -> bytes:
    """Give the name of an instance's cell."""
    return json.dumps(key).encode()


class Instances(Service):
    """All instances of one broker; read from the log when one is asked for first."""

    def __init__(self, broker: Broker) -> None:
        """Keep them in the log of that broker."""
        self._log: Any = broker.log
        self._clock = broker.reactor
        self._all: dict[Key, Instance] | None = None
        self._owned: Counter[tuple[str, str]] = Counter()
        self._alarm: IDelayedCall | None = None

    def __len__(self) -> int:
        """Give the number of them."""
        return len(self._there())

    def stopService(self) -> None:
        """Forget what is in memory."""
        super().stopService()  # type: ignore[no-untyped-call]
        alarm, self._alarm = self._alarm, None
        if alarm is not None and alarm.active():
            alarm.cancel()
        self._all = None

    # -- finding ------------------------------------------------------------------------------------------------------

    def find(self, key: Key) -> Instance:
        """Give an instance, whose time begins anew; raise ``Problem`` 40403."""
        found = self._there().get(key)
        if found is None or found.expires <= self._clock.seconds():
            raise refused(NO_INSTANCE, f"Consumer instance not found: {key[2]!r} in the group {key[1]!r}")
        self.touch(found)
        return found

    def touch(self, instance: Instance) -> None:
        """Have an instance's time begin anew."""
        instance.expires = self._clock.seconds() + instance.timeout

    def is_there(self, instance: Instance) -> bool:
        """Say whether it has not been deleted meanwhile."""
        return self._there().get(instance.key) is instance

    # -- changing -----------------------------------------------------------------------------------------------------

    async def add(self, instance: Instance) -> None:
        """Keep a new one; done when it is on disk.  Raises ``Problem`` 40902, and 503 if there are too many."""
        there = self._there()
        former = there.get(instance.key)
        if former is not None and former.expires > self._clock.seconds():
            raise refused(EXISTS, f"Consumer instance with the specified name already exists: {instance.name!r}")
        owner = instance.tenant, instance.owner
        if len(there) >= MOST or self._owned[owner] >= MOST_EACH:
            raise refused(503, "there are too many consumer instances: delete some", {"retry-after": "60"})
        self.touch(instance)
        self._put(instance)
        try:
            await self.save(instance)
        except BaseException:
            self._pop(instance)
            raise
        self._set_alarm()

    async def save(self, instance: Instance) -> None:
        """Write an instance as it is now, unless it is gone."""
        if cells := self.cells(instance):
            await self._log.cells.write(cells)

    def cells(self, instance: Instance) -> dict[tuple[str, bytes], bytes | None]:
        """Give what is to be written for an instance as it is now; nothing if it is gone."""
        return {(SPACE, cell_key(instance.key)): instance.cell()} if self.is_there(instance) else {}

    async def remove(self, instance: Instance) -> None:
        """Forget an instance; done when that is on disk."""
        self._pop(instance)
        await self._log.cells.write({(SPACE, cell_key(instance.key)): None})

    # -- all of them --------------------------------------------------------------------------------------------------

    def _there(self) -> dict[Key, Instance]:
        if self._all is None:
            self._all = {}
            self._owned.clear()
            for instance in self._load():
                self.touch(instance)  # nobody could ask while the broker was not there
                self._put(instance)
            self._set_alarm()
        return self._all

    def _load(self) -> Iterable[Instance]:
        for key, cell in list(self._log.cells.items(SPACE).items()):
            try:
                yield read_cell(key, cell)
            except ValueError as error:
                logger.error("a consumer instance cannot be read, and is left out: {error}", error=error)

    def _put(self, instance: Instance) -> None:
        there = self._there()
        former = there.get(instance.key)
        if former is not None:
            self._pop(former)
        there[instance.key] = instance
        self._owned[instance.tenant, instance.owner] += 1

    def _pop(self, instance: Instance) -> None:
        if self._all is not None and self._all.get(instance.key) is instance:
            del self._all[instance.key]
            self._owned[instance.tenant, instance.owner] -= 1

    def _set_alarm(self) -> None:
        if self._alarm is None and self._all:
            soonest = min(one.expires for one in self._all.values())
            self._alarm = self._clock.callLater(max(1.0, soonest - self._clock.seconds()), self._ring)

    def _ring(self) -> None:
        """Forget those that nobody has asked for; what they held in groups has leases of its own."""
        self._alarm = None
        now = self._clock.seconds()
        for instance in [one for one in self._there().values() if one.expires <= now]:
            logger.info("the consumer instance {name} has expired", name=instance.name)
            removed = Deferred.fromCoroutine(self.remove(instance))
            removed.addErrback(lambda failure: logger.warn("it is still kept: {why}", why=failure.getErrorMessage()))
        self._set_alarm()


def instances(broker: Broker) -> Instances:
    """Give the table of a broker, made if it is not there."""
    for service in broker.services:
        if isinstance(service, Instances):
            return service
    made = Instances(broker)
    made.setServiceParent(broker)  # type: ignore[no-untyped-call]
    return made
