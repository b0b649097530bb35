"""Producing as KastleX does: the body is the message, whatever its type, and the answer is where it was put.

Without a partition in the path any is taken, unless the topic says that keys are hashed.  The answer comes when the
topic's policy says so, and says which that was.
"""

from __future__ import annotations

import json
from random import randrange
from typing import TYPE_CHECKING, Any

from brokerkit.errors import BrokerError
from brokerkit.grants import PUBLISH
from brokerkit.log.words import Record, UnknownTopic, Write
from brokerkit.protocols.kafka_rest.kastlex_accept import whole
from brokerkit.protocols.kafka_rest.shapes import in_words
from brokerkit.web import Answer, Problem

if TYPE_CHECKING:
    from brokerkit.client import Client
    from brokerkit.log.words import Headers
    from brokerkit.protocols.kafka_rest.service import KafkaRest
    from brokerkit.web import Asked


class Producing:
    """POST of one message."""

    def __init__(self, service: KafkaRest) -> None:
        """Produce by that listener."""
        self._service = service

    async def produce(self, asked: Asked, client: Client) -> Answer:
        """Publish the body, keep it, and say where it is."""
        service = self._service
        topic = service.topic(asked.values["topic"])
        service.who.need(client, PUBLISH, topic)
        key = asked.query.get("key") if asked.raw_query else None
        record = Record(asked.body, None if key is None else key.encode(), headers_of(asked), None, client.user.name)
        tenant = client.user.tenant
        write = Write(tenant, topic, self._partition(asked, topic, tenant, key), record)
        try:
            placed = (await service.keeping.produce(client, [write]))[0]
        except BrokerError as error:
            raise in_words(error) from None
        return Answer(
            204,
            headers={
                "x-kafka-partition": str(placed.partition),
                "x-message-offset": str(placed.offset),
                "x-message-ack": placed.ack,
            },
        )

    def _partition(self, asked: Asked, topic: bytes, tenant: str, key: str | None) -> int | None:
        """Give the partition that is asked for, or any; ``None`` where that is for the topic to say."""
        given = asked.values.get("partition")
        if given is not None:
            return whole(given, "partition")
        try:
            kept = self._service.log.topic(topic, tenant)
        except UnknownTopic:
            return None  # it may be made when it is first used
        if key is not None and kept.settings.partitioner == "murmur2":
            return None
        return randrange(kept.partitions) if kept.partitions > 1 else 0  # noqa: S311  nobody has to be surprised


def headers_of(asked: Asked) -> Headers:
    """Give the headers of a message: a JSON object in x-message-headers, where what is no string becomes JSON text.

    Raises ``Problem`` 400 for what is no such object.
    """
    found = asked.headers.get(b"x-message-headers")
    if not found:
        return ()
    try:
        given = json.loads(found[-1].decode(), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        raise _odd("is no JSON") from None
    if not isinstance(given, _Pairs):
        raise _odd("is no JSON object")
    try:
        return tuple((name.encode(), _text(value).encode()) for name, value in given.pairs)
    except UnicodeEncodeError:
        raise _odd("has half of a surrogate pair in it") from None


class _Pairs:
    """A JSON object, with names that are there twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _text(value: Any) -> str:  # noqa: ANN401  any JSON
    if isinstance(value, str):
        return value
    return json.dumps(value, default=lambda pairs: dict(pairs.pairs), separators=(",", ":"))


def _odd(text: str) -> Problem:
    return Problem(400, "Bad Request", f'x-message-headers: {text}; expected an object such as {{"name": "value"}}')
