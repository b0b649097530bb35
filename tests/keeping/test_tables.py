"""The [[keep]] tables of a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from brokerkit.config import structure
from brokerkit.errors import ConfigError
from brokerkit.keep import Keep


def _read(*tables: Any) -> tuple[Keep, ...]:
    return structure({"keep": list(tables)}, {}, "broker.toml").keep


def test_one_pattern_is_enough() -> None:
    """A pattern alone makes a rule; its stream is called as it begins."""
    assert _read({"topics": "honeypot.>"}) == (Keep(topics=("honeypot.>",), stream="honeypot"),)
    assert [rule.stream for rule in _read({"topics": ">"}, {"topics": ["a.b.*.c", "x"]})] == [">", "a.b"]


def test_everything() -> None:
    """All that can be said is taken as it is."""
    said = {
        "topics": ["a.>", "b"],
        "stream": "mine",
        "tenant": "blue",
        "partitions": 4,
        "ack": "interval",
        "overflow": "drop",
        "partitioner": "murmur2",
        "timestamps": "append",
        "compact": True,
        "max_topics": 5,
        "max_message_bytes": 1000,
        "retention_bytes": 1,
        "retention_seconds": 2.5,
        "retention_messages": 3,
    }
    assert _read(said) == (Keep(**{**said, "topics": ("a.>", "b")}),)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, 'keep[0].topics: found nothing, expected a pattern, or a list of patterns, such as "a.>"'),
        (7, "keep[0]: found 7, expected a table that is headed [[keep]]"),
        ({"topics": 7}, "keep[0].topics: found 7, expected a list of strings"),
        ({"topics": "a..b"}, "keep[0].topics: found 'a..b', expected a pattern such as a.b, a.* or a.>"),
        ({"topics": "a b"}, "keep[0].topics: found 'a b', expected a pattern"),
        ({"topics": ">.a"}, "keep[0].topics: found '>.a', expected a pattern"),
        (
            {"topics": "a", "ack": "comit"},
            "keep[0].ack: found 'comit', expected one of commit, interval, none (did you",
        ),
        ({"topics": "a", "overflow": "wait"}, "keep[0].overflow: found 'wait', expected one of pace, drop"),
        ({"topics": "a", "partitions": 0}, "keep[0].partitions: found 0, expected a whole number from 1 to 1024"),
        ({"topics": "a", "partitions": 1025}, "keep[0].partitions: found 1025, expected a whole number from 1"),
        ({"topics": "a", "max_topics": 0}, "keep[0].max_topics: found 0"),
        ({"topics": "a", "retention_bytes": 2**63}, "keep[0].retention_bytes: found 9223372036854775808"),
        ({"topics": "a", "retention_bytes": -1}, "keep[0].retention_bytes: found -1"),
        ({"topics": "a", "stream": "a\nb"}, "keep[0].stream: found 'a\\nb', expected text without control characters"),
        ({"topics": "a", "topc": 1}, "keep[0].topc: found an unknown key, expected one of topics"),
        ({"topics": "a", "auth": 1}, "auth belongs above the first [[keep]]"),
    ],
)
def test_what_is_wrong(table: Any, said: str) -> None:
    """One line names the table, the key, what was found and what was expected."""
    with pytest.raises(ConfigError) as caught:
        _read(table)
    assert str(caught.value).startswith(f"broker.toml: {said}") or said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_list() -> None:
    """What is no list of tables is said to be none."""
    with pytest.raises(ConfigError, match=r"broker.toml: keep: found 3, expected tables that are headed \[\[keep\]\]"):
        structure({"keep": 3}, {}, "broker.toml")


def test_one_stream_twice() -> None:
    """Two rules of one tenant cannot share a stream; those of two tenants can."""
    with pytest.raises(ConfigError, match=r"keep\[1\].stream: found 'a', expected another than that of keep\[0\]"):
        _read({"topics": "a.>"}, {"topics": "a"})
    assert len(_read({"topics": "a.>"}, {"topics": "a.>", "tenant": "blue"})) == 2
