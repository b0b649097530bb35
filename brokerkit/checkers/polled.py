"""Users in a database that cannot say when it has changed: asked for each login, and again for those who are here.

An answer is kept for a short time, so that a hundred sensors of one user that come back together are one question.  A
row that makes no sense is that user's trouble alone: it is said in the log, once, and the user is refused.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger

from brokerkit.checkers import registry_rights
from brokerkit.checkers.known import BY_NAME, Known, allowed, is_name
from brokerkit.checkers.source import Source
from brokerkit.client import User
from brokerkit.errors import ConfigError, Words, WrongSecret
from brokerkit.topics import under

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    Answer = Known | ConfigError | None

log = Logger()

KEPT = 2.0  # seconds that an answer is good for
JOIN = 1.0  # seconds that a question may be old for others to wait for its answer too
ROOM = 10_000  # answers that are kept at most, and complaints that are remembered


class Unusable(WrongSecret):
    """The source has the user, but what it says of it makes no sense."""


class Question:
    """One look-up, and all who wait for it; each may give up, and when the last one has, it is cancelled."""

    def __init__(self, begun: float) -> None:
        """Note when it is asked; ``work`` is the asking, set when that has begun."""
        self.begun = begun
        self.work: Deferred[Any] | None = None
        self._waiting: dict[Deferred[Answer], None] = {}

    def wait(self) -> Deferred[Answer]:
        """Give a Deferred of the answer for one more."""
        waiting: Deferred[Answer] = Deferred(self._give_up)
        self._waiting[waiting] = None
        return waiting

    def _give_up(self, waiting: Deferred[Answer]) -> None:
        self._waiting.pop(waiting, None)
        if not self._waiting and self.work is not None:
            self.work.cancel()

    def answer(self, answer: Answer | Failure) -> None:
        """Tell all who wait; a ``Failure`` is one for each of them."""
        waiting, self._waiting = self._waiting, {}
        for one in waiting:
            one.callback(answer)


class Polled(Source):
    """A source that is asked by ``fetch``; a subclass says how.

    ``find`` answers from what was fetched in the last ``kept`` seconds if it can; ``users`` always asks.
    """

    credentialInterfaces = BY_NAME
    version: int | None = None

    def __init__(self, clock: IReactorTime, kept: float = KEPT) -> None:
        """Begin with nothing fetched."""
        self._clock = clock
        self.kept = kept
        self._answers: OrderedDict[bytes, tuple[float, Answer]] = OrderedDict()
        self._being_asked: dict[bytes, Question] = {}
        self._complaints: OrderedDict[str, None] = OrderedDict()

    def fetch(self, names: list[bytes]) -> Deferred[Mapping[bytes, Known | ConfigError]]:
        """Ask for the users of those names; what makes no sense is a ``ConfigError`` in place of a record.

        Fails if the database cannot be asked: with ``OperatorError`` where one line says it all.
        """
        raise NotImplementedError

    def find(self, credentials: Any) -> Deferred[Known | None]:  # noqa: ANN401  any with a name
        """Give the record of a name, fetched now or a moment ago."""
        name: bytes = credentials.username
        if not is_name(name):
            return succeed(None)
        now = self._clock.seconds()
        kept = self._answers.get(name)
        if kept is not None and 0 <= now - kept[0] < self.kept:
            return succeed(_usable(kept[1]))
        question = self._being_asked.get(name)
        if question is not None and 0 <= now - question.begun < JOIN:
            return question.wait().addCallback(_usable)
        return self._ask(name, now).addCallback(_usable)

    def _ask(self, name: bytes, now: float) -> Deferred[Answer]:
        question = self._being_asked[name] = Question(now)
        first = question.wait()  # before it is asked, since the answer may be there at once
        fetched: Deferred[Any] = maybeDeferred(self.fetch, [name])
        taken: Deferred[Any] = fetched.addCallback(self._take, [name])
        question.work = taken.addCallback(lambda found: found.get(name))
        question.work.addBoth(self._answered, name, question)
        return first

    def _answered(self, answer: Answer | Failure, name: bytes, question: Question) -> None:
        if self._being_asked.get(name) is question:
            del self._being_asked[name]
        question.answer(answer)

    def users(self, names: Iterable[bytes]) -> Deferred[Mapping[bytes, Known]]:
        """Give the records of those of the names that are known and make sense now."""
        asked = [name for name in names if is_name(name)]
        if not asked:
            return succeed({})
        fetched = self.fetch(asked).addCallback(self._take, asked)
        return fetched.addCallback(lambda found: {name: one for name, one in found.items() if isinstance(one, Known)})

    def _take(
        self, found: Mapping[bytes, Known | ConfigError], names: list[bytes]
    ) -> Mapping[bytes, Known | ConfigError]:
        now = self._clock.seconds()
        for name in names:
            one = found.get(name)
            self._answers[name] = (now, one)
            self._answers.move_to_end(name)
            if isinstance(one, ConfigError):
                self._complain(str(one))
        while len(self._answers) > ROOM:
            self._answers.popitem(last=False)
        return found

    def _complain(self, text: str) -> None:
        if text in self._complaints:
            return
        log.error("a user cannot log in: {text}", text=text)
        self._complaints[text] = None
        if len(self._complaints) > ROOM:
            self._complaints.popitem(last=False)


def _usable(found: Answer) -> Known | None:
    if isinstance(found, ConfigError):
        raise Unusable(str(found))
    return found


def read_row(
    source: str,
    where: str,
    name: bytes,
    row: Mapping[str, Any],
    *,
    publish: str,
    subscribe: str,
    prefix: bytes = b"",
) -> Known | ConfigError:
    """Make a record of a row as hpfeeds has it, or the error that says what is wrong with it.

    ``row`` holds ``secret``, perhaps ``owner``, and the two lists of literal channel names under the keys that
    ``publish`` and ``subscribe`` say, and perhaps those of the registry; a list is a list, or JSON that becomes one.
    ``where`` names the row.
    """
    try:
        secret = row.get("secret")
        if not isinstance(secret, str) or not secret:
            raise ConfigError(where, "secret", _kind(secret), "a string that is not empty")
        owner = row.get("owner")
        if owner is not None and not isinstance(owner, str):
            raise ConfigError(where, "owner", _kind(owner), "a string")
        pubchans = _names(row.get(publish), where, publish)
        subchans = _names(row.get(subscribe), where, subscribe)
        read, write = (_registry(row.get(key), where, key) for key in registry_rights.FIELDS)
    except ConfigError as error:
        return error
    grants = allowed(
        pubchans=[under(prefix, one) for one in pubchans],
        subchans=[under(prefix, one) for one in subchans],
        registry=(read, write),
    )
    return Known(User(name, source, grants, owner=owner or ""), secret.encode(errors="surrogatepass"))


def _names(value: Any, where: str, key: str) -> list[bytes]:  # noqa: ANN401  whatever the database has
    if value is None:
        return []
    if isinstance(value, str | bytes):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ConfigError(where, key, Words("something else"), "a JSON list of strings") from None
    if not isinstance(value, list):
        raise ConfigError(where, key, _kind(value), "a list of strings")
    for i, name in enumerate(value):
        if not isinstance(name, str):
            raise ConfigError(where, f"{key}[{i}]", _kind(name), "a string")
    return [name.encode(errors="surrogatepass") for name in value]


def _registry(value: Any, where: str, key: str) -> tuple[str, ...]:  # noqa: ANN401  whatever the database has
    names = tuple(name.decode(errors="replace") for name in _names(value, where, key)) if value is not None else ()
    for i, name in enumerate(names):
        if not registry_rights.is_rule(name):
            raise ConfigError(where, f"{key}[{i}]", name, registry_rights.EXPECTED)
    return names


def _kind(value: object) -> Words:
    """Name the kind of a value in place of the value, which might be a secret that has slipped."""
    if value is None:
        return Words("nothing")
    return Words("an empty string" if value == "" else f"a value of type {type(value).__name__}")
