"""A small MongoDB server in memory, as far as a source of users talks to one; with faults that can be switched on.

It speaks OP_MSG and what is left of OP_QUERY, logs users in by SCRAM-SHA-1 and SCRAM-SHA-256, and finds documents by
their ``identifier``.  It needs ``bson``, which comes with pymongo.
"""

from __future__ import annotations

import hmac
import struct
from base64 import b64decode, b64encode
from hashlib import md5, pbkdf2_hmac
from secrets import compare_digest, token_bytes
from typing import TYPE_CHECKING, Any

import attrs
import bson
from bson.errors import BSONError
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
HEADER = struct.Struct("<iiii")
LARGEST = 48_000_000
BOTH = ("SCRAM-SHA-1", "SCRAM-SHA-256")
HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}
WITHOUT_LOGIN = {
    "hello",
    "isMaster",
    "ismaster",
    "saslStart",
    "saslContinue",
    "connectionStatus",
    "ping",
    "endSessions",
}

DROP = "drop"  # hang up in place of an answer to ``find``
SILENT = "silent"  # answer nothing
NOT_PRIMARY = "not-primary"  # be a secondary server of a replica set
ALONE = "alone"  # be no primary server, and of no replica set
WRONG_NONCE = "wrong-nonce"  # do not repeat the client's nonce
WRONG_SIGNATURE = "wrong-signature"  # do not prove to know the password
GREEDY = "greedy"  # ask for very many iterations
FORGETFUL = "forgetful"  # let users log in, and not know of it
NOISE = "noise"  # answer with what is not MongoDB's protocol
ENDLESS = "endless"  # begin an answer that has no end


@attrs.define
class Conversation:
    """One login that has begun."""

    mechanism: str
    user: str
    nonce: bytes
    first: bytes  # client-first-message-bare and server-first-message, with a comma between
    salt: bytes
    skip_empty: bool
    proven: bool = False


class FakeMongo(Factory):
    """The server: ``users`` (names → passwords, nobody has to log in if there are none) and ``documents``.

    ``faults`` holds words of this module and can be changed at any time; ``delay`` is in seconds.  ``commands`` are
    the names of the commands that came, ``connections`` what is connected.
    """

    noisy = False

    def __init__(
        self,
        documents: Iterable[dict[str, Any]] = (),
        users: dict[str, str] | None = None,
        mechanisms: tuple[str, ...] = BOTH,
        clock: Any = None,  # noqa: ANN401  a reactor, only needed for a delay
    ) -> None:
        """Serve these documents, of whatever database and collection is asked for."""
        self.documents = list(documents)
        self.users = dict(users or {})
        self.mechanisms = mechanisms
        self.clock = clock
        self.faults: set[str] = set()
        self.delay = 0.0
        self.batch = 101
        self.iterations = 4096
        self.commands: list[str] = []
        self.accepted = 0
        self.connections: list[MongoConnection] = []

    def buildProtocol(self, addr: Any) -> MongoConnection:  # noqa: ANN401, ARG002
        """Accept a connection."""
        self.accepted += 1
        return MongoConnection(self)

    def drop(self) -> None:
        """Cut all connections."""
        for one in list(self.connections):
            one.transport.abortConnection()  # type: ignore[union-attr]


class MongoConnection(Protocol):
    """One connection: messages in, answers out."""

    def __init__(self, server: FakeMongo) -> None:
        """Belong to that server."""
        self._server = server
        self._buffer = b""
        self._user = ""
        self._logins: dict[int, Conversation] = {}
        self._cursors: dict[int, list[dict[str, Any]]] = {}

    def connectionMade(self) -> None:
        """Be counted."""
        self._server.connections.append(self)

    def connectionLost(self, reason: Any = None) -> None:  # noqa: ANN401, ARG002
        """Be counted no more."""
        self._server.connections.remove(self)

    def dataReceived(self, data: bytes) -> None:
        """Cut messages."""
        self._buffer += data
        while len(self._buffer) >= HEADER.size:
            length, request, _, opcode = HEADER.unpack_from(self._buffer)
            if not HEADER.size <= length <= LARGEST or opcode not in {OP_QUERY, OP_MSG}:
                self.transport.abortConnection()  # type: ignore[union-attr]
                return
            if len(self._buffer) < length:
                return
            body, self._buffer = self._buffer[HEADER.size : length], self._buffer[length:]
            self._message(opcode, request, body)

    def _message(self, opcode: int, request: int, body: bytes) -> None:
        try:
            command = _of_query(body) if opcode == OP_QUERY else _of_message(body)
        except (BSONError, ValueError, IndexError, struct.error):
            self.transport.abortConnection()  # type: ignore[union-attr]
            return
        name = next(iter(command), "")
        self._server.commands.append(name)
        faults = self._server.faults
        if SILENT in faults:
            return
        if DROP in faults and name == "find":
            self.transport.abortConnection()  # type: ignore[union-attr]
            return
        if self._server.delay:
            self._server.clock.callLater(self._server.delay, self._answer, opcode, request, name, command)
        else:
            self._answer(opcode, request, name, command)

    def _answer(self, opcode: int, request: int, name: str, command: dict[str, Any]) -> None:
        if not self.connected:
            return
        if NOISE in self._server.faults:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # type: ignore[union-attr]
            return
        if ENDLESS in self._server.faults and name == "find":
            self.transport.write(HEADER.pack(2**31 - 1, 0, request, OP_MSG) + bytes(1024))  # type: ignore[union-attr]
            return
        answer = bson.encode(self._decide(name, command))
        if opcode == OP_QUERY:
            kind, body = OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + answer
        else:
            kind, body = OP_MSG, struct.pack("<iB", 0, 0) + answer
        self.transport.write(HEADER.pack(HEADER.size + len(body), 0, request, kind) + body)  # type: ignore[union-attr]

    def _decide(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        if self._server.users and not self._user and name not in WITHOUT_LOGIN:
            return _error(13, f"Command {name} requires authentication")
        method: Callable[[dict[str, Any]], dict[str, Any]] | None = {
            "hello": self._hello,
            "ismaster": self._hello,
            "isMaster": self._hello,
            "saslStart": self._sasl_start,
            "saslContinue": self._sasl_continue,
            "connectionStatus": self._status,
            "find": self._find,
            "getMore": self._more,
            "ping": _well,
            "endSessions": _well,
        }.get(name)
        return method(command) if method else _error(59, f"no such command: {name!r}")

    def _hello(self, command: dict[str, Any]) -> dict[str, Any]:
        faults = self._server.faults
        primary = not faults & {NOT_PRIMARY, ALONE}
        answer: dict[str, Any] = {
            "helloOk": True,
            "ismaster": primary,
            "isWritablePrimary": primary,
            "maxBsonObjectSize": 16 * 1024 * 1024,
            "maxMessageSizeBytes": LARGEST,
            "maxWriteBatchSize": 100_000,
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "readOnly": False,
        }
        if NOT_PRIMARY in faults:
            answer |= {"setName": "rs0", "secondary": True, "hosts": ["db1:27017"], "me": "db2:27017"}
        user = str(command.get("saslSupportedMechs", "")).partition(".")[2]
        if user in self._server.users:
            answer["saslSupportedMechs"] = list(self._server.mechanisms)
        return {**answer, "ok": 1.0}

    def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        known = self._user and FORGETFUL not in self._server.faults
        users = [{"user": self._user, "db": "admin"}] if known else []
        return {"authInfo": {"authenticatedUsers": users, "authenticatedUserRoles": []}, "ok": 1.0}

    def _sasl_start(self, command: dict[str, Any]) -> dict[str, Any]:
        mechanism = command.get("mechanism")
        if mechanism not in self._server.mechanisms:
            return _error(334, f"Received authentication for mechanism {mechanism} which is not enabled")
        bare = bytes(command["payload"]).partition(b",,")[2]
        fields = _fields(bare)
        user = fields[b"n"].decode().replace("=2C", ",").replace("=3D", "=")
        if user not in self._server.users:
            return _error(18, "Authentication failed.")
        salt, faults = token_bytes(16), self._server.faults
        nonce = (b"" if WRONG_NONCE in faults else fields[b"r"]) + b64encode(token_bytes(18))
        iterations = 2**31 - 1 if GREEDY in faults else self._server.iterations
        payload = b"r=%b,s=%b,i=%d" % (nonce, b64encode(salt), iterations)
        skip = bool(command.get("options", {}).get("skipEmptyExchange"))
        number = len(self._logins) + 1
        self._logins[number] = Conversation(str(mechanism), user, nonce, bare + b"," + payload, salt, skip)
        return {"conversationId": number, "done": False, "payload": payload, "ok": 1.0}

    def _sasl_continue(self, command: dict[str, Any]) -> dict[str, Any]:
        number = command.get("conversationId")
        login = self._logins.get(number) if isinstance(number, int) else None
        if login is None:
            return _error(17, "No SASL session state found")
        if login.proven:  # the empty exchange at the end
            self._user = login.user
            return {"conversationId": number, "done": True, "payload": b"", "ok": 1.0}
        signature = self._check(login, bytes(command["payload"]))
        if signature is None:
            return _error(18, "Authentication failed.")
        login.proven = True
        if login.skip_empty:
            self._user = login.user
        return {"conversationId": number, "done": login.skip_empty, "payload": b"v=" + signature, "ok": 1.0}

    def _check(self, login: Conversation, payload: bytes) -> bytes | None:
        """Give the server's signature if the client's proof is right."""
        name = HASHES[login.mechanism]
        without_proof, _, proof = payload.rpartition(b",p=")
        message = login.first + b"," + without_proof
        secret = self._server.users[login.user]
        if login.mechanism == "SCRAM-SHA-1":
            secret = md5(f"{login.user}:mongo:{secret}".encode(), usedforsecurity=False).hexdigest()
        salted = pbkdf2_hmac(name, secret.encode(), login.salt, self._server.iterations)
        client_key = hmac.digest(salted, b"Client Key", name)
        stored = _hash(name, client_key)
        expected = bytes(a ^ b for a, b in zip(client_key, hmac.digest(stored, message, name), strict=True))
        if _fields(without_proof).get(b"r") != login.nonce or not compare_digest(expected, b64decode(proof)):
            return None
        if WRONG_SIGNATURE in self._server.faults:
            message += b"!"
        return b64encode(hmac.digest(hmac.digest(salted, b"Server Key", name), message, name))

    def _find(self, command: dict[str, Any]) -> dict[str, Any]:
        if self._server.faults & {NOT_PRIMARY, ALONE}:
            return _error(13435, "not primary and secondaryOk=false")
        wanted = command.get("filter", {}).get("identifier")
        found = [one for one in self._server.documents if _matches(one.get("identifier"), wanted)]
        found = found[: command.get("limit") or None]
        batch = command.get("batchSize") or self._server.batch
        number = 0
        if len(found) > batch:
            number = len(self._cursors) + 1
            self._cursors[number] = found[batch:]
        namespace = f"{command.get('$db')}.{command['find']}"
        return {"cursor": {"firstBatch": found[:batch], "id": bson.Int64(number), "ns": namespace}, "ok": 1.0}

    def _more(self, command: dict[str, Any]) -> dict[str, Any]:
        number = int(command["getMore"])
        rest = self._cursors.pop(number, [])
        batch = command.get("batchSize") or self._server.batch
        if len(rest) > batch:
            self._cursors[number] = rest[batch:]
        last = number not in self._cursors
        namespace = f"{command.get('$db')}.{command['collection']}"
        return {
            "cursor": {"nextBatch": rest[:batch], "id": bson.Int64(0 if last else number), "ns": namespace},
            "ok": 1.0,
        }


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """Connects to a ``FakeMongo`` without a network; ``refuses`` makes it fail with an exception."""

    def __init__(self, server: FakeMongo, clock: Any) -> None:  # noqa: ANN401  a test's clock
        """Bring bytes when that clock is advanced."""
        self._server = server
        self._clock = clock
        self.refuses: Exception | None = None
        self.hangs = False
        self.dialled = 0

    def connect(self, protocolFactory: Any) -> Deferred[Any]:  # noqa: ANN401
        """Connect."""
        self.dialled += 1
        if self.refuses is not None:
            return Deferred.fromCoroutine(_raise(self.refuses))
        if self.hangs:
            return Deferred()
        ours, theirs = protocolFactory.buildProtocol(None), self._server.buildProtocol(None)
        there, here = End(theirs, self._clock), End(ours, self._clock)
        there.other, here.other = here, there
        theirs.makeConnection(there)  # type: ignore[no-untyped-call]
        ours.makeConnection(here)
        return succeed(ours)


class End:
    """One end of a connection in memory: a transport."""

    other: End

    def __init__(self, protocol: Any, clock: Any) -> None:  # noqa: ANN401
        """Be the transport of that protocol."""
        self._protocol = protocol
        self._clock = clock
        self._open = True

    def write(self, data: bytes) -> None:
        """Bring bytes to the other end, soon."""
        if self._open:
            self._clock.callLater(0, self.other.take, data)

    def take(self, data: bytes) -> None:
        """Hand over what came."""
        if self._open:
            self._protocol.dataReceived(data)

    def loseConnection(self) -> None:
        """Close both ends, soon."""
        self.abortConnection()

    def abortConnection(self) -> None:
        """Close both ends, soon."""
        for end in (self, self.other):
            self._clock.callLater(0, end.close)

    def close(self) -> None:
        """Tell the protocol, once."""
        from twisted.internet.error import ConnectionDone

        if self._open:
            self._open = False
            self._protocol.connected = 0
            self._protocol.connectionLost(Failure(ConnectionDone()))


async def _raise(error: Exception) -> None:
    raise error


def _of_query(body: bytes) -> dict[str, Any]:
    """Give the command in an OP_QUERY."""
    end = body.index(b"\0", 4)
    return dict(bson.decode(body[end + 9 :]))


def _of_message(body: bytes) -> dict[str, Any]:
    """Give the command in an OP_MSG of one section."""
    if body[4] != 0:
        raise ValueError("the body is not the first section")
    (length,) = struct.unpack_from("<i", body, 5)
    return dict(bson.decode(body[5 : 5 + length]))


def _fields(text: bytes) -> dict[bytes, bytes]:
    return {key: value for key, equals, value in (part.partition(b"=") for part in text.split(b",")) if equals}


def _hash(name: str, data: bytes) -> bytes:
    import hashlib

    return hashlib.new(name, data, usedforsecurity=False).digest()


def _matches(value: Any, wanted: Any) -> bool:  # noqa: ANN401  whatever a document has
    if wanted is None:
        return True
    names = wanted["$in"] if isinstance(wanted, dict) else [wanted]
    values = value if isinstance(value, list) else [value]
    return any(one in names for one in values)


def _well(_: dict[str, Any]) -> dict[str, Any]:
    return {"ok": 1.0}


def _error(code: int, text: str) -> dict[str, Any]:
    return {"ok": 0.0, "errmsg": text, "code": code}
