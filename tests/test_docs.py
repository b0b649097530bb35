"""The documentation is true: its commands are run, its programs too, its links lead somewhere.

What a page shows in ``sh`` blocks is done in its order, in an empty directory with an empty home.  Three things are
done otherwise than a reader does them:

* A broker listens on ports that the system chooses: ``make run`` is ``python -m brokerkit run`` with port 0, and the
  usual addresses in later commands are replaced by the ones that it logs.
* ``make test`` and ``pip install`` are not run; it is only seen whether there is such a thing in the Makefile.
* ``curl`` is done by urllib, since not every machine has it.

A command that listens stays in the background.  Each line of a ``text`` block must be printed by something that the
page has started.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from itertools import pairwise
from pathlib import Path
from threading import Condition, Thread
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

import brokerkit.session
from brokerkit.checkers.users_json import parse
from brokerkit.config import structure
from brokerkit.metrics import Numbers
from brokerkit.plugin import protocols
from brokerkit.testing import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGES.md", *sorted((ROOT / "docs").rglob("*.md"))]
PATIENCE = 15  # seconds for any one thing to happen
USUAL = {"nats": "127.0.0.1:4222", "hpfeeds": "127.0.0.1:10000", "metrics": "127.0.0.1:9431"}
ANY = "tcp:port=0:interface=127.0.0.1"
MAKE_RUN = f"brokerkit run --nats {ANY} --hpfeeds {ANY} --exporter 127.0.0.1:0"


class Block(NamedTuple):
    """A fenced block: its language, its text, and the file that the words before it want it to be put into."""

    language: str
    text: str
    file: str


def blocks(page: Path) -> Iterator[Block]:
    """Give the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        before = text[: found.start()].rstrip().rpartition("\n\n")[2]
        file = re.search(r"into\s+`([\w.]+)`:\Z", before)
        yield Block(found[1], found[2], file[1] if file else "")


def name(page: Path) -> str:
    """Give what a test is called by."""
    return str(page.relative_to(ROOT))


class Reader:
    """Somebody who does what a page says, and sees all that is printed."""

    def __init__(self, directory: Path) -> None:
        """Sit down in an empty directory."""
        self.directory = directory
        kept = {key: value for key, value in os.environ.items() if key not in {"XDG_DATA_HOME", "STATE_DIRECTORY"}}
        path = os.pathsep.join(os.path.abspath(part) for part in kept.get("PYTHONPATH", "").split(os.pathsep) if part)  # noqa: PTH100
        home = {"HOME": str(directory), "BROKERKIT_DATA_DIR": str(directory / "data"), "PYTHONUNBUFFERED": "1"}
        self.environment = {**kept, **home, "PYTHONPATH": path}
        self.addresses: dict[str, str] = {}
        self.lines: list[str] = []
        self._changed = Condition()
        self._programs: list[tuple[subprocess.Popen[str], Thread]] = []

    def put(self, block: Block) -> None:
        """Write a file, with ports that are free."""
        text = re.sub(r"port=\d+", "port=0", block.text)
        (self.directory / block.file).write_text(self._here(text.replace(USUAL["metrics"], "127.0.0.1:0")))

    def do(self, command: str) -> None:
        """Do one command."""
        words = shlex.split(command)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        if command == "make run":
            self._broker(MAKE_RUN)
        elif " run " in command:
            self._broker(command)
        elif " sub " in command or "reader.py" in command:
            self._listener(command)
        elif words[:2] == ["pip", "install"]:
            assert " install " in (ROOT / "Makefile").read_text()
            assert (ROOT / words[2] / "setup.cfg").exists()
        elif words[0] == "curl":
            self._see(urlopen(self._here(words[-1]), timeout=PATIENCE).read().decode())  # noqa: S310
        elif command != "make test":
            self._start(command).wait(PATIENCE)

    def wait_for(self, line: str) -> None:
        """Wait until a line has been printed."""
        line = self._here(line)
        with self._changed:
            assert self._changed.wait_for(lambda: line in self.lines, PATIENCE), f"{line!r} not in {self.lines}"

    def was_told(self, command: str) -> None:
        """See that the broker has printed this command, whatever it calls its program."""
        words = self._here(command.removeprefix(".venv/bin/brokerkit "))
        with self._changed:
            assert self._changed.wait_for(lambda: any(line.endswith(words) for line in self.lines), PATIENCE), words

    def leave(self) -> None:
        """Stop everything."""
        programs, self._programs = self._programs, []
        for program, thread in programs:
            program.terminate()
            program.wait(PATIENCE)
            thread.join(PATIENCE)

    def _here(self, text: str) -> str:
        """Say it with this machine's Python and this broker's ports."""
        text = re.sub(r"(?<!\S)(\.venv/bin/)?brokerkit (?=run|sub|pub)", f"{sys.executable} -m brokerkit ", text)
        text = re.sub(r"(?<!\S)\.venv/bin/python", sys.executable, text)
        for protocol, address in self.addresses.items():
            port = USUAL[protocol].rpartition(":")[2]
            text = re.sub(rf"\b{port}\b", address.rpartition(":")[2], text)
        return text

    def _broker(self, command: str) -> None:
        self.leave()
        self.addresses = {}
        self.lines.clear()
        self._start(command)
        with self._changed:
            assert self._changed.wait_for(lambda: any(line.endswith("is ready") for line in self.lines), PATIENCE), (
                self.lines
            )
        for line in self.lines:
            if found := re.search(r"(\w+) listening on (\S+)$", line):
                self.addresses[found[1]] = found[2]

    def _listener(self, command: str) -> None:
        """Start something that subscribes, and wait until the broker has heard of it."""
        before = self._subscriptions()
        self._start(command)
        end = time.monotonic() + PATIENCE
        while self._subscriptions() == before:
            assert time.monotonic() < end, f"{command}: {self.lines}"
            time.sleep(0.02)

    def _subscriptions(self) -> str:
        page = urlopen(f"http://{self.addresses['metrics']}/metrics", timeout=PATIENCE).read().decode()
        return next(line for line in page.splitlines() if line.startswith("brokerkit_subscriptions "))

    def _start(self, command: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            ["sh", "-c", f"{'' if '|' in command else 'exec '}{self._here(command)}"],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        thread = Thread(target=self._hear, args=(program,), daemon=True)
        thread.start()
        self._programs.append((program, thread))
        return program

    def _hear(self, program: subprocess.Popen[str]) -> None:
        assert program.stdout is not None
        with program.stdout as output:
            for line in output:
                self._see(line)

    def _see(self, text: str) -> None:
        with self._changed:
            self.lines += text.splitlines()
            self._changed.notify_all()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Give a reader, who cleans up afterwards."""
    someone = Reader(tmp_path)
    try:
        yield someone
    finally:
        someone.leave()


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md"])
def test_commands(page: str, reader: Reader) -> None:
    """Every command does what the page says it does, and the README's are those that the broker prints."""
    for block in blocks(ROOT / page):
        if block.language == "python":
            pytest.importorskip("hpfeeds" if "hpfeeds" in block.text else "nats")
        if block.file:
            reader.put(block)
        for line in block.text.splitlines():
            if block.language == "sh":
                if page == "README.md" and "demo.hello" in line:
                    reader.was_told(line)
                reader.do(line)
            elif block.language == "text":
                reader.wait_for(line)


def test_the_readme_begins_with_two_commands() -> None:
    """Whoever opens the README sees how to run it and how to test it, before anything else."""
    commands = re.findall(r"^    (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands[:2] == ["make run", "make test"]


def _programs() -> Iterator[tuple[str, str]]:
    """Give each program of docs/embed.md with what it is said to print."""
    found = list(blocks(ROOT / "docs/embed.md"))
    for block, following in pairwise(found):
        if block.language == "python":
            assert following.language == "text"
            yield block.text, following.text


@pytest.mark.parametrize(("program", "printed"), list(_programs()))
def test_programs(program: str, printed: str, reader: Reader) -> None:
    """The programs that embed a broker run as they stand, and print what is said."""
    reader.put(Block("python", program, "embed.py"))
    result = subprocess.run(
        [sys.executable, "embed.py"],
        check=True,
        cwd=reader.directory,
        env=reader.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert result.stdout.endswith(printed)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links(page: Path) -> None:
    """Every link to a file leads to one, and every anchor to a heading."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if urlsplit(target).scheme:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{name(page)}: {target}"
        if anchor:
            assert anchor in _anchors(file), f"{name(page)}: {target}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_configurations(page: Path) -> None:
    """Every TOML block is a configuration (but for a pyproject.toml), and every JSON block a file of users."""
    for block in blocks(page):
        if block.language == "toml" and "[build-system]" not in block.text:
            structure(tomllib.loads(block.text), protocols(), name(page))
        elif block.language == "json":
            assert len(parse(block.text.encode(), name(page))) == len(json.loads(block.text))


def test_metrics() -> None:
    """docs/operations.md names every metric there is, and no page names one that there is not."""
    there = set()
    for family in Numbers(MemoryBroker().broker).collect():
        there.add(f"{family.name}_total" if family.type == "counter" else family.name)
    for page in PAGES:
        if page.name == "write-a-protocol.md":  # the package that it makes is called brokerkit_something
            continue
        said = set(re.findall(r"\bbrokerkit_[a-z_]+", page.read_text(encoding="utf-8")))
        assert not said - there, f"{name(page)}: {said - there}"
        if page.name == "operations.md":
            assert said == there


@pytest.mark.parametrize("protocol", ["hpfeeds", "nats"])
def test_error_texts(protocol: str) -> None:
    """The error texts in a protocol's page are those of its code; ``…`` stands for what varies."""
    page = (ROOT / "docs/protocols" / f"{protocol}.md").read_text(encoding="utf-8")
    section = re.search(r"^## Errors$(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert section is not None
    package = Path(brokerkit.session.__file__).parent / "protocols" / protocol
    source = "".join(file.read_text(encoding="utf-8") for file in package.glob("*.py"))
    texts = re.findall(r"^\| `([^`]+)` \|", section[1], re.MULTILINE)
    assert texts
    for part in (part.strip() for text in texts for part in text.split("…")):
        assert part in source, f"{part!r} is not in {package}"
