"""The NATS wire: control lines, and payloads behind PUB and HPUB.

``scan`` takes consecutive well-spelled publishes (upper case, single blanks, CRLF) and builds only a list of where
they start.  A control line that was seen before is not parsed again: its meaning is looked up by its bytes in a
bounded memory that the connections of a listener share.  Everything else (commands, odd but legal spellings, errors,
what is not all there) is left to ``next``, which follows nats-server's parser to the letter, silence included: a
``ProtocolViolation`` without a reply is a connection that is closed without a word.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from itertools import pairwise
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from brokerkit.compiled import load_scanner
from brokerkit.errors import LoginFailed, ProtocolViolation, TooLarge
from brokerkit.run import Message, Scanned, Spoken
from brokerkit.topics import has_empty_token, under
from brokerkit.unread import Unread

if TYPE_CHECKING:
    from collections.abc import Callable

scanner = load_scanner("brokerkit.protocols.nats._scanner")

LOGIN_FIRST = "Authorization Violation"
UNKNOWN = "Unknown Protocol Operation"
LINE_TOO_LONG = "maximum control line exceeded"
PAYLOAD_TOO_LARGE = "Maximum Payload Violation"

RUN_LENGTH = 4096  # messages: the most that is published before other work gets its turn
SPELLINGS = 4096  # control lines that a listener remembers
_H = 72  # the first byte of HPUB
DIGITS = 9  # decimal digits of a size, as in nats-server

CLOSED_SUBJECTS = (b"_GR_.", b"$NRG.")  # nobody may publish to what begins so
CLOSED_REPLIES = (b"_R_.", b"$JS.ACK.", b"_GR_.")  # nobody may ask for answers to these


class Connect(NamedTuple):
    """The client's options, as JSON."""

    options: bytes


class Pub(NamedTuple):
    """PUB or HPUB: ``headers`` is empty where there are none."""

    subject: bytes
    reply: bytes
    headers: bytes
    payload: bytes
    headed: bool


class Sub(NamedTuple):
    """A subscription; the queue is empty for a plain one."""

    subject: bytes
    queue: bytes
    sid: bytes


Wish = tuple[bytes, bytes, bytes]
"""The same without the name: subject, queue, sid."""


class Unsub(NamedTuple):
    """The end of one: at once (0), or when so many messages have been delivered."""

    sid: bytes
    after: int


class Ping(NamedTuple):
    """The question whether the other side is there."""


class Pong(NamedTuple):
    """The answer that it is."""


class ServerInfo(NamedTuple):
    """INFO, which a client may send and nobody reads."""

    options: bytes


class Okay(NamedTuple):
    """+OK, likewise."""


Item = Connect | Pub | Sub | Unsub | Ping | Pong | ServerInfo | Okay


class Spelling(NamedTuple):
    """What a control line of a publish means: ``size`` counts headers and payload, ``head`` the headers alone."""

    topic: bytes
    reply: bytes
    head: int
    size: int


class Spellings:
    """The control lines that have been seen on one listener, and what its limits say of new ones."""

    def __init__(self, prefix: bytes, max_payload: int, max_line: int) -> None:
        """Begin with none."""
        self.prefix = prefix
        self.known: dict[bytes, Spelling] = {}
        self.follow(max_payload, max_line)

    def follow(self, max_payload: int, max_line: int) -> None:
        """Hold everything against other limits from now on, also control lines that have been seen."""
        self.max_payload = max_payload
        self.max_line = max_line
        self.known.clear()
        self.scanner = scanner and scanner.Scanner(
            self.prefix, max_payload, max_line, _may_be_published, CLOSED_REPLIES
        )
        # SUBs in a row as clients spell them, each shorter than any that is too long.  The repeats give nothing back
        # ("++", "}+"), so that the search takes neither time nor memory beyond what it reads.
        word = rb"[^\s]{1,%d}+" % max(max_line // 4, 1)
        self.subs = re.compile(rb"(?:SUB %b (?:%b )?%b\r\n)++" % (word, word, word))

    def learn(self, line: bytes) -> Spelling | None:
        """Parse a control line; ``None`` unless it is spelled in the plain way and nothing is to be said against it."""
        parts = line.split(b" ")
        spelling = _plain(parts, line, self)
        if spelling is not None and not spelling.reply:  # replies hardly ever come twice
            if len(self.known) >= SPELLINGS:
                self.known.clear()
            self.known[line] = spelling
        return spelling


def _plain(parts: list[bytes], line: bytes, limits: Spellings) -> Spelling | None:
    """Read ``PUB subject [reply] size`` or ``HPUB subject [reply] head size``."""
    sizes = 2 if parts[0] == b"HPUB" else 1
    if (sizes == 1 and parts[0] != b"PUB") or not sizes + 2 <= len(parts) <= sizes + 3 or b"" in parts:
        return None
    subject, head, size = parts[1], _size(parts[-2]) if sizes == 2 else 0, _size(parts[-1])  # noqa: PLR2004
    reply = parts[2] if len(parts) == sizes + 3 else b""
    if size < 0 or size > limits.max_payload or head < 0 or head > size or (sizes == 2 and not head):  # noqa: PLR2004
        return None
    if len(line) - len(parts[0]) - 1 > limits.max_line or _BLANK.search(subject + reply):
        return None
    if not _may_be_published(subject) or reply.startswith(CLOSED_REPLIES):
        return None
    prefix = limits.prefix
    return Spelling(under(prefix, subject), under(prefix, reply) if reply else b"", head, size)


def _may_be_published(subject: bytes) -> bool:
    """Say whether nothing is to be said against a subject that has no blanks."""
    return not (has_empty_token(subject) or subject.startswith(CLOSED_SUBJECTS))


_BLANK = re.compile(rb"[ \t\r\n\f]")


def is_closed(subject: bytes) -> bool:
    """Say whether a subject is kept for the servers themselves."""
    return subject.startswith(CLOSED_SUBJECTS) and subject != b"_GR_."


def is_closed_reply(reply: bytes) -> bool:
    """Say whether a reply subject is one that only servers make."""
    return reply.startswith(CLOSED_REPLIES) and reply not in {b"$JS.ACK.", b"_GR_."}


def is_word(name: bytes) -> bool:
    """Say whether a name can stand in a control line: not empty, no blank."""
    return bool(name) and not _BLANK.search(name)


def _size(digits: bytes) -> int:
    """Read a size; -1 if it is none."""
    return int(digits) if digits.isdigit() and len(digits) <= DIGITS else -1


@cache
def form(prefix: bytes) -> object:
    """Give what runs that came in under a topic prefix have in common with the framings of that prefix."""
    return "nats", prefix


class NatsRun(Scanned):
    """Consecutive PUBs and HPUBs, as places in the chunk that they came in."""

    __slots__ = ("lines", "spellings")

    def __init__(self, spellings: Spellings) -> None:
        """Begin empty, with the memory that the scanner used."""
        super().__init__()
        self.spellings = spellings
        self.lines = 0  # times that another control line was seen than just before
        self.form = form(spellings.prefix)

    def __getitem__(self, index: int) -> Message:
        """Cut out one message."""
        start = self.starts[index]
        chunk = self.chunk
        eol = chunk.index(b"\r\n", start)
        line = chunk[start:eol]
        spelling = self.spellings.known.get(line) or self.spellings.learn(line)
        if spelling is None:
            raise ProtocolViolation(None)
        topic, reply, head, size = spelling
        body = eol + 2
        return Message(topic, chunk[body + head : body + size], reply, chunk[body : body + head])

    def headed(self, index: int) -> bool:
        """Say whether it is an HPUB."""
        return self.chunk[self.starts[index]] == _H

    def bare(self, start: int, stop: int) -> bool:  # noqa: ARG002  a batch is all PUB or all HPUB
        """Say whether a batch has neither headers nor replies; of runs in which there are some, it says no."""
        return not self.asking and self.chunk[self.starts[start]] != _H

    def payloads(self, start: int, stop: int) -> list[bytes]:
        """Cut out the payloads of a batch: of PUBs, what stands behind the control line."""
        chunk, starts = self.chunk, self.starts
        if chunk[starts[start]] == _H:
            return super().payloads(start, stop)
        first = starts[start]
        if stop - start == 1:
            return [chunk[chunk.index(b"\n", first) + 1 : (self.end if stop == len(starts) else starts[stop]) - 2]]
        begins = starts[start : stop + 1]
        if stop == len(starts):
            begins.append(self.end)
        if self.lines == 1:  # all are as long as the first one
            skip = chunk.index(b"\n", first) + 1 - first
            return even_payloads(chunk, first, stop - start, skip, begins[1] - first - skip - 2)
        find = chunk.index
        return [chunk[find(b"\n", a) + 1 : b - 2] for a, b in pairwise(begins)]


TOGETHER = 64  # payloads that are cut out in one call


@lru_cache(maxsize=256)
def _evenly(skip: int, size: int) -> Struct:
    return Struct("<" + f"{skip}x{size}s2x" * TOGETHER)


def even_payloads(chunk: bytes, start: int, count: int, skip: int, size: int) -> list[bytes]:
    """Cut out payloads of one size, each behind a line of ``skip`` bytes: many in one call, at a third of the price."""
    step, found = skip + size + 2, list[bytes]()
    end, stride = start + count * step, step * TOGETHER
    while end - start >= stride:
        found += _evenly(skip, size).unpack_from(chunk, start)
        start += stride
    return found + [chunk[place + skip : place + skip + size] for place in range(start, end, step)]


class OddRun(Spoken):
    """Publishes that did not fit a ``NatsRun``, but came in by NATS too."""

    __slots__ = ()


class Wire(Unread):
    """One connection's input.

    ``headers`` says whether they have been agreed upon, ``locked`` that nothing but CONNECT is listened to.
    """

    __slots__ = ("_run", "headers", "locked", "spellings")

    def __init__(self, spellings: Spellings) -> None:
        """Begin, with the memory and the limits of the listener."""
        super().__init__()
        self.spellings = spellings
        self.headers = False
        self.locked = False
        self._run: NatsRun | None = None

    def scan(self) -> NatsRun | None:  # noqa: C901, PLR0912  one loop, kept whole for its speed
        """Give the well-spelled publishes that stand next; ``None`` if something else does."""
        chunk, pos = self.chunk, self.pos
        first = chunk[pos : pos + 1]
        if first != b"P" and (first != b"H" or not self.headers):
            return None
        run = self._run
        if run is None:
            run = self._run = NatsRun(self.spellings)
        run.lines, run.asking = 0, False
        compiled = self.spellings.scanner
        if compiled is not None:
            self.pos = compiled.scan(run, chunk, pos, self.headers)
            return run if self.pos > pos else None
        find, starts, known = chunk.find, run.starts, self.spellings.known
        begin, longest = starts.append, self.spellings.max_line + 5
        before = b""
        last: bytes | None = None
        headed = False
        size = 0
        while len(starts) < RUN_LENGTH:
            eol = find(b"\r\n", pos, pos + longest)
            if eol < 0:
                break
            line = chunk[pos:eol]
            if line != before:
                spelling = known.get(line) or self.spellings.learn(line)
                if spelling is None:
                    break
                topic, reply, head, size = spelling
                if head and not self.headers:
                    break
                if reply:
                    run.asking = True
                before = line
                run.lines += 1
                if topic != last or headed is not (head > 0):
                    last, headed = topic, head > 0
                    run.cuts.append(len(starts))
                    run.topics.append(topic)
            end = eol + 2 + size
            if chunk[end : end + 2] != b"\r\n":
                break
            begin(pos)
            pos = end + 2
        if run.cuts and run.cuts[-1] == len(starts):  # a batch was begun for a message that is not all there
            run.cuts.pop()
            run.topics.pop()
        if not starts:
            return None
        run.chunk = chunk
        run.end = self.pos = pos
        return run

    # -- one other item ---------------------------------------------------------------------------------------------

    def next(self) -> Item | None:
        """Read one item; ``None`` if it is not all there yet."""
        chunk, pos = self.chunk, self.pos
        if pos == len(chunk):
            return None
        if self.locked and chunk[pos] not in b"Cc":
            raise LoginFailed(LOGIN_FIRST)
        plain = _PLAIN_SUB.match(chunk, pos, pos + self.spellings.max_line)
        if plain is not None:
            self.pos = plain.end()
            return Sub(plain[1], plain[2] or b"", plain[3])
        name = self._operation()
        if name is None:
            return None
        return _READERS[name](self, pos + len(name))

    def subs(self) -> list[Wish]:
        """Give the SUBs that stand next and are spelled in the plain way; for one to whom SUB is open by now."""
        found = self.spellings.subs.match(self.chunk, self.pos)
        if found is None:
            return []
        begin, self.pos = found.span()
        return _PLAIN_SUB.findall(self.chunk, begin, self.pos)

    def _operation(self) -> bytes | None:
        """Give the operation that stands next; ``None`` if it may become one; an error as soon as it cannot."""
        word = self.chunk[self.pos : self.pos + 8].upper()
        for name in _READERS:
            if word.startswith(name):
                follows = word[len(name) : len(name) + 1]
                if name in _SPACED and follows not in (b"", b" ", b"\t"):
                    break
                return name
            if name.startswith(word):
                return None
        raise ProtocolViolation(UNKNOWN)

    def line(self, start: int) -> tuple[bytes, int] | None:
        """Give the arguments that begin at ``start``, without leading blanks, and where the next line begins."""
        chunk, limit = self.chunk, self.spellings.max_line
        blanks = start
        while chunk[start : start + 1] in (b" ", b"\t"):
            start += 1
        if start - blanks > limit:  # nats-server lets blanks go by without end; we would have to hold them
            raise TooLarge(LINE_TOO_LONG)
        eol = chunk.find(b"\n", start, start + limit + 2)
        if eol < 0:
            held = chunk[start : start + limit + 2]
            if len(held) - held.endswith(b"\r") > limit:
                raise TooLarge(LINE_TOO_LONG)
            return None
        arguments = chunk[start : eol - 1 if chunk[eol - 1 : eol] == b"\r" and eol > start else eol]
        if len(arguments) > limit:
            raise TooLarge(LINE_TOO_LONG)
        return arguments, eol + 1

    def words(self, start: int, blanks: bytes) -> tuple[list[bytes], int] | None:
        """Give the words of the arguments, and where the next line begins; ``blanks`` says what is a blank here."""
        found = self.line(start)
        if found is None:
            return None
        return [word for word in found[0].translate(blanks).split(b" ") if word], found[1]


# SUB as clients spell it.  Whatever else it may be, `_sub` says.
_PLAIN_SUB = re.compile(rb"SUB ([^\s]+) (?:([^\s]+) )?([^\s]+)\r\n")

_TAB = bytes.maketrans(b"\t", b" ")  # what separates the arguments of PUB and HPUB
_TAB_CR = bytes.maketrans(b"\t\r", b"  ")  # and those of SUB and UNSUB


def _read_publish(wire: Wire, start: int, sizes: int) -> Pub | None:
    """Read PUB (one size) or HPUB (two)."""
    found = wire.words(start, _TAB)
    if found is None:
        return None
    words, body = found
    if not sizes + 1 <= len(words) <= sizes + 2 or (sizes > 1 and not wire.headers):
        raise ProtocolViolation(None)
    head, size = _size(words[-2]) if sizes > 1 else 0, _size(words[-1])
    if size < 0 or not 0 <= head <= size:
        raise ProtocolViolation(None)
    if size > wire.spellings.max_payload:
        raise TooLarge(PAYLOAD_TOO_LARGE)
    end = body + size
    chunk = wire.chunk
    if wire.lacks(end + 1 - wire.pos):
        return None
    mark = chunk[end : end + 2]
    if mark != b"\r\n"[: len(mark)]:
        raise ProtocolViolation(UNKNOWN)
    if wire.lacks(end + 2 - wire.pos):
        return None
    wire.pos = end + 2
    reply = words[1] if len(words) == sizes + 2 else b""
    return Pub(words[0], reply, chunk[body : body + head], chunk[body + head : end], sizes > 1)


def _pub(wire: Wire, start: int) -> Pub | None:
    return _read_publish(wire, start, 1)


def _hpub(wire: Wire, start: int) -> Pub | None:
    return _read_publish(wire, start, 2)


def _sub(wire: Wire, start: int) -> Sub | None:
    found = wire.words(start, _TAB_CR)
    if found is None:
        return None
    words, wire.pos = found
    if len(words) == 2:  # noqa: PLR2004
        return Sub(words[0], b"", words[1])
    if len(words) == 3:  # noqa: PLR2004
        return Sub(*words)
    raise ProtocolViolation(None)


def _unsub(wire: Wire, start: int) -> Unsub | None:
    found = wire.words(start, _TAB_CR)
    if found is None:
        return None
    words, wire.pos = found
    if not 1 <= len(words) <= 2:  # noqa: PLR2004
        raise ProtocolViolation(None)
    return Unsub(words[0], max(_size(words[1]), 0) if len(words) > 1 else 0)


def _connect(wire: Wire, start: int) -> Connect | None:
    found = wire.line(start)
    if found is None:
        return None
    options, wire.pos = found
    return Connect(options)


def _info(wire: Wire, start: int) -> ServerInfo | None:
    found = wire.line(start)
    if found is None:
        return None
    options, wire.pos = found
    return ServerInfo(options)


def _error(wire: Wire, start: int) -> None:
    if wire.line(start) is not None:
        raise ProtocolViolation(None)


def _bare(item: Item) -> Callable[[Wire, int], Item | None]:
    """Read an operation whose line holds nothing that matters."""

    def read(wire: Wire, start: int) -> Item | None:
        found = wire.line(start)
        if found is None:
            return None
        wire.pos = found[1]
        return item

    return read


_READERS: dict[bytes, Callable[[Wire, int], Item | None]] = {
    b"PUB": _pub,
    b"HPUB": _hpub,
    b"SUB": _sub,
    b"UNSUB": _unsub,
    b"PING": _bare(Ping()),
    b"PONG": _bare(Pong()),
    b"CONNECT": _connect,
    b"INFO": _info,
    b"+OK": _bare(Okay()),
    b"-ERR": _error,
}
_SPACED = (b"PUB", b"HPUB", b"SUB", b"UNSUB", b"-ERR")
