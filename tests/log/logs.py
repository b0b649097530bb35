"""For tests: logs on disk or in memory, with a clock that the test moves and no threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.log import Limits, Log, Record, Topic, TopicSettings, Write
from tests.checkers.at_once import AtOnce
from tests.talk import Time

if TYPE_CHECKING:
    from pathlib import Path

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

QUIET = {"tidy_every": 0.0}  # nothing is taken away unless the test says so


def memory(**limits: Any) -> Log:
    """Give a log in memory."""
    return Log(None, Time(), Limits(**QUIET | limits))


def on_disk(path: Path, clock: Time | None = None, threads: Any = None, **limits: Any) -> Log:
    """Give a log that is open; what is appended is written when the clock moves."""
    log = Log(path, clock or Time(), Limits(**QUIET | limits), threads or AtOnce())
    log.startService()
    return log


def moved(log: Log, seconds: float = 0.01) -> None:
    """Let time pass: by itself as much as it takes until what waits is written."""
    log._clock.advance(seconds)


def got(answer: Deferred[Any], log: Log | None = None) -> Any:
    """Give the result of what is done by now, or raise what it failed with."""
    found: list[Any] = []

    def note(result: Any) -> Any:
        found.append(result)
        return result

    def fail(failure: Failure) -> None:
        found.append(_Failed(failure))

    answer.addCallbacks(note, fail)
    if log is not None and not found:
        moved(log)
    assert found, "it is not done"
    if isinstance(found[0], _Failed):
        raise found[0].failure.value
    return found[0]


class _Failed:
    def __init__(self, failure: Failure) -> None:
        self.failure = failure


def make(
    log: Log, name: bytes = b"t", partitions: int = 1, tenant: str = "", stream: str = "", **settings: Any
) -> Topic:
    """Make a topic."""
    topic: Topic = got(log.create(Topic(tenant, name, stream, partitions, TopicSettings(**settings))), log)
    return topic


def put(
    log: Log, *values: bytes | None, name: bytes = b"t", partition: int | None = 0, key: bytes | None = None
) -> Any:
    """Append values."""
    return got(log.append([Write("", name, partition, Record(value, key)) for value in values]), log)


def values(log: Log, name: bytes = b"t", partition: int = 0, offset: int | None = None) -> list[bytes | None]:
    """Read the values of a partition from its start, or an offset."""
    place = log.span(name, partition).first if offset is None else offset
    found: list[bytes | None] = []
    while place < log.span(name, partition).next:
        fetched = got(log.fetch(name, partition, place))
        assert fetched.after > place
        found += [record.value for record in fetched.records]
        place = fetched.after
    return found
