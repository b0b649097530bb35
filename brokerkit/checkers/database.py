"""Users in a table of PostgreSQL, MySQL or SQLite, as hpfeeds-broker has them: table ``auth_keys``.

SQLAlchemy Core asks, in a few threads.  A database that cannot be reached is an outage, at the start as later: the
broker starts, and logins are told to try again.  One that can be reached and has no such table is a mistake, which the
start says.  Each driver is told to give up soon, so that a dead network costs a thread for seconds; a question that
takes longer than a login may is given up by whoever asked.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from brokerkit.checkers.registry_rights import FIELDS
from brokerkit.checkers.sqlite import connect, is_locked
from brokerkit.checkers.table import AUTH_KEYS, Table
from brokerkit.checkers.threads import within
from brokerkit.errors import ConfigError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import URL, Connection, Engine, Row, Select
    from twisted.internet.defer import Deferred

    from brokerkit.checkers.threads import Threads

log = Logger()

WHERE = "configuration"
EXPECTED = "database+postgresql://..., database+mysql://... or database+sqlite:///PATH"
AT_START = 3.0  # seconds that the start waits for a database
AT_END = 1.0  # seconds that the end waits for connections to be closed in good order
LIFETIME = 300  # seconds that a connection is used for
LONGEST = 300  # characters of a driver's complaint

DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite",
}
ASYNC = ("aiopg", "asyncpg", "aiomysql", "asyncmy", "aiosqlite")  # hpfeeds-broker's: ours are asked in threads
FOR_ITS_POOL = ("min_size", "max_size", "pool_recycle")  # hpfeeds-broker's: ours has as many connections as threads

# Seconds, if not said otherwise.  What the URL says of the same goes first.
PATIENCE: dict[str, dict[str, Any]] = {
    "psycopg": {
        "connect_timeout": 2,
        "tcp_user_timeout": 3000,  # milliseconds
        "keepalives_idle": 10,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "client_encoding": "utf8",
        "prepare_threshold": None,  # what is prepared does not survive a pooler such as PgBouncer
        "application_name": "brokerkit",
    },
    "pymysql": {"connect_timeout": 2, "read_timeout": 3, "write_timeout": 3, "charset": "utf8mb4"},
}


class DatabaseUsers(Table):
    """Knows the users in the database's table ``auth_keys``."""

    def __init__(self, url: str, reactor: Any, prefix: bytes = b"", threads: Threads | None = None) -> None:  # noqa: ANN401
        """Take a URL (``postgresql://name:password@host/database``); nothing is opened before the service starts.

        Raises ``ConfigError`` if the URL makes no sense, ``OperatorError`` if SQLAlchemy or the driver is missing.
        """
        parsed = read_url(url)
        self._password = str(parsed.password or "")
        self.shown = show(parsed)
        super().__init__(reactor, f"database+{self.shown}", AUTH_KEYS, prefix, threads)
        self._reactor = reactor
        self._optional: tuple[str, ...] | None = None  # columns of the registry; None: not known yet
        self._engine = make_engine(parsed, self._threads.most)

    def startService(self) -> None:
        """See whether there is such a table; raise ``ConfigError`` if not, and go on if that cannot be found out."""
        super().startService()
        try:
            within(AT_START, self._look)
        except ConfigError:
            raise
        except (OperatorError, TimeoutError) as error:
            reason = str(error) or f"no answer in {AT_START} s"
            text = "{source}: cannot be asked yet; until it can be, logins are told to try again: {reason}"
            log.error(text, source=self.source, reason=reason)

    def stopService(self) -> Deferred[None]:
        """Close the connections, and wait a moment for that; a thread that is stuck is not waited for."""
        closing = self._threads.call(self._engine.dispose)
        closing.addTimeout(AT_END, self._reactor)
        closing.addErrback(lambda _: None)
        return closing.addCallback(lambda _: super(DatabaseUsers, self).stopService())

    def select(self, names: Sequence[str]) -> list[Row[Any]]:
        """Give the rows that may be of those names; called in a thread."""
        return self._rows(self._questions(names))

    def select_names(self) -> list[object]:
        """Give the names in all rows; called in a thread."""
        from sqlalchemy import column, select, table

        return [row[0] for row in self._rows([select(column(AUTH_KEYS.name)).select_from(table(AUTH_KEYS.table))])]

    def _rows(self, questions: Iterable[Select[Any]]) -> list[Row[Any]]:
        try:
            with self._engine.connect() as connection:
                self._learn(connection)
                return [row for each in questions for row in connection.execute(each)]
        except Exception as error:  # not SQLAlchemy's alone: drivers raise what they like
            raise OperatorError(self._reason(error)) from None

    def _learn(self, connection: Connection) -> None:
        """Find out, once, which columns of the registry there are."""
        if self._optional is None:
            from sqlalchemy import inspect

            there = _columns(inspect(connection))
            self._optional = tuple(name for name in FIELDS if name in there)

    def _questions(self, names: Sequence[str]) -> Iterator[Select[Any]]:
        # A NUL cannot be in a text of PostgreSQL, and what cannot be in the table is not asked for: to the database it
        # would be an error, and to us an outage, which anybody could bring about.
        possible = [name for name in names if "\0" not in name]
        plain = [name for name in possible if name.isascii()]
        other = [name for name in possible if not name.isascii()]
        if plain:
            yield question(self._engine.dialect.name, plain, self._optional or ())
        if other:
            yield question(self._engine.dialect.name, other, self._optional or ())

    def _look(self) -> None:
        """Ask what logins will ask; say what is missing, as a ``ConfigError``, if the database is there and refuses."""
        from sqlalchemy.exc import DBAPIError

        connected = self._engine.dialect.name == "sqlite"  # opening a file is no outage
        try:
            with self._engine.connect() as connection:
                connected = True
                self._learn(connection)
                for each in self._questions(["a", "\N{LATIN SMALL LETTER A WITH ACUTE}"]):
                    connection.execute(each).fetchall()
        except Exception as error:
            reason = self._reason(error)
            if connected and isinstance(error, DBAPIError) and not _is_outage(error):
                raise self._what_is_missing(reason) from None
            raise OperatorError(reason) from None

    def _what_is_missing(self, reason: str) -> ConfigError:
        from sqlalchemy import inspect
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                columns = _columns(inspect(connection))
        except SQLAlchemyError:
            columns = set(AUTH_KEYS.columns)
        if not columns:
            return ConfigError(self.shown, f"table {AUTH_KEYS.table}", "nothing", "a table of this name")
        for column in AUTH_KEYS.columns:
            if column not in columns:
                expected = ", ".join(AUTH_KEYS.columns)
                return ConfigError(self.shown, f"table {AUTH_KEYS.table}", f"no column {column}", expected)
        return ConfigError(self.shown, f"table {AUTH_KEYS.table}", reason, "a table that can be read")

    def _reason(self, error: Exception) -> str:
        """Give a driver's complaint as one line of bearable length, without the password."""
        text = " ".join(str(getattr(error, "orig", None) or error).split()) or type(error).__name__
        if self._password:
            text = text.replace(self._password, "***")
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def read_url(text: str) -> URL:
    """Understand a URL, with one of our drivers if it names none; raise ``ConfigError``, which does not repeat it."""
    try:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError as error:
        raise _needs("SQLAlchemy", error) from None
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ConfigError(WHERE, "auth", "database+ and no URL", EXPECTED) from None
    kind, _, driver = url.drivername.partition("+")
    if kind not in DRIVERS:
        raise ConfigError(WHERE, "auth", f"database+{kind}", EXPECTED)
    if not driver or driver in ASYNC:
        url = url.set(drivername=DRIVERS[kind])
    if "ssl" in url.query:
        hint = "sslmode=verify-full for PostgreSQL, ssl_ca=FILE for MySQL"
        raise ConfigError(WHERE, "auth", f"ssl in the URL of {show(url)}", "the driver's own word for it", hint)
    url = url.difference_update_query(FOR_ITS_POOL)
    return _with_file(url) if kind == "sqlite" else url


def _with_file(url: URL) -> URL:
    """Make the path absolute now: the program may go to another directory."""
    if not url.database or url.database == ":memory:":
        raise ConfigError(WHERE, "auth", "database+sqlite without a path", "database+sqlite:///PATH")
    return url.set(database=os.path.abspath(url.database))  # noqa: PTH100  Path.resolve would follow the links, today's


def show(url: URL) -> str:
    """Give the URL as far as it may be seen: stars for the password, and no options, one of which may be a password."""
    return url.set(drivername=url.get_backend_name(), query={}).render_as_string(hide_password=True)


def make_engine(url: URL, connections: int) -> Engine:
    """Make what connects, and does not yet; raise ``OperatorError`` if the driver is missing."""
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import SQLAlchemyError

    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        path = url.database or ""
        # As for the other source in a file: opened anew for each question, since there may be another one by now.
        options |= {"poolclass": NullPool, "creator": lambda: connect(path)}
    else:
        patience = PATIENCE.get(url.get_driver_name(), {})
        options |= {
            "connect_args": {key: value for key, value in patience.items() if key not in url.query},
            "pool_size": connections,
            "max_overflow": 0,
            "pool_timeout": AT_END,
            "pool_pre_ping": True,
            "pool_recycle": LIFETIME,
            "pool_reset_on_return": None,  # there is no transaction
            "pool_use_lifo": True,
        }
    try:
        return create_engine(url, **options)
    except ImportError as error:
        raise _needs(f"the driver {url.get_driver_name()}", error) from None
    except SQLAlchemyError as error:
        raise ConfigError(WHERE, "auth", f"database+{url.drivername}", EXPECTED, type(error).__name__) from None


def question(dialect: str, names: Sequence[str], optional: Sequence[str] = ()) -> Select[Any]:
    """Give the question for rows that may be of those names: all of them ASCII, or none.

    ``optional`` are the columns of the registry that there are.

    A database whose text is not Unicode refuses to compare it with letters that it does not have.  For those it is
    told to compare in Unicode, which no index helps with.
    """
    from sqlalchemy import Text, cast, column, func, literal_column, null, select, table

    layout = AUTH_KEYS
    there = table(layout.table, *(column(name) for name in (*layout.columns, *optional)))
    name: Any = there.c[layout.name]
    wanted: Sequence[Any] = names
    if not all(each.isascii() for each in names):
        if dialect == "postgresql":
            name, wanted = func.convert_to(cast(name, Text), "UTF8"), [each.encode() for each in names]
        elif dialect in {"mysql", "mariadb"}:
            name = literal_column(f"CONVERT({layout.name} USING utf8mb4) COLLATE utf8mb4_bin")
    # As text, so that a list which is none is the trouble of that row alone.
    lists = (
        (cast(there.c[each], Text) if each in there.c else null()).label(each)
        for each in (layout.publish, layout.subscribe, *FIELDS)
    )
    return select(there.c.id, there.c[layout.name], there.c.secret, *lists).where(name.in_(wanted)).order_by(there.c.id)


def _columns(inspector: Any) -> set[str]:  # noqa: ANN401  an Inspector
    """Give the names of the table's columns; none if there is no table."""
    if not inspector.has_table(AUTH_KEYS.table):
        return set()
    return {column["name"] for column in inspector.get_columns(AUTH_KEYS.table)}


def _is_outage(error: Any) -> bool:  # noqa: ANN401  a DBAPIError
    return bool(error.connection_invalidated) or is_locked(error.orig)


def _needs(what: str, error: ImportError) -> OperatorError:
    return OperatorError(f"a database of users needs {what} ({error}): pip install 'brokerkit[sql]'")
