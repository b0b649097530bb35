"""Checking passwords of which only a hash is kept: argon2 and bcrypt, in a small pool of threads.

A check takes a tenth of a second or more, on purpose, and releases the interpreter meanwhile; so two threads do it, and
a storm of logins does not stop messages.  What waits is bounded, and counts until a thread has seen it, also when
nobody waits for the answer any more; a thread passes over that.  A password that was right is remembered for a minute,
as a keyed digest, so that a client that comes back often does not cost a check each time.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from secrets import token_bytes
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from brokerkit.errors import TooBusy

if TYPE_CHECKING:
    from twisted.python.failure import Failure

THREADS = 2
WAITING = 256  # checks that may wait for a thread
REMEMBERED = 60.0  # seconds
MEMORY = 4096  # passwords that are remembered at most
ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)\$v=\d{1,3}\$m=(\d{1,7}),t=(\d{1,4}),p=(\d{1,3})\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+"
)
BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[A-Za-z0-9./]{53}")
MOST_MEMORY = 1024 * 1024  # KiB that a check with argon2 may take
MOST_WORK = 4 * MOST_MEMORY  # KiB that it may go through: some seconds
MOST_LANES = 64  # threads that it may make for itself
COSTS = range(4, 17)  # of bcrypt: from 16 on it is seconds, and each step doubles them


def is_hash(text: str) -> bool:
    """Say whether ``text`` is a hash that can be checked, within seconds: others would keep a thread for ever."""
    if found := ARGON2.fullmatch(text):
        memory, rounds, lanes = int(found[1]), int(found[2]), int(found[3])
        return memory <= MOST_MEMORY and memory * rounds <= MOST_WORK and lanes <= MOST_LANES
    found = BCRYPT.fullmatch(text)
    return found is not None and int(found[1]) in COSTS


def make_hash(password: bytes) -> str:
    """Give an argon2id hash of a password."""
    from argon2 import PasswordHasher

    hashed: str = PasswordHasher().hash(password)
    return hashed


def check(hashed: str, password: bytes) -> bool:
    """Say whether a password is the one that was hashed; takes its time, and never raises."""
    if not is_hash(hashed):
        return False
    if hashed.startswith("$argon2"):
        from argon2 import PasswordHasher
        from argon2.exceptions import Argon2Error

        try:
            return PasswordHasher().verify(hashed, password)
        except (Argon2Error, ValueError):
            return False
    from bcrypt import checkpw

    try:
        # bcrypt looks at 72 bytes: a longer password fits none, but is not quicker to be refused.
        return checkpw(password[:72], hashed.encode()) and len(password) <= 72  # noqa: PLR2004
    except ValueError:
        return False


class Waiting:
    """A check that a thread is to do; ``answer`` is for whoever waits for it."""

    def __init__(self, hashed: str, password: bytes) -> None:
        """Take what to check."""
        self._hashed = hashed
        self._password = password
        self._wanted = True  # read by the thread, which nothing worse can happen to than to check in vain
        self.answer: Deferred[bool] = Deferred(self._forget)

    def run(self) -> bool:
        """Check, in a thread, if anybody still wants to know."""
        return self._wanted and check(self._hashed, self._password)

    def done(self, result: bool | Failure) -> None:
        """Give the answer, or what went wrong, to whoever still waits."""
        if self._wanted:
            self._wanted = False
            self.answer.callback(result)  # a Failure is an errback

    def give_up(self) -> None:
        """Answer that there will be no answer."""
        if self._wanted:
            self._wanted = False
            self.answer.errback(TooBusy())

    def _forget(self, _: Deferred[bool]) -> None:
        self._wanted = False


class Hashing(Service):
    """The pool; it is made when first needed and ends with the service.

    ``checks`` and ``refused`` count those that were begun and those that there was no room for.
    """

    def __init__(self, reactor: Any) -> None:  # noqa: ANN401  any reactor with threads
        """Check on behalf of that reactor."""
        self._reactor = reactor
        self._pool: ThreadPool | None = None
        self._waiting: set[Waiting] = set()
        self._ended = False
        self._key = token_bytes(32)
        self._right: dict[bytes, float] = {}  # digests of hash and password → when they were last seen to fit
        self.checks = 0
        self.refused = 0

    @property
    def waiting(self) -> int:
        """The number of checks that no thread is done with."""
        return len(self._waiting)

    async def fits(self, hashed: str, password: bytes) -> bool:
        """Say whether the password is the one that was hashed; raise ``TooBusy`` when too many ask."""
        digest = blake2b(b"%b\0%b" % (hashed.encode(errors="replace"), password), key=self._key).digest()
        seen = self._right.get(digest)
        if seen is not None and 0 <= self._reactor.seconds() - seen < REMEMBERED:
            return True
        fits = await self._check(hashed, password)
        if fits:
            self._remember(digest)
        return fits

    async def _check(self, hashed: str, password: bytes) -> bool:
        if self._ended or len(self._waiting) >= WAITING:
            self.refused += 1
            raise TooBusy
        if self._pool is None:
            self._pool = ThreadPool(0, THREADS, "passwords")
            self._pool.start()
        self.checks += 1
        one = Waiting(hashed, password)
        self._waiting.add(one)
        self._pool.callInThreadWithCallback(
            lambda _, result: self._reactor.callFromThread(self._checked, one, result), one.run
        )
        return await one.answer

    def _checked(self, one: Waiting, result: bool | Failure) -> None:
        self._waiting.discard(one)
        one.done(result)

    def _remember(self, digest: bytes) -> None:
        self._right.pop(digest, None)
        if len(self._right) >= MEMORY:
            del self._right[next(iter(self._right))]
        self._right[digest] = self._reactor.seconds()

    def startService(self) -> None:
        """Check again, if it has been stopped before."""
        super().startService()  # type: ignore[no-untyped-call]
        self._ended = False

    def stopService(self) -> None:
        """End the threads; what they are at is waited for, which takes about a second, what waits is given up."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._ended = True
        for one in list(self._waiting):
            one.give_up()
        self._waiting.clear()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
        self._right.clear()
