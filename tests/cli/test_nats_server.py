"""``brokerkit nats-server`` as a program: what it says, the files that it writes, its signals and exit codes."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import nats
import pytest

from brokerkit.protocols.nats.info import VERSION
from tests.nats_program import BROKERKIT, ENDING, PATIENCE, Server, environment, run, wait_for

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = ("-a", "127.0.0.1", "-p", "-1")
SOON = 1.0  # seconds


def broker(place: Path, *words: str, **more: str) -> Server:
    """Give a server on loopback, at any port."""
    return Server(BROKERKIT, place, *LOOPBACK, *words, **more)


def greeting(port: int) -> dict[str, object]:
    """Connect, and give what INFO says."""
    with closing(socket.create_connection(("127.0.0.1", port), PATIENCE)) as connection:
        line = connection.makefile("rb").readline()
    found: dict[str, object] = json.loads(line.removeprefix(b"INFO "))
    return found


# -- without a server ---------------------------------------------------------------------------------------------


def test_version_and_help(tmp_path: Path) -> None:
    """The version is that which clients are told; the help names every flag."""
    done = run(BROKERKIT, tmp_path, "-v")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"nats-server: v{VERSION}\n", "")
    helped = run(BROKERKIT, tmp_path, "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    for word in ("--ports_file_dir", "--signal", "--lenient", "--tlscacert"):
        assert word in helped.stdout
    assert "tls {" in run(BROKERKIT, tmp_path, "--help_tls").stdout


def test_a_file_is_tested(tmp_path: Path) -> None:
    """``-t`` says whether a file is good, with the digest that nats-server shows, and all that is wrong with it."""
    (tmp_path / "a.conf").write_text("port: 4", encoding="utf-8")
    done = run(BROKERKIT, tmp_path, "-t", "-c", "a.conf")
    digest = "c20215432530556cf1fb2c4a2eb26e78e23b9c0daf9ae2032460d5e9cb7be2c7"
    assert done.stderr == f"nats-server: configuration file a.conf is valid (sha256:{digest})\n"
    assert done.returncode == 0
    (tmp_path / "a.conf").write_text("port: x\ncluster {}\n", encoding="utf-8")
    done = run(BROKERKIT, tmp_path, "-t", "-c", "a.conf")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("nats-server: a.conf:1:7: found a text, expected a whole number\na.conf:2:1: ")


def test_a_file_that_is_not_supported(tmp_path: Path) -> None:
    """Leniently it is a warning, by the flag or by the environment."""
    (tmp_path / "a.conf").write_text("port: 4\njetstream: true", encoding="utf-8")
    assert run(BROKERKIT, tmp_path, "-t", "-c", "a.conf").returncode == 1
    for words, more in ((["--lenient"], {}), ([], {"BROKERKIT_LENIENT": "1"})):
        done = run(BROKERKIT, tmp_path, "-t", "-c", "a.conf", *words, **more)
        assert done.returncode == 0
        assert 'warning: a.conf:2:1: "jetstream"' in done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["-t"], "nats-server: must specify [-c, --config] option"),
        (["-c", "missing.conf"], "nats-server: missing.conf: cannot be read: No such file or directory\n"),
        (["--foo"], "flag provided but not defined: -foo\n"),
        (["-p"], "flag needs an argument: -p\n"),
        (["frobnicate"], 'nats-server: unrecognized command: "frobnicate"\n'),
        (["--signal", "foo"], 'nats-server: unknown signal "foo"'),
        (["-l", "/nonexistent/a.log"], "nats-server: error opening log file: /nonexistent/a.log: No such file"),
        (["-a", "nowhere.invalid"], "nats-server: nowhere.invalid: no address is known for this host\n"),
    ],
)
def test_what_cannot_work(tmp_path: Path, words: list[str], text: str) -> None:
    """It is said on standard error, with exit code 1, and nothing is left behind."""
    done = run(BROKERKIT, tmp_path, *words)
    assert done.returncode == 1
    assert done.stderr.startswith(text)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_port_in_use(tmp_path: Path) -> None:
    """It is said in the log, as fatal, and no file says that it runs."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        done = run(BROKERKIT, tmp_path, "-a", "127.0.0.1", "-p", port, "-P", "a.pid", "--ports_file_dir", ".")
    assert done.returncode == 1
    assert f"[FTL] port {port} on 127.0.0.1 is in use" in done.stderr
    assert not list(tmp_path.iterdir())


# -- a server that runs -------------------------------------------------------------------------------------------


def test_what_it_says(tmp_path: Path) -> None:
    """The lines that scripts wait for are there, in nats-server's form and order, and true."""
    (tmp_path / "a.conf").write_text(
        "websocket { host: 127.0.0.1, port: -1, no_tls: true }\nhttp: '127.0.0.1:-1'", encoding="utf-8"
    )
    with broker(tmp_path, "-c", "a.conf", "--name", "me", "-js") as server:
        said = server.said()
        assert server.end() == 0
    assert said[0] == ("INF", "Starting nats-server")
    texts = [text for _, text in said]
    order = [
        "Using configuration file: a.conf (sha256:",
        "-js: ",
        "Starting http monitor on 127.0.0.1:",
        "Listening for websocket clients on ws://127.0.0.1:",
        "Listening for client connections on 127.0.0.1:",
        "Server is ready",
    ]
    places = [next(i for i, text in enumerate(texts) if text.startswith(words)) for words in order]
    assert places == sorted(places)
    assert [text for _, text in server.said()][-3:] == ENDING


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR2])
def test_it_stops(tmp_path: Path, number: int) -> None:
    """Every signal that stops it does so in good order: exit code 0, no ports file; the pid file stays, as there."""
    with broker(tmp_path, "-P", "a.pid", "--ports_file_dir", ".") as server:
        assert (tmp_path / "a.pid").read_text(encoding="ascii") == str(server.pid)
        greeting(server.port)
        assert server.end(number) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.pid"]
    assert server.said()[-1] == ("INF", "Server Exiting..")


def test_an_interrupt_where_a_shell_ignores_it(tmp_path: Path) -> None:
    """A shell starts what runs in the background with SIGINT ignored; it stops by it all the same."""
    line = 'trap "" INT; exec "$0" "$@"'
    with Server(("sh", "-c", line, *BROKERKIT), tmp_path, *LOOPBACK) as server:
        assert server.end(signal.SIGINT) == 0


def test_ports_file(tmp_path: Path) -> None:
    """It names every listener by a URL that leads there."""
    (tmp_path / "a.conf").write_text("websocket { port: -1, no_tls: true, host: 127.0.0.1 }", encoding="utf-8")
    words = ["-p", "-1", "-m", "-1", "--ports_file_dir", ".", "-c", "a.conf"]
    with Server(BROKERKIT, tmp_path, *words) as server:
        found = json.loads((tmp_path / f"nats-server_{server.pid}.ports").read_text(encoding="ascii"))
        assert found["nats"] == [f"nats://127.0.0.1:{server.port}"]
        assert sorted(found) == ["monitoring", "nats", "websocket"]
        assert found["websocket"][0].startswith("ws://127.0.0.1:")
        assert found["monitoring"][0].startswith("http://127.0.0.1:")


def test_a_ports_file_that_cannot_be_written(tmp_path: Path) -> None:
    """It is said, and the server runs, as nats-server does."""
    with broker(tmp_path, "--ports_file_dir", "/nonexistent") as server:
        assert any(level == "ERR" and "/nonexistent" in text for level, text in server.said())
        greeting(server.port)


def test_a_pid_file_that_cannot_be_written(tmp_path: Path) -> None:
    """Then it does not run, as nats-server does not."""
    done = run(BROKERKIT, tmp_path, *LOOPBACK, "-P", "/nonexistent/a.pid")
    assert done.returncode == 1
    assert "[FTL] /nonexistent/a.pid: cannot be written" in done.stderr


def test_signals_by_the_command(tmp_path: Path) -> None:
    """``--signal`` reaches a server by its pid file and by its process id."""
    (tmp_path / "a.conf").write_text("max_payload: 1k", encoding="utf-8")
    with broker(tmp_path, "-c", "a.conf", "-P", "a.pid") as server:
        (tmp_path / "a.conf").write_text("max_payload: 2k", encoding="utf-8")
        assert run(BROKERKIT, tmp_path, "--signal", "reload=a.pid").returncode == 0
        assert "Reloaded: max_payload" in server.until("Reloaded: ")
        server.until("Reloaded server configuration (sha256:")
        assert greeting(server.port)["max_payload"] == 2000
        (tmp_path / "a.conf").write_text("max_payload: x", encoding="utf-8")
        assert run(BROKERKIT, tmp_path, "-sl", f"reload={server.pid}").returncode == 0
        line = server.until("Failed to reload")
        assert "[ERR] Failed to reload server configuration: a.conf:1:14: found a text" in line
        assert run(BROKERKIT, tmp_path, f"-sl=quit={server.pid}").returncode == 0
        assert server.process.wait(PATIENCE) == 0


def test_a_log_file(tmp_path: Path) -> None:
    """The log goes to the file, which is opened anew on SIGUSR1; standard error stays empty."""
    log = tmp_path / "a.log"
    with broker(tmp_path, "-l", "a.log", "-P", "a.pid", log=log) as server:
        wait_for(lambda: log.exists() and "Server is ready" in log.read_text(encoding="utf-8"))
        log.rename(tmp_path / "b.log")
        server.tell(signal.SIGUSR1)
        wait_for(lambda: log.exists() and "File log re-opened" in log.read_text(encoding="utf-8"))
        assert server.end() == 0
        assert server.lines == []
    assert "Server Exiting.." in log.read_text(encoding="utf-8")


def test_a_test_suite(tmp_path: Path) -> None:
    """What a suite does: start, wait for the line, connect with a client, publish, request, stop."""
    words = ["--user", "me", "--pass", "x"]
    with broker(tmp_path, *words) as server:
        asyncio.run(asyncio.wait_for(_use(f"nats://me:x@127.0.0.1:{server.port}"), PATIENCE))
        assert server.end() == 0


async def _use(url: str) -> None:
    client = await nats.connect(url, max_reconnect_attempts=0)

    async def answer(message: nats.aio.msg.Msg) -> None:
        await message.respond(b"pong")

    await client.subscribe("ping", cb=answer)
    assert (await client.request("ping", b"", timeout=PATIENCE)).data == b"pong"
    await client.drain()


def test_it_is_up_soon(tmp_path: Path) -> None:
    """From its start to its ports file it takes less than a second of the processor, imports and all."""
    more = environment(PYTHONPYCACHEPREFIX=str(tmp_path / "cache"))
    more.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [*BROKERKIT, *LOOPBACK, "-P", "a.pid"]
    spent = []
    for _ in range(3):  # the first one compiles
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen(command, cwd=tmp_path, env=more, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        assert any("Server is ready" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < SOON, spent


def test_nothing_heavy_is_loaded(tmp_path: Path) -> None:
    """What only other commands need is not imported on the way to a server."""
    names = ["rich", "prometheus_client", "twisted.web.server", "sqlite3", "twisted.scripts.twistd", "wsproto"]
    program = (
        "import sys, brokerkit.cli.nats_program as p; from brokerkit.cli.nats_flags import read;"
        "from brokerkit.cli.nats_server import server_of; from twisted.internet import reactor;"
        "s = server_of(read(['-p', '-1'])); p.Program(s, lambda: s, reactor);"
        f"print([n for n in {names} if n in sys.modules])"
    )
    done = run([sys.executable], tmp_path, "-c", program)
    assert (done.stdout, done.stderr) == ("[]\n", "")
