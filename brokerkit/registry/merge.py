"""Merging JSON objects: shallow, as the original's update does it, and deep, as RFC 7396 has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def shallow(there: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Give the members of both; where both have one, the new one's."""
    return {**there, **new}


def deep(there: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Give ``there`` with an RFC 7396 merge patch applied; raise ``RecursionError`` for one nested too deeply."""
    result = dict(there)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            below = result.get(key)
            result[key] = deep(below if isinstance(below, dict) else {}, value)
        else:
            result[key] = value
    return result
