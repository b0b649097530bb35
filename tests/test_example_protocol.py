"""The example of a third-party protocol: what it promises as text, and that it works where it is installed.

It is installed as anybody's plugin would be: as a wheel beside brokerkit's wheel, in a virtual environment of its own.
Only what the two depend on is borrowed from the environment of these tests.
"""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
import threading
import venv
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "contrib" / "example_protocol"
GUIDE = ROOT / "docs" / "write-a-protocol.md"
PLUGIN = ["brokerkit_line/__init__.py", "brokerkit_line/wire.py", "brokerkit_line/session.py"]
PLUGIN = [*PLUGIN, "twisted/plugins/brokerkit_line_plugin.py"]
QUOTED = [*PLUGIN[1:], "brokerkit_line/caller.py", "tests/test_line.py", "pyproject.toml"]
SECONDS = 30  # for whatever is waited for

TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
WHERE = """
import brokerkit, brokerkit_line
from brokerkit.plugin import protocols
from twisted import plugins
assert set(protocols()) >= {"hpfeeds", "line", "nats"}, protocols()
for module in (brokerkit, brokerkit_line, plugins.brokerkit_plugins, plugins.brokerkit_line_plugin):
    print(module.__file__)
"""


# -- as text --------------------------------------------------------------------------------------------------------


def _docstrings(source: str) -> set[int]:
    """Give the numbers of the lines that docstrings take."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            found.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return found


def _lines_of_code(source: str) -> int:
    docstrings = _docstrings(source)
    lines = enumerate(map(str.strip, source.splitlines()), 1)
    return sum(1 for number, line in lines if line and not line.startswith("#") and number not in docstrings)


def test_it_is_short() -> None:
    """A whole protocol, without the client's side, takes fewer than 60 lines of code."""
    assert sum(_lines_of_code((EXAMPLE / name).read_text()) for name in PLUGIN) < 60


def test_the_guide_quotes_the_files() -> None:
    """What the guide shows of a file is the whole file, to the letter."""
    quotes = dict(re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL))
    assert quotes == {name: (EXAMPLE / name).read_text() for name in QUOTED}


def test_only_public_names() -> None:
    """The example uses nothing of brokerkit that begins with an underscore, and no protocol of brokerkit's own."""
    for path in (EXAMPLE / "brokerkit_line").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("brokerkit."):
                words = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                assert "protocols" not in words
                assert not [word for word in words if word.startswith("_")]


# -- installed ------------------------------------------------------------------------------------------------------


class Place:
    """A virtual environment with both wheels in it, and a folder to run programs in."""

    def __init__(self, folder: Path) -> None:
        """Build, make and install."""
        self.environment = folder / "environment"
        self.home = folder / "home"
        self.home.mkdir()
        venv.create(self.environment, with_pip=False)
        paths = {"base": str(self.environment), "platbase": str(self.environment)}
        self.packages = Path(sysconfig.get_path("purelib", "venv", paths))
        self.bin = Path(sysconfig.get_path("scripts", "venv", paths))
        self._pip("install", "--no-deps", "--no-index", *map(str, self._wheels(folder)))
        # A path file, as the last step: pip shall not see what is borrowed, and no path file in there is followed, so
        # that a checkout which is installed there in editable mode stays out of sight.
        borrowed = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
        (self.packages / "borrowed.pth").write_text("\n".join(borrowed))
        entry = {"owner": "", "secret": "s3cret", "pubchans": [], "subchans": [], "publish": [">"], "subscribe": [">"]}
        (self.home / "users.json").write_text(json.dumps({"ann": entry}))

    def _wheels(self, folder: Path) -> list[Path]:
        """Build the wheels, of copies: a build leaves traces where it is done."""
        here, there = folder / "brokerkit", folder / "example"
        here.mkdir()
        for name in ("brokerkit", "twisted"):
            copytree(ROOT / name, here / name, ignore=ignore_patterns("__pycache__", "dropin.cache"))
        for file in (*ROOT.glob("*.*"), ROOT / "LICENSE"):
            if file.is_file():
                (here / file.name).write_bytes(file.read_bytes())
        copytree(EXAMPLE, there, ignore=ignore_patterns("__pycache__", "dropin.cache", "build", "*.egg-info"))
        wheels = folder / "wheels"
        how = ["--no-build-isolation"] if _can_build() else []
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", *how, "--wheel-dir", str(wheels)]
        _done([*command, str(here), str(there)], BROKERKIT_PURE="1")  # to compile it would take a minute
        return list(wheels.iterdir())

    def _pip(self, *arguments: str) -> None:
        _done([sys.executable, "-m", "pip", "--quiet", "--python", str(self.python), *arguments])

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.bin / "python"

    def run(self, *command: str | Path) -> str:
        """Run a program to its end; give what it printed."""
        return _done([*map(str, command)], self.home)

    @contextmanager
    def broker(self) -> Iterator[dict[str, int]]:
        """Run a broker by twistd; give its ports by protocol, and stop it."""
        listeners = [word for name in ("line", "nats") for word in (f"--{name}", "tcp:port=0:interface=127.0.0.1")]
        flags = ["-n", "--pidfile=", "brokerkit", *listeners, "--auth", "json:users.json"]
        with subprocess.Popen(
            [self.python, "-c", TWISTD, *flags],
            cwd=self.home,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            late = threading.Timer(SECONDS, process.kill)
            late.start()
            try:
                yield _ports(process)
            finally:
                process.terminate()
                rest = process.communicate(timeout=SECONDS)[0]
                late.cancel()
            assert "Traceback" not in rest


def _ports(process: subprocess.Popen[str]) -> dict[str, int]:
    """Wait until the broker is ready; give its ports."""
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if "brokerkit ready" in line:
            return {name: int(port) for name, port in re.findall(r"(\w+) listening on \S+:(\d+)", said)}
    pytest.fail(f"the broker did not become ready; it said:\n{said}")


def _can_build() -> bool:
    """Say whether wheels can be built with what is installed; otherwise pip fetches setuptools for that."""
    try:
        return int(version("setuptools").partition(".")[0]) >= 77
    except PackageNotFoundError:
        return False


def _environment() -> dict[str, str]:
    """Give the environment variables without any that would let the checkout be found."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | {
        "PYTHONUNBUFFERED": "1"
    }


def _done(command: list[str], folder: Path | None = None, **said: str) -> str:
    """Run a program to its end, with more ``said`` by its environment; fail with its output if it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**_environment(), **said},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert not done.returncode, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Install both, once."""
    return Place(tmp_path_factory.mktemp("place"))


class Line:
    """A connection of raw bytes."""

    def __init__(self, port: int, hello: bytes = b"") -> None:
        """Connect and say the first words."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.say(hello)

    def say(self, data: bytes) -> None:
        """Send."""
        self._socket.sendall(data)

    def hear(self, size: int) -> bytes:
        """Receive so many bytes, or what there is when the broker hangs up."""
        data = b""
        while len(data) < size and (more := self._socket.recv(size - len(data))):
            data += more
        return data

    def until(self, end: bytes) -> bytes:
        """Receive up to some bytes."""
        data = b""
        while not data.endswith(end):
            more = self.hear(1)
            assert more, f"the broker hung up behind {data!r}"
            data += more
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def test_found_where_it_is_installed(place: Place) -> None:
    """Modules and plugins come from the environment's own packages, not from the checkout."""
    found = place.run(place.python, "-c", WHERE).split()
    assert len(found) == 4
    assert [path for path in found if not Path(path).is_relative_to(place.packages)] == []


def test_the_contract_where_it_is_installed(place: Place) -> None:
    """The example's own tests pass there."""
    copytree(EXAMPLE / "tests", place.home / "tests", ignore=ignore_patterns("__pycache__"))
    assert " passed" in place.run(place.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")


def test_messages_cross(place: Place) -> None:
    """Bytes published by the one protocol arrive by the other, both ways; ``brokerkit pub`` speaks it too."""
    with place.broker() as ports:
        nats = Line(
            ports["nats"], b'CONNECT {"verbose":false,"user":"ann","pass":"s3cret"}\r\nSUB weather.> 7\r\nPING\r\n'
        )
        assert nats.until(b"\r\n").startswith(b"INFO ")
        assert nats.until(b"\r\n") == b"PONG\r\n"
        line = Line(ports["line"], b"login ann s3cret\nsub weather.*\npub weather.rain 5\n\x00wet\n")
        expected = b"ok\nmsg weather.rain 5\n\x00wet\n"
        assert line.hear(len(expected)) == expected
        expected = b"MSG weather.rain 7 5\r\n\x00wet\n\r\n"
        assert nats.hear(len(expected)) == expected
        nats.say(b"PUB weather.sun 6\r\nhot\r\n!\r\n")
        expected = b"msg weather.sun 6\nhot\r\n!"
        assert line.hear(len(expected)) == expected
        url = f"line://ann:s3cret@127.0.0.1:{ports['line']}"
        place.run(place.bin / "brokerkit", "pub", "--server", url, "weather.fog", "thick")
        expected = b"msg weather.fog 5\nthick"
        assert nats.until(b"MSG weather.sun 7 6\r\nhot\r\n!\r\n")
        assert line.hear(len(expected)) == expected
        said = nats.until(b"thick\r\n").removeprefix(b"PING\r\n")  # where things are slow
        assert said == b"MSG weather.fog 7 5\r\nthick\r\n"
        line.close()
        nats.close()


def test_a_wrong_secret(place: Place) -> None:
    """Who may not is told so in the protocol's own words, and hung up on."""
    with place.broker() as ports:
        line = Line(ports["line"], b"login ann wrong\nsub weather.*\n")
        assert line.hear(1000) == b"error login refused\n"
        line.close()
