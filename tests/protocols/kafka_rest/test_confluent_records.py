"""Records in the JSON of Confluent's API: what is read, what is refused, and that nothing is lost on the way back."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.log.words import Record, Stored
from brokerkit.protocols.kafka_rest.confluent_records import read_records, shown_record
from brokerkit.web import Problem

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False, allow_infinity=False)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
HEADERS = st.lists(st.tuples(TEXT, st.none() | st.binary()), max_size=3)


def stored(record: Record) -> Stored:
    """Give a record as it comes back."""
    return Stored(7, 1_800_000_000_000, "create", record.key, record.value, record.headers, b"ann", 1)


def shown(record: Record, embedded: str) -> dict[str, Any]:
    """Give a record as a reader sees it."""
    found: dict[str, Any] = json.loads(shown_record("logs", 3, stored(record), embedded))
    return found


@given(st.none() | st.binary(), st.none() | st.binary(), HEADERS)
def test_bytes_come_back(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]) -> None:
    """In the format binary every byte comes back, null stays apart from nothing, and headers stay in order."""
    body = {
        "key": None if key is None else b64encode(key).decode(),
        "value": None if value is None else b64encode(value).decode(),
        "headers": [{"key": name, "value": None if one is None else b64encode(one).decode()} for name, one in headers],
    }
    ((record, partition),) = read_records({"records": [body]}, "binary", one_partition=False)
    expected = tuple((name.encode(), one) for name, one in headers)
    assert (record.key, record.value, record.headers, partition) == (key, value, expected, None)
    back = shown(record, "binary")
    assert (back["key"], back["value"], back.get("headers", [])) == (body["key"], body["value"], body["headers"])
    assert (back["topic"], back["partition"], back["offset"]) == ("logs", 3, 7)


@given(ANY_JSON, ANY_JSON)
def test_json_comes_back(key: object, value: object) -> None:
    """In the format JSON every value comes back as it was."""
    ((record, _),) = read_records({"records": [{"key": key, "value": value}]}, "json", one_partition=False)
    back = shown(record, "json")
    assert (back["key"], back["value"]) == (key, value)


@given(st.binary())
def test_what_is_no_json_is_shown_all_the_same(value: bytes) -> None:
    """A reader of JSON gets anything that was published, with a word on how it is written."""
    back = shown(Record(value), "json")
    encoding = back.get("value_encoding")
    if encoding == "base64":
        assert back["value"] == b64encode(value).decode()
    elif encoding == "text":
        assert back["value"] == value.decode()
    else:
        assert back["value"] == json.loads(value)


@pytest.mark.parametrize(
    "text", ["1.10", "12345678901234567890.123456789", "1e400", '{"a": 1, "a": 2}', "[" * 100_000, "NaN", "\n1\n", ""]
)
def test_numbers_lose_no_digit(text: str) -> None:
    """JSON stands in the answer letter by letter; what only looks like JSON is a string."""
    line = shown_record("logs", 0, stored(Record(text.encode())), "json")
    assert f'"value":{text},"partition"' in line or f'"value":{json.dumps(text)},"value_encoding":"text"' in line


def test_a_gap_says_how_much_is_missing() -> None:
    """Where messages could not be kept, the record in their place says how many."""
    gap = Stored(7, 0, "append", None, None, (), b"", 1, missing=12)
    assert json.loads(shown_record("logs", 0, gap, "json"))["missing"] == 12


@pytest.mark.parametrize(
    "body",
    [
        *(None, 5, [], "x", {}, {"records": None}, {"records": {}}, {"records": []}, {"records": [5]}),
        *({"records": [{"value": 5}]}, {"records": [{"value": "!"}]}, {"records": [{"key": {}, "value": ""}]}),
        *({"records": [{"partition": -1}]}, {"records": [{"partition": "1"}]}, {"records": [{"partition": True}]}),
        *({"records": [{"partition": 1 << 40}]}, {"records": [{"timestamp": -1}]}, {"records": [{"timestamp": 1.5}]}),
        *({"records": [{"headers": {}}]}, {"records": [{"headers": [{}]}]}, {"records": [{"headers": ["x"]}]}),
        *({"records": [{"headers": [{"key": "\ud800"}]}]}, {"records": [{"headers": [{"key": "a", "value": 5}]}]}),
        {"value_schema": '"int"', "records": [{"value": ""}]},
        {"records": [{}] * 100_001},
    ],
)
def test_bodies_that_are_no_records(body: object) -> None:
    """They are refused with 422, and a word on what is wrong."""
    with pytest.raises(Problem) as refused:
        read_records(body, "binary", one_partition=False)
    assert (refused.value.status, bool(refused.value.title)) == (422, True)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, float("inf")])
def test_json_that_cannot_be_kept(value: object) -> None:
    """Half of a surrogate pair and a number beyond all numbers are refused: they have no bytes."""
    with pytest.raises(Problem) as refused:
        read_records({"records": [{"value": value}]}, "json", one_partition=False)
    assert refused.value.status == 422


def test_the_partition_is_named_once() -> None:
    """Where the path names the partition, a record may not name another, or the same."""
    body = {"records": [{"value": "", "partition": 0}]}
    assert read_records(body, "binary", one_partition=False)[0][1] == 0
    with pytest.raises(Problem) as refused:
        read_records(body, "binary", one_partition=True)
    assert refused.value.status == 422
