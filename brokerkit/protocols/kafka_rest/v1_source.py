"""Where a WebSocket's records come from: topics that it reads by itself, or a group that it is a member of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import CancelledError, Deferred

from brokerkit.grants import SUBSCRIBE
from brokerkit.log.words import OutOfRange
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest import v1_place as places
from brokerkit.protocols.kafka_rest.v1_group_shown import shown_member, shown_poll
from brokerkit.protocols.kafka_rest.v1_reading import read
from brokerkit.protocols.kafka_rest.v1_shown import shown_records
from brokerkit.protocols.kafka_rest.who import USE_GROUP, owner

if TYPE_CHECKING:
    from brokerkit.client import Client
    from brokerkit.log.words import Topic
    from brokerkit.protocols.kafka_rest.v1_place import Positions
    from brokerkit.protocols.kafka_rest.v1_socket import Socket

WAIT = 20.0  # seconds that one look waits for records
TOPICS = 100  # that one socket may follow


class Source(Protocol):
    """What is read."""

    def said(self) -> dict[str, Any]:
        """Give what the reader is told of it."""

    async def read(self, most: int, most_bytes: int, encoding: str) -> tuple[int, str]:
        """Give how many records were read, and the message that holds them; empty if there was nothing."""

    async def acknowledge(self, order: dict[str, Any]) -> None:
        """Take note of what is done with; raise ``Problem``."""

    def see(self, client: Client) -> None:
        """See that it may still be read; raise ``Problem`` 403."""

    def stop(self) -> None:
        """End it."""


class TopicSource:
    """Topics, from where the reader has said; what it acknowledges is not written down."""

    def __init__(self, socket: Socket, followed: dict[bytes, tuple[Topic, Positions]]) -> None:
        """Read those."""
        self._socket = socket
        self._followed = followed
        self._turn = 0
        self._asleep: Deferred[None] | None = None

    @classmethod
    def begin(cls, socket: Socket, order: dict[str, Any], client: Client) -> TopicSource:
        """Begin as an order says; raise ``Problem``, ``UnknownTopic``, ``OutOfRange``.

        ``topics`` are names, or names with cursors; ``offset`` is where to begin in those without one.
        """
        here = socket.here
        topics = order.get("topics")
        if isinstance(topics, list) and all(isinstance(one, str) for one in topics):
            topics = dict.fromkeys(topics)
        if not isinstance(topics, dict) or not 0 < len(topics) <= TOPICS:
            raise asking.bad(f"topics: expected a list of 1 to {TOPICS} names, or an object of names and cursors")
        offset = str(order.get("offset", "latest"))
        followed: dict[bytes, tuple[Topic, Positions]] = {}
        for name, cursor in topics.items():
            topic_name = here.service.topic(name)
            here.who.need(client, SUBSCRIBE, topic_name)
            topic = here.log.topic(topic_name, tenant=client.user.tenant)
            spans = {one: here.log.span(topic_name, one, tenant=topic.tenant) for one in range(topic.partitions)}
            if cursor is None:
                followed[topic_name] = topic, {one: places.place_of(offset, span) for one, span in spans.items()}
            elif isinstance(cursor, str):
                found = places.read_cursor(cursor, "topics", topic, tuple(spans))
                followed[topic_name] = topic, {one: found.get(one, span.first) for one, span in spans.items()}
            else:
                raise asking.bad("topics: a cursor is a string such as 0:1205,1:998")
        return cls(socket, followed)

    def said(self) -> dict[str, Any]:
        """Give where it is."""
        return {"cursors": self._cursors()}

    def _cursors(self) -> dict[str, str]:
        here = self._socket.here
        return {here.shown(name): places.spelled(positions) for name, (_, positions) in self._followed.items()}

    async def read(self, most: int, most_bytes: int, encoding: str) -> tuple[int, str]:
        """Read from the next topic that has something, or wait until one has."""
        names = list(self._followed)
        self._turn += 1
        for i in range(len(names)):
            count, text = await self._read_one(names[(self._turn + i) % len(names)], most, most_bytes, encoding)
            if text:
                return count, text
        await self._sleep()
        return 0, ""

    async def _read_one(self, name: bytes, most: int, most_bytes: int, encoding: str) -> tuple[int, str]:
        here = self._socket.here
        topic, before = self._followed[name]
        try:
            page = await read(here.log, topic, before, most, most_bytes)
        except OutOfRange:
            return 0, self._skip(name, topic, before)
        self._followed[name] = topic, page.after
        if not page.runs:
            return 0, ""
        shown = here.shown(name)
        texts = [text for partition, some in page.runs for text in shown_records(some, shown, partition, encoding)]
        cursor = json.dumps({shown: places.spelled(page.after)})
        return page.count, f'{{"type":"records","records":[{",".join(texts)}],"cursors":{cursor}}}'

    def _skip(self, name: bytes, topic: Topic, before: Positions) -> str:
        """Go on at the first record that there is."""
        here = self._socket.here
        after, gone = dict(before), []
        for partition, offset in before.items():
            span = here.log.span(name, partition, tenant=topic.tenant)
            if not span.first <= offset <= span.next:
                after[partition] = span.first
                gone.append({"topic": here.shown(name), "partition": partition, "from": offset, "to": span.first})
        self._followed[name] = topic, after
        return json.dumps({"type": "skipped", "skipped": gone}) if gone else ""

    async def _sleep(self) -> None:
        woken: Deferred[None] = Deferred()
        self._asleep = woken

        def wake(*_: object) -> None:
            if not woken.called:
                woken.callback(None)

        forgets = [self._socket.waiting.hear(topic, wake) for topic, _ in self._followed.values()]
        alarm = self._socket.here.clock.callLater(WAIT, wake)
        try:
            await woken
        finally:
            self._asleep = None
            for forget in forgets:
                forget()
            if alarm.active():
                alarm.cancel()

    async def acknowledge(self, order: dict[str, Any]) -> None:
        """Refuse: without a group there is nothing to write it down for."""
        raise asking.bad(f"offsets: found {len(order)} of them, and no group is read; give credit alone")

    def see(self, client: Client) -> None:
        """See that the topics may be read."""
        self._socket.here.readable(client, self._followed)

    def stop(self) -> None:
        """Wait no more."""
        if self._asleep is not None and not self._asleep.called:
            self._asleep.callback(None)


class GroupSource:
    """A member of a group; what is acknowledged is committed."""

    def __init__(self, socket: Socket, group: str, member: str, client: Client, said: dict[str, Any]) -> None:
        """Read as that member."""
        self._socket = socket
        self._group = group
        self._member = member
        self._client = client
        self._said = said
        self._reading: Deferred[Any] | None = None

    @classmethod
    async def begin(cls, socket: Socket, order: dict[str, Any], client: Client, address: str) -> GroupSource:
        """Join as an order says; raise ``Problem`` and what ``Groups.join`` raises."""
        group = asking.text_of(order, "group")
        socket.here.need_group(client, USE_GROUP, group)
        names = ("member", "topics", "patterns", "session_timeout", "start")
        membership = await socket.groups.members.join(
            client, group, {name: order[name] for name in names if name in order}, address
        )
        return cls(socket, group, membership.member.id, client, shown_member(socket.here, membership))

    def said(self) -> dict[str, Any]:
        """Give the member."""
        return self._said

    async def read(self, most: int, most_bytes: int, encoding: str) -> tuple[int, str]:
        """Poll."""
        here, client = self._socket.here, self._client
        poll = here.groups.poll(
            self._group,
            self._member,
            tenant=client.user.tenant,
            owner=owner(client),
            most=most,
            most_bytes=most_bytes,
            wait=min(WAIT, here.settings.max_wait_seconds),
            may=here.reads(client),
        )
        self._reading = Deferred.fromCoroutine(poll)
        try:
            polled = await self._reading
        except CancelledError:
            return 0, ""
        finally:
            self._reading = None
        count = sum(len(records) for _, records in polled.records)
        if not count and not polled.skipped:
            return 0, ""
        return count, f'{{"type":"records",{shown_poll(here, polled, encoding).strip()[1:]}'

    async def acknowledge(self, order: dict[str, Any]) -> None:
        """Commit."""
        self._socket.here.need_group(self._client, USE_GROUP, self._group)
        given = {"member": self._member, "offsets": order["offsets"]}
        await self._socket.groups.offsets.committed(self._client, self._group, given)

    def see(self, client: Client) -> None:
        """Say nothing: each poll asks what may be read."""

    def stop(self) -> None:
        """Wait no more; the member stays until its lease ends, so that it can go on by another connection."""
        if self._reading is not None:
            self._reading.cancel()
