"""The ``[[keep]]`` tables of a configuration, and what can be wrong with them.

The types of the values have been looked at before (``brokerkit.config``); here is what they have to mean.  Everything
is checked before anything is opened, so that a rule never fails when its first message comes.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import attrs

from brokerkit import topics
from brokerkit.errors import ConfigError, Words
from brokerkit.keep import ACKS, MOST_PARTITIONS, OVERFLOWS, PARTITIONERS, TIMESTAMPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brokerkit.keep import Keep

_WORDS = {"ack": ACKS, "overflow": OVERFLOWS, "partitioner": PARTITIONERS, "timestamps": TIMESTAMPS}
_LEAST = {"partitions": 1, "max_topics": 1, "max_message_bytes": 1}
_MOST = {"partitions": MOST_PARTITIONS}
MOST = 2**62  # of any other number: SQLite's are signed, and sums of them have to fit


def checked(rules: Sequence[Keep], where: str) -> tuple[Keep, ...]:
    """Give the rules, each with the name of its stream; raise ``ConfigError`` at what is wrong first.

    A rule that does not name its stream calls it as its first pattern begins.
    """
    named = tuple(_checked(rule, where, f"keep[{i}]") for i, rule in enumerate(rules))
    seen: dict[tuple[str, str], int] = {}
    for i, rule in enumerate(named):
        other = seen.setdefault((rule.tenant, rule.stream), i)
        if other != i:
            expected = f"another than that of keep[{other}]"
            raise ConfigError(where, f"keep[{i}].stream", rule.stream, expected, "give each rule a stream of its own")
    return named


def _checked(rule: Keep, where: str, at: str) -> Keep:
    if not rule.topics:
        raise ConfigError(where, f"{at}.topics", Words("nothing"), 'a pattern, or a list of patterns, such as "a.>"')
    for pattern in rule.topics:
        if not topics.is_pattern(pattern.encode()) or any(c.isspace() or not c.isprintable() for c in pattern):
            raise ConfigError(where, f"{at}.topics", pattern, "a pattern such as a.b, a.* or a.>")
    for key, words in _WORDS.items():
        _check_word(getattr(rule, key), words, where, f"{at}.{key}")
    for key in ("partitions", "max_topics", "max_message_bytes", "retention_bytes", "retention_messages"):
        _check_number(getattr(rule, key), _LEAST.get(key, 0), _MOST.get(key, MOST), where, f"{at}.{key}")
    if rule.stream and not rule.stream.isprintable():
        raise ConfigError(where, f"{at}.stream", rule.stream, "text without control characters")
    return rule if rule.stream else attrs.evolve(rule, stream=_stream(rule.topics[0]))


def _check_word(word: str, words: Sequence[str], where: str, key: str) -> None:
    if word not in words:
        near = get_close_matches(word, list(words), 1)
        raise ConfigError(where, key, word, f"one of {', '.join(words)}", f"did you mean {near[0]}?" if near else "")


def _check_number(value: int, least: int, most: int, where: str, key: str) -> None:
    if not least <= value <= most:
        raise ConfigError(where, key, value, f"a whole number from {least} to {most}")


def _stream(pattern: str) -> str:
    """Give the literal beginning of a pattern; all of it where that is nothing."""
    tokens = pattern.split(".")
    return ".".join(tokens[: _wild(tokens)]) or pattern


def _wild(tokens: list[str]) -> int:
    """Give the place of the first wildcard."""
    return next((i for i, token in enumerate(tokens) if token in {"*", ">"}), len(tokens))
