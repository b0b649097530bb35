"""The source ``database+``, with real databases, a broker as an operator starts it, and clients that others wrote."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import nats
import nats.errors
import pytest
from hpfeeds.asyncio import ClientSession
from twisted.cred.credentials import UsernamePassword
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from brokerkit.checkers.database import DatabaseUsers
from brokerkit.errors import ClientError, ConfigError, OperatorError, UnknownUser
from brokerkit.protocols.hpfeeds.caller import HpfeedsCaller
from tests.checkers.at_once import AtOnce
from tests.clients.conftest import Broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.servers.sql import Database

SECONDS = 10
REVOKED_WITHIN = 5
LATER = "Users cannot be looked up now, try again later"

_numbers = itertools.count()


def new_name() -> str:
    """Give a name that no broker has asked for yet."""
    return f"user{next(_numbers)}"


def insert(database: Database, name: str, *, secret: str = "hush", where: str = "hpfeeds") -> None:
    """Add a user, by the statement that is documented."""
    channels = json.dumps(["chan", "back"])
    database.execute(
        "INSERT INTO auth_keys (identifier, secret, publish, subscribe) "  # noqa: S608  our own names
        f"VALUES ('{name}', '{secret}', '{channels}', '{channels}')",
        database=where,
    )


@contextmanager
def broker_of(home: Path, url: str) -> Iterator[Broker]:
    """Run a broker whose users are there."""
    running = Broker(home, ("--auth", f"database+{url}"))
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def broker(database: Database, tmp_path: Path) -> Iterator[Broker]:
    """Run a broker with that database."""
    with broker_of(tmp_path, database.url()) as running:
        yield running


def hpfeeds_verdict(broker: Broker, name: str, secret: str = "hush", patience: float = SECONDS) -> str:
    """Log in by hpfeeds, and give what the broker answers; nothing if it is silent for a while, as it is to users."""
    caller = HpfeedsCaller(name, secret)
    with socket.create_connection(("127.0.0.1", broker.ports["hpfeeds"]), timeout=patience) as connection:
        try:
            while chunk := connection.recv(65536):
                _, answer = caller.receive(chunk)
                if answer:
                    # Whoever is let in hears its own message.
                    connection.sendall(answer + caller.subscribe(b"chan") + caller.publish(b"chan", b"mark"))
                if b"mark" in chunk:
                    return ""
        except ClientError as error:
            return str(error)
    return "closed"


def nats_verdict(broker: Broker, name: str, secret: str = "hush") -> bytes:
    """Log in by NATS, and give all that the broker says after its INFO, until it is silent or closes."""
    with socket.create_connection(("127.0.0.1", broker.ports["nats"]), timeout=SECONDS) as connection:
        assert connection.recv(65536).startswith(b"INFO ")
        options = json.dumps({"user": name, "pass": secret, "verbose": False, "pedantic": False})
        connection.sendall(f"CONNECT {options}\r\nPING\r\n".encode())
        said = b""
        while chunk := connection.recv(65536):
            said += chunk
            if b"PONG" in said:
                break
        return said


@asynccontextmanager
async def by_nats(broker: Broker, name: str, secret: str = "hush", **options: Any) -> AsyncIterator[Any]:
    """Connect the NATS client for Python."""
    url = f"nats://127.0.0.1:{broker.ports['nats']}"
    client = await nats.connect(url, user=name, password=secret, allow_reconnect=False, **options)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def by_hpfeeds(broker: Broker, name: str, *channels: str) -> AsyncIterator[ClientSession]:
    """Connect the asyncio client of the hpfeeds package."""
    session = ClientSession("127.0.0.1", broker.ports["hpfeeds"], name, "hush")
    for channel in channels:
        session.subscribe(channel)
    await asyncio.wait_for(session.when_connected, SECONDS)
    async with session:
        yield session


def run(work: Any) -> Any:
    """Run a coroutine, within a time limit."""
    return asyncio.run(asyncio.wait_for(work, 3 * SECONDS))


def until_let_in(broker: Broker, name: str) -> None:
    """Log in by hpfeeds again and again, as its clients do, until that succeeds."""
    end = time.monotonic() + 2 * SECONDS
    while verdict := hpfeeds_verdict(broker, name):
        assert verdict == LATER
        assert time.monotonic() < end
        time.sleep(0.5)


@pytest.mark.parametrize("where", ["hpfeeds", "western"])
def test_both_clients(database: Database, tmp_path: Path, where: str) -> None:
    """One row, two protocols: the real clients log in and hear each other, whatever the encoding of the database."""
    name = new_name()
    insert(database, name, where=where)

    async def talk(broker: Broker) -> None:
        async with by_nats(broker, name) as client, by_hpfeeds(broker, name, "back") as session:
            heard = await client.subscribe("chan")
            await client.flush()
            session.publish("chan", b"by hpfeeds")
            assert (await heard.next_msg(SECONDS)).data == b"by hpfeeds"
            await client.publish("back", b"by NATS")
            assert await asyncio.wait_for(session.read(), SECONDS) == (name, "back", b"by NATS")

    with broker_of(tmp_path, database.url(where)) as broker:
        run(talk(broker))


def test_refused(database: Database, broker: Broker) -> None:
    """A wrong password and an unknown name are refused, in each protocol's words; the log has no secret."""
    name = new_name()
    insert(database, name, secret="right secret")
    assert hpfeeds_verdict(broker, name, "wrong secret") == f"Authentication failed for {name}"
    assert hpfeeds_verdict(broker, "nobody") == "Authentication failed for nobody"
    assert b"-ERR 'Authorization Violation'" in nats_verdict(broker, name, "wrong secret")

    async def connect() -> None:
        async with by_nats(broker, name, "wrong secret"):
            pass

    with pytest.raises(nats.errors.Error, match="Authorization Violation"):
        run(connect())
    assert hpfeeds_verdict(broker, name, "right secret") == ""
    assert "secret" not in broker.output()


def test_row_deleted(database: Database, broker: Broker) -> None:
    """Whose row is deleted is told so, and closed, within five seconds; the others stay."""
    name, other = new_name(), new_name()
    insert(database, name)
    insert(database, other)

    async def stay() -> None:
        closed = asyncio.Event()

        async def end() -> None:
            closed.set()

        async with (
            by_nats(broker, name, closed_cb=end) as client,
            by_nats(broker, other) as unharmed,
            by_hpfeeds(broker, name, "chan") as session,
        ):
            session.publish("chan", b"")
            await asyncio.wait_for(session.read(), SECONDS)
            connection = session.protocol
            database.execute(f"DELETE FROM auth_keys WHERE identifier = '{name}'")  # noqa: S608
            deleted = time.monotonic()
            await asyncio.wait_for(closed.wait(), REVOKED_WITHIN)
            while session.protocol is connection:
                assert time.monotonic() - deleted < REVOKED_WITHIN
                await asyncio.sleep(0.05)
            assert "user authentication revoked" in str(client.last_error).lower()
            await unharmed.flush()
            assert unharmed.is_connected

    run(stay())


def test_lists_changed(database: Database, broker: Broker) -> None:
    """A list that gets shorter counts for who is in: within five seconds nothing more may be published there."""
    name = new_name()
    insert(database, name)

    async def stay() -> None:
        errors: list[str] = []

        async def note(error: Exception) -> None:
            errors.append(str(error).lower())

        async with by_nats(broker, name, error_cb=note) as client:
            await client.publish("chan", b"")
            await client.flush()
            assert errors == []
            database.execute(f"UPDATE auth_keys SET publish = '[\"back\"]' WHERE identifier = '{name}'")  # noqa: S608
            end = time.monotonic() + REVOKED_WITHIN
            while not errors:
                assert time.monotonic() < end
                await client.publish("chan", b"")
                await client.flush()
                await asyncio.sleep(0.1)
            assert "permissions violation" in errors[0]

    run(stay())


def test_outage(database: Database, broker: Broker) -> None:
    """A database that is stopped is no wrong password: try again, no -ERR, nobody thrown out; then it is back."""
    name, inside = new_name(), new_name()
    insert(database, name)
    insert(database, inside)

    async def stay() -> None:
        async with by_nats(broker, inside) as client:
            database.stop()
            try:
                assert await asyncio.to_thread(hpfeeds_verdict, broker, name) == LATER
                assert await asyncio.to_thread(nats_verdict, broker, name) == b""
                await asyncio.sleep(REVOKED_WITHIN)
                await client.flush()
                assert client.is_connected
            finally:
                database.start()
            await asyncio.to_thread(until_let_in, broker, name)
            assert b"PONG" in await asyncio.to_thread(nats_verdict, broker, name)
            assert client.is_connected

    run(stay())
    assert broker.output().replace("users cannot be looked up now", "").count("users cannot be looked up") == 1
    assert "can be looked up again" in broker.output()


def test_silence(database: Database, broker: Broker) -> None:
    """A database that does not answer holds up no login, and nothing else; once it answers all is well again."""
    name, other = new_name(), new_name()
    insert(database, name)
    insert(database, other)
    assert hpfeeds_verdict(broker, other) == ""
    database.pause()
    try:
        begun = time.monotonic()
        assert hpfeeds_verdict(broker, name) == LATER
        assert nats_verdict(broker, name) == b""
        assert time.monotonic() - begun < 4
        assert hpfeeds_verdict(broker, name) == LATER
    finally:
        database.go_on()
    until_let_in(broker, name)


def test_stop_in_silence(database: Database, tmp_path: Path) -> None:
    """A broker ends promptly, also when threads of it wait for a database that does not answer."""
    name = new_name()
    insert(database, name)
    with broker_of(tmp_path, database.url()) as broker:
        assert hpfeeds_verdict(broker, name) == ""
        database.pause()
        try:
            assert hpfeeds_verdict(broker, new_name()) == LATER
            broker.stop()
            broker.start()  # what the fixture stops: without the database, which is said
            assert "cannot be asked yet" in broker.output()
        finally:
            database.go_on()
        until_let_in(broker, name)


class Clocked:
    """A source that is asked here and now."""

    def __init__(self, database: Database, where: str = "hpfeeds", **options: str) -> None:
        """Take the database."""
        self.source = DatabaseUsers(database.url(where, **options), Clock(), threads=AtOnce())

    def __enter__(self) -> DatabaseUsers:
        """Give it."""
        return self.source

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self.source._engine.dispose()


def find(source: DatabaseUsers, name: bytes, secret: str = "hush") -> Any:
    """Give the user, or the kind of the error."""
    found: list[Any] = []
    source.requestAvatarId(UsernamePassword(name, secret.encode())).addCallbacks(
        found.append, lambda failure: found.append(failure.type)
    )
    return found[0]


@pytest.mark.parametrize("where", ["hpfeeds", "western"])
def test_any_name(database: Database, where: str) -> None:
    """No name that a peer may give is an error of the database, in whatever letters the database is."""
    insert(database, "café", where=where)
    insert(database, "ann", where=where)
    hostile = ["ANN", "ann ", "cafe", "CAFÉ", "Я", "\U0001f600", "a\0b", "\0", "", "'; --", "%s", ":x", "\\", "é" * 127]
    with Clocked(database, where) as source:
        for name in hostile:
            assert find(source, name.encode()) is UnknownUser, name
        assert find(source, "café".encode()).name == "café".encode()
        assert find(source, b"ann").name == b"ann"
        found: list[Any] = []
        source.users([*(name.encode() for name in hostile), b"ann"]).addCallback(found.append)
        assert [*found[0]] == [b"ann"]


def test_odd_rows(database: Database) -> None:
    """A row that makes no sense locks out its user alone, and of two rows the first counts."""
    insert(database, "ann")
    insert(database, "ann", secret="second")
    database.execute(
        "INSERT INTO auth_keys (identifier, secret, publish, subscribe) VALUES ('list', 'hush', '{}', '[1]')",
        "INSERT INTO auth_keys (identifier, secret, publish, subscribe) VALUES ('null', 'hush', NULL, NULL)",
        "INSERT INTO auth_keys (identifier, secret, publish, subscribe) VALUES ('none', NULL, NULL, NULL)",
        "INSERT INTO auth_keys (identifier, secret, publish, subscribe) VALUES (NULL, 'hush', NULL, NULL)",
    )
    with Clocked(database) as source, capturedLogs() as logs:
        found: list[Any] = []
        source.users([b"ann", b"list", b"null", b"none", b""]).addCallback(found.append)
        assert sorted(found[0]) == [b"ann", b"null"]
        assert found[0][b"ann"].secret == b"hush"
        source.names().addCallback(found.append)
        assert found[1] == [b"ann", b"list", b"none", b"null"]
        assert source.where(b"ann", "publish", None).startswith("table auth_keys, row id ")
    said = " ".join(map(formatEvent, logs))
    assert "'ann' stands twice" in said
    assert "publish: found a value of type dict, expected a list of strings" in said


def test_what_is_missing(database: Database) -> None:
    """A table that is not there, a column that is not, a right that is not: one line at the start, no password."""
    database.make("incomplete", "UTF8")
    broken = [
        ("ALTER TABLE auth_keys DROP COLUMN publish", "table auth_keys: found 'no column publish'"),
        ("ALTER TABLE auth_keys RENAME TO other", "table auth_keys: found 'nothing'"),
    ]
    for statement, words in broken:
        database.execute(statement, database="incomplete")
        with Clocked(database, "incomplete") as source:
            with pytest.raises(ConfigError) as error:
                source.startService()
            assert words in str(error.value)
            assert "br0ker" not in str(error.value)


def test_wrong_password_of_the_broker(database: Database) -> None:
    """A database that does not let the broker in is said at the start, without the password; logins try again."""
    with Clocked(database, password="wr0ng%2Fpassword") as source:
        with capturedLogs() as logs:
            source.startService()
        (said,) = map(formatEvent, logs)
        assert "cannot be asked yet" in said
        assert "'broker'" in said.replace('"', "'")
        assert "wr0ng" not in said
        assert find(source, b"ann") is OperatorError
