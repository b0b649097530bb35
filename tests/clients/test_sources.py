"""One user, written down for each source of users in its own way, with real clients of every protocol.

The user publishes in hpfeeds and subscribes in NATS, and the other way round; a wrong secret is refused in both.  The
sources that need a server of their own have the same in ``tests/servers``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nats
import pytest
from hpfeeds.asyncio import ClientSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., contextlib.AbstractContextManager[Any]]

pytestmark = pytest.mark.skipif(
    "BROKERKIT_TEST_HPFEEDS" in os.environ,
    reason="no other broker has these sources of users",
)

NAME, SECRET, CHANNEL = "sensor7", "s3cret", "chan.one"
SECONDS = 10
Start = tuple[list[str], dict[str, str]]  # flags, environment

AUTHKEYS = """create table authkeys (id integer primary key autoincrement,
    owner text, ident text, secret text, pubchans text, subchans text)"""
AUTH_KEYS = (
    "create table auth_keys (id integer primary key, identifier text, secret text, publish json, subscribe json)"
)
YAML_PASSWORD = "$2b$12$3iR64t7Sm.cAHtZs5jkxZehdWQ7knmN/NxmK.X7NBUHfiIAxT4T9y"


def from_env(_: Path) -> Start:
    """Use the environment."""
    prefix = f"HPFEEDS_{NAME.upper()}"
    return ["--auth", "env"], {f"{prefix}_SECRET": SECRET, f"{prefix}_PUBCHANS": CHANNEL, f"{prefix}_SUBCHANS": CHANNEL}


def from_json(home: Path) -> Start:
    """Use a users.json, spelled as hpfeeds-broker has it."""
    user = {"owner": "x", "secret": SECRET, "pubchans": [CHANNEL], "subchans": [CHANNEL]}
    (home / "mine.json").write_text(json.dumps({NAME: user}))
    return ["--auth", str(home / "mine.json")], {}


def from_sqlite(home: Path) -> Start:
    """Use the database of hpfeeds-broker, in the working directory."""
    with contextlib.closing(sqlite3.connect(home / "sqlite.db")) as database, database:
        database.execute(AUTHKEYS)
        row = ("x", NAME, SECRET, json.dumps([CHANNEL]), json.dumps([CHANNEL]))
        database.execute("insert into authkeys (owner, ident, secret, pubchans, subchans) values (?, ?, ?, ?, ?)", row)
    return ["--auth", "sqlite"], {}


def from_database(home: Path) -> Start:
    """Use the table that hpfeeds documents, in SQLite."""
    with contextlib.closing(sqlite3.connect(home / "keys.db")) as database, database:
        database.execute(AUTH_KEYS)
        row = (NAME, SECRET, json.dumps([CHANNEL]), json.dumps([CHANNEL]))
        database.execute("insert into auth_keys (identifier, secret, publish, subscribe) values (?, ?, ?, ?)", row)
    return ["--auth", f"database+sqlite:///{home / 'keys.db'}"], {}


def from_own(home: Path) -> Start:
    """Use brokerkit's own users."""
    user_add(home, "--publish", CHANNEL, "--subscribe", CHANNEL)
    return ["--data-dir", str(home / "state"), "--auth", "users"], {}


def from_toml(home: Path) -> Start:
    """Use the configuration itself."""
    lines = f'name = "{NAME}"\nsecret = "{SECRET}"\npublish = ["{CHANNEL}"]\nsubscribe = ["{CHANNEL}"]\n'
    (home / "mine.toml").write_text(f"[[users]]\n{lines}")
    return ["--config", str(home / "mine.toml")], {}


def from_anybody(_: Path) -> Start:
    """Let anybody in."""
    return ["--auth", f"anonymous:publish={CHANNEL}:subscribe={CHANNEL}"], {}


SOURCES = [from_env, from_json, from_sqlite, from_database, from_own, from_toml]


def user_add(home: Path, *flags: str) -> None:
    """Add the user to brokerkit's own."""
    subprocess.run(
        [sys.executable, "-m", "brokerkit", "user", "add", NAME, "--stdin", "--data-dir", str(home / "state"), *flags],
        input=SECRET,
        text=True,
        check=True,
        timeout=SECONDS * 2,
    )


@pytest.fixture(scope="module", params=[*SOURCES, from_anybody], ids=lambda write: write.__name__)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, broker_with: Run) -> Iterator[Any]:
    """Run a broker for each source."""
    home = tmp_path_factory.mktemp("source")
    with broker_with(home, *request.param(home)) as broker:
        yield broker


async def hpfeeds(broker: Any, secret: str = SECRET) -> ClientSession:
    """Connect the user by hpfeeds."""
    return ClientSession("127.0.0.1", broker.ports["hpfeeds"], NAME, secret)


async def by_nats(broker: Any, password: str = SECRET, name: str = NAME) -> nats.NATS:
    """Connect the user by NATS."""
    url = f"nats://127.0.0.1:{broker.ports['nats']}"
    return await nats.connect(url, user=name, password=password, allow_reconnect=False, connect_timeout=SECONDS)


async def test_the_user_crosses_from_hpfeeds_to_nats(source: Any) -> None:
    """What the user publishes in hpfeeds, the user hears in NATS."""
    client = await by_nats(source)
    heard = await client.subscribe(CHANNEL)
    await client.flush()
    async with await hpfeeds(source) as session:
        session.publish(CHANNEL, b"over")
        message = await heard.next_msg(timeout=SECONDS)
    assert (message.subject, message.data) == (CHANNEL, b"over")
    await client.close()


async def test_the_user_crosses_from_nats_to_hpfeeds(source: Any) -> None:
    """What the user publishes in NATS, the user hears in hpfeeds."""
    client = await by_nats(source)
    async with await hpfeeds(source) as session:
        session.subscribe(CHANNEL)
        publishing = asyncio.create_task(_again_and_again(client))
        sender, channel, payload = await asyncio.wait_for(session.read(), SECONDS)
        publishing.cancel()
    assert (sender, channel, bytes(payload)) == (NAME, CHANNEL, b"back")
    await client.close()


async def _again_and_again(client: nats.NATS) -> None:
    """Publish until the subscription, which nobody confirms, is there."""
    while True:
        await client.publish(CHANNEL, b"back")
        await asyncio.sleep(0.05)


async def test_other_names_are_not_the_users(source: Any) -> None:
    """A channel that the user was not given cannot be published to in either protocol."""
    client = await by_nats(source)
    refusals: asyncio.Queue[Exception] = asyncio.Queue()
    await client.close()
    url = f"nats://127.0.0.1:{source.ports['nats']}"
    client = await nats.connect(url, user=NAME, password=SECRET, error_cb=refusals.put, allow_reconnect=False)
    await client.publish("chan.other", b"")
    assert "permissions violation" in str(await asyncio.wait_for(refusals.get(), SECONDS)).lower()
    await client.close()


@pytest.mark.parametrize("source", SOURCES, ids=lambda write: write.__name__, indirect=True)
async def test_a_wrong_secret_is_refused(source: Any) -> None:
    """Neither protocol lets the user in with another secret."""
    with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation"):
        await by_nats(source, "wrong")
    reader, writer = await asyncio.open_connection("127.0.0.1", source.ports["hpfeeds"])
    await reader.readexactly(5 + 1 + 7 + 4)
    ident = NAME.encode()
    writer.write((5 + 1 + len(ident) + 20).to_bytes(4, "big") + b"\2" + bytes([len(ident)]) + ident + bytes(20))
    assert b"Authentication failed for sensor7" in await asyncio.wait_for(reader.read(), SECONDS)
    writer.close()


async def test_kastlex_users_come_in_by_nats(tmp_path: Path, broker_with: Run) -> None:
    """A bcrypt hash serves every protocol that shows the password itself; produce and fetch are its rights."""

    def from_kastlex(home: Path) -> Start:
        (home / "passwd.yml").write_text(f'user1:\n  password_hash: "{YAML_PASSWORD}"\n')
        (home / "permissions.yml").write_text("user1:\n  produce:\n    - kastlex\n  fetch: all\n")
        return ["--auth", f"kastlex:{home / 'passwd.yml'}:{home / 'permissions.yml'}"], {}

    with broker_with(tmp_path, *from_kastlex(tmp_path)) as broker:
        client = await by_nats(broker, "user1", "user1")
        heard = await client.subscribe("kastlex")
        await client.publish("kastlex", b"kept")
        assert (await heard.next_msg(timeout=SECONDS)).data == b"kept"
        await client.close()
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation"):
            await by_nats(broker, "user", "user1")


async def test_a_user_that_is_taken_away_is_sent_away(tmp_path: Path, broker_with: Run) -> None:
    """Within five seconds of the change of the file, the connection is closed with NATS' own words."""
    with broker_with(tmp_path, *from_json(tmp_path)) as broker:
        url = f"nats://127.0.0.1:{broker.ports['nats']}"
        closed = asyncio.Event()

        async def on_closed() -> None:
            closed.set()

        client = await nats.connect(url, user=NAME, password=SECRET, allow_reconnect=False, closed_cb=on_closed)
        (tmp_path / "mine.json").write_text("{}")
        await asyncio.wait_for(closed.wait(), 5)
        assert "user authentication revoked" in str(client.last_error).lower()
