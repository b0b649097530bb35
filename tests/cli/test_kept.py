"""``brokerkit produce``, ``consume`` and ``group`` against a broker in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.commands import Done, brokerkit
from tests.test_program import Running, command, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = """\
data_dir = "data"
[[users]]
name = "ann"
secret = "x"
publish = [">"]
subscribe = [">"]
topic_admin = ["made.>"]
[[keep]]
topics = "t.>"
"""


class World:
    """A broker that runs, and somebody who talks to it."""

    def __init__(self, place: Path, program: Running) -> None:
        """Take the directory that everything is in."""
        self.place = place
        self.url = "http://ann:x@{}:{}".format(*program.addresses["kafka"])

    def __call__(self, *words: str, stdin: str = "", **environment: str) -> Done:
        """Run a command."""
        return brokerkit(self.place, *words, stdin=stdin, **{"BROKERKIT_HTTP": self.url, **environment})

    def records(self, topic: str) -> list[dict[str, Any]]:
        """Give all records of a topic."""
        return [json.loads(line) for line in self("consume", topic, "--json").stdout.splitlines()]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run a broker."""
    place = tmp_path_factory.mktemp("kept")
    (place / "b.toml").write_text(CONFIG)
    (place / "b.toml").chmod(0o600)
    with running(place, command("run", "--config", "b.toml", "--kafka=tcp:port=0:interface=127.0.0.1")) as program:
        yield World(place, program)


def test_lines_come_out_as_they_went_in(world: World) -> None:
    """Each line is a record; what is printed is the same text."""
    text = "".join(f"line {i} \u00fc\n" for i in range(2500))
    sent = world("produce", "t.lines", stdin=text)
    assert (sent.returncode, sent.stderr) == (0, "t.lines: 2500 records\n")
    assert world("consume", "t.lines").stdout == text
    assert world("consume", "t.lines", "--from", "-1").stdout == "line 2499 \u00fc\n"
    assert world("consume", "t.lines", "-n", "2").stdout == "line 0 \u00fc\nline 1 \u00fc\n"


def test_a_value_with_key_and_headers(world: World) -> None:
    """What is said of a record is kept with it; lines may hold keys."""
    assert world("produce", "t.one", "value", "-k", "key", "-H", "a=b").returncode == 0
    assert world("produce", "t.one", "--separator", ":", stdin="k2:v2\n").returncode == 0
    first, second = world.records("t.one")
    assert (first["value"], first["key"], first["headers"]) == ("value", "key", [{"name": "a", "value": "b"}])
    assert (second["value"], second["key"]) == ("v2", "k2")
    assert world("produce", "t.one", "--separator", ":", stdin="none\n").returncode == 2


def test_a_topic_can_be_copied(world: World) -> None:
    """What is consumed as JSON can be produced elsewhere, and is the same."""
    world("produce", "t.from", "v", "-k", "k", "-H", "a=b")
    copy = world("consume", "t.from", "--json").stdout
    assert world("produce", "t.to", "--ndjson", stdin=copy).returncode == 0
    (was,), (now,) = world.records("t.from"), world.records("t.to")
    for name in ("value", "key", "headers", "timestamp"):
        assert now[name] == was[name]
    assert world("produce", "t.to", "--ndjson", stdin="{\n").returncode == 2


def test_a_group_goes_on_where_it_was(world: World) -> None:
    """What was printed is committed, and nothing more; it can be described, moved and deleted."""
    world("produce", "t.group", stdin="0\n1\n2\n3\n4\n")
    assert world("consume", "t.group", "-g", "g", "-n", "2").stdout == "0\n1\n"
    assert world("consume", "t.group", "-g", "g", "-n", "1").stdout == "2\n"
    assert "g\n" in world("group", "list").stdout
    shown = world("group", "describe", "g").stdout
    assert shown.startswith("g of ann: ")
    assert "lag 2" in shown
    assert shown.splitlines()[-1].split() == ["t.group", "0", "3", "5", "2", "-"]
    moved = world("group", "reset", "g", "--to", "1", "--dry-run", "--json")
    assert json.loads(moved.stdout)["offsets"] == [{"topic": "t.group", "partition": 0, "from": 3, "to": 1}]
    assert world("group", "reset", "g", "--shift", "-2").stdout.splitlines()[-1].split() == ["t.group", "0", "3", "1"]
    assert world("consume", "t.group", "-g", "g").stdout == "1\n2\n3\n4\n"
    assert world("group", "delete", "g").returncode == 0
    assert world("group", "describe", "g").returncode == 1


def test_exit_codes(world: World) -> None:
    """Refused, wrong, not reached and late are told apart, each with one line."""
    cases = [
        (1, world("consume", "none")),
        (1, world("produce", "none", "x")),
        (1, world("group", "list", BROKERKIT_HTTP=world.url.replace("ann:x", "ann:y"))),
        (2, world("produce", "t.x", "v", "--raw")),
        (2, world("group", "list", BROKERKIT_HTTP="ftp://x")),
        (3, world("produce", "t.x", "v", "--patience", "0.1", BROKERKIT_HTTP="http://127.0.0.1:1")),
        (3, world("group", "list", BROKERKIT_HTTP="")),
        (4, world("consume", "t.lines", "--from", "latest", "-n", "1", "--timeout", "0.2")),
    ]
    for expected, done in cases:
        assert done.returncode == expected, done
        assert done.stderr.strip()
        assert "Traceback" not in done.stderr


def test_a_secret_is_not_shown(world: World) -> None:
    """Neither a token nor a password stands in what is said of an error."""
    done = world(
        "group",
        "list",
        "--patience",
        "0.1",
        BROKERKIT_HTTP="http://ann:hush@127.0.0.1:1",
        BROKERKIT_TOKEN="quiet",
    )
    assert "hush" not in done.stderr + done.stdout
    assert "quiet" not in done.stderr + done.stdout


def test_a_raw_value_of_any_bytes(world: World) -> None:
    """All of the input is one value; a null prints nothing."""
    assert world("produce", "t.raw", "--raw", stdin="a\nb").returncode == 0
    assert world("consume", "t.raw", "--raw").stdout == "a\nb"


def on_a_terminal(world: World, *words: str) -> tuple[int, str]:
    """Run a command whose standard error is a terminal; give its exit code, and what was written there."""
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "brokerkit", *words],
        cwd=world.place,
        env={**os.environ, "BROKERKIT_HTTP": world.url, "TERM": "xterm", "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    with suppress(OSError):  # that is how it ends
        while data := os.read(ours, 65536):
            written += data
    os.close(ours)
    return program.wait(60), written.decode()


def test_a_bar_shows_how_far_it_is(world: World) -> None:
    """On a terminal, where it is long; it is gone at the end, and a short input has none."""
    (world.place / "long").write_text("x" * 99 + "\n" + ("y" * 99 + "\n") * 59_999)
    code, shown = on_a_terminal(world, "produce", "t.bar", "--file", "long")
    assert code == 0
    assert "6.0/6.0 MB" in shown
    assert "━" in shown
    assert shown.endswith("t.bar: 60000 records\r\n")
    assert "\x1b[2K" in shown.rpartition("t.bar")[0]  # the line is wiped
    (world.place / "short").write_text("x\n")
    assert on_a_terminal(world, "produce", "t.bar", "--file", "short") == (0, "t.bar: 1 records\r\n")


def test_a_bar_gives_way_to_what_went_wrong(world: World) -> None:
    """The line that says why stands alone."""
    (world.place / "wrong").write_text('{"value": 1}\n' * 100_000 + "{\n")
    code, shown = on_a_terminal(world, "produce", "t.wrong", "--ndjson", "--file", "wrong")
    assert code == 2
    assert "━" in shown
    assert shown.rstrip().splitlines()[-1].endswith("brokerkit: a line is no JSON: '{'")
