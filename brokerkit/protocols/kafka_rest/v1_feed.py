"""One topic as a stream of events, made once for all who follow it at its end.

A feed reads on when the log has grown, makes the events of what is new, and gives the same bytes to everybody who is
with it.  Whoever is not (it began earlier, or does not read fast enough) reads for itself, from the log, at its own
pace, until it has come to where the feed is.  So nobody has a queue, and a slow reader costs no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from brokerkit.log.words import LogError, OutOfRange, UnknownTopic
from brokerkit.protocols.kafka_rest.v1_place import spelled
from brokerkit.protocols.kafka_rest.v1_reading import read
from brokerkit.protocols.kafka_rest.v1_shown import shown_records

if TYPE_CHECKING:
    from brokerkit.log.words import Topic
    from brokerkit.protocols.kafka_rest.v1_follow import Following
    from brokerkit.protocols.kafka_rest.v1_place import Positions
    from brokerkit.protocols.kafka_rest.v1_reading import Page
    from brokerkit.web.sink import Sink

log = Logger()

EVENTS, LINES = "text/event-stream", "application/x-ndjson"
STEP, STEP_BYTES = 1000, 128 * 1024  # records and bytes that are written in one go
WIDE = 32  # partitions from which on not each event has an id, since that names them all
STALL = 30.0  # seconds that a reader may take nothing while there is something for it
AGAIN = 1.0  # seconds after which it is tried again to read what could not be read


def rendered(page: Page, before: Positions, name: str, form: str, encoding: str) -> bytes:
    """Give the events of a page that begins at ``before``, each with the cursor behind it as its id."""
    if form == LINES:
        texts = [text for partition, some in page.runs for text in shown_records(some, name, partition, encoding)]
        return ("\n".join(texts) + "\n").encode() if texts else b""
    found: list[str] = []
    place = dict(before)
    wide = len(place) > WIDE
    for partition, records in page.runs:
        texts = shown_records(records, name, partition, encoding)
        if wide:
            found += [f"data: {text}\n\n" for text in texts]
            continue
        begin, end = _around(place, partition)
        found += [
            f"id: {begin}{record.offset + 1}{end}\ndata: {text}\n\n"
            for record, text in zip(records, texts, strict=True)
        ]
        place[partition] = records[-1].offset + 1
    if wide and found:
        found[-1] = f"id: {spelled(page.after)}\n{found[-1]}"
    return "".join(found).encode()


def _around(place: Positions, partition: int) -> tuple[str, str]:
    """Give what stands before and behind the offset of one partition in a cursor."""
    before = [f"{one}:{offset}," for one, offset in place.items() if one < partition]
    behind = [f",{one}:{offset}" for one, offset in place.items() if one > partition]
    return f"{''.join(before)}{partition}:", "".join(behind)


def skipped(error: OutOfRange, partition: int, before: int) -> bytes:
    """Give the event that says that records are not kept any more."""
    return b'event: skipped\ndata: {"partition":%d,"from":%d,"to":%d}\n\n' % (partition, before, error.first)


class Feed:
    """One topic, some of its partitions, in one form; ``positions`` is how far it has come."""

    def __init__(
        self, following: Following, key: object, topic: Topic, partitions: tuple[int, ...], form: str, encoding: str
    ) -> None:
        """Begin at the end of what is there."""
        self.topic = topic
        self.form = form
        self.encoding = encoding
        self.name = following.here.shown(topic.name)
        self.log = following.here.log
        self.positions: Positions = {one: self._end(one) for one in partitions}
        self.everybody: dict[Follower, None] = {}  # with it, or not yet
        self._with_it: dict[Follower, None] = {}
        self._following = following
        self._key = key
        self._pumping: Deferred[None] | None = None
        self._grown = False
        self._deaf = following.waiting.hear(topic, self._heard)

    def _end(self, partition: int) -> int:
        return int(self.log.span(self.topic.name, partition, tenant=self.topic.tenant).next)

    def enter(self, follower: Follower) -> None:
        """Count one who follows."""
        self.everybody[follower] = None

    def join(self, follower: Follower) -> None:
        """Give that one all that comes from now on; it is where the feed is."""
        self._with_it[follower] = None

    def leave(self, follower: Follower) -> None:
        """Give that one nothing more; without anybody, there is no feed."""
        self._with_it.pop(follower, None)
        self.everybody.pop(follower, None)
        if not self.everybody:
            self._deaf()
            self._following.forget(self._key)

    def _heard(self, partition: int) -> None:
        if partition in self.positions:
            self.pump()

    def pump(self) -> Deferred[None]:
        """Read on, if that is not being done already; give what is done when the feed is at the end."""
        self._grown = True
        if self._pumping is None:
            self._pumping = Deferred()
            Deferred.fromCoroutine(self._pump()).addErrback(self._broken)
        waiting: Deferred[None] = Deferred()
        if self._pumping is None:  # it is there already
            waiting.callback(None)
        else:
            self._pumping.addCallback(lambda _: waiting.callback(None))
        return waiting

    async def _pump(self) -> None:
        try:
            while self._grown and self.everybody:
                self._grown = False
                await self._read_on()
        finally:
            pumping, self._pumping = self._pumping, None
            if pumping is not None:
                pumping.callback(None)

    async def _read_on(self) -> None:
        while self.everybody:
            before = self.positions
            try:
                page = await read(self.log, self.topic, before, STEP, STEP_BYTES)
            except OutOfRange:  # it was cleared away before it was read
                self._jump()
                return
            if page.after == before:
                return
            self.positions = page.after
            if self._with_it:
                self._give(rendered(page, before, self.name, self.form, self.encoding), before)

    def _give(self, data: bytes, before: Positions) -> None:
        for follower in list(self._with_it):
            if not follower.take(data):
                del self._with_it[follower]
                follower.fall_behind(before)

    def _jump(self) -> None:
        """Go to where records are; those who are with it find out for themselves what is gone."""
        before = self.positions
        self.positions = {one: self._end(one) for one in before}
        with_it, self._with_it = self._with_it, {}
        for follower in with_it:
            follower.fall_behind(before)

    def _broken(self, failure: Any) -> None:  # noqa: ANN401  a Failure
        """End it for everybody if the topic is gone; try again if it cannot be read now."""
        if failure.check(UnknownTopic):
            self.end("deleted")
        elif failure.check(LogError):
            self._following.here.clock.callLater(AGAIN, self.pump)
        else:
            log.failure("a feed is broken because of a bug", failure)
            self.end("error")

    def end(self, why: str) -> None:
        """End the streams of all, and say why in one word."""
        for follower in list(self.everybody):
            follower.end(why)


class Follower:
    """One who follows: it catches up by itself, and is then with the feed."""

    def __init__(self, following: Following, feed: Feed, client: Any, positions: Positions, beat: float) -> None:  # noqa: ANN401  a Client
        """Begin at those positions; ``beat`` is the seconds between signs of life."""
        self._following = following
        self._feed = feed
        self._client = client
        self._positions = positions
        self._beat = beat
        self._sink: Sink | None = None
        self._last = 0.0
        self._behind = True
        self._working = False
        self._room: Deferred[None] | None = None
        self._stalled: Any = None

    @property
    def form(self) -> str:
        """What it is given: events, or lines."""
        return self._feed.form

    def start(self, sink: Sink) -> None:
        """Write there."""
        self._sink = sink
        self._last = self._following.here.clock.seconds()
        sink.room, sink.lost = self._has_room, self.leave
        if self._feed.form == EVENTS:
            sink.write(b"retry: 2000\n: here is %b\n\n" % self._feed.name.encode("ascii", "backslashreplace"))
        self._catch_up()

    # -- with the feed ------------------------------------------------------------------------------------------------

    def take(self, data: bytes) -> bool:
        """Write what the feed gives; say whether there was room for it."""
        sink = self._sink
        if sink is None or sink.full:
            return False
        sink.write(data)
        self._following.delivered += 1
        self._last = self._following.here.clock.seconds()
        return True

    def fall_behind(self, positions: Positions) -> None:
        """Go on alone from there."""
        self._positions = positions
        self._behind = True
        self._catch_up()

    def live(self, now: float) -> None:
        """Give a sign of life, if it is time."""
        sink = self._sink
        if sink is None or sink.full or now - self._last < self._beat:
            return
        self._last = now
        if self._feed.form == LINES:
            sink.write(b"\n")
        else:
            place = self._positions if self._behind else self._feed.positions
            sink.write(b"id: %b\n: alive\n\n" % spelled(place).encode())

    # -- alone --------------------------------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        if not self._working and self._sink is not None:
            self._working = True
            Deferred.fromCoroutine(self._go_on()).addErrback(self._broken)

    async def _go_on(self) -> None:
        try:
            while self._sink is not None:
                if self._sink.full:
                    await self._wait_for_room()
                elif self._positions == self._feed.positions:
                    self._behind = False
                    self._feed.join(self)
                    return
                else:
                    await self._step(self._sink)
        finally:
            self._working = False

    async def _step(self, sink: Sink) -> None:
        """Write the next events; where there are none, have the feed come here."""
        feed, before = self._feed, self._positions
        try:
            page = await read(feed.log, feed.topic, before, STEP, STEP_BYTES)
        except OutOfRange:
            self._skip(sink)
            return
        self._positions = page.after
        if page.runs and self._sink is not None:
            sink.write(rendered(page, before, feed.name, feed.form, feed.encoding))
            self._following.delivered += 1
            self._last = self._following.here.clock.seconds()
        elif page.after == before:
            await feed.pump()

    def _skip(self, sink: Sink) -> None:
        """Go on at the first record that there is, in the partitions that do not have this one any more."""
        feed, place = self._feed, dict(self._positions)
        for partition, offset in place.items():
            span = feed.log.span(feed.topic.name, partition, tenant=feed.topic.tenant)
            if not span.first <= offset <= span.next:
                place[partition] = span.first
                if feed.form == EVENTS:
                    sink.write(skipped(OutOfRange(offset, span.first, span.next), partition, offset))
        self._positions = place

    async def _wait_for_room(self) -> None:
        self._room = Deferred()
        self._stalled = self._following.here.clock.callLater(STALL, self._cut)
        try:
            await self._room
        finally:
            self._room = None
            if self._stalled is not None and self._stalled.active():
                self._stalled.cancel()
            self._stalled = None

    def _has_room(self) -> None:
        if self._room is not None and not self._room.called:
            self._room.callback(None)

    def _cut(self) -> None:
        self._following.cut += 1
        if self._sink is not None:
            self._sink.cut()

    def _broken(self, failure: Any) -> None:  # noqa: ANN401  a Failure
        if failure.check(UnknownTopic):
            self.end("deleted")
        elif failure.check(LogError):
            self._following.here.clock.callLater(AGAIN, self._catch_up)
        else:
            log.failure("a follower is broken because of a bug", failure)
            self.end("error")

    # -- the end ------------------------------------------------------------------------------------------------------

    def end(self, why: str) -> None:
        """End the stream, and say why in one word."""
        sink = self._sink
        self.leave()
        if sink is not None:
            if self._feed.form == EVENTS and not sink.full:
                sink.write(b'event: end\ndata: {"reason":"%b"}\n\n' % why.encode("ascii", "replace"))
            sink.finish()

    def leave(self) -> None:
        """Forget everything: the connection is gone, or is about to be."""
        self._sink = None
        self._feed.leave(self)
        self._following.gone(self)
        self._client.ended = self._client.changed = None
        self._client.leave()
        self._has_room()
