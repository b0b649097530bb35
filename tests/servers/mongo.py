"""FerretDB on loopback: a server that others wrote, which speaks MongoDB's protocol and has logins by SCRAM."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.programs import Program, find, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT, ROOT_PASSWORD = "root", "the password of root"
READER, PASSWORD = "broker", "p@ss:word/?%"
SCRAM = {"sha1": ["SCRAM-SHA-1"], "sha256": ["SCRAM-SHA-256"], "both": ["SCRAM-SHA-1", "SCRAM-SHA-256"]}


class FerretDB(Program):
    """A server with a user for each way to log in (``broker-sha1``, ``broker-sha256``, ``broker-both``)."""

    def __init__(self) -> None:
        """Start it with no documents."""
        program = os.environ.get("FERRETDB") or find("ferretdb", Path(sys.executable).parent)
        super().__init__()
        # Whom it runs as may not be let into the place where it was built.
        self._program = shutil.copy(program, self.home / "ferretdb")
        (self.home / "data").mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.home / "data", "nobody", "nogroup")
        self.start()
        with self.client() as client:
            for name, mechanisms in SCRAM.items():
                command = {"createUser": f"{READER}-{name}", "pwd": PASSWORD, "roles": [], "mechanisms": mechanisms}
                client.hpfeeds.command(command)

    def start(self) -> None:
        """Start it, with what it had."""
        flags = {
            "handler": "sqlite",
            "sqlite-url": f"file:{self.home}/data/",
            "state-dir": str(self.home),
            "listen-addr": f"127.0.0.1:{self.port}",
            "debug-addr": "-",
            "telemetry": "disable",
            "setup-database": "admin",
            "setup-username": ROOT,
            "setup-password": ROOT_PASSWORD,
        }
        command = [self._program, "--test-enable-new-auth", *(f"--{key}={value}" for key, value in flags.items())]
        self.run(command, self._answers)

    def uri(self, user: str = "both", options: str = "", password: str = PASSWORD) -> str:
        """Give what a broker is told."""
        from urllib.parse import quote_plus

        return f"mongodb://{READER}-{user}:{quote_plus(password)}@127.0.0.1:{self.port}/hpfeeds{options}"

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Give a client with all rights."""
        import pymongo

        address = {"host": "127.0.0.1", "port": self.port, "serverSelectionTimeoutMS": 2000}
        client: Any = pymongo.MongoClient(**address, username=ROOT, password=ROOT_PASSWORD, authSource="admin")
        with client:
            yield client

    def _answers(self) -> None:
        with self.client() as client:
            client.admin.command("ping")


@pytest.fixture(scope="module")
def ferretdb() -> Iterator[FerretDB]:
    """Run the server for the tests of one module."""
    if find_spec("txmongo") is None:
        missing("txmongo is not installed")
    running = FerretDB()
    yield running
    running.remove()
