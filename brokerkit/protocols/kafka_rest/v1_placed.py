"""What is answered to who has produced: where each record is, in its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from brokerkit.log.bulk import Places
from brokerkit.web import Answer, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.log.words import Placed, Write

MULTI = 207


def placed_one(placed: Placed, topic: str) -> Answer:
    """Answer for one record."""
    where = f"/v1/topics/{quote(topic, safe='')}/partitions/{placed.partition}/records/{placed.offset}"
    return Answer(201, f"{{{_spelled(placed)}}}\n".encode(), {"location": where})


def placed_bulk(placed: Sequence[Placed]) -> Answer:
    """Answer for records all of which were kept."""
    if type(placed) is not Places:
        return placed_all(placed, placed)
    before, offsets = f'{{"partition":{placed.partition},"offset":', map(str, placed.offsets)
    behind, times = f',"ack":"{placed.ack}"}}', placed.timestamps
    if isinstance(times, int):
        behind = f',"timestamp":{times}{behind}'
        texts = f"{behind},{before}".join(offsets)
    else:
        moments = [f'{offset},"timestamp":{time}' for offset, time in zip(offsets, times, strict=True)]
        texts = f"{behind},{before}".join(moments)
    return Answer(200, f'{{"results":[{before}{texts}{behind}],"kept":{len(placed)},"failed":0}}\n'.encode())


def placed_all(
    results: Sequence[Write | Placed | Problem], placed: Sequence[Placed], topics: Sequence[str] | None = None
) -> Answer:
    """Answer for a batch: what is no ``Problem`` in it was kept, at the next of the places; ``topics`` are theirs."""
    texts, following, names = [], iter(placed), iter(topics or ())
    failed = 0
    for one in results:
        if isinstance(one, Problem):
            failed += 1
            texts.append(json.dumps({"error": {"status": one.status, "title": one.title, "detail": one.detail}}))
            continue
        named = f'"topic":{json.dumps(next(names))},' if topics else ""
        texts.append(f"{{{named}{_spelled(next(following))}}}")
    body = f'{{"results":[{",".join(texts)}],"kept":{len(results) - failed},"failed":{failed}}}\n'
    return Answer(MULTI if failed else 200, body.encode())


def _spelled(placed: Placed) -> str:
    _, partition, offset, timestamp, duplicate, ack = placed
    more = ',"duplicate":true' if duplicate else ""
    return f'"partition":{partition},"offset":{offset},"timestamp":{timestamp},"ack":"{ack}"{more}'
