"""What there is, as KastleX says it: topics, their offsets, and the one broker, which is this.

A topic of the log has one copy, and this broker leads it: no partition ever lacks a replica.
"""

from __future__ import annotations

from socket import gethostname
from typing import TYPE_CHECKING, Any

from brokerkit.errors import BrokerError
from brokerkit.log.words import UnknownPartition, UnknownTopic
from brokerkit.protocols.kafka_rest.kastlex_accept import DIGITS, whole
from brokerkit.protocols.kafka_rest.shapes import in_words
from brokerkit.web import Answer, Problem, json_answer

if TYPE_CHECKING:
    from brokerkit.client import Client
    from brokerkit.log.words import Topic, TopicSettings
    from brokerkit.protocols.kafka_rest.service import KafkaRest
    from brokerkit.web import Asked

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  what is to be told apart
BROKER = 0  # the number of this one
NO_PARTITION = "unknown topic or partition"


class Showing:
    """GET of topics, offsets, brokers, and partitions that lack replicas."""

    def __init__(self, service: KafkaRest) -> None:
        """Show what that listener has."""
        self._service = service

    def topics(self, asked: Asked, client: Client) -> Answer:  # noqa: ARG002
        """Give the names of all topics."""
        service = self._service
        service.who.need(client, "list_topics")
        kept = service.log.topics(client.user.tenant)
        shown = [service.shown(name) for name in kept if service.who.may_see(client, name)]
        return json_answer(sorted(name for name in shown if name is not None))

    def topic(self, asked: Asked, client: Client) -> Answer:
        """Give one topic."""
        kept = self._topic(asked, client, "show_topic", "Unknown topic")
        return json_answer(
            {
                "topic": asked.values["topic"],
                "partitions": [
                    {"partition": number, "leader": BROKER, "replicas": [BROKER], "isr": [BROKER]}
                    for number in range(kept.partitions)
                ],
                "config": config(kept.settings),
            }
        )

    def all_urps(self, asked: Asked, client: Client) -> Answer:  # noqa: ARG002
        """Say that no partition lacks a replica."""
        self._service.who.need(client, "list_urps")
        return Answer(204)

    def urps(self, asked: Asked, client: Client) -> Answer:
        """Say that no partition of a topic does."""
        self._topic(asked, client, "show_urps", "unknown topic")
        return Answer(204)

    def _topic(self, asked: Asked, client: Client, action: str, unknown: str) -> Topic:
        service = self._service
        topic = service.topic(asked.values["topic"])
        service.who.need(client, action, topic)
        try:
            found: Topic = service.log.topic(topic, client.user.tenant)
        except UnknownTopic as error:
            raise Problem(404, "Not Found", str(error), error=unknown) from None
        return found

    async def offset(self, asked: Asked, client: Client) -> Answer:
        """Give the first offset, the next one, or the first whose record is not older than a moment."""
        service = self._service
        topic = service.topic(asked.values["topic"])
        service.who.need(client, "show_offsets", topic)
        partition = whole(asked.values["partition"], "partition")
        at = asked.query.get("at") or "latest"
        tenant = client.user.tenant
        try:
            span = service.log.span(topic, partition, tenant)
            if at in {"latest", "earliest"}:
                return json_answer({"offset": span.next if at == "latest" else span.first})
            return json_answer({"offset": await service.log.at(topic, partition, _moment(at), tenant)})
        except (UnknownTopic, UnknownPartition) as error:
            raise Problem(404, "Not Found", str(error), error=NO_PARTITION) from None
        except Problem:
            raise
        except BrokerError as error:
            raise in_words(error) from None

    def brokers(self, asked: Asked, client: Client) -> Answer:  # noqa: ARG002
        """Give the brokers: this one."""
        self._service.who.need(client, "list_brokers")
        return json_answer([self._broker()])

    def broker(self, asked: Asked, client: Client) -> Answer:
        """Give one broker."""
        number = asked.values["broker"]
        self._service.who.need(client, "show_broker", number.encode())
        if number != str(BROKER):
            raise Problem(404, "Not Found", f"the only broker is {BROKER}", error="unknown broker id")
        return json_answer(self._broker())

    def _broker(self) -> dict[str, Any]:
        service = self._service
        host, _, port = service.address.rpartition(":")
        number = int(port) if port.isdigit() else 0
        host = host.strip("[]")
        if host in EVERYWHERE:
            host = gethostname()
        scheme = "SSL" if service.secure else "PLAINTEXT"
        shown = f"[{host}]" if ":" in host else host
        endpoints = [f"{scheme}://{shown}:{number}"]
        return {"id": BROKER, "node_id": BROKER, "host": host, "port": number, "endpoints": endpoints, "rack": None}


def config(settings: TopicSettings) -> dict[str, str]:
    """Give what is kept of a topic in the words of Kafka; what is as usual is left out."""
    found: dict[str, str] = {}
    if settings.compact:
        found["cleanup.policy"] = "compact"
    if settings.retention_bytes:
        found["retention.bytes"] = str(settings.retention_bytes)
    if settings.retention_seconds:
        found["retention.ms"] = str(round(settings.retention_seconds * 1000))
    if settings.timestamps == "append":
        found["message.timestamp.type"] = "LogAppendTime"
    return found


def _moment(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS):
        expected = "latest, earliest or a time in milliseconds since 1970"
        raise Problem(400, "Bad Request", f"at: found {text[:50]!r}, expected {expected}")
    return int(text)
