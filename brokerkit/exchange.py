"""Requests that one tenant serves for another, and the way back of their answers.

A request that is published here goes on there in the same call, under the topic that is exported, with a reply topic
that only this broker knows.  What is published to that goes back to where the request came from.  So neither tenant
sees a topic of the other's.  All of it as nats-server does it, down to the header that says who asks: whoever serves
NATS clients today finds nothing changed.

What is open is bounded: in number (the oldest gives way), and in time.
"""

from __future__ import annotations

from json import dumps, loads
from secrets import choice
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from brokerkit.deliver import pass_on
from brokerkit.run import Message, Origin
from brokerkit.subscription import Subscription
from brokerkit.tenant import SINGLETON, UNNAMED, Export

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.mapping import Placed
    from brokerkit.router import Router
    from brokerkit.run import Batch, Path, Run

REPLIES = b"_R_."
LETTERS = digits + ascii_letters
OPEN = 65536  # requests that wait for an answer
PATIENCE = 120.0  # seconds that an answer may take, or the next one of several
STEPS = 32  # tenants that one message may go through

HEADER = b"Nats-Request-Info"
VERSION = b"NATS/1.0"


class Open(NamedTuple):
    """A request that waits: where its answers go, how many there may be, and when it was asked or answered last."""

    tenant: str
    reply: bytes
    response: str
    since: float


@attrs.frozen(eq=False)
class Service:
    """What ``tenant`` may ask of ``source``; compared by identity."""

    tenant: str
    source: str
    export: Export
    placed: Placed


class Exchange:
    """Brings requests to other tenants, and answers back.

    ``dropped`` counts the requests that others took the place of before they were answered.
    """

    def __init__(self, router: Callable[[str], Router], now: Callable[[], float]) -> None:
        """Take what gives a tenant's router, and what gives the time in seconds."""
        self.dropped = 0
        self._router = router
        self._now = now
        self._open: dict[bytes, Open] = {}  # the longest untouched first
        self._replies: dict[str, bytes] = {}  # what the replies of requests to a tenant begin with

    def __len__(self) -> int:
        """Give the number of requests that wait for an answer."""
        self._end_the_late()
        return len(self._open)

    def offer(self, service: Service) -> Subscription:
        """Begin to take the requests of a tenant for a service; give the subscription that does it."""
        local = service.placed.local
        taking = Subscription(
            local, literal=False, origin=Origin.SERVICE, receive=lambda batch: self._ask(batch, service)
        )
        self._router(service.tenant).add(taking)
        return taking

    def forget(self, tenant: str) -> None:
        """Close what a tenant that is gone has asked."""
        for topic in [topic for topic, one in self._open.items() if one.tenant == tenant]:
            del self._open[topic]

    # -- the way there ------------------------------------------------------------------------------------------------

    def _ask(self, batch: Batch, service: Service) -> bool:
        """Bring requests to whoever serves them; say whether anybody does."""
        run = batch.run
        if service.export in run.path or len(run.path) >= STEPS:
            return False
        path = (*run.path, service.export)
        heard = False
        for message in batch:
            heard = self._bring(message, run, service, path) or heard
        return heard

    def _bring(self, message: Message, run: Run, service: Service, path: Path) -> bool:
        there = service.placed.there
        reply = self._opened(service.source, Open(service.tenant, message.reply, service.export.response, self._now()))
        headers = _introduced(message.headers, service.tenant, run)
        topic = message.topic if there is None else there(message.topic)
        heard = self._publish(Message(topic, message.payload, reply, headers), run, service.source, path)
        if not heard:
            self._open.pop(reply, None)
        return heard

    def _opened(self, source: str, asked: Open) -> bytes:
        """Note a request to a tenant; give the reply topic that is good there, none where no answer is wanted."""
        if not asked.reply:
            return b""
        self._end_the_late()
        if len(self._open) >= OPEN:
            del self._open[next(iter(self._open))]
            self.dropped += 1
        topic = self._listen(source) + _made_up()
        self._open[topic] = asked
        return topic

    def _listen(self, source: str) -> bytes:
        """Give what replies begin with in a tenant; from now on somebody listens there."""
        begin = self._replies.get(source)
        if begin is None:
            begin = self._replies[source] = REPLIES + _made_up() + b"."
            listening = Subscription(
                begin + b">", literal=False, origin=Origin.SERVICE, receive=lambda batch: self._answer(batch, source)
            )
            self._router(source).add(listening)
        return begin

    # -- the way back -------------------------------------------------------------------------------------------------

    def _answer(self, batch: Batch, source: str) -> bool:
        """Bring answers back to who asked; say whether anybody heard."""
        heard = False
        for message in batch:
            heard = self._bring_back(message, batch.run, source) or heard
        return heard

    def _bring_back(self, message: Message, run: Run, source: str) -> bool:
        self._end_the_late()
        asked = self._open.pop(message.topic, None)
        if asked is None or len(run.path) >= STEPS:
            return False
        more = asked.response != SINGLETON and bool(message.payload or message.headers)
        if more:
            self._open[message.topic] = asked._replace(since=self._now())
        reply = self._opened(asked.tenant, Open(source, message.reply, asked.response, self._now()))
        answer = Message(asked.reply, message.payload, reply, message.headers)
        heard = self._publish(answer, run, asked.tenant, (*run.path, message.topic))
        if not heard:
            self._open.pop(message.topic, None)
            self._open.pop(reply, None)
        return heard

    def _publish(self, message: Message, run: Run, tenant: str, path: Path) -> bool:
        """Publish in a tenant, whose own mappings count; say whether anybody heard."""
        router = self._router(tenant)
        mapper = router.mapper(message.topic) if router.mappers else None
        topic = message.topic if mapper is None else mapper(message.topic)
        return topic is not None and pass_on(message._replace(topic=topic), run, router, path)

    def _end_the_late(self) -> None:
        """Close what has waited too long."""
        late = self._now() - PATIENCE
        while self._open:
            topic = next(iter(self._open))
            if self._open[topic].since > late:
                break
            del self._open[topic]


def _made_up() -> bytes:
    return "".join([choice(LETTERS) for _ in range(6)]).encode()


# -- who asks ---------------------------------------------------------------------------------------------------------


def _introduced(headers: bytes, tenant: str, run: Run) -> bytes:
    """Give the headers of a request with a line that says who asks; what a client says there itself does not stay."""
    lines = headers.removesuffix(b"\r\n\r\n").split(b"\r\n") if headers else [VERSION]
    said = [line for line in lines if _is_introduction(line)]
    kept = [line for line in lines if not _is_introduction(line)]
    line = b"%b: %b" % (HEADER, dumps(_who(said, tenant, run), separators=(",", ":")).encode())
    return b"\r\n".join([*kept, line]) + b"\r\n\r\n"


def _is_introduction(line: bytes) -> bool:
    return line.partition(b":")[0].strip().lower() == HEADER.lower()


def _who(said: list[bytes], tenant: str, run: Run) -> dict[str, Any]:
    """Say who asks: a tenant; or the one that another has said it asks for, if it has come by way of another."""
    if run.path and isinstance(run.path[-1], Export) and said:  # else it is a client who has said it
        who: dict[str, Any] = loads(said[-1].partition(b":")[2])
        rtt = who.pop("rtt", 0)
        who["svc"] = tenant or UNNAMED
    else:
        who = {"acc": tenant or UNNAMED}
        rtt = round(getattr(run.sender, "rtt", 0.0) * 1e9)
    return {**who, "rtt": rtt} if rtt else who
