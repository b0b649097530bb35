"""Users in a database that has to be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from brokerkit.checkers import polled
from brokerkit.checkers.first_match import FirstMatch
from brokerkit.checkers.known import Known
from brokerkit.checkers.polled import JOIN, KEPT, Polled, Unusable, read_row
from brokerkit.client import User
from brokerkit.errors import ConfigError, SourceFailed, WrongSecret
from brokerkit.grants import PUBLISH, SUBSCRIBE

if TYPE_CHECKING:
    from collections.abc import Mapping

ANN = Known(User(b"ann", "database"), b"x")
BROKEN = ConfigError("database: row 7", "secret", 1, "a string")


class Database(Polled):
    """Answers at once, or when the test says so."""

    source = "database"

    def __init__(self, clock: Clock, *, later: bool = False) -> None:
        """Begin with one user, and one whose row makes no sense."""
        super().__init__(clock)
        self.rows: dict[bytes, Known | ConfigError] = {b"ann": ANN, b"bad": BROKEN}
        self.asked: list[list[bytes]] = []
        self.later = later
        self.open: list[Deferred[Any]] = []
        self.cancelled = 0

    def fetch(self, names: list[bytes]) -> Deferred[Mapping[bytes, Known | ConfigError]]:
        """Take a question."""
        self.asked.append(names)
        answer: Deferred[Any] = Deferred(self._cancelled)
        self.open.append(answer)
        if not self.later:
            self.answer()
        return answer

    def _cancelled(self, _: Deferred[Any]) -> None:
        self.cancelled += 1

    def answer(self) -> None:
        """Answer the oldest question."""
        self.open.pop(0).callback(dict(self.rows))


@pytest.fixture
def clock() -> Clock:
    """Give a clock."""
    return Clock()


def _find(database: Polled, name: bytes = b"ann") -> list[Any]:
    """Look a name up; give the list that the answer, or the error, will be in."""
    found: list[Any] = []
    database.find(UsernamePassword(name, b"x")).addCallbacks(found.append, lambda failure: found.append(failure.value))
    return found


def test_kept_for_a_moment(clock: Clock) -> None:
    """An answer is good for a short time, for a name that is not known too; then it is asked for again."""
    database = Database(clock)
    for name, answer in ((b"ann", ANN), (b"eve", None)):
        for _ in range(5):
            assert _find(database, name) == [answer]
        clock.advance(KEPT)
        assert _find(database, name) == [answer]
    assert database.asked == [[b"ann"], [b"ann"], [b"eve"], [b"eve"]]


def test_the_clock_is_set_back(clock: Clock) -> None:
    """An answer is not good until it is that late again."""
    clock.rightNow = 10_000.0
    database = Database(clock)
    _find(database)
    clock.rightNow = 5.0
    _find(database)
    assert len(database.asked) == 2


def test_many_at_once_are_one_question(clock: Clock) -> None:
    """Who asks for a name that is being asked for waits for the same answer."""
    database = Database(clock, later=True)
    waiting = [_find(database) for _ in range(100)]
    other = _find(database, b"eve")
    assert database.asked == [[b"ann"], [b"eve"]]
    database.answer()
    assert waiting == [[ANN]] * 100
    assert other == []
    database.answer()
    assert other == [None]


def test_an_old_question_is_not_waited_for(clock: Clock) -> None:
    """When the answer takes long, who comes now asks anew; both answers reach those who asked."""
    database = Database(clock, later=True)
    first = _find(database)
    clock.advance(JOIN)
    second, third = _find(database), _find(database)
    assert len(database.asked) == 2
    database.answer()
    assert (first, second) == ([ANN], [])
    database.answer()
    assert (second, third) == ([ANN], [ANN])
    assert not database._being_asked


def test_an_outage_is_everybodys(clock: Clock) -> None:
    """A question that fails, fails for all who wait for it, and nothing of it is kept."""
    database = Database(clock, later=True)
    waiting = [_find(database) for _ in range(3)]
    down = OSError("down")
    database.open.pop().errback(down)
    assert waiting == [[down]] * 3
    assert _find(database) == []
    database.answer()
    assert _find(database) == [ANN]


def test_giving_up(clock: Clock) -> None:
    """Who gives up leaves the others waiting; when the last one has, the question is cancelled and forgotten."""
    database = Database(clock, later=True)
    one, other = (database.find(UsernamePassword(b"ann", b"x")) for _ in range(2))
    for asking in (one, other):
        asking.addErrback(lambda _: None)
    one.cancel()
    assert database.cancelled == 0
    other.cancel()
    assert database.cancelled == len(database.asked)
    assert not database._being_asked


def test_every_login_has_its_own_deadline(clock: Clock) -> None:
    """Behind a database that says nothing, everybody is told so in time."""
    database = Database(clock, later=True)
    users = FirstMatch([database], clock, deadline=1.5)
    ends: list[Any] = []
    for _ in range(3):
        answer = users.requestAvatarId(UsernamePassword(b"ann", b"x"))
        answer.addErrback(lambda failure: ends.append((clock.seconds(), failure.type)))
        clock.advance(0.5)
    clock.advance(0)
    clock.pump([0.5] * 5)
    assert ends == [(1.5, SourceFailed), (2.0, SourceFailed), (2.5, SourceFailed)]
    assert database.cancelled == len(database.asked)


def test_a_row_that_makes_no_sense(clock: Clock) -> None:
    """It is that user's trouble alone, and is said once; nobody else's secret is compared with it."""
    database = Database(clock)
    users = FirstMatch([database], clock)
    with capturedLogs() as logs:
        for _ in range(3):
            [error] = _find(database, b"bad")
            assert isinstance(error, Unusable)
            clock.advance(KEPT)
        refused: list[Any] = []
        users.requestAvatarId(UsernamePassword(b"bad", b"1")).addErrback(lambda f: refused.append(f.type))
    assert [formatEvent(event) for event in logs] == [f"a user cannot log in: {BROKEN}"]
    assert issubclass(refused[0], WrongSecret)
    assert users.asked[0].up


def test_users_are_always_asked_for(clock: Clock) -> None:
    """What is true now is not taken from memory, but remembered; who makes no sense is not among them."""
    database = Database(clock)
    found: list[Any] = []
    for _ in range(2):
        database.users([b"ann", b"bad", b"eve", b"\xff", b"x" * 300]).addCallback(found.append)
    assert found == [{b"ann": ANN}] * 2
    assert database.asked == [[b"ann", b"bad", b"eve"]] * 2
    del database.rows[b"ann"]
    database.users([b"ann"])
    assert _find(database) == [None]
    database.users([b"\xff"]).addCallback(found.append)
    assert found[-1] == {}
    assert len(database.asked) == 3


def test_impossible_names_are_not_asked_for(clock: Clock) -> None:
    """A name that no protocol can carry is nobody's."""
    database = Database(clock)
    assert _find(database, b"\xff") == _find(database, b"x" * 256) == [None]
    assert database.asked == []


def test_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names are tried, so many answers and complaints are remembered."""
    monkeypatch.setattr(polled, "ROOM", 10)
    database = Database(clock)
    for i in range(100):
        database.rows[b"b%d" % i] = ConfigError(f"row {i}", "secret", 1, "a string")
        _find(database, b"b%d" % i)
        _find(database, b"%d" % i)
    assert len(database._answers) == len(database._complaints) == 10


# -- rows -------------------------------------------------------------------------------------------------------------


def _read(**row: Any) -> Known | ConfigError:
    return read_row("database", "row 1", b"ann", row, publish="pub", subscribe="sub", prefix=b"p")


def test_row() -> None:
    """Lists are lists or JSON; an owner may be missing; names lie under the prefix, and are literal."""
    for lists in ({"pub": ["a", "*"], "sub": []}, {"pub": '["a", "*"]', "sub": None}, {"pub": b'["a", "*"]'}):
        known = _read(secret="s", **lists)
        assert isinstance(known, Known)
        assert (known.secret, known.user.owner) == (b"s", "")
        grants = known.user.grants
        assert grants.permits(PUBLISH, b"p.a")
        assert grants.permits(PUBLISH, b"p.*")
        assert not grants.permits(PUBLISH, b"p.b")
        assert not grants.permits(PUBLISH, b"a")
        assert not grants.permits(SUBSCRIBE, b"p.a")


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({}, "row 1: secret: found nothing, expected a string that is not empty"),
        ({"secret": ""}, "secret: found an empty string"),
        ({"secret": 5}, "secret: found a value of type int"),
        ({"secret": b"hush"}, "secret: found a value of type bytes"),
        ({"secret": "s", "owner": ["x"]}, "owner: found a value of type list, expected a string"),
        ({"secret": "s", "pub": "a,b"}, "pub: found something else, expected a JSON list of strings"),
        ({"secret": "s", "pub": '"a"'}, "pub: found a value of type str, expected a list of strings"),
        ({"secret": "s", "sub": '{"a": 1}'}, "sub: found a value of type dict"),
        ({"secret": "s", "sub": ["a", 7]}, "sub[1]: found a value of type int, expected a string"),
        ({"secret": "s", "sub": "[" * 100_000}, "sub: found something else"),
        ({"secret": "s", "sub": b"\xff"}, "sub: found something else"),
    ],
)
def test_row_that_makes_no_sense(row: dict[str, Any], text: str) -> None:
    """One line says where, which key, what kind of value was found and what is expected; never the value."""
    error = _read(**row)
    assert isinstance(error, ConfigError)
    assert text in str(error)
    assert "hush" not in str(error)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["secret", "owner", "pub", "sub"]), JUNK))
@example({"secret": "\ud800", "pub": ["\ud800"]})
def test_any_row(row: dict[str, Any]) -> None:
    """Whatever a database has, there is a record or an error."""
    assert isinstance(_read(**row), Known | ConfigError)
