"""Names as people write them, each protocol in its words: ``hpfeeds:dionaea``, ``nats:honeypot.>``, ``kafka:topic/0``.

What stands behind the colon is read by that protocol's plugin, with the prefix of its listener.  Without a protocol it
is a topic or a pattern of the broker; what has a wildcard and is a pattern is meant as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from brokerkit import topics
from brokerkit.errors import OperatorError
from brokerkit.interfaces import INotation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brokerkit.config import Listen


@attrs.frozen
class Name:
    """One topic, or one pattern; ``text`` is what somebody has written."""

    topic: bytes
    literal: bool
    text: str = ""

    @property
    def shown(self) -> str:
        """The topic as a text for people."""
        return shown(self.topic)


class Notations:
    """The ways to write a name, each with the prefixes that its listeners have."""

    def __init__(self, plugins: Mapping[str, Any], listen: Iterable[Listen] = ()) -> None:
        """Take the protocols that are installed, and the listeners that are configured."""
        self._ways = {name: way for name, way in plugins.items() if INotation.providedBy(way)}
        self._prefixes: dict[str, dict[bytes, None]] = {}
        for one in listen:
            self._prefixes.setdefault(one.protocol, {})[one.topic_prefix.encode()] = None

    def read(self, text: str) -> Name:
        """Give the name that a text stands for; raise ``OperatorError`` with what is wrong with it."""
        written = text.encode(errors="surrogateescape")
        word, colon, rest = text.partition(":")
        if not colon or word not in self._ways:
            if not written:
                raise OperatorError("an empty name: expected a topic such as honeypot.ssh, or PROTOCOL:NAME")
            return Name(written, not (topics.has_wildcard(written) and topics.is_pattern(written)), text)
        if not rest:
            raise OperatorError(f"{text}: expected a name behind the colon")
        try:
            topic, literal = self._ways[word].notation(rest.encode(errors="surrogateescape"), self._prefix(word, rest))
        except ValueError as error:
            raise OperatorError(f"{text}: {error}") from None
        return Name(topic, literal, text)

    def spell(self, name: Name) -> dict[str, str | None]:
        """Give how each protocol writes a name; ``None`` where it cannot.

        One that writes names as another does is left out, unless there is a listener for it.
        """
        return {
            word: self._spelled(word, name)
            for word, way in self._ways.items()
            if word in self._prefixes or not getattr(way, "like", "")
        }

    def _spelled(self, word: str, name: Name) -> str | None:
        for prefix in self._prefixes.get(word, {b"": None}):
            found = self._ways[word].spelling(name.topic, prefix, name.literal)
            if found is not None:
                return shown(found)
        return None

    def _prefix(self, word: str, rest: str) -> bytes:
        prefixes = list(self._prefixes.get(word, {b"": None}))
        if len(prefixes) > 1:
            choice = " or ".join(shown(topics.under(prefix, rest.encode())) for prefix in prefixes)
            raise OperatorError(f"{word}:{rest}: listeners for {word} have several prefixes; write the topic: {choice}")
        return prefixes[0]


def shown(name: bytes) -> str:
    """Give a name for people: what is no UTF-8, or would move the cursor, is escaped."""
    text = name.decode(errors="backslashreplace")
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
