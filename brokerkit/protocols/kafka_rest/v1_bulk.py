"""Batches whose records are all alike, read column by column: what most batches are, at a fraction of the price.

Alike means: the same members in each, of ``value``, ``key`` and ``timestamp``, the first two of them texts.  Whatever
else stands in a batch, or is wrong with it, is read record by record (``v1_given``), which is what says what is wrong.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from brokerkit.log.bulk import Bulk
from brokerkit.protocols.kafka_rest.v1_asked import LARGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

_KNOWN = {"value", "key", "timestamp"}


def read_bulk(given: Sequence[Any], tenant: str, topic: bytes, sender: bytes, most: int) -> Bulk | None:
    """Give records that are all alike, none with a key and value of more than ``most`` bytes; else ``None``."""
    columns = _columns(given)
    if columns is None:
        return None
    times = columns.pop("timestamp", None)
    if times is not None and (set(map(type, times)) != {int} or min(times) < 0 or max(times) > LARGEST):
        return None
    texts = {name: _encoded(column) for name, column in columns.items()}
    values, keys = texts.get("value"), texts.get("key")
    if values is None or None in texts.values():
        return None
    if _largest(values) + (_largest(keys) if keys is not None else 0) > most:
        return None
    return Bulk(tenant, topic, values, sender, keys=keys, timestamps=times)


def _columns(given: Sequence[Any]) -> dict[str, list[Any]] | None:
    """Give the members of objects that have the same ones, by their names."""
    if set(map(type, given)) != {dict}:
        return None
    names = given[0].keys()
    if not names <= _KNOWN or set(map(len, given)) != {len(names)}:
        return None
    try:
        return {name: list(map(itemgetter(name), given)) for name in names}
    except KeyError:
        return None


def _largest(texts: Sequence[bytes | None]) -> int:
    return max(map(len, texts))  # type: ignore[arg-type]  # none is null


def _encoded(texts: list[Any]) -> list[bytes | None] | None:
    """Give texts in UTF-8; ``None`` if not all are texts that can be written so."""
    if set(map(type, texts)) != {str}:
        return None
    try:
        return list(map(str.encode, texts))
    except UnicodeEncodeError:
        return None
