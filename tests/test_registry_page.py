"""docs/registry-api.md is true: every request that it shows does what is said."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.pages import ROOT, blocks
from tests.protocols.bpbroker.v1_world import World

if TYPE_CHECKING:
    from tests.talk import Reply

PAGE = (ROOT / "docs/registry-api.md").read_text(encoding="utf-8")
REQUESTS = [line for block in blocks(PAGE) for line in block.text.splitlines() if line.startswith("curl ")]


@pytest.fixture
def world() -> World:
    """Give a registry and its API."""
    made = World()
    made.health.startService()
    return made


def _do(world: World, line: str) -> Reply:
    words = iter(shlex.split(line)[1:])
    method, body, headers, url = "", None, {}, ""
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-d":
            body = next(words).encode()
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word not in {"-k", "-N"}:
            url = word
    parts = urlsplit(url)
    assert parts.netloc == "127.0.0.1:20443"
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return world.line().ask(method or ("GET" if body is None else "POST"), target, body, headers)


def test_every_request(world: World) -> None:
    """In the order of the page, each one is answered with what is wanted."""
    assert len(REQUESTS) > 20
    for line in REQUESTS:
        reply = _do(world, line)
        assert 200 <= reply.status < 300, f"{line}: {reply.status} {reply.body!r}"


def test_what_else_is_said(world: World) -> None:
    """The paths in the text are routes, and the statuses in the table are those of the document."""
    document = world.ask("GET", "/v1/openapi.json").json
    routes = [re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + r"\Z") for path in document["paths"]]
    for path in re.findall(r"(?:GET|PUT|POST|DELETE) (/[\w/.-]+)", PAGE):
        assert any(route.match(path) for route in routes), path
    said = {int(number) for row in re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE) for number in row.split(",")}
    answers = {
        int(status)
        for methods in document["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
        if int(status) >= 400
    }
    assert answers <= said, answers - said


def test_limits_that_are_said(world: World) -> None:
    """The numbers of the page are those of the code."""
    limits = World().registry.limits
    assert (limits.name, limits.value, limits.operations, limits.entries) == (1024, 1 << 20, 256, 1_000_000)
    assert (limits.total, limits.history, limits.history_age) == (512 << 20, 10_000, 7 * 86400)
    assert world.registry.backup_keep == 24
    assert world.registry.backup_every == 3600
    assert Path(ROOT / "docs/registry.md").exists()
