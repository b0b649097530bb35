"""What listens for HTTP: a factory of connections with an entrance, and the table that their requests are looked up in.

What a call does wrong is answered with 500 and logged with its traceback; the peer learns nothing of it.  There is no
log of requests: there may be keys in their queries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine
from email.utils import formatdate
from types import coroutine
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from brokerkit.entrance import Entrance, without_mapping
from brokerkit.web.answer import Answer, Problem, Stream
from brokerkit.web.connection import Connection
from brokerkit.web.route import Routes, values

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from brokerkit.entrance import Network
    from brokerkit.web.asked import Asked
    from brokerkit.web.exchange import Exchange
    from brokerkit.web.head import Headers
    from brokerkit.web.route import Route

    Finish = Callable[[Answer | Stream, Headers, Connection], Answer | Stream]

log = Logger()


@attrs.frozen
class Bounds:
    """What one peer may take: bytes, seconds, connections (``connections_each``: from one address, 0 for no bound).

    ``head`` is the time for a request's head, from its first byte (or from the connection, with the TLS handshake),
    ``body`` the time for its body; ``idle`` is how long a connection may say nothing.
    """

    head_bytes: int = 70_000
    body_bytes: int = 2 * 1024 * 1024
    head: float = 20.0
    body: float = 60.0
    idle: float = 75.0
    connections: int = 10_000
    connections_each: int = 0


DEFAULT = Bounds()


class Site(Factory):
    """Answers requests by a table of routes.

    ``otherwise`` is called for what no route is for; without it that is 404.  ``shape`` makes the answer of a problem
    and the path that was asked for; without it that is problem+json.  ``finish`` sees every answer last, with the
    headers of the request and the connection, and gives what is sent in its place.  ``served`` counts answers by
    status.
    """

    noisy = False

    def __init__(
        self,
        routes: Iterable[Route],
        reactor: Any,  # noqa: ANN401  any reactor, also a test's
        *,
        protocol: str = "http",
        bounds: Bounds = DEFAULT,
        networks: tuple[Network, ...] = (),
        otherwise: Callable[[Asked], Any] | None = None,
        shape: Callable[[Problem, bytes], Answer] | None = None,
        finish: Finish | None = None,
    ) -> None:
        """Take the table; ``networks`` are those that may connect, none: all.  Raises ``ValueError`` as ``Routes``."""
        self.clock = reactor
        self.protocol_name = protocol
        self.bounds = bounds
        self.routes = Routes(routes)
        self.entrance = Entrance(protocol, networks, bounds.connections, bounds.connections_each, reactor)
        self.connections: set[Connection] = set()
        self.accepted = 0
        self.served: Counter[int] = Counter()
        self.is_closing = False
        self._otherwise = otherwise
        self._shape = shape
        self.finish = finish
        self._date = (-1, b"")
        self._emptied: list[Deferred[None]] = []

    # -- connections --------------------------------------------------------------------------------------------------

    def buildProtocol(self, addr: IAddress | None) -> Connection | None:
        """Give the protocol of a new connection, or nothing, and it is closed at once."""
        host = without_mapping(getattr(addr, "host", "") or "")
        told = len(self.connections) - self.entrance.inside
        if self.is_closing or self.entrance.turns_away(host, told):
            return None
        connection = Connection(self, host)
        connection.factory = self
        return connection

    def opened(self, connection: Connection) -> bool:
        """Take note of a connection; say whether there is room for it."""
        self.accepted += 1
        self.connections.add(connection)
        return self.entrance.enter(connection.host)

    def closed(self, connection: Connection) -> None:
        """Take note of the end of a connection."""
        if connection in self.connections:
            self.connections.discard(connection)
            if connection.inside:
                self.entrance.leave(connection.host)
        if not self.connections:
            emptied, self._emptied = self._emptied, []
            for one in emptied:
                one.callback(None)

    def close(self, grace: float) -> Deferred[None]:
        """Let no more in, close what is idle, give the rest so many seconds; done when all connections are gone."""
        self.is_closing = True
        done: Deferred[None] = Deferred()
        if not self.connections:
            done.callback(None)
            return done
        self._emptied.append(done)
        for connection in list(self.connections):
            if not connection.is_busy:
                connection.close()
        alarm = self.clock.callLater(grace, self._cut)
        return done.addCallback(lambda _: alarm.cancel() if alarm.active() else None)

    def _cut(self) -> None:
        for connection in list(self.connections):
            connection.cut()

    def count(self, status: int) -> None:
        """Count an answer."""
        self.served[status] += 1

    def date(self) -> bytes:
        """Give the time for the head of an answer, made once in a second."""
        now = int(self.clock.seconds())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True).encode())
        return self._date[1]

    # -- requests -----------------------------------------------------------------------------------------------------

    def shaped(self, problem: Problem, path: bytes) -> Answer:
        """Give the answer that a problem is told with."""
        return problem.answer() if self._shape is None else self._shape(problem, path)

    def _refuse(self, problem: Problem, exchange: Exchange) -> None:
        exchange.respond(self.shaped(problem, exchange.head.target.partition(b"?")[0]))

    def answer(self, asked: Asked, exchange: Exchange) -> None:
        """Have a request answered, now or later."""
        try:
            result = self._call(asked)
        except Problem as problem:
            self._refuse(problem, exchange)
        except Exception:  # a bug costs the one who met it
            self._refuse(_broken(), exchange)
        else:
            if isinstance(result, Coroutine):
                self._drive(result, exchange)
            elif isinstance(result, Answer | Stream):
                exchange.respond(result)
            else:
                self._wait(result, exchange)

    def _drive(self, work: Coroutine[Any, Any, Any], exchange: Exchange) -> None:
        """Have a coroutine go as far as it comes: most need not wait for anything, and so no Deferred."""
        try:
            awaited = work.send(None)
        except StopIteration as done:
            exchange.respond(done.value)
        except Problem as problem:
            self._refuse(problem, exchange)
        except Exception:  # a bug costs the one who met it
            self._refuse(_broken(), exchange)
        else:
            self._wait(Deferred.fromCoroutine(_going_on(work, awaited)), exchange)

    def _call(self, asked: Asked) -> Any:  # noqa: ANN401  an answer, or what it comes from
        found = self.routes.find(asked.path)
        if found is None:
            if self._otherwise is not None:
                return self._otherwise(asked)
            raise Problem(404, "Not Found")
        methods, opened = found
        route = methods.get(asked.method)
        if route is None and asked.method == "HEAD":
            route = methods.get("GET")
        if route is not None:
            asked.values = values(route, opened)
            return route.call(asked)
        allowed = ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))
        if asked.method == "OPTIONS":
            return Answer(204, headers={"allow": allowed})
        raise Problem(405, "Method Not Allowed", headers={"allow": allowed})

    def _wait(self, result: Any, exchange: Exchange) -> None:  # noqa: ANN401  a Deferred, or a bug
        if not isinstance(result, Deferred):
            log.error("a route gave {kind} in place of an answer", kind=type(result).__name__)
            self._refuse(Problem(500, "Internal Server Error"), exchange)
            return
        exchange.when_unneeded(result.cancel)
        result.addCallbacks(exchange.respond, self._failed, (), {}, (exchange,), {})
        result.addErrback(lambda failure: log.failure("an answer could not be sent", failure))

    def _failed(self, failure: Failure, exchange: Exchange) -> None:
        if isinstance(failure.value, Problem):
            self._refuse(failure.value, exchange)
        elif not failure.check(CancelledError):
            self._refuse(_broken(failure), exchange)


@coroutine
def _going_on(work: Coroutine[Any, Any, Any], awaited: Any) -> Generator[Any, Any, Any]:  # noqa: ANN401
    """Go on with a coroutine that waits for something already; gives what it gives."""
    try:
        while True:
            try:
                value = yield awaited
            except GeneratorExit:  # nobody will ever go on
                work.close()
                raise
            except BaseException as error:  # also one that ends it
                awaited = work.throw(error)
            else:
                awaited = work.send(value)
    except StopIteration as done:
        return done.value


def _broken(failure: Failure | None = None) -> Problem:
    """Log what went wrong, and give what the peer is told of it."""
    log.failure("a request could not be answered because of a bug", failure)
    return Problem(500, "Internal Server Error")
