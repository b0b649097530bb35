"""Each example of ``docs/users.md`` is done as it stands there, from nothing, until its user is in.

What a section shows is done in its order, in an empty directory: files are written, commands are run and have to print
what the page says.  Then whoever the example is about logs in to the broker that it has started: a message crosses
from hpfeeds to NATS, and somebody else is refused.

What differs, beside what ``tests/pages.py`` says: ``brokerkit user``, ``auth`` and ``acl`` are run in this process;
``sqlite3`` is done by Python, since not every machine has it; and the directory is not ``/etc/brokerkit``.
The examples for PostgreSQL, MariaDB and MongoDB are done in ``tests/servers``.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import sqlite3
import ssl
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock
from urllib.parse import quote

import nats
import nats.errors
import pytest
from hpfeeds.asyncio import ClientSession

from tests.cli.commands import Done, invoke
from tests.pages import ROOT, Block, Reader, blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Visit = Callable[[str], "Operator"]

PAGE = (ROOT / "docs/users.md").read_text(encoding="utf-8")
SECONDS = 10
SECRET = "not this one"
# The seed to the public key of the page; NATS' own documentation shows both.
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
REFUSALS = {"hpfeeds": "Authentication failed for", "nats": "Authorization Violation"}


def section(heading: str) -> str:
    """Give what stands below a heading of the page."""
    found = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert found, heading
    return found


def steps(heading: str) -> Iterator[Block]:
    """Give the blocks of a section, each command as a block of its own."""
    for block in blocks(section(heading)):
        if block.language == "sh":
            for command in re.sub(r"\\\n\s*", "", block.text).splitlines():
                yield Block("sh", command, "")
        else:
            yield block


class Operator(Reader):
    """Somebody who does what a section says."""

    def __init__(self, directory: Path, heading: str) -> None:
        """Open the page at that heading; nothing is done yet."""
        super().__init__(directory)
        self.said = ""  # what the last command has printed, if it was run in this process
        self._steps = list(steps(heading))

    def follow(self, until: str = "") -> None:
        """Do what comes next, up to the step that has these words in it, or all that is left."""
        while self._steps and not (until and until in self._steps[0].text):
            self._take(self._steps.pop(0))
        assert self._steps or not until, f"the page does not say {until!r}"

    def do(self, command: str) -> None:
        """Do one command."""
        words = shlex.split(command)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.environment[name] = value
        elif words[0] == "sqlite3":
            with closing(sqlite3.connect(self.directory / words[1])) as database:
                database.executescript((self.directory / words[3]).read_text())
        elif words[0] == "brokerkit" and words[1] in {"user", "auth", "acl"}:
            with mock.patch("brokerkit.cli.secret._at_terminal", return_value=True):
                done = self.run(*words[1:], stdin=f"{SECRET}\n{SECRET}\n")
            self.said = done.stdout
            assert done.returncode == (1 if self.said.startswith("DENY") else 0), f"{command}: {done}"
        else:
            self.said = ""
            super().do(command)

    def run(self, *words: str, stdin: str = "") -> Done:
        """Run ``brokerkit`` here."""
        return invoke(self.directory, self.environment, *words, stdin=stdin)

    def port(self, protocol: str) -> int:
        """Say where the broker of the section listens."""
        return int(self.addresses[protocol].rpartition(":")[2])

    def is_refused(self, protocol: str, name: str, secret: str) -> None:
        """See that somebody is not let in."""
        server = f"{protocol}://{quote(name)}:{quote(secret)}@127.0.0.1:{self.port(protocol)}"
        done = self.run("pub", "--server", server, "some.topic", "hello")
        assert (done.returncode, REFUSALS[protocol] in done.stderr) == (1, True), done

    def _take(self, step: Block) -> None:
        if step.file:
            self.put(step)
        elif step.language == "sh":
            self.do(step.text)
        elif step.language == "text" and not self.said:
            for line in step.text.splitlines():
                self.wait_for(line)
        elif step.language == "text":
            shown = step.text.replace("/etc/brokerkit", str(self.directory))
            assert [line.rstrip() for line in self.said.strip("\n").splitlines()] == shown.splitlines()


@pytest.fixture
def visit(tmp_path: Path) -> Iterator[Visit]:
    """Give what opens the page at a heading; all that is started there is stopped afterwards."""
    there: list[Operator] = []

    def start(heading: str) -> Operator:
        there.append(Operator(tmp_path, heading))
        return there[-1]

    try:
        yield start
    finally:
        for each in there:
            each.leave()


async def by_nats(operator: Operator, scheme: str = "nats", **options: Any) -> Any:
    """Connect the NATS client for Python."""
    url = f"{scheme}://127.0.0.1:{operator.port('nats')}"
    return await nats.connect(url, allow_reconnect=False, connect_timeout=SECONDS, **options)


async def crosses(operator: Operator, topic: str, name: str, secret: str, **listener: Any) -> None:
    """See that what one publishes in hpfeeds, the other hears in NATS."""
    client = await by_nats(operator, **listener)
    heard = await client.subscribe(topic)
    await client.flush()
    async with ClientSession("127.0.0.1", operator.port("hpfeeds"), name, secret) as session:
        session.publish(topic, b"hello")
        assert (await heard.next_msg(SECONDS)).data == b"hello"
    await client.close()


async def hears_itself(operator: Operator, topic: str, **options: Any) -> None:
    """See that a client of NATS hears what it publishes."""
    client = await by_nats(operator, **options)
    heard = await client.subscribe(topic)
    await client.publish(topic, b"hello")
    assert (await heard.next_msg(SECONDS)).data == b"hello"
    await client.close()


async def is_sent_away(operator: Operator, name: str, secret: str, until: str = "") -> None:
    """See that a client of NATS is hung up on by what the page does next."""
    closed = asyncio.Event()

    async def close() -> None:
        closed.set()

    client = await by_nats(operator, user=name, password=secret, closed_cb=close)
    operator.follow(until)
    await asyncio.wait_for(closed.wait(), SECONDS)
    assert client.is_closed


def run(work: Any) -> None:
    """Run a coroutine, within a time limit."""
    asyncio.run(asyncio.wait_for(work, 3 * SECONDS))


class Example(NamedTuple):
    """Who publishes in hpfeeds and who listens by NATS, after a section's commands have been done."""

    topic: str
    publisher: tuple[str, str]
    listener: dict[str, str]


SENSOR = "sensor1", SECRET
BOTH = {"user": "sensor1", "password": SECRET}
EXAMPLES = {
    "Users in the configuration": Example("cowrie.sessions", SENSOR, {"nkeys_seed_str": SEED}),
    "users.json": Example("cowrie.sessions", SENSOR, {"user": "analysis", "password": "nor this one"}),
    "env": Example("cowrie.sessions", SENSOR, {"user": "analyst", "password": "nor this one"}),
    "database": Example("cowrie.sessions", SENSOR, BOTH),
}


@pytest.mark.parametrize("heading", EXAMPLES)
def test_a_source(heading: str, visit: Visit) -> None:
    """The users of the example cross from hpfeeds to NATS; a wrong secret and another name are refused."""
    operator, example = visit(heading), EXAMPLES[heading]
    operator.follow()
    run(crosses(operator, example.topic, *example.publisher, **example.listener))
    for protocol in REFUSALS:
        operator.is_refused(protocol, "mallory", SECRET)
        operator.is_refused(protocol, "sensor1", "guessed")


def test_own_users(visit: Visit) -> None:
    """Users that are added are in, kicked ones are sent away, removed ones are out; each command of `user` is shown."""
    operator = visit("users, brokerkit's own")
    operator.follow(until="user list")
    analyst = operator.said.strip()
    operator.follow(until="user allow")
    run(crosses(operator, "cowrie.sessions", "sensor1", SECRET, user="analyst", password=analyst))
    operator.is_refused("nats", "mallory", SECRET)
    operator.follow(until="user kick")
    operator.is_refused("hpfeeds", "sensor1", SECRET)  # it has another one now
    changed = operator.said.strip()
    run(is_sent_away(operator, "sensor1", changed, until="user remove"))
    operator.follow()
    operator.is_refused("nats", "sensor1", changed)
    shown = set(re.findall(r"^brokerkit user (\w+)", PAGE, re.MULTILINE))
    assert shown == set(import_module("brokerkit.cli.user").user.commands)


def test_sqlite(visit: Visit) -> None:
    """A row that is added while the broker runs lets its user in, and when it is deleted the user is sent away."""
    operator = visit("sqlite")
    operator.follow(until="gone.sql")
    run(crosses(operator, "cowrie.sessions", *SENSOR, **BOTH))
    operator.is_refused("hpfeeds", "mallory", SECRET)
    run(is_sent_away(operator, *SENSOR))
    operator.is_refused("hpfeeds", *SENSOR)


def test_kastlex(visit: Visit) -> None:
    """The passwords of the page are those of its hashes, for NATS; hpfeeds cannot use a hash."""
    operator = visit("kastlex")
    operator.follow()
    run(hears_itself(operator, "kastlex", user="user1", password="user1"))
    operator.is_refused("nats", "user1", "admin")
    operator.is_refused("hpfeeds", "user1", "user1")


def test_anonymous(visit: Visit) -> None:
    """Anybody is in, and may do what the patterns say and nothing else."""
    operator = visit("anonymous")
    operator.follow()
    run(crosses(operator, "inbox.ann", "whoever", "whatever"))
    server = f"nats://127.0.0.1:{operator.port('nats')}"
    done = operator.run("pub", "--server", server, "news.today", "hello")
    assert (done.returncode, "Permissions Violation" in done.stderr) == (1, True)


@pytest.mark.skipif(not shutil.which("openssl"), reason="the page makes certificates with openssl")
def test_certificates(visit: Visit) -> None:
    """The certificate of the page logs its user in; without one, nobody gets as far as a login."""
    operator = visit("Client certificates")
    operator.follow()
    context = ssl.create_default_context(cafile=operator.directory / "broker.crt")

    async def refused() -> None:
        with pytest.raises((nats.errors.Error, OSError)):
            await by_nats(operator, "tls", tls=context)

    run(refused())
    context.load_cert_chain(operator.directory / "sensor1.crt", operator.directory / "sensor1.key")
    run(hears_itself(operator, "cowrie.sessions", scheme="tls", tls=context))


def test_nkeys(visit: Visit) -> None:
    """Who has the seed is in, and nobody by a password."""
    operator = visit("nkeys")
    operator.follow()
    run(hears_itself(operator, "cowrie.sessions", nkeys_seed_str=SEED))
    operator.is_refused("nats", "collector", SECRET)


ASKING = ["Who may do what: acl explain", "Trying a source: auth check"]


@pytest.mark.parametrize("heading", ASKING)
def test_asking(heading: str, visit: Visit) -> None:
    """What is asked of the file of users that stands further up is answered as the page says."""
    operator = visit(heading)
    for block in blocks(section("users.json")):
        if block.file:
            operator.put(block)
    operator.follow()


def test_no_example_is_left_out() -> None:
    """Each section with commands is tested here."""
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    others = {"users, brokerkit's own", "sqlite", "kastlex", "anonymous", "Client certificates", "nkeys"}
    with_commands = {each for each in headings if any(block.language == "sh" for block in blocks(section(each)))}
    assert with_commands == {*EXAMPLES, *ASKING, *others}
