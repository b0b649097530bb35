"""Records as they are produced by the modern API: JSON, lines of JSON, or the bytes of a single value.

A record is an object: ``value`` (a string, or any JSON, or null), ``key``, ``headers``, ``timestamp`` (ms since 1970),
``partition``; and ``topic`` where the path names none.  ``value_encoding``, ``key_encoding`` and a header's
``value_encoding`` say ``text`` (the default for a string), ``base64`` or ``json`` (the default for everything else).
So what was read can be produced as it is; members that only say where a record was read are left aside.
"""

from __future__ import annotations

import binascii
import json
import secrets
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from brokerkit.log.words import Record
from brokerkit.protocols.kafka_rest import v1_asked as asking
from brokerkit.protocols.kafka_rest.v1_asked import LARGEST, PARTITIONS, as_bytes, bad, content_type
from brokerkit.web import Problem, read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from brokerkit.log.words import Headers
    from brokerkit.web import Asked

JSON_KINDS = {"application/json", "text/json"}
LINES_KINDS = {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
MOST = 100_000  # records in one request
MOST_HEADERS = 1000  # of one record
_KNOWN = {"topic", "partition", "key", "key_encoding", "value", "value_encoding", "headers", "timestamp"}
_LEFT_ASIDE = {
    *("offset", "sequence", "timestamp_type", "sender", "sender_encoding", "reply", "reply_encoding", "missing"),
}
_ALL = _KNOWN | _LEFT_ASIDE


def is_raw(asked: Asked) -> bool:
    """Say whether the body is the value of one record: it is neither JSON nor lines of it."""
    kind = content_type(asked)
    return kind not in JSON_KINDS and kind not in LINES_KINDS


def read_batch(asked: Asked, body: bytes) -> tuple[list[Any], dict[str, Any]]:
    """Give the records as JSON, and what stands beside them in an object; raise ``Problem`` 400 or 413.

    A line that is no JSON is the ``Problem`` that it is, in its place.
    """
    if content_type(asked) in LINES_KINDS:
        return _lines(body), {}
    given = read_json(body)
    beside: dict[str, Any] = {}
    if isinstance(given, dict):
        beside = {name: value for name, value in given.items() if name != "records"}
        given = given.get("records")
    if not isinstance(given, list):
        raise Problem(400, "Not a list", 'expected {"records": [...]}, or a list of records')
    return _see_number(given), beside


def _see_number(records: list[Any]) -> list[Any]:
    if not records:
        raise Problem(400, "No records", "records: expected one or more")
    if len(records) > MOST:
        raise Problem(413, "Content Too Large", f"records: found {len(records)}, expected at most {MOST}")
    return records


def _lines(body: bytes) -> list[Any]:
    if body.count(b"\n") > 2 * MOST:
        raise Problem(413, "Content Too Large", f"expected at most {MOST} lines")
    if (found := _all_lines(body.removesuffix(b"\n"))) is not None:
        return _see_number(found)
    lines = [line for line in body.split(b"\n") if line and not line.isspace()]
    return [_line(line) for line in _see_number(lines)]


_MARK = secrets.token_urlsafe(9)
_MARKED = f',\n"{_MARK}",\n'.encode()
_BEGINNING = 6  # bytes of a line that are compared: more of them are faster to find


def _all_lines(body: bytes) -> list[Any] | None:
    """Read lines all at once, which is much faster; give nothing if one of them is no JSON, or empty.

    No record may come of two lines, and no line hold two.  Where each begins an object and there is no array, a line
    cannot go on in the next one.  Else a word stands between them that nobody can know who wants it to look so.
    """
    begin = body[:_BEGINNING]
    text = body.replace(b"\n" + begin, b", " + begin)  # which is a byte longer for each line
    count = len(text) - len(body)
    is_plain = begin.startswith(b"{") and b"\n" not in text and b"[" not in body
    if not is_plain:
        text, count = body.replace(b"\n", _MARKED), body.count(b"\n")
    try:
        found: list[Any] = json.loads(f"[{text.decode()}]", parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if is_plain:
        return found if len(found) == count + 1 else None
    marks = found[1::2]
    return found[::2] if len(marks) == count == marks.count(_MARK) else None


def _line(line: bytes) -> Any:  # noqa: ANN401  any JSON
    try:
        return read_json(line)
    except Problem as problem:
        return problem


def _refuse(word: str) -> None:
    raise ValueError(word)


def read_records(given: Iterable[Any], sender: bytes) -> list[tuple[Record, int | None, str] | Problem]:
    """Give each record, with the partition and the topic that it names; or what is wrong with it."""
    found: list[tuple[Record, int | None, str] | Problem] = []
    for one in given:
        if type(one) is dict and len(one) == 1:
            value = one.get("value")
            if type(value) is str and value.isascii():  # the commonest, and no more work than this
                found.append((Record(value.encode(), None, (), None, sender), None, ""))
                continue
        found.append(_read_or_problem(one, sender))
    return found


def _read_or_problem(one: Any, sender: bytes) -> tuple[Record, int | None, str] | Problem:  # noqa: ANN401  any JSON
    if isinstance(one, Problem):
        return one
    try:
        return read_record(one, sender)
    except Problem as problem:
        return problem


def read_record(given: Any, sender: bytes) -> tuple[Record, int | None, str]:  # noqa: ANN401  any JSON
    """Give a record, with the partition and the topic that it names; raise ``Problem`` 400."""
    one = asking.an_object(given, "a record")
    if not one.keys() <= _ALL:
        asking.only(one, "a record", *sorted(_KNOWN))
    if one.get("missing"):
        raise bad("missing: this stands for messages that could not be kept, and is none itself")
    partition = one.get("partition")
    if partition is not None:
        partition = asking.whole_of(one, "partition", None, 0, PARTITIONS)
    timestamp = one.get("timestamp")
    if timestamp is not None:
        timestamp = asking.whole_of(one, "timestamp", None, 0, LARGEST)
    record = Record(
        data_of(one, "value"),
        data_of(one, "key"),
        headers_of(one.get("headers")),
        timestamp,
        sender,
    )
    return record, partition, asking.text_of(one, "topic")


def data_of(one: dict[str, Any], name: str) -> bytes | None:
    """Give the bytes of a member, by its encoding; raise ``Problem`` 400."""
    value, encoding = one.get(name), one.get(f"{name}_encoding")
    if encoding is None:
        if value is None:
            return None
        encoding = "text" if isinstance(value, str) else "json"
    if encoding == "json":
        return as_bytes(json.dumps(value, ensure_ascii=False, separators=(",", ":")), name)
    if encoding not in {"text", "base64"}:
        raise bad(f"{name}_encoding: expected text, base64 or json")
    if value is None:
        return None
    if not isinstance(value, str):
        raise bad(f"{name}: expected a string, since {name}_encoding is {encoding}")
    return as_bytes(value, name) if encoding == "text" else unbase64(value, name)


def unbase64(text: str, name: str) -> bytes:
    """Give the bytes of some base64; raise ``Problem`` 400."""
    try:
        return b64decode(text.encode("ascii", "replace"), validate=True)
    except (binascii.Error, ValueError):
        raise bad(f"{name}: is no base64") from None


def headers_of(given: Any) -> Headers:  # noqa: ANN401  any JSON
    """Give headers: a list of ``{"name", "value"}``, or an object; raise ``Problem`` 400."""
    if given is None:
        return ()
    if isinstance(given, dict):
        given = [{"name": name, "value": value} for name, value in given.items()]
    if not isinstance(given, list) or len(given) > MOST_HEADERS:
        raise bad(f'headers: expected a list of at most {MOST_HEADERS} objects {{"name": ..., "value": ...}}')
    return tuple(_header(one) for one in given)


def _header(given: Any) -> tuple[bytes, bytes | None]:  # noqa: ANN401  any JSON
    header = asking.only(
        asking.an_object(given, "a header"), "a header", "name", "name_encoding", "value", "value_encoding"
    )
    name = data_of(header, "name")
    if not isinstance(header.get("name"), str) or name is None:
        raise bad("headers: expected a name, which is a string")
    return name, data_of(header, "value")


def read_raw(asked: Asked, body: bytes, sender: bytes) -> tuple[Record, int | None]:
    """Give the record whose value is the body; the rest of it stands in the query and in ``X-Message-Headers``.

    Raises ``Problem`` 400.
    """
    if not asked.raw_query and b"x-message-headers" not in asked.headers:
        return Record(body, None, (), None, sender), None
    query = asked.query
    key: bytes | None = None
    if "key" in query and "key_base64" in query:
        raise bad("key and key_base64: give one of them")
    if "key" in query:
        key = query["key"].encode()
    elif "key_base64" in query:
        key = unbase64(query["key_base64"], "key_base64")
    partition = asking.whole(asked, "partition", 0, 0, PARTITIONS) if "partition" in query else None
    timestamp = asking.moment(query["timestamp"], "timestamp") if "timestamp" in query else None
    text = asked.header("x-message-headers")
    headers = headers_of(read_json(text)) if text else ()
    value = None if asking.switch(asked, "null") else body
    if value is None and body:
        raise bad("null: there is a body")
    return Record(value, key, headers, timestamp, sender), partition


def problems_of(found: Sequence[object]) -> list[Problem]:
    """Give those that are problems."""
    return [one for one in found if isinstance(one, Problem)]
