"""What a source takes away is taken from those who are here."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from brokerkit import revocation
from brokerkit.checkers.first_match import DEADLINE, FirstMatch
from brokerkit.checkers.known import Known, Users
from brokerkit.checkers.source import Source
from brokerkit.client import User
from brokerkit.grants import ALL, PUBLISH, Access, Grants, literal
from brokerkit.logins import Logins
from brokerkit.realm import Mind, Realm
from brokerkit.revocation import INTERVAL, POLLED, Revocation
from brokerkit.throttle import Throttle
from brokerkit.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerkit.client import Client

LESS = Grants({PUBLISH: Access(literal([b"a"]))})


class Records(Source):
    """A source whose records a test changes; ``held`` answers are held back until they are given."""

    def __init__(self, source: str = "records", *, polled: bool = False) -> None:
        """Begin with nobody."""
        self.source = source
        self.version: int | None = None if polled else 0
        self.records: dict[bytes, Known] = {}
        self.held: list[Callable[[], None]] | None = None
        self.questions: list[list[bytes]] = []

    def put(self, name: bytes, secret: bytes = b"x", grants: Grants = ALL, **more: Any) -> None:
        """Put a record."""
        hashed = more.pop("password_hash", "")
        self.records[name] = Known(User(name, self.source, grants, **more), secret, password_hash=hashed)
        self.changed()

    def remove(self, name: bytes) -> None:
        """Remove a record."""
        del self.records[name]
        self.changed()

    def changed(self) -> None:
        """Say so."""
        if self.version is not None:
            self.version += 1

    def find(self, credentials: Any) -> Any:
        """Give a record."""
        return self._give(Users(self.records.values()).find(credentials))

    def users(self, names: Iterable[bytes]) -> Any:
        """Give those of the names that are known."""
        self.questions.append(list(names))
        return self._give({name: self.records[name] for name in self.questions[-1] if name in self.records})

    def _give(self, answer: Any) -> Any:
        if self.held is None:
            return answer
        given: Deferred[Any] = Deferred()
        self.held.append(lambda: given.callback(answer))
        return given

    def give(self) -> None:
        """Give what was held back."""
        held, self.held = self.held or [], None
        for one in held:
            one()


class Place:
    """A realm with sources, logins and revocation."""

    def __init__(self, *sources: Source) -> None:
        """Start it."""
        self.clock = Clock()
        self.realm = Realm(Turn(), self.clock)
        self.users = FirstMatch(sources, self.clock)
        self.logins = Logins(Portal(self.realm, [self.users]), Throttle(self.clock))
        self.revocation = Revocation(self.realm, self.users, self.clock)
        self.revocation.startService()
        self.told: list[tuple[bytes, str]] = []

    def login(self, name: bytes = b"ann", secret: bytes = b"x") -> list[Client]:
        """Log in; give the list that the client will be in."""
        found: list[Client] = []
        self.logins.login(UsernamePassword(name, secret), Mind()).addCallbacks(self._in, lambda _: None, (found,))
        return found

    def _in(self, client: Client, found: list[Client]) -> None:
        def ended(why: str) -> None:
            self.told.append((client.user.name, why))
            client.leave()

        client.ended = ended
        found.append(client)

    def wait(self, seconds: float = 4.0) -> None:
        """Let time pass, in small steps."""
        self.clock.pump([0.1] * round(seconds * 10))


@pytest.fixture(params=[False, True], ids=["versioned", "polled"])
def source(request: pytest.FixtureRequest) -> Records:
    """Give a source, of each kind, with one user."""
    source = Records(polled=request.param)
    source.put(b"ann")
    return source


def test_who_is_gone_or_another(source: Records) -> None:
    """A user that is no longer known, has another secret or another tenant, is told within seconds; others are not."""
    source.put(b"bob")
    source.put(b"cat")
    source.put(b"dan")
    place = Place(source)
    for name in (b"ann", b"ann", b"bob", b"cat", b"dan"):
        place.login(name)
    source.remove(b"ann")
    source.put(b"bob", b"another")
    source.put(b"cat", tenant="blue")
    place.wait()
    assert sorted(place.told) == [(b"ann", "revoked"), (b"ann", "revoked"), (b"bob", "revoked"), (b"cat", "revoked")]
    assert list(place.realm.clients) == [("records", b"dan")]
    assert place.revocation.ended == 4


def test_who_has_other_rights(source: Records) -> None:
    """A user with other grants goes on with those; one that is read anew and is the same is not touched."""
    source.put(b"bob")
    place = Place(source)
    [ann], [bob] = place.login(b"ann"), place.login(b"bob")
    was = bob.user
    source.put(b"ann", grants=LESS)
    source.put(b"bob")
    place.wait()
    assert ann.user.grants == ann.gate.grants == LESS
    assert bob.user is was
    assert (place.told, place.revocation.changed) == ([], 1)


def test_asked_only_when_it_can_have_changed() -> None:
    """A source with a version is asked once for each change, one without every two seconds, for those who are here."""
    versioned, polled = Records("one"), Records("two", polled=True)
    versioned.put(b"ann")
    polled.put(b"bob")
    place = Place(versioned, polled)
    place.login(b"ann")
    place.login(b"bob")
    place.wait(20.0)
    assert versioned.questions == [[b"ann"]]
    assert len(polled.questions) == pytest.approx(20.0 / POLLED, abs=1)
    assert {tuple(asked) for asked in polled.questions} == {(b"bob",)}


def test_nobody_there() -> None:
    """A source without anyone here is not asked."""
    source = Records(polled=True)
    Place(source).wait(10.0)
    assert source.questions == []


def test_expired(source: Records) -> None:
    """Whose term is over is told so, also if it was shortened meanwhile; and does not get in again."""
    place = Place(source)
    source.put(b"ann", valid_until=10.0)
    place.login(b"ann")
    place.wait(9.0)
    assert place.told == []
    place.wait(1.0 + INTERVAL)
    assert place.told == [(b"ann", "expired")]
    assert place.login(b"ann") == []


def test_kick(source: Records) -> None:
    """All connections of a name are cut, whatever their source, and counted."""
    other = Records("other")
    other.put(b"ann", b"y")
    place = Place(source)
    place.login()
    place.login()
    client = place.realm.requestAvatar(other.records[b"ann"].proven(), Mind(), *_interfaces())[1]
    assert place.revocation.kick(b"ann") == 3
    assert place.told == [(b"ann", "kicked")] * 2
    assert not place.realm.has(client)
    assert place.revocation.kick(b"ann") == 0


def _interfaces() -> tuple[Any, ...]:
    from brokerkit.interfaces import IClient

    return (IClient,)


class Down(Exception):
    """A source that is down."""


def test_an_outage_takes_nothing_away(source: Records) -> None:
    """While a source cannot be asked all stay; when it can be again, what has changed counts."""
    place = Place(source)
    place.login()
    source.remove(b"ann")
    works = source.users
    source.users = lambda _: _raise()  # type: ignore[method-assign]
    with capturedLogs() as logs:
        place.wait(20.0)
        assert place.told == []
        source.users = works  # type: ignore[method-assign]
        place.wait(10.0)
    assert place.told == [(b"ann", "revoked")]
    assert [formatEvent(event) for event in logs if "log_failure" in event] == ["records: users cannot be looked up"]


def _raise() -> Any:
    raise Down


def test_a_slow_source_holds_up_no_other() -> None:
    """A database that does not answer delays nothing that a file says."""
    slow, quick = Records("slow", polled=True), Records("quick")
    slow.put(b"ann")
    quick.put(b"bob")
    place = Place(slow, quick)
    place.login(b"ann")
    place.login(b"bob")
    slow.held = []
    place.wait(INTERVAL + 0.1)
    quick.remove(b"bob")
    place.wait(INTERVAL + 0.1)
    assert INTERVAL < DEADLINE
    assert place.told == [(b"bob", "revoked")]


def test_who_came_after_the_question(source: Records) -> None:
    """An answer that is older than a login says nothing of it."""
    place = Place(source)
    [old] = place.login()
    source.changed()
    source.held = []
    Deferred.fromCoroutine(place.revocation.look(now=True))
    held, source.held = source.held, None
    source.put(b"ann", b"new")
    [new] = place.login(secret=b"new")
    source.held = held
    source.give()
    assert place.realm.has(old)
    place.wait()
    assert not place.realm.has(old)
    assert place.realm.has(new)


def test_who_leaves_meanwhile(source: Records) -> None:
    """Whoever has gone when the answer comes is not told, nor counted."""
    place = Place(source)
    [client] = place.login()
    source.changed()
    source.remove(b"ann")
    source.held = []
    Deferred.fromCoroutine(place.revocation.look(now=True))
    client.leave()
    source.give()
    assert (place.told, place.revocation.ended) == ([], 0)


def test_revoked_while_the_login_is_decided() -> None:
    """What a file said when a login began does not count when it says something else before the login is done."""
    source = Records()
    source.put(b"ann", b"", password_hash="some hash")
    checks: list[Deferred[bool]] = []

    async def check(_: str, __: bytes) -> bool:
        checks.append(Deferred())
        return await checks[-1]

    place = Place(source)
    source.check_hash = check  # type: ignore[method-assign]
    found = place.login()
    source.put(b"ann", b"", password_hash="another hash")
    place.wait()
    checks[0].callback(True)
    assert found == []  # it is asked again, by what the source says now
    checks[1].callback(False)
    assert found == []
    assert place.realm.clients == {}


def test_found_before_and_answered_after_a_change() -> None:
    """The same for a source that takes its time to find a user."""
    source = Records()
    source.put(b"ann")
    place = Place(source)
    source.held = []
    found = place.login()
    source.remove(b"ann")
    source.give()
    assert found == []


def test_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many names are asked for some at a time, and many clients gone through likewise; others have their turn."""
    monkeypatch.setattr(revocation, "AT_ONCE", 10)
    monkeypatch.setattr(revocation, "WORK", 10)
    source = Records()
    for i in range(35):
        source.put(b"%d" % i)
    place = Place(source)
    place.wait()
    for i in range(35):
        for _ in range(3):
            place.login(b"%d" % i)
    for i in range(0, 35, 2):
        source.remove(b"%d" % i)
    source.questions.clear()
    ended: list[int] = []  # how many were gone through when others had their turn
    call_later = place.clock.callLater

    def counted(delay: float, *call: Any) -> Any:
        if not delay:
            ended.append(place.revocation.ended)
        return call_later(delay, *call)

    monkeypatch.setattr(place.clock, "callLater", counted)
    place.wait()
    assert place.revocation.ended == 54
    assert [len(asked) for asked in source.questions] == [10, 10, 10, 5]
    assert max(after - before for before, after in pairwise([0, *ended, 54])) <= 10
    assert len(place.realm.clients) == 17


@pytest.mark.parametrize("how", ["end", "become"])
def test_one_that_stumbles(how: str) -> None:
    """A protocol's mistake with one client spares nobody else, and that client is gone."""
    source = Records()
    for name in (b"ann", b"bob"):
        source.put(name)
    place = Place(source)
    [ann], [bob] = place.login(b"ann"), place.login(b"bob")
    ann.subscribe(b"b", lambda _: None)
    if how == "end":
        ann.ended = lambda _: _raise()
        source.remove(b"ann")
        source.remove(b"bob")
    else:
        ann.lost = lambda _: _raise()
        source.put(b"ann", grants=LESS)
        source.put(b"bob", grants=LESS)
    with capturedLogs() as logs:
        place.wait()
    assert ["because of a bug" in formatEvent(event) for event in logs] == [True]
    assert ann.router.subscriptions == 0
    if how == "end":
        assert place.realm.clients == {}
    else:
        assert bob.user.grants == LESS


def test_stop_while_it_is_asked(source: Records) -> None:
    """When the broker stops, a question is given up without a word, and its answer changes nothing."""
    place = Place(source)
    place.login()
    source.remove(b"ann")
    source.held = []
    with capturedLogs() as logs:
        place.wait(3.0 if source.version is None else 1.5)
        assert source.held
        place.revocation.stopService()
        place.wait(10.0)
    assert [formatEvent(event) for event in logs if event.get("log_level") and "failure" in event] == []
    assert "cannot be looked up" not in " ".join(map(formatEvent, logs))
    assert place.told == []
    assert place.clock.getDelayedCalls() == []
    source.held = None
    place.revocation.startService()
    place.wait()
    assert place.told == [(b"ann", "revoked")]


def test_look_now_waits_its_turn() -> None:
    """Who wants to know at once gets an answer that is newer than the question, though another is under way."""
    source = Records(polled=True)
    source.put(b"ann")
    place = Place(source)
    place.login()
    source.held = []
    place.wait(INTERVAL + 0.1)
    source.records.clear()
    done: list[object] = []
    Deferred.fromCoroutine(place.revocation.look(now=True)).addCallback(done.append)
    assert (done, place.told) == ([], [])
    source.give()
    assert done == [None]
    assert place.told == [(b"ann", "revoked")]


def test_the_clock_is_set_back() -> None:
    """A database is asked further on."""
    source = Records(polled=True)
    source.put(b"ann")
    place = Place(source)
    place.clock.rightNow = 10_000.0
    place.login()
    Deferred.fromCoroutine(place.revocation.look())
    place.clock.rightNow = 5.0
    source.records.clear()
    Deferred.fromCoroutine(place.revocation.look())
    assert place.told == [(b"ann", "revoked")]
