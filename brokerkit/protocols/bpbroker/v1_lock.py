"""Locks: an entry ``lock/NAME`` with a lease, which only one can create.

The revision in which it came to be is the holder's token: it never comes again, so it can also be shown to whatever
the lock protects, which then refuses older ones.  Renewing and releasing ask for it.  Those who wait are served in the
order in which they came, and only the first of them tries when the lock is free.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from brokerkit.protocols.bpbroker import v1_reading as reading
from brokerkit.protocols.bpbroker.v1_asker import unless_gone
from brokerkit.registry import Conflict, Delete, Put, RegistryError, Renew
from brokerkit.registry.access import READ, WRITE
from brokerkit.registry.shown import shown_entry
from brokerkit.registry.words import PUT
from brokerkit.web import Answer, Parameter, Problem, Route, json_answer

if TYPE_CHECKING:
    from brokerkit.protocols.bpbroker.v1_asker import Asker
    from brokerkit.registry import Change, Entry
    from brokerkit.web import Asked

PREFIX = "lock/"
USUAL, LONGEST = 15.0, 86400.0  # seconds of a lease
LONGEST_WAIT = 600.0  # seconds
WAITING = 1000  # who may wait for one lock


class Locks:
    """The routes of ``/v1/lock``."""

    def __init__(self, asker: Asker, clock: Any) -> None:  # noqa: ANN401  any reactor
        """Keep locks in the registry of that."""
        self._asker = asker
        self._clock = clock
        self._lines: dict[str, deque[_Waiter]] = {}
        self._stopped = False
        self._deaf = asker.registry.listen(self._changed)

    def stop(self) -> None:
        """Let nobody wait any more."""
        self._stopped = True
        self._deaf()
        for line in list(self._lines.values()):
            for waiter in list(line):
                waiter.wake()

    def routes(self) -> list[Route]:
        """Give the routes."""
        one = "/v1/lock/{name}"
        ttl = Parameter("ttl", f"Seconds until it ends unless it is renewed; {USUAL:g} if not said.", kind="number")
        wait = Parameter("wait", f"Seconds to wait until it is free, at most {LONGEST_WAIT:g}.", kind="number")
        token = Parameter("If-Match", 'The token of the lock, as "17".', "header", required=True)
        lost = {403: "Not allowed.", 404: "It has ended.", 412: "It is another's.", 428: "The token is missing."}
        return [
            Route(
                "PUT",
                one,
                self._take,
                "Take a lock.",
                (ttl, wait),
                {201: "Taken; `token` is the revision.", 403: "Not allowed.", 409: "It is held by another."},
                "Who holds it: any JSON object; may be left out.",
            ),
            Route(
                "GET",
                one,
                self._look,
                "See who holds a lock.",
                (),
                {200: "Its entry.", 404: "Nobody.", 403: "Not allowed."},
            ),
            Route("DELETE", one, self._release, "Release a lock.", (token,), {204: "Released.", **lost}),
            Route("POST", one + "/renew", self._renew, "Hold a lock longer.", (ttl, token), {200: "Renewed.", **lost}),
        ]

    async def _look(self, asked: Asked) -> Answer:
        name = PREFIX + asked.values["name"]
        await self._asker.allowed(asked, READ, name)
        entry = self._asker.registry.get(name)
        if entry is None:
            raise reading.absent(name)
        return json_answer(_shown(entry), headers=reading.tag(entry))

    async def _take(self, asked: Asked) -> Answer:
        name = PREFIX + asked.values["name"]
        holder = reading.an_object(asked.json()) if asked.body.strip() else {}
        ttl = reading.number(asked, "ttl", USUAL, 0.001, LONGEST)
        wait = reading.number(asked, "wait", 0.0, 0.0, LONGEST_WAIT) or 0.0
        by = await self._asker.allowed(asked, WRITE, name)
        put = Put(name, holder or {"holder": by or asked.address}, if_absent=True, ttl=ttl)
        entry = await self._in_turn(put, wait, by, asked)
        return json_answer(_shown(entry), 201, reading.tag(entry))

    async def _in_turn(self, put: Put, wait: float, by: str, asked: Asked) -> Entry:
        """Create the entry when it is this one's turn; raise ``Problem`` 409 when the time is over."""
        ends = self._clock.seconds() + wait
        line = self._lines.setdefault(put.name, deque())
        if len(line) >= WAITING:
            raise Problem(503, "Service Unavailable", "too many wait for this lock")
        me = _Waiter(self._clock)
        line.append(me)
        try:
            while True:
                if line[0] is me:
                    try:
                        return await self._create(put, by, asked)
                    except Conflict:
                        pass
                left = ends - self._clock.seconds()
                if left <= 0 or self._stopped:
                    raise _held(self._asker.registry.get(put.name))
                await me.sleep(left)
        finally:
            line.remove(me)
            if line:
                line[0].wake()
            elif self._lines.get(put.name) is line:
                del self._lines[put.name]

    async def _create(self, put: Put, by: str, asked: Asked) -> Entry:
        """Create the entry; if nobody is there any more who could be told, let it go again."""
        registry = self._asker.registry

        def let_go(results: Any) -> None:  # noqa: ANN401  what a write gave
            registry.write([Delete(put.name, results[0].revision)], by, asked.address).addErrback(lambda _: None)

        try:
            results: Any = await unless_gone(registry.write([put], by, asked.address), let_go)
        except Conflict:
            raise
        except RegistryError as error:
            raise reading.problem(error) from None
        entry: Entry = results[0]
        return entry

    def _changed(self, change: Change) -> None:
        line = self._lines.get(change.name)
        if line and change.operation != PUT:
            line[0].wake()

    async def _release(self, asked: Asked) -> Answer:
        name = PREFIX + asked.values["name"]
        by = await self._asker.allowed(asked, WRITE, name)
        await self._held_by(Delete(name, self._token(asked, name), if_there=True), by, asked)
        return Answer(204)

    async def _renew(self, asked: Asked) -> Answer:
        name = PREFIX + asked.values["name"]
        ttl = reading.number(asked, "ttl", None, 0.001, LONGEST)
        by = await self._asker.allowed(asked, WRITE, name)
        entry = await self._held_by(Renew(name, ttl, self._token(asked, name)), by, asked)
        return json_answer(_shown(entry), headers=reading.tag(entry))

    def _token(self, asked: Asked, name: str) -> int:
        """Give the token that the asker shows; raise ``Problem`` 428 if there is none."""
        revision = reading.condition(asked, self._asker.registry.get(name)).revision
        if revision is None:
            raise Problem(428, "Precondition Required", "if-match: the token of the lock is needed")
        return revision

    async def _held_by(self, operation: Delete | Renew, by: str, asked: Asked) -> Any:  # noqa: ANN401  an Entry, or None
        try:
            return (await self._asker.write([operation], by, asked))[0]
        except Conflict as conflict:
            if conflict.entry is None:
                raise reading.absent(operation.name) from None
            raise reading.failed(conflict.entry) from None


class _Waiter:
    """One who waits; woken once, it does not sleep the next time."""

    def __init__(self, clock: Any) -> None:  # noqa: ANN401  any reactor
        self._clock = clock
        self._asleep: Deferred[None] | None = None
        self._woken = False

    async def sleep(self, seconds: float) -> None:
        """Sleep until woken, at most so many seconds."""
        if not self._woken:
            self._asleep = Deferred()
            alarm = self._clock.callLater(seconds, self.wake)
            try:
                await self._asleep
            finally:
                self._asleep = None
                if alarm.active():
                    alarm.cancel()
        self._woken = False

    def wake(self) -> None:
        """Wake it."""
        self._woken = True
        if self._asleep is not None and not self._asleep.called:
            self._asleep.callback(None)


def _shown(entry: Entry) -> dict[str, Any]:
    return {**shown_entry(entry), "token": entry.revision}


def _held(entry: Entry | None) -> Problem:
    """Give the problem of a lock that another holds."""
    more: dict[str, Any] = {"holder": dict(entry.data), "expires": entry.expires} if entry is not None else {}
    return Problem(409, "Conflict", "the lock is held by another", **more)
