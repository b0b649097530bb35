"""What a source of users takes away is taken from those who are logged in, too, within seconds.

Every so often the users that are here are held against what their sources say now.  A source that knows when it has
changed is asked only then; one that does not (a database) is asked each time, for many names at once.  Whoever is gone,
has other credentials or is past its time is told and closed; whoever has other rights goes on with those.  A source
that cannot be asked takes nothing away, and one that takes its time holds up no other.

An answer is about those who were here when it was asked for: who has come since knows what is newer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred, DeferredList, DeferredLock
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from brokerkit.checkers.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from brokerkit.checkers.first_match import Asked, FirstMatch
    from brokerkit.checkers.known import Known
    from brokerkit.client import Client, User
    from brokerkit.realm import Realm

log = Logger()

INTERVAL = 1.0  # seconds between two looks at what says that it has changed
POLLED = 2.0  # seconds between two questions to what does not
AT_ONCE = 500  # names that one question is about
WORK = 100  # clients that are gone through before others have their turn: some milliseconds

REVOKED = "revoked"
EXPIRED = "expired"
KICKED = "kicked"


class Watch:
    """One source, and what its clients have been held against."""

    def __init__(self, asked: Asked) -> None:
        """Take the source; its users of today are those that it began with."""
        self.asked = asked
        self.lock = DeferredLock()  # one question after the other, so that none of the answers is older than the last
        self._version: int | None = 0
        self._asked_at = -POLLED

    def is_due(self, moment: float, *, now: bool) -> bool:
        """Say whether it is to be asked, or, where only time tells, whether with ``now`` it is."""
        if self.asked.checker.version is not None:
            return bool(self._version != self.asked.checker.version)
        # A look comes a little late or early; less than 0 seconds ago: the clock has been set back.
        return now or not 0 <= moment - self._asked_at < POLLED - INTERVAL / 2

    def ask(self, moment: float) -> int | None:
        """Note that it is asked; give the version that the answer will be about, at the least."""
        self._asked_at = moment
        version: int | None = self.asked.checker.version
        return version

    def done(self, version: int | None) -> None:
        """Note that all who are here have been held against that version."""
        self._version = version


class Revocation(Service):
    """Holds those who are logged in against their sources.

    ``ended`` counts the connections that were closed by that, or kicked, ``changed`` those that go on with other
    rights.
    """

    def __init__(self, realm: Realm, users: FirstMatch, clock: Any) -> None:  # noqa: ANN401  a reactor, or a clock
        """Watch over the clients of that realm."""
        self.ended = 0
        self.changed = 0
        self._realm = realm
        self._clock = clock
        self._watches = [Watch(asked) for asked in users.asked if isinstance(asked.checker, Source)]
        self._under_way: set[Deferred[None]] = set()
        self._stopped = False
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def startService(self) -> None:
        """Begin to look."""
        super().startService()  # type: ignore[no-untyped-call]
        self._stopped = False
        self._looking.start(INTERVAL, now=False)

    def stopService(self) -> None:
        """Look no more; an answer that is still to come changes nothing."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._stopped = True
        if self._looking.running:
            self._looking.stop()
        for under_way in list(self._under_way):
            under_way.cancel()

    def _look(self) -> None:
        Deferred.fromCoroutine(self.look())

    async def look(self, *, now: bool = False) -> None:
        """Do what is due; with ``now``, ask also the sources whose turn it is not yet.  Done when all have answered."""
        self._end_the_expired()
        moment = self._clock.seconds()
        asking = []
        for watch in self._watches:
            if watch.is_due(moment, now=now) and (now or not watch.lock.locked):
                under_way = Deferred.fromCoroutine(self._look_at(watch))
                self._under_way.add(under_way)
                under_way.addBoth(self._looked, under_way)
                asking.append(under_way)
        await DeferredList(asking)

    def _looked(self, _: object, under_way: Deferred[None]) -> None:
        self._under_way.discard(under_way)

    async def _look_at(self, watch: Watch) -> None:
        """Ask one source, when it has answered the question before; what goes wrong is said in the log."""
        try:
            await watch.lock.acquire()
        except CancelledError:
            return
        try:
            version = watch.ask(self._clock.seconds())
            if await self._hold_against(watch.asked):
                watch.done(version)
        except CancelledError:
            pass
        except Exception:
            log.failure("those who are logged in could not be held against their sources, because of a bug")
        finally:
            watch.lock.release()

    def kick(self, name: bytes) -> int:
        """Cut all connections of the users of that name, whatever their source; give the number."""
        kicked = [client for (_, one), there in self._realm.clients.items() if one == name for client in there]
        for client in kicked:
            self._end(client, KICKED)
        return len(kicked)

    async def _hold_against(self, asked: Asked) -> bool:
        """Ask a source for all of its users who are here; say whether it answered."""
        source = asked.checker
        here = {key: tuple(there) for key, there in self._realm.clients.items() if key[0] == source.source}
        keys = list(here)
        for start in range(0, len(keys), AT_ONCE):
            if start:
                await self._breathe()
                for key in keys[start : start + AT_ONCE]:
                    here[key] = tuple(self._realm.clients.get(key, ()))
            some = keys[start : start + AT_ONCE]
            try:
                known: Mapping[bytes, Known] = await asked.ask(source.users, [name for _, name in some])
            except UnauthorizedLogin:
                return False
            await self._compare(source, [(known.get(key[1]), here[key]) for key in some])
        return True

    async def _compare(self, source: Source, answers: Iterable[tuple[Known | None, tuple[Client, ...]]]) -> None:
        """Do to each client what the record of its user asks for, with a pause where there are many."""
        count = 0
        for known, clients in answers:
            user = known.proven() if known is not None else None
            for client in clients:
                if count == WORK:
                    await self._breathe()
                    count = 0
                if self._stopped:
                    raise CancelledError
                count += 1
                self._judge(client, source.again(client.user, user))

    async def _breathe(self) -> None:
        """Let others have their turn."""
        await deferLater(self._clock, 0)

    def _judge(self, client: Client, user: User | None) -> None:
        if not self._realm.has(client):
            return
        if user is None or not _same_claim(user, client.user):
            self._end(client, REVOKED)
        elif user != client.user:
            self.changed += 1
            self._carefully(client.become, user)

    def _end_the_expired(self) -> None:
        moment = self._clock.seconds()
        clients = [client for there in self._realm.clients.values() for client in there]
        for client in clients:
            if 0 < client.user.valid_until <= moment:
                self._end(client, EXPIRED)

    def _end(self, client: Client, why: str) -> None:
        self.ended += 1
        if client.ended is None or not self._carefully(client.ended, why):
            with self._realm.turn:
                client.leave()

    def _carefully(self, do: Any, *arguments: object) -> bool:  # noqa: ANN401  a function
        """Call what a protocol may have got wrong: it costs nobody else the look.  Say whether it went well."""
        try:
            with self._realm.turn:
                do(*arguments)
        except Exception:
            log.failure("a client could not be told what has become of its user, because of a bug")
            return False
        return True


def _same_claim(user: User, other: User) -> bool:
    """Say whether what was proved then would be proved now; nobody moves to another tenant while connected."""
    return (user.proof, user.tenant) == (other.proof, other.tenant)
