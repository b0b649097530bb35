"""Producing by the modern API: one record as it is, many in a batch, several topics in one commit; each once.

A batch answers for each record, in its place.  What is wrong with one does not stop the others, unless all or none is
asked for (``atomic``), or the request can be repeated (``Idempotency-Key``, or a producer's number): then it has to
mean the same the second time.  ``POST /v1/records`` is always all or none.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from brokerkit.grants import PUBLISH
from brokerkit.log.partitioning import pick
from brokerkit.log.words import Idempotency, Producer, UnknownPartition, Write
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest import v1_given as given
from brokerkit.protocols.kafka_rest.v1_bulk import read_bulk
from brokerkit.protocols.kafka_rest.v1_documents import BATCH, PLACED, PRODUCED, RECORDS_ALL, RESULTS
from brokerkit.protocols.kafka_rest.v1_placed import placed_all, placed_bulk, placed_one
from brokerkit.protocols.kafka_rest.v1_problems import REFUSALS, problem, told
from brokerkit.web import Parameter, Problem, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from brokerkit.client import Client
    from brokerkit.log.bulk import Bulk
    from brokerkit.log.words import Placed, Record
    from brokerkit.protocols.kafka_rest.v1_groups import GroupRoutes
    from brokerkit.protocols.kafka_rest.v1_here import Here
    from brokerkit.web import Answer, Asked

LONGEST_KEY = 255  # characters
PARTITIONERS = ("", "sender", "murmur2", "random")
_WHOLE = {"minimum": 0, "maximum": (1 << 62) - 1}
_KEY = Parameter("Idempotency-Key", "A word for this request: sent again with it, nothing is kept twice.", "header")
_ID = Parameter("Producer-Id", "Who numbers its requests.", "header")
_EPOCH = Parameter(
    "Producer-Epoch", "A new one begins at sequence 0 and shuts out a former one.", "header", "integer", schema=_WHOLE
)
_SEQUENCE = Parameter(
    "Producer-Sequence", "The number of this request, one up for each.", "header", "integer", schema=_WHOLE
)
_PACKED = Parameter("Content-Encoding", "gzip or zstd.", "header", schema={"enum": ["identity", "gzip", "zstd"]})
ONCE = (_KEY, _ID, _EPOCH, _SEQUENCE, _PACKED)
_RAW = (
    Parameter("partition", "Of a raw body: the partition.", kind="integer", schema={"minimum": 0}),
    Parameter("key", "Of a raw body: the key."),
    Parameter("key_base64", "Of a raw body: the key, in base64."),
    Parameter("timestamp", "Of a raw body: ms since 1970, or a moment."),
    Parameter("null", "Of a raw body: that the value is null; the body is empty then.", kind="boolean"),
    Parameter("X-Message-Headers", "Of a raw body: headers, as JSON.", "header"),
)
ANSWERS = {
    400: "What is sent is not usable; the detail says what and why.",
    401: "The credentials are not accepted.",
    403: "Not allowed.",
    404: "There is no such topic or partition.",
    409: "Another body came with this key, or the sequence leaves a hole.",
    413: "A record, or all of it, is too large.",
    415: "The packing of the body is not known.",
    429: "More than this user may ask for; see Retry-After.",
    503: "It cannot be kept now, and nothing of it was; see Retry-After.",
    507: "The disk is full; nothing was kept.",
}


class Producing:
    """The routes that produce."""

    def __init__(self, here: Here, groups: GroupRoutes) -> None:
        """Produce there; ``groups`` is what commits offsets together with records."""
        self._here = here
        self._groups = groups

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        one = "/v1/topics/{topic}/records"
        atomic = Parameter("atomic", "Whether to keep all records or none.", kind="boolean")
        partitioner = Parameter(
            "partitioner",
            "sender, murmur2 or random, in place of the topic's.",
            schema={"enum": ["sender", "murmur2", "random"]},
        )
        answers = {**ANSWERS, 200: RESULTS, 201: PLACED, 207: "Some records were kept, and some were not."}
        return (
            Route(
                "POST",
                one,
                self.produce,
                "Produce records.",
                (atomic, partitioner, *_RAW, *ONCE),
                answers,
                "One record as it is, or a batch as application/json or application/x-ndjson.",
                request=BATCH,
                replies=PRODUCED,
            ),
            Route(
                "POST",
                "/v1/records",
                told(self._produce_all),
                "Produce records to several topics, all or none, with offsets of a group in the same commit.",
                ONCE,
                {**ANSWERS, 200: RESULTS},
                "Records, each with its topic.",
                request=RECORDS_ALL,
                replies=PRODUCED,
            ),
        )

    # -- one topic ----------------------------------------------------------------------------------------------------

    async def produce(self, asked: Asked) -> Answer:
        """Keep what is sent; the commonest case (one record as it is) goes straight through."""
        here = self._here
        try:
            client = here.ready(asked) or await here.client(asked)
            name = here.service.topic(asked.values["topic"])
            if given.is_raw(asked):
                record, partition = given.read_raw(asked, here.body(asked), client.user.name)
                if partition is None and "partitioner" in asked.query:
                    partition = self._partition(asked, client, name, record)
                once = once_of(asked, client)
                write = Write(client.user.tenant, name, partition, record)
                (placed,) = await here.keeping.produce(client, [write], producer=once)
                return placed_one(placed, asked.values["topic"])
            return await self._batch(asked, client, name)
        except REFUSALS as error:
            raise problem(error) from None

    async def _batch(self, asked: Asked, client: Client, name: bytes) -> Answer:
        records, beside = given.read_batch(asked, self._here.body(asked))
        asking.only(beside, "the body", "atomic")
        once = once_of(asked, client)
        atomic = asking.switch(asked, "atomic") or asking.switch_of(beside, "atomic") or once is not None
        self._here.writable(client, name)
        bulk = None if "partitioner" in asked.query else self._bulk(client, name, records)
        if bulk is not None:
            return placed_bulk(await self._here.keeping.produce(client, bulk, producer=once))
        seeing = self._seeing(asked, client, name)
        results = [seeing(one) for one in given.read_records(records, client.user.name)]
        if atomic:
            _see_all(results)
        writes = [one for one in results if isinstance(one, Write)]
        placed: Sequence[Placed] = ()
        if writes:
            placed = await self._here.keeping.produce(client, writes, producer=once)
        return placed_all(results, placed)

    def _bulk(self, client: Client, name: bytes, records: Sequence[Any]) -> Bulk | None:
        topic = self._here.there(client, name)
        most = topic.settings.max_message_bytes if topic is not None else asking.LARGEST
        return read_bulk(records, client.user.tenant, name, client.user.name, most)

    def _seeing(
        self, asked: Asked, client: Client, name: bytes
    ) -> Callable[[tuple[Record, int | None, str] | Problem], Write | Problem]:
        """Give what gives the write of a record, or what is wrong with it."""
        topic, tenant, named_here = self._here.there(client, name), client.user.tenant, asked.values["topic"]
        most = topic.settings.max_message_bytes if topic is not None else asking.LARGEST
        partitions = topic.partitions if topic is not None else asking.PARTITIONS
        picks = "partitioner" in asked.query

        def see(one: tuple[Record, int | None, str] | Problem) -> Write | Problem:
            if isinstance(one, Problem):
                return one
            record, partition, named = one
            if named and named != named_here:
                return asking.bad(f"topic: found {named!r}, and the path names another one")
            if partition is not None and partition >= partitions:
                return problem(UnknownPartition(name, partition, partitions))
            if _size(record) > most:
                return Problem(413, "Content Too Large", f"a record of this topic may have {most} bytes")
            if partition is None and picks:
                partition = self._partition(asked, client, name, record)
            return Write(tenant, name, partition, record)

        return see

    def _partition(self, asked: Asked, client: Client, name: bytes, record: Record) -> int | None:
        """Give the partition that the partitioner of the request names."""
        word: Any = asking.one_of(asked, "partitioner", PARTITIONERS)
        topic = self._here.there(client, name)
        if not word or topic is None:
            return None
        return pick(word, topic.partitions, record.key, client.user.name)

    # -- several topics -----------------------------------------------------------------------------------------------

    async def _produce_all(self, asked: Asked) -> Answer:
        here = self._here
        client = await here.client(asked)
        if given.is_raw(asked):
            raise Problem(415, "Unsupported Media Type", "expected application/json or application/x-ndjson")
        records, beside = given.read_batch(asked, here.body(asked))
        asking.only(beside, "the body", "commit", "atomic")
        once = once_of(asked, client)
        results = [self._named_write(client, one) for one in given.read_records(records, client.user.name)]
        _see_all(results)
        writes = [one for one in results if isinstance(one, Write)]
        if beside.get("commit") is None:
            placed = await here.keeping.produce(client, writes, producer=once)
        else:
            placed = await self._groups.commit_with(
                client, beside["commit"], lambda cells: here.keeping.produce(client, writes, producer=once, cells=cells)
            )
        return placed_all(results, placed, [self._here.shown(write.topic) for write in writes])

    def _named_write(self, client: Client, one: tuple[Record, int | None, str] | Problem) -> Write | Problem:
        if isinstance(one, Problem):
            return one
        record, partition, named = one
        if not named:
            return asking.bad("topic: every record needs one here")
        name = self._here.service.topic(named)
        if not self._here.who.may(client, PUBLISH, name):
            return Problem(403, "Forbidden", f"publishing to {named} is not allowed")
        return Write(client.user.tenant, name, partition, record)


def once_of(asked: Asked, client: Client) -> Producer | Idempotency | None:
    """Give what makes a request safe to be sent again, if it has something; raise ``Problem`` 400.

    What one user chooses means nothing for another: the name goes into the key.
    """
    headers = asked.headers
    if b"idempotency-key" in headers:
        if b"producer-id" in headers:
            raise asking.bad("Idempotency-Key and Producer-Id: give one of them")
        return _idempotency(asked, client)
    if b"producer-id" not in headers:
        return None
    word = asked.header("producer-id")
    if not 0 < len(word) <= LONGEST_KEY:
        raise asking.bad(f"Producer-Id: expected 1 to {LONGEST_KEY} characters")
    epoch, sequence = _header_number(asked, "producer-epoch", "0"), _header_number(asked, "producer-sequence", "")
    return Producer(_owned(client, word), epoch, sequence)


def _idempotency(asked: Asked, client: Client) -> Idempotency:
    word = asked.header("idempotency-key")
    if not 0 < len(word) <= LONGEST_KEY:
        raise asking.bad(f"Idempotency-Key: expected 1 to {LONGEST_KEY} characters")
    digest = blake2b(digest_size=16)
    for part in (asked.target, asked.header("content-type").encode(), asked.header("x-message-headers").encode()):
        digest.update(part + b"\0")
    digest.update(asked.body)
    return Idempotency(_owned(client, word), digest.digest())


def _owned(client: Client, word: str) -> bytes:
    user = client.user
    return b"\0".join((user.tenant.encode(), user.name, word.encode()))


def _header_number(asked: Asked, name: str, usual: str) -> int:
    text = asked.header(name) or usual
    if not (text.isascii() and text.isdigit() and len(text) <= asking.DIGITS and int(text) <= asking.LARGEST):
        raise asking.bad(f"{name.title()}: expected a whole number")
    return int(text)


def _size(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"")


def _see_all(results: Sequence[Write | Problem]) -> None:
    """Refuse all if one is wrong; raise ``Problem``."""
    for number, one in enumerate(results):
        if isinstance(one, Problem):
            detail = f"records[{number}]: {one.detail or one.title}; nothing was kept"
            raise Problem(one.status, one.title, detail, headers=one.headers, record=number, **one.more)
