"""The shape of a JSON document: its keys, and of which kind each value is, so that two can be compared."""

from __future__ import annotations

import re
from typing import Any

_KINDS = (
    ("moment", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")),
    ("uptime", re.compile(r"(\d+y)?(\d+d)?(\d+h)?(\d+m)?\d+s")),
    ("duration", re.compile(r"\d+(\.\d+)?(ns|µs|ms)")),
)
DURATIONS = {"uptime", "duration"}  # what is short may be either


def kind(value: Any) -> str:
    """Give the kind of a value: text in the form of a time is not like any other."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return next((name for name, form in _KINDS if form.fullmatch(value)), "text")
    return "list" if isinstance(value, list) else "nothing" if value is None else "object"


def differences(theirs: Any, ours: Any, apart: set[str], where: str = "") -> list[str]:
    """Give where two documents differ in shape, but for the keys that are known to: keys that one lacks, other kinds.

    Of a list, all entries together are compared.
    """
    kinds = kind(theirs), kind(ours)
    if kinds[0] != kinds[1] and not set(kinds) <= DURATIONS:
        return [f"{where}: a {kinds[1]}, not a {kinds[0]}"]
    if isinstance(theirs, list):
        return differences(_one_of(theirs), _one_of(ours), apart, f"{where}[]") if theirs and ours else []
    if not isinstance(theirs, dict):
        return []
    found = [f"{where}.{key}: missing" for key in theirs.keys() - ours.keys() - apart]
    found += [f"{where}.{key}: one too many" for key in ours.keys() - theirs.keys() - apart]
    for key in theirs.keys() & ours.keys() - apart:
        found += differences(theirs[key], ours[key], apart, f"{where}.{key}")
    return sorted(found)


def _one_of(entries: list[Any]) -> Any:
    """Give an entry with all the keys that entries have."""
    if not all(isinstance(entry, dict) for entry in entries):
        return entries[0]
    return {key: value for entry in entries for key, value in entry.items()}
