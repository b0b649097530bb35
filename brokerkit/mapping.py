"""One topic made of another: how ``a.*`` becomes ``b.$1``, spelled as nats-server's subject mappings are.

A destination is written token by token.  ``$1`` and ``{{wildcard(1)}}`` stand for what the first ``*`` of the pattern
stood for; other functions cut a token into pieces, count it into a partition or make one up.  What a destination means
is worked out when it is read, so that a message costs a few calls of functions, and most cost them once for a topic
(``Transform.fixed``).

The imports of tenants use the same spelling, but only what can be undone: a subscription here has to become one there.
"""

from __future__ import annotations

import re
from random import randrange
from typing import TYPE_CHECKING, NamedTuple

import attrs

from brokerkit import topics
from brokerkit.tenant import ALL_OF_IT, STREAM

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.tenant import Import, Mapping

    Part = bytes | Callable[[list[bytes]], bytes]  # the token itself, or a function of the topic's tokens

FNV_OFFSET = 2166136261
FNV_PRIME = 16777619
LARGEST = 2**31 - 1

_DOLLAR = re.compile(rb"\$(\d+)")
_CALL = re.compile(rb"\{\{\s*(\w+)\s*\((.*)\)\s*\}\}")


class BadMapping(ValueError):
    """A pattern and a destination do not fit; the text says what was expected, ``found`` what there is."""

    def __init__(self, found: bytes, expected: str) -> None:
        """Take the part that is wrong."""
        super().__init__(expected)
        self.found = found.decode(errors="replace")


# -- functions of tokens --------------------------------------------------------------------------------------------


def fnv1a(data: bytes) -> int:
    """Give the FNV-1a hash of 32 bits."""
    value = FNV_OFFSET
    for byte in data:
        value = (value ^ byte) * FNV_PRIME & 0xFFFFFFFF
    return value


def _wildcard(at: int) -> Part:
    return lambda tokens: tokens[at]


def _partition(buckets: int, places: list[int]) -> Part:
    def part(tokens: list[bytes]) -> bytes:
        key = b"".join([tokens[at] for at in places]) if places else b".".join(tokens)
        return b"%d" % (fnv1a(key) % buckets if buckets else 0)

    return part


def _random(ceiling: int) -> Part:
    return lambda _: b"%d" % (randrange(ceiling) if ceiling else 0)  # noqa: S311  a fair share, not a secret


def _split(at: int, between: bytes) -> Part:
    def part(tokens: list[bytes]) -> bytes:
        pieces = tokens[at].split(between) if between else [tokens[at][i : i + 1] for i in range(len(tokens[at]))]
        return b".".join(filter(None, pieces))

    return part


def _split_from_left(at: int, size: int) -> Part:
    return _cut(at, size, lambda token: [token[:size], token[size:]])


def _split_from_right(at: int, size: int) -> Part:
    return _cut(at, size, lambda token: [token[:-size], token[-size:]])


def _slice_from_left(at: int, size: int) -> Part:
    return _cut(at, size, lambda token: [token[i : i + size] for i in range(0, len(token), size)])


def _slice_from_right(at: int, size: int) -> Part:
    def slices(token: bytes) -> list[bytes]:
        rest = len(token) % size
        first = [token[:rest]] if rest else []
        return first + [token[i : i + size] for i in range(rest, len(token), size)]

    return _cut(at, size, slices)


def _left(at: int, size: int) -> Part:
    return _cut(at, size, lambda token: [token[:size]])


def _right(at: int, size: int) -> Part:
    return _cut(at, size, lambda token: [token[-size:]])


def _cut(at: int, size: int, cut: Callable[[bytes], list[bytes]]) -> Part:
    """Give a part that cuts a token; one that is no longer than ``size`` stays whole."""

    def part(tokens: list[bytes]) -> bytes:
        token = tokens[at]
        return b".".join(cut(token)) if 0 < size < len(token) else token

    return part


_OF_SIZE = {
    b"splitfromleft": _split_from_left,
    b"splitfromright": _split_from_right,
    b"slicefromleft": _slice_from_left,
    b"slicefromright": _slice_from_right,
    b"left": _left,
    b"right": _right,
}


# -- reading a destination ------------------------------------------------------------------------------------------


class Reader:
    """Reads the tokens of one destination for one pattern; ``used`` are the wildcards that they have named."""

    def __init__(self, pattern: bytes) -> None:
        """Count the wildcards of the pattern."""
        tokens = pattern.split(b".")
        self._places = [i for i, token in enumerate(tokens) if token == topics.ANY]
        self.count = len(self._places)
        self.used: list[int] = []
        self.fixed = True

    def part(self, token: bytes, *, reversible: bool) -> Part:
        """Give what makes one token; raise ``BadMapping`` for what is written wrongly."""
        dollar = _DOLLAR.fullmatch(token)
        if dollar:
            return _wildcard(self._place(dollar[1], token))
        if not (token.startswith(b"{{") and token.endswith(b"}}") and len(token) > len(b"{{}}")):
            return token
        call = _CALL.fullmatch(token)
        name = call[1].lower() if call else b""
        if reversible and name != b"wildcard":
            raise BadMapping(token, "$1 or {{wildcard(1)}} alone: this has to be undone, too")
        return self._call(name, re.split(rb",\s*", call[2]) if call else [], token)

    def _call(self, name: bytes, given: list[bytes], token: bytes) -> Part:
        if name == b"wildcard" and len(given) == 1:
            return _wildcard(self._place(given[0], token))
        if name == b"partition":
            return _partition(self._size(given[0], token), [self._place(one, token) for one in given[1:]])
        if name == b"random" and len(given) == 1:
            self.fixed = False
            return _random(self._size(given[0], token))
        if name == b"split" and len(given) == 2:  # noqa: PLR2004  which token, and what is between
            if b" " in given[1]:
                raise BadMapping(token, "no blank between the pieces of a token")
            return _split(self._place(given[0], token), given[1])
        if name in _OF_SIZE and len(given) == 2:  # noqa: PLR2004  which token, and how many bytes
            return _OF_SIZE[name](self._place(given[0], token), self._size(given[1], token))
        raise BadMapping(token, "a function such as {{wildcard(1)}} or {{partition(3,1)}}")

    def _place(self, number: bytes, token: bytes) -> int:
        index = self._size(number, token)
        if not 1 <= index <= self.count:
            raise BadMapping(token, f"the number of a * in the pattern, which has {self.count}")
        self.used.append(index)
        return self._places[index - 1]

    def _size(self, number: bytes, token: bytes) -> int:
        text = number.strip()
        if not text.isdigit() or int(text) > LARGEST:
            raise BadMapping(token, "whole numbers, not negative")
        return int(text)


class Transform:
    """One pattern and one destination.

    ``fixed`` says whether a topic is always made into the same one.
    """

    __slots__ = ("_from", "_parts", "fixed", "pattern", "to")

    def __init__(self, pattern: bytes, to: bytes, *, reversible: bool = False) -> None:
        """Read the destination; raise ``BadMapping`` if it is none for that pattern."""
        self.pattern = pattern
        self.to = to
        written = to.split(b".")
        _check(pattern, to, written)
        reader = Reader(pattern)
        rest = written[-1] == topics.REST
        self._from = len(pattern.split(b".")) - 1 if rest else None
        self._parts = [reader.part(token, reversible=reversible) for token in (written[:-1] if rest else written)]
        self.fixed = reader.fixed
        if reversible and len(set(reader.used)) != reader.count:
            raise BadMapping(to, f"all of the {reader.count} wildcards of the pattern, in some order")

    def __call__(self, topic: bytes) -> bytes:
        """Give what a topic that fits the pattern is made into; it may have empty tokens where a token was split."""
        tokens = topic.split(b".")
        made = [part if isinstance(part, bytes) else part(tokens) for part in self._parts]
        if self._from is not None:
            made += tokens[self._from :]
        return b".".join(made)

    def covers(self, topic: bytes) -> bool:
        """Say whether a topic, a literal name, fits the pattern."""
        return topics.matches(self.pattern, topic)


def _check(pattern: bytes, to: bytes, written: list[bytes]) -> None:
    if not topics.is_pattern(pattern):
        raise BadMapping(pattern, "a pattern such as a.b, a.* or a.>")
    if not topics.is_pattern(to) or topics.ANY in written:
        raise BadMapping(to, "a topic without empty tokens, with $1 or {{wildcard(1)}} in place of a *")
    if any(b" " in token and not token.startswith(b"{{") for token in written):
        raise BadMapping(to, "no blank in a topic")
    if (written[-1] == topics.REST) != (pattern.split(b".")[-1] == topics.REST):
        raise BadMapping(to, "a > at the end where the pattern has one, and only there")


# -- a mapping: destinations with weights ---------------------------------------------------------------------------


class Weighed(NamedTuple):
    """A destination with its share, summed up: it is taken by draws below ``below``; ``None`` for what is lost."""

    below: int
    transform: Transform | None


def transforms(mapping: Mapping) -> tuple[Weighed, ...]:
    """Give where a mapping leads; raise ``BadMapping`` for what cannot be meant.

    What is missing to the hundred keeps its topic, unless the topic itself is among the destinations: then it is lost.
    Both as in nats-server.
    """
    own = mapping.pattern
    total = sum(one.weight for one in mapping.destinations)
    if total > ALL_OF_IT:
        raise BadMapping(b"weights of %d together" % total, f"at most {ALL_OF_IT}")
    seen: set[bytes] = set()
    below = 0
    weighed = []
    for one in sorted(mapping.destinations, key=lambda one: one.weight):
        if one.to in seen:
            raise BadMapping(one.to, "each destination once")
        seen.add(one.to)
        below += one.weight
        weighed.append(Weighed(below, Transform(own, one.to)))
    if below < ALL_OF_IT:
        weighed.append(Weighed(ALL_OF_IT, None if own in seen else Transform(own, _itself(own))))
    return tuple(
        one for one, before in zip(weighed, [0, *(w.below for w in weighed)], strict=False) if one.below > before
    )


def _itself(pattern: bytes) -> bytes:
    """Give the destination that leaves every topic as it is."""
    tokens = pattern.split(b".")
    count = 0
    for i, token in enumerate(tokens):
        if token == topics.ANY:
            count += 1
            tokens[i] = b"$%d" % count
    return b".".join(tokens)


class Mapper:
    """One mapping at work."""

    __slots__ = ("_weighed", "fixed", "pattern")

    def __init__(self, mapping: Mapping) -> None:
        """Read it; raise ``BadMapping``."""
        self.pattern = mapping.pattern
        self._weighed = transforms(mapping)
        only = self._weighed[0].transform
        self.fixed = len(self._weighed) == 1 and (only is None or only.fixed)

    def __call__(self, topic: bytes) -> bytes | None:
        """Give where one message goes; ``None``: nowhere."""
        weighed = self._weighed
        if len(weighed) == 1:
            transform = weighed[0].transform
        else:
            draw = randrange(ALL_OF_IT)  # noqa: S311  a fair share, not a secret
            transform = next(one.transform for one in weighed if draw < one.below)
        made = transform(topic) if transform is not None else None
        return None if made is None or topics.has_empty_token(made) else made

    def shares(self, topic: bytes) -> list[tuple[int, bytes | None]]:
        """Give how many per cent go where, for people; a random part is drawn once."""
        before, shares = 0, []
        for one in self._weighed:
            shares.append((one.below - before, one.transform(topic) if one.transform is not None else None))
            before = one.below
        return shares


# -- an import: one topic on either side -----------------------------------------------------------------------------


@attrs.frozen
class Placed:
    """What an import is called here and there.

    ``local`` is the pattern here; ``here(topic)`` gives the name here of a topic there, ``there(name)`` the other way
    round, for topics and for patterns that lie within.
    """

    local: bytes
    here: Callable[[bytes], bytes] | None
    there: Callable[[bytes], bytes] | None


def placed(one: Import) -> Placed:
    """Give where an import stands; names are the same on both sides if there is no function.

    Raises ``BadMapping``.
    """
    if one.kind == STREAM and one.prefix:
        prefix = one.prefix.removesuffix(b".")
        return Placed(topics.under(prefix, one.pattern), _adding(prefix), _removing(prefix))
    if not one.to or one.to == one.pattern:
        return Placed(one.pattern, None, None)
    to = _itself(one.to)  # a * is allowed here: the first stands for the first
    here = Transform(one.pattern, to, reversible=True)
    local, order = _pattern_of(to)
    there = Transform(local, _in_order(one.pattern, order), reversible=True)
    return Placed(local, here, there)


def _adding(prefix: bytes) -> Callable[[bytes], bytes]:
    return lambda topic: topics.under(prefix, topic)


def _removing(prefix: bytes) -> Callable[[bytes], bytes]:
    size = len(prefix) + 1
    return lambda name: name[size:]


def _pattern_of(to: bytes) -> tuple[bytes, dict[int, int]]:
    """Give the pattern of all that a reversible destination makes, and which of its ``*`` each wildcard has become."""
    tokens = to.split(b".")
    order: dict[int, int] = {}
    for i, token in enumerate(tokens):
        found = _DOLLAR.fullmatch(token) or re.fullmatch(rb"\{\{\s*[wW]ildcard\s*\(\s*(\d+)\s*\)\s*\}\}", token)
        if found:
            order[int(found[1])] = len(order) + 1
            tokens[i] = topics.ANY
    return b".".join(tokens), order


def _in_order(pattern: bytes, order: dict[int, int]) -> bytes:
    tokens = pattern.split(b".")
    count = 0
    for i, token in enumerate(tokens):
        if token == topics.ANY:
            count += 1
            tokens[i] = b"$%d" % order[count]
    return b".".join(tokens)
