"""PostgreSQL and MariaDB, each with authentication on, a table as it is documented, and a user who may only read."""

from __future__ import annotations

import re
import signal
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.servers.programs import Program, find

USERS = Path(__file__).parents[2] / "docs" / "users.md"
ADMIN = "adm1n: secret"
BROKER = "br0ker/secret@x"
QUOTED = "br0ker%2Fsecret%40x"


def documented(before: str) -> list[str]:
    """Give the statements of the block of SQL that the words ``before`` introduce in the documentation."""
    text = USERS.read_text(encoding="utf-8").partition("\n## database\n")[2]
    found = re.search(rf"{re.escape(before)}.*?\n```sql\n(.*?)```", text, re.DOTALL)
    assert found is not None, before
    return [part.strip() for part in found[1].split(";") if part.strip()]


class Database(Program, ABC):
    """A server that SQL can be said to."""

    kind: str

    @abstractmethod
    def start(self) -> None:
        """Start it, again."""

    @abstractmethod
    def connect(self, database: str) -> Any:
        """Connect as the one who may do anything, to that database."""

    @abstractmethod
    def make(self, database: str, encoding: str) -> None:
        """Make a database with the documented table, which the broker's user may read."""

    def execute(self, *statements: str, database: str = "hpfeeds") -> None:
        """Do something."""
        with closing(self.connect(database)) as connection, closing(connection.cursor()) as cursor:
            for each in statements:
                cursor.execute(each)

    def url(self, database: str = "hpfeeds", password: str = QUOTED) -> str:
        """Give the URL for the broker's user."""
        return f"{self.kind}://broker:{password}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Stop it, at once for those who are connected."""
        self.halt(signal.SIGINT if self.kind == "postgresql" else signal.SIGTERM)


class PostgreSQL(Database):
    """PostgreSQL, of the highest version that is installed."""

    kind = "postgresql"

    def __init__(self) -> None:
        """Make a cluster and start it."""
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        initdb, self._program = find("initdb", *folders[::-1]), find("postgres", *folders[::-1])
        super().__init__()
        secret = self.home / "password"
        secret.write_text(ADMIN)
        self.do(
            *(initdb, "--pgdata=data", "--username=admin", f"--pwfile={secret}", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--no-sync"),
        )
        self.start()
        self.execute(f"CREATE USER broker PASSWORD '{BROKER}'", database="postgres")

    def start(self) -> None:
        """Start it, again."""
        settings = (f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        words = [word for setting in settings for word in ("-c", setting)]
        self.run([self._program, "-D", "data", *words], lambda: self.connect("postgres").close())

    def connect(self, database: str) -> Any:
        """Connect as the one who may do anything."""
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="admin",
            password=ADMIN,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
            client_encoding="utf8",
        )

    def make(self, database: str, encoding: str) -> None:
        """Make a database with the documented table."""
        options = f"ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
        self.execute(f"CREATE DATABASE {database} {options}", database="postgres")
        self.execute(*documented("Make it on PostgreSQL"), *documented("On PostgreSQL:"), database=database)


class MariaDB(Database):
    """MariaDB, spoken to as MySQL."""

    kind = "mysql"

    def __init__(self) -> None:
        """Make the system's tables and start it."""
        install, self._program = find("mariadb-install-db"), find("mariadbd")
        find("my_print_defaults")  # mariadb-install-db needs it
        super().__init__()
        self.do(
            *(install, "--no-defaults", f"--datadir={self.home}/data", "--auth-root-authentication-method=normal"),
            *("--skip-test-db", "--skip-name-resolve"),
        )
        self._password = ""
        self.start()
        self.execute(
            f"CREATE USER broker@'127.0.0.1' IDENTIFIED BY '{BROKER}'",
            f"ALTER USER root@localhost IDENTIFIED BY '{ADMIN}'",
            database="mysql",
        )
        self._password = ADMIN

    def start(self) -> None:
        """Start it, again."""
        self.run(
            [
                self._program,
                "--no-defaults",
                f"--datadir={self.home}/data",
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                f"--socket={self.home}/socket",
                f"--pid-file={self.home}/pid",
                "--innodb-buffer-pool-size=16M",
                "--innodb-flush-log-at-trx-commit=0",
            ],
            lambda: self.connect("mysql").close(),
        )

    def connect(self, database: str) -> Any:
        """Connect as the one who may do anything."""
        import pymysql

        return pymysql.connect(
            unix_socket=str(self.home / "socket"),
            user="root",
            password=self._password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=10,
            read_timeout=10,
        )

    def make(self, database: str, encoding: str) -> None:
        """Make a database with the documented table."""
        encoding = {"UTF8": "utf8mb4"}.get(encoding, encoding)
        self.execute(f"CREATE DATABASE {database} CHARACTER SET {encoding}", database="mysql")
        self.execute(*documented("Make it on MySQL and MariaDB"), database=database)
        self.execute(f"GRANT SELECT ON {database}.auth_keys TO broker@'127.0.0.1'", database=database)
