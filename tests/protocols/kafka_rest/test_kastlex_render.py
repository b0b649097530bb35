"""Records as KastleX' JSON: whatever is in them, what is written says the same."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from brokerkit.log.codec import Batch, Piece, encode, pack_headers
from brokerkit.log.words import Stored
from brokerkit.protocols.kafka_rest.kastlex_render import in_full, render

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(str.encode)
PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=127), max_size=12).map(str.encode)
BYTES = (
    PLAIN | TEXTS | st.binary(max_size=8) | st.sampled_from([b"\x7f", b'"\\', b"\x1f", b"\n", b"\x00", b"</script>"])
)
HEADERS = st.lists(st.tuples(BYTES, st.none() | BYTES), max_size=2).map(tuple)
RECORDS = st.tuples(st.none() | BYTES, st.none() | BYTES, HEADERS, st.integers(0, 1 << 50))
USUAL = st.tuples(PLAIN, st.none() | TEXTS, st.just(()), st.integers(0, 1 << 50))


def _batch(records: list[tuple[Any, ...]], base: int = 5) -> Batch:
    values, keys, headers, times = (list(column) for column in zip(*records, strict=True))
    packed = [pack_headers(one) if one else b"" for one in headers]
    piece = Piece(values, keys, packed, b"ann", b"", times, 0, 1)
    piece.sequences = 1
    return Batch(encode(1, base, [piece], 1, 1))


def _read(found: dict[str, Any], name: str) -> bytes | None:
    text = found[name]
    if text is None:
        return None
    return b64decode(text) if found.get(f"{name}_encoding") == "base64" else text.encode()


@given(st.lists(USUAL, min_size=1, max_size=6) | st.lists(RECORDS, min_size=1, max_size=6))
def test_what_is_written_says_the_same(records: list[tuple[Any, ...]]) -> None:
    """Values, keys, headers and times are read back as they were, in order, by any of the ways to write them."""
    text = render(_batch(records))
    assert text.isascii()
    found = json.loads(b"[%b]" % text)
    assert [one["offset"] for one in found] == list(range(5, 5 + len(records)))
    for (value, key, headers, time), one in zip(records, found, strict=True):
        assert (_read(one, "value"), _read(one, "key"), one["ts"], one["ts_type"]) == (value, key, time, "create")
        if "header_list" in one:
            assert tuple((_read(x, "name"), _read(x, "value")) for x in one["header_list"]) == headers
        else:
            shown = {name.encode(): None if text is None else text.encode() for name, text in one["headers"].items()}
            assert shown == dict(headers)
            assert len(shown) == len(headers)


@given(st.lists(USUAL, min_size=1, max_size=6))
def test_both_ways_agree(records: list[tuple[Any, ...]]) -> None:
    """The quick way writes what the thorough one does."""
    batch = _batch(records)
    assert json.loads(b"[%b]" % render(batch)) == [json.loads(in_full(one)) for one in batch.records()]


def test_a_gap() -> None:
    """A record that stands for others says for how many."""
    record = Stored(3, 9, "append", None, None, (), b"", 1, b"", 17)
    assert json.loads(in_full(record)) == {
        "value": None,
        "key": None,
        "offset": 3,
        "ts_type": "append",
        "ts": 9,
        "headers": {},
        "missing": 17,
    }
