"""``brokerkit nats-server`` beside the original: the same command line, and what scripts look at is the same."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from typing import TYPE_CHECKING

import nats
import pytest

from tests.nats_program import BROKERKIT, ENDING, PATIENCE, Server, run, wait_for
from tests.servers.nats import find
from tests.servers.programs import missing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LOOPBACK = ("-a", "127.0.0.1", "-p", "-1")


@pytest.fixture(scope="module")
def original() -> tuple[str, ...]:
    """Give the command of nats-server."""
    path = find()
    if path is None:
        missing("nats-server is not installed, or is too old")
    return (str(path),)


@pytest.fixture(params=["brokerkit", "nats-server"])
def command(request: pytest.FixtureRequest, original: tuple[str, ...]) -> Sequence[str]:
    """Give each of the two."""
    return BROKERKIT if request.param == "brokerkit" else original


def test_start_and_stop(command: Sequence[str], tmp_path: Path) -> None:
    """The lines, the ports file, the pid file and the exit code are those that test suites rely on."""
    words = [*LOOPBACK, "-m=-1", "--name", "me", "-P", "a.pid", "--ports_file_dir", str(tmp_path)]
    with Server(command, tmp_path, *words) as server:
        texts = [text for _, text in server.said()]
        assert texts[0] == "Starting nats-server"
        assert "  Name:     me" in texts
        assert texts[-2:] == [f"Listening for client connections on 127.0.0.1:{server.port}", "Server is ready"]
        assert any(re.fullmatch(r"Starting http monitor on 127\.0\.0\.1:\d+", text) for text in texts)
        ports = tmp_path / f"nats-server_{server.pid}.ports"
        wait_for(ports.exists)  # nats-server writes it behind its last line
        found = json.loads(ports.read_text(encoding="ascii"))
        assert found["nats"] == [f"nats://127.0.0.1:{server.port}"]
        assert len(found["monitoring"]) == 1
        assert (tmp_path / "a.pid").read_text(encoding="ascii") == str(server.pid)
        assert server.end(signal.SIGTERM) == 0
    assert [text for _, text in server.said()][-3:] == ENDING
    assert [path.name for path in tmp_path.iterdir()] == ["a.pid"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR2])
def test_other_ends(command: Sequence[str], tmp_path: Path, number: int) -> None:
    """An interrupt and the end of lame duck mode are exit code 0."""
    with Server(command, tmp_path, *LOOPBACK) as server:
        assert server.end(number) == 0
        assert ("INF", "Server Exiting..") in server.said()


def test_reload(command: Sequence[str], tmp_path: Path) -> None:
    """Users and limits that are others count, what cannot be is refused, a broken file changes nothing."""
    path = tmp_path / "a.conf"
    text = "listen: 127.0.0.1:-1\nauthorization { users: [{user: a, password: b}\n{user: c, password: %s}] }\n"
    path.write_text(text % "d", encoding="utf-8")
    with Server(command, tmp_path, "-c", "a.conf", "-P", "a.pid") as server:
        asyncio.run(asyncio.wait_for(_reload(server, path, text), PATIENCE))
        assert run(command, tmp_path, "--signal", f"term={tmp_path}/a.pid").returncode == 0
        assert server.process.wait(PATIENCE) == 0


def _write(server: Server, path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    server.tell(signal.SIGHUP)


async def _reload(server: Server, path: Path, text: str) -> None:
    url = f"nats://127.0.0.1:{server.port}"
    gone = asyncio.Event()

    async def closed() -> None:
        gone.set()

    stays = await nats.connect(url, user="a", password="b", max_reconnect_attempts=0)
    goes = await nats.connect(url, user="c", password="d", allow_reconnect=False, closed_cb=closed)
    _write(server, path, text % "e")
    assert "[INF]" in await asyncio.to_thread(server.until, "Reloaded server configuration")
    await gone.wait()
    assert goes.is_closed
    await stays.flush()
    for more in ("server_name: other\n", "foo: 1\n"):
        _write(server, path, text % "f" + more)
        assert "[ERR]" in await asyncio.to_thread(server.until, "Failed to reload server configuration")
    await stays.flush()
    again = await nats.connect(url, user="c", password="e", max_reconnect_attempts=0)
    for one in (stays, again):
        await one.close()


@pytest.mark.parametrize(
    "words",
    [
        ["-t", "-c", "good.conf"], ["-t", "-c", "bad.conf"], ["-t"], ["-v"], ["version"], ["frobnicate"],
        ["--signal", "foo"], ["-sl", "reload=/nonexistent"], ["-c", "missing.conf"], ["--tls"], ["-n", "a b"],
        ["-l", "/nonexistent/a.log"],
    ],
)  # fmt: skip
def test_exit_codes(original: tuple[str, ...], tmp_path: Path, words: list[str]) -> None:
    """What only asks, and what cannot start, ends with the same exit code, on the same stream."""
    (tmp_path / "good.conf").write_text("port: 4222\n", encoding="utf-8")
    (tmp_path / "bad.conf").write_text("port: 4222\nprot: 1\n", encoding="utf-8")
    ours, theirs = (run(command, tmp_path, *words) for command in (BROKERKIT, original))
    assert ours.returncode == theirs.returncode
    assert bool(ours.stdout) is bool(theirs.stdout)
    assert bool(ours.stderr) is bool(theirs.stderr)
    if words == ["-t", "-c", "good.conf"]:
        assert ours.stderr == theirs.stderr


def test_a_command_of_that_name(tmp_path: Path) -> None:
    """What ``brokerkit links`` makes is started like the original, found by name, and known by its process."""
    directory = tmp_path / "bin"
    directory.mkdir()
    assert run(BROKERKIT[:-1], tmp_path, "links", str(directory)).returncode == 0
    with Server((str(directory / "nats-server"),), tmp_path, *LOOPBACK, "--ports_file_dir=.") as server:
        assert (tmp_path / f"nats-server_{server.pid}.ports").exists()
        assert server.end() == 0
