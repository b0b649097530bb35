"""Extensions: whose turn it is, what takes too long, what dies, what is not to be called; with children of paper."""

from __future__ import annotations

import base64
import math
import os
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from brokerkit.protocols.bpbroker.call import Call, ExtensionFailed, NoPlace, Outcome, TooLong, UnknownMethod
from brokerkit.protocols.bpbroker.extension_data import KEPT, ExtensionData
from brokerkit.protocols.bpbroker.extension_frames import Frames, FrameTooLong, frame
from brokerkit.protocols.bpbroker.extension_process import LINE, LINES, Lines, environment
from brokerkit.protocols.bpbroker.extensions import ChildExtensions, ExtensionBounds
from brokerkit.registry import Put, Registry

CALL = Call("echo", "Test", {"data": "x"}, "192.0.2.7")
DONE = {
    "status": 200,
    "status_message": "",
    "content_type": "text/plain",
    "data": base64.b64encode(b"hello").decode(),
}


class PaperChild:
    """Writes down what it is told."""

    fails = False

    def __init__(self, parent: ChildExtensions, _: int) -> None:
        """Belong to that."""
        self.parent = parent
        self.told: list[dict[str, Any]] = []
        self.killed = False

    def start(self, *_: object) -> None:
        """Do as if."""
        if PaperChild.fails:
            raise OSError(11, "no more processes")

    def tell(self, what: dict[str, Any]) -> None:
        """Write it down."""
        self.told.append(what)

    def kill(self) -> None:
        """Be gone."""
        self.killed = True

    def say(self, **what: Any) -> None:
        """Tell the parent."""
        self.parent.said(self, what)


class World:
    """Extensions with children of paper, a registry in memory, and a clock."""

    def __init__(self, **bounds: Any) -> None:
        """Make it."""
        self.clock = Clock()
        self.children: list[PaperChild] = []
        self.registry = Registry(None, self.clock)
        self.sections = {"echo": {"_access_key": "hush", "colour": "red"}, "_config": {"x": 1}, "services": {}}
        self.data = ExtensionData(self.registry, self.sections)
        self.extensions = ChildExtensions(
            self.clock, Path("lib"), self.sections, self.data, ExtensionBounds(**bounds), self.make
        )

    def make(self, parent: ChildExtensions, output_bytes: int) -> PaperChild:
        """Make a child."""
        self.children.append(PaperChild(parent, output_bytes))
        return self.children[-1]

    def call(self, call: Call = CALL) -> list[Any]:
        """Call, and give a list that the result will be in."""
        results: list[Any] = []
        self.extensions.call(call).addBoth(results.append)
        return results

    def ask(self, question: dict[str, Any]) -> Any:
        """Give what is answered to a question of ``echo``."""
        return self.now(self.data.answer(question, "echo", "192.0.2.7"))

    def now(self, coroutine: Any) -> Any:
        """Give the result of something that has one at once."""
        results: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


def _kind(results: list[Any]) -> type[BaseException] | None:
    return results[0].type if results else None


def test_a_call_and_its_outcome() -> None:
    """A child gets what the caller says, and what it answers is the outcome; the next call gets the same child."""
    world = World()
    first = world.call()
    (child,) = world.children
    assert child.told == [{**attrs.asdict(CALL), "timeout": 30.0}]
    child.say(done=DONE)
    assert first == [Outcome(200, "", "text/plain", b"hello")]
    world.call()
    assert len(child.told) == 2
    assert len(world.children) == 1
    assert world.extensions.calls == 2


def test_one_at_a_time() -> None:
    """A second call waits until the first is done."""
    world = World()
    world.call()
    second = world.call()
    (child,) = world.children
    assert len(child.told) == 1
    child.say(done=DONE)
    assert len(child.told) == 2
    assert not second
    child.say(done=DONE)
    assert second


def test_several_at_a_time() -> None:
    """With more concurrency there are more children, and no more than that."""
    world = World(concurrency=2)
    for _ in range(3):
        world.call()
    assert [len(child.told) for child in world.children] == [1, 1]


def test_too_long() -> None:
    """A call that is not done in its time fails, its child is killed, and the next call has a new one."""
    world = World(timeout=5.0)
    first, second = world.call(), world.call()
    world.clock.advance(4.9)
    assert not first
    world.clock.advance(0.2)
    assert _kind(first) is TooLong
    assert world.children[0].killed
    assert (world.extensions.overdue, world.extensions.started, world.extensions.replaced) == (1, 2, 1)
    world.children[0].say(done=DONE)  # what it still says counts for nothing
    assert not second
    world.children[1].say(done=DONE)
    assert second == [Outcome(200, "", "text/plain", b"hello")]


def test_the_queue_is_bounded() -> None:
    """Beyond the bound a call is turned away at once; who has waited too long is, too."""
    world = World(queue=2, wait=7.0)
    results = [world.call() for _ in range(4)]
    assert [_kind(one) for one in results] == [None, None, None, NoPlace]
    world.clock.advance(7)
    assert [_kind(one) for one in results] == [None, NoPlace, NoPlace, NoPlace]
    assert world.extensions.turned_away == 3


def test_a_death() -> None:
    """A child that dies fails its call, and is replaced; one that dies without a call costs nobody anything."""
    world = World()
    first, second = world.call(), world.call()
    world.extensions.died(world.children[0], "killed")
    assert _kind(first) is ExtensionFailed
    world.children[1].say(done=DONE)
    assert second
    world.extensions.died(world.children[1], "killed")
    third = world.call()
    world.children[2].say(done=DONE)
    assert third
    assert (world.extensions.failures, world.extensions.replaced) == (1, 2)


def test_no_process() -> None:
    """Where no process can be started, the call is turned away."""
    world = World()
    PaperChild.fails = True
    try:
        assert _kind(world.call()) is NoPlace
    finally:
        PaperChild.fails = False
    world.call()
    assert len(world.children[-1].told) == 1


@pytest.mark.parametrize(
    "said",
    [{"failed": "Traceback"}, {"done": {}}, {"done": {**DONE, "more": 1}}, {"done": {**DONE, "data": "é"}}, {}],
)
def test_a_failure(said: dict[str, Any]) -> None:
    """What fails, or says what is no outcome, is a failure, and the child goes on."""
    world = World()
    results = world.call()
    world.children[0].say(**said)
    assert _kind(results) is ExtensionFailed
    assert not world.children[0].killed
    assert (world.extensions.failures, world.extensions.replaced) == (1, 0)


def test_unknown() -> None:
    """What the configuration does not name is not called, nor is what the child does not find."""
    world = World()
    for package in ("other", "_config"):
        assert not world.extensions.has(package)
        assert _kind(world.call(attrs.evolve(CALL, package=package))) is UnknownMethod
    assert not world.children
    results = world.call()
    world.children[0].say(unknown="there is none")
    assert _kind(results) is UnknownMethod


def test_who_speaks_unasked_is_killed() -> None:
    """A child that says something without a call is not to be trusted."""
    world = World()
    world.call()
    world.children[0].say(done=DONE)
    world.children[0].say(done=DONE)
    assert world.children[0].killed
    world.call()
    assert len(world.children) == 2


def test_the_caller_goes() -> None:
    """Who waits and goes leaves the queue; who goes while the call runs disturbs nobody."""
    world = World()
    running = world.extensions.call(CALL).addErrback(lambda _: None)
    waiting = world.extensions.call(CALL).addErrback(lambda _: None)
    waiting.cancel()
    running.cancel()
    world.children[0].say(done=DONE)
    assert len(world.children[0].told) == 1
    world.clock.advance(1000)
    assert not world.clock.getDelayedCalls()


def test_the_end() -> None:
    """When the broker stops, children are killed and nobody is left waiting."""
    world = World()
    results = [world.call(), world.call()]
    world.extensions.stopService()
    assert [_kind(one) for one in results] == [NoPlace, NoPlace]
    assert world.children[0].killed
    assert not world.clock.getDelayedCalls()


# -- the lock -------------------------------------------------------------------------------------------------------


def test_the_lock() -> None:
    """One child has it at a time, in the order in which they asked; it ends with the call, however that ends."""
    world = World(concurrency=3, timeout=5.0)
    for _ in range(3):
        world.call()
    one, two, three = world.children
    for child in world.children:
        child.say(ask="lock", wait=True)
    three.say(ask="lock", wait=False)
    assert [child.told[1:] for child in (one, two, three)] == [[{"answer": True}], [], [{"answer": False}]]
    one.say(done=DONE)
    assert two.told[1:] == [{"answer": True}]
    two.say(ask="unlock")
    assert two.told[2:] == [{"answer": None}]
    assert three.told[2:] == [{"answer": True}]
    world.call()
    one.say(ask="lock", wait=True)
    assert one.told[-1]["package"] == "echo"
    world.extensions.died(three, "killed")
    assert one.told[-1] == {"answer": True}


# -- what they read and write -----------------------------------------------------------------------------------------


def test_records() -> None:
    """A record has what the broker adds; hidden names are not there, not listed and not written."""
    world = World()
    world.registry.write([Put("a", {"x": 1}), Put("_own", {"y": 1})], "me", "192.0.2.1")
    found = world.ask({"ask": "get", "name": "a"})["answer"]
    assert found["record"] == {"x": 1, "last_write_ip": "192.0.2.1", "last_write_ts": 0}
    assert world.ask({"ask": "get", "name": "_own"}) == {"answer": None}
    assert world.ask({"ask": "names", "after": ""}) == {"answer": ["a"]}
    assert "refused" in world.ask({"ask": "put", "records": [["_own", {}, None]]})
    assert "refused" in world.ask({"ask": "delete", "name": "_own"})
    assert world.registry.get("_own") is not None


def test_writing_is_atomic() -> None:
    """Several records are written together, or, when one has changed meanwhile, none."""
    world = World()
    assert world.ask({"ask": "put", "records": [["a", {"x": 1}, None], ["b", {}, None]]}) == {"answer": [1, 2]}
    assert "refused" in world.ask({"ask": "put", "records": [["a", {"x": 2}, 1], ["b", {"x": 2}, 1]]})
    entry = world.registry.get("a")
    assert entry is not None
    assert (entry.data, entry.by, entry.ip) == ({"x": 1}, "extension echo", "192.0.2.7")
    assert world.ask({"ask": "delete", "name": "a"}) == {"answer": True}
    assert world.ask({"ask": "delete", "name": "a"}) == {"answer": False}


def test_sections() -> None:
    """An extension sees settings without keys, and may keep members of its own section, which last."""
    world = World()
    assert world.ask({"ask": "sections"}) == {"answer": {"echo": {"colour": "red"}}}
    value = {"colour": "red", "count": 3, "_access_key": "mine"}
    assert world.ask({"ask": "section", "name": "echo", "value": value}) == {"answer": None}
    assert world.ask({"ask": "sections"}) == {"answer": {"echo": {"colour": "red", "count": 3}}}
    kept = world.registry.get(KEPT + "echo")
    assert kept is not None
    assert kept.data == {"count": 3}
    assert "refused" in world.ask({"ask": "section", "name": "other", "value": {}})


@pytest.mark.parametrize("question", [{}, {"ask": None}, {"ask": "everything"}])
def test_odd_questions(question: dict[str, Any]) -> None:
    """A question that there is not is refused."""
    assert World().ask(question) == {"refused": "there is no such question"}


def test_a_broken_question(bugs: list[Any]) -> None:
    """A question that cannot be answered is refused, and the call goes on."""
    world = World()
    results = world.call()
    world.children[0].say(ask="get")
    assert world.children[0].told[-1] == {"refused": "the broker could not answer"}
    assert bugs.pop().type is KeyError
    world.children[0].say(done=DONE)
    assert results


# -- pipes ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.dictionaries(st.text(), st.integers() | st.text())), st.data())
def test_frames_in_any_pieces(said: list[dict[str, Any]], data: st.DataObject) -> None:
    """However the bytes are cut, the same objects come out."""
    stream = b"".join(map(frame, said))
    frames, found = Frames(1_000_000), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += frames.receive(stream[:size])
        stream = stream[size:]
    assert found == said


def test_odd_frames() -> None:
    """What is too long is known by its head; what is no JSON, or no object, is an error."""
    with pytest.raises(FrameTooLong):
        Frames(10).receive(b"\0\0\0\x0b")
    for text in (b"[]", b"{", b"\xff"):
        with pytest.raises(ValueError, match=r".*"):
            Frames(10).receive(len(text).to_bytes(4, "big") + text)
    with pytest.raises(ValueError, match="not JSON compliant"):
        frame({"x": math.inf})


def test_the_environment() -> None:
    """A child gets to know where things are, and no secret."""
    here = {"PATH": "/bin", "HPFEEDS_SECRET": "x", "BPBROKER_ACCESS_KEY": "x", "LC_ALL": "C", "AWS_SECRET": "x"}
    assert sorted(environment(here)) == ["LC_ALL", "PATH", "PYTHONPATH"]
    (root,) = environment({})["PYTHONPATH"].split(os.pathsep)
    assert environment({"PYTHONPATH": f".:/a/b::{root}"})["PYTHONPATH"] == f"/a/b:{root}:{root}"


def test_output_is_bounded() -> None:
    """Only so many lines of a child are logged, and an endless line is not held."""
    lines = Lines()
    lines.receive(b"x\n" * (LINES + 50))
    assert lines.left == -50
    for _ in range(100):
        lines.receive(b"y" * 10_000)
    assert len(lines._begun) <= 4 * LINE
