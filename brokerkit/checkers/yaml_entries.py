"""The YAML of KastleX's two files: one mapping of users, and for each a mapping of words to values.

It is read event by event and not into objects, which gives each value its line, lets a large file be read in steps and
leaves nothing that a tag could call.  Plain words mean what YAML 1.2 says, as in the original: ``yes`` is a string.
Whatever is wrong is a ``ConfigError`` with file and line, which names the kind of a value in place of the value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.errors import ConfigError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_NUMBER = re.compile(
    r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|0x[\da-fA-F]+|0o[0-7]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)

_KINDS = {
    bool: "true or false",
    dict: "a mapping",
    int: "a number",
    list: "a list",
    str: "a string",
    type(None): "nothing",
}
MOST_REPEATED = 1_000_000  # keys that stand in the file once, and count many times by aliases
_DEEPEST = 4  # a user's mapping, an action's list, its items, and one more for a better message


@attrs.frozen
class Value:
    """What stands at a line: ``None``, a bool, a string, 0 for any number, a list of values, a dict of them by key."""

    content: Any = attrs.field(repr=False)
    line: int

    @property
    def kind(self) -> str:
        """What it is, in words."""
        return Words(_KINDS[type(self.content)])


class Words(str):
    """What was found, in words: an error shows it without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def entries(content: bytes, path: str) -> Iterator[tuple[str, int, dict[str, Value]]]:
    """Give name, line and values of each user in the ``content`` of the file ``path``.

    Raises ``ConfigError`` at the first thing that is wrong, and ``OperatorError`` where PyYAML is missing.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(path, "file", Words(f"other bytes at {error.start}"), "UTF-8") from None
    yaml = _yaml()
    try:
        yield from _Reader(text, path, yaml).users()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else path
        hint = getattr(error, "problem", None) or getattr(error, "reason", None) or ""
        raise ConfigError(where, "file", Words("something else"), "YAML", hint) from None


def _yaml() -> Any:  # noqa: ANN401  the module
    try:
        import yaml
    except ImportError:
        text = "KastleX's files need PyYAML: pip install 'brokerkit[yaml]'"
        raise OperatorError(text) from None
    return yaml


class _Reader:
    """Goes through the events of one file."""

    def __init__(self, text: str, path: str, yaml: Any) -> None:  # noqa: ANN401  the module
        self._path = path
        self._yaml = yaml
        # The loader in C is ten times as fast, and not everywhere.
        self._events = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        self._anchors: dict[str, Value] = {}
        self._repeated = 0

    def users(self) -> Iterator[tuple[str, int, dict[str, Value]]]:
        """Give the members of the outermost mapping."""
        yaml, line = self._yaml, 1
        next(self._events)  # the start of the stream
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            raise self._no_mapping(Words("nothing"), line)
        event = next(self._events)
        if not isinstance(event, yaml.MappingStartEvent):
            raise self._no_mapping(self._value(event, 0).kind, _line(event))
        self._refuse_tag(event)
        names: set[str] = set()
        for name, value in self._members(names, 0):
            content = {} if value.content is None else value.content
            if not isinstance(content, dict):
                raise ConfigError(f"{self._path}:{value.line}", repr(name), value.kind, "a mapping")
            yield name, value.line, content
        next(self._events)  # the end of the document
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise ConfigError(f"{self._path}:{_line(event)}", "file", Words("a second document"), "one")

    def _no_mapping(self, found: str, line: int) -> ConfigError:
        return ConfigError(f"{self._path}:{line}", "file", found, "a mapping with a key for each user")

    def _members(self, keys: set[str], depth: int) -> Iterator[tuple[str, Value]]:
        """Give the members of the mapping that has begun, each key once."""
        while not isinstance(event := next(self._events), self._yaml.MappingEndEvent):
            key, line = self._value(event, _DEEPEST), _line(event)
            where = f"{self._path}:{line}"
            if not isinstance(key.content, str):
                raise ConfigError(where, "key", key.kind, "a string", "quotes make one of it")
            if key.content in keys:
                raise ConfigError(where, repr(key.content), Words("this key twice"), "it once")
            keys.add(key.content)
            value = self._value(next(self._events), depth + 1)
            yield key.content, Value(value.content, line)

    def _value(self, event: Any, depth: int) -> Value:  # noqa: ANN401  an event of yaml's
        yaml, line = self._yaml, _line(event)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise ConfigError(f"{self._path}:{line}", "file", f"*{event.anchor}", "the name of an anchor above")
            return self._again(self._anchors[event.anchor].content, line)
        self._refuse_tag(event)
        if isinstance(event, yaml.ScalarEvent):
            value = Value(_scalar(event), line)
        elif depth >= _DEEPEST:
            raise ConfigError(f"{self._path}:{line}", "file", Words("a list or a mapping"), "a string")
        elif isinstance(event, yaml.SequenceStartEvent):
            value = Value(self._items(depth), line)
        else:
            value = Value(dict(self._members(set(), depth)), line)
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _again(self, content: Any, line: int) -> Value:  # noqa: ANN401  as in a Value
        """Give at another line what stands at an anchor, as long as all those together are not too much."""
        self._repeated += len(content) if isinstance(content, dict) else 1
        if self._repeated > MOST_REPEATED:
            found = Words(f"more than {MOST_REPEATED} keys by aliases")
            raise ConfigError(f"{self._path}:{line}", "file", found, "fewer")
        return Value(content, line)

    def _items(self, depth: int) -> list[Value]:
        items = []
        while not isinstance(event := next(self._events), self._yaml.SequenceEndEvent):
            items.append(self._value(event, depth + 1))
        return items

    def _refuse_tag(self, event: Any) -> None:  # noqa: ANN401
        if event.tag is not None:
            found = Words(f"a tag ({event.tag.replace('tag:yaml.org,2002:', '!!')})")
            raise ConfigError(f"{self._path}:{_line(event)}", "file", found, "strings, lists and mappings without tags")


def _line(event: Any) -> int:  # noqa: ANN401
    return int(event.start_mark.line) + 1


def _scalar(event: Any) -> str | bool | int | None:  # noqa: ANN401
    """Give what a scalar stands for; which number it is does not matter, as none is wanted anywhere."""
    text: str = event.value
    if not event.implicit[0]:  # in quotes
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return bool(_TRUE.fullmatch(text))
    return 0 if _NUMBER.fullmatch(text) else text
