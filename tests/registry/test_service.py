"""The registry in the process: what is answered is on disk, what is read is what is on disk, and time does its work."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from brokerkit.errors import OperatorError
from brokerkit.registry import (
    Change,
    Check,
    Compacted,
    Conflict,
    Delete,
    Entry,
    Limits,
    Merge,
    NoRoom,
    Put,
    Registry,
    Release,
    Renew,
    Unusable,
    Unwritable,
)
from brokerkit.registry.merge import deep
from brokerkit.stores import registry as stores
from tests.checkers.at_once import AtOnce
from tests.talk import Time

if TYPE_CHECKING:
    from collections.abc import Callable


class Later:
    """Threads that do their work when a test says so."""

    def __init__(self) -> None:
        """Hold everything back."""
        self.held: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def call(self, work: Callable[[], Any]) -> Deferred[Any]:
        """Take some work."""
        answer: Deferred[Any] = Deferred()
        self.held.append((work, answer))
        return answer

    def do(self) -> None:
        """Do the first of it."""
        work, answer = self.held.pop(0)
        try:
            result = work()
        except BaseException:  # as a thread does
            result = Failure()
        answer.callback(result)

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End."""


class Told(list[tuple[int, str, str]]):
    """What a listener has heard."""

    def hear(self, change: Change) -> None:
        """Take one."""
        self.append((change.revision, change.operation, change.name))


@pytest.fixture
def clock() -> Time:
    """Give a clock."""
    return Time()


@pytest.fixture
def memory(clock: Time) -> Registry:
    """Give a registry in memory."""
    return Registry(None, clock)


def _opened(path: Path, clock: Time, threads: Any = None, **limits: Any) -> Registry:
    registry = Registry(path, clock, Limits(**limits), threads or AtOnce())
    registry.startService()
    return registry


def _result(answer: Deferred[Any]) -> Any:
    """Give what there is now; raise what it failed with."""
    found: list[Any] = []
    answer.addBoth(found.append)
    assert found, "not answered yet"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


def _names(registry: Registry, prefix: str = "") -> list[str]:
    return [entry.name for entry in registry.list(prefix)]


# -- writing ----------------------------------------------------------------------------------------------------------


def test_put(memory: Registry) -> None:
    """An entry knows its revisions, who wrote it, from where and when."""
    (made,) = _result(memory.write([Put("a", {"n": 1})], "ann", "192.0.2.1"))
    assert made == Entry("a", {"n": 1}, 1, 1, 1, "192.0.2.1", 1_800_000_000, "ann")
    (again,) = _result(memory.write([Put("a", {"n": 2})]))
    assert (again.revision, again.created, again.version) == (2, 1, 2)
    assert memory.get("a") is again
    _result(memory.write([Delete("a")]))
    (anew,) = _result(memory.write([Put("a", {})]))
    assert (anew.revision, anew.created, anew.version) == (4, 4, 1)


@pytest.mark.parametrize(
    ("operation", "there"),
    [
        (Put("a", {}, if_absent=True), True),
        (Put("b", {}, if_there=True), False),
        (Put("a", {}, if_revision=9), True),
        (Put("b", {}, if_revision=1), False),
        (Put("a", {}, if_revision=0), True),
        (Merge("a", {}, if_revision=2), True),
        (Merge("b", {}, if_there=True), False),
        (Delete("a", if_revision=2), True),
        (Delete("b", if_there=True), False),
        (Check("a", 0), True),
        (Check("b", 1), False),
        (Renew("b"), False),
        (Renew("a", if_revision=5), True),
    ],
)
def test_conditions_that_do_not_hold(memory: Registry, operation: Any, there: bool) -> None:
    """The write is a conflict with what is there, and nothing of it is done."""
    _result(memory.write([Put("a", {})]))
    with pytest.raises(Conflict) as caught:
        _result(memory.write([Put("c", {}), operation]))
    assert (caught.value.entry is not None) is there
    assert caught.value.name == operation.name
    assert _names(memory) == ["a"]
    assert (memory.revision, memory.conflicts) == (1, 1)


def test_a_write_of_several(memory: Registry) -> None:
    """Each sees what those before it did."""
    results = _result(
        memory.write(
            [Put("a", {"n": 1}), Check("a", 1), Merge("a", {"m": 2}), Delete("a"), Put("a", {}, if_absent=True)]
        )
    )
    assert [one and one.revision for one in results] == [1, 1, 2, None, 4]
    assert memory.get("a").version == 1


def test_shallow_and_deep(memory: Registry) -> None:
    """A shallow merge replaces members, a deep one goes into objects and takes away what is null."""
    _result(memory.write([Put("a", {"x": {"y": 1}, "z": 1})]))
    assert _result(memory.write([Merge("a", {"x": {"w": 2}})]))[0].data == {"x": {"w": 2}, "z": 1}
    assert _result(memory.write([Merge("a", {"x": {"v": 3}, "z": None}, deep=True)]))[0].data == {"x": {"w": 2, "v": 3}}
    assert _result(memory.write([Merge("new", {"x": {"n": None}}, deep=True)]))[0].data == {"x": {}}


@pytest.mark.parametrize(
    ("there", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches(there: dict[str, Any], patch: dict[str, Any], result: dict[str, Any]) -> None:
    """The examples of RFC 7396 that are objects; what was there is not changed."""
    before = repr(there)
    assert deep(there, patch) == result
    assert repr(there) == before


@pytest.mark.parametrize(
    "operation",
    [
        Put("", {}),
        Put("a\0", {}),
        Put("\ud800", {}),
        Put("x" * 2000, {}),
        Put("a", []),  # type: ignore[arg-type]
        Put("a", {"x": object()}),
        Put("a", {"x": float("nan")}),
        Put("a", {"x": "y" * 2_000_000}),
        Put("a", {}, ttl=0),
        Put("a", {}, ttl=-1),
        Put("a", {}, ttl=float("nan")),
        Put("a", {}, ttl=float("inf")),
    ],
)
def test_what_cannot_be_kept(memory: Registry, operation: Put) -> None:
    """It is refused, and nothing of the write is done."""
    with pytest.raises(Unusable):
        _result(memory.write([Put("before", {}), operation]))
    assert len(memory) == 0


def test_data_that_is_deep(memory: Registry) -> None:
    """It is refused however it is made."""
    data: dict[str, Any] = {}
    for _ in range(100_000):
        data = {"x": data}
    for operation in (Put("a", data), Merge("a", data, deep=True)):
        with pytest.raises(Unusable):
            _result(memory.write([operation]))
    while data:  # a long chain is taken apart by hand: the interpreter would do it by recursion
        data = data.pop("x")


def test_bounds(clock: Time) -> None:
    """A registry grows to its bounds and no further; what makes it smaller is always done."""
    registry = Registry(None, clock, Limits(entries=2, total=100, operations=3))
    _result(registry.write([Put("a", {"x": "y" * 30}), Put("b", {})]))
    for write in ([Put("c", {})], [Put("b", {"x": "y" * 80})], [Put("c", {}), Put("d", {}), Delete("a")]):
        with pytest.raises(NoRoom):
            _result(registry.write(write))
    assert registry.failed == 3
    _result(registry.write([Delete("a"), Put("c", {})]))
    with pytest.raises(Unusable):
        _result(registry.write([Delete("a")] * 4))
    assert registry.size == len("b{}c{}")


# -- reading ----------------------------------------------------------------------------------------------------------


def test_lists(memory: Registry) -> None:
    """They are in the order of names, from a name on, and bounded; hidden ones are there for who asks for them."""
    _result(memory.write([Put(name, {}) for name in ("b", "a/2", "_x", "a/1", "é", "a")]))
    assert _names(memory) == ["a", "a/1", "a/2", "b", "é"]
    assert _names(memory, "a/") == ["a/1", "a/2"]
    assert _names(memory, "_") == ["_x"]
    assert [e.name for e in memory.list(after="a/1", limit=2)] == ["a/2", "b"]
    assert [e.name for e in memory.list("a", after="a/2")] == []
    assert [e.name for e in memory.list("b", after="a")] == ["b"]


def test_listeners(memory: Registry) -> None:
    """They hear of each change in order, also if one of them writes, and of hidden ones only if they ask for it."""
    told, everything = Told(), Told()

    def write(change: Change) -> None:
        if change.name == "a":
            memory.write([Put("b", {})])

    memory.listen(write)
    stop = memory.listen(told.hear)
    memory.listen(everything.hear, hidden=True)
    _result(memory.write([Put("a", {}), Put("_h", {}), Delete("a")]))
    assert told == [(1, "put", "a"), (3, "delete", "a"), (4, "put", "b"), (5, "put", "b")]
    assert [revision for revision, _, _ in everything] == [1, 2, 3, 4, 5]
    stop()
    _result(memory.write([Put("c", {})]))
    assert len(told) == 4
    assert len(everything) == 6


def test_a_listener_that_fails(memory: Registry) -> None:
    """The others hear, and the write is done."""
    told = Told()

    def fail(_: Change) -> None:
        raise ZeroDivisionError

    memory.listen(fail)
    memory.listen(told.hear)
    _result(memory.write([Put("a", {})]))
    assert told == [(1, "put", "a")]


def test_since(clock: Time) -> None:
    """It gives what came after, or says that it is forgotten; a revision that is to come is none."""
    registry = Registry(None, clock, Limits(history=5))
    for i in range(1000):
        _result(registry.write([Put(f"a{i % 2}", {"i": i})]))
    assert registry.known == 5
    assert [c.revision for c in registry.since(997)] == [998, 999, 1000]
    assert [c.name for c in registry.since(996, "a1")] == ["a1", "a1"]
    assert registry.since(1000) == []
    assert len(registry.since(registry.oldest)) == registry.known
    for revision in (registry.oldest - 1, 1001):
        with pytest.raises(Compacted) as caught:
            registry.since(revision)
        assert caught.value.oldest == registry.oldest


def test_history_is_bounded_in_bytes_and_age(clock: Time) -> None:
    """A few large changes are forgotten early, and all of them in time."""
    registry = Registry(None, clock, Limits(history_bytes=100_000, history_age=100))
    for i in range(100):
        _result(registry.write([Put("a", {"i": i, "x": "y" * 10_000})]))
    assert registry.known == 9
    clock.advance(200)
    _result(registry.write([Put("a", {})]))
    assert registry.known == 1


# -- time and connections ---------------------------------------------------------------------------------------------


def test_a_lease(memory: Registry, clock: Time) -> None:
    """It ends at its time, for readers at once, and as a change of its own."""
    told = Told()
    memory.listen(told.hear)
    _result(memory.write([Put("a", {}, ttl=10), Put("b", {}, ttl=20)]))
    clock.advance(10)
    assert memory.get("a") is None
    assert told == [(1, "put", "a"), (2, "put", "b"), (3, "expire", "a")]
    _result(memory.write([Renew("b", ttl=100)]))
    clock.advance(99)
    assert _names(memory) == ["b"]
    clock.advance(1)
    assert told[-1] == (4, "expire", "b")
    assert memory.expired == 2
    assert clock.getDelayedCalls() == []


def test_what_prolongs_a_lease(memory: Registry, clock: Time) -> None:
    """To renew and to put do, to merge does not; a put without a ttl makes it stay."""
    _result(memory.write([Put("a", {}, ttl=10), Put("b", {}, ttl=10), Put("c", {}, ttl=10), Put("d", {}, ttl=10)]))
    clock.advance(5)
    _result(memory.write([Renew("a"), Merge("b", {"x": 1}), Put("c", {}), Merge("d", {}, ttl=10)]))
    assert memory.revision == 7
    clock.advance(5)
    assert _names(memory) == ["a", "c", "d"]
    clock.advance(5)
    assert _names(memory) == ["c"]


def test_renewing_costs_no_memory(memory: Registry, clock: Time) -> None:
    """However often leases are renewed or replaced, little is remembered of it."""
    for i in range(5000):
        _result(memory.write([Put("a", {}, ttl=1_000_000 - i), Renew("a", ttl=10_000_000 - i)]))
    assert len(memory._leases) < 2000
    clock.advance(1)
    assert memory.get("a") is not None


def test_a_lease_that_has_ended_is_not_there(tmp_path: Path, clock: Time) -> None:
    """Also before it could be taken away: a write finds nothing there, and takes it away first."""
    threads = Later()
    registry = _opened(tmp_path / "r", clock, threads)
    registry.write([Put("a", {"old": 1}, ttl=1)])
    threads.do()
    registry.write([Put("b", {})])
    clock.advance(2)
    assert registry.get("a") is None
    assert _names(registry) == []
    answer = registry.write([Put("a", {"new": 1}, if_absent=True)])
    threads.do()
    threads.do()
    assert _result(answer)[0].version == 1
    assert [c.operation for c in registry.history("a")] == ["put", "expire", "put"]


def test_what_a_connection_owns(memory: Registry) -> None:
    """It goes with the connection; what was replaced by another is not its any more."""
    _result(memory.write([Put("a", {}, owner="c1"), Put("b", {}, owner="c1"), Put("c", {}, owner="c2")]))
    _result(memory.write([Put("b", {}), Merge("a", {"x": 1})]))
    _result(memory.release("c1"))
    assert _names(memory) == ["b", "c"]
    assert memory.history("a")[-1].operation == "expire"


def test_a_connection_that_ends_during_a_write(tmp_path: Path, clock: Time) -> None:
    """What is being written for it goes, too."""
    threads = Later()
    registry = _opened(tmp_path / "r", clock, threads)
    registry.write([Put("a", {}, owner="c1")])
    registry.write([Put("b", {}, owner="c1")])
    registry.release("c1")
    while threads.held:
        threads.do()
    assert _names(registry) == []


# -- the disk ---------------------------------------------------------------------------------------------------------


def test_nothing_is_there_before_it_is_on_disk(tmp_path: Path, clock: Time) -> None:
    """Neither for readers nor for listeners nor for who wrote."""
    threads, told = Later(), Told()
    registry = _opened(tmp_path / "r", clock, threads)
    registry.listen(told.hear)
    answer = registry.write([Put("a", {})])
    assert (registry.get("a"), registry.revision, told, answer.called) == (None, 0, [], False)
    threads.do()
    assert registry.get("a") is not None
    assert answer.called
    assert told == [(1, "put", "a")]


def test_writes_share_a_commit(tmp_path: Path, clock: Time) -> None:
    """What comes while one is under way goes into the next together; one that conflicts fails alone."""
    threads = Later()
    registry = _opened(tmp_path / "r", clock, threads)
    first = registry.write([Put("a", {})])
    others = [registry.write([Put(f"b{i}", {})]) for i in range(100)]
    conflict = registry.write([Put("b5", {}, if_absent=True)])
    last = registry.write([Check("b99", 101), Put("c", {})])
    assert registry.waiting == 102
    threads.do()
    assert first.called
    assert not any(one.called for one in others)
    threads.do()
    assert threads.held == []
    assert all(_result(one) for one in [*others, last])
    with pytest.raises(Conflict):
        _result(conflict)
    assert (registry.commits, registry.revision, registry.writes) == (2, 102, 102)


def test_a_full_disk(tmp_path: Path, clock: Time) -> None:
    """Everybody whose write was in that commit is told, reading goes on, and with room it works again."""
    threads = Later()
    registry = _opened(tmp_path / "r", clock, threads)
    registry.write([Put("a", {"n": 1})])
    threads.do()
    connection = registry._store._connection
    connection.execute(f"pragma max_page_count = {connection.execute('pragma page_count').fetchone()[0]}")
    writes = [registry.write([Put("a", {"x": "y" * 50_000})]) for _ in range(3)]
    threads.do()
    threads.do()
    for write in writes:
        with pytest.raises(NoRoom):
            _result(write)
    assert registry.get("a").data == {"n": 1}
    assert (registry.revision, registry.is_writable, registry.failed) == (1, False, 3)
    connection.execute("pragma max_page_count = 10000")
    write = registry.write([Put("a", {"n": 2})])
    threads.do()
    assert _result(write)[0].revision == 2
    assert registry.is_writable


def test_a_lease_on_a_full_disk(tmp_path: Path, clock: Time) -> None:
    """It is not there any more, and is taken away when there is room."""
    threads = Later()
    registry = _opened(tmp_path / "r", clock, threads)
    registry.write([Put("a", {}, ttl=1)])
    threads.do()
    commit = registry._store.commit

    def full(_: object) -> None:
        raise NoRoom("full")

    registry._store.commit = full  # type: ignore[method-assign]
    clock.advance(1)
    threads.do()
    assert registry.get("a") is None
    registry._store.commit = commit  # type: ignore[method-assign]
    clock.advance(5)
    threads.do()
    assert registry.history("a")[-1].operation == "expire"


def test_a_bug_in_a_commit(tmp_path: Path, clock: Time) -> None:
    """It is answered as not written, and the next write works."""
    threads = Later()
    registry = _opened(tmp_path / "r", clock, threads)
    commit = registry._store.commit
    registry._store.commit = None  # type: ignore[method-assign]
    write = registry.write([Put("a", {})])
    threads.do()
    with pytest.raises(Unwritable):
        _result(write)
    registry._store.commit = commit  # type: ignore[method-assign]
    write = registry.write([Put("a", {})])
    threads.do()
    assert _result(write)[0].revision == 1


def test_too_many_wait(tmp_path: Path, clock: Time) -> None:
    """What waits is bounded; the others are told to come again."""
    threads = Later()
    registry = _opened(tmp_path / "r", clock, threads, waiting=10)
    writes = [registry.write([Put("a", {})]) for _ in range(12)]
    with pytest.raises(Unwritable, match="too many writes wait"):
        _result(writes[-1])
    threads.do()
    threads.do()
    assert all(_result(one) for one in writes[:11])


def test_a_restart(tmp_path: Path, clock: Time) -> None:
    """Everything is there again, with revisions and history; what was bound or has ended is gone, as changes."""
    registry = _opened(tmp_path / "r", clock)
    _result(registry.write([Put("a", {"n": 1}), Put("b", {}, ttl=100), Put("c", {}, ttl=10), Put("d", {}, owner="c1")]))
    _result(registry.write([Delete("a"), Put("a", {"n": 2})]))
    _result(registry.stopService())
    with pytest.raises(Unwritable):
        _result(registry.write([Put("x", {})]))
    clock.advance(50)
    again = _opened(tmp_path / "r", clock)
    assert _names(again) == ["a", "b"]
    assert (again.get("a").revision, again.revision) == (6, 8)
    assert {(c.operation, c.name) for c in again.since(6)} == {("expire", "c"), ("expire", "d")}
    assert [c.operation for c in again.history("a")] == ["put", "delete", "put"]
    clock.advance(50)
    assert _names(again) == ["a"]
    _result(again.write([Put("e", {})]))
    assert again.revision == 10


def test_a_new_entry_that_is_renewed_at_once(tmp_path: Path, clock: Time) -> None:
    """It is on disk, whole, whether that was one write or two that shared a commit."""
    threads = Later()
    registry = _opened(tmp_path / "r", clock, threads)
    registry.write([Put("a", {"n": 1}), Renew("a", 50)])
    for operation in (Put("b", {"n": 2}), Renew("b", 60), Put("c", {}), Renew("c", 5), Put("c", {"n": 3})):
        registry.write([operation])
    stopped = registry.stopService()
    while threads.held:
        threads.do()
    assert stopped.called
    again = _opened(tmp_path / "r", clock)
    assert {entry.name: (dict(entry.data), entry.ttl) for entry in again.list()} == {
        "a": ({"n": 1}, 50),
        "b": ({"n": 2}, 60),
        "c": ({"n": 3}, None),
    }


def test_stopping_waits_for_what_was_begun(tmp_path: Path, clock: Time) -> None:
    """What was accepted is written before the file is closed."""
    threads = Later()
    registry = _opened(tmp_path / "r", clock, threads)
    writes = [registry.write([Put(f"a{i}", {})]) for i in range(3)]
    stopped = registry.stopService()
    while threads.held:
        threads.do()
    assert stopped.called
    assert all(_result(one) for one in writes)
    assert _names(_opened(tmp_path / "r", clock)) == ["a0", "a1", "a2"]


def test_a_damaged_file(tmp_path: Path, clock: Time) -> None:
    """The registry does not start, and says what to do."""
    (tmp_path / "r").write_bytes(b"nonsense" * 1000)
    with pytest.raises(OperatorError, match="brokerkit bpbroker restore"):
        _opened(tmp_path / "r", clock)


def test_backups(tmp_path: Path, clock: Time) -> None:
    """They are made as often as is said, by themselves; one that fails is no harm."""
    registry = Registry(tmp_path / "r", clock, threads=AtOnce())
    registry.backup_every, registry.backup_keep = 60, 2
    registry.startService()
    _result(registry.write([Put("a", {})]))
    for _ in range(5):
        clock.advance(60)
    assert len(stores.backups(tmp_path / "r")) == 2
    assert _result(registry.backup()) in stores.backups(tmp_path / "r")
    _result(registry.stopService())
    with pytest.raises(OperatorError):
        _result(registry.backup())
    with pytest.raises(OperatorError):
        _result(Registry(None, clock).backup())
    assert clock.getDelayedCalls() == []


# -- anything ---------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "a/b", "é", "_h"])
DATA = st.dictionaries(st.sampled_from("xyz"), st.integers() | st.dictionaries(st.just("w"), st.none() | st.booleans()))
TTLS = st.none() | st.integers(1, 30)
OPERATIONS = st.one_of(
    st.builds(Put, NAMES, DATA, ttl=TTLS, if_revision=st.none() | st.integers(0, 20), if_absent=st.booleans()),
    st.builds(Merge, NAMES, DATA, st.booleans(), ttl=TTLS),
    st.builds(Delete, NAMES, st.none() | st.integers(0, 20)),
    st.builds(Check, NAMES, st.integers(0, 20)),
    st.builds(Renew, NAMES, TTLS),
    st.builds(Release, st.just("c1")),
)


class Anything(RuleBasedStateMachine):
    """Any writes, time and restarts: what listeners heard, what is read and what is on disk say the same."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.directory = TemporaryDirectory()
        self.path = Path(self.directory.name) / "r"
        self.clock = Time()
        self.heard: dict[str, Entry] = {}
        self.revision = 0
        self.open()

    def open(self) -> None:
        """Open it, and hear of everything from then on."""
        self.registry = _opened(self.path, self.clock)
        for change in [*self.registry.since(self.revision), *self.registry.since(self.revision, "_")]:
            self.hear(change)
        self.revision = self.registry.revision
        self.registry.listen(self.hear_in_order, hidden=True)

    def hear_in_order(self, change: Change) -> None:
        """Hear of the next change."""
        assert change.revision == self.revision + 1
        self.revision = change.revision
        self.hear(change)

    def hear(self, change: Change) -> None:
        """Follow a change."""
        if change.operation == "put":
            self.heard[change.name] = change.entry
        else:
            del self.heard[change.name]

    @rule(operations=st.lists(OPERATIONS, max_size=4))
    def write(self, operations: list[Any]) -> None:
        """Write, or be refused with nothing done."""
        before = dict(self.heard)
        try:
            _result(self.registry.write(operations))
        except Conflict:
            assert self.heard == before

    @rule(seconds=st.integers(1, 20))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    @rule()
    def restart(self) -> None:
        """Close it and open it again."""
        _result(self.registry.stopService())
        self.open()

    @invariant()
    def agree(self) -> None:
        """See that what was heard is what there is, sizes and order too."""
        there = {entry.name: entry for entry in [*self.registry.list(), *self.registry.list("_")]}
        assert {n: (e.data, e.revision, e.version) for n, e in there.items()} == {
            n: (e.data, e.revision, e.version) for n, e in self.heard.items()
        }
        assert self.registry.revision == self.revision
        assert sorted(there) == self.registry._names
        assert self.registry.size == sum(self.registry.size_of(name) for name in there)

    def teardown(self) -> None:
        """Clean up."""
        _result(self.registry.stopService())
        self.directory.cleanup()


Anything.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_anything = Anything.TestCase
