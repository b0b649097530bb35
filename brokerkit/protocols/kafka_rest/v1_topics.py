"""Topics by the modern API: listed, described, created, altered and deleted."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.keep import MOST_PARTITIONS
from brokerkit.log.words import Topic, TopicSettings
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest.v1_asked import bad
from brokerkit.protocols.kafka_rest.v1_documents import TOPIC, TOPIC_NAMED, TOPIC_SENT, TOPICS
from brokerkit.protocols.kafka_rest.v1_problems import told
from brokerkit.web import Answer, Parameter, Route, json_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.protocols.kafka_rest.v1_here import Here
    from brokerkit.stores.topiclog import Numbers
    from brokerkit.web import Asked

PAGE, LARGEST_PAGE = 1000, 10_000
SECONDS = 10**12  # the longest time that anything is kept
WORDS: dict[str, tuple[str, ...]] = {
    "ack": ("commit", "interval", "none"),
    "timestamps": ("create", "append"),
    "partitioner": ("sender", "murmur2", "random"),
}
SETTINGS = tuple(field.name for field in attrs.fields(TopicSettings))
_READS = {401: "The credentials are not accepted.", 403: "Not allowed.", 404: "There is no such topic."}
_WRITES = {
    **_READS,
    400: "What is sent is not usable; the detail says what and why.",
    415: "The packing of the body is not known.",
    429: "More than this user may ask for; see Retry-After.",
    503: "It cannot be written now; see Retry-After.",
    507: "There is no room, or there are as many topics as there may be.",
}


class TopicRoutes:
    """The routes about topics."""

    def __init__(self, here: Here) -> None:
        """Serve the topics there."""
        self._here = here

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        one = "/v1/topics/{topic}"
        listing = (
            Parameter("prefix", "What the names begin with."),
            Parameter("after", "The name that the page comes behind; `next` of the page before."),
            Parameter(
                "limit",
                f"Topics in a page, at most {LARGEST_PAGE}.",
                kind="integer",
                schema={"minimum": 1, "maximum": LARGEST_PAGE},
            ),
        )
        listed = {200: "Topics, in the order of their names.", 400: _WRITES[400], 401: _READS[401], 403: _READS[403]}
        exists = {409: "There is a topic with that name."}
        return (
            Route("GET", "/v1/topics", told(self._list), "List topics.", listing, listed, replies={200: TOPICS}),
            Route(
                "POST",
                "/v1/topics",
                told(self._post),
                "Create a topic.",
                (),
                {**_WRITES, **exists, 201: "Created."},
                "Its name, and how it is kept.",
                request=TOPIC_NAMED,
                needs_body=True,
                replies={201: TOPIC},
            ),
            Route(
                "GET",
                one,
                told(self._get),
                "Describe a topic.",
                (),
                {**_READS, 200: "The topic."},
                replies={200: TOPIC},
            ),
            Route(
                "PUT",
                one,
                told(self._put),
                "Create a topic, or have it kept as is said.",
                (),
                {**_WRITES, 200: "Altered.", 201: "Created."},
                "How it is kept; what is not said is as usual.",
                request=TOPIC_SENT,
                replies={200: TOPIC, 201: TOPIC},
            ),
            Route(
                "PATCH",
                one,
                told(self._patch),
                "Change how a topic is kept.",
                (),
                {**_WRITES, 200: "Altered."},
                "What is to change; the rest stays.",
                request=TOPIC_SENT,
                replies={200: TOPIC},
            ),
            Route(
                "DELETE", one, told(self._delete), "Delete a topic and its records.", (), {**_WRITES, 204: "Deleted."}
            ),
        )

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _list(self, asked: Asked) -> Answer:
        here = self._here
        limit = asking.whole(asked, "limit", PAGE, 1, LARGEST_PAGE)
        prefix, after = asked.query.get("prefix", ""), asked.query.get("after", "")
        client = await here.client(asked)
        here.who.need(client, "list_topics")
        names = self._names(client, prefix)
        place = bisect_right(names, after) if after else 0
        page = names[place : place + limit]
        topics = here.log.topics(client.user.tenant)
        found = [(name, topics[here.service.topic(name)]) for name in page]
        shown = [{**_brief(name, topic), **_sizes(self._numbers(topic))} for name, topic in found]
        following = page[-1] if place + limit < len(names) else None
        return await here.packed(asked, json_answer({"topics": shown, "next": following}))

    def _names(self, client: Any, prefix: str) -> list[str]:  # noqa: ANN401  a Client
        here = self._here
        found = []
        for topic in here.log.topics(client.user.tenant):
            name = here.service.shown(topic)
            if name is not None and name.startswith(prefix) and here.who.may_see(client, topic):
                found.append(name)
        return sorted(found)

    async def _get(self, asked: Asked) -> Answer:
        topic, _ = await self._here.topic(asked, "show_topic")
        return self._shown(topic)

    def _shown(self, topic: Topic, status: int = 200) -> Answer:
        spans = self._numbers(topic)
        return json_answer(
            {
                **_brief(self._here.shown(topic.name), topic),
                **_sizes(spans),
                "settings": attrs.asdict(topic.settings),
                "spans": [
                    {"partition": one.number, "first": one.first, "next": one.next, "bytes": one.bytes} for one in spans
                ],
            },
            status,
        )

    def _numbers(self, topic: Topic) -> list[Numbers]:
        return [self._here.log.numbers(topic.name, one, topic.tenant) for one in range(topic.partitions)]

    # -- changing -----------------------------------------------------------------------------------------------------

    async def _post(self, asked: Asked) -> Answer:
        client = await self._here.client(asked)
        given = asking.object_of(self._here.body(asked), "topic", "stream", "partitions", "settings")
        name = asking.text_of(given, "topic")
        if not name:
            raise bad("topic: expected a name")
        topic = self._here.service.topic(name)
        self._here.who.need(client, "create_topic", topic)
        return await self._create(changed(Topic(client.user.tenant, topic), given))

    async def _put(self, asked: Asked) -> Answer:
        here = self._here
        client = await here.client(asked)
        name, tenant = here.name(asked), client.user.tenant
        there = here.there(client, name)
        here.who.need(client, "create_topic" if there is None else "alter_topic", name)
        given = asking.object_of(here.body(asked), "stream", "partitions", "settings")
        if there is None:
            return await self._create(changed(Topic(tenant, name), given))
        return await self._alter(there, changed(attrs.evolve(there, settings=TopicSettings()), given))

    async def _patch(self, asked: Asked) -> Answer:
        here = self._here
        client = await here.client(asked)
        name = here.name(asked)
        here.who.need(client, "alter_topic", name)
        given = asking.object_of(here.body(asked), "stream", "partitions", "settings")
        there = here.log.topic(name, tenant=client.user.tenant)
        return await self._alter(there, changed(there, given))

    async def _create(self, topic: Topic) -> Answer:
        await self._here.log.create(topic)
        return self._shown(self._here.log.topic(topic.name, tenant=topic.tenant), 201)

    async def _alter(self, there: Topic, topic: Topic) -> Answer:
        if topic.stream != there.stream:
            raise bad("stream: a topic stays in the stream that it was created in")
        await self._here.log.alter(
            topic.name, tenant=topic.tenant, settings=topic.settings, partitions=topic.partitions
        )
        return self._shown(self._here.log.topic(topic.name, tenant=topic.tenant))

    async def _delete(self, asked: Asked) -> Answer:
        here = self._here
        client = await here.client(asked)
        name = here.name(asked)
        here.who.need(client, "delete_topic", name)
        here.log.topic(name, tenant=client.user.tenant)
        await here.log.delete(name, tenant=client.user.tenant)
        return Answer(204)


def _sizes(spans: list[Numbers]) -> dict[str, int]:
    return {"messages": sum(one.records for one in spans), "bytes": sum(one.bytes for one in spans)}


def _brief(name: str, topic: Topic) -> dict[str, Any]:
    return {"topic": name, "stream": topic.stream, "partitions": topic.partitions}


def changed(topic: Topic, given: Mapping[str, Any]) -> Topic:
    """Give a topic with what is said of it; raise ``Problem`` 400."""
    partitions, stream, settings = given.get("partitions"), given.get("stream"), given.get("settings")
    if partitions is not None:
        topic = attrs.evolve(topic, partitions=asking.whole_of(dict(given), "partitions", None, 1, MOST_PARTITIONS))
    if stream is not None:
        topic = attrs.evolve(topic, stream=asking.text_of(dict(given), "stream"))
    if settings is not None:
        said = asking.only(asking.an_object(settings, "settings"), "settings", *SETTINGS)
        values = {name: _setting(said, name) for name in said}
        topic = attrs.evolve(topic, settings=attrs.evolve(topic.settings, **values))
    return topic


def _setting(said: dict[str, Any], name: str) -> Any:  # noqa: ANN401  a word, a number or a truth
    usual = getattr(TopicSettings(), name)
    if isinstance(usual, bool):
        return asking.switch_of(said, name)
    if name in WORDS:
        if said[name] not in WORDS[name]:
            raise bad(f"{name}: found {said[name]!r}, expected one of {', '.join(WORDS[name])}")
        return said[name]
    if name.endswith("_seconds"):
        return asking.number_of(said, name, usual, 0, SECONDS)
    return asking.whole_of(said, name, usual)
