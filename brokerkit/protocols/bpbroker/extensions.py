"""Runs extensions: one after the other in a child process, or in several where the operator has said so.

A call waits for a free child, in a queue that is bounded in number and in time.  A child that has not answered when the
time for a call is over is killed, and the next call gets a new one; so is one that died.  What goes wrong in an
extension is logged with its traceback, and the caller learns nothing of it.
"""

from __future__ import annotations

import base64
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from brokerkit.protocols.bpbroker.call import ExtensionFailed, NoPlace, Outcome, TooLong, UnknownMethod
from brokerkit.protocols.bpbroker.extension_process import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from brokerkit.protocols.bpbroker.call import Call
    from brokerkit.protocols.bpbroker.extension_data import ExtensionData

log = Logger()


@attrs.frozen
class ExtensionBounds:
    """What calls may take: seconds to run and to wait before that, how many wait, how many run, bytes of an answer."""

    timeout: float = 30.0
    wait: float = 30.0
    queue: int = 64
    concurrency: int = 1
    output_bytes: int = 4 * 1024 * 1024


USUAL = ExtensionBounds()


@attrs.define(eq=False)
class _Pending:
    """A call that waits or runs."""

    call: Call
    answer: Deferred[Outcome]
    alarm: Any = None  # a delayed call


class ChildExtensions(Service):
    """The extensions of one listener: ``modules`` are those that the configuration names, ``library`` has their files.

    Counters: ``calls`` that were begun, ``failures`` of extensions, ``overdue`` ones, ``turned_away`` for want of a
    place; processes that were ``started``, and of those ``replaced`` since they took too long, died or misbehaved.
    """

    def __init__(
        self,
        reactor: Any,  # noqa: ANN401  any reactor, also a test's
        library: Path,
        modules: Mapping[str, Any],
        data: ExtensionData,
        bounds: ExtensionBounds = USUAL,
        make_child: Callable[..., Any] = Child,
    ) -> None:
        """Take what is needed; a child is started when there is a call for it."""
        self._reactor = reactor
        self._library = library
        self._modules = modules
        self._data = data
        self._bounds = bounds
        self._make_child = make_child
        self._waiting: deque[_Pending] = deque()
        self._children: dict[Any, _Pending | None] = {}
        self._lock = _Lock()
        self.calls = self.failures = self.overdue = self.turned_away = 0
        self.started = self.replaced = 0

    def has(self, package: str) -> bool:
        """Say whether the configuration names that module."""
        return package in self._modules and not package.startswith("_")

    def call(self, call: Call) -> Deferred[Outcome]:
        """Do it when its turn comes; see ``call.Extensions``, and ``ExtensionFailed``."""
        if not self.has(call.package):
            return fail(UnknownMethod(f"{call.package} is not named in the configuration"))
        if len(self._waiting) >= self._bounds.queue and self._idle() is None:
            self.turned_away += 1
            return fail(NoPlace("too many calls of extensions wait"))
        pending = _Pending(call, Deferred(self._cancelled))
        pending.alarm = self._reactor.callLater(self._bounds.wait, self._waited, pending)
        self._waiting.append(pending)
        self._next()
        return pending.answer

    def stopService(self) -> Any:  # noqa: ANN401  what Service gives
        """Kill the children; whoever waits is told that there is no place."""
        for child, pending in list(self._children.items()):
            self._forget(child)
            if pending is not None:
                self._finish(pending, NoPlace("the broker stops"))
        while self._waiting:
            self._finish(self._waiting.popleft(), NoPlace("the broker stops"))
        return super().stopService()  # type: ignore[no-untyped-call]

    # -- calls --------------------------------------------------------------------------------------------------------

    def _idle(self) -> Any:  # noqa: ANN401  a child or nothing
        """Give a child that has nothing to do, a new one if there may be one more, or nothing."""
        for child, pending in self._children.items():
            if pending is None:
                return child
        return self._make_child if len(self._children) < self._bounds.concurrency else None

    def _next(self) -> None:
        while self._waiting and (child := self._idle()) is not None:
            pending = self._waiting.popleft()
            if child is self._make_child:
                child = child(self, self._bounds.output_bytes)
                self._children[child] = pending
                try:
                    child.start(self._reactor, self._library, self._bounds.output_bytes)
                except OSError as error:
                    del self._children[child]
                    log.error("extensions: no process can be started: {error}", error=error.strerror)
                    self._finish(pending, NoPlace("no process"))
                    continue
                self.started += 1
            self._begin(child, pending)

    def _begin(self, child: Any, pending: _Pending) -> None:  # noqa: ANN401  a child
        self.calls += 1
        self._children[child] = pending
        pending.alarm.cancel()
        pending.alarm = self._reactor.callLater(self._bounds.timeout, self._ran_out, child)
        child.tell({**attrs.asdict(pending.call), "timeout": self._bounds.timeout})

    def _cancelled(self, answer: Deferred[Outcome]) -> None:
        """Forget a call that still waits, since nobody does; one that runs goes on."""
        for pending in self._waiting:
            if pending.answer is answer:
                self._waiting.remove(pending)
                pending.alarm.cancel()
                return

    def _waited(self, pending: _Pending) -> None:
        self._waiting.remove(pending)
        self.turned_away += 1
        self._finish(pending, NoPlace("a call of an extension has waited too long"))

    def _ran_out(self, child: Any) -> None:  # noqa: ANN401  a child
        pending = self._children[child]
        self._forget(child)
        self.replaced += 1
        if pending is not None:
            self.overdue += 1
            name, seconds = _name(pending.call), self._bounds.timeout
            log.error("extension {name}: took longer than {seconds:g} s and was killed", name=name, seconds=seconds)
            self._finish(pending, TooLong(f"{name} took longer than {seconds:g} s"))
        self._next()

    def _forget(self, child: Any) -> None:  # noqa: ANN401  a child
        self._children.pop(child, None)
        child.kill()
        self._unlock(child)

    def _finish(self, pending: _Pending, result: Outcome | Exception) -> None:
        if pending.alarm.active():
            pending.alarm.cancel()
        if pending.answer.called:  # it was cancelled
            return
        if isinstance(result, Outcome):
            pending.answer.callback(result)
        else:
            pending.answer.errback(result)

    # -- what children say --------------------------------------------------------------------------------------------

    def said(self, child: Any, what: dict[str, Any]) -> None:  # noqa: ANN401  a child
        """Take a question or an outcome."""
        pending = self._children.get(child)
        if pending is None:
            log.error("extensions: a process spoke without being asked, and was killed")
            self._forget(child)
            self.replaced += 1
        elif "ask" in what:
            self._answer(child, pending, what)
        else:
            self._children[child] = None
            self._unlock(child)
            self._finish(pending, self._result(pending.call, what))
            self._next()

    def died(self, child: Any, why: str) -> None:  # noqa: ANN401  a child
        """Take note of the end of a child that nobody has ended."""
        pending = self._children.pop(child, None)
        self._unlock(child)
        self.replaced += 1
        if pending is not None:
            self.failures += 1
            log.error("extension {name}: its process ended: {why}", name=_name(pending.call), why=why)
            self._finish(pending, ExtensionFailed("its process ended"))
        self._next()

    def _result(self, call: Call, what: dict[str, Any]) -> Outcome | Exception:
        if "unknown" in what:
            log.warn("extension not called: {why}", why=what["unknown"])
            return UnknownMethod("there is no such method")
        try:
            done = dict(what["done"])
            return Outcome(**{**done, "data": base64.b64decode(done["data"])})
        except (KeyError, TypeError, ValueError):
            self.failures += 1
            log.error("extension {name} failed:\n{traceback}", name=_name(call), traceback=what.get("failed", "?"))
            return ExtensionFailed(f"{_name(call)} failed")

    def _answer(self, child: Any, pending: _Pending, question: dict[str, Any]) -> None:  # noqa: ANN401  a child
        if question["ask"] == "lock":
            self._lock.take(child, lambda got: child.tell({"answer": got}), wait=bool(question.get("wait", True)))
        elif question["ask"] == "unlock":
            self._unlock(child)
            child.tell({"answer": None})
        else:
            call = pending.call
            asked = Deferred.fromCoroutine(self._data.answer(question, call.package, call.address))
            asked.addErrback(_broken)
            asked.addCallback(lambda answer: self._reply(child, pending, answer))

    def _reply(self, child: Any, pending: _Pending, answer: dict[str, Any]) -> None:  # noqa: ANN401  a child
        if self._children.get(child) is pending:
            child.tell(answer)

    def _unlock(self, child: Any) -> None:  # noqa: ANN401  a child
        self._lock.give_back(child)


def _broken(failure: Any) -> dict[str, Any]:  # noqa: ANN401  a Failure
    log.failure("a question of an extension could not be answered", failure)
    return {"refused": "the broker could not answer"}


def _name(call: Call) -> str:
    return f"{call.package}.{call.method}"[:200]


class _Lock:
    """The lock of all extensions; whoever asks first gets it first."""

    def __init__(self) -> None:
        self._holder: Any = None
        self._waiting: deque[tuple[Any, Callable[[bool], None]]] = deque()

    def take(self, who: Any, tell: Callable[[bool], None], *, wait: bool) -> None:  # noqa: ANN401  a child
        if self._holder is None:
            self._holder = who
            tell(True)
        elif wait:
            self._waiting.append((who, tell))
        else:
            tell(False)

    def give_back(self, who: Any) -> None:  # noqa: ANN401  a child
        self._waiting = deque(one for one in self._waiting if one[0] is not who)
        if self._holder is not who:
            return
        self._holder = None
        if self._waiting:
            self._holder, tell = self._waiting.popleft()
            tell(True)
