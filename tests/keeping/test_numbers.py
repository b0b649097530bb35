"""What the metrics and the health of a broker say of its log, and what the page says of the rules."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_type_hints

import attrs
from prometheus_client.parser import text_string_to_metric_families
from twisted.web.test.requesthelper import DummyRequest

from brokerkit import metrics
from brokerkit.keep import Keep
from brokerkit.testing import MemoryBroker

PAGE = Path(__file__).parents[2] / "docs" / "kept-topics.md"
TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


def _page(memory: MemoryBroker, name: bytes) -> tuple[Any, bytes]:
    request = DummyRequest([name])
    return request, metrics.pages(memory.broker).getChildWithDefault(name, request).render(request)


def _values(memory: MemoryBroker) -> dict[str, float]:
    text = _page(memory, b"metrics")[1].decode()
    return {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("brokerkit_log_")
    }


def test_numbers() -> None:
    """Messages, bytes, topics and what is missing are counted."""
    memory = MemoryBroker(keep=[{"topics": "a.*", "partitions": 2, "max_topics": 1}])
    ann = memory.client("nats")
    for topic in (b"a.1", b"a.1", b"a.2", b"b"):
        ann.publish(topic, b"x" * 100)
    memory.advance(1)
    values = _values(memory)
    assert values["brokerkit_log_taken_messages_total"] == values["brokerkit_log_records_total"] == 2
    assert values["brokerkit_log_taken_bytes_total"] >= 200
    assert values["brokerkit_log_missed_messages_totaltopics"] == 1
    assert values["brokerkit_log_topics"] == 1
    assert values["brokerkit_log_partitions"] == 2
    assert values["brokerkit_log_size_bytes"] > 200
    assert values["brokerkit_log_pending_bytes"] == 0
    assert values["brokerkit_log_writable"] == 1
    assert values["brokerkit_log_commits_total"] > 0


def test_nothing_is_kept() -> None:
    """Without a log every number is there, and nought, and the page of health has nothing of it."""
    memory = MemoryBroker()
    assert set(_values(memory).values()) == {0}
    assert not memory.broker.has_log
    assert "log" not in json.loads(_page(memory, b"healthz")[1])


def test_health() -> None:
    """A log that cannot be written to is seen from outside."""
    memory = MemoryBroker(keep=[{"topics": "a"}])
    request, body = _page(memory, b"healthz")
    assert json.loads(body)["log"] == {"writable": True}
    memory.broker.log.writing.is_writable = False
    request, body = _page(memory, b"healthz")
    assert (request.responseCode, json.loads(body)["ok"], json.loads(body)["log"]["writable"]) == (503, False, False)


def test_the_page_lists_the_keys_of_a_rule() -> None:
    """Names, types, defaults and order are those of the class."""
    section = PAGE.read_text().split("## `[[keep]]`")[1].split("\n##")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE)
    fields, types = attrs.fields(Keep), get_type_hints(Keep)
    assert [key for key, _, _ in rows] == [field.name for field in fields]
    for (key, kind, default), field in zip(rows, fields, strict=True):
        if key in {"topics", "stream"}:  # what they are without a word is said in words
            continue
        assert kind == TYPES[types[key]], key
        shown = json.dumps(field.default)
        assert default.strip("`") == shown, key
