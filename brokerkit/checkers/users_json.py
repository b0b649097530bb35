"""The format of hpfeeds' users.json, checked as a whole: bytes in, users out, no I/O.

Whatever is wrong is a ``ConfigError`` that says where, and names the kind of a value in place of the value, which might
be a secret that has slipped.  Keys that are not known are left alone, as the original does; a key that stands twice is
refused, because the original's choice between two secrets of one name is a surprise.

The outermost object is taken apart member by member, so that a large file can be read in steps.  What it says is kept
as tuples of bytes, which Python's garbage collector passes over, and becomes a ``Known`` when somebody asks: with a
record for each of ten thousand users, every full collection would be a pause.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from brokerkit.checkers.json_lines import line
from brokerkit.checkers.known import MAX_NAME, Known, proof
from brokerkit.checkers.registry_rights import EXPECTED, FIELDS, is_rule, rights
from brokerkit.checkers.slices import at_once
from brokerkit.client import User
from brokerkit.errors import ConfigError, Words
from brokerkit.grants import PUBLISH, SUBSCRIBE, Access, Grants, literal, patterns
from brokerkit.interfaces import IToken
from brokerkit.topics import is_pattern, under

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    # owner, secret, token, the names in pubchans, subchans, publish and subscribe, and those of the registry
    _Names = tuple[bytes, ...]
    _Registry = tuple[str, ...]
    _Entry = tuple[str, bytes, bytes, _Names, _Names, _Names, _Names, _Registry, _Registry]

REQUIRED = ("owner", "secret", "pubchans", "subchans")
OUR_OWN = ("publish", "subscribe", *FIELDS)  # lists that hpfeeds does not have

_KINDS = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "a number",
    list: "a list",
    str: "a string",
    type(None): "null",
}
_BLANKS = re.compile(r"[ \t\n\r]*")
RAW = "surrogateescape"  # "\udcfc" is the byte FC: that is how Python writes what is not UTF-8


class _Twice(dict[str, Any]):
    """A JSON object in which a key stood twice."""

    key: str


def parse(content: bytes, path: str, prefix: bytes = b"") -> JsonTable:
    """Give the users in the ``content`` of the file ``path``, with all their names and patterns under ``prefix``."""
    return at_once(steps(content, path, prefix))


def steps(content: bytes, path: str, prefix: bytes = b"") -> Generator[None, None, JsonTable]:
    """Do what ``parse`` does, one user in each step."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(path, "file", Words(f"other bytes at {error.start}"), "UTF-8") from None
    yield
    entries: dict[bytes, _Entry] = {}
    reader = _Reader(path, prefix, text)
    for ident, fields in _readable(text, path):
        name = reader.name(ident)
        if name in entries:
            raise reader.refuse(ident, "", Words("two users of this name"), "one")
        entries[name] = reader.entry(ident, fields)
        yield
    return JsonTable(path, entries)


def _readable(text: str, path: str) -> Iterator[tuple[str, Any]]:
    """Give the members of the outermost object; raise ``ConfigError`` if there is none."""
    try:
        if not text.lstrip(" \t\n\r").startswith("{"):
            raise ConfigError(path, "file", _kind(json.loads(text)), "an object with a member for each user")
        yield from _members(text)
    except json.JSONDecodeError as error:
        raise ConfigError(path, _place(error), Words("something else"), "JSON", _why(error)) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets in thousands of brackets
        raise ConfigError(path, "file", Words("what cannot be read"), "JSON", type(error).__name__) from None


def _comma(error: json.JSONDecodeError) -> int:
    """Give the place of a comma with nothing behind it, which Pythons before 3.13 do not name; -1 if it is not that."""
    before = error.doc[: error.pos].rstrip(" \t\n\r")
    if error.doc[error.pos : error.pos + 1] in ("}", "]") and before.endswith(","):
        return len(before) - 1
    return error.pos if error.doc[error.pos : error.pos + 1] == "," and "railing" in error.msg else -1


def _place(error: json.JSONDecodeError) -> str:
    pos = _comma(error)
    pos = error.pos if pos < 0 else pos
    column = pos - error.doc.rfind("\n", 0, pos)
    return f"line {error.doc.count(chr(10), 0, pos) + 1}, column {column}"


def _why(error: json.JSONDecodeError) -> str:
    return error.msg if _comma(error) < 0 else "a comma with nothing behind it"


def _members(text: str) -> Iterator[tuple[str, Any]]:
    """Give the members of the object that a text is; raise ``JSONDecodeError`` where the text is no JSON."""
    pos, char = _next(text, text.index("{") + 1)
    if char != "}":
        while True:
            if char != '"':
                raise json.JSONDecodeError("Expecting property name enclosed in double quotes", text, pos)
            key, end = _DECODER.raw_decode(text, pos)
            pos, char = _next(text, end)
            if char != ":":
                raise json.JSONDecodeError("Expecting ':' delimiter", text, pos)
            pos, _ = _next(text, pos + 1)
            value, end = _DECODER.raw_decode(text, pos)
            yield key, value
            pos, char = _next(text, end)
            if char == "}":
                break
            if char != ",":
                raise json.JSONDecodeError("Expecting ',' delimiter", text, pos)
            pos, char = _next(text, pos + 1)
    pos, char = _next(text, pos + 1)
    if char:
        raise json.JSONDecodeError("Extra data", text, pos)


def _next(text: str, pos: int) -> tuple[int, str]:
    """Give the place of the next character that is no blank, and the character; none at the end."""
    end = _BLANKS.match(text, pos).end()  # type: ignore[union-attr]  # it matches everywhere
    return end, text[end : end + 1]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    twice = _Twice(made)
    keys = [key for key, _ in pairs]
    twice.key = next(key for key in keys if keys.count(key) > 1)
    return twice


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _kind(value: object) -> Words:
    return Words(_KINDS[dict if isinstance(value, dict) else type(value)])


class _Reader:
    """Checks the members of one file, one after the other, and makes entries of them."""

    def __init__(self, path: str, prefix: bytes, text: str) -> None:
        self._path = path
        self._prefix = prefix
        self._text = text
        self._lists: dict[tuple[bytes, ...], tuple[bytes, ...]] = {}
        self._tokens: dict[bytes, str] = {}

    def name(self, ident: str) -> bytes:
        """Give the name of a user; raise ``ConfigError`` if it is none."""
        name = self._encode(ident, "", ident)
        if len(name) > MAX_NAME:
            raise self.refuse(ident, "", Words(f"a name of {len(name)} bytes"), "at most 255")
        return name

    def entry(self, ident: str, fields: Any) -> _Entry:  # noqa: ANN401  whatever the file has
        """Give what the file says of a user; raise ``ConfigError`` at the first thing that is wrong."""
        self._require(ident, fields)
        owner = fields.get("owner")
        if owner is not None:
            self._encode(ident, "owner", owner)
        secret = self._encode(ident, "secret", fields.get("secret", ""))
        token = self._token(ident, fields["token"]) if "token" in fields else b""
        pubchans, subchans = self._names(ident, fields, "pubchans"), self._names(ident, fields, "subchans")
        publish = self._patterns(ident, fields, "publish") if "publish" in fields else ()
        subscribe = self._patterns(ident, fields, "subscribe") if "subscribe" in fields else ()
        read, write = (self._registry(ident, fields, key) if key in fields else () for key in FIELDS)
        return owner or "", secret, token, pubchans, subchans, publish, subscribe, read, write

    def refuse(self, ident: str, key: str, found: object, expected: str) -> ConfigError:
        """Give the error that names the file with the line, the user, and the key with an index or without."""
        where = f"{ident!r}: {key}" if key else repr(ident)
        number = line(self._text, (ident, *re.findall(r"[a-z_]+", key)[:1]))
        return ConfigError(f"{self._path}:{number}" if number else self._path, where, found, expected)

    def _require(self, ident: str, fields: Any) -> None:  # noqa: ANN401
        """Ask for all that hpfeeds asks for; where our own keys stand, only for a secret or a token."""
        if not isinstance(fields, dict):
            raise self.refuse(ident, "", _kind(fields), "an object")
        if isinstance(fields, _Twice):
            raise self.refuse(ident, repr(fields.key), Words("this key twice"), "it once")
        required: tuple[str, ...] = REQUIRED
        if not fields.keys().isdisjoint(OUR_OWN):
            required = () if "token" in fields else ("secret",)
        for key in required:
            if key not in fields:
                raise self.refuse(ident, key, Words("nothing"), f"each of {', '.join(required)}")

    def _token(self, ident: str, text: object) -> bytes:
        token = self._encode(ident, "token", text)
        other = self._tokens.setdefault(token, ident)
        if token and other != ident:
            raise self.refuse(ident, "token", Words(f"the same as for {other!r}"), "a token of its own")
        return token

    def _names(self, ident: str, fields: dict[str, Any], key: str) -> tuple[bytes, ...]:
        names = fields.get(key, [])
        if not isinstance(names, list):
            raise self.refuse(ident, key, _kind(names), "a list of strings")
        try:
            encoded = tuple([under(self._prefix, name.encode(errors=RAW)) for name in names])
        except (AttributeError, UnicodeEncodeError):
            for i, name in enumerate(names):
                self._encode(ident, f"{key}[{i}]", name)
            raise
        return self._lists.setdefault(encoded, encoded)

    def _patterns(self, ident: str, fields: dict[str, Any], key: str) -> tuple[bytes, ...]:
        names = self._names(ident, fields, key)
        for i, name in enumerate(fields[key]):
            if not is_pattern(name.encode(errors=RAW)):
                raise self.refuse(ident, f"{key}[{i}]", name, "a pattern such as a.b, a.* or a.>")
        return names

    def _registry(self, ident: str, fields: dict[str, Any], key: str) -> tuple[str, ...]:
        names = fields[key]
        if not isinstance(names, list):
            raise self.refuse(ident, key, _kind(names), "a list of strings")
        for i, name in enumerate(names):
            self._encode(ident, f"{key}[{i}]", name)
            if not is_rule(name):
                raise self.refuse(ident, f"{key}[{i}]", name, EXPECTED)
        return tuple(names)

    def _encode(self, ident: str, key: str, text: object) -> bytes:
        if not isinstance(text, str):
            raise self.refuse(ident, key, _kind(text), "a string")
        try:
            return text.encode(errors=RAW)
        except UnicodeEncodeError:
            raise self.refuse(ident, key, Words("half of a surrogate pair"), "Unicode text") from None


@lru_cache(1024)  # so that users with the same lists, of whom many are connected, share them
def _access(names: _Names, wild: _Names) -> Access:
    return Access(literal(names) + patterns(wild))


class JsonTable:
    """The users of one file, by name and by token."""

    def __init__(self, path: str, entries: dict[bytes, _Entry]) -> None:
        """Take what the file says of each name."""
        self._source = f"json:{path}"
        self._entries = entries
        # By digest, so that a look-up takes the same time however much of a guessed token is right.
        self._by_token = {sha256(entry[2]).digest(): name for name, entry in entries.items() if entry[2]}

    def __len__(self) -> int:
        """Give the number of users."""
        return len(self._entries)

    def find(self, credentials: Any) -> Known | None:  # noqa: ANN401  any of BY_SECRET
        """Give the user whom the credentials name, whether they fit or not."""
        if IToken.providedBy(credentials):
            name = self._by_token.get(sha256(credentials.token).digest())
            return None if name is None else self._known(name)
        return self._known(credentials.username) if credentials.username in self._entries else None

    def among(self, names: Iterable[bytes]) -> dict[bytes, Known]:
        """Give those of the names that are known."""
        return {name: self._known(name) for name in names if name in self._entries}

    sample = ""  # no hashes in such files

    def names(self) -> list[bytes]:
        """Give all names, in order."""
        return sorted(self._entries)

    def _known(self, name: bytes) -> Known:
        owner, secret, token, pubchans, subchans, publish, subscribe, read, write = self._entries[name]
        topics = {PUBLISH: _access(pubchans, publish), SUBSCRIBE: _access(subchans, subscribe)}
        grants = Grants({**topics, **rights(read, write)})
        return Known(User(name, self._source, grants, owner, proof=proof(secret, token)), secret, token)
