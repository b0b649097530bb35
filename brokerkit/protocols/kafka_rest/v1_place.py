"""Where somebody reads a topic: an offset in each of some partitions, and the word for it that goes over the wire.

A cursor says ``PARTITION:OFFSET`` for each, with commas between: ``0:1205,1:998``.  It is the ``cursor`` of a page, the
``id`` of an event and so ``Last-Event-ID``, and can be written by hand.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from brokerkit.log.words import OutOfRange
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest.v1_asked import LARGEST, bad
from brokerkit.web import Parameter, Problem

if TYPE_CHECKING:
    from brokerkit.log.words import Topic
    from brokerkit.web import Asked

    Positions = dict[int, int]

FIRST, LAST, LATEST = {"first", "earliest"}, {"last"}, {"latest", "end"}
_CURSOR = re.compile(r"[0-9]{1,7}:[0-9]{1,19}(,[0-9]{1,7}:[0-9]{1,19})*", re.ASCII)
_OFFSET = re.compile(r"-?[0-9]{1,19}", re.ASCII)
LONGEST = 65_536  # characters of a cursor
PARAMETERS = (
    Parameter("partitions", "Numbers of partitions, with commas; all if not said."),
    Parameter("offset", "first, last, latest (only what comes), a number, or a negative one: so many before the end."),
    Parameter("at", "A moment to begin at: ms since 1970, or as 2026-01-31T12:00:00Z."),
    Parameter("cursor", "Where a page before ended; PARTITION:OFFSET with commas."),
)


def spelled(positions: Positions) -> str:
    """Give the cursor for some positions."""
    return ",".join([f"{partition}:{offset}" for partition, offset in positions.items()])


def read_cursor(text: str, name: str, topic: Topic, partitions: tuple[int, ...]) -> Positions:
    """Give the positions that a cursor says, of those partitions; raise ``Problem`` 400."""
    if len(text) > LONGEST or not _CURSOR.fullmatch(text):
        raise bad(f"{name}: expected PARTITION:OFFSET with commas between, such as 0:1205,1:998")
    found: Positions = {}
    for one in text.split(","):
        partition, _, offset = one.partition(":")
        found[int(partition)] = min(int(offset), LARGEST)
    if max(found) >= topic.partitions:
        raise bad(f"{name}: the topic has {topic.partitions} partitions, and no partition {max(found)}")
    return {partition: found[partition] for partition in partitions if partition in found}


async def positions(asked: Asked, log: Any, topic: Topic, partitions: tuple[int, ...], usual: str) -> Positions:  # noqa: ANN401  a Log
    """Give the positions that a request begins at; ``usual`` is the offset where nothing is said.

    Raises ``Problem`` 400, and 416 for an offset that is not there.  A partition that a cursor does not name is read
    from its first record on: it was added since.
    """
    query = asked.query
    said = [name for name in ("offset", "at", "cursor") if name in query]
    if len(said) > 1:
        raise bad(f"{' and '.join(said)}: give one of them")
    spans = {one: log.span(topic.name, one, tenant=topic.tenant) for one in partitions}
    if "cursor" in query:
        if "partitions" not in query:
            found = read_cursor(query["cursor"], "cursor", topic, tuple(range(topic.partitions)))
            return {**found, **{one: spans[one].first for one in partitions if one not in found}}
        found = read_cursor(query["cursor"], "cursor", topic, partitions)
        return {one: found.get(one, spans[one].first) for one in partitions}
    if "at" in query:
        at = asking.moment(query["at"], "at")
        return {one: await log.at(topic.name, one, at, tenant=topic.tenant) for one in partitions}
    return {one: place_of(query.get("offset", usual), spans[one]) for one in partitions}


def place_of(text: str, span: Any) -> int:  # noqa: ANN401  a Span
    """Give the offset that a word or a number means in a partition; raise ``Problem`` 400 or ``OutOfRange``.

    A negative number that reaches beyond the first record means that one.
    """
    if text in FIRST:
        return int(span.first)
    if text in LATEST:
        return int(span.next)
    if text in LAST:
        return int(max(span.first, span.next - 1))
    if not _OFFSET.fullmatch(text):
        raise bad("offset: expected first, last, latest, or a number")
    number = int(text)
    if number < 0:
        return int(max(span.first, span.next + number))
    if not span.first <= number <= span.next:
        raise OutOfRange(number, span.first, span.next)
    return number


def absent(offset: int, span: Any) -> Problem:  # noqa: ANN401  a Span
    """Give the problem of a record that is not there: not yet, or not any more."""
    if offset >= span.next:
        return Problem(404, "Not Found", f"there is no record {offset} yet; next is {span.next}", next=span.next)
    return Problem(
        410, "Gone", f"the record {offset} is not kept any more; the first is {span.first}", first=span.first
    )
