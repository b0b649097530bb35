"""Checking passwords against hashes, in threads."""

from __future__ import annotations

import threading
import time
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

import bcrypt
import pytest
from argon2 import PasswordHasher
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from brokerkit import hashing
from brokerkit.errors import TooBusy
from brokerkit.hashing import COSTS, REMEMBERED, Hashing, check, is_hash, make_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(b"secret", salt=b"saltsalt")
BCRYPT = bcrypt.hashpw(b"secret", b"$2b$04$abcdefghijklmnopqrstuu").decode()


class Reactor(Clock):
    """A clock that takes calls from threads, and does them when the test says so."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self.from_threads: Queue[Any] = Queue()

    def callFromThread(self, call: Any, *arguments: Any) -> None:
        """Keep a call."""
        self.from_threads.put((call, arguments))

    def do(self, seconds: float = 5.0) -> bool:
        """Do the next call, as soon as there is one; say whether there was."""
        try:
            call, arguments = self.from_threads.get(timeout=seconds)
        except Empty:
            return False
        call(*arguments)
        return True


class Gate:
    """In the place of ``check``: holds every check up until it is opened."""

    def __init__(self) -> None:
        """Begin shut."""
        self.opened = threading.Event()
        self.begun: list[bytes] = []

    def __call__(self, _: str, password: bytes) -> bool:
        """Wait, and take every password for the right one."""
        self.begun.append(password)
        assert self.opened.wait(10)
        return True


@pytest.fixture
def reactor() -> Reactor:
    """Give a reactor."""
    return Reactor()


@pytest.fixture
def service(reactor: Reactor) -> Iterator[Hashing]:
    """Give the service, and stop it."""
    service = Hashing(reactor)
    service.startService()
    yield service
    service.stopService()


@pytest.fixture
def gate(service: Hashing, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Give the gate that all checks have to pass."""
    assert service
    gate = Gate()
    monkeypatch.setattr(hashing, "check", gate)
    yield gate
    gate.opened.set()


def _ask(service: Hashing, password: bytes, hashed: str = QUICK) -> tuple[list[Any], Deferred[Any]]:
    """Ask, and give the list that the answer will be in."""
    answers: list[Any] = []
    asking = Deferred.fromCoroutine(service.fits(hashed, password))
    asking.addCallbacks(answers.append, lambda failure: answers.append(failure.type))
    return answers, asking


def _wait_for(what: Any) -> None:
    """Wait until something is true."""
    for _ in range(500):
        if what():
            return
        time.sleep(0.01)
    raise AssertionError


@pytest.mark.parametrize("hashed", [QUICK, BCRYPT, BCRYPT.replace("$2b$", "$2y$"), BCRYPT.replace("$2b$", "$2a$")])
def test_check(hashed: str) -> None:
    """The right password fits, and no other."""
    assert is_hash(hashed)
    assert check(hashed, b"secret")
    for wrong in (b"", b"Secret", b"secret\0", b"\xff" * 100):
        assert not check(hashed, wrong)


def test_our_own() -> None:
    """A hash that is made here can be checked here."""
    hashed = make_hash(b"\xffsecret")
    assert is_hash(hashed)
    assert check(hashed, b"\xffsecret")


def test_bcrypt_looks_at_72_bytes() -> None:
    """A longer password fits no hash, not even that of its beginning."""
    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert check(hashed, b"x" * 72)
    assert not check(hashed, b"x" * 73)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "$2b$31" + BCRYPT[6:],
        "$2b$03" + BCRYPT[6:],
        "$2b$xx" + BCRYPT[6:],
        BCRYPT[:-1],
        BCRYPT + "x",
        BCRYPT[:-1] + "\ud800",
        BCRYPT + "\n",
        "$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$aGFzaA",
        "$argon2id$v=19$m=65536,t=9999,p=1$c2FsdHNhbHQ$aGFzaA",
        "$argon2id$v=19$m=8,t=1,p=1$\ud800$aGFzaA",
        "$argon2id$v=19$m=65536,t=1,p=999$c2FsdHNhbHQ$aGFzaA",
        "$argon2id$$$$",
        "$1$abc$def",
        "{SHA}xyz",
    ],
)
def test_no_hashes(text: str) -> None:
    """What is no hash, or would take for ever, is none and fits nothing."""
    assert not is_hash(text)
    began = time.monotonic()
    assert not check(text, b"secret")
    assert time.monotonic() - began < 1


def test_costs() -> None:
    """What is in use today is within the bounds."""
    assert 12 in COSTS
    assert is_hash("$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$aGFzaA")


@given(st.text(max_size=120), st.binary(max_size=100))
@example("$argon2id$v=19$m=8,t=1,p=0$c2FsdHNhbHQ$aGFzaA", b"")
@example("$argon2id$v=1$m=1,t=0,p=1$a$a", b"")
@example("$2b$04$" + "." * 53, b"\0")
@settings(max_examples=50, deadline=None)
def test_any_text(text: str, password: bytes) -> None:
    """Whatever stands in the place of a hash, a check says no and raises nothing."""
    assert check(text, password) is False


def test_in_a_thread(service: Hashing, reactor: Reactor) -> None:
    """The answer comes by way of the reactor."""
    right, _ = _ask(service, b"secret")
    wrong, _ = _ask(service, b"wrong")
    assert right == wrong == []
    assert reactor.do()
    assert reactor.do()
    assert (right, wrong, service.waiting, service.checks) == ([True], [False], 0, 2)


def test_remembered(service: Hashing, reactor: Reactor) -> None:
    """What was right needs no check for a minute; what was wrong does each time."""
    for _ in range(2):
        _ask(service, b"secret")
        reactor.do(1.0)
    assert _ask(service, b"secret")[0] == [True]
    _ask(service, b"secret", BCRYPT)
    reactor.do()
    checks = service.checks
    reactor.advance(REMEMBERED)
    assert _ask(service, b"secret")[0] == []
    reactor.do()
    for _ in range(2):
        _ask(service, b"wrong")
        reactor.do()
    assert service.checks == checks + 3


def test_memory_is_bounded(service: Hashing, reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many passwords are remembered, the latest."""
    monkeypatch.setattr(hashing, "MEMORY", 3)
    monkeypatch.setattr(hashing, "check", lambda *_: True)
    for i in range(10):
        _ask(service, b"%d" % i)
        reactor.do()
    assert len(service._right) == 3
    assert _ask(service, b"9")[0] == [True]


def test_too_many(service: Hashing, reactor: Reactor, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """When so many wait, others are told to try again; there is room again when the first are done."""
    monkeypatch.setattr(hashing, "WAITING", 5)
    waiting = [_ask(service, b"%d" % i)[0] for i in range(5)]
    assert _ask(service, b"x")[0] == [TooBusy]
    assert service.refused == 1
    gate.opened.set()
    for _ in waiting:
        assert reactor.do()
    assert waiting == [[True]] * 5
    _ask(service, b"x")
    assert service.waiting == 1


def test_who_gives_up_leaves_no_work(
    service: Hashing, reactor: Reactor, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody waits for counts until a thread has seen it, which then does nothing for it."""
    monkeypatch.setattr(hashing, "WAITING", 50)
    asked = [_ask(service, b"%d" % i)[1] for i in range(50)]
    _wait_for(lambda: len(gate.begun) == hashing.THREADS)
    for asking in asked:
        asking.cancel()
    assert service.waiting == 50
    assert _ask(service, b"x")[0] == [TooBusy]
    gate.opened.set()
    for _ in asked:
        assert reactor.do()
    assert service.waiting == 0
    assert len(gate.begun) == hashing.THREADS


def test_stop_while_checks_wait(service: Hashing, reactor: Reactor, gate: Gate) -> None:
    """What waits is given up at once, what threads are at is waited for, and nothing is begun any more."""
    waiting = [_ask(service, b"%d" % i)[0] for i in range(100)]
    _wait_for(lambda: len(gate.begun) == hashing.THREADS)

    def open_when_given_up() -> None:
        _wait_for(lambda: all(waiting))
        gate.opened.set()

    threading.Thread(target=open_when_given_up).start()
    service.stopService()
    assert waiting == [[TooBusy]] * 100
    assert len(gate.begun) == hashing.THREADS
    assert service.waiting == 0
    while reactor.do(0.0):
        pass
    assert _ask(service, b"x")[0] == [TooBusy]
    service.startService()
    late, _ = _ask(service, b"y")
    while not late:
        assert reactor.do()
    assert late == [True]
