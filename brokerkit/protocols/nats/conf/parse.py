"""From the text of nats-server's configuration language to a tree.

The language is forgiving where people write (any separator, quotes or none, blocks with or without braces around the
file), so what ends what is decided here by a few sets of characters, and in the order in which nats-server decides.
What it takes is taken, and read as the same; ``tests/servers/test_nats_conf.py`` holds that against the original.

Files may include each other and variables may stand for each other and for the environment: all of that is bounded.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING

from brokerkit.errors import OperatorError
from brokerkit.protocols.nats.conf.tree import Pair, Place, Value, Wrong
from brokerkit.protocols.nats.conf.words import meaning, unescaped

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SIZE = 16 * 1024 * 1024  # bytes of one file
MAX_DEPTH = 100  # blocks within blocks
MAX_FILES = 1000  # that are included, in all
MAX_INCLUDED = 20  # files within files
MAX_VARIABLES = 20  # of the environment that stand for each other

BLANKS = " \t"
LINES = "\r\n"
ENDS = LINES + "}\0"  # behind a value; a NUL ends the file
BCRYPT = "$2a$"  # a password, and no variable

_KEY = re.compile(r"[^ \t\r\n:=]+")
_WORD = re.compile(r"[^ \t\r\n,;\]}']+")
_FILE = re.compile(r"[^ \t\r\n;}]+")
_QUOTED = {"'": re.compile(r"'([^']*)'"), '"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)}
_BLOCK_END = re.compile(r"(?:^|(?<=\n))\)(?=[ \t]*(?:\r?\n|\Z))")


def load(path: str, environment: Mapping[str, str] | None = None) -> Value:
    """Give what a file says: a map.

    Variables that the file does not know are those of ``environment``, which is the program's if none is given.
    Raises ``OperatorError`` if it cannot be read or is not in the language.
    """
    return _Files(os.environ if environment is None else environment).load(path, ())


def parse(text: str, name: str = "configuration", environment: Mapping[str, str] | None = None) -> Value:
    """Give what a text says, which ``name`` stands for in messages; what it includes is sought where ``name`` is."""
    files = _Files(os.environ if environment is None else environment)
    return _Text(text, name, files, ()).whole()


class _Files:
    """The files that are read together, and the environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self._left = MAX_FILES

    def load(self, path: str, opened: tuple[str, ...]) -> Value:
        """Read a file, with those that are being read since they include it."""
        try:
            with Path(path).open("rb") as file:
                content = file.read(MAX_SIZE + 1)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise OperatorError(f"{path}: cannot be read: {why}") from None
        if len(content) > MAX_SIZE:
            raise OperatorError(f"{path}: more than {MAX_SIZE} bytes, expected a configuration file")
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise OperatorError(f"{path}:{line}: a byte that is not UTF-8") from None
        return _Text(text, path, self, (*opened, os.path.realpath(path))).whole()

    def include(self, name: str, place: Place, opened: tuple[str, ...]) -> Value:
        """Read a file that another one names; relative to that one, and that holds for ``/name``, too."""
        path = os.path.join(os.path.dirname(place.file), name.lstrip("/") or name)  # noqa: PTH118, PTH120  as it is shown
        if name.startswith("/") and not Path(path).exists():
            path = name
        if os.path.realpath(path) in opened:
            raise Wrong(place, f"{path} includes itself")
        if len(opened) >= MAX_INCLUDED:
            raise Wrong(place, f"more than {MAX_INCLUDED} files within each other")
        self._left -= 1
        if self._left < 0:
            raise Wrong(place, f"more than {MAX_FILES} files are included")
        try:
            return self.load(path, opened)
        except Wrong:
            raise
        except OperatorError as error:
            raise Wrong(place, str(error)) from None


class _Text:
    """One text, and how far it has been read."""

    def __init__(
        self, text: str, name: str, files: _Files, opened: tuple[str, ...], asked: tuple[str, ...] = ()
    ) -> None:
        self._text = text
        self._name = name
        self._files = files
        self._opened = opened
        self._asked = asked  # the variables of the environment that are being read
        self._at = 0
        self._depth = 0
        self._scopes: list[dict[str, Pair]] = []
        self._lines = [0]  # where each line begins
        self._lines += [found.end() for found in re.finditer("\n", text)]

    # -- places and characters --------------------------------------------------------------------------------------

    def _place(self, at: int | None = None) -> Place:
        at = self._at if at is None else at
        line = bisect_right(self._lines, at)
        return Place(self._name, line, at - self._lines[line - 1] + 1)

    def _wrong(self, text: str, at: int | None = None) -> Wrong:
        return Wrong(self._place(at), text)

    @property
    def _next(self) -> str:
        """The character that comes next, empty at the end."""
        return self._text[self._at : self._at + 1]

    def _skip(self, characters: str) -> None:
        while self._next and self._next in characters:
            self._at += 1

    def _skip_all(self) -> None:
        """Go over blanks, line breaks and comments."""
        while True:
            self._skip(BLANKS + LINES)
            if not self._comment():
                return

    def _comment(self) -> bool:
        """Go over a comment, up to the end of its line; say whether there was one."""
        if self._next != "#" and not self._text.startswith("//", self._at):
            return False
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end
        return True

    # -- maps -------------------------------------------------------------------------------------------------------

    def whole(self) -> Value:
        """Read everything."""
        place, pairs = self._place(), dict[str, Pair]()
        self._scopes.append(pairs)
        if self._text.startswith("\ufeff"):
            self._at = 1
        while True:
            self._skip_all()
            if not self._next or self._next == "\0":
                return Value(pairs, place)
            if self._next in "{}":  # around the whole file, as JSON has them
                self._at += 1
                if self._text[self._at - 1] == "{":
                    self._pairs(pairs, self._at - 1)
            else:
                self._pair(pairs)

    def _pairs(self, pairs: dict[str, Pair], begun: int) -> None:
        """Read pairs up to the brace that ends them."""
        while True:
            self._skip_all()
            if not self._next:
                raise self._wrong("the block that begins here has no end: } is missing", begun)
            if self._next == "}":
                self._at += 1
                return
            self._pair(pairs)

    def _pair(self, pairs: dict[str, Pair]) -> None:
        begun = self._at
        key, quoted = self._key()
        if key.lower() == "include" and not quoted:
            self._include(pairs)
        else:
            place = self._place(begun)
            self._separator(key, begun)
            pairs[key] = Pair(key, place, self._value())
        self._end()

    def _key(self) -> tuple[str, bool]:
        """Read a key; say also whether it has quotes."""
        begun = self._at
        if self._next in _QUOTED:
            return self._quoted(), True
        if self._next in ":=,;":
            raise self._wrong("a key is expected before the separator")
        found = _KEY.match(self._text, self._at)
        assert found is not None  # noqa: S101  it is no blank, no line break and no separator
        self._at = found.end()
        if "{" in found[0] or found[0][0] in "[]":
            raise self._wrong("a key is expected, and a blank before a brace", begun)
        return found[0], False

    def _separator(self, key: str, begun: int) -> None:
        """Go over what stands between a key and its value."""
        self._skip(BLANKS + LINES)
        if self._next and self._next in ":=":
            self._at += 1
            self._skip(BLANKS)
        if not self._next or self._next in LINES:
            raise self._wrong(f'"{key}" has no value', begun)

    def _end(self) -> None:
        """Go over what ends a pair or an element: a separator, the end of the line, a comment, or what comes next."""
        self._skip(BLANKS)
        if self._next and self._next in ",;":
            self._at += 1
        elif self._next not in ENDS and not self._comment():
            raise self._wrong("a comma or the end of the line is expected behind a value")

    # -- values -----------------------------------------------------------------------------------------------------

    def _value(self) -> Value:
        begun, character = self._at, self._next
        place = self._place()
        if character == "{":
            return Value(self._map(begun), place)
        if character == "[":
            return Value(self._list(begun), place)
        if character in _QUOTED:
            return Value(self._quoted(), place)
        if character == "(":
            return Value(self._block(begun), place)
        found = _WORD.match(self._text, self._at)
        if found is None:
            raise self._wrong("a value is expected")
        self._at = found.end()
        if self._next == "'":
            raise self._wrong("a text with a quote in it is put in double quotes", begun)
        word = found[0].rstrip("\0") if self._at == len(self._text) else found[0]
        if word.startswith("$") and not word.startswith(BCRYPT):
            return Value(self._variable(word[1:], place), place)
        try:
            return Value(word if word.startswith(BCRYPT) else meaning(word), place)
        except ValueError as error:
            raise Wrong(place, str(error)) from None

    def _deeper(self, begun: int) -> None:
        self._at += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._wrong(f"more than {MAX_DEPTH} blocks within each other", begun)

    def _map(self, begun: int) -> dict[str, Pair]:
        self._deeper(begun)
        pairs: dict[str, Pair] = {}
        self._scopes.append(pairs)
        self._pairs(pairs, begun)
        self._scopes.pop()
        self._depth -= 1
        return pairs

    def _list(self, begun: int) -> list[Value]:
        self._deeper(begun)
        values: list[Value] = []
        while True:
            self._skip_all()
            if not self._next:
                raise self._wrong("the list that begins here has no end: ] is missing", begun)
            if self._next == "]":
                self._at += 1
                self._depth -= 1
                return values
            values.append(self._value())
            self._end_element()

    def _end_element(self) -> None:
        self._skip(BLANKS)
        if self._next == ",":
            self._at += 1
        elif self._next and self._next not in LINES + "]" and not self._comment():
            raise self._wrong("a comma or ] is expected behind an element of a list")

    def _quoted(self) -> str:
        begun, quote = self._at, self._next
        found = _QUOTED[quote].match(self._text, self._at)
        if found is None:
            raise self._wrong(f"the text that begins here has no end: {quote} is missing")
        self._at = found.end()
        try:
            return found[1] if quote == "'" else unescaped(found[1])
        except ValueError as error:
            raise self._wrong(str(error), begun) from None

    def _block(self, begun: int) -> str:
        """Read a text of several lines, up to a bracket alone on its line; all between is as it stands."""
        self._at += 1
        found = _BLOCK_END.search(self._text, self._at)
        if found is None:
            raise self._wrong("the text that begins here has no end: ) is missing, at the beginning of a line", begun)
        text = self._text[self._at : found.start()]
        self._at = found.end()
        return text

    # -- what stands elsewhere --------------------------------------------------------------------------------------

    def _include(self, pairs: dict[str, Pair]) -> None:
        self._skip(BLANKS)
        place = self._place()
        if self._next in _QUOTED:
            name = self._quoted()
        else:
            found = _FILE.match(self._text, self._at)
            name = found[0] if found else ""
            self._at = found.end() if found else self._at
        if not name or "\0" in name:
            raise Wrong(place, "include needs the name of a file")
        pairs.update(self._files.include(name, place, self._opened).data)

    def _variable(self, name: str, place: Place) -> object:
        """Give what a variable stands for: in this block or one around it, or else in the environment."""
        for scope in reversed(self._scopes):
            pair = scope.get(name)
            if pair is not None:
                pair.used = True
                return pair.value.data
        if name not in self._files.environment or name in self._asked:
            why = "stands for itself" if name in self._asked else "is not known, in the file or in the environment"
            raise Wrong(place, f"the variable ${name} {why}")
        if len(self._asked) >= MAX_VARIABLES:
            raise Wrong(place, f"more than {MAX_VARIABLES} variables stand for each other")
        text = self._files.environment[name]
        try:
            return _Text(text, self._name, self._files, self._opened, (*self._asked, name)).alone()
        except Wrong as error:
            raise Wrong(place, f"${name} in the environment: {error.text}") from None

    def alone(self) -> object:
        """Read one value and nothing else; no value is an empty text."""
        self._skip(BLANKS + LINES)
        if not self._next:
            return ""
        value = self._value()
        self._skip_all()
        if self._next:
            raise self._wrong("one value is expected, in quotes if it has blanks in it")
        return value.data
