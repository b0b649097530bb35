"""A batch that is read column by column means what it means record by record; lines are records, one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerkit.log.words import Record
from brokerkit.protocols.kafka_rest.v1_bulk import read_bulk
from brokerkit.protocols.kafka_rest.v1_given import read_records
from tests.protocols.kafka_rest.v1_world import LINES, World

_values = st.one_of(st.text(), st.none(), st.integers(), st.just("\ud800"), st.just({"a": 1}))
_records = st.fixed_dictionaries(
    {"value": _values},
    optional={"key": st.one_of(st.text(), st.none()), "timestamp": st.one_of(st.integers(), st.booleans())},
)
ODD = [
    [],
    [1],
    [{}],
    [{"value": "a"}, {"key": "a"}],
    [{"value": "a"}, {"value": "a", "key": "k"}],
    [{"value": "a", "headers": {}}],
    [{"value": "a", "value_encoding": "base64"}],
    [{"value": "a", "timestamp": True}],
    [{"value": "a", "timestamp": 1.0}],
    [{"value": "a", "timestamp": 2**62}],
    [{"value": "a", "partition": 0}],
    [{"value": "x" * 11}],
    [{"value": "x" * 6, "key": "y" * 6}],
    [{"value": "\udfff"}],
    [{"value": None}],
]


@given(st.lists(_records, min_size=1, max_size=5))
def test_as_record_by_record(given: list[Any]) -> None:
    """What is read in columns is what is read one by one."""
    bulk = read_bulk(given, "", b"t", b"ann", 1000)
    if bulk is not None:
        assert [(write.record, None, "") for write in bulk] == read_records(given, b"ann")


@pytest.mark.parametrize("given", ODD)
def test_left_to_others(given: list[Any]) -> None:
    """What is not plain, or too large, or wrong, is not read here."""
    assert read_bulk(given, "", b"t", b"ann", 10) is None


def test_plain() -> None:
    """Values, keys and times that all records have are."""
    given = [{"value": "ä", "key": "k", "timestamp": 5}, {"timestamp": 6, "key": "", "value": ""}]
    bulk = read_bulk(given, "", b"t", b"ann", 10)
    assert bulk is not None
    assert [write.record for write in bulk] == [
        Record("ä".encode(), b"k", (), 5, b"ann"),
        Record(b"", b"", (), 6, b"ann"),
    ]


def test_answered_alike() -> None:
    """The answer is the same, byte for byte, whichever way a batch is read."""
    records = [{"value": str(i), "timestamp": 5 + i % 2} for i in range(4)]
    for plain in (records, [{"value": one["value"]} for one in records]):
        fast, slow = World(), World()
        a = fast.post("/v1/topics/a/records", {"records": plain})
        b = slow.post("/v1/topics/a/records", {"records": [{**one, "headers": []} for one in plain]})
        assert (a.status, a.body) == (b.status, b.body)
        assert json.loads(a.body)["kept"] == len(records)


BAD_LINES = [
    [b'{"value":"1"', b'"value":"2"}', b'{"value":"3"},{"value":"4"}'],
    [b'{"value":[{}', b'{}],"value":"2"}', b'{"value":"3"},{"value":"4"}'],
    [b'{"value":[[{}', b'{}]],"value":"2"}', b'{"value":"3"}],[{"value":"4"}'],
    [b'{"value":"\xff"}'],
    [b'{"value":NaN}'],
    [b"[" * 5000 + b"]" * 5000],
    [b"nothing"],
]


@pytest.mark.parametrize("lines", BAD_LINES)
def test_a_line_is_a_record(lines: list[bytes]) -> None:
    """No record is made of two lines, and no line is two records: each that is no JSON is refused in its place."""
    world = World()
    body = b"\n".join([b'{"value":"first"}', *lines, b'{"value":"last"}']) + b"\n"
    answer = world.post("/v1/topics/a/records", body, content_type=LINES)
    assert answer.status == 207
    assert ["error" in one for one in answer.json["results"]] == [False, *[True] * len(lines), False]
    assert world.values("/v1/topics/a/records") == ["first", "last"]


def test_lines_of_all_kinds() -> None:
    """Empty lines count for nothing; arrays in records, blanks and ends of another kind are no matter."""
    world = World()
    body = b'\r\n{"value":["a"]}\r\n\n \t\n{ "value": {"b": "[\\n"} }\n{"value":"c"}'
    assert world.post("/v1/topics/a/records", body, content_type=LINES).json["kept"] == 3
    assert world.values("/v1/topics/a/records") == ['["a"]', '{"b":"[\\n"}', "c"]
