"""What goes over the wire in the modern API, as JSON Schema, for the OpenAPI document.

Schemas that are used more than once stand in ``SCHEMAS`` and are named; what a route sends or takes is a mapping of
media type to schema.
"""

from __future__ import annotations

from typing import Any

JSON, LINES_KIND, BYTES = "application/json", "application/x-ndjson", "application/octet-stream"

RESULTS = "Where each record was put, in the order in which they were sent."
PLACED = "Where the record was put."

_WHOLE = {"type": "integer", "minimum": 0}
_PARTITION = {"type": "integer", "minimum": 0, "maximum": 1048576}
_OFFSET = {"type": "integer", "minimum": 0, "maximum": 4611686018427387903}
_NAME = {"type": "string", "minLength": 1, "maxLength": 1024}


def _object(required: tuple[str, ...] = (), *, closed: bool = False, **properties: Any) -> dict[str, Any]:  # noqa: ANN401  a schema
    found: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        found["required"] = list(required)
    if closed:
        found["additionalProperties"] = False
    return found


def _list(of: Any, least: int = 0, most: int = 0) -> dict[str, Any]:  # noqa: ANN401  a schema
    found: dict[str, Any] = {"type": "array", "items": of}
    if least:
        found["minItems"] = least
    if most:
        found["maxItems"] = most
    return found


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


_ENCODING = {"enum": ["text", "base64", "json"]}
_SHOWN: dict[str, Any] = {
    "partition": _PARTITION,
    "offset": _OFFSET,
    "timestamp": _WHOLE,
    "ack": {"enum": ["commit", "interval", "none"]},
    "duplicate": {"type": "boolean"},
}
_ERROR = _object(("status", "title"), status={"type": "integer"}, title={"type": "string"}, detail={"type": "string"})
_PLACE: dict[str, Any] = {"topic": {"type": "string"}, "partition": _PARTITION}
_SETTINGS = _object(
    closed=True,
    ack={"enum": ["commit", "interval", "none"]},
    retention_bytes=_OFFSET,
    retention_seconds={"type": "number", "minimum": 0, "maximum": 10**12},
    retention_messages=_OFFSET,
    compact={"type": "boolean"},
    timestamps={"enum": ["create", "append"]},
    partitioner={"enum": ["sender", "murmur2", "random"]},
    max_message_bytes={"type": "integer", "minimum": 1, "maximum": 64 * 1024 * 1024},
    tombstone_seconds={"type": "number", "minimum": 0, "maximum": 10**12},
)

SCHEMAS: dict[str, Any] = {
    "HeaderGiven": _object(
        ("name",),
        closed=True,
        name={"type": "string"},
        name_encoding={"enum": ["text", "base64"]},
        value={},
        value_encoding=_ENCODING,
    ),
    "RecordGiven": _object(
        closed=True,
        topic={"type": "string"},
        partition=_or_null(_PARTITION),
        key={},
        key_encoding=_ENCODING,
        value={},
        value_encoding=_ENCODING,
        headers=_or_null({"anyOf": [_list(_ref("HeaderGiven"), most=1000), {"type": "object"}]}),
        timestamp=_or_null(_OFFSET),
    ),
    "Record": _object(
        ("topic", "partition", "offset", "sequence", "timestamp", "timestamp_type", "value"),
        topic={"type": "string"},
        partition=_PARTITION,
        offset=_OFFSET,
        sequence=_WHOLE,
        timestamp={"type": "integer"},
        timestamp_type={"enum": ["create", "append"]},
        key={"type": "string"},
        key_encoding={"enum": ["base64"]},
        value={},
        value_encoding={"enum": ["base64", "json"]},
        headers=_list(
            _object(
                ("name", "value"),
                name={"type": "string"},
                name_encoding={"enum": ["base64"]},
                value={"type": ["string", "null"]},
                value_encoding={"enum": ["base64"]},
            )
        ),
        sender={"type": "string"},
        sender_encoding={"enum": ["base64"]},
        reply={"type": "string"},
        reply_encoding={"enum": ["base64"]},
        missing=_WHOLE,
    ),
    "Placed": _object(("partition", "offset", "timestamp", "ack"), **_SHOWN),
    "Results": _object(
        ("results", "kept", "failed"),
        results=_list(
            {
                "anyOf": [
                    _object(("partition", "offset", "timestamp", "ack"), topic={"type": "string"}, **_SHOWN),
                    _object(("error",), error=_ERROR),
                ]
            }
        ),
        kept=_WHOLE,
        failed=_WHOLE,
    ),
    "Page": _object(
        ("records", "cursor", "next", "more", "partitions"),
        records=_list(_ref("Record")),
        cursor={"type": "string"},
        next={"type": "string"},
        more={"type": "boolean"},
        partitions=_list(
            _object(
                ("partition", "first", "next", "position"),
                partition=_PARTITION,
                first=_OFFSET,
                next=_OFFSET,
                position=_OFFSET,
            )
        ),
    ),
    "Topic": _object(
        ("topic", "stream", "partitions", "settings", "spans"),
        topic={"type": "string"},
        stream={"type": "string"},
        partitions={"type": "integer", "minimum": 1},
        messages=_WHOLE,
        bytes=_WHOLE,
        settings={"type": "object"},
        spans=_list(
            _object(("partition", "first", "next"), partition=_PARTITION, first=_OFFSET, next=_OFFSET, bytes=_WHOLE)
        ),
    ),
    "Member": _object(
        ("group", "member", "generation", "expires", "assigned", "awaited"),
        group={"type": "string"},
        member={"type": "string"},
        generation=_WHOLE,
        expires=_WHOLE,
        session_timeout={"type": "number"},
        topics=_list({"type": "string"}),
        patterns=_list({"type": "string"}),
        start={"enum": ["first", "last"]},
        client_id={"type": "string"},
        client_host={"type": "string"},
        assigned=_list(_object(("topic", "partition"), **_PLACE)),
        awaited=_list(_object(("topic", "partition"), **_PLACE)),
    ),
    "Share": _object(
        ("topic", "partition", "offset", "first", "next", "lag"),
        **_PLACE,
        offset=_or_null(_OFFSET),
        metadata={"type": "string"},
        committed=_or_null(_WHOLE),
        first=_OFFSET,
        next=_OFFSET,
        lag=_or_null(_WHOLE),
        member={"type": ["string", "null"]},
    ),
    "Group": _object(
        ("group", "owner", "state", "generation", "lag", "members", "offsets"),
        group={"type": "string"},
        owner={"type": "string"},
        state={"enum": ["empty", "stable", "moving"]},
        generation=_WHOLE,
        lag=_WHOLE,
        members=_list(_ref("Member")),
        offsets=_list(_ref("Share")),
    ),
    "OffsetGiven": _object(
        ("topic", "partition", "offset"),
        closed=True,
        topic=_NAME,
        partition=_PARTITION,
        offset=_OFFSET,
        metadata={"type": "string", "maxLength": 4096},
    ),
    "CommitGiven": _object(
        ("offsets",),
        closed=True,
        group={"type": "string"},
        member={"type": "string"},
        generation=_or_null(_OFFSET),
        offsets=_list(_ref("OffsetGiven"), 1, 10_000),
    ),
}

_RECORDS = _list(_ref("RecordGiven"), 1, 100_000)
BATCH = {
    JSON: {"anyOf": [_object(("records",), closed=True, records=_RECORDS, atomic={"type": "boolean"}), _RECORDS]},
    LINES_KIND: {"type": "string", "description": "One record in each line, as in a batch."},
    BYTES: {"type": "string", "format": "binary", "description": "The value of one record."},
}
RECORDS_ALL = {
    JSON: _object(
        ("records",),
        closed=True,
        records=_RECORDS,
        atomic={"type": "boolean"},
        commit=_or_null(_ref("CommitGiven")),
    ),
    LINES_KIND: {"type": "string", "description": "One record in each line, with its topic."},
}
PRODUCED: dict[int, dict[str, Any]] = {
    200: {JSON: _ref("Results")},
    201: {JSON: _ref("Placed")},
    207: {JSON: _ref("Results")},
}
PAGE = {JSON: _ref("Page")}
LINES = {
    LINES_KIND: {"type": "string", "description": "One record in each line; the header Cursor says where it ends."}
}
READ = {JSON: _ref("Record"), BYTES: {"type": "string", "format": "binary"}}
FOLLOWED = {
    "text/event-stream": {"type": "string", "description": "Events; the data of each is a record, its id a cursor."},
    LINES_KIND: {"type": "string", "description": "One record in each line; empty lines are signs of life."},
}

TOPICS = {
    JSON: _object(
        ("topics", "next"),
        topics=_list(
            _object(
                ("topic", "stream", "partitions"),
                topic={"type": "string"},
                messages=_WHOLE,
                bytes=_WHOLE,
                stream={"type": "string"},
                partitions={"type": "integer", "minimum": 1},
            )
        ),
        next={"type": ["string", "null"]},
    )
}
TOPIC = {JSON: _ref("Topic")}
_TOPIC_GIVEN: dict[str, Any] = {
    "stream": {"type": ["string", "null"]},
    "partitions": _or_null({"type": "integer", "minimum": 1, "maximum": 1024}),
    "settings": _or_null(_SETTINGS),
}
TOPIC_SENT = {JSON: _object(closed=True, **_TOPIC_GIVEN)}
TOPIC_NAMED = {JSON: _object(("topic",), closed=True, topic=_NAME, **_TOPIC_GIVEN)}

GROUPS = {JSON: _object(("groups",), groups=_list({"type": "string"}))}
GROUP = {JSON: _ref("Group")}
MEMBER = {JSON: _ref("Member")}
OFFSETS = {JSON: _object(("offsets",), offsets=_list(_ref("Share")))}
POLLED = {
    JSON: {
        "allOf": [
            _ref("Member"),
            _object(
                ("records", "number", "offsets", "skipped"),
                records=_list(_ref("Record")),
                number=_WHOLE,
                offsets=_list(_object(("topic", "partition", "offset"), **_PLACE, offset=_OFFSET)),
                skipped=_list({"type": "object"}),
            ),
        ]
    }
}
JOINING = {
    JSON: {
        **_object(
            closed=True,
            member={"type": "string", "maxLength": 249, "pattern": "^[^\\u0000-\\u001f]*$"},
            topics=_list({"type": "string", "minLength": 1}, most=1000),
            patterns=_list({"type": "string", "minLength": 1}, most=100),
            session_timeout={"type": "number", "minimum": 1, "maximum": 3600},
            start={"enum": ["first", "last"]},
            client_id={"type": "string"},
        ),
        "anyOf": [
            {"required": ["topics"], "properties": {"topics": {"minItems": 1}}},
            {"required": ["patterns"], "properties": {"patterns": {"minItems": 1}}},
        ],
    }
}
COMMITTING = {
    JSON: _object(
        ("offsets",),
        closed=True,
        member={"type": "string"},
        generation=_or_null(_OFFSET),
        offsets=_list(_ref("OffsetGiven"), 1, 10_000),
    )
}
SEEKING = {
    JSON: _object(
        ("offsets",),
        closed=True,
        offsets=_list(
            _object(
                ("topic", "partition", "offset"),
                closed=True,
                topic=_NAME,
                partition=_PARTITION,
                offset={"anyOf": [{"type": "integer"}, {"enum": ["first", "last", "latest"]}]},
            ),
            1,
            10_000,
        ),
    )
}
RESETTING = {
    JSON: _object(
        closed=True,
        to={"anyOf": [{"enum": ["first", "last"]}, _OFFSET]},
        at={"type": ["integer", "string"]},
        shift={"type": "integer"},
        topics=_list({"type": "string", "minLength": 1}, most=1000),
        partitions=_list(_PARTITION),
        force={"type": "boolean"},
        dry_run={"type": "boolean"},
    )
}
MOVED = {
    JSON: _object(
        ("offsets", "dry_run"),
        offsets=_list(
            _object(("topic", "partition", "from", "to"), **{**_PLACE, "from": _or_null(_OFFSET), "to": _OFFSET})
        ),
        dry_run={"type": "boolean"},
    )
}
HEALTH = {JSON: _object(("ok",), ok={"type": "boolean"})}
