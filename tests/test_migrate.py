"""docs/migrate-hpfeeds.md is true: the tests that it names exist, and none of the original's defects is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest
from twisted.internet.task import Clock

from brokerkit.checkers.json_file import JsonUsers
from brokerkit.cli import main

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "migrate-hpfeeds.md").read_text(encoding="utf-8")
TEST = re.compile(r"`((?:tests|brokerkit)/[\w/]+\.py)::([\w:]+)`")
DEFECTS = 16


def defined(file: Path) -> set[str]:
    """Give the tests of a file, those of classes as ``Class::test``."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return found


@pytest.mark.parametrize(("file", "test"), sorted(set(TEST.findall(PAGE))))
def test_tests_exist(file: str, test: str) -> None:
    """A test that the page names is there."""
    assert test in defined(ROOT / file)


def test_every_defect_has_its_row() -> None:
    """The numbered defects are all there, once each, and each names a test."""
    rows = re.findall(r"^\| ([0-9]+) \|(.*)$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, DEFECTS + 1))
    for number, row in rows:
        assert TEST.search(row), number


def test_tests_of_defects_are_named() -> None:
    """A test that is called after a defect stands on the page."""
    named = {test.rpartition("::")[2] for _, test in TEST.findall(PAGE)}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for test in defined(file):
            name = test.rpartition("::")[2]
            assert not re.match(r"test_b[0-9]", name) or name in named, f"{file}: {name}"


def test_options_are_those_of_the_command() -> None:
    """Every option that the page lists is one of `brokerkit hpfeeds-broker`, and the other way round."""
    said = set(re.findall(r"^\| `(--[a-z]+)", PAGE, re.MULTILINE))
    command = main.get_command(click.Context(main), "hpfeeds-broker")
    assert command is not None
    there = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    assert said == there


def test_b14_other_files_are_not_looked_at(tmp_path: Path) -> None:
    """What is written beside users.json, or into a directory above it, is no reason to read it again."""
    place = tmp_path / "etc"
    place.mkdir()
    (place / "users.json").write_text("{}", encoding="utf-8")
    clock = Clock()
    users = JsonUsers(str(place / "users.json"), clock)
    users.startService()
    for second in range(10):
        for log in (place / "broker.log", tmp_path / "broker.log"):
            log.write_text(f"{second}\n", encoding="utf-8")
        clock.advance(1)
    assert (users.reloads, users.failures) == (0, 0)
    users.stopService()
    assert not clock.getDelayedCalls()
