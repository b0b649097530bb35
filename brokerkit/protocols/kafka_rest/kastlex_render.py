"""Records as KastleX writes them in JSON, column by column: the one place here where the cost of each record counts.

What most batches are, ASCII without control characters, is escaped for all of its values at once, and put together by
joining columns; there is no work in Python for each record.  Other texts are quoted one by one.  Where a record of a
batch stands for missing ones, has no value or is no UTF-8, each is written by itself, and says more: ``value_encoding``
and ``key_encoding`` are ``base64`` where bytes are no UTF-8, ``header_list`` has all headers where the object cannot
hold them, ``missing`` says how many messages a gap stands for.
"""

from __future__ import annotations

import json
from base64 import b64encode
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.log.codec import Batch
    from brokerkit.log.words import Headers, Stored

MARK = "\x7f"  # stands between values while they are escaped together; those of a batch that has it in one are not
_PLAIN = bytes(0 if code < 0x20 or code > 0x7F else 1 for code in range(256))  # noqa: PLR2004  ASCII without controls


def render(batch: Batch) -> bytes:
    """Give the records of a batch as the inside of a JSON array, in ASCII."""
    columns = None if None in batch.values or any(batch.missing) else _columns(batch)
    if columns is None:
        return ",".join(map(in_full, batch.records())).encode("ascii")
    return woven(columns, len(batch))[:-1].encode("ascii")


def _columns(batch: Batch) -> list[Any] | None:
    """Give what each record is written with, in order; ``None`` if there is something that this cannot say."""
    texts = escaped(batch.values)  # type: ignore[arg-type]  # none is null
    keys, headers = _keys(batch.keys), _headers(batch)
    if texts is None or keys is None or headers is None:
        return None
    times = batch.timestamps
    found: list[Any] = ['{"value":"', texts, '","key":', keys, ',"offset":', list(map(str, batch.offsets))]
    found += (
        f',"ts_type":"{batch.kind}","ts":',
        str(times[0]) if times.count(times[0]) == len(times) else list(map(str, times)),
        ',"headers":',
        headers,
        "},",
    )
    return _merged(found)


def _merged(columns: Sequence[Any]) -> list[Any]:
    """Join strings that follow each other."""
    found: list[Any] = []
    for column in columns:
        if found and isinstance(column, str) and isinstance(found[-1], str):
            found[-1] += column
        else:
            found.append(column)
    return found


def _keys(keys: Sequence[bytes | None]) -> list[str] | str | None:
    if keys.count(None) == len(keys):
        return "null"
    try:
        return ["null" if key is None else quoted(key.decode()) for key in keys]
    except UnicodeDecodeError:
        return None


def _headers(batch: Batch) -> list[str] | str | None:
    """Give the objects of all headers, those that are alike made once."""
    if not batch.has_headers:
        return "{}"
    known: dict[Headers, str] = {}
    found = []
    for headers in batch.headers:
        text = known.get(headers)
        if text is None:
            if not fits_object(headers):
                return None
            text = known[headers] = _COMPACT(as_object(headers))
        found.append(text)
    return found


def woven(columns: Sequence[Any], count: int) -> str:
    """Give one text that goes through the columns, record by record; a string is the same for each of them."""
    width = len(columns)
    found = [""] * (width * count)
    for i, column in enumerate(columns):
        found[i::width] = [column] * count if isinstance(column, str) else column
    return "".join(found)


def escaped(values: Sequence[bytes]) -> list[str] | None:
    """Give texts as they stand within quotation marks in JSON; ``None`` if one of them is no UTF-8."""
    joined = MARK.encode().join(values)
    if b"\0" not in joined.translate(_PLAIN):
        texts = joined.decode("ascii").replace("\\", "\\\\").replace('"', '\\"').split(MARK)
        if len(texts) == len(values):
            return texts
    try:
        return [quoted(value.decode())[1:-1] for value in values]
    except UnicodeDecodeError:
        return None


def in_full(record: Stored) -> str:
    """Give one record, with all that there is to say of it."""
    found: dict[str, Any] = {}
    _put(found, "value", record.value)
    _put(found, "key", record.key)
    found["offset"] = record.offset
    found["ts_type"] = record.kind
    found["ts"] = record.timestamp
    found["headers"] = as_object(record.headers)
    if not fits_object(record.headers):
        found["header_list"] = [_header(name, value) for name, value in record.headers]
    if record.missing:
        found["missing"] = record.missing
    return _COMPACT(found)


_COMPACT = json.JSONEncoder(separators=(",", ":")).encode


def as_object(headers: Headers) -> dict[str, str | None]:
    """Give headers as an object: of several with one name the last, and what is no UTF-8 replaced."""
    return {
        name.decode(errors="replace"): None if value is None else value.decode(errors="replace")
        for name, value in headers
    }


def fits_object(headers: Headers) -> bool:
    """Say whether the object of headers says all that there is to say."""
    try:
        for name, value in headers:
            name.decode()
            if value is not None:
                value.decode()
    except UnicodeDecodeError:
        return False
    return len({name for name, _ in headers}) == len(headers)


def _header(name: bytes, value: bytes | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    _put(found, "name", name)
    _put(found, "value", value)
    return found


def _put(found: dict[str, Any], name: str, value: bytes | None) -> None:
    """Put some bytes into an object: as text, or in base64 and with a word that says so."""
    if value is None:
        found[name] = None
        return
    try:
        found[name] = value.decode()
    except UnicodeDecodeError:
        found[name] = b64encode(value).decode("ascii")
        found[f"{name}_encoding"] = "base64"
