"""The format of hpfeeds' users.json, checked as a whole: bytes in, users out, no I/O.

Whatever is wrong is a ``ConfigError`` that says where, and names the kind of a value in place of the value, which might
be a secret that has slipped.  Keys that are not known are left alone, as the original does; a key that stands twice is
refused, because the original's choice between two secrets of one name is a surprise.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.checkers.known import Known, Users, allowed, is_name
from brokerkit.client import User
from brokerkit.errors import ConfigError
from brokerkit.topics import is_pattern, under

if TYPE_CHECKING:
    from collections.abc import Iterable

REQUIRED = ("owner", "secret", "pubchans", "subchans")
OURS = ("publish", "subscribe")

_KINDS = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "a list",
    str: "a string",
    type(None): "null",
}


class _Words(str):
    """What was found, in words: an error shows it without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


class _Object(dict[str, Any]):
    """A JSON object that remembers a key that stood in it twice."""

    twice: str | None = None


def parse(content: bytes, path: str, prefix: bytes = b"") -> Users:
    """Give the users in the ``content`` of the file ``path``, with all their names and patterns under ``prefix``."""
    root = _decode(content, path)
    if not isinstance(root, _Object):
        raise ConfigError(path, "file", _kind(root), "an object with a member for each user")
    if root.twice is not None:
        raise ConfigError(path, repr(root.twice), _Words("two users of this name"), "one")
    known = [_Entry(path, ident, fields).known(prefix) for ident, fields in root.items()]
    _refuse_shared_tokens(known, path)
    return Users(known)


def _decode(content: bytes, path: str) -> object:
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise ConfigError(path, "file", _Words(f"other bytes at {error.start}"), "UTF-8") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ConfigError(path, place, _Words("something else"), "JSON", error.msg) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets in thousands of brackets
        raise ConfigError(path, "file", _Words("what cannot be read"), "JSON", type(error).__name__) from None


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object()
    for key, value in pairs:
        if key in made:
            made.twice = key
        made[key] = value
    return made


def _kind(value: object) -> _Words:
    return _Words(_KINDS[dict if isinstance(value, dict) else type(value)])


def _refuse_shared_tokens(known: Iterable[Known], path: str) -> None:
    owners: dict[bytes, str] = {}
    for one in known:
        name = repr(one.user.name.decode())
        other = owners.setdefault(one.token, name)
        if one.token and other != name:
            raise ConfigError(path, f"{name}: token", _Words(f"the same as for {other}"), "a token of its own")


@attrs.frozen
class _Entry:
    """One member of the file: what it says of a user."""

    path: str
    ident: str
    fields: Any

    def known(self, prefix: bytes) -> Known:
        """Give the user; raise ``ConfigError`` at the first thing that is wrong."""
        name = self._name()
        self._require()
        pubchans, subchans = self._names("pubchans"), self._names("subchans")
        publish, subscribe = self._patterns("publish"), self._patterns("subscribe")
        grants = allowed(
            pubchans=[under(prefix, one) for one in pubchans],
            subchans=[under(prefix, one) for one in subchans],
            publish=[under(prefix, one) for one in publish],
            subscribe=[under(prefix, one) for one in subscribe],
        )
        user = User(name, f"json:{self.path}", grants, owner=self._owner())
        return Known(user, self._text("secret"), self._text("token"))

    def _refuse(self, key: str, found: object, expected: str) -> ConfigError:
        where = f"{self.ident!r}: {key}" if key else repr(self.ident)
        return ConfigError(self.path, where, found, expected)

    def _name(self) -> bytes:
        name = self._encode("", self.ident)
        if not is_name(name):
            raise self._refuse("", _Words(f"a name of {len(name)} bytes"), "at most 255")
        return name

    def _require(self) -> None:
        """Ask for all that hpfeeds asks for; where our own keys stand, only for a secret or a token."""
        if not isinstance(self.fields, _Object):
            raise self._refuse("", _kind(self.fields), "an object")
        if self.fields.twice is not None:
            raise self._refuse(repr(self.fields.twice), _Words("this key twice"), "it once")
        required: tuple[str, ...] = REQUIRED
        if any(key in self.fields for key in OURS):
            required = () if "token" in self.fields else ("secret",)
        for key in required:
            if key not in self.fields:
                raise self._refuse(key, _Words("nothing"), f"each of {', '.join(required)}")

    def _owner(self) -> str:
        return self._text("owner").decode() if self.fields.get("owner") is not None else ""

    def _text(self, key: str) -> bytes:
        return self._encode(key, self.fields.get(key, ""))

    def _names(self, key: str) -> list[bytes]:
        names = self.fields.get(key, [])
        if not isinstance(names, list):
            raise self._refuse(key, _kind(names), "a list of strings")
        return [self._encode(f"{key}[{i}]", name) for i, name in enumerate(names)]

    def _patterns(self, key: str) -> list[bytes]:
        names = self._names(key)
        for i, name in enumerate(names):
            if not is_pattern(name):
                raise self._refuse(f"{key}[{i}]", name.decode(), "a pattern such as a.b, a.* or a.>")
        return names

    def _encode(self, key: str, text: object) -> bytes:
        if not isinstance(text, str):
            raise self._refuse(key, _kind(text), "a string")
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise self._refuse(key, _Words("half of a surrogate pair"), "Unicode text") from None
