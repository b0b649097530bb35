"""Asking MongoDB by txmongo, without threads; imported when a source starts, since txmongo wants to be.

Of txmongo this takes the wire and the login by SCRAM-SHA-1.  Its pool of connections is left aside: that dials when it
is made, by a reactor of its own choice, in clear whatever the URI says, and keeps it to itself when a login fails.
Here a connection is made when something is to be asked and there is none, and is good only once the server has said
that the login counts.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymongo.errors
from bson import SON, Int64
from twisted.internet.defer import Deferred, TimeoutError, succeed  # noqa: A004  Deferred.addTimeout's
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.python.failure import Failure
from txmongo.protocol import MongoAuthenticationError, MongoProtocol, Msg  # type: ignore[import-untyped]

from brokerkit.checkers.mongo_uri import COLLECTION, Refused
from brokerkit.checkers.mongo_words import CODEC, TOO_MANY, explain, shorten
from brokerkit.errors import OperatorError
from brokerkit.server_identity import Named

if TYPE_CHECKING:
    from brokerkit.checkers.mongo_uri import Place

DIAL = 4.0  # seconds for a connection and the login
SILENCE = 5.0  # seconds without a byte, with an answer due, after which a connection is given up
LARGEST = 32 * 1024 * 1024  # bytes that may come for all that is asked at one time
ITERATIONS = 200_000  # of SCRAM: they are counted through in the reactor's thread, and the server chooses the number
BATCH = 1000  # documents in one answer


class Unsuited(Exception):
    """The server needs what txmongo cannot do; the text says what."""


class ByTxmongo:
    """Asks through one connection, which is dialled when it is needed."""

    def __init__(self, place: Place, reactor: Any, endpoint: Any = None) -> None:  # noqa: ANN401  a reactor, an endpoint
        """Ask there; ``endpoint`` stands in for the network in tests."""
        self._place = place
        self._reactor = reactor
        self._given = endpoint
        self._line: Line | None = None
        self._dialling: Deferred[Any] | None = None
        self._waiting: list[Deferred[Line]] = []

    def find(self, query: dict[str, Any], fields: dict[str, int], most: int) -> Deferred[list[dict[str, Any]]]:
        """Give the documents, the lowest ``_id`` first.

        Fails with ``Refused``, with ``Unsuited``, and with ``OperatorError`` for everything else that is in the way,
        also for more than ``most`` documents.
        """
        return Deferred.fromCoroutine(self._find(query, fields, most))

    def stop(self) -> None:
        """Hang up; whoever waits is told."""
        dialling, self._dialling = self._dialling, None
        if dialling is not None:
            dialling.cancel()
        line, self._line = self._line, None
        if line is not None:
            line.abort("brokerkit stops")

    async def _find(self, query: dict[str, Any], fields: dict[str, int], most: int) -> list[dict[str, Any]]:
        line = await self._connected()
        try:
            return await line.find(self._place.database, query, fields, most)
        except pymongo.errors.PyMongoError as error:
            raise line.explained(error) from None

    def _connected(self) -> Deferred[Line]:
        if self._line is not None:
            return succeed(self._line)
        waiting: Deferred[Line] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        if self._dialling is None:
            self._dialling = Deferred.fromCoroutine(self._dial())
            self._dialling.addTimeout(DIAL, self._reactor).addBoth(self._dialled)
        return waiting

    async def _dial(self) -> Line:
        line: Line = await self._endpoint().connect(Lines(self._reactor, self._lost))
        try:
            await line.greet(self._place)
        except BaseException:  # also when the time is up
            line.abort("the login failed")
            raise
        return line

    def _endpoint(self) -> Any:  # noqa: ANN401  an endpoint
        if self._given is not None:
            return self._given
        host, port = self._place.hosts[0]
        endpoint = HostnameEndpoint(self._reactor, host.encode(), port or 27017, timeout=DIAL)
        return wrapClientTLS(tls_options(self._place), endpoint) if self._place.tls else endpoint

    def _dialled(self, result: Line | Failure) -> None:
        self._dialling = None
        waiting, self._waiting = self._waiting, []
        if isinstance(result, Failure):
            error = _explain(result.value)  # type: ignore[arg-type]  # there is always one
            for one in waiting:
                one.errback(error)
            return
        self._line = None if result.lost else result
        for one in waiting:
            one.callback(result)

    def _lost(self, line: Line) -> None:
        if self._line is line:
            self._line = None


class Lines(Factory):
    """Makes one connection; what txmongo's protocol asks of its own factory and pool is here, too."""

    noisy = False

    def __init__(self, reactor: Any, lost: Any) -> None:  # noqa: ANN401  a reactor, a function
        """Call ``lost`` with the connection when it is gone."""
        self._reactor = reactor
        self._lost = lost
        self._line: Line | None = None
        self.pool = self

    def buildProtocol(self, addr: Any) -> Line:  # noqa: ANN401, ARG002
        """Give the connection."""
        self._line = Line(self._reactor)
        self._line.factory = self
        return self._line

    def setInstance(self, instance: Any = None, reason: Any = None) -> None:  # noqa: ANN401, ARG002
        """Take note that the connection is gone, which is all that txmongo says by this."""
        self._lost(self._line)

    def _advance_cluster_time(self, session: Any, reply: Any) -> None:  # noqa: ANN401
        """Do nothing: there are no sessions."""


class Line(MongoProtocol):  # type: ignore[misc]  # txmongo has no types
    """One connection: the login, the questions, and an end to it when answers do not come."""

    def __init__(self, reactor: Any) -> None:  # noqa: ANN401
        """Begin not connected."""
        super().__init__()
        self.lost = False
        self._why = ""
        self._reactor = reactor
        self._watch: Any = None
        self._came = 0

    async def greet(self, place: Place) -> None:
        """Find out what is there and log in; raise ``Refused``, ``Unsuited`` or ``OperatorError`` if that fails."""
        if hasattr(self.transport, "setTcpKeepAlive"):
            self.transport.setTcpKeepAlive(True)
        question: dict[str, Any] = {"ismaster": 1}
        if place.username:
            question["saslSupportedMechs"] = f"{place.auth_source}.{place.username}"
        try:
            self._check_server(await self.send_op_query_command("admin", SON(question)), place)
            if place.username:
                await self._log_in(place)
        except pymongo.errors.PyMongoError as error:
            raise self.explained(error) from None

    def _check_server(self, hello: dict[str, Any], place: Place) -> None:
        if not hello.get("ok"):
            raise OperatorError(f"the server refuses to begin: {shorten(str(hello.get('errmsg')))}")
        if not (hello.get("ismaster") or hello.get("isWritablePrimary")):
            if hello.get("setName"):
                raise Unsuited("the server is a secondary one of a replica set")
            raise OperatorError("the server cannot be read from now: it is not a primary one")
        mechanisms = hello.get("saslSupportedMechs")
        if not place.mechanism and isinstance(mechanisms, list) and mechanisms and "SCRAM-SHA-1" not in mechanisms:
            raise Unsuited("the broker's user cannot log in by SCRAM-SHA-1")

    async def _log_in(self, place: Place) -> None:
        try:
            await self.authenticate(place.auth_source, place.username, place.password, "SCRAM-SHA-1")
        except MongoAuthenticationError as error:
            raise Refused(f"the login of {place.username!r} failed: {shorten(str(error))}") from None
        except (KeyError, ValueError, TypeError):  # an answer without what belongs there is how it refuses a name
            raise Refused(f"the login of {place.username!r} failed: the server refuses it") from None
        status = await self.command("admin", {"connectionStatus": 1})
        if not status.get("authInfo", {}).get("authenticatedUsers"):
            raise Refused(f"the login of {place.username!r} failed: the server does not know of it")

    async def find(
        self, database: str, query: dict[str, Any], fields: dict[str, int], most: int
    ) -> list[dict[str, Any]]:
        """Give the documents, the lowest ``_id`` first; raise ``OperatorError`` for more than ``most``."""
        find = {"find": COLLECTION, "filter": query, "projection": fields, "sort": {"_id": 1}, "batchSize": BATCH}
        cursor = (await self.command(database, find))["cursor"]
        documents: list[dict[str, Any]] = list(cursor["firstBatch"])
        for _ in range(most // BATCH + 1):
            if len(documents) > most or not cursor["id"]:
                break
            more = {"getMore": Int64(cursor["id"]), "collection": COLLECTION, "batchSize": BATCH}
            cursor = (await self.command(database, more))["cursor"]
            documents += cursor["nextBatch"]
        if len(documents) > most or cursor["id"]:
            raise OperatorError(TOO_MANY.format(most))
        return documents

    async def command(self, database: str, command: dict[str, Any]) -> dict[str, Any]:
        """Give the answer to a command; raise what pymongo raises."""
        if self.lost:
            raise pymongo.errors.AutoReconnect(self._why)
        message = Msg.create({**command, "$db": database}, codec_options=CODEC)
        self._expect()
        answer: dict[str, Any] = await self.send_msg(message, CODEC, None)
        return answer

    def send_op_query_command(self, database: str, query: Any) -> Deferred[dict[str, Any]]:  # noqa: ANN401  a document
        """Ask as before OP_MSG, which is how txmongo logs in."""
        self._expect()
        return super().send_op_query_command(database, query).addCallback(_sane)  # type: ignore[no-any-return]

    def explained(self, error: Exception) -> OperatorError:
        """Give what an operator is told in place of what pymongo raises."""
        if isinstance(error, pymongo.errors.AutoReconnect) and self._why:
            return OperatorError(self._why)
        return explain(error)

    def dataReceived(self, data: bytes) -> None:
        """Take what comes; an answer that never ends is not waited for."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        announced = int.from_bytes(data[:4], "little") if not self._came else 0  # an answer begins with its length
        self._came += len(data)
        if max(self._came, announced) > LARGEST:
            self.abort(f"an answer of more than {LARGEST} bytes, or not MongoDB's protocol")
            return
        super().dataReceived(data)
        if not self.inflight():
            self._came = 0
        elif not self.lost:
            self._expect()

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ANN401  a failure
        """Tell whoever waits for an answer."""
        self.lost = True
        self._why = self._why or f"the connection is lost: {shorten(_reason(reason))}"
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        super().connectionLost(reason)

    def fail(self, reason: Any) -> None:  # noqa: ANN401  an exception
        """Hang up on what is no MongoDB."""
        self.abort(f"what the server says is not MongoDB's protocol: {type(reason).__name__}")

    def abort(self, why: str) -> None:
        """Hang up now."""
        self._why = self._why or why
        if self.transport is not None:
            self.transport.abortConnection()

    def _expect(self) -> None:
        if self._watch is None:
            self._watch = self._reactor.callLater(SILENCE, self._silent)

    def _silent(self) -> None:
        self._watch = None
        self.abort(f"no answer in {SILENCE:.0f} s")


def tls_options(place: Place) -> Any:  # noqa: ANN401  IOpenSSLClientConnectionCreator
    """Give what makes the connection TLS; read anew each time, so that a renewed certificate counts."""
    authorities, own = place.options.get("tlsCAFile"), place.options.get("tlsCertificateKeyFile")
    certificate = PrivateCertificate.loadPEM(Path(own).read_bytes()) if own else None
    return Named(place.hosts[0][0], certificates(authorities) if authorities else None, certificate)


def certificates(path: str) -> list[Certificate]:
    """Give all certificates in a file."""
    pattern = b"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----"
    return [Certificate.loadPEM(one) for one in re.findall(pattern, Path(path).read_bytes(), re.DOTALL)]


def _sane(answer: dict[str, Any]) -> dict[str, Any]:
    """Refuse to compute for hours because a server says so."""
    payload = answer.get("payload")
    asked = re.search(rb"(?:^|,)i=(\d+)", payload) if isinstance(payload, bytes) else None
    if asked and (len(asked[1]) > len(str(ITERATIONS)) or int(asked[1]) > ITERATIONS):
        raise MongoAuthenticationError(f"the server asks for more than {ITERATIONS} iterations")
    return answer


def _explain(error: BaseException) -> Exception:
    if isinstance(error, OperatorError | Unsuited):
        return error
    if isinstance(error, TimeoutError):
        return OperatorError(f"no connection and login in {DIAL:.0f} s")
    return explain(error)


def _reason(failure: Any) -> str:  # noqa: ANN401
    """Say why a connection was lost; of TLS, in OpenSSL's own words."""
    error = getattr(failure, "value", failure)
    found = error.args[0] if error.args else None
    if not isinstance(found, list):
        return str(error)
    if all(isinstance(one, tuple) and one for one in found):
        return "TLS: " + ", ".join(str(one[-1]) for one in found)
    return "TLS: the server's certificate is for another host"
