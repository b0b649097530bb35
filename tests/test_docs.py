"""The documentation is true: its commands are run, its programs too, its links lead somewhere.

How a page's commands are run is in ``tests/pages.py``.  Each line of a ``text`` block must be printed by something that
the page has started.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

import brokerkit.session
from brokerkit.checkers.users_json import parse
from brokerkit.config import structure
from brokerkit.metrics import Numbers
from brokerkit.plugin import protocols
from brokerkit.testing import MemoryBroker
from tests.pages import PATIENCE, ROOT, Block, Reader, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = [ROOT / "README.md", ROOT / "CHANGES.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(page: Path) -> str:
    """Give what a test is called by."""
    return str(page.relative_to(ROOT))


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Give a reader, who cleans up afterwards."""
    someone = Reader(tmp_path)
    try:
        yield someone
    finally:
        someone.leave()


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md", "docs/tenants.md"])
def test_commands(page: str, reader: Reader) -> None:
    """Every command does what the page says it does, and the README's are those that the broker prints."""
    for block in blocks((ROOT / page).read_text(encoding="utf-8")):
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
    found = list(blocks((ROOT / "docs/embed.md").read_text(encoding="utf-8")))
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
    for block in blocks(page.read_text(encoding="utf-8")):
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
