"""Real servers for sources of users: each is started once, on loopback, and only if a test wants it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.servers.sql import Database, MariaDB, PostgreSQL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def databases() -> Iterator[Callable[[type[Database]], Database]]:
    """Give what starts a database, or gives the one that has been started."""
    started: dict[type[Database], Database] = {}
    with ExitStack() as stack:

        def start(kind: type[Database]) -> Database:
            if kind not in started:
                database = kind()
                stack.callback(database.remove)
                for name, encoding in (("hpfeeds", "UTF8"), ("western", "LATIN1")):
                    database.make(name, encoding)
                started[kind] = database
            return started[kind]

        yield start


@pytest.fixture(params=[PostgreSQL, MariaDB], ids=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, databases: Callable[[type[Database]], Database]) -> Iterator[Database]:
    """Give a database that runs, with empty tables; the tests are done once with each."""
    running = databases(request.param)
    yield running
    for name in ("hpfeeds", "western"):
        running.execute("DELETE FROM auth_keys", database=name)
