"""Watching: what has changed since a revision, by a question that waits, or by a stream of server-sent events.

Nobody who watches has a queue: each has a place in the registry's history, and reads on from there when something has
changed and there is room.  So a slow reader costs no memory; one that does not read at all is cut off after a while,
and one whose place is forgotten is told to begin anew (410, or the event ``compacted``).
"""

from __future__ import annotations

import json
import random
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from brokerkit.protocols.bpbroker import v1_reading as reading
from brokerkit.registry import Compacted
from brokerkit.registry.access import READ, may
from brokerkit.registry.shown import shown_change, shown_entry
from brokerkit.registry.words import HIDDEN
from brokerkit.web import Answer, Parameter, Problem, Route, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerkit.client import Client
    from brokerkit.protocols.bpbroker.v1_asker import Asker
    from brokerkit.registry import Change, Entry, Registry
    from brokerkit.web import Asked
    from brokerkit.web.sink import Sink

EVENTS = "text/event-stream"
USUAL_WAIT, LONGEST_WAIT = 60.0, 600.0  # seconds
JITTER = 16  # the part of the wait that is added at random, so that not all come back at once
ALIVE = 15.0  # seconds between signs of life in a stream
STALL = 30.0  # seconds that a reader may take nothing while there is something for it
PAGE = 256  # changes or entries that are looked at in one step
PAGE_BYTES = 64 * 1024  # that are written in one step
ANSWER_BYTES = 1024 * 1024  # of changes in one answer
CACHED = 1024  # changes that are kept as text
MOST = (1 << 62) - 1


class Texts:
    """Changes as JSON, each made once for all who watch; the last ones are kept."""

    def __init__(self) -> None:
        """Begin with none."""
        self._texts: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0

    def of(self, change: Change) -> bytes:
        """Give a change as JSON in one line."""
        text = self._texts.get(change.revision)
        if text is None:
            text = json.dumps(shown_change(change), separators=(",", ":")).encode()
            self._texts[change.revision] = text
            self._size += len(text)
            while len(self._texts) > CACHED or (self._size > ANSWER_BYTES and len(self._texts) > 1):
                self._size -= len(self._texts.popitem(last=False)[1])
        return text


class Wanted:
    """What one watcher wants to hear of: one name, or all that begin with something, as far as it may be read."""

    def __init__(self, asked: Asked) -> None:
        """Read the parameters; raise ``Problem`` 400."""
        query = asked.query
        if "name" in query and "prefix" in query:
            raise Problem(400, "Bad parameter", "name and prefix: expected one of them")
        self.name = query.get("name")
        self.prefix = query.get("prefix", "") if self.name is None else self.name
        if self.prefix.startswith(HIDDEN):
            raise Problem(400, "Reserved name", f"names that begin with {HIDDEN} cannot be watched")

    def has(self, client: Client, name: str) -> bool:
        """Say whether that name is one of them, and may be read by the client."""
        wanted = name == self.name if self.name is not None else name.startswith(self.prefix)
        return wanted and may(client, READ, name)

    def entries(self, registry: Registry, after: str) -> Iterator[Entry]:
        """Give those that are there and come behind ``after``."""
        if self.name is None:
            yield from registry.scan(self.prefix, after)
        elif not after and (entry := registry.get(self.name)) is not None:
            yield entry


class Watching:
    """The route ``/v1/watch``, and those who watch."""

    def __init__(self, asker: Asker, clock: Any) -> None:  # noqa: ANN401  any reactor
        """Watch the registry of that."""
        self.asker = asker
        self.registry = asker.registry
        self.clock = clock
        self.texts = Texts()
        self._by_name: dict[str, dict[Waiter, None]] = {}
        self._by_prefix: dict[str, dict[Waiter, None]] = {}
        self._feeds: dict[Feed, None] = {}
        self._deaf = self.registry.listen(self._changed)
        self._living = LoopingCall(self._sign_of_life)
        self._living.clock = clock

    def __len__(self) -> int:
        """Give the number of those who watch."""
        return sum(len(some) for by in (self._by_name, self._by_prefix) for some in by.values())

    def stop(self) -> None:
        """End it for everybody."""
        self._deaf()
        for by in (self._by_name, self._by_prefix):
            for waiters in list(by.values()):
                for waiter in list(waiters):
                    waiter.end()

    def routes(self) -> list[Route]:
        """Give the route."""
        parameters = (
            Parameter("prefix", "What the names begin with."),
            Parameter("name", "One name, in place of a prefix."),
            Parameter(
                "index",
                "The revision after which to begin; without it, what is there now comes first.",
                "query",
                "integer",
            ),
            Parameter("wait", f"Seconds to wait for a change; at most {LONGEST_WAIT:g}.", "query", "number"),
            Parameter("Last-Event-ID", "As index, for server-sent events.", "header"),
        )
        answers = {
            200: f"Changes and the next index; with Accept: {EVENTS}, a stream of events put, delete and expire.",
            401: "The credentials are not accepted.",
            410: "What happened since that revision is not known any more: begin anew, without index.",
        }
        return [Route("GET", "/v1/watch", self._watch, "Watch entries.", parameters, answers)]

    async def _watch(self, asked: Asked) -> Answer | Stream:
        wanted = Wanted(asked)
        index = reading.whole(asked, "index", None, 0, MOST)
        streams = EVENTS in asked.header("accept") and asked.method == "GET"
        wait = reading.number(asked, "wait", USUAL_WAIT, 0, LONGEST_WAIT) or 0.0
        if streams and (last := asked.header("last-event-id")):
            if not (last.isascii() and last.isdigit() and len(last) < 19):  # noqa: PLR2004
                raise Problem(400, "Bad header", "last-event-id: expected a revision")
            index = int(last)
        self._see_known(index)
        client = await self.asker.admit(asked)
        if streams:
            return self._stream(Feed(self, client, wanted, index))
        try:
            if index is None:
                return self._snapshot(client, wanted)
            return await self._changes(client, wanted, index, wait)
        finally:
            client.leave()

    def _see_known(self, index: int | None) -> None:
        if index is not None:
            try:
                self.registry.since(index, most=1)
            except Compacted as gone:
                raise _compacted(gone, self.registry.revision) from None

    # -- a question that waits ----------------------------------------------------------------------------------------

    def _snapshot(self, client: Client, wanted: Wanted) -> Answer:
        """Answer with what is there now; a watcher of too much is told to list it."""
        shown, size = [], 0
        for entry in wanted.entries(self.registry, ""):
            if wanted.has(client, entry.name):
                shown.append(shown_entry(entry))
                size += self.registry.size_of(entry.name)
                if size > ANSWER_BYTES:
                    raise Problem(413, "Content Too Large", "list it by /v1/kv in pages, and watch from their revision")
        text = json.dumps({"index": self.registry.revision, "entries": shown})
        return Answer(body=text.encode() + b"\n")

    async def _changes(self, client: Client, wanted: Wanted, index: int, wait: float) -> Answer:
        """Answer with the changes since ``index``, when there are any or the time is over."""
        ends = self.clock.seconds() + wait + random.uniform(0, wait / JITTER)  # noqa: S311  to spread, not to hide
        waiter = Waiter(self, wanted, index)
        self.enter(waiter)
        client.ended = lambda _: waiter.end()
        try:
            while True:
                try:
                    texts, waiter.place = self._texts_since(client, wanted, waiter.place)
                except Compacted as gone:
                    raise _compacted(gone, self.registry.revision) from None
                left = ends - self.clock.seconds()
                if texts or left <= 0 or waiter.ended:
                    return Answer(body=b'{"index": %d, "changes": [%b]}\n' % (waiter.place, b", ".join(texts)))
                await waiter.wait(left)
        finally:
            client.ended = None
            waiter.leave()

    def _texts_since(self, client: Client, wanted: Wanted, place: int) -> tuple[list[bytes], int]:
        """Give the changes since a revision that are wanted, and the revision up to which that is all."""
        texts: list[bytes] = []
        size = 0
        while place < self.registry.revision:
            for change in self.registry.since(place, wanted.prefix, PAGE):
                if wanted.has(client, change.name):
                    texts.append(self.texts.of(change))
                    size += len(texts[-1])
                    if size > ANSWER_BYTES:
                        return texts, change.revision
            place = min(place + PAGE, self.registry.revision)
        return texts, place

    # -- a stream -----------------------------------------------------------------------------------------------------

    def _stream(self, feed: Feed) -> Stream:
        return Stream(
            feed.start, headers={"content-type": EVENTS, "cache-control": "no-store", "x-accel-buffering": "no"}
        )

    def begin(self, feed: Feed) -> None:
        """Keep a stream alive."""
        self._feeds[feed] = None
        if not self._living.running:
            self._living.start(ALIVE, now=False)

    def end(self, feed: Feed) -> None:
        """Forget a stream."""
        self._feeds.pop(feed, None)
        if not self._feeds and self._living.running:
            self._living.stop()

    def _sign_of_life(self) -> None:
        for feed in list(self._feeds):
            feed.sign_of_life()

    # -- who watches what ---------------------------------------------------------------------------------------------

    def enter(self, waiter: Waiter) -> None:
        """Wake that one when something changes."""
        self._place(waiter).setdefault(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Do not wake that one any more."""
        by, key = self._by(waiter)
        waiters = by.get(key)
        if waiters is not None:
            waiters.pop(waiter, None)
            if not waiters:
                del by[key]

    def _place(self, waiter: Waiter) -> dict[Waiter, None]:
        by, key = self._by(waiter)
        return by.setdefault(key, {})

    def _by(self, waiter: Waiter) -> tuple[dict[str, dict[Waiter, None]], str]:
        wanted = waiter.wanted
        return (self._by_prefix, wanted.prefix) if wanted.name is None else (self._by_name, wanted.name)

    def _changed(self, change: Change) -> None:
        for waiter in list(self._by_name.get(change.name, ())):
            waiter.hear(change)
        for prefix, waiters in list(self._by_prefix.items()):
            if change.name.startswith(prefix):
                for waiter in list(waiters):
                    waiter.hear(change)


class Waiter:
    """One who waits for a change of what it wants.

    ``place`` is the revision that it has come to.  While it waits for a change (``waits``), nothing that happens
    elsewhere is for it: its place moves on by itself, and is not forgotten however much that is.
    """

    def __init__(self, watching: Watching, wanted: Wanted, place: int) -> None:
        """Want that, from there on; who wants to hear, enters."""
        self.watching = watching
        self.wanted = wanted
        self.place = place
        self.waits = False
        self.ended = False
        self._asleep: Deferred[None] | None = None

    async def wait(self, seconds: float) -> None:
        """Wait for a change, or so many seconds."""
        self._asleep = Deferred()
        self.waits = True
        alarm = self.watching.clock.callLater(seconds, self._over)
        try:
            await self._asleep
        finally:
            self._asleep = None
            self.waits = False
            if alarm.active():
                alarm.cancel()

    def _over(self) -> None:
        self.move_on()
        self.wake()

    def move_on(self) -> None:
        """Go to where the registry is, if nothing on the way there is for this one."""
        if self.waits:
            self.place = self.watching.registry.revision

    def hear(self, change: Change) -> None:
        """Take a change that is wanted; what came before it is not."""
        if self.waits:
            self.place = max(self.place, change.revision - 1)
        self.wake()

    def wake(self) -> None:
        """Look again."""
        if self._asleep is not None and not self._asleep.called:
            self._asleep.callback(None)

    def end(self) -> None:
        """Wait no more."""
        self.ended = True
        self.wake()

    def leave(self) -> None:
        """Be woken no more."""
        self.watching.leave(self)


class Feed(Waiter):
    """One stream of events: first what is there, unless it begins at a revision, then each change."""

    def __init__(self, watching: Watching, client: Client, wanted: Wanted, index: int | None) -> None:
        """Begin after the revision ``index``, or with what is there."""
        super().__init__(watching, wanted, watching.registry.revision if index is None else index)
        self._client = client
        self._after: str | None = "" if index is None else None  # how far what is there has been given
        self._sink: Sink | None = None
        self._stalled: Any = None
        self._again: Any = None

    def start(self, sink: Sink) -> None:
        """Write there."""
        self._sink = sink
        sink.room, sink.lost = self._room, self.leave
        self._client.ended = lambda _: self.end()
        self.watching.enter(self)
        self.watching.begin(self)
        sink.write(b"retry: 2000\n\n")
        self._go_on()

    def wake(self) -> None:
        """Write what is new, if there is room."""
        self._go_on()

    def end(self) -> None:
        """End the stream."""
        sink = self._sink
        self.leave()
        if sink is not None:
            sink.finish()

    def leave(self) -> None:
        """Forget everything: the connection is gone, or is about to be."""
        super().leave()
        self.ended = True
        self._sink = None
        for alarm in (self._stalled, self._again):
            if alarm is not None and alarm.active():
                alarm.cancel()
        self.watching.end(self)
        self._client.ended = None
        self._client.leave()

    def sign_of_life(self) -> None:
        """Say that the stream is there, and from where to go on after it."""
        if self._sink is not None and not self._sink.full and self._after is None:
            self.move_on()
            self._sink.write(b"id: %d\n: alive\n\n" % self.place)

    def _room(self) -> None:
        alarm, self._stalled = self._stalled, None
        if alarm is not None and alarm.active():
            alarm.cancel()
        self._go_on()

    def _go_on(self) -> None:
        """Write as long as there is something, and room for it."""
        if self._again is not None and self._again.active():
            return
        more = True
        self.waits = False
        while more and self._sink is not None and not self._sink.full:
            if self._after is not None:
                self._give_entries(self._sink)
                if self._after is not None and not self._sink.full:  # others want to get on, too
                    self._again = self.watching.clock.callLater(0, self._go_on)
                    return
            else:
                more = self._give_changes(self._sink)
        self.waits = not more
        if self._sink is not None and self._sink.full and self._stalled is None:
            self._stalled = self.watching.clock.callLater(STALL, self._cut)

    def _give_entries(self, sink: Sink) -> None:
        """Write the next entries that are there; behind the last one, say so."""
        out, size = [], 0
        for looked, entry in enumerate(self.wanted.entries(self.watching.registry, self._after or ""), 1):
            self._after = entry.name
            if self.wanted.has(self._client, entry.name):
                record = {
                    "revision": entry.revision,
                    "operation": "put",
                    "name": entry.name,
                    "record": shown_entry(entry),
                }
                out.append(b"event: put\ndata: %b\n\n" % json.dumps(record, separators=(",", ":")).encode())
                size += len(out[-1])
            if size > PAGE_BYTES or looked >= PAGE:
                break
        else:
            self._after = None
            out.append(b'id: %d\nevent: ready\ndata: {"revision": %d}\n\n' % (self.place, self.place))
        sink.write(b"".join(out))

    def _give_changes(self, sink: Sink) -> bool:
        """Write the next changes; say whether there are more."""
        registry = self.watching.registry
        if self.place >= registry.revision:
            return False
        try:
            changes = registry.since(self.place, self.wanted.prefix, PAGE)
        except Compacted as gone:
            sink.write(b'event: compacted\ndata: {"oldest": %d}\n\n' % gone.oldest)
            self.watching.registry.slow_watchers += 1
            self.end()
            return False
        following = min(self.place + PAGE, registry.revision)
        out, size = [], 0
        for change in changes:
            if self.wanted.has(self._client, change.name):
                text = self.watching.texts.of(change)
                out.append(b"id: %d\nevent: %b\ndata: %b\n\n" % (change.revision, change.operation.encode(), text))
                size += len(text)
                if size > PAGE_BYTES:
                    following = change.revision
                    break
        self.place = following
        sink.write(b"".join(out))
        return following < registry.revision

    def _cut(self) -> None:
        self.watching.registry.slow_watchers += 1
        if self._sink is not None:
            self._sink.cut()


def _compacted(gone: Compacted, revision: int) -> Problem:
    detail = "what happened since then is not known any more: begin anew, without index"
    return Problem(410, "Gone", detail, oldest=gone.oldest, index=revision)
