"""Topics, partitions, producing and brokers as Confluent's API has them, and reading by offset without a group.

Reading by offset is what Confluent took away after its first version (``messages``) and Redpanda has (``records``);
both are here.  There is one broker, this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.log.words import OutOfRange, Write
from brokerkit.protocols.kafka_rest import confluent_documents as documents
from brokerkit.protocols.kafka_rest import confluent_media as media
from brokerkit.protocols.kafka_rest.confluent_errors import NO_PARTITION, in_its_words, refused
from brokerkit.protocols.kafka_rest.confluent_records import PARTITIONS, read_records, shown_record
from brokerkit.protocols.kafka_rest.confluent_request import json_body, number
from brokerkit.web import Answer, json_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.client import Client
    from brokerkit.log.words import Topic
    from brokerkit.protocols.kafka_rest.service import KafkaRest
    from brokerkit.web import Asked, Parameter, Route

BROKER = 0  # its number, as with KastleX
USUAL_BYTES, MOST_BYTES = 1024 * 1024, 64 * 1024 * 1024
MOST_COUNT = 10_000
_REPLICAS = [{"broker": BROKER, "leader": True, "in_sync": True}]

_NO_TOPIC = {404: "40401: there is no such topic."}
_NO_PLACE = {404: "40401: there is no such topic; 40402: it has no such partition."}
_PRODUCED = {
    200: "Where the records were put, in their order.",
    **_NO_PLACE,
    413: "A record, or all of them, is too large.",
    415: "The body is of a format that is not known here.",
    422: "The body is not what it has to be.",
    507: "The disk is full.",
}


class Topics:
    """The calls of one listener."""

    def __init__(self, service: KafkaRest) -> None:
        """Be a part of that listener."""
        self._service = service

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        topic, place = "/topics/{topic}", "/topics/{topic}/partitions/{partition}"
        body = '{"records": [{"key": ..., "value": ..., "partition": ...}, ...]}'
        reading = (
            documents.query_number("offset", "The offset to begin at.", required=True),
            documents.query_number("max_bytes", "About how many bytes to give."),
        )
        count = documents.query_number("count", "How many records to give.")
        found = {200: "Records, in order.", **_NO_PLACE, 422: "A parameter is no number, or out of range."}

        def get(path: str, call: Any, summary: str, given: Any, answers: Mapping[int, str]) -> Route:  # noqa: ANN401
            told = {200: "It.", **answers}
            return documents.route("GET", path, call, summary, told, given={documents.PLAIN: given})

        def post(path: str, summary: str, *, partition: bool) -> Route:
            sent = documents.records_sent(partition=partition)
            given = {documents.PLAIN: documents.PRODUCED}
            return documents.route(
                "POST", path, self.produce, summary, _PRODUCED, body=body, sent=sent, given=given, needs_body=True
            )

        def read(path: str, summary: str, *parameters: Parameter) -> Route:
            return documents.route(
                "GET", path, self.read, summary, found, (*reading, *parameters), given=documents.RECORDS
            )

        return (
            get("/topics", self.list, "List topics", documents.TOPICS, {}),
            get(topic, self.show, "See a topic", documents.TOPIC, _NO_TOPIC),
            post(topic, "Produce to a topic", partition=True),
            get(f"{topic}/partitions", self.partitions, "List partitions", documents.PARTITIONS, _NO_TOPIC),
            get(place, self.partition, "See a partition", documents.PARTITION, _NO_PLACE),
            post(place, "Produce to a partition", partition=False),
            get(f"{place}/offsets", self.offsets, "See the offsets of a partition", documents.SPAN, _NO_PLACE),
            read(f"{place}/records", "Read by offset, as with Redpanda"),
            read(f"{place}/messages", "Read by offset, as in the first version", count),
            get("/brokers", self.brokers, "List brokers", documents.BROKERS, {}),
        )

    # -- what there is ------------------------------------------------------------------------------------------------

    async def list(self, asked: Asked) -> Answer:
        """Give the names of the topics that may be seen."""
        kind = media.accepted(asked)
        who, client = self._service.who, await self._service.who.client(asked)
        who.need(client, "list_topics")
        seen = [self._service.shown(name) for name in self._topics(client) if who.may_see(client, name)]
        return _answer(sorted(name for name in seen if name is not None), kind)

    async def show(self, asked: Asked) -> Answer:
        """Give one topic."""
        kind = media.accepted(asked)
        topic, _ = await self._seen(asked, "show_topic")
        return _answer(
            {"name": asked.values["topic"], "configs": _configs(topic), "partitions": _partitions(topic)}, kind
        )

    async def partitions(self, asked: Asked) -> Answer:
        """Give all partitions of a topic."""
        kind = media.accepted(asked)
        topic, _ = await self._seen(asked, "show_topic")
        return _answer(_partitions(topic), kind)

    async def partition(self, asked: Asked) -> Answer:
        """Give one partition."""
        kind = media.accepted(asked)
        topic, _ = await self._seen(asked, "show_topic")
        return _answer(_partitions(topic)[_partition_of(asked, topic)], kind)

    async def offsets(self, asked: Asked) -> Answer:
        """Give the first offset of a partition and the next one."""
        kind = media.accepted(asked)
        topic, client = await self._seen(asked, "show_offsets")
        span = self._service.log.span(topic.name, _partition_of(asked, topic), client.user.tenant)
        return _answer({"beginning_offset": span.first, "end_offset": span.next}, kind)

    async def brokers(self, asked: Asked) -> Answer:
        """Give the numbers of the brokers: there is this one."""
        kind = media.accepted(asked)
        who, client = self._service.who, await self._service.who.client(asked)
        who.need(client, "list_brokers")
        return _answer({"brokers": [BROKER]}, kind)

    # -- producing ----------------------------------------------------------------------------------------------------

    async def produce(self, asked: Asked) -> Answer:
        """Keep records, all or none, and say where they are when they are on disk."""
        kind = media.accepted(asked)
        embedded = media.content(asked).format or media.BINARY
        client = await self._service.api.here.client(asked)
        name = self._service.topic(asked.values["topic"])
        partition = _number_of(asked) if "partition" in asked.values else None
        records = read_records(
            json_body(asked, self._service.settings.max_body_bytes), embedded, one_partition=partition is not None
        )
        tenant = client.user.tenant
        writes = [Write(tenant, name, own if partition is None else partition, record) for record, own in records]
        with in_its_words():
            placed = await self._service.keeping.produce(client, writes)
        offsets = [
            {"partition": one.partition, "offset": one.offset, "error_code": None, "error": None} for one in placed
        ]
        return _answer({"key_schema_id": None, "value_schema_id": None, "offsets": offsets}, kind)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def read(self, asked: Asked) -> Answer:
        """Give the records from an offset on."""
        kind = media.accepted(asked)
        topic, client = await self._seen(asked, "subscribe")
        partition = _partition_of(asked, topic)
        offset = number(asked, "offset", None, (1 << 63) - 1)
        most = number(asked, "max_bytes", USUAL_BYTES, MOST_BYTES)
        usual = 1 if asked.path.endswith(b"messages") else MOST_COUNT
        count = number(asked, "count", usual, MOST_COUNT)
        embedded = kind.format or media.BINARY
        with in_its_words():
            try:
                fetched = await self._service.log.fetch(
                    topic.name, partition, offset, most, max(1, count), client.user.tenant
                )
            except OutOfRange as error:
                raise refused(404, str(error)) from None
        texts = [shown_record(asked.values["topic"], partition, one, embedded) for one in fetched.records]
        answer = Answer(200, f"[{','.join(texts)}]\n".encode(), {"content-type": kind.of(embedded)})
        return await self._service.api.here.packed(asked, answer)

    # -- finding ------------------------------------------------------------------------------------------------------

    def _topics(self, client: Client) -> Any:  # noqa: ANN401  a Mapping
        return self._service.log.topics(client.user.tenant)

    async def _seen(self, asked: Asked, action: str) -> tuple[Topic, Client]:
        """Give a topic that the asker may do that with."""
        client = await self._service.who.client(asked)
        name = self._service.topic(asked.values["topic"])
        self._service.who.need(client, action, name)
        with in_its_words():
            return self._service.log.topic(name, client.user.tenant), client


def _answer(value: object, kind: media.Media) -> Answer:
    return json_answer(value, headers={"content-type": kind.plain})


def _number_of(asked: Asked) -> int:
    text = asked.values["partition"]
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) < PARTITIONS):  # noqa: PLR2004
        raise refused(NO_PARTITION, "Partition not found: a partition is a whole number")
    return int(text)


def _partition_of(asked: Asked, topic: Topic) -> int:
    found = _number_of(asked)
    if found >= topic.partitions:
        raise refused(NO_PARTITION, f"Partition not found: the topic has {topic.partitions}, and no partition {found}")
    return found


def _partitions(topic: Topic) -> list[dict[str, Any]]:
    return [{"partition": i, "leader": BROKER, "replicas": _REPLICAS} for i in range(topic.partitions)]


def _configs(topic: Topic) -> dict[str, str]:
    """Give the settings of a topic in the words of Kafka's, those that have one."""
    settings = topic.settings
    return {
        "cleanup.policy": "compact" if settings.compact else "delete",
        "retention.ms": str(round(settings.retention_seconds * 1000) or -1),
        "retention.bytes": str(settings.retention_bytes or -1),
        "max.message.bytes": str(settings.max_message_bytes),
        "message.timestamp.type": "CreateTime" if settings.timestamps == "create" else "LogAppendTime",
    }
