"""Fetching as KastleX does: from an offset on, as JSON with all that is known, or one message as it is.

What is more than a piece goes out as a stream, piece by piece as the reader takes them, so that a hundred megabytes
cost no more memory than one.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from typing import TYPE_CHECKING

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from brokerkit.errors import BrokerError
from brokerkit.grants import SUBSCRIBE
from brokerkit.protocols.kafka_rest.kastlex_accept import BINARY, accepted, number, whole
from brokerkit.protocols.kafka_rest.kastlex_render import as_object, fits_object, render
from brokerkit.protocols.kafka_rest.shapes import in_words
from brokerkit.web import Answer, Problem, Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.client import Client
    from brokerkit.log.codec import Batch
    from brokerkit.log.fetching import Raw
    from brokerkit.log.words import Headers, Span, Stored
    from brokerkit.protocols.kafka_rest.service import KafkaRest
    from brokerkit.web import Asked
    from brokerkit.web.sink import Sink

log = Logger()

WAIT = 1000  # ms
MIN_BYTES = 1
MAX_BYTES = 100_000
CAP = 100 * 1024 * 1024  # bytes that one request can have
PIECE = 1024 * 1024  # bytes that are rendered in one go: some milliseconds
RECORDS = 10_000  # in one piece
PAUSE = 0.05  # seconds before it is looked again whether enough has come, where there is too little
GAPS = 100  # records that are looked at in one go for one that is a message
BINARY_TYPE = "application/binary; charset=utf-8"


@attrs.frozen
class Place:
    """A partition, and what is wanted of it: from ``offset`` on, up to ``most`` bytes."""

    tenant: str
    topic: bytes
    partition: int
    offset: int
    most: int


class Fetching:
    """GET of messages; version 1 wraps them, version 2 does not."""

    def __init__(self, service: KafkaRest) -> None:
        """Fetch by that listener."""
        self._service = service

    async def v1(self, asked: Asked, client: Client) -> Answer | Stream:
        """Give an object with the messages in it."""
        return await self._fetch(asked, client, wrapped=True)

    async def v2(self, asked: Asked, client: Client) -> Answer | Stream:
        """Give an array of messages."""
        return await self._fetch(asked, client, wrapped=False)

    async def _fetch(self, asked: Asked, client: Client, *, wrapped: bool) -> Answer | Stream:
        form = accepted(asked)
        service = self._service
        topic = service.topic(asked.values["topic"])
        service.who.need(client, SUBSCRIBE, topic)
        wait = min(number(asked, "max_wait_time", WAIT) / 1000, service.settings.max_wait_seconds)
        least = number(asked, "min_bytes", MIN_BYTES)
        most = min(number(asked, "max_bytes", MAX_BYTES), CAP)
        partition = whole(asked.values["partition"], "partition")
        tenant = client.user.tenant
        try:
            span = service.log.span(topic, partition, tenant)
            offset = position(asked.values.get("offset") or asked.query.get("offset") or "last", span)
            place = Place(tenant, topic, partition, offset, most)
            first = await self._first(place, wait, min(least, most), 1 if form == BINARY and least <= 1 else RECORDS)
        except BrokerError as error:
            raise error if isinstance(error, Problem) else in_words(error) from None
        service.who.need(client, SUBSCRIBE, topic)  # it may have waited for long
        if form == BINARY:
            return await self._binary(place, first)
        return self._json(place, first, wrapped=wrapped)

    async def _first(self, place: Place, wait: float, least: int, records: int) -> Raw:
        """Give the first piece, waiting for so many bytes of it if need be."""
        service, clock = self._service, self._service.broker.reactor
        deadline = clock.seconds() + wait
        offset = place.offset
        while True:
            looked = clock.seconds()
            piece = await self._piece(place, offset, place.most, records)
            if not piece.batches and offset < piece.after < piece.next:
                offset = piece.after  # what was there has been compacted away
                continue
            left = deadline - clock.seconds()
            if left <= 0 or await self._suffices(place, piece, least):
                return piece
            if service.log.span(place.topic, place.partition, place.tenant).next > piece.next:
                continue
            if not await service.arrivals.more(place.tenant, place.topic, place.partition, left):
                return piece
            soon = min(PAUSE, left) - (clock.seconds() - looked)
            if piece.batches and soon > 0:  # too little as yet, and not each record by itself is worth another look
                await deferLater(clock, soon)

    async def _suffices(self, place: Place, piece: Raw, least: int) -> bool:
        """Say whether there are so many bytes from a first piece on, or as many as are given at most."""
        if not piece.batches or least <= 1:
            return bool(piece.batches)
        size = _size(piece)
        while size < least and piece.after < piece.next:
            if size >= place.most or place.most <= PIECE:
                return True
            piece = await self._piece(place, piece.after, place.most - size)
            size += _size(piece)
        return size >= least

    async def _piece(self, place: Place, offset: int, most: int, records: int = RECORDS) -> Raw:
        found: Raw = await self._service.log.raw(
            place.topic, place.partition, offset, min(most, PIECE), records, place.tenant
        )
        return found

    # -- JSON ---------------------------------------------------------------------------------------------------------

    def _json(self, place: Place, first: Raw, *, wrapped: bool) -> Answer | Stream:
        begin, end = b"[", b"]"
        headers = {"x-high-wm-offset": str(first.next)}
        if wrapped:
            begin = b'{"size":null,"highWmOffset":%d,"error_code":"no_error","messages":[' % first.next
            end, headers = b"]}", {}
        if place.most <= PIECE or first.after >= first.next:
            return Answer(200, begin + _rendered(first.batches) + end, headers)

        def start(sink: Sink) -> None:
            Deferred.fromCoroutine(self._pour(place, first, sink, begin, end))

        return Stream(start, 200, headers)

    async def _pour(self, place: Place, piece: Raw, sink: Sink, begin: bytes, end: bytes) -> None:
        """Write piece after piece, up to what was there when it was asked for."""
        last, left = piece.next, place.most
        flow = _Flow(sink)
        try:
            sink.write(begin + _rendered(piece.batches))
            while True:
                left -= _size(piece)
                if left <= 0 or piece.after >= last:
                    break
                await flow.room()
                if flow.lost:
                    return
                piece = await self._piece(place, piece.after, left)
                rendered = _rendered(piece.batches, last)
                if rendered:
                    sink.write(b"," + rendered)
            sink.write(end)
        except BrokerError:
            sink.cut()  # what was asked for has been deleted meanwhile: nobody takes half of it for the whole
        except Exception:
            log.failure("a fetch could not be answered to its end because of a bug")
            sink.cut()
        else:
            sink.finish()

    # -- binary -------------------------------------------------------------------------------------------------------

    async def _binary(self, place: Place, piece: Raw) -> Answer:
        """Give the first message alone; what stands for missing ones is none."""
        headers = {"content-type": BINARY_TYPE, "x-high-wm-offset": str(piece.next)}
        while True:
            records = (one for batch in piece.batches for one in batch.records())
            record = next((one for one in records if not one.missing), None)
            if record is not None:
                return Answer(200, record.value or b"", {**headers, **metadata(record)})
            if not piece.batches or piece.after >= piece.next:
                return Answer(200, b"", headers)
            try:
                piece = await self._piece(place, piece.after, PIECE, GAPS)
            except BrokerError as error:
                raise in_words(error) from None


def metadata(record: Stored) -> dict[str, str]:
    """Give what the head says of a message whose value is the body; the key too, which KastleX kept to itself."""
    found = {
        "x-message-headers": json.dumps(as_object(record.headers), separators=(",", ":")),
        "x-message-offset": str(record.offset),
        "x-message-ts": str(record.timestamp),
        "x-message-ts-type": f":{record.kind}",
    }
    if not fits_object(record.headers):
        found["x-message-header-list"] = json.dumps(_pairs(record.headers), separators=(",", ":"))
    if record.value is None:
        found["x-message-null"] = "true"
    if record.key is not None:
        found["x-message-key"] = json.dumps(record.key.decode("latin-1"))
    return found


def _pairs(headers: Headers) -> list[list[str | None]]:
    return [[name.decode("latin-1"), None if value is None else value.decode("latin-1")] for name, value in headers]


def position(text: str, span: Span) -> int:
    """Give the offset that a request means; raise ``Problem`` 503, as KastleX, where it means none.

    A negative one counts from the next that will be written, and not beyond the first that there is.
    """
    if text == "earliest":
        return span.first
    if text == "latest":
        return span.next
    if text in {"last", "-1"}:
        if span.next > span.first:
            return span.next - 1
    elif text.isascii() and text.isdigit() and len(text) <= 18:  # noqa: PLR2004  as in kastlex_accept
        return int(text)
    elif text[:1] == "-" and text[1:].isascii() and text[1:].isdigit():
        return max(span.first, span.next - int(text[1:19]))
    shown = text[:50]
    why = "the partition is empty" if text in {"last", "-1"} else "expected a number, earliest, latest or last"
    raise Problem(503, "Unknown Offset", why, error=f"Cannot resolve logical offset {shown}")


def _rendered(batches: Sequence[Batch], last: int | None = None) -> bytes:
    """Give batches as JSON; with ``last``, only what is before that offset."""
    if last is not None and batches and batches[-1].offsets[-1] >= last:
        batches = [batch.part(batch.start, batch.start + bisect_left(batch.offsets, last)) for batch in batches]
    return b",".join(render(batch) for batch in batches if len(batch))


def _size(piece: Raw) -> int:
    return sum(sum(map(len, filter(None, (*batch.values, *batch.keys)))) for batch in piece.batches)


class _Flow:
    """Waits until a sink has room; ``lost`` when nobody reads any more."""

    def __init__(self, sink: Sink) -> None:
        self.lost = False
        self._sink = sink
        self._waiting: Deferred[None] | None = None
        sink.room = self._go_on
        sink.lost = self._gone

    async def room(self) -> None:
        if self._sink.full and not self.lost:
            self._waiting = Deferred()
            await self._waiting

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _gone(self) -> None:
        self.lost = True
        self._go_on()
