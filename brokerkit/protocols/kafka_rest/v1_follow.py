"""Following a topic: server-sent events, or lines of JSON, that go on as long as the connection does.

An event's id is the cursor behind it, in all partitions that are followed, so ``Last-Event-ID`` goes on exactly there,
also after a restart of the broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.task import LoopingCall

from brokerkit.grants import SUBSCRIBE
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest import v1_place as places
from brokerkit.protocols.kafka_rest.v1_documents import FOLLOWED
from brokerkit.protocols.kafka_rest.v1_feed import EVENTS, LINES, Feed, Follower
from brokerkit.protocols.kafka_rest.v1_fetch import ANSWERS, ENCODING
from brokerkit.protocols.kafka_rest.v1_problems import told
from brokerkit.protocols.kafka_rest.v1_shown import ENCODINGS
from brokerkit.web import Answer, Parameter, Problem, Route, Stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.log.words import Topic
    from brokerkit.protocols.kafka_rest.v1_here import Here
    from brokerkit.protocols.kafka_rest.v1_waiting import Waiting
    from brokerkit.web import Asked

BEAT, LONGEST_BEAT = 15.0, 300.0  # seconds between signs of life
_BEAT = Parameter("heartbeat", f"Seconds between signs of life; {BEAT:g} if not said.", kind="number")
_LAST_ID = Parameter(
    "Last-Event-ID", "The id of the last event that came; goes before offset, at and cursor.", "header"
)


class Following:
    """The routes that follow, and those who do; ``cut`` counts readers that were too slow."""

    def __init__(self, here: Here, waiting: Waiting) -> None:
        """Follow there."""
        self.here = here
        self.waiting = waiting
        self.cut = 0
        self.delivered = 0  # writes to followers
        self._feeds: dict[Any, Feed] = {}
        self._followers: dict[Follower, None] = {}
        self._deaf: Callable[[], None] | None = None
        self._living = LoopingCall(self._live)
        self._living.clock = here.clock

    def __len__(self) -> int:
        """Give the number of those who follow."""
        return len(self._followers)

    def kinds(self) -> dict[str, int]:
        """Give the numbers of those who follow, by what they are given."""
        lines = sum(one.form == LINES for one in self._followers)
        return {"events": len(self._followers) - lines, "lines": lines}

    def start(self) -> None:
        """Hear of topics that change."""
        self._deaf = self.here.log.watch(self._changed)

    def _changed(self, tenant: str, name: bytes, topic: Topic | None) -> None:
        """End what follows a topic that is gone, or has more partitions now: who comes again follows those, too."""
        for feed in list(self._feeds.values()):
            former = feed.topic
            if (former.tenant, former.name) != (tenant, name):
                continue
            if topic is None or topic.partitions != former.partitions:
                feed.end("deleted" if topic is None else "altered")

    def stop(self) -> None:
        """End it for everybody."""
        if self._deaf is not None:
            self._deaf()
            self._deaf = None
        for one in list(self._followers):
            one.end("stopping")

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        parameters = (*places.PARAMETERS, ENCODING, _BEAT, _LAST_ID)
        one = tuple(parameter for parameter in parameters if parameter.name != "partitions")
        answers = {**ANSWERS, 200: "Records as they come."}
        del answers[304]
        summary = "Follow a topic (server-sent events, or lines of JSON)."
        return (
            Route(
                "GET",
                "/v1/topics/{topic}/follow",
                told(self._topic),
                summary,
                parameters,
                answers,
                replies={200: FOLLOWED},
            ),
            Route(
                "GET",
                "/v1/topics/{topic}/partitions/{partition}/follow",
                told(self._partition),
                "Follow a partition (server-sent events, or lines of JSON).",
                one,
                answers,
                replies={200: FOLLOWED},
            ),
        )

    async def _topic(self, asked: Asked) -> Answer | Stream:
        topic, _ = await self.here.topic(asked)
        return await self._follow(asked, topic, asking.partitions(asked, topic.partitions))

    async def _partition(self, asked: Asked) -> Answer | Stream:
        topic, _ = await self.here.topic(asked)
        partition = asking.partition(asked)
        self.here.log.span(topic.name, partition, tenant=topic.tenant)
        return await self._follow(asked, topic, (partition,))

    async def _follow(self, asked: Asked, topic: Topic, partitions: tuple[int, ...]) -> Answer | Stream:
        form = asking.accepts(asked, EVENTS, LINES)
        encoding = asking.one_of(asked, "encoding", ENCODINGS)
        beat = asking.number(asked, "heartbeat", BEAT, 1.0, LONGEST_BEAT)
        last = asked.header("last-event-id")
        if last:
            found = places.read_cursor(last, "Last-Event-ID", topic, partitions)
            spans = {one: self.here.log.span(topic.name, one, tenant=topic.tenant) for one in partitions}
            positions = {one: found.get(one, spans[one].first) for one in partitions}
        else:
            positions = await places.positions(asked, self.here.log, topic, partitions, "latest")
        headers = {"content-type": form, "cache-control": "no-store", "x-accel-buffering": "no", "vary": "accept"}
        if asked.method == "HEAD":
            return Answer(200, headers=headers)
        if len(self._followers) >= self.here.settings.max_followers:
            raise Problem(503, "Too Many Followers", "try again later", headers={"retry-after": "10"})
        follower: list[Follower] = []
        client = await self.here.who.stay(asked, lambda why: follower[0].end(why) if follower else None)
        feed = self._feed(topic, tuple(positions), form, encoding)
        one = Follower(self, feed, client, positions, beat)
        follower.append(one)
        client.changed = lambda: self._see(client, topic, one)
        self._followers[one] = None
        feed.enter(one)
        if not self._living.running:
            self._living.start(1.0, now=False)
        return Stream(one.start, headers=headers)

    def _see(self, client: Any, topic: Topic, follower: Follower) -> None:  # noqa: ANN401  a Client
        """End it for one who may not read the topic any more."""
        if not self.here.who.may(client, SUBSCRIBE, topic.name):
            follower.end("forbidden")

    def _feed(self, topic: Topic, partitions: tuple[int, ...], form: str, encoding: str) -> Feed:
        key = topic.tenant, topic.name, partitions, form, encoding
        if key not in self._feeds:
            self._feeds[key] = Feed(self, key, topic, partitions, form, encoding)
        return self._feeds[key]

    def forget(self, key: object) -> None:
        """Forget a feed that nobody follows."""
        self._feeds.pop(key, None)

    def gone(self, follower: Follower) -> None:
        """Forget one who follows no more."""
        self._followers.pop(follower, None)
        if not self._followers and self._living.running:
            self._living.stop()

    def _live(self) -> None:
        now = self.here.clock.seconds()
        for one in list(self._followers):
            one.live(now)
