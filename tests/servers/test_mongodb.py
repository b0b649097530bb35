"""The source ``mongodb``, with a real server, a broker as an operator starts it, and clients that others wrote."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hpfeeds.asyncio import ClientSession

from tests.clients.conftest import ROOT, TWISTD, Broker
from tests.servers.mongo import PASSWORD, FerretDB, ferretdb
from tests.servers.test_databases import (
    LATER,
    REVOKED_WITHIN,
    SECONDS,
    by_hpfeeds,
    by_nats,
    hpfeeds_verdict,
    nats_verdict,
    run,
    until_let_in,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ferretdb"]  # a fixture

_numbers = itertools.count()


def insert(server: FerretDB, secret: str = "hush", **fields: Any) -> str:
    """Add a user, as the documentation has it; give the name."""
    name = f"probe{next(_numbers)}"
    document = {"identifier": name, "secret": secret, "publish": ["chan", "back"], "subscribe": ["chan", "back"]}
    with server.client() as client:
        client.hpfeeds.auth_key.insert_one(document | fields)
    return name


@contextmanager
def broker_of(home: Path, *flags: str) -> Iterator[Broker]:
    """Run a broker with these flags."""
    running = Broker(home, flags)
    running.start()
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def broker(ferretdb: FerretDB, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Run a broker with that server."""
    with broker_of(tmp_path_factory.mktemp("broker"), "--auth", ferretdb.uri()) as running:
        yield running


@pytest.mark.parametrize(
    ("user", "options", "switches"),
    [
        ("sha1", "", False),
        ("both", "", False),
        ("sha256", "", True),
        ("sha1", "?authMechanism=SCRAM-SHA-1", False),
        ("both", "?authMechanism=SCRAM-SHA-1", False),
        ("both", "?authMechanism=SCRAM-SHA-256", False),
        ("sha256", "?authMechanism=SCRAM-SHA-256&authSource=hpfeeds", False),
    ],
)
def test_both_clients(ferretdb: FerretDB, tmp_path: Path, user: str, options: str, switches: bool) -> None:
    """By each mechanism and each way, said or found out: one document, two protocols, each client hears the other."""
    name = insert(ferretdb)

    async def talk(broker: Broker) -> None:
        async with by_nats(broker, name) as client, by_hpfeeds(broker, name, "back") as session:
            heard = await client.subscribe("chan")
            await client.flush()
            session.publish("chan", b"by hpfeeds")
            assert (await heard.next_msg(SECONDS)).data == b"by hpfeeds"
            await client.publish("back", b"by NATS")
            assert await asyncio.wait_for(session.read(), SECONDS) == (name, "back", b"by NATS")

    with broker_of(tmp_path, "--auth", ferretdb.uri(user, options)) as broker:
        run(talk(broker))
        assert ("asked by pymongo from now on" in broker.output()) == switches
        assert PASSWORD not in broker.output()


def test_documented_example(ferretdb: FerretDB, broker: Broker) -> None:
    """What the documentation says to the shell is right, when a driver says it: the user of the example is in."""
    import yaml  # the shell's objects are YAML's too, as long as they have no functions in them

    section = (ROOT / "docs/users.md").read_text(encoding="utf-8").partition("\n## mongodb\n")[2]
    said = section.partition("```js\n")[2].partition("```")[0]
    calls = re.findall(r"^db\.auth_key\.(\w+)\((.+)\)$", said, re.MULTILINE)
    assert [name for name, _ in calls] == ["createIndex", "insertOne"]
    (keys, options), (document,) = (yaml.safe_load(f"[{arguments}]") for _, arguments in calls)
    with ferretdb.client() as client:
        client.hpfeeds.auth_key.create_index(list(keys.items()), **options)
        client.hpfeeds.auth_key.insert_one(document)
    name, secret, channel = document["identifier"], document["secret"], document["publish"][0]

    async def talk() -> None:
        async with by_nats(broker, name, secret) as client:
            heard = await client.subscribe(channel)
            await client.flush()
            async with ClientSession("127.0.0.1", broker.ports["hpfeeds"], name, secret) as session:
                session.publish(channel, b"by hpfeeds")
                assert (await heard.next_msg(SECONDS)).data == b"by hpfeeds"

    run(talk())
    assert hpfeeds_verdict(broker, name, "another") == f"Authentication failed for {name}"


def test_refused(ferretdb: FerretDB, broker: Broker) -> None:
    """A wrong secret, an unknown name and a document that makes no sense are refused; the log has no secret."""
    name = insert(ferretdb, secret="right secret")
    assert hpfeeds_verdict(broker, name, "wrong secret") == f"Authentication failed for {name}"
    assert hpfeeds_verdict(broker, "nobody") == "Authentication failed for nobody"
    assert b"-ERR 'Authorization Violation'" in nats_verdict(broker, name, "wrong secret")
    odd = insert(ferretdb, publish="chan")
    assert hpfeeds_verdict(broker, odd) == f"Authentication failed for {odd}"
    deadline = time.monotonic() + 5
    while "publish: found" not in broker.output():  # the line may come a moment after the verdict
        assert time.monotonic() < deadline, broker.output()
        time.sleep(0.02)
    assert hpfeeds_verdict(broker, name, "right secret") == ""
    assert "secret" not in broker.output().replace("secret:", "")


def test_document_deleted(ferretdb: FerretDB, broker: Broker) -> None:
    """Whose document is deleted is told so, and closed, within five seconds; the others stay."""
    name, other = insert(ferretdb), insert(ferretdb)

    async def stay() -> None:
        closed = asyncio.Event()

        async def end() -> None:
            closed.set()

        async with by_nats(broker, name, closed_cb=end), by_nats(broker, other) as unharmed:
            with ferretdb.client() as client:
                client.hpfeeds.auth_key.delete_one({"identifier": name})
            await asyncio.wait_for(closed.wait(), REVOKED_WITHIN)
            await unharmed.flush()

    run(stay())
    assert hpfeeds_verdict(broker, name) == f"Authentication failed for {name}"


@pytest.mark.parametrize("options", ["?authMechanism=SCRAM-SHA-1", "?authMechanism=SCRAM-SHA-256"])
def test_outage(ferretdb: FerretDB, tmp_path: Path, options: str) -> None:
    """While the server is silent or gone, logins are told to try again and users stay; it ends by itself."""
    name = insert(ferretdb)

    async def stay(broker: Broker) -> None:
        async with by_nats(broker, name) as client:
            ferretdb.pause()
            try:
                await asyncio.to_thread(time.sleep, 5)
                assert await asyncio.to_thread(hpfeeds_verdict, broker, "somebody") == LATER
            finally:
                ferretdb.go_on()
            await client.flush()
            ferretdb.halt()
            assert await asyncio.to_thread(hpfeeds_verdict, broker, "another") == LATER
            await asyncio.to_thread(ferretdb.start)
            await client.flush()

    with broker_of(tmp_path, "--auth", ferretdb.uri(options=options)) as broker:
        run(stay(broker))
        until_let_in(broker, name)


def test_started_before_the_server(ferretdb: FerretDB, tmp_path: Path) -> None:
    """A broker starts while its database is not there, says so, and lets users in once it is."""
    name = insert(ferretdb)
    ferretdb.halt()
    try:
        with broker_of(tmp_path, "--auth", ferretdb.uri()) as broker:
            assert "cannot be asked yet" in broker.output()
            assert hpfeeds_verdict(broker, name) == LATER
            ferretdb.start()
            until_let_in(broker, name)
    finally:
        ferretdb.halt()
        ferretdb.start()


@pytest.mark.parametrize("options", ["", "?authMechanism=SCRAM-SHA-1", "?authMechanism=SCRAM-SHA-256"])
def test_wrong_password(ferretdb: FerretDB, tmp_path: Path, options: str) -> None:
    """A password that the server refuses ends the start, with one line that names the server and not the password."""
    uri = ferretdb.uri(options=options, password="not this one")
    done = subprocess.run(
        [TWISTD, "-n", "--pidfile=", "brokerkit", "--nats", "tcp:port=0:interface=127.0.0.1", "--auth", uri],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=3 * SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert f"brokerkit: mongodb://127.0.0.1:{ferretdb.port}/hpfeeds: Authentication failed" in done.stderr
    assert "not this one" not in done.stdout + done.stderr
    assert "not+this+one" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_auth_check(ferretdb: FerretDB) -> None:
    """The command that tries a source says where a user stands."""
    name = insert(ferretdb)
    command = [sys.executable, "-m", "brokerkit", "auth", "check", "--auth", ferretdb.uri(), "--user", name]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=3 * SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "collection auth_key, document " in done.stdout


def environment() -> dict[str, str]:
    """Give the environment in which this checkout is found."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}
