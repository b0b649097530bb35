"""Reading by the modern API: one partition, several, or a whole topic, by offset, moment or cursor, in pages.

A page says where the next one begins.  A record at its offset never changes, so it may be kept by whoever has it; a
page has a tag, so that asking again for what is known costs nothing.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from brokerkit.grants import SUBSCRIBE
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest import v1_place as places
from brokerkit.protocols.kafka_rest.v1_documents import LINES, PAGE, READ
from brokerkit.protocols.kafka_rest.v1_problems import told
from brokerkit.protocols.kafka_rest.v1_reading import read
from brokerkit.protocols.kafka_rest.v1_shown import ENCODINGS, shown_batch, shown_records
from brokerkit.web import Answer, Parameter, Route

if TYPE_CHECKING:
    from brokerkit.log.words import Stored, Topic
    from brokerkit.protocols.kafka_rest.v1_here import Here
    from brokerkit.protocols.kafka_rest.v1_place import Positions
    from brokerkit.protocols.kafka_rest.v1_reading import Page
    from brokerkit.protocols.kafka_rest.v1_waiting import Waiting
    from brokerkit.web import Asked

JSON, BYTES = "application/json", "application/octet-stream"
MOST, LARGEST_MOST = 500, 100_000  # records
MOST_BYTES, LARGEST_BYTES = 1024 * 1024, 64 * 1024 * 1024
FOREVER = "private, max-age=31536000, immutable"


def _up_to(most: int) -> dict[str, int]:
    return {"minimum": 1, "maximum": most}


_MOST = Parameter(
    "max_records", f"At most so many records; {MOST} if not said.", kind="integer", schema=_up_to(LARGEST_MOST)
)
_MOST_BYTES = Parameter(
    "max_bytes", "About so many bytes; at least one record is given.", kind="integer", schema=_up_to(LARGEST_BYTES)
)
_WAIT = Parameter(
    "wait", "Seconds to wait for a record where there is none.", kind="number", schema={"minimum": 0, "maximum": 3600}
)
_LAST = Parameter("last", "The last so many records of each partition.", kind="integer", schema=_up_to(asking.LARGEST))
ENCODING = Parameter(
    "encoding", "Of values: auto (text, else base64), base64, or json.", schema={"enum": list(ENCODINGS)}
)
_OFFSET = Parameter(
    "offset",
    "A number, a negative one for so many before the end, or first, last.",
    "path",
    schema={"pattern": "^(-?[0-9]{1,18}|first|earliest|last|latest|end)$"},
)
_KNOWN = Parameter("If-None-Match", "Tags of what is known already.", "header")
ANSWERS = {
    304: "It is what the tag says.",
    400: "A parameter is not usable; the detail says which.",
    401: "The credentials are not accepted.",
    403: "Not allowed.",
    404: "There is no such topic, partition, or record yet.",
    406: "Accept names nothing that can be given.",
    416: "The offset is out of range: the answer says what there is.",
    429: "More than this user may ask for; see Retry-After.",
    503: "It cannot be read now; see Retry-After.",
}


class Fetching:
    """The routes that read."""

    def __init__(self, here: Here, waiting: Waiting) -> None:
        """Read there; ``waiting`` tells of new records."""
        self._here = here
        self._waiting = waiting

    def routes(self) -> tuple[Route, ...]:
        """Give the routes."""
        topic, partition = "/v1/topics/{topic}/records", "/v1/topics/{topic}/partitions/{partition}/records"
        reading = (*places.PARAMETERS, _LAST, _MOST, _MOST_BYTES, _WAIT, ENCODING, _KNOWN)
        one = tuple(parameter for parameter in reading if parameter.name != "partitions")
        answers = {**ANSWERS, 200: "Records, and the cursor behind them."}
        gone = {410: "The record is not kept any more."}
        return (
            Route(
                "GET",
                topic,
                told(self._topic),
                "Read records of a topic.",
                reading,
                answers,
                replies={200: {**PAGE, **LINES}},
            ),
            Route(
                "GET",
                partition,
                told(self._partition),
                "Read records of a partition.",
                one,
                answers,
                replies={200: {**PAGE, **LINES}},
            ),
            Route(
                "GET",
                f"{partition}/{{offset}}",
                told(self._record),
                "Get one record; as application/octet-stream its value alone.",
                (_OFFSET, ENCODING, _KNOWN),
                {**ANSWERS, **gone, 200: "The record."},
                replies={200: READ},
            ),
        )

    # -- pages --------------------------------------------------------------------------------------------------------

    async def _topic(self, asked: Asked) -> Answer:
        topic, _ = await self._here.topic(asked)
        return await self._page(asked, topic, asking.partitions(asked, topic.partitions))

    async def _partition(self, asked: Asked) -> Answer:
        topic, _ = await self._here.topic(asked)
        partition = asking.partition(asked)
        self._here.log.span(topic.name, partition, tenant=topic.tenant)
        return await self._page(asked, topic, (partition,))

    async def _page(self, asked: Asked, topic: Topic, partitions: tuple[int, ...]) -> Answer:
        kind = asking.accepts(asked, JSON, LINES_KIND)
        encoding = asking.one_of(asked, "encoding", ENCODINGS)
        most = asking.whole(asked, "max_records", MOST, 1, LARGEST_MOST)
        most_bytes = asking.whole(asked, "max_bytes", MOST_BYTES, 1, LARGEST_BYTES)
        wait = min(asking.number(asked, "wait", 0.0, 0.0, 3600.0), self._here.settings.max_wait_seconds)
        before = await self._begin(asked, topic, partitions)
        page = await read(self._here.log, topic, before, most, most_bytes, raw=True)
        if wait and not page:
            page = await self._waiting.read(topic, page, most, most_bytes, wait)
        return await self._here.packed(asked, self._shown(asked, topic, before, page, kind, encoding))

    async def _begin(self, asked: Asked, topic: Topic, partitions: tuple[int, ...]) -> Positions:
        if "last" not in asked.query:
            return await places.positions(asked, self._here.log, topic, partitions, "first")
        if any(name in asked.query for name in ("offset", "at", "cursor")):
            raise asking.bad("last: stands for itself, without offset, at or cursor")
        count = asking.whole(asked, "last", 1, 1, asking.LARGEST)
        spans = {one: self._here.log.span(topic.name, one, tenant=topic.tenant) for one in partitions}
        return {one: max(span.first, span.next - count) for one, span in spans.items()}

    def _shown(self, asked: Asked, topic: Topic, before: Positions, page: Page, kind: str, encoding: str) -> Answer:
        cursor = places.spelled(page.after)
        following = self._next(asked, cursor)
        tag = _tag(before, page, kind, encoding)
        headers = {
            "etag": f'"{tag}"',
            "cache-control": "private, no-cache",
            "cursor": cursor,
            "link": f'<{following}>; rel="next"',
        }
        if asking.is_known(asked, tag):
            return Answer(304, headers=headers)
        name = self._here.shown(topic.name)
        mark = "\n" if kind == LINES_KIND else ","
        texts = [shown_batch(batch, name, partition, encoding, mark) for partition, batch in page.batches]
        for partition, records in page.runs:
            texts += shown_records(records, name, partition, encoding)
        if kind == LINES_KIND:
            body = "\n".join(texts) + "\n" if texts else ""
            return Answer(200, body.encode(), {**headers, "content-type": LINES_KIND})
        beside = {
            "cursor": cursor,
            "next": following,
            "more": page.more,
            "partitions": [
                {"partition": one, "first": page.spans[one][0], "next": page.spans[one][1], "position": offset}
                for one, offset in page.after.items()
            ],
        }
        body = f'{{"records":[{",".join(texts)}],{json.dumps(beside)[1:]}\n'
        return Answer(200, body.encode(), headers)

    def _next(self, asked: Asked, cursor: str) -> str:
        """Give the address of the page behind this one."""
        kept = {name: value for name, value in asked.query.items() if name not in {"offset", "at", "last", "cursor"}}
        path = quote(asked.path.decode("latin-1"), safe="/%:@!$&'()*+,;=-._~")
        return f"{path}?{urlencode({**kept, 'cursor': cursor}, safe=':,')}"

    # -- one record ---------------------------------------------------------------------------------------------------

    async def _record(self, asked: Asked) -> Answer:
        kind = asking.accepts(asked, JSON, BYTES)
        encoding = asking.one_of(asked, "encoding", ENCODINGS)
        topic, _ = await self._here.topic(asked, SUBSCRIBE)
        partition = asking.partition(asked)
        span = self._here.log.span(topic.name, partition, tenant=topic.tenant)
        offset = places.place_of(asked.values["offset"], span) if _is_word(asked) else _number(asked)
        if not span.first <= offset < span.next:
            raise places.absent(offset, span)
        fetched = await self._here.log.fetch(topic.name, partition, offset, 1, 1, tenant=topic.tenant)
        if not fetched.records or fetched.records[0].offset != offset:
            raise places.absent(offset, span._replace(first=fetched.after))
        return await self._here.packed(asked, self._one(asked, topic, partition, fetched.records[0], kind, encoding))

    def _one(self, asked: Asked, topic: Topic, partition: int, record: Stored, kind: str, encoding: str) -> Answer:
        data = f"{record.offset} {record.sequence} {record.timestamp} {kind} {encoding}".encode()
        tag = blake2b(data + b"\0" + (record.value or b""), digest_size=8).hexdigest()
        headers = {"etag": f'"{tag}"', "cache-control": "private, no-cache" if _is_word(asked) else FOREVER}
        if asking.is_known(asked, tag):
            return Answer(304, headers=headers)
        if kind == JSON:
            (text,) = shown_records([record], self._here.shown(topic.name), partition, encoding)
            return Answer(200, text.encode() + b"\n", headers)
        more = {
            "content-type": BYTES,
            "x-content-type-options": "nosniff",
            "content-disposition": "attachment",
            "record-offset": str(record.offset),
            "record-partition": str(partition),
            "record-timestamp": str(record.timestamp),
            "record-null": "true" if record.value is None else "false",
        }
        return Answer(200, record.value or b"", {**headers, **more})


LINES_KIND = next(iter(LINES))


def _is_word(asked: Asked) -> bool:
    """Say whether the offset is one that means another record later on."""
    return not asked.values["offset"].isdigit()


def _number(asked: Asked) -> int:
    text = asked.values["offset"]
    if not (text.isascii() and len(text) <= asking.DIGITS):
        raise asking.bad("offset: expected first, last, latest, or a number")
    return int(text)


def _tag(before: Positions, page: Page, kind: str, encoding: str) -> str:
    """Give a tag that is another one if anything in a page is."""
    last: Any = None
    if page.batches:
        batch = page.batches[-1][1]
        last = batch.sequences[-1], batch.timestamps[-1]
    elif page.runs:
        record = page.runs[-1][1][-1]
        last = record.sequence, record.timestamp
    said = (before, page.after, page.spans, page.count, last, kind, encoding)
    return blake2b(repr(said).encode(), digest_size=8).hexdigest()
