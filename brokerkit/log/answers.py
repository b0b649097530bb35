"""What was done once and is not to be done again: appends of producers that count, and of keys that are used once.

Kept in memory and on disk, written in the same commit as the records, and bounded: the oldest are forgotten when there
are too many, when they take too many bytes, or when they are too old.  Who repeats an append later than that does it a
second time, as everywhere.

Of an append the places are remembered as runs of consecutive offsets, not one by one.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.log.words import Idempotency, Producer, WrongSequence
from brokerkit.stores.topiclog import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from brokerkit.log.words import Limits, Write

PRODUCER, KEY = 0, 1
RECENT = 5  # appends of a producer that are remembered, as it may have so many under way
BYTES = 32 * 1024 * 1024  # of all answers, about
OVERHEAD = 200  # bytes that each takes beside its text

Former = tuple[int, bytes, Any, int]  # kind, key, what stood there, its size
Runs = tuple[tuple[bytes, int, int, int], ...]  # topic, partition, first offset, count


def _written(done: Done) -> str:
    runs = [(topic.decode("latin-1"), part, first, count) for topic, part, first, count in done.runs]
    return json.dumps([done.sequence, done.digest.hex(), done.at, runs], separators=(",", ":"))


@attrs.define(eq=False)
class Done:
    """One append that was done, or waits to be: ``pending`` is what it waits in; ``text`` is it as it is stored."""

    sequence: int
    digest: bytes
    at: int
    runs: Runs
    pending: Any = None
    text: str = attrs.Factory(_written, takes_self=True)


@attrs.frozen
class Noted:
    """What the store shall remember of an append, and forget; ``undo`` is for ``Answers.take_back``."""

    answer: Answer | None
    forgotten: list[tuple[int, bytes]]
    undo: list[Former]


@attrs.frozen
class _Counted:
    epoch: int
    recent: tuple[Done, ...]


def digest(writes: Sequence[Write]) -> bytes:
    """Give what stands for the content of an append: the same for the same writes, and for no others."""
    hashed = blake2b(digest_size=16)
    for tenant, topic, partition, record in writes:
        value, key, headers, timestamp, _, _ = record
        sizes = None if key is None else len(key), None if value is None else len(value)
        hashed.update(repr((tenant, topic, partition, headers, timestamp, sizes)).encode())
        hashed.update(key or b"")
        hashed.update(value or b"")
    return hashed.digest()


class Answers:
    """All that is remembered; ``coming`` has what waits to be written, too."""

    def __init__(self, limits: Limits) -> None:
        """Remember nothing yet."""
        self._limits = limits
        self._bytes = 0
        self._producers: dict[bytes, _Counted] = {}
        self._keys: dict[bytes, Done] = {}
        self._sizes: dict[tuple[int, bytes], int] = {}

    def __len__(self) -> int:
        """Give the number of producers and keys that are remembered."""
        return len(self._producers) + len(self._keys)

    def load(self, answers: Iterable[Answer]) -> None:
        """Take in what the store has, oldest first."""
        for one in answers:
            if one.kind == PRODUCER:
                epoch, recent = json.loads(one.answer)
                self._producers[one.key] = _Counted(epoch, tuple(_read(*done) for done in recent))
            else:
                self._keys[one.key] = _read(*json.loads(one.answer))
            self._size(one.kind, one.key, len(one.answer))

    def _size(self, kind: int, key: bytes, size: int) -> None:
        former = self._sizes.pop((kind, key), 0)
        if size:
            self._sizes[kind, key] = size + OVERHEAD
        self._bytes += (size + OVERHEAD if size else 0) - former

    # -- asking -------------------------------------------------------------------------------------------------------

    def find(self, who: Producer | Idempotency, made: bytes) -> Done | None:
        """Give the append that this one repeats, ``None`` if it is to be done.

        ``made`` is the digest of what it has.  Raises ``WrongSequence``.
        """
        if isinstance(who, Idempotency):
            done = self._keys.get(who.key)
            if done is not None and done.digest != who.digest:
                raise WrongSequence("the key was used for something else already")
            return done
        return self._find(who, made)

    def _find(self, who: Producer, made: bytes) -> Done | None:
        if who.epoch < 0 or who.sequence < 0:
            raise WrongSequence("an epoch and a sequence are not less than 0")
        counted = self._producers.get(who.id)
        if counted is None:
            return None
        if who.epoch < counted.epoch:
            raise WrongSequence(f"the epoch {who.epoch} is over: another producer of that id has begun {counted.epoch}")
        expected = counted.recent[-1].sequence + 1 if who.epoch == counted.epoch else 0
        if who.sequence == expected:
            return None
        if who.sequence > expected:
            text = f"the sequence {who.sequence} leaves a hole: {expected} is expected"
            raise WrongSequence(text, expected)
        if who.epoch == counted.epoch:
            for done in counted.recent:
                if done.sequence == who.sequence:
                    if done.digest != made:
                        text = f"the sequence {who.sequence} was used for something else already"
                        raise WrongSequence(text, expected)
                    return done
        text = f"the sequence {who.sequence} was used already, too long ago to say for what: {expected} is expected"
        raise WrongSequence(text, expected)

    # -- remembering --------------------------------------------------------------------------------------------------

    def note(self, who: Producer | Idempotency, done: Done) -> Noted:
        """Remember an append that waits to be written."""
        undo: list[Former] = []
        if isinstance(who, Idempotency):
            kind, key, text = KEY, who.key, done.text
            undo.append(self._former(kind, key))
            self._keys.pop(key, None)
            self._keys[key] = done
        else:
            kind, key = PRODUCER, who.id
            undo.append(self._former(kind, key))
            former = self._producers.pop(key, None)
            recent = former.recent if former is not None and former.epoch == who.epoch else ()
            counted = self._producers[key] = _Counted(who.epoch, (*recent, done)[-RECENT:])
            text = f"[{who.epoch},[{','.join(one.text for one in counted.recent)}]]"
        self._size(kind, key, len(text))
        return Noted(Answer(kind, key, done.at, text.encode()), self.forget(done.at, undo), undo)

    def _former(self, kind: int, key: bytes) -> Former:
        held: dict[bytes, Any] = self._keys if kind == KEY else self._producers
        return kind, key, held.get(key), self._sizes.get((kind, key), 0)

    def forget(self, now: int, undo: list[Former]) -> list[tuple[int, bytes]]:
        """Give up what is too much, or too old at ``now`` (in ms), and give what the store shall forget."""
        limits = self._limits
        gone = self._too_old(now)
        for kind, key in gone:
            self._drop(kind, key, undo)
        for kind, held, most in ((PRODUCER, self._producers, limits.producers), (KEY, self._keys, limits.keys)):
            while len(held) > most or (self._bytes > BYTES and len(held) > 1):
                key = next(iter(held))
                gone.append((kind, key))
                self._drop(kind, key, undo)
        return gone

    def _too_old(self, now: int) -> list[tuple[int, bytes]]:
        before = now - int(self._limits.remembered * 1000)
        found: list[tuple[int, bytes]] = []
        for key, done in self._keys.items():
            if done.at >= before:
                break
            found.append((KEY, key))
        for key, counted in self._producers.items():
            if counted.recent[-1].at >= before:
                break
            found.append((PRODUCER, key))
        return found

    def _drop(self, kind: int, key: bytes, undo: list[Former]) -> None:
        undo.append(self._former(kind, key))
        held: dict[bytes, Any] = self._keys if kind == KEY else self._producers
        del held[key]
        self._size(kind, key, 0)

    def take_back(self, undo: list[Former]) -> None:
        """Know what was known before an append that was not written; of several, the last first."""
        for kind, key, former, size in reversed(undo):
            held: dict[bytes, Any] = self._keys if kind == KEY else self._producers
            held.pop(key, None)
            if former is not None:
                held[key] = former
            self._bytes += size - self._sizes.pop((kind, key), 0)
            if size:
                self._sizes[kind, key] = size


def _read(sequence: int, made: str, at: int, runs: list[list[Any]]) -> Done:
    found = tuple((topic.encode("latin-1"), part, first, count) for topic, part, first, count in runs)
    return Done(sequence, bytes.fromhex(made), at, found)
