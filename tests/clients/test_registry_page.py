"""docs/registry.md is true: its configuration starts, what it writes is seen, its commands say what they should."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.pages import ROOT, blocks
from tests.registry_process import Process

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 20
PAGE = list(blocks((ROOT / "docs/registry.md").read_text(encoding="utf-8")))
LINES = [line for block in PAGE if block.language == "sh" for line in block.text.splitlines()]


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(home), "BROKERKIT_DATA_DIR": str(home / "data"), "PYTHONPATH": str(ROOT)}


def _words(line: str) -> list[str]:
    words = shlex.split(line)
    assert words[0] == "brokerkit"
    return [sys.executable, "-m", *words]


def test_try_it(tmp_path: Path) -> None:
    """The configuration of the page, its subscriber, and its ``curl`` line: the change is printed."""
    broker = Process(tmp_path, [], "")
    (tmp_path / "broker.toml").write_text(re.sub(r"port=\d+", "port=0", PAGE[0].text))
    broker.start()
    try:
        line = next(line for line in LINES if " sub " in line).replace("4222", str(broker.ports["nats"]))
        command = [*_words(line), "--count", "2", "--timeout", str(PATIENCE)]
        with subprocess.Popen(command, env=_environment(tmp_path), stdout=subprocess.PIPE) as watching:
            said = shlex.split(next(line for line in LINES if line.startswith("curl")))
            data, key = json.loads(said[said.index("-d") + 1]), said[said.index("-H") + 1].partition(": ")[2]
            api = broker.api()
            while watching.poll() is None:  # until it has subscribed, and has heard of two
                assert api.ask("PUT", said[-1].partition("20443")[2], data, {"X-Access-Key": key})[0] in {200, 201}
            api.close()
            assert watching.stdout is not None
            heard = [json.loads(one) for one in watching.stdout]
    finally:
        broker.stop()
    assert watching.returncode == 0
    assert {one["topic"] for one in heard} == {"registry.web-1"}


def test_commands(tmp_path: Path) -> None:
    """A key is made, its rights are changed, and both questions about them are answered."""
    said = [line for line in LINES if line.startswith(("brokerkit user", "brokerkit acl"))]
    assert len(said) == 5
    (tmp_path / "broker.toml").write_text(PAGE[0].text)
    for line in said:
        done = subprocess.run(
            _words(line),
            cwd=tmp_path,
            env=_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout} {done.stderr}"
        if " acl " in line:
            assert done.stdout.startswith("ALLOW"), done.stdout
            assert "registry_" in done.stdout


def test_make() -> None:
    """The targets that the page names are in the Makefile, and take what is given to them."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in LINES:
        if line.startswith("make "):
            target, setting = line.split()[1:3]
            assert re.search(rf"^{target}:", makefile, re.MULTILINE)
            assert f"$({setting.partition('=')[0]})" in makefile
