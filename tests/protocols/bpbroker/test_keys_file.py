"""The access keys of a bpbroker.json while the broker runs: edits count, and the broker's own writing is no edit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from twisted.cred.error import UnauthorizedLogin

from brokerkit.app import make_broker
from brokerkit.config import structure
from brokerkit.credentials import AnonymousRequest, Token
from brokerkit.errors import OperatorError
from brokerkit.plugin import protocols
from brokerkit.protocols.bpbroker import keys_file
from brokerkit.protocols.bpbroker.keys_file import KeysFile
from brokerkit.registry.access import WRITE
from brokerkit.registry.naming import topic
from tests.protocols.bpbroker.test_view import AtOnce
from tests.talk import Line, Time

if TYPE_CHECKING:
    from pathlib import Path

SERVICES = {"services": {"_access_key": "first", "web": {"port": 80}}}


class World:
    """A file that is looked at."""

    def __init__(self, folder: Path, document: Any = SERVICES, *, opens: bool = True) -> None:
        """Write it, unless there is none, and begin."""
        self.path = folder / "bpbroker.json"
        self.clock = Time()
        if document is not None:
            self.say(document)
        self.keys = KeysFile([str(folder / "global.json"), str(self.path)], self.clock, opens=opens)
        self.keys.startService()

    def say(self, document: Any) -> None:
        """Write the file anew."""
        text = document if isinstance(document, str) else json.dumps(document)
        draft = self.path.with_name("draft")
        draft.write_text(text)
        draft.rename(self.path)

    def edit(self, document: Any) -> None:
        """Write the file anew, and let a second pass."""
        self.say(document)
        self.clock.pump([1, 0, 0, 0])

    def takes(self, key: str) -> bool:
        """Say whether a key is somebody's who may write; an empty one: whether nobody in particular may."""
        shown = Token(key.encode()) if key else AnonymousRequest()
        try:
            user: Any = self.keys.requestAvatarId(shown)
        except UnauthorizedLogin:
            return False
        return bool(user.grants.permits(WRITE, topic("a")))


def test_an_edited_key_counts(tmp_path: Path) -> None:
    """The new one is good within a second, and the former one is not any more."""
    world = World(tmp_path)
    assert world.takes("first")
    world.edit({"services": {"_access_key": "second"}})
    assert (world.takes("first"), world.takes("second")) == (False, True)
    assert world.keys.version == 1


def test_an_edit_of_an_entry_is_none_of_a_key(tmp_path: Path) -> None:
    """Nobody who is logged in is looked at again for it."""
    world = World(tmp_path)
    world.edit({"services": {"_access_key": "first", "web": {"port": 81}}})
    assert (world.takes("first"), world.keys.version, world.keys.reloads) == (True, 0, 0)


def test_a_key_that_comes_closes_what_was_open(tmp_path: Path) -> None:
    """And one that goes opens it: the file says who may do what, at any time."""
    world = World(tmp_path, {"services": {}})
    assert world.takes("")
    world.edit({"services": {"_access_key": "k"}})
    assert (world.takes(""), world.takes("k")) == (False, True)
    world.edit({"services": {}})
    assert world.takes("")


@pytest.mark.parametrize("text", ["{", "[]", '{"services": {"_access_key": 5}}', '{"services": 1}'])
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    """The keys stay as they were until it can be used again."""
    world = World(tmp_path)
    world.edit(text)
    assert (world.takes("first"), world.keys.broken, world.keys.failures) == (True, True, 1)
    world.edit({"services": {"_access_key": "second"}})
    assert (world.takes("second"), world.keys.broken) == (True, False)


def test_a_file_that_is_gone_opens_nothing(tmp_path: Path) -> None:
    """Who removes it has not removed the keys."""
    world = World(tmp_path)
    world.path.unlink()
    world.clock.pump([1, 0, 1, 0])
    assert (world.takes("first"), world.takes(""), world.keys.broken) == (True, False, True)


def test_a_file_may_come_later(tmp_path: Path) -> None:
    """One that was not there at the start counts when it is."""
    world = World(tmp_path, None)
    assert world.takes("")
    world.edit(SERVICES)
    assert (world.takes(""), world.takes("first")) == (False, True)
    (tmp_path / "global.json").write_text('{"echo": {"_access_key": "e"}}')
    world.clock.pump([1, 0, 0, 0])
    assert world.keys.guards("echo")


def test_what_is_wrong_at_the_start(tmp_path: Path) -> None:
    """It ends the start, with file and line."""
    with pytest.raises(OperatorError, match=r"bpbroker\.json:2: is no JSON"):
        World(tmp_path, "{\n oops")


# -- beside the broker's own writing ----------------------------------------------------------------------------------


class Broker:
    """A broker with a listener that has such a file, on a test's clock."""

    def __init__(self, folder: Path, document: Any = SERVICES) -> None:
        """Begin."""
        self.path = folder / "bpbroker.json"
        self.path.write_text(json.dumps(document))
        self.clock = Time()
        listen = {"protocol": "bpbroker", "endpoint": "tcp:port=0", "plain": True, "discovery": False}
        told = {"listen": [{**listen, "config": str(self.path)}]}
        broker = make_broker(structure(told, protocols(), "test"), self.clock)
        self.look_again = broker.look_again
        self.listener: Any = broker.listening[0]
        [self.keys] = broker.checkers
        self.view: Any = self.listener.view
        self.view._threads = AtOnce()
        self.view.startService()

    def back_up(self) -> None:
        """Have the broker write the file."""
        self.view.back_up()
        self.clock.pump([0] * 20)

    def status(self, target: str) -> int:
        """Ask, on a connection of its own."""
        return Line(self.listener.site).ask("POST", target).status


def test_what_the_broker_writes_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many entries there are, the file that it has just written itself is left alone."""
    broker = Broker(tmp_path)
    broker.back_up()
    monkeypatch.setattr(keys_file, "read", lambda *_: pytest.fail("it was read"))
    broker.look_again()
    assert broker.keys.version == 0
    assert broker.status("/services/Get?name=web&access_key=first") == 200


def test_an_edit_just_before_the_broker_writes(tmp_path: Path) -> None:
    """It is neither written over nor overlooked."""
    broker = Broker(tmp_path)
    broker.path.write_text(json.dumps({"services": {"_access_key": "second"}}))
    broker.back_up()
    broker.look_again()
    assert json.loads(broker.path.read_text())["services"]["_access_key"] == "second"
    assert broker.status("/services/Get?name=web&access_key=second") == 200
    assert broker.status("/services/Get?name=web&access_key=first") == 401


def test_an_edit_while_the_broker_writes(tmp_path: Path) -> None:
    """What is said after the file was read and before it is replaced is not lost."""
    broker = Broker(tmp_path)
    edits = [lambda: broker.path.write_text(json.dumps({"services": {"_access_key": "second"}}))]

    class Slow(AtOnce):
        def call(self, work: Any) -> Any:
            if edits:
                edits.pop()()
            return super().call(work)

    broker.view._threads = Slow()
    broker.back_up()
    assert not edits
    assert json.loads(broker.path.read_text())["services"] == {
        "_access_key": "second",
        "web": {"port": 80, "last_write_ip": "", "last_write_ts": 1_800_000_000},
    }


def test_an_edit_just_after_the_broker_has_written(tmp_path: Path) -> None:
    """It is not taken for what the broker wrote, and counts at SIGHUP without waiting for the next look."""
    broker = Broker(tmp_path)
    broker.back_up()
    broker.path.write_text(json.dumps({"services": {"_access_key": "second"}}))
    broker.look_again()
    broker.clock.pump([0] * 5)
    assert broker.status("/services/Get?name=web&access_key=second") == 200


def test_ping_is_guarded_as_soon_as_it_has_a_key(tmp_path: Path) -> None:
    """A key for it counts without a start."""
    broker = Broker(tmp_path)
    assert broker.status("/ping/Ping?data=a") == 200
    broker.path.write_text(json.dumps({"services": {"_access_key": "first"}, "ping": {"_access_key": "p"}}))
    broker.look_again()
    broker.clock.pump([0] * 5)
    assert broker.status("/ping/Ping?data=a") == 401
    assert broker.status("/ping/Ping?data=a&access_key=p") == 200
