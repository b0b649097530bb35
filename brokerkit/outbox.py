"""The outbox owns every byte that a connection has yet to be sent, and the rule for slow readers.

While nothing is queued, a turn's frames go to the socket at once (``transport.writeSomeData``).  What the kernel does
not take waits here, and is written in the same way whenever the transport says that the socket has room: it is asked to
watch for that, as to a pull producer, but never holds a byte.  A transport that is not a plain TCP socket (TLS, memory)
is written through ``transport.write``, as its push producer: it says when to stop.

Slow readers, all of it in this file:

* From ``mark`` bytes on an outbox is *congested*.  While its reader makes progress, those who publish to it are paced
  (``Session.pace``): they wait until it has drained, 10 ms at the most for each chunk; from ``brim`` bytes on, without
  that bound.
* A reader that has taken nothing for ``patience`` seconds paces nobody any more.  It is aborted as soon as ``limit``
  bytes wait for it, or when it has taken nothing for ``deadline`` seconds.
* Aborted means: memory freed at once, the connection reset, one log line with who and why, one count.  The peer is told
  nothing: what it would have to read stands behind all that it does not read.
"""

from __future__ import annotations

from collections import deque
from sys import maxsize
from typing import TYPE_CHECKING

import attrs
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from brokerkit.pile import BLOCK, SMALL, Pile

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from brokerkit.turn import Turn

log = Logger()

LENT = 32 * 1024  # bytes: what a transport that is no socket is given at a time, until it says stop
EXPIRED = "Backpressure deadline timer expired"  # in the log, whichever of the two it was: alerts look for these words
WORDS = {"deadline": EXPIRED, "limit": EXPIRED}


@attrs.frozen
class Limits:
    """What one connection may cost and how long it may stand still; bytes and seconds."""

    limit: int = 64 * 1024 * 1024
    deadline: float = 10.0
    patience: float = 1.0

    @property
    def mark(self) -> int:
        """Bytes from which publishers are paced."""
        return self.limit // 4

    @property
    def brim(self) -> int:
        """Bytes from which publishers wait as long as the reader makes progress."""
        return self.limit // 4 * 3


@implementer(IPullProducer, IPushProducer)
class Outbox(Pile):
    """The bytes that wait for one peer.

    ``transport`` is any Twisted transport; ``direct`` says that it is a plain TCP socket whose ``writeSomeData`` may be
    called.  ``stopped`` is called, with one word for the reason, when a reader is given up.
    """

    __slots__ = (
        "_alarm",
        "_backlog",
        "_blocked",
        "_clock",
        "_direct",
        "_full",
        "_moved_at",
        "_stopped",
        "_taken",
        "_transport",
        "_waiting",
        "closed",
        "filled",
        "limits",
        "mark",
        "peer",
        "recovered",
        "sent",
    )

    def __init__(
        self,
        transport: object,
        turn: Turn,
        clock: IReactorTime,
        limits: Limits,
        stopped: Callable[[str], None],
        *,
        peer: str = "",
        direct: bool = False,
    ) -> None:
        """Begin empty; nothing is allocated for the bytes before the first ones come."""
        super().__init__(turn, limits.limit, limits.brim)
        self._transport = transport
        self._clock = clock
        self._stopped = stopped
        self._direct = direct
        self._backlog: deque[bytes] | None = None
        self._taken = 0  # bytes of the backlog's first piece that are gone already
        self._blocked = False
        self._full = False  # whether the kernel has just said so
        self._moved_at = 0.0
        self._alarm: IDelayedCall | None = None
        self._waiting: set[Callable[[Outbox], None]] | None = None
        self.limits = limits
        self.mark = limits.mark
        self.peer = peer
        self.sent = 0
        self.filled = 0  # times that there was hardly any room left
        self.recovered = 0  # times that the reader has caught up since
        self.closed = False
        if not direct:
            transport.registerProducer(self, True)  # type: ignore[attr-defined]

    # -- filling (``put`` is the pile's) ------------------------------------------------------------------------------

    @property
    def congested(self) -> bool:
        """Whether publishers have to be paced: much is waiting, and its reader does make progress."""
        return (
            self.pending >= self.mark
            and not self.closed
            and self._clock.seconds() - self._moved_at < self.limits.patience
        )

    @property
    def brimming(self) -> bool:
        """Whether publishers have to wait without a bound: hardly any room is left, and the reader makes progress."""
        return self.pending >= self.brim and self.congested

    def when_drained(self, call: Callable[[Outbox], None]) -> None:
        """Call once, with this outbox, when less than ``mark`` is waiting, or the reader is gone or given up."""
        if self._waiting is None:
            self._waiting = set()
        self._waiting.add(call)

    def never_mind(self, call: Callable[[Outbox], None]) -> None:
        """Forget a ``when_drained``."""
        if self._waiting is not None:
            self._waiting.discard(call)

    def move(self, transport: object) -> None:
        """Write to another transport from now on, such as TLS above the one before; nothing may be waiting."""
        if not self._direct:
            self._transport.unregisterProducer()  # type: ignore[attr-defined]
        self._transport = transport
        self._direct = False
        transport.registerProducer(self, True)  # type: ignore[attr-defined]

    def follow(self, limits: Limits) -> None:
        """Have other limits hold from now on, also for what is waiting already."""
        self.limits = limits
        self.limit, self.brim, self.mark = min(limits.limit, maxsize), min(limits.brim, maxsize), limits.mark

    # -- emptying ---------------------------------------------------------------------------------------------------

    def flush(self) -> bool:
        """Write what this turn has put here, as far as the peer takes it; say whether publishers must be paced."""
        pieces = self.take()
        if self.closed:
            return False
        if not pieces:  # they have been written before the end of the turn
            return self.pending >= self.mark and self.congested
        if self._blocked:
            self._keep(pieces)
        elif not self._direct:
            self._moved_at = self._clock.seconds()
            self._keep(pieces)
            self._lend()
        elif self.pending > BLOCK:
            self._send(_blocks(pieces))
        else:  # nearly always: one write, and the kernel takes it all
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            taken = self._transport.writeSomeData(data)  # type: ignore[attr-defined]
            if taken == self.pending:
                self.pending = 0
                self.sent += taken
                return False
            self._wrote([data], taken)
        return self.pending >= self.mark and self.congested

    def _send(self, blocks: list[bytes]) -> None:
        """Give the socket as much as it takes now; keep the rest and let the transport ask for it."""
        for i, block in enumerate(blocks):
            if not self._wrote(blocks[i:], self._write_some(block)):
                return

    def _wrote(self, blocks: list[bytes], taken: int) -> bool:
        """Count what the kernel took of the first block; unless that was all of it, keep it and those behind it."""
        if taken.__class__ is not int:
            taken = 0  # the connection is gone: the reactor finds out when it watches for room
        self.pending -= taken
        self.sent += taken
        if taken == len(blocks[0]):
            return True
        self._keep(blocks)
        self._taken = taken
        self._moved_at = self._clock.seconds()
        self._block()
        return False

    def _write_some(self, block: bytes | memoryview) -> int:
        """Write until the kernel takes no more; give the number of bytes that it took, 0 if the connection is gone."""
        write = self._transport.writeSomeData  # type: ignore[attr-defined]
        size = len(block)
        done = 0
        while done < size and not done % BLOCK:  # Twisted offers the kernel one block at a time
            taken = write(memoryview(block)[done:] if done else block)
            if taken.__class__ is not int or not taken:
                break
            done += taken
        return done

    def _keep(self, pieces: list[bytes]) -> None:
        """Queue behind what is waiting already, in pieces that are worth a write each."""
        if self._backlog is None:
            self._backlog = deque()
        solid = [piece if piece.__class__ is bytes else bytes(piece) for piece in pieces]  # blocks are used again
        self._backlog.extend(_blocks(solid))
        if self.pending >= self.brim and self.filled == self.recovered:
            self.filled += 1

    def _is_blocked(self, now: bool) -> None:
        """Note whether the peer is waited for, here and for the turn, which counts those who are."""
        self._turn.behind += now - self._blocked
        self._blocked = now

    def _block(self) -> None:
        """Wait for the peer; from now on the transport asks (``resumeProducing``)."""
        self._is_blocked(True)
        if self._alarm is None:
            self._alarm = self._clock.callLater(self.limits.deadline, self._look)
        if self._direct:
            self._full = True
            self._transport.registerProducer(self, False)  # type: ignore[attr-defined]

    def _pour(self) -> None:
        """Write to the socket what is waiting until it takes no more, and have the reactor watch for room again."""
        backlog = self._backlog
        while backlog:
            _gather(backlog)
            block = memoryview(backlog[0])[self._taken :] if self._taken else backlog[0]
            taken = self._write_some(block)
            self.pending -= taken
            self.sent += taken
            if taken:
                self._moved_at = self._clock.seconds()
            if taken < len(block):
                self._taken += taken
                self._transport.startWriting()  # type: ignore[attr-defined]
                return
            backlog.popleft()
            self._taken = 0

    def _lend(self) -> None:
        """Give the transport blocks until it says stop."""
        while self._backlog and not self._blocked:
            block = self._next_block(self._backlog)
            self.pending -= len(block)
            self.sent += len(block)
            self._transport.write(block)  # type: ignore[attr-defined]

    def _next_block(self, backlog: deque[bytes]) -> bytes:
        """Take one block off the backlog: small pieces joined, a big one in parts."""
        parts: list[bytes] = []
        room = LENT
        while backlog and room:
            piece, taken = backlog[0], self._taken
            part = piece[taken : taken + room] if taken or len(piece) > room else piece
            parts.append(part)
            room -= len(part)
            self._taken = taken + len(part)
            if self._taken == len(piece):
                backlog.popleft()
                self._taken = 0
        return b"".join(parts)

    def resumeProducing(self) -> None:
        """Give the transport more: it has room again."""
        if self.closed:
            return
        if self._full:  # whom Twisted registers it asks at once
            self._full = False
            self._transport.startWriting()  # type: ignore[attr-defined]
            return
        if self._direct:
            self._pour()
        else:
            self._moved_at = self._clock.seconds()
            self._is_blocked(False)
            self._lend()
        self._see_whether_done()
        if self.filled != self.recovered and self.pending < self.mark:
            self.recovered += 1
        if self._waiting and self.pending < self.mark:
            self._release()

    def _see_whether_done(self) -> None:
        """Wait no more for the peer if nothing is left; hang up if that was asked for."""
        if self._backlog or self.closed or (self._blocked and not self._direct):
            return
        self._is_blocked(False)
        self._backlog = None
        if self._direct:
            self._transport.unregisterProducer()  # type: ignore[attr-defined]
        if not self.open:
            self._hang_up()

    def pauseProducing(self) -> None:
        """Keep what comes: the transport is full (push only)."""
        if not self.closed and not self._blocked:
            self._block()

    def stopProducing(self) -> None:
        """Do nothing: the session hears of a lost transport by ``connectionLost``."""

    # -- the slow, the dead, the leaving ----------------------------------------------------------------------------

    def _look(self) -> None:
        """See whether the reader has moved since; look again when it next could have stood still for too long."""
        self._alarm = None
        if self.closed or not self._blocked:
            return
        still = self._clock.seconds() - self._moved_at
        if still >= self.limits.deadline:
            self.abort("deadline")
        else:
            self._alarm = self._clock.callLater(self.limits.deadline - still, self._look)

    def abort(self, why: str) -> None:
        """Give the reader up: free what is queued, reset the connection, log who and why."""
        if self.closed:
            return
        lost = self.pending
        self.forget()
        log.warn(
            "{peer}: {words}: slow reader given up ({why}), {lost} bytes thrown away",
            peer=self.peer,
            words=WORDS.get(why, why),
            why=why,
            lost=lost,
        )
        self._turn.after(lambda: self._stopped(why))

    def finish(self) -> None:
        """Hang up when everything that was put here is written; accept nothing more."""
        if not self.open:
            return
        self.flush()
        self.open = False
        if not self._blocked:
            self._hang_up()

    def _hang_up(self) -> None:
        if not self._direct:
            self._transport.unregisterProducer()  # type: ignore[attr-defined]
        self.forget()
        self._stopped("finished")

    def forget(self) -> None:
        """Close: drop what is queued, accept nothing more, let those go who wait for room."""
        self._is_blocked(False)
        self.open = False
        self.closed = True
        self.pending = 0
        self.take()
        self._backlog = None
        self._taken = 0
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._release()

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, None
        for call in waiting or ():
            call(self)


def _gather(backlog: deque[bytes]) -> None:
    """Join the small pieces at the front, which many turns have left there, up to a block."""
    if len(backlog) == 1 or len(backlog[0]) >= SMALL:
        return
    parts: list[bytes] = []
    size = 0
    while backlog and len(backlog[0]) < SMALL and size < BLOCK:
        parts.append(backlog.popleft())
        size += len(parts[-1])
    backlog.appendleft(b"".join(parts))


def _blocks(pieces: list[bytes]) -> list[bytes]:
    """Join small neighbours up to a block; leave big pieces, which other outboxes may share, as they are."""
    if len(pieces) == 1:
        return pieces
    blocks: list[bytes] = []
    small: list[bytes] = []
    size = 0
    for piece in pieces:
        n = len(piece)
        if n < SMALL:
            small.append(piece)
            size += n
            if size < BLOCK:
                continue
        if small:
            blocks.append(b"".join(small))
            small, size = [], 0
        if n >= SMALL:
            blocks.append(piece)
    if small:
        blocks.append(b"".join(small))
    return blocks
