"""Rights to the registry from the ordinary sources of users: the same two lists in each, read with the same care."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock

from brokerkit.checkers.database import DatabaseUsers
from brokerkit.checkers.env import EnvUsers
from brokerkit.checkers.json_file import JsonUsers
from brokerkit.checkers.mongo_uri import parse
from brokerkit.checkers.mongodb import MongoUsers
from brokerkit.checkers.registry_rights import is_rule
from brokerkit.checkers.sqlite import SqliteUsers
from brokerkit.errors import ConfigError
from brokerkit.grants import SUBSCRIBE, Access
from brokerkit.notation import Name
from brokerkit.registry.access import READ, WRITE, rules
from brokerkit.registry.naming import topic
from brokerkit.remedies import Wish, remedies
from tests.checkers.at_once import AtOnce

if TYPE_CHECKING:
    from pathlib import Path

    from brokerkit.checkers.source import Source

READS, WRITES = ["web-*", "db"], ["web-1"]
COLUMNS = "id INTEGER PRIMARY KEY, secret TEXT"


def by_json(folder: Path, read: Any, write: Any) -> Source:
    """Put them into a users.json."""
    said = {"secret": "hush", "registry_read": read, "registry_write": write}
    (folder / "users.json").write_text(json.dumps({"ann": said}, indent=1))
    return JsonUsers(str(folder / "users.json"), Clock(), b"honeypot")


def by_env(_: Path, read: Any, write: Any) -> Source:
    """Put them into an environment."""
    said = {"HPFEEDS_ANN_SECRET": "hush"}
    return EnvUsers(
        {**said, "HPFEEDS_ANN_REGISTRY_READ": ",".join(read), "HPFEEDS_ANN_REGISTRY_WRITE": ",".join(write)}
    )


def _table(path: Path, table: str, name: str, lists: tuple[str, str], values: tuple[Any, ...]) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        columns = f"{COLUMNS}, owner TEXT, {name} TEXT, {', '.join(f'{one} TEXT' for one in lists)}"
        database.execute(f"CREATE TABLE {table} ({columns}, registry_read TEXT, registry_write TEXT)")
        into = f"INSERT INTO {table} ({name}, secret, registry_read, registry_write)"
        database.execute(f"{into} VALUES ('ann', 'hush', ?, ?)", values)


def by_sqlite(folder: Path, read: Any, write: Any) -> Source:
    """Put them into columns of hpfeeds' table in SQLite."""
    _table(folder / "a.db", "authkeys", "ident", ("pubchans", "subchans"), (json.dumps(read), json.dumps(write)))
    return SqliteUsers(str(folder / "a.db"), Clock(), threads=AtOnce())  # type: ignore[arg-type]


def by_database(folder: Path, read: Any, write: Any) -> Source:
    """Put them into columns of hpfeeds' table in a database."""
    _table(folder / "b.db", "auth_keys", "identifier", ("publish", "subscribe"), (json.dumps(read), json.dumps(write)))
    return DatabaseUsers(f"sqlite:///{folder / 'b.db'}", Clock(), threads=AtOnce())  # type: ignore[arg-type]


def by_mongodb(_: Path, read: Any, write: Any) -> Source:
    """Put them into a document."""
    pytest.importorskip("txmongo")
    document = {"_id": 1, "identifier": "ann", "secret": "hush", "registry_read": read, "registry_write": write}

    class Way:
        def find(self, _: Any, fields: Any, __: int) -> Deferred[Any]:
            return succeed([{key: value for key, value in document.items() if key in {"_id", *fields}}])

        def stop(self) -> None:
            pass

    return MongoUsers(parse("mongodb://db/users"), Clock(), ways=lambda _: Way(), try_now=lambda *_: None)


MAKERS = [by_json, by_env, by_sqlite, by_database, by_mongodb]


def log_in(source: Source) -> Any:
    """Give the grants of the user, or the error."""
    results: list[Any] = []
    maybeDeferred(source.requestAvatarId, UsernamePassword(b"ann", b"hush")).addBoth(results.append)
    return getattr(results[0], "grants", results[0])


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_written_down_counts(tmp_path: Path, make: Any) -> None:
    """Names and beginnings of names, to read and to write apart; topics have nothing of it."""
    grants = log_in(make(tmp_path, READS, WRITES))
    may = {
        (action, name): grants.permits(action, topic(name))
        for action in (READ, WRITE)
        for name in ("web-1", "web-2", "db", "dbx")
    }
    assert [key for key, allowed in may.items() if allowed] == [
        (READ, "web-1"),
        (READ, "web-2"),
        (READ, "db"),
        (WRITE, "web-1"),
    ]
    assert not grants.permits(SUBSCRIBE, b"web-1")


@pytest.mark.parametrize("make", MAKERS)
def test_where_a_rule_stands(tmp_path: Path, make: Any) -> None:
    """It is said with the list that it stands in, or its line."""
    source = make(tmp_path, READS, WRITES)
    log_in(source)
    found = source.where(b"ann", READ, rules(["db"])[0])
    assert "users.json:6" in found if make is by_json else "registry_read" in found.lower()


@pytest.mark.parametrize("make", [by_sqlite, by_database, by_mongodb])
@pytest.mark.parametrize("listed", [["a*b"], [""], 5, [5], {"a": 1}])
def test_a_row_that_cannot_be_meant(tmp_path: Path, make: Any, listed: Any) -> None:
    """Its user cannot log in, rather than with less or more than was meant."""
    assert "Unusable" in repr(log_in(make(tmp_path, listed, [])))


@pytest.mark.parametrize("make", [by_json, by_env])
def test_a_list_that_cannot_be_meant(tmp_path: Path, make: Any) -> None:
    """It ends the start, and names the list and what stands in it."""
    with pytest.raises(ConfigError, match=r"(?i)registry_write(\[0\])?: found 'a\*b', expected (a name|names) such as"):
        make(tmp_path, [], ["a*b"])


@pytest.mark.parametrize("value", ["db", {"a": 1}, [1], None])
def test_json_of_another_kind(tmp_path: Path, value: Any) -> None:
    """A list of strings is expected, and nothing is taken for one."""
    with pytest.raises(ConfigError, match=r"users\.json:\d+: 'ann': registry_read"):
        by_json(tmp_path, value, [])


def test_columns_need_not_be_there(tmp_path: Path) -> None:
    """A table as hpfeeds has it is as good as before; with SQLite, columns that are added count at once."""
    source = SqliteUsers(str(tmp_path / "c.db"), Clock(), threads=AtOnce())  # type: ignore[arg-type]
    source.kept = 0
    source.startService()
    with closing(sqlite3.connect(tmp_path / "c.db")) as database, database:
        database.execute("INSERT INTO authkeys (ident, secret) VALUES ('ann', 'hush')")
    assert not log_in(source).permits(READ, topic("db"))
    with closing(sqlite3.connect(tmp_path / "c.db")) as database, database:
        database.execute("ALTER TABLE authkeys ADD COLUMN registry_read TEXT")
        database.execute("UPDATE authkeys SET registry_read = '[\"*\"]'")
    assert log_in(source).permits(READ, topic("db"))
    source.stopService()


@pytest.mark.parametrize(
    ("source", "step"),
    [
        ("json:/u.json", 'add "web-2" to \'registry_write\' of "ann" in /u.json'),
        ("env", "export HPFEEDS_ANN_REGISTRY_WRITE=web-1,web-2   # and start the broker again"),
        ("sqlite:/a.db", """UPDATE authkeys SET registry_write = '["web-1", "web-2"]' WHERE ident = 'ann';"""),
        (
            "database+sqlite:////b.db",
            """UPDATE auth_keys SET registry_write = '["web-1", "web-2"]' WHERE identifier = 'ann';""",
        ),
        (
            "mongodb://db/users",
            'db.auth_key.updateOne({"identifier": "ann"}, {"$addToSet": {"registry_write": "web-2"}})',
        ),
        (
            "kastlex:/p.yml",
            "kastlex:/p.yml keeps no such right to the registry; keep the user in [[users]] or with brokerkit user",
        ),
    ],
)
def test_what_would_allow_it(source: str, step: str) -> None:
    """It is said in the words of the source, also where its topics have a prefix."""
    name = Name(topic("web-2"), literal=True)
    wish = Wish(b"ann", WRITE, name, source, b"honeypot", Access(rules(["web-1"])))
    assert remedies(wish) == (step,)


@given(st.text(max_size=8))
def test_names_and_beginnings(text: str) -> None:
    """A star means something at the end alone."""
    assert is_rule(text) == (text != "" and text.count("*") == text.endswith("*"))
