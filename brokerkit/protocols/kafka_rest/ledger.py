"""The one token that each user has, as records of a compacted topic: the key is ``user:NAME``, null means none.

KastleX keeps tokens in such a topic.  It is read when the broker starts, and whoever asks meanwhile waits.  A token is
put when its record has been read back, so that there is one truth for all listeners, and no moment in which a new token
is refused.  Records count that the log was given by a ledger; what a client has published there does not.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from brokerkit.errors import BrokerError, OperatorError
from brokerkit.log.words import Record, Topic, TopicExists, TopicSettings, UnknownTopic, Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from brokerkit.log import Log
    from brokerkit.log.words import Stored

log = Logger()

KEY = b"user:"
PIECE = 1024 * 1024
RECORDS = 10_000
AGAIN = 1.0  # seconds after which it is read again where that failed


class TopicLedger(Service):
    """Keeps tokens in the first partition of a topic, which is made if it is not there."""

    def __init__(self, kept: Log, topic: bytes, clock: IReactorTime) -> None:
        """Keep them in that topic of a log."""
        self._log = kept
        self._topic = topic
        self._clock = clock
        self._tokens: dict[str, bytes] = {}  # by user, the digest
        self._read = 0  # the offset up to which it has been read
        self._ready = False
        self._waiting: list[tuple[int, Deferred[None]]] = []  # for that offset
        self._work: Deferred[None] | None = None
        self._stop: Callable[[], object] | None = None
        self.changed: Callable[[str], None] = lambda _: None  # told whose token is another one than before

    # -- what is asked ------------------------------------------------------------------------------------------------

    async def put(self, name: str, digest: bytes, expires: float) -> None:
        """Keep a token, on disk when this is done; raise ``LogError``."""
        await self._write(name, json.dumps({"sha256": digest.hex(), "exp": int(expires)}).encode())

    async def revoke(self, name: str) -> None:
        """Keep that a user has none, on disk when this is done; raise ``LogError``."""
        await self._write(name, None)

    async def holds(self, name: str, digest: bytes) -> bool:
        """Say whether that is the user's token."""
        await self._when_read(0)
        return self._tokens.get(name) == digest

    async def _write(self, name: str, value: bytes | None) -> None:
        await self._when_read(0)
        placed = await self._log.append([Write("", self._topic, 0, Record(value, KEY + name.encode()))])
        await self._when_read(placed[0].offset + 1)

    async def _when_read(self, offset: int) -> None:
        if not self._ready or self._read < offset:
            waiting: Deferred[None] = Deferred(lambda _: None)
            self._waiting.append((offset, waiting))
            await waiting

    # -- reading ------------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Begin to read."""
        super().startService()  # type: ignore[no-untyped-call]
        self._stop = self._log.listen(self._arrived)
        self._go_on()

    def stopService(self) -> None:
        """Read no more."""
        super().stopService()  # type: ignore[no-untyped-call]
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()
        if self._work is not None:
            self._work.cancel()

    def _arrived(self, topic: Topic, partition: int, _: int, __: int) -> None:
        if topic.name == self._topic and not topic.tenant and partition == 0:
            self._go_on()

    def _go_on(self) -> None:
        if self._work is None and self.running:
            self._work = Deferred.fromCoroutine(self._catch_up())
            self._work.addBoth(self._caught_up)

    def _caught_up(self, result: object) -> None:
        self._work = None
        if result is not None and self.running:
            log.error("the topic of tokens cannot be read: {error}", error=getattr(result, "value", result))
            self._clock.callLater(AGAIN, self._go_on)

    async def _catch_up(self) -> None:
        """Read what there is, and go on until there is nothing more."""
        await self._see_topic()
        while self._read < (span := self._log.span(self._topic, 0)).next:
            start = max(self._read, span.first)
            found = await self._log.fetch(self._topic, 0, start, PIECE, RECORDS)
            for record in found.records:
                self._take(record)
            self._read = max(found.after, start)
            self._tell()
        self._ready = True
        self._tell()

    def _tell(self) -> None:
        """Go on with those who wait for what has been read."""
        if not self._ready:
            return
        there = [one for offset, one in self._waiting if offset <= self._read]
        self._waiting = [(offset, one) for offset, one in self._waiting if offset > self._read]
        for one in there:
            if not one.called:
                one.callback(None)

    async def _see_topic(self) -> None:
        try:
            self._log.topic(self._topic)
        except UnknownTopic:
            try:
                await self._log.create(Topic("", self._topic, settings=TopicSettings(compact=True)))
            except TopicExists:
                pass
            except BrokerError as error:
                shown = self._topic.decode(errors="replace")
                raise OperatorError(f"{shown}: the topic for tokens cannot be made: {error}") from None

    def _take(self, record: Stored) -> None:
        """Take what one record says; one that is no token of a user says that there is none."""
        key = record.key or b""
        if record.sender or not key.startswith(KEY):
            return
        name = key.removeprefix(KEY).decode(errors="replace")
        former = self._tokens.pop(name, None)
        try:
            found = json.loads(record.value or b"null")
            if found is not None:
                self._tokens[name] = bytes.fromhex(found["sha256"])
        except (ValueError, TypeError, KeyError, RecursionError):
            log.warn("a record of the topic of tokens is none: that of {name}", name=name)
        if former is not None and former != self._tokens.get(name):
            self.changed(name)
