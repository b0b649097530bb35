"""``bpbroker.json`` while the broker runs: taken over once, written whole, backed up, restored."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred, fail, maybeDeferred

from brokerkit.errors import OperatorError
from brokerkit.protocols.bpbroker import document as doc
from brokerkit.protocols.bpbroker.view import View, backups, restore
from brokerkit.registry import Delete, NoRoom, Put, Registry
from tests.talk import Time

if TYPE_CHECKING:
    from pathlib import Path

OLD = {"services": {"a": {"x": 1, "last_write_ip": "10.0.0.1", "last_write_ts": 5}, "b": {"_str": "t"}}, "echo": {}}


class AtOnce:
    """Threads that do what they are asked to at once."""

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""

    def call(self, work: Any) -> Deferred[Any]:
        """Do it."""
        return maybeDeferred(work)


class World:
    """A registry in memory and a file."""

    def __init__(self, path: Path, document: Any = OLD, registry: Registry | None = None, **options: Any) -> None:
        """Write the file, unless there is one, and begin."""
        self.path = path / "bpbroker.json"
        if document is not None:
            self.path.write_text(json.dumps(document))
        self.clock = Time()
        self.registry = registry if registry is not None else Registry(None, self.clock)
        found = doc.layers([self.path])
        self.view = View(self.registry, str(self.path), found, self.clock, threads=AtOnce(), **options)
        self.view.startService()

    def stop(self) -> Any:
        """End, and give what is in the file then."""
        self.view.stopService()
        return json.loads(self.path.read_text())


def test_the_registry_is_taken_over(tmp_path: Path) -> None:
    """Entries come in with where and when they were written."""
    world = World(tmp_path)
    assert world.view.ready
    found = {entry.name: (entry.data, entry.ip, entry.ts) for entry in world.registry.list()}
    assert found["a"] == ({"x": 1}, "10.0.0.1", 5)
    assert found["b"][0] == {"_str": "t"}


def test_only_once(tmp_path: Path) -> None:
    """What was deleted does not come back with the next start, and what is there is not replaced by the file."""
    world = World(tmp_path)
    world.registry.write([Delete("a"), Put("b", {"new": 1})])
    World(tmp_path, registry=world.registry)
    assert [(entry.name, entry.data) for entry in world.registry.list()] == [("b", {"new": 1})]


def test_what_is_there_already_wins(tmp_path: Path) -> None:
    """A file that is new to a registry does not replace what is in it."""
    registry = Registry(None, Time())
    registry.write([Put("a", {"mine": 1})])
    World(tmp_path, registry=registry)
    assert [(entry.name, entry.data) for entry in registry.list()] == [("a", {"mine": 1}), ("b", {"_str": "t"})]


def test_an_entry_that_cannot_be_kept_costs_no_other(tmp_path: Path) -> None:
    """It is left out and named in the log; the rest is taken over."""
    world = World(tmp_path, {"services": {"x" * 2000: {}, **{f"n{i}": {} for i in range(300)}}})
    assert (world.view.ready, len(world.registry.list())) == (True, 300)


def test_a_full_disk_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it cannot be taken over nobody is answered; when there is room it is."""
    registry = Registry(None, Time())
    write = registry.write
    monkeypatch.setattr(registry, "write", lambda *_: fail(NoRoom("the disk is full")))
    world = World(tmp_path, registry=registry)
    waiting = world.view.when_ready()
    failures: list[Any] = []
    assert not world.view.ready
    monkeypatch.setattr(registry, "write", write)
    world.clock.advance(11)
    waiting.addErrback(failures.append)
    assert (world.view.ready, failures) == (True, [])


def test_it_is_written_at_the_end(tmp_path: Path) -> None:
    """Settings, keys and what is in the registry by then, for the owner's eyes alone."""
    world = World(tmp_path, {**OLD, "ping": {"_access_key": "k"}})
    world.registry.write([Delete("a"), Put("é", {"y": 2}), Put("_own", {})], "ann", "10.0.0.2")
    found = world.stop()
    stamp = {"last_write_ip": "10.0.0.2", "last_write_ts": 1_800_000_000}
    assert found["services"]["é"] == {"y": 2, **stamp}
    assert list(found["services"]) == ["b", "é"]
    assert (found["ping"], found["echo"], found["api"]["listen_port"]) == ({"_access_key": "k"}, {}, 20443)
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600
    assert doc.read(world.path) == found


def test_without_a_file_one_is_made(tmp_path: Path) -> None:
    """With all defaults, as the original does."""
    found = World(tmp_path, None).stop()
    assert found == doc.DEFAULTS


def test_what_somebody_changed_meanwhile_stays(tmp_path: Path) -> None:
    """A setting that was edited while the broker ran is kept; entries are the registry's."""
    world = World(tmp_path)
    world.path.write_text(json.dumps({"echo": {"more": 1}, "services": {"no": {}, "_access_key": "k"}}))
    found = world.stop()
    assert found["echo"] == {"more": 1}
    assert list(found["services"]) == ["_access_key", "a", "b"]


def test_a_file_that_became_unreadable_is_left_alone(tmp_path: Path) -> None:
    """It is somebody's work: it is not overwritten, and that is counted."""
    world = World(tmp_path)
    world.path.write_text("{ half")
    world.view.stopService()
    assert (world.path.read_text(), world.view.failures) == ("{ half", 1)


def test_a_directory_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted, and what was there stays whole."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    world = World(tmp_path)
    before = world.path.read_text()
    monkeypatch.setattr("os.fsync", full)
    world.view.stopService()
    assert (world.path.read_text(), world.view.failures) == (before, 1)
    assert [one.name for one in tmp_path.iterdir()] == ["bpbroker.json"]


def test_backups(tmp_path: Path) -> None:
    """At each interval the file is written, with a copy if something has changed; so many copies stay."""
    world = World(tmp_path, every=60, keep=2)
    for i in range(4):
        world.registry.write([Put("n", {"i": i})])
        for _ in range(2):
            for _ in range(60):
                world.clock.advance(1)
    kept = backups(world.path)
    assert [json.loads(one.read_text())["services"]["n"]["i"] for one in kept] == [2, 3]
    assert all(stat.S_IMODE(one.stat().st_mode) == 0o600 for one in kept)
    assert json.loads(world.path.read_text())["services"]["n"]["i"] == 3


def test_restore(tmp_path: Path) -> None:
    """A restored file is taken in place of what is there, once."""
    world = World(tmp_path, every=60, keep=3)
    for _ in range(61):
        world.clock.advance(1)
    world.registry.write([Delete("a"), Put("later", {})])
    world.stop()
    assert restore(world.path) == backups(world.path)[-1]
    again = World(tmp_path, None, registry=world.registry)
    assert [entry.name for entry in again.registry.list()] == ["a", "b"]
    again.registry.write([Put("later", {})])
    assert "import_again" not in again.stop()["_config"]
    third = World(tmp_path, None, registry=world.registry)
    assert [entry.name for entry in third.registry.list()] == ["a", "b", "later"]


def test_restore_passes_over_what_is_damaged(tmp_path: Path) -> None:
    """The latest backup that can be read is the one; without any, that is said."""
    path = tmp_path / "bpbroker.json"
    with pytest.raises(OperatorError, match="there is no backup"):
        restore(path)
    (tmp_path / "bpbroker.json.20270101T000000Z").write_text('{"services": {"old": {}}}')
    (tmp_path / "bpbroker.json.20270102T000000Z").write_text("{ half")
    (tmp_path / "bpbroker.json.other").write_text("{}")
    assert restore(path).name.endswith("20270101T000000Z")
    assert json.loads(path.read_text())["services"] == {"old": {}}
    with pytest.raises(OperatorError, match=r"20270102T000000Z.* is no JSON"):
        restore(path, tmp_path / "bpbroker.json.20270102T000000Z")
