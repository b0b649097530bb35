"""docs/bpclient.md and docs/migrate-bpbroker.md are true: what they show is done, and prints what they say.

A registry listens on a port that the system chooses, in place of the usual one.  What stands in ``text`` is all that
the block before it prints; ``…`` stands for what varies.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
import pytest

from brokerkit.cli import main
from tests.pages import Block, blocks
from tests.test_program import PATIENCE, ROOT, Running, _environment

if TYPE_CHECKING:
    from pathlib import Path

PAGES = ["bpclient", "migrate-bpbroker"]


class Reader:
    """Somebody who does what a page shows."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        """Sit down in an empty directory."""
        self._place = place
        self._stack = stack
        self._port = "20443"
        self._variables: dict[str, str] = {}
        self._running: Running | None = None
        (place / "bin").mkdir()
        program = place / "bin" / "brokerkit"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m brokerkit "$@"\n')
        program.chmod(0o755)

    def do(self, block: Block) -> str:
        """Do what a block says, and give what that prints."""
        if block.language == "python":
            (self._place / block.file).write_text(block.text)
            return ""
        return "".join(self._line(line) for line in block.text.splitlines())

    def _line(self, line: str) -> str:
        line = line.replace("20443", self._port)
        if line.startswith("export "):
            self._variables |= dict(word.split("=", 1) for word in line.split()[1:])
            return ""
        if " start " in line:
            self._start(line)
            return ""
        if " discover " in line:
            line += f" --port {self._port}"
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self._place,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, (line, done)
        return done.stdout

    def _start(self, line: str) -> None:
        self._stop()
        process = subprocess.Popen(
            ["sh", "-c", f"exec {line} --port 0"],
            cwd=self._place,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._stack.callback(process.communicate)
        self._stack.callback(process.kill)
        self._running = Running(process)
        new = str(self._running.addresses["bpbroker"][1])
        self._variables = {name: value.replace(self._port, new) for name, value in self._variables.items()}
        self._port = new

    def _stop(self) -> None:
        if self._running is not None:
            self._running.process.send_signal(signal.SIGINT)
            assert self._running.process.wait(PATIENCE) == 0

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in _environment(self._place).items() if not name.startswith("BPBROKER")}
        path = f"{self._place / 'bin'}{os.pathsep}{kept['PATH']}"
        return {**kept, "PATH": path, "BPBROKER_HOME": str(self._place / "base"), **self._variables}


@pytest.mark.parametrize("page", PAGES)
def test_what_is_shown(tmp_path: Path, page: str) -> None:
    """Each command does what the page says, and prints what the page shows."""
    printed = ""
    with ExitStack() as stack:
        reader = Reader(tmp_path, stack)
        for block in blocks((ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")):
            if block.language == "text":
                pattern = ".*".join(map(re.escape, block.text.split("…")))
                assert re.fullmatch(pattern, printed), printed
            else:
                printed = reader.do(block)


@pytest.mark.parametrize(("page", "group"), [("migrate-bpbroker", "bpbroker"), ("bpclient", "bpclient")])
def test_every_command_is_named(page: str, group: str) -> None:
    """Each command is on the page, or on the client's."""
    text = "".join((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in {page, "bpclient"})
    command = main.get_command(click.Context(main), group)
    assert isinstance(command, click.Group)
    for name in command.commands:
        assert re.search(rf"\b{name}\b", text), name


def test_the_example_is_the_one_in_contrib() -> None:
    """The extension on the page does what the one in contrib does."""
    page = (ROOT / "docs" / "migrate-bpbroker.md").read_text(encoding="utf-8")
    (shown,) = [block.text for block in blocks(page) if block.language == "python"]
    assert "rh.data = json.dumps(rh.qs)" in shown
    assert "rh.data = json.dumps(rh.qs)" in (ROOT / "contrib/extensions/echo.py").read_text(encoding="utf-8")
