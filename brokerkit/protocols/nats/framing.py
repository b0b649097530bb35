"""How NATS spells messages for its subscribers: the subscriber's ``MSG subject sid ``, and what all share behind it.

With headers the line begins with HMSG: that is an H before each head, so it is a matter of the shared pieces.  A run
that came in by NATS under the same topic prefix has its tails in the chunk already (``[reply ]size CRLF payload
CRLF``); they are cut out, not made.

What cannot be a subject (blanks, empty tokens) is never written.  A topic with a wildcard token or a control character,
or that is not UTF-8, is written only if it came in by NATS, where it is a name like any other: clients take more for a
blank than servers, and some are lost when a subject is no text.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from brokerkit.protocols.nats.wire import NatsRun, OddRun, form, is_word
from brokerkit.run import Renamed
from brokerkit.topics import beneath, has_empty_token, has_wildcard

if TYPE_CHECKING:
    from brokerkit.run import Batch, Message


_H = 72  # the first byte of HPUB
_CONTROL = re.compile(rb"[\x00-\x20\x7f]")  # some of these are blanks in the eyes of clients


class NatsFraming:
    """MSG and HMSG for the subscribers of all listeners with one topic prefix, with or without header support."""

    frame = staticmethod(bytes.join)

    def __init__(self, prefix: bytes, *, headers: bool) -> None:
        """Spell the topics under ``prefix`` without it."""
        self.prefix = prefix
        self.headers = headers
        self.form = form(prefix)
        self.headed = b"H" if headers else None
        self.around = b"MSG ", b" ", b" "
        self._above = len(prefix) + 1 if prefix else 0  # bytes of a topic that are no part of the subject
        self._last: tuple[bytes, bytes | None] = b"", None  # heads are asked for by topic, one for each subscription

    def head(self, topic: bytes, tag: bytes) -> bytes | None:
        """Give the beginning of each frame to the subscription with the sid ``tag``."""
        last, start = self._last
        if topic != last:
            start = self._start(topic)
            self._last = topic, start
        return None if start is None else b"%b%b " % (start, tag)

    def _start(self, topic: bytes) -> bytes | None:
        subject = beneath(self.prefix, topic)
        if subject is None or not is_word(subject) or has_empty_token(subject):
            return None
        return b"MSG %b " % subject

    def pieces(self, batch: Batch) -> list[bytes] | None:
        """Give what stands before, between and behind the heads of a batch."""
        run = batch.run
        if run.__class__ is Renamed:
            batch = run.as_it_was(batch)  # what is renamed is the head's business
            run = batch.run
        if run.__class__ is NatsRun and run.spellings.prefix == self.prefix:
            headed = run.chunk[run.starts[batch.start]] == _H
            if not headed:
                return [b"", *self._cut(batch, run, 4)]
            if self.headers:
                return _between(b"H", self._cut(batch, run, 5))
        elif not isinstance(run, NatsRun | OddRun) and _is_odd(batch.topic):
            return None
        headed = self.headers and batch.headed
        tails = [self._tail(message, headed=headed) for message in batch]
        return _between(b"H", tails) if headed else [b"", *tails]

    def _cut(self, batch: Batch, run: NatsRun, name: int) -> list[bytes]:
        """Cut the tails out of the chunk; ``name`` is the length of the operation and its blank."""
        chunk, starts = run.chunk, run.starts
        first, stop = batch.start, batch.stop
        skip = name + len(batch.topic) - self._above + 1
        end = starts[stop] if stop < len(starts) else run.end
        if stop - first == 1:
            return [chunk[starts[first] + skip : end]]
        begins = [*starts[first:stop], end]
        return [chunk[a + skip : b] for a, b in pairwise(begins)]

    def _tail(self, message: Message, *, headed: bool) -> bytes:
        """Make a tail; a reply topic that cannot be said here is left out, and nobody can then answer."""
        payload, headers = message.payload, message.headers
        reply = beneath(self.prefix, message.reply) if message.reply else b""
        address = reply + b" " if reply and is_word(reply) else b""
        if headed:
            return b"%b%d %d\r\n%b%b\r\n" % (address, len(headers), len(headers) + len(payload), headers, payload)
        return b"%b%d\r\n%b\r\n" % (address, len(payload), payload)


def _is_odd(topic: bytes) -> bool:
    """Say whether clients could take a topic for something else."""
    if has_wildcard(topic) or _CONTROL.search(topic):
        return True
    try:
        topic.isascii() or topic.decode()
    except UnicodeDecodeError:
        return True
    return False


def _between(before: bytes, tails: list[bytes]) -> list[bytes]:
    """Set ``before`` in front of every head: behind each tail but the last, and at the very beginning."""
    return [before, *(tail + before for tail in tails[:-1]), tails[-1]]


@cache
def nats_framing(prefix: bytes, *, headers: bool) -> NatsFraming:
    """Give the one framing of a topic prefix: subscribers of all its listeners share what is made."""
    return NatsFraming(prefix, headers=headers)
