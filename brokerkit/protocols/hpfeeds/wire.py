"""The hpfeeds wire: length-prefixed frames, six kinds of them.

A frame is its whole length (4 bytes, network order), an opcode (1 byte) and a body.  A short string is a length byte
and that many bytes; the last field of a body has no length of its own.

``scan`` takes consecutive PUBLISH frames of the logged-in ident without building anything but a list of where they
start: the bytes behind the length are compared with those of the frame before, so that a frame on the same channel
costs one comparison.  Whatever it does not recognise it leaves to ``next``, which reads one frame with every check
there is.

Sizes are limited as in the original broker, by opcode, as soon as five bytes are there.  Idents and channels are
bytes: some sensors send Latin-1.
What the original answers by hanging up without a word is a ``ProtocolViolation`` or ``TooLarge`` with no reply.
"""

from __future__ import annotations

from functools import cache
from itertools import islice, pairwise
from operator import sub
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from brokerkit.compiled import load_scanner
from brokerkit.errors import ProtocolViolation, TooLarge
from brokerkit.run import Message, Scanned
from brokerkit.topics import under
from brokerkit.unread import Unread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

scanner = load_scanner("brokerkit.protocols.hpfeeds._scanner")

ERROR, INFO, AUTH, PUBLISH, SUBSCRIBE, UNSUBSCRIBE = range(6)

HEADER = Struct("!iB")
HEAD = HEADER.size
MEGABYTE = 1024 * 1024
MAX_PUBLISH = HEAD + MEGABYTE
MAX_SIZE = {  # bytes of a whole frame
    ERROR: HEAD + MEGABYTE,
    INFO: HEAD + 256 + 20,
    AUTH: HEAD + 256 + 20,
    PUBLISH: MAX_PUBLISH,
    SUBSCRIBE: MEGABYTE,
    UNSUBSCRIBE: MEGABYTE,
}
LOGIN_FIRST = "First message was not AUTH"

RUN_LENGTH = 4096  # messages: the most that is published before other work gets its turn


class Error(NamedTuple):
    """The broker says what was wrong."""

    text: bytes


class Info(NamedTuple):
    """The broker's first words: its name, and the nonce that the client hashes its secret with."""

    name: bytes
    nonce: bytes


class Auth(NamedTuple):
    """The client's answer: who it is, and SHA1(nonce + secret)."""

    ident: bytes
    digest: bytes


class Publish(NamedTuple):
    """A message."""

    ident: bytes
    channel: bytes
    payload: bytes


class Subscribe(NamedTuple):
    """A wish for a channel."""

    ident: bytes
    channel: bytes


class Unsubscribe(NamedTuple):
    """The end of that wish."""

    ident: bytes
    channel: bytes


Frame = Error | Info | Auth | Publish | Subscribe | Unsubscribe


def short(text: bytes) -> bytes:
    """Spell a short string; the text has at most 255 bytes."""
    return bytes((len(text),)) + text


def frame(opcode: int, *fields: bytes) -> bytes:
    """Spell a frame of fields that are spelled already."""
    body = b"".join(fields)
    return HEADER.pack(HEAD + len(body), opcode) + body


def spell(item: Frame) -> bytes:
    """Spell any frame."""
    if isinstance(item, Error):
        return frame(ERROR, item.text)
    opcode = _OPCODES[item.__class__]
    *shorts, last = item
    return frame(opcode, *map(short, shorts), last)


_OPCODES: dict[type, int] = {Info: INFO, Auth: AUTH, Publish: PUBLISH, Subscribe: SUBSCRIBE, Unsubscribe: UNSUBSCRIBE}


@cache
def form(prefix: bytes) -> object:
    """Give what runs that came in under a topic prefix have in common with the framing of that prefix."""
    return "hpfeeds", prefix


class HpfeedsRun(Scanned):
    """Consecutive PUBLISH frames, as places in the chunk that they came in."""

    __slots__ = ("prefix",)

    def __init__(self, prefix: bytes) -> None:
        """Begin empty, for a listener with that topic prefix."""
        super().__init__()
        self.prefix = prefix
        self.form = form(prefix)

    def __getitem__(self, index: int) -> Message:
        """Cut out one message."""
        chunk = self.chunk
        start = self.starts[index]
        channel = start + HEAD + 1 + chunk[start + HEAD]
        payload = channel + 1 + chunk[channel]
        return Message(under(self.prefix, chunk[channel + 1 : payload]), chunk[payload : self.ending(index)])

    def octets(self, start: int, stop: int) -> int:
        """Give the bytes of payload of a batch: its frames have one ident and one channel."""
        starts = self.starts
        begin = starts[start]
        end = starts[stop] if stop < len(starts) else self.end
        return end - begin - (stop - start) * self._around(begin)

    def largest(self, start: int, stop: int) -> int:
        """Give the bytes of payload of the largest message of a batch."""
        return max(self._lengths(start, stop)) - self._around(self.starts[start])

    def sizes(self, start: int, stop: int) -> list[int]:
        """Give the bytes of payload of each message of a batch."""
        around = self._around(self.starts[start])
        return [length - around for length in self._lengths(start, stop)]

    def bare(self, start: int, stop: int) -> bool:  # noqa: ARG002
        """Say yes: hpfeeds has neither headers nor replies."""
        return True

    def payloads(self, start: int, stop: int) -> list[bytes]:
        """Cut out the payloads of a batch."""
        around, chunk = self._around(self.starts[start]), self.chunk
        begins = self.starts[start : stop + 1]
        if stop == len(self.starts):
            begins.append(self.end)
        return [chunk[a + around : b] for a, b in pairwise(begins)]

    def _lengths(self, start: int, stop: int) -> Iterator[int]:
        begins = self.starts[start : stop + 1]
        if stop == len(self.starts):
            begins.append(self.end)
        return map(sub, islice(begins, 1, None), begins)

    def _around(self, begin: int) -> int:
        """Give the bytes of a frame that are not payload."""
        chunk = self.chunk
        channel = begin + HEAD + 1 + chunk[begin + HEAD]
        return channel + 1 + chunk[channel] - begin

    def headed(self, index: int) -> bool:  # noqa: ARG002
        """Say no: hpfeeds has no headers."""
        return False


class Channels(dict[bytes, bytes]):
    """The topics of channels that have been seen on one listener."""

    def __init__(self, prefix: bytes) -> None:
        """Begin with none."""
        super().__init__()
        self.scanner = scanner and scanner.Scanner(prefix)


class Wire(Unread):
    """One connection's input; ``locked`` says that nothing but AUTH is listened to."""

    __slots__ = ("_channels", "_own", "_run", "_scanner", "locked", "prefix")

    def __init__(self, prefix: bytes = b"", channels: Channels | None = None) -> None:
        """Begin, for a listener with that topic prefix; ``channels`` is a memory that its connections may share."""
        super().__init__()
        self.prefix = prefix
        self.locked = False
        self._channels = Channels(prefix) if channels is None else channels
        self._scanner = self._channels.scanner
        self._own: bytes | None = None
        self._run: HpfeedsRun | None = None

    def own(self, ident: bytes) -> None:
        """Scan runs of this ident from now on: whoever logged in."""
        self._own = short(ident)

    def scan(self) -> HpfeedsRun | None:
        """Give the well-spelled publishes of the own ident that stand next; ``None`` if something else does."""
        chunk, pos, own = self.chunk, self.pos, self._own
        have = len(chunk)
        if own is None or have - pos < HEAD:
            return None
        run = self._run
        if run is None:
            run = self._run = HpfeedsRun(self.prefix)
        if self._scanner is not None:
            self.pos = self._scanner.scan(run, chunk, pos, own)
            return run if self.pos > pos else None
        starts, unpack, same = run.starts, HEADER.unpack_from, chunk.startswith
        begin = starts.append
        address: bytes = own  # ident and channel of the frame before, as they are spelled
        least = MAX_PUBLISH + 1
        while have - pos >= HEAD and len(starts) < RUN_LENGTH:
            size, opcode = unpack(chunk, pos)
            end = pos + size
            if opcode != PUBLISH or end > have or size > MAX_PUBLISH:
                break
            if size < least or not same(address, pos + HEAD):
                spelled = self._address(pos, end)
                if spelled is None:
                    break
                address, topic = spelled
                least = HEAD + len(address)
                run.cuts.append(len(starts))
                run.topics.append(topic)
            begin(pos)
            pos = end
        if not starts:
            return None
        run.chunk = chunk
        run.end = self.pos = pos
        return run

    def _address(self, start: int, end: int) -> tuple[bytes, bytes] | None:
        """Give ident and channel of a frame as they are spelled, and the topic; ``None`` unless all is in order."""
        chunk, own = self.chunk, self._own
        at = start + HEAD + len(own or b"")
        if own is None or end <= at or not chunk.startswith(own, start + HEAD):
            return None
        stop = at + 1 + chunk[at]
        if stop > end:
            return None
        channel = chunk[at + 1 : stop]
        topic = self._channels.get(channel)
        if topic is None:
            if len(self._channels) >= 4096:  # noqa: PLR2004  a bound against channels without end
                self._channels.clear()
            topic = self._channels[channel] = under(self.prefix, channel)
        return chunk[start + HEAD : stop], topic

    def next(self) -> Frame | None:
        """Read one frame; ``None`` if it is not all there yet."""
        if self.lacks(HEAD):
            return None
        size, opcode = HEADER.unpack_from(self.chunk, self.pos)
        limit = MAX_SIZE.get(opcode)
        if limit is None or size < HEAD:
            raise ProtocolViolation(None)
        if size > limit:
            raise TooLarge(None)
        if self.locked and opcode != AUTH:  # said before the rest of it is there: who has not logged in fills no memory
            raise ProtocolViolation(LOGIN_FIRST)
        if self.lacks(size):
            return None
        body = self.chunk[self.pos + HEAD : self.pos + size]
        self.pos += size
        return _READERS[opcode](body)


def _cut(body: bytes) -> tuple[bytes, bytes]:
    """Cut a short string off; one that claims to be longer than the body is simply shorter, as in the original."""
    if not body:
        raise ProtocolViolation(None)
    end = 1 + body[0]
    return body[1:end], body[end:]


def _error(body: bytes) -> Error:
    return Error(body)


def _info(body: bytes) -> Info:
    return Info(*_cut(body))


def _auth(body: bytes) -> Auth:
    return Auth(*_cut(body))


def _publish(body: bytes) -> Publish:
    ident, rest = _cut(body)
    return Publish(ident, *_cut(rest))


def _subscribe(body: bytes) -> Subscribe:
    return Subscribe(*_cut(body))


def _unsubscribe(body: bytes) -> Unsubscribe:
    return Unsubscribe(*_cut(body))


_READERS: dict[int, Callable[[bytes], Frame]] = {
    ERROR: _error,
    INFO: _info,
    AUTH: _auth,
    PUBLISH: _publish,
    SUBSCRIBE: _subscribe,
    UNSUBSCRIBE: _unsubscribe,
}
