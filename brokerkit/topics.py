"""Topics and patterns: the one place that knows what ``.``, ``*`` and ``>`` mean.

A topic is bytes, cut into tokens at each dot.  A pattern is a topic in which a whole token ``*`` stands for any one
token and a last token ``>`` for one or more.  Whether some bytes are meant as a topic or as a pattern is never guessed
from the bytes: it is said by whoever hands them over (an hpfeeds channel called ``>`` is just a name).

An empty token is nothing that a wildcard can stand for: a topic with one is reached by its literal name alone.
"""

from __future__ import annotations

ANY = b"*"
REST = b">"


def has_wildcard(name: bytes) -> bool:
    """Say whether a whole token of ``name`` is ``*`` or ``>``."""
    if ANY not in name and REST not in name:
        return False
    tokens = name.split(b".")
    return ANY in tokens or REST in tokens


def has_empty_token(name: bytes) -> bool:
    """Say whether two dots meet, or a dot stands at an end, or there is nothing at all."""
    return b".." in b"." + name + b"."


def is_pattern(name: bytes) -> bool:
    """Say whether ``name`` can be subscribed to as a pattern: no empty token, ``>`` only at the end."""
    return b".." not in b"." + name + b"." and (REST not in name or REST not in name.split(b".")[:-1])


def matches(pattern: bytes, topic: bytes) -> bool:
    """Say whether ``topic``, a literal name, is one of those that ``pattern`` stands for."""
    if has_empty_token(topic):
        return pattern == topic
    return fits(pattern, topic)


def fits(pattern: bytes, topic: bytes) -> bool:
    """Say what ``matches`` says, but let wildcards stand for empty tokens, too: so a denial means it."""
    tokens = topic.split(b".")
    wanted = pattern.split(b".")
    if wanted[-1] == REST:
        wanted.pop()
        if len(tokens) <= len(wanted):
            return False
    elif len(tokens) != len(wanted):
        return False
    return all(w in (ANY, t) for w, t in zip(wanted, tokens, strict=False))


def covers(wide: bytes, narrow: bytes) -> bool:
    """Say whether every topic that the pattern ``narrow`` stands for is one of ``wide``'s too."""
    big, small = wide.split(b"."), narrow.split(b".")
    for i, token in enumerate(big):
        if token == REST:
            return len(small) > i
        if i >= len(small) or small[i] == REST:
            return False
        if token not in (ANY, small[i]):
            return False
    return len(big) == len(small)


def overlaps(one: bytes, other: bytes) -> bool:
    """Say whether some topic is matched by both patterns."""
    left, right = one.split(b"."), other.split(b".")
    for a, b in zip(left, right, strict=False):
        if REST in (a, b):
            return True
        if a != b and ANY not in (a, b):
            return False
    return len(left) == len(right)


def meet(one: bytes, other: bytes) -> bytes | None:
    """Give the pattern of all topics that both patterns stand for; ``None`` if there is none."""
    left, right = one.split(b"."), other.split(b".")
    common: list[bytes] = []
    for i, (a, b) in enumerate(zip(left, right, strict=False)):
        if REST in (a, b):
            return b".".join(common + (right[i:] if a == REST else left[i:]))
        if a != b and ANY not in (a, b):
            return None
        common.append(b if a == ANY else a)
    return b".".join(common) if len(left) == len(right) else None


def under(prefix: bytes, name: bytes) -> bytes:
    """Give the name in the broker's topic space of a ``name`` from a listener with that ``prefix``."""
    return prefix + b"." + name if prefix else name


def beneath(prefix: bytes, topic: bytes) -> bytes | None:
    """Undo ``under``: give the listener's name of ``topic``, or ``None`` where it lies outside the prefix."""
    if not prefix:
        return topic
    start = len(prefix) + 1
    return topic[start:] if topic[: start - 1] == prefix and topic[start - 1 : start] == b"." else None
