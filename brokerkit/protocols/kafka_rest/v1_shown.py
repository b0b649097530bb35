"""Records as the modern API shows them: JSON that loses nothing, made with as little work for each as can be.

A key or a value that is UTF-8 is a string.  What is not is base64, and ``key_encoding`` or ``value_encoding`` says so;
null is no value.  Headers are a list, since a name may stand there twice.  What is shown can be produced again as it
is, and gives the same bytes.
"""

from __future__ import annotations

import json
from base64 import b64encode
from json.encoder import encode_basestring as _quoted
from typing import TYPE_CHECKING

from brokerkit.protocols.kafka_rest.kastlex_render import escaped, woven

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from brokerkit.log.codec import Batch
    from brokerkit.log.words import Stored

AUTO, BASE64, AS_JSON = "auto", "base64", "json"
ENCODINGS = (AUTO, BASE64, AS_JSON)
_BREAKS = str.maketrans("\r\n", "  ")


def shown_records(records: Iterable[Stored], topic: str, partition: int, encoding: str = AUTO) -> list[str]:
    """Give each record as JSON in one line; ``encoding`` says how values are written: one of ``ENCODINGS``."""
    begin = f'{{"topic":{_quoted(topic)},"partition":{partition},"offset":'
    spell = _SPELLINGS[encoding]
    found = []
    last, by = b"", ""  # whoever has sent the record before has mostly sent this one, too
    for offset, timestamp, kind, key, value, headers, sender, sequence, reply, missing in records:
        if value is None:
            written = "null"
        else:
            try:
                written = _quoted(value.decode()) if spell is None else spell(value)
            except UnicodeDecodeError:
                written = _base64_value(value)
        more = ""
        if key is not None:
            more = _member("key", key)
        if headers:
            more += f',"headers":{_headers(headers)}'
        if sender != last:
            last, by = sender, _member("sender", sender) if sender else ""
        if reply:
            more += _member("reply", reply)
        if missing:
            more += f',"missing":{missing}'
        found.append(
            f'{begin}{offset},"sequence":{sequence},"timestamp":{timestamp},"timestamp_type":"{kind}"{more}{by},"value":{written}}}'
        )
    return found


def _member(name: str, data: bytes) -> str:
    try:
        return f',"{name}":{_quoted(data.decode())}'
    except UnicodeDecodeError:
        return f',"{name}":"{b64encode(data).decode()}","{name}_encoding":"base64"'


def _base64_value(value: bytes) -> str:
    return f'"{b64encode(value).decode()}","value_encoding":"base64"'


def _json_value(value: bytes) -> str:
    """Give a value that is JSON as it stands there, so that no number loses a digit; others as a string."""
    text = value.decode()
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _quoted(text)
    # A line break can only stand between the parts of JSON, where it means as much as a blank.
    return f'{text.translate(_BREAKS)},"value_encoding":"json"'


def _refuse(word: str) -> None:
    raise ValueError(word)


_SPELLINGS: dict[str, Callable[[bytes], str] | None] = {AUTO: None, BASE64: _base64_value, AS_JSON: _json_value}


def _headers(headers: Iterable[tuple[bytes, bytes | None]]) -> str:
    return "[" + ",".join(f"{{{_header(name, value)}}}" for name, value in headers) + "]"


def _header(name: bytes, value: bytes | None) -> str:
    shown = _member("name", name)[1:]
    return shown + (',"value":null' if value is None else _member("value", value))


def shown_batch(batch: Batch, topic: str, partition: int, encoding: str, mark: str) -> str:
    """Give what ``shown_records`` gives of a batch as one text, with ``mark`` between records.

    What most batches are (text, without headers) is put together column by column, without work for each record.
    """
    columns = _columns(batch, topic, partition) if encoding == AUTO else None
    if columns is None:
        return mark.join(shown_records(batch.records(), topic, partition, encoding))
    columns.append(f'"}}{mark}')
    return woven(columns, len(batch))[: -len(mark)]


def _columns(batch: Batch, topic: str, partition: int) -> list[Sequence[str]] | None:
    """Give what each record is written with, in order; ``None`` if there is something that this cannot say."""
    values, keys = batch.values, batch.keys
    if None in values or batch.has_headers or any(batch.missing) or any(batch.replies):
        return None
    texts, senders = escaped(values), _quoted_all(batch.senders)  # type: ignore[arg-type]  # none is null
    named: Sequence[str] | None = "" if keys.count(None) == len(keys) else _quoted_all(keys)
    if texts is None or senders is None or named is None:
        return None
    times = batch.timestamps
    found: list[Sequence[str]] = [
        f'{{"topic":{_quoted(topic)},"partition":{partition},"offset":',
        list(map(str, batch.offsets)),
        ',"sequence":',
        list(map(str, batch.sequences)),
        ',"timestamp":',
        str(times[0]) if times.count(times[0]) == len(times) else list(map(str, times)),
        f',"timestamp_type":"{batch.kind}"',
    ]
    if named:
        found += [',"key":', named]
    if senders != '""':
        found += [',"sender":', senders]
    return [*found, ',"value":"', texts]


def _quoted_all(texts: Sequence[bytes | None]) -> Sequence[str] | None:
    """Give texts in quotation marks, one if all are the same; ``None`` if one is null or empty, or no UTF-8."""
    first = texts[0]
    try:
        if first is not None and texts.count(first) == len(texts):
            return _quoted(first.decode())
        return None if None in texts or b"" in texts else [_quoted(text.decode()) for text in texts]  # type: ignore[union-attr]
    except UnicodeDecodeError:
        return None
