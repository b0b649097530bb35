"""A reader of the documentation, who does what a page shows, and sees what that prints.

What a page shows in ``sh`` blocks is done in its order, in an empty directory with an empty home.  Some things are
done otherwise than people do them:

* A broker listens on ports that the system chooses: ``make run`` is ``python -m brokerkit run`` with port 0, and the
  usual addresses in later commands are replaced by the ones that it logs.
* ``make test`` and ``pip install`` are not run; it is only seen whether there is such a thing in the Makefile.
* ``curl`` is done by urllib, since not every machine has it.

A command that listens stays in the background.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from threading import Condition, Thread
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PATIENCE = 15  # seconds for any one thing to happen
USUAL = {"nats": "127.0.0.1:4222", "hpfeeds": "127.0.0.1:10000", "metrics": "127.0.0.1:9431"}
ANY = "tcp:port=0:interface=127.0.0.1"
LISTEN = f"--nats {ANY} --hpfeeds {ANY} --exporter 127.0.0.1:0"
MAKE_RUN = f"brokerkit run {LISTEN}"


class Block(NamedTuple):
    """A fenced block: its language, its text, and the file that the words before it want it to be put into."""

    language: str
    text: str
    file: str


def blocks(text: str) -> Iterator[Block]:
    """Give the fenced blocks of a page, or of a part of one."""
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        before = text[: found.start()].rstrip().rpartition("\n\n")[2]
        file = re.search(r"into\s+`([\w.]+)`:\Z", before)
        yield Block(found[1], found[2], file[1] if file else "")


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
        text = re.sub(r"port=\d+(:interface=127\.0\.0\.1)?", "port=0:interface=127.0.0.1", block.text)
        (self.directory / block.file).write_text(self._here(text.replace(USUAL["metrics"], "127.0.0.1:0")))

    def do(self, command: str) -> None:
        """Do one command."""
        words = shlex.split(command)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        if command == "make run":
            self._broker(MAKE_RUN)
        elif " run " in f"{command} ":
            self._broker(command if "--config" in command else f"{command} {LISTEN}")
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
        text = re.sub(
            r"(?<!\S)(\.venv/bin/)?brokerkit (?=run|sub|pub|user|auth|acl)", f"{sys.executable} -m brokerkit ", text
        )
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
