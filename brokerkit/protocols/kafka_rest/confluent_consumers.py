"""Consumer instances as Confluent's API has them: made, subscribed, read and deleted by requests.

Any request may come by any connection and to any listener, also after a restart: nothing of an instance is in this
process alone.  An instance belongs to the user who made it.
"""

from __future__ import annotations

import re
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from brokerkit.log.groups_words import METADATA, NAME, Commit
from brokerkit.protocols.kafka_rest import confluent_documents as documents
from brokerkit.protocols.kafka_rest import confluent_media as media
from brokerkit.protocols.kafka_rest.confluent_errors import BAD_SETTING, FORBIDDEN, in_its_words, refused
from brokerkit.protocols.kafka_rest.confluent_instances import Instance
from brokerkit.protocols.kafka_rest.confluent_records import (
    OFFSETS,
    PARTITIONS,
    a_list,
    an_object,
    shown_record,
    whole,
)
from brokerkit.protocols.kafka_rest.confluent_request import a_string, json_body, number
from brokerkit.protocols.kafka_rest.who import USE_GROUP, owner
from brokerkit.web import Answer, Route, json_answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brokerkit.client import Client
    from brokerkit.protocols.kafka_rest.confluent_instances import Instances, Place
    from brokerkit.protocols.kafka_rest.confluent_reading import Given, Reading
    from brokerkit.protocols.kafka_rest.service import KafkaRest
    from brokerkit.web import Asked

USUAL_WAIT, LONGEST_WAIT = 5_000, 300_000  # ms
USUAL_BYTES, MOST_BYTES = 4 * 1024 * 1024, 64 * 1024 * 1024
TOPICS = 1_000  # of one subscription
PLACES = 10_000  # partitions in one request
RESETS = {"earliest": True, "smallest": True, "latest": False, "largest": False}
_SWITCH = {"true": True, "false": False}
_HOST = re.compile(r"[A-Za-z0-9._\[\]:-]{1,255}")

_INSTANCE = {404: "40403: there is no such instance; 40401, 40402: no such topic or partition."}
_SENT = {413: "The body is too large.", 415: "The packing of the body is not known.", 422: "The body is not usable."}
_CLASH = {409: "40903: that does not go with how the instance reads.", 507: "The disk is full."}


class Consumers:
    """The calls of one listener."""

    def __init__(self, service: KafkaRest, instances: Instances, reading: Reading) -> None:
        """Be a part of that listener."""
        self._service = service
        self._instances = instances
        self._reading = reading

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        group, one = "/consumers/{group}", "/consumers/{group}/instances/{instance}"
        partitions = '{"partitions": [{"topic": ..., "partition": ...}, ...]}'
        offsets = '{"offsets": [{"topic": ..., "partition": ..., "offset": ...}, ...]}'
        create = '{"name": ..., "format": "binary" or "json", "auto.offset.reset": ..., "auto.commit.enable": ...}'
        subscribe = '{"topics": [...]} or {"topic_pattern": ...}'
        made = {
            200: "The instance, and where it is asked.",
            **_SENT,
            409: "40902: there is one of that name.",
            422: "42204: a setting is not usable.",
            507: "The disk is full.",
        }
        plain = documents.PLAIN

        def get(path: str, call: Any, summary: str, given: Any) -> Route:  # noqa: ANN401
            answers = {200: "It.", **_INSTANCE}
            return documents.route("GET", one + path, call, summary, answers, given={plain: given})

        def post(path: str, call: Any, summary: str, body: str, sent: Any) -> Route:  # noqa: ANN401
            answers = {204: "Done.", **_INSTANCE, **_SENT, **_CLASH}
            return documents.route(
                "POST", one + path, call, summary, answers, body=body, sent={plain: sent}, needs_body=True
            )

        def delete(path: str, call: Any, summary: str) -> Route:  # noqa: ANN401
            return documents.route("DELETE", one + path, call, summary, {204: "Done.", **_INSTANCE, **_CLASH})

        return (
            documents.route(
                "POST",
                group,
                self.create,
                "Make a consumer instance",
                made,
                body=create,
                sent={plain: documents.SENT_INSTANCE},
                given={plain: documents.CREATED},
            ),
            Route("POST", f"{group}/", self.create),
            delete("", self.delete, "Delete a consumer instance"),
            post("/subscription", self.subscribe, "Subscribe", subscribe, documents.SENT_SUBSCRIPTION),
            get("/subscription", self.subscription, "See the subscription", documents.SUBSCRIPTION),
            delete("/subscription", self.unsubscribe, "End the subscription"),
            post("/assignments", self.assign, "Assign partitions by hand", partitions, documents.SENT_PLACES),
            get("/assignments", self.assignments, "See what is assigned", documents.PLACES),
            post("/positions", self.seek, "Go on from other offsets", offsets, documents.SENT_OFFSETS),
            post("/positions/beginning", self.seek_first, "Go to the beginnings", partitions, documents.SENT_PLACES),
            post("/positions/end", self.seek_last, "Go to the ends", partitions, documents.SENT_PLACES),
            self._commit_route(one, offsets),
            get("/offsets", self.committed, "See what is committed", documents.OFFSETS),
            self._records_route(one),
            Route("GET", f"{one}/topics/{{topic}}", self.records_of),
        )

    def _commit_route(self, one: str, body: str) -> Route:
        answers = {200: "What is committed.", **_INSTANCE, **_SENT, **_CLASH}
        sent, given = {documents.PLAIN: documents.SENT_COMMIT}, {documents.PLAIN: documents.COMMITTED}
        return documents.route(
            "POST", f"{one}/offsets", self.commit, "Commit", answers, body=body, sent=sent, given=given
        )

    def _records_route(self, one: str) -> Route:
        reading = (
            documents.query_number("timeout", f"Milliseconds to wait for records; at most {LONGEST_WAIT}."),
            documents.query_number("max_bytes", "About how many bytes to give."),
        )
        answers = {200: "Records, each with its topic, partition and offset.", **_INSTANCE, **_CLASH}
        answers |= {406: "40601: the instance has another format.", 422: "A parameter is no number."}
        given = documents.RECORDS
        return documents.route("GET", f"{one}/records", self.records, "Read records", answers, reading, given=given)

    # -- coming and going ---------------------------------------------------------------------------------------------

    async def create(self, asked: Asked) -> Answer:
        """Make an instance; it reads nothing yet."""
        kind = media.accepted(asked)
        media.content(asked)
        client = await self._service.api.here.client(asked)
        group = a_string(asked.values["group"], "the group", NAME)
        self._need_group(client, group)
        instance = _made(client, group, self._object(asked, empty=True))
        await self._instances.add(instance)
        uri = f"{self._base(asked)}/consumers/{quote(group, safe='')}/instances/{quote(instance.name, safe='')}"
        return _answer({"instance_id": instance.name, "base_uri": uri}, kind)

    async def delete(self, asked: Asked) -> Answer:
        """Delete an instance; what it was given is committed, if it does that by itself."""
        instance, _ = await self._find(asked)
        with in_its_words():
            await self._reading.unsubscribe(instance)
            await self._instances.remove(instance)
        return Answer(204)

    def _base(self, asked: Asked) -> str:
        """Give the part of a URL before the path, as the asker has written it."""
        host = asked.header("host")
        scheme = asked.header("x-forwarded-proto").lower()
        if scheme not in {"http", "https"}:
            scheme = "https" if self._service.secure else "http"
        return f"{scheme}://{host if _HOST.fullmatch(host) else self._service.address}"

    async def _find(self, asked: Asked) -> tuple[Instance, Client]:
        """Give the instance of a request and who asks, whose it has to be."""
        client = await self._service.api.here.client(asked)
        instance = self._instances.find((client.user.tenant, asked.values["group"], asked.values["instance"]))
        if instance.owner != owner(client):
            raise refused(FORBIDDEN, "the consumer instance is another user's")
        self._need_group(client, instance.group)
        return instance, client

    def _need_group(self, client: Client, group: str) -> None:
        """Raise ``Problem`` 403 for a group that the client may not read in."""
        service = self._service
        service.who.need_group(client, USE_GROUP, group, service.groups.owner(group, client.user.tenant))

    # -- what it reads ------------------------------------------------------------------------------------------------

    async def subscribe(self, asked: Asked) -> Answer:
        """Have it read topics, or all that a pattern stands for."""
        instance, client = await self._find(asked)
        body = self._object(asked)
        pattern = body.get("topic_pattern")
        if (pattern is None) == (body.get("topics") is None):
            raise refused(422, "expected either topics or topic_pattern")
        topics: tuple[bytes, ...] = ()
        if pattern is None:
            given = a_list(body, "topics", TOPICS)
            if not given:
                raise refused(422, "topics may not be empty: DELETE ends a subscription")
            topics = tuple(dict.fromkeys(self._topic(one, client) for one in given))
        else:
            pattern = a_string(pattern, "topic_pattern", 1024)
        with in_its_words():
            for topic in topics:
                self._see_topic(topic, instance.tenant)
            await self._reading.subscribe(instance, client, topics, pattern or "")
        return Answer(204)

    async def subscription(self, asked: Asked) -> Answer:
        """Give the topics that it has subscribed to and that are there."""
        kind = media.accepted(asked)
        instance, client = await self._find(asked)
        names: Iterable[bytes] = instance.topics
        if instance.pattern:
            names = self._reading.wanted(instance, client)
        return _answer({"topics": [self._service.shown(name) for name in names]}, kind)

    async def unsubscribe(self, asked: Asked) -> Answer:
        """Have it read nothing."""
        instance, _ = await self._find(asked)
        with in_its_words():
            await self._reading.unsubscribe(instance)
        return Answer(204)

    async def assign(self, asked: Asked) -> Answer:
        """Have it read just those partitions."""
        instance, client = await self._find(asked)
        places = self._places(self._object(asked), client)
        with in_its_words():
            await self._reading.assign(instance, places)
        return Answer(204)

    async def assignments(self, asked: Asked) -> Answer:
        """Give the partitions that it reads."""
        kind = media.accepted(asked)
        instance, _ = await self._find(asked)
        return _answer({"partitions": [self._shown(place) for place in self._reading.assigned(instance)]}, kind)

    # -- where it reads -----------------------------------------------------------------------------------------------

    async def seek(self, asked: Asked) -> Answer:
        """Have it go on from other offsets."""
        instance, client = await self._find(asked)
        offsets = {place: commit.offset for place, commit in self._offsets(self._object(asked), client).items()}
        return await self._seek(instance, client, offsets)

    async def seek_first(self, asked: Asked) -> Answer:
        """Have it go on from the first records that there are."""
        return await self._seek_end(asked, last=False)

    async def seek_last(self, asked: Asked) -> Answer:
        """Have it go on from behind the last records."""
        return await self._seek_end(asked, last=True)

    async def _seek_end(self, asked: Asked, *, last: bool) -> Answer:
        instance, client = await self._find(asked)
        places = self._places(self._object(asked), client)
        with in_its_words():
            offsets = self._reading.ends(instance, places, last=last)
        return await self._seek(instance, client, offsets)

    async def _seek(self, instance: Instance, client: Client, offsets: Mapping[Place, int]) -> Answer:
        with in_its_words():
            await self._reading.seek(instance, client, offsets)
        return Answer(204)

    # -- records ------------------------------------------------------------------------------------------------------

    async def records(self, asked: Asked) -> Answer:
        """Give the next records, when there are some or the time is over."""
        instance, client = await self._find(asked)
        return await self._records(asked, instance, client)

    async def records_of(self, asked: Asked) -> Answer:
        """Give the next records of one topic, to which it is subscribed by that: Confluent's first version."""
        instance, client = await self._find(asked)
        topic = self._topic(asked.values["topic"], client)
        with in_its_words():
            self._see_topic(topic, instance.tenant)
            if topic not in instance.topics:
                await self._reading.subscribe(instance, client, (topic,), "")
        return await self._records(asked, instance, client)

    async def _records(self, asked: Asked, instance: Instance, client: Client) -> Answer:
        kind = media.embedded(asked, instance.format)
        usual = round(instance.wait * 1000)
        longest = min(LONGEST_WAIT, round(self._service.settings.max_wait_seconds * 1000))
        wait = min(number(asked, "timeout", usual, LONGEST_WAIT), longest)
        most_bytes = max(1, number(asked, "max_bytes", USUAL_BYTES, MOST_BYTES))
        with in_its_words():
            given = await self._reading.poll(instance, client, wait / 1000, most_bytes)
        self._instances.touch(instance)
        headers = {"content-type": kind.of(instance.format)}
        return await self._service.api.here.packed(
            asked, Answer(200, self._shown_records(given, instance.format), headers)
        )

    def _shown_records(self, given: Given, embedded: str) -> bytes:
        texts = []
        for (topic, partition), records in given:
            name = self._service.shown(topic) or ""
            texts += [shown_record(name, partition, record, embedded) for record in records]
        return f"[{','.join(texts)}]\n".encode()

    # -- committing ---------------------------------------------------------------------------------------------------

    async def commit(self, asked: Asked) -> Answer:
        """Commit offsets of records that are done with; without any, all that was given."""
        kind = media.accepted(asked)
        instance, client = await self._find(asked)
        body = self._object(asked, empty=True)
        with in_its_words():
            if body.get("offsets") is None and body.get("partitions") is None:
                await self._reading.commit_given(instance)
                places: Iterable[Place] = self._reading.assigned(instance)
            else:
                offsets = self._offsets(body, client)
                done = {place: Commit(one.offset + 1, one.metadata) for place, one in offsets.items()}
                await self._reading.commit(instance, done)
                places = done
        found = self._reading.commits(instance)
        shown = [
            {**self._shown(place), "consumed": found[place].offset, "committed": found[place].offset}
            for place in places
            if place in found
        ]
        return _answer(shown, kind)

    async def committed(self, asked: Asked) -> Answer:
        """Give what is committed for partitions; those of the body, or of ``topic`` and ``partition``, or its own."""
        kind = media.accepted(asked)
        instance, client = await self._find(asked)
        places: Iterable[Place] = self._reading.assigned(instance)
        if asked.body.strip():
            places = self._places(self._object(asked), client)
        elif "topic" in asked.query:
            partition = number(asked, "partition", 0, PARTITIONS - 1)
            places = [(self._topic(asked.query["topic"], client), partition)]
        with in_its_words():
            for topic, partition in places:
                self._service.log.span(topic, partition, instance.tenant)
        found = self._reading.commits(instance)
        offsets = [
            {**self._shown(place), "offset": found[place].offset, "metadata": found[place].metadata}
            for place in places
            if place in found
        ]
        return _answer({"offsets": offsets}, kind)

    # -- reading bodies -----------------------------------------------------------------------------------------------

    def _object(self, asked: Asked, *, empty: bool = False) -> dict[str, Any]:
        """Give the body, a JSON object; with ``empty`` there may be none."""
        if empty and not asked.body.strip():
            return {}
        return an_object(json_body(asked, self._service.settings.max_body_bytes))

    def _topic(self, name: object, client: Client) -> bytes:
        """Give the broker's topic of a name that the asker may read."""
        topic = self._service.topic(a_string(name, "a topic", 4096))
        self._service.who.need(client, "subscribe", topic)
        return topic

    def _see_topic(self, topic: bytes, tenant: str) -> None:
        """Raise ``UnknownTopic`` for what is not there, and will not come to be by itself either."""
        if self._service.keeping.rules.find(tenant, topic) is None:
            self._service.log.topic(topic, tenant)

    def _place(self, given: object, client: Client) -> tuple[Place, dict[str, Any]]:
        found = an_object(given, "a partition")
        topic = self._topic(found.get("topic"), client)
        return (topic, whole(found.get("partition"), "partition", PARTITIONS)), found

    def _places(self, body: dict[str, Any], client: Client) -> list[Place]:
        return list(dict.fromkeys(self._place(one, client)[0] for one in a_list(body, "partitions", PLACES)))

    def _offsets(self, body: dict[str, Any], client: Client) -> dict[Place, Commit]:
        name = "offsets" if "offsets" in body else "partitions"  # as Redpanda calls it
        offsets: dict[Place, Commit] = {}
        for one in a_list(body, name, PLACES):
            place, found = self._place(one, client)
            metadata = found.get("metadata")
            if metadata:
                a_string(metadata, "metadata", METADATA)
            offsets[place] = Commit(whole(found.get("offset"), "offset", OFFSETS - 1), metadata or "")
        return offsets

    def _shown(self, place: Place) -> dict[str, Any]:
        return {"topic": self._service.shown(place[0]) or "", "partition": place[1]}


def _answer(value: object, kind: media.Media) -> Answer:
    return json_answer(value, headers={"content-type": kind.plain})


def _made(client: Client, group: str, body: dict[str, Any]) -> Instance:
    """Give a new instance as it is asked for; raise ``Problem`` 42204."""
    name = _said(body, "name", _said(body, "id", None))  # the latter in Confluent's first version
    embedded = _said(body, "format", media.BINARY)
    if not isinstance(embedded, str) or embedded not in media.FORMATS:
        raise _setting("format", "binary or json; others need a schema registry, which is not here")
    reset = _said(body, "auto.offset.reset", "latest")
    if not isinstance(reset, str) or reset not in RESETS:
        raise _setting("auto.offset.reset", "earliest or latest")
    commits = _said(body, "auto.commit.enable", _said(body, "enable.auto.commit", usual=True))
    switch = _SWITCH.get(str(commits).lower())
    if switch is None:
        raise _setting("auto.commit.enable", "true or false")
    return Instance(
        client.user.tenant,
        group,
        a_string(name, "name", NAME) if name is not None else f"rest-consumer-{token_hex(8)}",
        owner(client),
        embedded,
        RESETS[reset],
        switch,
        min(_whole_setting(body, "consumer.request.timeout.ms", USUAL_WAIT), LONGEST_WAIT) / 1000,
        least=max(1, _whole_setting(body, "fetch.min.bytes", 1)),
    )


def _said(body: dict[str, Any], name: str, usual: object) -> Any:  # noqa: ANN401  any JSON
    """Give a setting; null and an empty string say nothing."""
    value = body.get(name)
    return usual if value is None or value == "" else value


def _whole_setting(body: dict[str, Any], name: str, usual: int) -> int:
    """Give a setting that is a number, or a string of digits; -1 stands for the usual one."""
    value = _said(body, name, usual)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"-1|[0-9]{1,10}", text, re.ASCII) or int(text) >= PARTITIONS:
        raise _setting(name, "a whole number")
    return usual if text == "-1" else int(text)


def _setting(name: str, expected: str) -> Any:  # noqa: ANN401  a Refused
    return refused(BAD_SETTING, f"Invalid consumer configuration: {name}: expected {expected}")
