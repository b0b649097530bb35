"""What goes over the wire in Confluent's API, as JSON Schema, and its routes with that: for the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.web import Parameter, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PLAIN = "application/vnd.kafka.v2+json"
BINARY, JSON = "application/vnd.kafka.binary.v2+json", "application/vnd.kafka.json.v2+json"
ERRORS_FROM = 400

_WHOLE = {"type": "integer", "minimum": 0}
_PARTITION = {"type": "integer", "minimum": 0, "maximum": (1 << 31) - 1}
_OFFSET = {"type": "integer", "minimum": 0, "maximum": (1 << 62) - 1}
_NAME = {"type": "string", "minLength": 1, "maxLength": 249, "pattern": "^[^\\u0000-\\u001f]+$"}
_TEXT = {"type": "string"}
_BASE64 = {"type": ["string", "null"], "contentEncoding": "base64", "pattern": "^([A-Za-z0-9+/]{4})*$"}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:  # noqa: ANN401  a schema
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _list(of: Mapping[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": of, **({"minItems": least} if least else {})}


_ERROR = _object(("error_code", "message"), error_code={"type": "integer"}, message=_TEXT)
_REPLICA = _object(
    ("broker", "leader", "in_sync"), broker=_WHOLE, leader={"type": "boolean"}, in_sync={"type": "boolean"}
)
PARTITION = _object(("partition", "leader", "replicas"), partition=_PARTITION, leader=_WHOLE, replicas=_list(_REPLICA))
PARTITIONS = _list(PARTITION)
TOPICS = _list(_TEXT)
TOPIC = _object(("name", "configs", "partitions"), name=_TEXT, configs={"type": "object"}, partitions=PARTITIONS)
SPAN = _object(("beginning_offset", "end_offset"), beginning_offset=_OFFSET, end_offset=_OFFSET)
BROKERS = _object(("brokers",), brokers=_list(_WHOLE))
_PLACED = _object(
    ("partition", "offset"),
    partition={"type": ["integer", "null"]},
    offset={"type": ["integer", "null"]},
    error_code={"type": ["integer", "null"]},
    error={"type": ["string", "null"]},
)
PRODUCED = _object(("offsets",), offsets=_list(_PLACED))
CREATED = _object(("instance_id", "base_uri"), instance_id=_TEXT, base_uri=_TEXT)
SUBSCRIPTION = _object(("topics",), topics=_list(_TEXT))
_PLACE = _object(("topic", "partition"), topic=_TEXT, partition=_PARTITION)
PLACES = _object(("partitions",), partitions=_list(_PLACE))
OFFSETS = _object(
    ("offsets",),
    offsets=_list(
        _object(("topic", "partition", "offset"), topic=_TEXT, partition=_PARTITION, offset=_OFFSET, metadata=_TEXT)
    ),
)
COMMITTED = _list(_object(("topic", "partition"), topic=_TEXT, partition=_PARTITION, consumed=_WHOLE, committed=_WHOLE))


def _records(value: Mapping[str, Any]) -> dict[str, Any]:
    return _list(
        _object(
            ("topic", "partition", "offset", "key", "value"),
            topic=_TEXT,
            partition=_PARTITION,
            offset=_OFFSET,
            key=value,
            value=value,
            timestamp={"type": "integer"},
        )
    )


RECORDS = {BINARY: _records({"type": ["string", "null"]}), JSON: _records({})}


def _given(value: Mapping[str, Any], *, partition: bool) -> dict[str, Any]:
    header = _object(("key",), key=_TEXT, value=_BASE64)
    more: dict[str, Any] = (
        {"partition": {"type": ["integer", "null"], "minimum": 0, "maximum": (1 << 31) - 1}} if partition else {}
    )
    record = _object(
        key=value,
        value=value,
        timestamp={"type": ["integer", "null"], "minimum": 0, "maximum": (1 << 62) - 1},
        headers={"type": ["array", "null"], "items": header},
        **more,
    )
    return _object(("records",), records=_list(record, 1))


def records_sent(*, partition: bool) -> dict[str, Any]:
    """Give what is produced; with ``partition`` each record may name its own."""
    return {JSON: _given({}, partition=partition), BINARY: _given(_BASE64, partition=partition)}


_SENT_PLACE = _object(("topic", "partition"), topic=_NAME, partition=_PARTITION)
SENT_PLACES = _object(("partitions",), partitions=_list(_SENT_PLACE))
_SENT_OFFSET = _object(("topic", "partition", "offset"), topic=_NAME, partition=_PARTITION, offset=_OFFSET)
SENT_OFFSETS = _object(("offsets",), offsets=_list(_SENT_OFFSET))
SENT_COMMIT = _object(offsets={"type": ["array", "null"], "items": _SENT_OFFSET})
SENT_SUBSCRIPTION = {
    "oneOf": [
        _object(("topics",), topics=_list(_NAME, 1), topic_pattern={"type": "null"}),
        _object(
            ("topic_pattern",), topics={"type": "null"}, topic_pattern={**_NAME, "maxLength": 1024, "format": "regex"}
        ),
    ]
}
_SETTING: dict[str, Any] = {"type": ["integer", "null"], "minimum": -1, "maximum": (1 << 31) - 1}
_SETTINGS: dict[str, Any] = {
    "auto.offset.reset": {"enum": ["earliest", "latest", None]},
    "auto.commit.enable": {"enum": ["true", "false", True, False, None]},
    "fetch.min.bytes": _SETTING,
    "consumer.request.timeout.ms": _SETTING,
}
SENT_INSTANCE = _object(
    name={**_NAME, "type": ["string", "null"], "minLength": 0, "pattern": "^[^\\u0000-\\u001f]*$"},
    format={"enum": ["binary", "json", None]},
    **_SETTINGS,
)


def query_number(name: str, text: str, most: int = (1 << 62) - 1, *, required: bool = False) -> Parameter:
    """Give a parameter that is a whole number."""
    return Parameter(name, text, kind="integer", required=required, schema={"minimum": 0, "maximum": most})


def route(
    method: str,
    template: str,
    call: Callable[..., Any],
    summary: str,
    answers: Mapping[int, str],
    parameters: tuple[Parameter, ...] = (),
    *,
    body: str = "",
    sent: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
    needs_body: bool = False,
) -> Route:
    """Give a route with its errors in Confluent's shape; ``sent`` and ``given`` are schemas by media type."""
    every = {**_EVERYWHERE, **answers}
    named = [Parameter(name, text, "path", schema=_NAME) for name, text in _NAMES.items() if f"{{{name}}}" in template]
    replies = {status: {PLAIN: _ERROR} for status in every if status >= ERRORS_FROM}
    if given is not None:
        replies[200] = dict(given)
    return Route(
        method,
        template,
        call,
        f"{summary} (Confluent).",
        (*named, *parameters),
        every,
        body,
        request=sent or {},
        replies=replies,
        needs_body=needs_body,
    )


_NAMES = {"group": "The name of the consumer group.", "instance": "The name of the consumer instance."}
_EVERYWHERE = {
    400: "The request cannot be read.",
    401: "40101: nobody is let in by what was shown.",
    403: "40301: the user may not do that.",
    406: "Accept names nothing that can be given.",
    429: "The user asks for more than it may; Retry-After says when to try again.",
    503: "50003: it cannot be done now; Retry-After says when to try again.",
}
