"""The control socket: how commands on the same machine speak to the broker that runs on a data directory.

It is a UNIX socket in that directory, for the owner's eyes alone: who may open it may do anything, so nobody is asked
who it is.  A request is one line of JSON, and so is its answer.

A lock on the directory itself says whether a broker lives there; the kernel drops it when the process dies, however it
dies.  So a socket that is found without a lock is a dead broker's and is replaced.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.protocols.policies import TimeoutMixin

from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from twisted.internet.interfaces import IListeningPort
    from twisted.python.failure import Failure

    from brokerkit.broker import Broker

log = Logger()

NAME = "control.sock"
MAX_LINE = 64 * 1024  # bytes of one request or answer
MAX_PATH = 103  # bytes that the address of a UNIX socket has room for, on every system
IDLE = 30.0  # seconds after which a connection that asks nothing is closed
CONNECTIONS = 16
FIND_OUT = 1.0  # seconds that another broker has to say who it is


class NoBroker(OperatorError):
    """No broker runs on that data directory, or it does not answer."""


class Refused(OperatorError):
    """The broker does not do what it was asked for."""


# -- the broker's side --------------------------------------------------------------------------------------------


class Control(Service):
    """Listens on the control socket of a directory as long as the broker runs."""

    def __init__(self, broker: Broker, directory: Path) -> None:
        """Serve that broker; nothing is opened before the start."""
        self.broker = broker
        self.directory = directory
        self.talks: set[Talk] = set()
        self._descriptor = -1
        self._port: IListeningPort | None = None

    def privilegedStartService(self) -> None:
        """Lock the directory, before any port is open; raise ``OperatorError`` where another broker uses it.

        What is not there yet is nobody's: it is made when twistd has given up its privileges, so that it is the user's.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        with suppress(OSError):
            self._open_directory()

    def startService(self) -> None:
        """Open the socket; raise ``OperatorError`` where that cannot be, or another broker uses the directory."""
        super().startService()  # type: ignore[no-untyped-call]
        try:
            self._open()
        except (OSError, CannotListenError) as error:
            self._unlock()
            reason = getattr(getattr(error, "socketError", error), "strerror", None) or error
            text = f"{self.directory / NAME}: the control socket cannot be opened: {reason}"
            raise OperatorError(text) from None
        except OperatorError:
            self._unlock()
            raise

    def _open(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._open_directory()
        self._clear()
        factory = Factory.forProtocol(Talk)
        factory.control = self  # type: ignore[attr-defined]
        factory.noisy = False
        before = os.umask(0o177)  # from its first moment on, the socket is the owner's
        try:
            address = _address(self.directory, self._descriptor)
            self._port = self.broker.reactor.listenUNIX(address, factory, mode=0o600)
        finally:
            os.umask(before)

    def _open_directory(self) -> None:
        if self._descriptor < 0:
            self._descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                self._lock()
            except OperatorError:
                self._unlock()
                raise

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = f"{self.directory}: {_who(self.directory)} uses this data directory; stop it, or give another one"
            raise OperatorError(text) from None
        except OSError as error:  # a network file system, perhaps
            log.warn("{place}: cannot be locked: {error}", place=str(self.directory), error=error)

    def _clear(self) -> None:
        """Remove what a dead broker has left."""
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.stat(NAME, dir_fd=self._descriptor, follow_symlinks=False).st_mode):
                text = f"{self.directory / NAME}: is no socket; move it away, so that the control socket can be there"
                raise OperatorError(text)
            os.unlink(NAME, dir_fd=self._descriptor)

    def _unlock(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def stopService(self) -> Deferred[None]:
        """Close everything; done when the socket is gone."""
        super().stopService()  # type: ignore[no-untyped-call]
        ends: list[Deferred[Any]] = [talk.end() for talk in list(self.talks)]
        port, self._port = self._port, None
        if port is not None:
            closing: Deferred[None] = port.stopListening()  # type: ignore[assignment]  # None only for UDP
            ends.append(closing.addErrback(_already_gone, port))
        done: Deferred[Any] = DeferredList(ends, consumeErrors=True)
        return done.addCallback(lambda _: self._unlock())

    # -- what can be asked for --------------------------------------------------------------------------------------

    # Beside what is known here, services of the broker can be asked: ``Broker.requests``.

    async def answer(self, line: bytes) -> dict[str, object]:
        """Do what one line asks for, and give the answer; what is wrong is an answer too."""
        try:
            request = self._request(line)
            own = _REQUESTS.get(request["do"])
            return await (own(self, request) if own else self.broker.requests[request["do"]](request))
        except OperatorError as error:
            return {"error": str(error)}
        except CancelledError:
            return {"error": "the broker is stopping"}
        except Exception:
            log.failure("a request at the control socket was not done because of a bug")
            return {"error": "this failed because of a bug; the broker's log has more"}

    def _request(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            text = "expected one line of JSON"
            raise Refused(text) from None
        known = [*_REQUESTS, *self.broker.requests]
        if not isinstance(request, dict) or request.get("do") not in known:
            text = f'expected {{"do": ...}} with one of {", ".join(known)}'
            raise Refused(text)
        return request

    async def _ping(self, _: Mapping[str, Any]) -> dict[str, object]:
        return {"pid": os.getpid(), "name": self.broker.name}

    async def _kick(self, request: Mapping[str, Any]) -> dict[str, object]:
        name = request.get("name")
        try:
            return {"kicked": self.broker.revocation.kick(name.encode())}  # type: ignore[union-attr]
        except (AttributeError, UnicodeEncodeError):
            text = "name: expected the name of a user, a string"
            raise Refused(text) from None

    async def _look(self, _: Mapping[str, Any]) -> dict[str, object]:
        self.broker.look_again()
        await self.broker.revocation.look(now=True)
        return {"sources": [getattr(one, "source", "") for one in self.broker.checkers]}

    async def _topic(self, request: Mapping[str, Any]) -> dict[str, object]:
        from brokerkit.keeping.orders import obey  # slow to import, and only needed here

        return await obey(self.broker, request)


_REQUESTS = {
    "kick": Control._kick,  # noqa: SLF001  its own
    "look": Control._look,  # noqa: SLF001
    "ping": Control._ping,  # noqa: SLF001
    "topic": Control._topic,  # noqa: SLF001
}


def _who(directory: Path) -> str:
    """Name the broker that has locked a directory."""
    with suppress(OperatorError):
        there = tell(directory, {"do": "ping"}, FIND_OUT)
        return f"the broker {there.get('name')!r} (process {there.get('pid')})"
    return "another broker"


def _already_gone(failure: Failure, port: Any) -> None:  # noqa: ANN401  a twisted.internet.unix.Port
    """Close a socket whose file somebody has removed, which Twisted's port does not."""
    failure.trap(OSError)
    port.socket.close()


class Talk(Protocol, TimeoutMixin):
    """One connection: line by line, the next one is read when the last one is answered."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._unread = b""
        self._busy: Deferred[None] | None = None
        self._ended: Deferred[None] = Deferred()

    @property
    def _control(self) -> Control:
        control: Control = self.factory.control
        return control

    def callLater(self, delay: float, what: Callable[[], object]) -> Any:  # noqa: ANN401  for TimeoutMixin
        """Use the broker's clock."""
        return self._control.broker.reactor.callLater(delay, what)

    def connectionMade(self) -> None:
        """Take part, unless there are too many."""
        if len(self._control.talks) >= CONNECTIONS:
            self.transport.abortConnection()  # type: ignore[union-attr]
            return
        self._control.talks.add(self)
        self.setTimeout(IDLE)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        """Take the next line, if it is its turn."""
        self._unread += data
        if len(self._unread) > MAX_LINE:
            self._say({"error": f"expected a line of at most {MAX_LINE} bytes"})
            self.transport.loseConnection()  # type: ignore[union-attr]
            self._unread = b""
            return
        self._next()

    def _next(self) -> None:
        while self._busy is None and b"\n" in self._unread:
            line, _, self._unread = self._unread.partition(b"\n")
            self.setTimeout(None)  # type: ignore[no-untyped-call]
            busy = self._busy = Deferred.fromCoroutine(self._answer(line))
            if busy.called:
                self._busy = None
            else:
                busy.addCallback(self._go_on)

    def _go_on(self, _: None) -> None:
        self._busy = None
        self._next()

    async def _answer(self, line: bytes) -> None:
        self._say(await self._control.answer(line))
        if self.connected:
            self.setTimeout(IDLE)  # type: ignore[no-untyped-call]

    def _say(self, answer: Mapping[str, object]) -> None:
        if self.connected:
            self.transport.write(json.dumps(answer).encode() + b"\n")  # type: ignore[union-attr]

    def timeoutConnection(self) -> None:
        """Close what is idle."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002
        """Forget it."""
        self.setTimeout(None)  # type: ignore[no-untyped-call]
        self._unread = b""
        self._control.talks.discard(self)
        self._ended.callback(None)

    def end(self) -> Deferred[None]:
        """Close this connection; what it has asked for and is not done yet goes unanswered."""
        if self._busy is not None:
            self._busy.cancel()
        self.transport.abortConnection()  # type: ignore[union-attr]
        return self._ended


# -- the other side -----------------------------------------------------------------------------------------------


def tell(directory: Path, request: Mapping[str, object], timeout: float = 5.0) -> dict[str, Any]:
    """Ask the broker that runs on a data directory, and give its answer; blocks for ``timeout`` seconds at most.

    Raises ``NoBroker`` if none is there, and ``Refused`` if it says that something is wrong.
    """
    deadline = time.monotonic() + timeout
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, _opened(directory) as descriptor:
            connection.settimeout(timeout)
            connection.connect(_address(directory, descriptor))
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(_line(connection, deadline))
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        text = f"no broker runs on {directory}: start one with `brokerkit run`, or say with --data-dir where it runs"
        raise NoBroker(text) from None
    except TimeoutError:
        text = f"the broker on {directory} has not answered within {timeout} s"
        raise NoBroker(text) from None
    except (OSError, ValueError) as error:
        text = f"{directory / NAME}: the broker cannot be asked: {getattr(error, 'strerror', None) or error}"
        raise NoBroker(text) from None
    if not isinstance(answer, dict) or "error" in answer:
        text = f"the broker on {directory} refused: {answer['error'] if isinstance(answer, dict) else 'no object'}"
        raise Refused(text)
    return answer


def _line(connection: socket.socket, deadline: float) -> bytes:
    """Read one line; raise ``ConnectionError`` if there comes none, and ``TimeoutError`` if it comes too late."""
    data = b""
    while b"\n" not in data:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        chunk = connection.recv(MAX_LINE)
        if not chunk or len(data) > MAX_LINE:
            text = "it hung up"
            raise ConnectionError(text)
        data += chunk
    return data


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _address(directory: Path, descriptor: int) -> str:
    """Give the socket's address; where its path is too long for one, the way leads through the open directory."""
    path = str(directory / NAME)
    if len(os.fsencode(path)) <= MAX_PATH:
        return path
    if sys.platform == "linux":
        return f"/proc/self/fd/{descriptor}/{NAME}"
    text = f"{path}: longer than the {MAX_PATH} bytes that a socket's path may have; choose a shorter --data-dir"
    raise OperatorError(text)
