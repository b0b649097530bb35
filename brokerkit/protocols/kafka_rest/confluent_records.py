"""Records as they stand in the JSON of Confluent's API, read and shown.

In the format ``binary`` a key or a value is base64, in ``json`` any JSON, which is kept as its shortest text.  ``null``
is no value at all.  What Confluent's second version lacks, and others of the field have, is taken and shown as
Strimzi's bridge does: ``headers``, a list of ``{"key": NAME, "value": base64}``, and ``timestamp`` in ms.

A topic may hold what is no JSON, since anything can be published to it.  In the format ``json`` that is shown as a
string, with ``value_encoding`` (or ``key_encoding``) beside it: ``text``, or ``base64`` for what is no UTF-8.  So no
message stops a reader.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, TypeVar

from brokerkit.log.words import Record
from brokerkit.protocols.kafka_rest.confluent_errors import refused
from brokerkit.protocols.kafka_rest.confluent_media import JSON

if TYPE_CHECKING:
    from brokerkit.log.words import Stored
    from brokerkit.protocols.kafka_rest.confluent_errors import Refused

MOST = 100_000  # records in one request
PARTITIONS = 1 << 31
OFFSETS = 1 << 63
_SCHEMAS = ("key_schema", "value_schema", "key_schema_id", "value_schema_id")

_T = TypeVar("_T")


def an_object(body: object, what: str = "the body") -> dict[str, Any]:
    """Give a JSON object; raise ``Problem`` 422."""
    return _kind(body, dict, f"{what} has to be a JSON object")


def a_list(body: dict[str, Any], name: str, most: int = MOST) -> list[Any]:
    """Give a list that is a member of an object; raise ``Problem`` 422."""
    found = _kind(body.get(name), list, f"{name} has to be a list")
    if len(found) > most:
        raise _bad(f"{name} has {len(found)} members, more than {most}")
    return found


def whole(value: object, name: str, most: int) -> int:
    """Give a whole number that is not negative; raise ``Problem`` 422."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 is a whole number, says JSON Schema
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < most:
        raise _bad(f"{name} has to be a whole number that is not negative")
    return value


def read_records(body: object, embedded: str, *, one_partition: bool) -> list[tuple[Record, int | None]]:
    """Give the records that are to be produced, each with the partition that it asks for; raise ``Problem`` 422.

    With ``one_partition`` the path names the partition, and a record may not.
    """
    whole_body = an_object(body)
    if any(whole_body.get(name) is not None for name in _SCHEMAS):
        raise _bad("there is no schema registry: produce without key_schema and value_schema")
    records = a_list(whole_body, "records")
    if not records:
        raise _bad("records may not be empty")
    return [_read(one, f"records[{i}]", embedded, one_partition=one_partition) for i, one in enumerate(records)]


def _read(one: object, where: str, embedded: str, *, one_partition: bool) -> tuple[Record, int | None]:
    record = an_object(one, where)
    partition = record.get("partition")
    if partition is not None:
        if one_partition:
            raise _bad(f"{where}.partition: the path names the partition already")
        partition = whole(partition, f"{where}.partition", PARTITIONS)
    timestamp = record.get("timestamp")
    return (
        Record(
            _bytes(record.get("value"), f"{where}.value", embedded),
            _bytes(record.get("key"), f"{where}.key", embedded),
            tuple(_header(each, f"{where}.headers") for each in _headers(record, where)),
            None if timestamp is None else whole(timestamp, f"{where}.timestamp", OFFSETS),
        ),
        partition,
    )


def _headers(record: dict[str, Any], where: str) -> list[Any]:
    return [] if record.get("headers") is None else _kind(record["headers"], list, f"{where}.headers has to be a list")


def _header(given: object, where: str) -> tuple[bytes, bytes | None]:
    header = an_object(given, where)
    name, value = header.get("key"), header.get("value")
    if not isinstance(name, str):
        raise _bad(f"{where}: a header has a key, which is a string")
    return _utf8(name, where), None if value is None else _base64(value, where)


def _bytes(value: object, where: str, embedded: str) -> bytes | None:
    if value is None:
        return None
    if embedded == JSON:
        return _utf8(_json(value, where), where)
    return _base64(value, where)


def _json(value: object, where: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise _bad(f"{where} has a number that is too large") from None


def _base64(value: object, where: str) -> bytes:
    if not isinstance(value, str):
        raise _bad(f"{where} has to be a string of base64")
    try:
        return b64decode(value.encode("ascii", "replace"), validate=True)
    except (binascii.Error, ValueError):
        raise _bad(f"{where} is no base64") from None


def _utf8(text: str, where: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _bad(f"{where} has half of a surrogate pair, which is no text") from None


def _kind(value: object, kind: type[_T], message: str) -> _T:
    if not isinstance(value, kind):
        raise _bad(message)
    return value


def _bad(message: str) -> Refused:
    return refused(422, message)


# -- showing ----------------------------------------------------------------------------------------------------------


def shown_record(topic: str, partition: int, record: Stored, embedded: str) -> str:
    """Give a record as JSON; values that are JSON stand in it as they were kept, so that no number loses a digit.

    Where ``missing`` stands in it, so many messages could not be kept.
    """
    members = [f'"topic":{json.dumps(topic)}']
    for name, data in (("key", record.key), ("value", record.value)):
        text, encoding = _shown(data, embedded)
        members.append(f'"{name}":{text}')
        if encoding:
            members.append(f'"{name}_encoding":"{encoding}"')
    members.append(f'"partition":{partition},"offset":{record.offset},"timestamp":{record.timestamp}')
    if record.headers:
        members.append(f'"headers":{json.dumps([_shown_header(*each) for each in record.headers])}')
    if record.missing:
        members.append(f'"missing":{record.missing}')
    return "{" + ",".join(members) + "}"


def _shown_header(name: bytes, value: bytes | None) -> dict[str, str | None]:
    return {"key": name.decode(errors="replace"), "value": None if value is None else b64encode(value).decode()}


def _shown(data: bytes | None, embedded: str) -> tuple[str, str]:
    """Give a key or a value as JSON, and its encoding where it is not the one that the format says."""
    if data is None:
        return "null", ""
    if embedded != JSON:
        return f'"{b64encode(data).decode()}"', ""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f'"{b64encode(data).decode()}"', "base64"
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return json.dumps(text), "text"
    return text, ""


def _refuse(word: str) -> None:
    raise ValueError(word)
