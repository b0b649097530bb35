"""The patterns that someone has subscribed to, arranged by token, so that a topic finds its matches in one walk.

Each level knows the levels below it by literal token, the one below ``*``, and the subscriptions that end here or, by
``>``, above all that follows.  The walk goes token by token with the set of levels reached so far: no recursion, so
that no pattern, however deep, can exhaust the stack.  Subscriptions are kept in dicts for their order and quick
removal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.compiled import twin
from brokerkit.topics import ANY, REST, has_empty_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from brokerkit.subscription import Subscription


@twin
class Level:
    """One token's depth in the trie."""

    __slots__ = ("ends", "next", "rest", "star")

    def __init__(self) -> None:
        """Begin with nothing below."""
        self.next: dict[bytes, Level] = {}
        self.star: Level | None = None
        self.ends: dict[Subscription, None] = {}
        self.rest: dict[Subscription, None] = {}

    def is_bare(self) -> bool:
        """Say whether nothing ends here or lies below."""
        return not (self.next or self.star or self.ends or self.rest)

    def below(self, token: bytes) -> Level:
        """Give the level below ``token``, made when it is not there."""
        if token == ANY:
            if self.star is None:
                self.star = Level()
            return self.star
        level = self.next.get(token)
        if level is None:
            level = self.next[token] = Level()
        return level


class Trie:
    """Patterns and who subscribed to them."""

    __slots__ = ("root", "size")

    def __init__(self) -> None:
        """Begin empty."""
        self.root = Level()
        self.size = 0

    def add(self, pattern: bytes, subscription: Subscription) -> None:
        """Enter a subscription under its pattern."""
        level, rest = self._descend(pattern)[-1], _is_rest(pattern)
        (level.rest if rest else level.ends)[subscription] = None
        self.size += 1

    def remove(self, pattern: bytes, subscription: Subscription) -> None:
        """Take a subscription out, and the levels that nothing needs any more."""
        path = self._descend(pattern)
        level = path[-1]
        del (level.rest if _is_rest(pattern) else level.ends)[subscription]
        self.size -= 1
        tokens = pattern.split(b".")
        for parent, token, child in reversed(list(zip(path, tokens, path[1:], strict=False))):
            if not child.is_bare():
                break
            if token == ANY:
                parent.star = None
            else:
                del parent.next[token]

    def _descend(self, pattern: bytes) -> list[Level]:
        """Give the levels along a pattern, the root first; a last ``>`` adds none."""
        tokens = pattern.split(b".")
        if tokens[-1] == REST:
            tokens.pop()
        path = [self.root]
        for token in tokens:
            path.append(path[-1].below(token))
        return path

    def __iter__(self) -> Iterator[Subscription]:
        """Give all subscriptions, in no order that means anything."""
        levels = [self.root]
        while levels:
            level = levels.pop()
            yield from level.rest
            yield from level.ends
            levels.extend(level.next.values())
            if level.star is not None:
                levels.append(level.star)

    def match(self, topic: bytes) -> list[Subscription]:
        """Give all subscriptions whose pattern stands for the literal name ``topic``."""
        return walk(self.root, topic) if self.size and not has_empty_token(topic) else []


@twin
def walk(root: Level, topic: bytes) -> list[Subscription]:
    """Give all subscriptions below ``root`` whose pattern stands for ``topic``, which has no empty token."""
    found: list[Subscription] = []
    levels = [root]
    for token in topic.split(b"."):
        reached: list[Level] = []
        for level in levels:
            found.extend(level.rest)
            below = level.next.get(token)
            if below is not None:
                reached.append(below)
            if level.star is not None:
                reached.append(level.star)
        if not reached:
            return found
        levels = reached
    for level in levels:
        found.extend(level.ends)
    return found


def _is_rest(pattern: bytes) -> bool:
    return pattern == REST or pattern.endswith(b".>")
