"""Users in MongoDB: what documents mean, and both ways of asking a server that is well, or not."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refusal
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase, TestCase

pytest.importorskip("txmongo")

import bson

from brokerkit.checkers import mongo_txmongo, mongodb, plugins
from brokerkit.checkers.known import Known
from brokerkit.checkers.mongo_pymongo import ByPymongo, try_now
from brokerkit.checkers.mongo_txmongo import ByTxmongo, Unsuited
from brokerkit.checkers.mongo_uri import Refused, parse
from brokerkit.checkers.mongodb import MongoUsers
from brokerkit.errors import OperatorError, UnknownUser, WrongSecret
from brokerkit.grants import PUBLISH, SUBSCRIBE
from brokerkit.interfaces import ICheckerPlugin
from brokerkit.testing import mongo
from brokerkit.testing.mongo import FakeMongo, MemoryEndpoint

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from brokerkit.client import User

IDENT = bson.ObjectId("65f000000000000000000001")
LATER = bson.ObjectId("65f000000000000000000002")
ANN = {"_id": IDENT, "identifier": "ann", "secret": "hush", "publish": ["a", "b"], "subscribe": ["c"]}
FIELDS = mongodb.FIELDS


def no_trial(*_: Any) -> None:
    """Start without a look at the database."""


def texts(events: Any) -> list[str]:
    """Give what was logged, as people read it."""
    return [formatEvent(event) for event in events]


class Told:
    """A way to ask that answers with what a test puts there."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        """Answer with these documents."""
        self.documents = list(documents)
        self.error: Exception | None = None
        self.asked: list[Any] = []
        self.stopped = False

    def find(self, query: dict[str, Any], fields: dict[str, int], most: int) -> Deferred[list[dict[str, Any]]]:  # noqa: ARG002
        """Answer at once."""
        self.asked.append(query)
        return succeed(self.documents) if self.error is None else fail(self.error)

    def stop(self) -> None:
        """Note it."""
        self.stopped = True


class Documents(SynchronousTestCase):
    """What is made of documents, whoever brings them."""

    def users(self, *documents: dict[str, Any], uri: str = "mongodb://db1/users", **options: Any) -> MongoUsers:
        """Give a source that finds these documents."""
        self.clock = Clock()
        self.way = Told(*documents)
        return MongoUsers(parse(uri), self.clock, ways=lambda _: self.way, try_now=no_trial, **options)

    def login(self, users: MongoUsers, name: bytes = b"ann", secret: bytes = b"hush") -> User:
        """Log in with name and password."""
        return self.successResultOf(users.requestAvatarId(UsernamePassword(name, secret)))

    def test_a_document_is_a_user(self) -> None:
        """A user has its secret, its literal names and, as its owner, its own name."""
        user = self.login(self.users(ANN))
        assert (user.name, user.source, user.owner) == (b"ann", "mongodb://db1/users", "ann")
        assert user.grants.permits(PUBLISH, b"a", literal=True)
        assert not user.grants.permits(PUBLISH, b"c", literal=True)
        assert user.grants.permits(SUBSCRIBE, b"c", literal=True)

    def test_one_name_is_asked_for_as_a_string(self) -> None:
        """What a peer calls itself is a value of the question, whatever it looks like, never a part of it."""
        users = self.users()
        self.failureResultOf(users.requestAvatarId(UsernamePassword(b'{"$gt": ""}', b"x")), UnknownUser)
        assert self.way.asked == [{"identifier": {"$in": ['{"$gt": ""}']}}]

    def test_a_wrong_secret(self) -> None:
        """A secret that does not fit is wrong, and nobody else is asked."""
        self.failureResultOf(self.users(ANN).requestAvatarId(UsernamePassword(b"ann", b"x")), WrongSecret)

    def test_with_a_prefix(self) -> None:
        """With a prefix, all names lie under it, and the source is another one."""
        users = self.users(ANN, uri="mongodb://db1/users:prefix=honeypot")
        user = self.login(users)
        assert user.grants.permits(PUBLISH, b"honeypot.a", literal=True)
        assert not user.grants.permits(PUBLISH, b"a", literal=True)
        assert user.source == "mongodb://db1/users:prefix=honeypot"
        assert users.prefix == b"honeypot"

    def test_the_first_of_two_documents(self) -> None:
        """Of several documents of one identifier the lowest _id counts, which is said once."""
        users = self.users(ANN, {**ANN, "_id": LATER, "secret": "other"})
        with capturedLogs() as events:
            for _ in range(2):
                assert self.login(users).name == b"ann"
                self.clock.advance(60)
        assert [text for text in texts(events) if str(LATER) in text] == [
            f"mongodb://db1/users: collection auth_key, document {LATER}: a second 'ann', which is left aside"
        ]

    def test_where(self) -> None:
        """A rule stands in a field of a document, which is known once the user was asked for."""
        users = self.users(ANN)
        assert users.where(b"ann", PUBLISH, None) == "collection auth_key"
        user = self.login(users)
        assert users.where(b"ann", PUBLISH, None) == f"collection auth_key, document {IDENT}"
        rule = user.grants.actions[SUBSCRIBE].allow[0]
        assert users.where(b"ann", SUBSCRIBE, rule) == f"collection auth_key, document {IDENT}, field subscribe"

    def test_documents_that_make_no_sense(self) -> None:
        """Each bad value is one line with document and field and without the value; the other users can log in."""
        bad: list[tuple[str, Any]] = [
            ("secret", None),
            ("secret", 5),
            ("secret", ""),
            ("secret", "k\udcff"),
            ("secret", dt.datetime.now(dt.UTC)),
            ("publish", "no list"),
            ("publish", {"a": 1}),
            ("publish", ["a", 7]),
            ("subscribe", ["a", "k\udcff"]),
            ("owner", ["x"]),
        ]
        for key, value in bad:
            users = self.users({**ANN, "_id": LATER, "identifier": "bob", key: value}, ANN)
            with capturedLogs() as events:
                self.failureResultOf(users.requestAvatarId(UsernamePassword(b"bob", b"hush")), WrongSecret)
            (line,) = texts(events)
            assert f"mongodb://db1/users: collection auth_key, document {LATER}: {key}" in line
            assert "hush" not in line
            assert self.login(users).name == b"ann"

    def test_missing_lists_allow_nothing(self) -> None:
        """A document without lists is a user without rights."""
        user = self.login(self.users({"_id": 1, "identifier": "ann", "secret": "hush"}))
        assert not user.grants.permits(PUBLISH, b"a", literal=True)

    def test_an_identifier_that_is_no_string(self) -> None:
        """A list that holds a name, which MongoDB finds too, is nobody's name; it is said once."""
        users = self.users({**ANN, "_id": LATER, "identifier": ["ann"]})
        with capturedLogs() as events:
            self.failureResultOf(users.requestAvatarId(UsernamePassword(b"ann", b"hush")), UnknownUser)
            self.successResultOf(users.fetch([b"ann"]))
        assert len(texts(events)) == 1

    def test_users_and_names(self) -> None:
        """Many names are one question, and all names can be listed."""
        users = self.users(ANN, {**ANN, "_id": LATER, "identifier": "bob", "secret": 1})
        found = self.successResultOf(users.users([b"ann", b"bob", b"eve", b"\xff"]))
        assert {name: type(one) for name, one in found.items()} == {b"ann": Known}
        assert self.way.asked == [{"identifier": {"$in": ["ann", "bob", "eve"]}}]
        assert self.successResultOf(users.names()) == [b"ann", b"bob"]

    def test_a_refusal_at_the_start(self) -> None:
        """A database that refuses the broker is an error of the start, with the place and without the password."""

        def refuse(place: Any, seconds: float) -> None:  # noqa: ARG001
            raise Refused("Authentication failed.")

        users = MongoUsers(parse("mongodb://u:hush@db1/users"), Clock(), try_now=refuse)
        with pytest.raises(OperatorError, match=r"^mongodb://db1/users: Authentication failed\.$"):
            users.startService()
        users.stopService()

    def test_nobody_there_at_the_start(self) -> None:
        """A database that cannot be reached is said once, and the broker starts."""

        def hang(place: Any, seconds: float) -> None:  # noqa: ARG001
            raise OperatorError("connection refused")

        users = MongoUsers(parse("mongodb://u:hush@db1/users"), Clock(), try_now=hang)
        with capturedLogs() as events:
            users.startService()
        (line,) = texts(events)
        assert "mongodb://db1/users: cannot be asked yet" in line
        users.stopService()

    def test_what_txmongo_cannot_do_is_found_out_late(self) -> None:
        """When a server needs more than txmongo can do, the same question goes by pymongo, and so do all others."""
        first, second = Told(), Told(ANN)
        first.error = Unsuited("SCRAM-SHA-256")
        users = MongoUsers(
            parse("mongodb://u:p@db1/users"),
            Clock(),
            ways=lambda by_txmongo: first if by_txmongo else second,
            try_now=no_trial,
        )
        assert self.login(users).name == b"ann"
        self.successResultOf(users.users([b"ann"]))
        assert (len(first.asked), first.stopped, len(second.asked)) == (1, True, 2)

    def test_without_the_packages(self) -> None:
        """Where a package is missing, the error says what to install."""
        self.patch(mongodb, "find_spec", lambda _: None)
        with pytest.raises(OperatorError, match=r"pip install 'brokerkit\[mongo\]'"):
            MongoUsers(parse("mongodb://db1/users"), Clock())


class Plugin(SynchronousTestCase):
    """The source as --auth names it."""

    def test_spellings(self) -> None:
        """All spellings of MongoDB's URI name the source, and a scheme that is none is refused."""
        installed = list(getPlugins(ICheckerPlugin))
        for text in ("mongodb://db1/users", "mongodb+srv://db1.example.net/users", "mongodb:mongodb://db1/users"):
            assert isinstance(plugins.find(text, installed, Clock()), MongoUsers)
        for text in ("mongo://db1/users", "mongodb:db1", "mongodb"):
            with pytest.raises(OperatorError, match="mongodb://"):
                plugins.find(text, installed, Clock())
        assert "mongodb://" in plugins.describe(installed)


class WithTxmongo(SynchronousTestCase):
    """Asking by txmongo, in memory."""

    def setUp(self) -> None:
        """Have a server with one document and one user."""
        self.clock = Clock()
        self.server = FakeMongo([ANN], {"u": "p"}, clock=self.clock)
        self.endpoint = MemoryEndpoint(self.server, self.clock)

    def way(self, uri: str = "mongodb://u:p@db1/users") -> ByTxmongo:
        """Give the way to ask that server."""
        return ByTxmongo(parse(uri), self.clock, self.endpoint)

    def ask(self, way: ByTxmongo, most: int = 100) -> Deferred[list[dict[str, Any]]]:
        """Ask for one user, and let the bytes run."""
        asked = way.find({"identifier": {"$in": ["ann"]}}, FIELDS, most)
        self.run_()
        return asked

    def run_(self, seconds: float = 0.0) -> None:
        """Let time pass, and bytes."""
        self.clock.advance(seconds)
        for _ in range(60):
            self.clock.advance(0)

    def error(self, asked: Deferred[Any], kind: type[Exception] = OperatorError) -> str:
        """Give the text of the error, which is of exactly that kind."""
        failure: Failure = self.failureResultOf(asked, kind)
        assert type(failure.value) is kind
        return str(failure.value)

    def test_it_asks(self) -> None:
        """A login by SCRAM-SHA-1, and then one connection for all questions; nothing is dialled before the first."""
        way = self.way()
        assert self.endpoint.dialled == 0
        assert self.successResultOf(self.ask(way)) == [ANN]
        assert self.successResultOf(self.ask(way)) == [ANN]
        assert self.endpoint.dialled == 1
        assert self.server.commands[-3:] == ["connectionStatus", "find", "find"]

    def test_without_credentials(self) -> None:
        """A server that asks for no login is asked without one."""
        self.server.users.clear()
        assert self.successResultOf(self.ask(self.way("mongodb://db1/users"))) == [ANN]

    def test_credentials_that_are_missing(self) -> None:
        """A server that does ask for one refuses the question."""
        assert "requires authentication" in self.error(self.ask(self.way("mongodb://db1/users")), Refused)

    def test_a_wrong_password(self) -> None:
        """A wrong password, and a name that is not known, are refusals, told to everybody who waits."""
        for uri in ("mongodb://u:hush@db1/users", "mongodb://v:hush@db1/users"):
            way = self.way(uri)
            waiting = [way.find({}, FIELDS, 1) for _ in range(3)]
            self.run_()
            for asked in waiting:
                assert "hush" not in self.error(asked, Refused)
        assert self.server.connections == []

    def test_authentication_is_verified(self) -> None:
        """A server that takes the login and then knows nothing of it is not believed."""
        self.server.faults.add(mongo.FORGETFUL)
        assert "does not know of it" in self.error(self.ask(self.way()), Refused)

    def test_a_server_that_is_another(self) -> None:
        """A server that does not prove to know the password, or replays another login, is refused."""
        for fault in (mongo.WRONG_NONCE, mongo.WRONG_SIGNATURE):
            self.server.faults = {fault}
            assert "login of 'u' failed" in self.error(self.ask(self.way()), Refused)

    def test_a_server_that_asks_for_too_much(self) -> None:
        """A server that asks for hours of hashing is refused at once."""
        self.server.faults.add(mongo.GREEDY)
        began = time.monotonic()
        assert "iterations" in self.error(self.ask(self.way()), Refused)
        assert time.monotonic() - began < 2

    def test_unsuited_servers(self) -> None:
        """A login that only SCRAM-SHA-256 can do, and a secondary server, are left to pymongo."""
        self.server.mechanisms = ("SCRAM-SHA-256",)
        assert "SCRAM-SHA-1" in self.error(self.ask(self.way()), Unsuited)
        self.server.mechanisms = mongo.BOTH
        self.server.faults.add(mongo.NOT_PRIMARY)
        assert "replica set" in self.error(self.ask(self.way()), Unsuited)

    def test_no_primary(self) -> None:
        """A lone server that is not a primary one is an outage."""
        self.server.faults.add(mongo.ALONE)
        assert "primary" in self.error(self.ask(self.way()))

    def test_a_server_that_steps_down(self) -> None:
        """When a primary server becomes a secondary one, a question fails, and pymongo has to find the new one."""
        way = self.way()
        self.successResultOf(self.ask(way))
        self.server.faults.add(mongo.NOT_PRIMARY)
        self.error(self.ask(way))
        self.error(self.ask(way), Unsuited)

    def test_connection_refused(self) -> None:
        """Nobody there is an outage, and the next question dials again."""
        self.endpoint.refuses = Refusal()
        way = self.way()
        assert "refused" in self.error(self.ask(way)).lower()
        self.endpoint.refuses = None
        assert self.successResultOf(self.ask(way)) == [ANN]

    def test_a_connection_that_is_lost(self) -> None:
        """A connection that is cut fails what is under way, and the next question dials again."""
        way = self.way()
        self.successResultOf(self.ask(way))
        self.server.faults.add(mongo.DROP)
        assert "lost" in self.error(self.ask(way))
        self.server.faults.clear()
        assert self.successResultOf(self.ask(way)) == [ANN]
        self.server.drop()
        self.run_()
        assert self.successResultOf(self.ask(way)) == [ANN]
        assert self.endpoint.dialled == 3

    def test_a_server_that_is_silent(self) -> None:
        """Silence ends a login, and a connection on which an answer is due, even if nobody waits any more."""
        self.server.faults.add(mongo.SILENT)
        way = self.way()
        asked = self.ask(way)
        self.run_(mongo_txmongo.DIAL)
        assert "no connection and login in" in self.error(asked)
        self.server.faults.clear()
        self.successResultOf(self.ask(way))
        self.server.faults.add(mongo.SILENT)
        asked, forgotten = self.ask(way), self.ask(way)
        forgotten.addErrback(lambda _: None)
        forgotten.cancel()
        self.run_(mongo_txmongo.SILENCE)
        assert "no answer in" in self.error(asked)
        assert self.server.connections == []
        assert self.clock.getDelayedCalls() == []

    def test_a_dial_that_hangs(self) -> None:
        """An endpoint that does not come back is given up, and those who gave up before are not told."""
        self.endpoint.hangs = True
        way = self.way()
        gone, asked = self.ask(way), self.ask(way)
        gone.addErrback(lambda _: None)
        gone.cancel()
        self.run_(mongo_txmongo.DIAL)
        self.error(asked)
        assert (self.endpoint.dialled, self.clock.getDelayedCalls()) == (1, [])

    def test_what_is_no_mongodb(self) -> None:
        """Another protocol at that port is an outage with a reason."""
        self.server.faults.add(mongo.NOISE)
        assert "not MongoDB" in self.error(self.ask(self.way()))
        assert self.clock.getDelayedCalls() == []

    def test_an_answer_without_end(self) -> None:
        """An answer that only grows is given up."""
        way = self.way()
        self.successResultOf(self.ask(way))
        self.server.faults.add(mongo.ENDLESS)
        asked = self.ask(way)
        assert "bytes" in self.error(asked)
        assert self.server.connections == []

    def test_many_documents(self) -> None:
        """More documents than fit in one answer are fetched one answer after the other, up to a number."""
        self.patch(mongo_txmongo, "BATCH", 10)
        self.server.documents = [{**ANN, "_id": number} for number in range(35)]
        assert len(self.successResultOf(self.ask(self.way()))) == 35
        assert self.server.commands.count("getMore") == 3
        assert "more than 20 documents" in self.error(self.ask(self.way(), most=20))

    def test_stop(self) -> None:
        """Stopping hangs up, also in the middle of a login, and tells those who wait."""
        way = self.way()
        self.successResultOf(self.ask(way))
        way.stop()
        self.run_()
        assert self.server.connections == []
        self.endpoint.hangs = True
        asked = self.ask(way)
        way.stop()
        self.error(asked)
        assert self.clock.getDelayedCalls() == []

    def test_nothing_secret_is_logged(self) -> None:
        """Neither a password nor a secret gets into the log, whatever happens."""
        with capturedLogs() as events:
            for fault in (mongo.WRONG_NONCE, mongo.DROP, mongo.NOISE, mongo.FORGETFUL):
                self.server.faults = {fault}
                self.failureResultOf(self.ask(self.way("mongodb://u:p@db1/users")))
        assert not [text for text in texts(events) if "hush" in text]


class Certified:
    """A certificate authority's own certificate for localhost, in files."""

    def __init__(self, directory: Path) -> None:
        """Write it down."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(certificate.public_bytes(encoding))
        self.both = directory / "both.pem"
        pem = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
        self.both.write_bytes(self.ca.read_bytes() + pem)


class OverTheNetwork(TestCase):
    """Both ways over loopback, with and without TLS."""

    timeout = 30

    def setUp(self) -> None:
        """Have a server with one document and one user."""
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.server = FakeMongo([ANN], {"u": "p"}, clock=reactor)
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.certified = Certified(Path(directory.name))

    def listen(self, *, tls: bool = False) -> int:
        """Give the port on which the server listens."""
        from twisted.internet.ssl import PrivateCertificate

        if tls:
            options = PrivateCertificate.loadPEM(self.certified.both.read_bytes()).options()
            port = self.reactor.listenSSL(0, self.server, options, interface="127.0.0.1")
        else:
            port = self.reactor.listenTCP(0, self.server, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return port.getHost().port

    async def ask(self, uri: str, kind: Any = None) -> list[dict[str, Any]]:
        """Ask for one user, by the way that the URI needs, or another one."""
        place = parse(uri)
        way = (kind or (ByTxmongo if place.by_txmongo else ByPymongo))(place, self.reactor)
        try:
            return await way.find({"identifier": {"$in": ["ann"]}}, FIELDS, 10)
        finally:
            way.stop()
            await self.gone()

    async def gone(self) -> None:
        """Wait until nobody is connected any more."""
        from twisted.internet.task import deferLater

        while self.server.connections:
            await deferLater(self.reactor, 0.01, lambda: None)

    async def refusal(self, uri: str, expected: type[Exception], kind: Any = None) -> str:
        """Give the text with which a question fails."""
        with pytest.raises(expected) as caught:
            await self.ask(uri, kind)
        assert type(caught.value) is expected
        assert "hush" not in str(caught.value)
        return str(caught.value)

    def test_both_ways_in_clear(self) -> Deferred[None]:
        """Both ways find the user, pymongo by either mechanism."""

        async def work() -> None:
            port = self.listen()
            uri = f"mongodb://u:p@127.0.0.1:{port}/users"
            assert await self.ask(uri) == [ANN]
            assert await self.ask(uri, ByPymongo) == [ANN]
            for mechanism in mongo.BOTH:
                self.server.mechanisms = (mechanism,)
                assert await self.ask(f"{uri}?authMechanism={mechanism}") == [ANN]

        return Deferred.fromCoroutine(work())

    def test_a_server_with_sha_256_alone(self) -> Deferred[None]:
        """A user that only SCRAM-SHA-256 can log in is taken over by pymongo without being told to."""

        async def work() -> None:
            self.server.mechanisms = ("SCRAM-SHA-256",)
            uri = f"mongodb://u:p@127.0.0.1:{self.listen()}/users"
            users = MongoUsers(parse(uri), self.reactor, try_now=no_trial)
            found = await users.users([b"ann"])
            assert list(found) == [b"ann"]
            users.stopService()
            await self.gone()

        return Deferred.fromCoroutine(work())

    def test_pymongo_refused(self) -> Deferred[None]:
        """A wrong password, a server that is another and one that knows nothing of the login are refused."""

        async def work() -> None:
            port = self.listen()
            assert "failed" in await self.refusal(f"mongodb://u:hush@127.0.0.1:{port}/users", Refused, ByPymongo)
            self.server.faults = {mongo.FORGETFUL}
            right = f"mongodb://u:p@127.0.0.1:{port}/users"
            assert "does not know" in await self.refusal(right, Refused, ByPymongo)
            for fault in (mongo.WRONG_NONCE, mongo.WRONG_SIGNATURE):
                self.server.faults = {fault}
                await self.refusal(right, OperatorError, ByPymongo)

        return Deferred.fromCoroutine(work())

    def test_tls_is_on(self) -> Deferred[None]:
        """With tls=true and the right authority both ways speak TLS."""

        async def work() -> None:
            port = self.listen(tls=True)
            uri = f"mongodb://u:p@localhost:{port}/users?tls=true&tlsCAFile={self.certified.ca}"
            assert await self.ask(uri) == [ANN]
            assert await self.ask(uri, ByPymongo) == [ANN]

        return Deferred.fromCoroutine(work())

    def test_tls_is_checked(self) -> Deferred[None]:
        """A certificate of an unknown authority, or for another host, ends it before the login."""

        async def work() -> None:
            port = self.listen(tls=True)
            ca = f"tlsCAFile={self.certified.ca}"
            for uri in (f"mongodb://u:p@localhost:{port}/?tls=true", f"mongodb://u:p@127.0.0.1:{port}/?tls=true&{ca}"):
                assert "certificate" in (await self.refusal(uri, OperatorError)).lower()
            assert self.server.commands == []
            self.flushLoggedErrors()

        return Deferred.fromCoroutine(work())

    def test_tls_never_falls_back(self) -> Deferred[None]:
        """A server that speaks no TLS gets no credentials when TLS was asked for."""

        async def work() -> None:
            uri = f"mongodb://u:p@localhost:{self.listen()}/users?tls=true"
            await self.refusal(uri, OperatorError)
            assert self.server.commands == []

        return Deferred.fromCoroutine(work())

    def test_the_trial_at_the_start(self) -> Deferred[None]:
        """The trial says yes, or no, or that nobody is there; each within its time."""

        async def work() -> None:
            port = self.listen()
            await deferToThread(try_now, parse(f"mongodb://u:p@127.0.0.1:{port}/users"), 5.0)
            for uri, expected in (
                (f"mongodb://u:hush@127.0.0.1:{port}/users", Refused),
                (f"mongodb://127.0.0.1:{port}/users", Refused),
                ("mongodb://u:p@127.0.0.1:1/users", OperatorError),
            ):
                with pytest.raises(expected) as caught:
                    await deferToThread(try_now, parse(uri), 1.0)
                assert type(caught.value) is expected
            await self.gone()

        return Deferred.fromCoroutine(work())

    def test_stop_does_not_wait(self) -> Deferred[None]:
        """Stopping comes back at once though the threads wait for a server that is silent."""

        async def work() -> None:
            self.server.faults.add(mongo.SILENT)
            way = ByPymongo(parse(f"mongodb://u:p@127.0.0.1:{self.listen()}/users"), self.reactor)
            asked = [way.find({}, FIELDS, 1).addErrback(lambda _: None) for _ in range(8)]
            began = time.monotonic()
            way.stop()
            assert time.monotonic() - began < 0.5
            self.server.faults.clear()
            self.server.drop()
            for one in asked:
                await one
            await self.gone()

        return Deferred.fromCoroutine(work())
