"""``brokerkit bpbroker``: setting up, starting, extensions that run, backups; and that nothing is lost by any of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from brokerkit.cli import bpbroker_service as services
from brokerkit.errors import OperatorError
from tests.cli.commands import Done, brokerkit
from tests.cli.registry_world import registry
from tests.test_program import PATIENCE, ROOT, _environment, _run, command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.registry_world import World

CONTRIB = ROOT / "contrib" / "extensions"
EXTENSION = """
import json, os, sys, time
import bpbroker
def Env(rh):
    rh.data = json.dumps([sorted(os.environ), sorted(map(int, os.listdir("/proc/self/fd")))])
def Sleep(rh):
    time.sleep(60)
def Fork(rh):
    if os.fork() == 0:
        time.sleep(60)
    time.sleep(60)
def Die(rh):
    os._exit(3)
def Raise(rh):
    raise ValueError("hush")
def Exit(rh):
    sys.exit(0)
def Refuse(rh):
    rh.status, rh.status_message = 418, "tea\\r\\nX-Other: x"
def Much(rh):
    rh.data = "x" * (5 * 1024 * 1024)
def Pid(rh):
    rh.data = str(os.getpid())
def Count(rh):
    with bpbroker.config.rlock:
        services = bpbroker.config.data["services"]
        services.setdefault("count", {"n": 0})["n"] += 1
        bpbroker.config.Save()
        rh.data = json.dumps([services["count"]["n"], bpbroker.config.data["odd"]])
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the original's directory, which is not there yet."""
    monkeypatch.setenv("BPBROKER_HOME", str(tmp_path / "base"))
    return tmp_path / "base"


def bpbroker(place: Path, *words: str, stdin: str = "") -> Done:
    """Run a command."""
    return brokerkit(place, "bpbroker", *words, stdin=stdin)


def _file(home: Path) -> Any:
    return json.loads((home / "etc/bpbroker.json").read_text())


# -- configure --------------------------------------------------------------------------------------------------------


def test_configure_adds(tmp_path: Path, home: Path) -> None:
    """What is there stays: the manual's own example leaves the registry as it was, which the original erased."""
    (home / "etc").mkdir(parents=True)
    (home / "etc/bpbroker.json").write_text('{"services": {"foo": {"_str": "bar"}}, "echo": {"a": {"b": 1}}}')
    assert bpbroker(tmp_path, "configure", stdin='{"services": {"_access_key": "x"}}') == Done(0, "", "")
    assert bpbroker(tmp_path, "configure", stdin='{"echo": {"a": {"c": 2}}, "new": {}}') == Done(0, "", "")
    found = _file(home)
    assert found["services"] == {"foo": {"_str": "bar"}, "_access_key": "x"}
    assert (found["echo"], found["new"]) == ({"a": {"b": 1, "c": 2}}, {})
    assert (home / "etc/bpbroker.json").stat().st_mode & 0o777 == 0o600


def test_configure_makes_the_file(tmp_path: Path, home: Path) -> None:
    """Without a file there is one with the defaults then; a file can be named, and is another one."""
    (tmp_path / "add.json").write_text('{"echo": {}}')
    done = bpbroker(tmp_path, "configure", "--config-file", "add.json")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (f"No configuration file at {home}/etc/bpbroker.json, running with default configuration\n")
    assert _file(home)["api"]["listen_port"] == 20443
    assert bpbroker(tmp_path, "-c", "mine.json", "configure", stdin='{"own": {}}') == Done(0, "", "")
    assert "own" in json.loads((tmp_path / "mine.json").read_text())
    assert "own" not in _file(home)


def test_configure_leaves_entries_alone(tmp_path: Path, home: Path) -> None:
    """Entries are no configuration: they are left out, and that is said."""
    done = bpbroker(tmp_path, "configure", stdin='{"services": {"foo": {"_str": "x"}}}')
    assert (done.returncode, "1 entries of the registry are left out" in done.stderr) == (0, True)
    assert _file(home)["services"] == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "standard input:1: is no JSON"),
        ("[]", "standard input: file: found a list"),
        ('{"services": 5}', "standard input: services: found a number"),
        ('{"services": {"_access_key": ["hush"]}}', "services._access_key: found a list"),
        ('{"api": {"listen_port": "x"}}', "api.listen_port: found"),
    ],
)
def test_odd_configurations(tmp_path: Path, home: Path, text: str, said: str) -> None:
    """What cannot be meant is refused, and nothing is written."""
    done = bpbroker(tmp_path, "configure", stdin=text)
    assert done.returncode == 1
    assert "Fatal error: Unable to import configuration: " in done.stderr
    assert said in done.stderr
    assert "hush" not in done.stderr
    assert not home.exists()


def test_no_config_file(tmp_path: Path, home: Path) -> None:
    """A file that is not there is told in the original's words."""
    done = bpbroker(tmp_path, "configure", "--config-file", "none.json")
    assert done.returncode == 1
    assert done.stderr.endswith("Fatal error: Unable to import config file none.json: No such file or directory\n")
    assert not home.exists()


# -- install-extension ------------------------------------------------------------------------------------------------


def test_install_extension(tmp_path: Path, home: Path) -> None:
    """A file is copied, then one is told how to enable it; the one that it replaces stays beside it."""
    (tmp_path / "mine.py").write_text("def A(rh): pass\n")
    done = bpbroker(tmp_path, "install-extension", "--script", "mine.py")
    assert (done.returncode, done.stdout) == (0, "")
    assert """echo '{"mine": {}}' | brokerkit bpbroker configure""" in done.stderr
    (tmp_path / "mine.py").write_text("def B(rh): pass\n")
    for _ in range(2):
        bpbroker(tmp_path, "install-extension", "--script", "mine.py")
    assert (home / "lib/mine.py").read_text() == "def B(rh): pass\n"
    assert (home / "lib/mine.py.former").read_text() == "def A(rh): pass\n"


def test_install_a_directory(tmp_path: Path, home: Path) -> None:
    """Of a directory the contents are copied."""
    shutil.copytree(CONTRIB, tmp_path / "all", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "all/deep").mkdir()
    (tmp_path / "all/deep/one.py").write_text("")
    assert bpbroker(tmp_path, "install-extension", "--script", "all").returncode == 0
    assert sorted(path.name for path in (home / "lib").rglob("*.py")) == ["agents.py", "echo.py", "one.py"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.py", None, "there is no such file"),
        ("old.py", "print 'x'\n", "line 1: "),
        ("odd-name.py", "", "expected a name such as my_extension.py"),
        ("mine.txt", "", "expected a name such as my_extension.py"),
        ("nul.py", "\0", "null bytes"),
    ],
)
def test_odd_extensions(tmp_path: Path, home: Path, name: str, text: str | None, said: str) -> None:
    """What is no extension of Python 3 is told when it is installed, not when it is called."""
    if text is not None:
        (tmp_path / name).write_text(text)
    done = bpbroker(tmp_path, "install-extension", "--script", name)
    assert done.returncode == 1
    assert f"Fatal error: Error installing extension {name}: " in done.stderr
    assert said in done.stderr
    assert not (home / "lib").exists()


# -- the service ------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give the root of a machine with systemd."""
    (tmp_path / "root/run/systemd/system").mkdir(parents=True)
    return tmp_path / "root"


def test_a_unit(tmp_path: Path, home: Path, root: Path) -> None:
    """Where systemd is there is a unit, which is wanted at boot; the text is the original's."""
    (home / "etc").mkdir(parents=True)
    (home / "etc/bpbroker.json").write_text('{"mine": {}}')
    done = bpbroker(tmp_path, "install-service", "--root", str(root))
    assert done == Done(0, services.INSTALLED + "\n", "")
    unit = root / "etc/systemd/system/bpbroker.service"
    assert f"ExecStart={sys.executable} -m brokerkit bpbroker start\n" in unit.read_text()
    assert (unit.parent / "multi-user.target.wants/bpbroker.service").resolve() == unit
    assert _file(home) == {"mine": {}}
    assert (home / "lib").is_dir()
    assert bpbroker(tmp_path, "uninstall-service", "--root", str(root)) == Done(0, "", "")
    assert not unit.exists()
    assert _file(home) == {"mine": {}}
    assert bpbroker(tmp_path, "uninstall-service", "--root", str(root)) == Done(0, "", "")


def test_a_unit_with_an_odd_path(tmp_path: Path, home: Path, root: Path) -> None:
    """A configuration is named in the unit, with what systemd would take for something else escaped."""
    assert bpbroker(tmp_path, "-c", '50% "of" $it.json', "install-service", "--root", str(root)).returncode == 0
    text = (root / "etc/systemd/system/bpbroker.service").read_text()
    assert f'--config "{tmp_path}/50%% \\"of\\" $$it.json" start\n' in text
    assert not (home / "etc/bpbroker.json").exists()


def test_a_service_of_somebody_elses(tmp_path: Path, home: Path, root: Path) -> None:
    """A unit or a script that brokerkit did not make is neither replaced nor removed."""
    unit = root / "etc/systemd/system/bpbroker.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Unit]\n")
    for name in ("install-service", "uninstall-service"):
        done = bpbroker(tmp_path, name, "--root", str(root))
        assert (done.returncode, "was not made by brokerkit" in done.stderr) == (1, True)
    assert unit.read_text() == "[Unit]\n"
    assert home.exists()


class Tools:
    """Stand-ins for the tools of a system, on a PATH of their own; each writes down how it was called."""

    def __init__(self, folder: Path, *names: str, fails: str = "") -> None:
        """Make them; the one called ``fails`` says so."""
        self.path = folder / "tools"
        self.path.mkdir()
        self._said = folder / "said"
        for name in names:
            end = "echo broken >&2; exit 1" if name == fails else "exit 0"
            (self.path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "{self._said}"\n{end}\n')
            (self.path / name).chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """Give how they were called."""
        return self._said.read_text().splitlines() if self._said.exists() else []


def _tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *names: str, fails: str = "") -> Tools:
    tools = Tools(tmp_path, *names, fails=fails)
    monkeypatch.setenv("PATH", str(tools.path))
    return tools


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit is read, wanted at boot, started, and in the end stopped and forgotten."""
    tools = _tools(tmp_path, monkeypatch, "systemctl")
    system = services.Systemd(tmp_path, live=True)
    system.install(None)
    assert system.path.exists()
    system.start()
    system.uninstall()
    assert not system.path.exists()
    assert tools.calls == [
        "systemctl daemon-reload",
        "systemctl enable bpbroker",
        "systemctl restart bpbroker",
        "systemctl disable --now bpbroker",
        "systemctl daemon-reload",
    ]


@pytest.mark.parametrize(
    ("names", "enabled", "disabled"),
    [
        (("chkconfig", "update-rc.d"), "chkconfig --add bpbroker", "chkconfig --del bpbroker"),
        (("update-rc.d",), "update-rc.d bpbroker defaults", "update-rc.d -f bpbroker remove"),
        (("rc-update",), "rc-update add bpbroker default", "rc-update del bpbroker"),
    ],
)
def test_tools_of_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], enabled: str, disabled: str
) -> None:
    """Whichever tool there is has the script started at boot; it is stopped before it is removed."""
    tools = _tools(tmp_path, monkeypatch, *names)
    system = services.Init(tmp_path, live=True)
    system.install(None)
    monkeypatch.setattr(services, "SCRIPT", '#!/bin/sh\n{mark}\necho "script $*" >> "' + str(tmp_path / "said") + '"\n')
    system.install(None)
    system.start()
    system.uninstall()
    assert not system.path.exists()
    assert tools.calls == [enabled, enabled, "script restart", "script stop", disabled]


def test_no_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script is there all the same, and what is missing is said."""
    _tools(tmp_path, monkeypatch)
    with pytest.raises(OperatorError, match=r"is installed, but chkconfig, update-rc\.d or rc-update is needed"):
        services.Init(tmp_path, live=True).install(None)
    with pytest.raises(OperatorError, match="systemctl daemon-reload"):
        services.Systemd(tmp_path, live=True).install(None)


def test_a_tool_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says is passed on, with how it was called."""
    _tools(tmp_path, monkeypatch, "systemctl", fails="systemctl")
    with pytest.raises(OperatorError, match="systemctl daemon-reload: broken"):
        services.Systemd(tmp_path, live=True).install(None)


def test_an_init_script(tmp_path: Path, home: Path) -> None:
    """Where there is no systemd there is an init script, which starts, tells, stops and says so by its exit code."""
    (home / "etc").mkdir(parents=True)
    (home / "etc/bpbroker.json").write_text('{"api": {"listen_port": 0, "listen_ip": "127.0.0.1"}}')
    assert bpbroker(tmp_path, "install-service", "--root", str(tmp_path)).stdout == services.INSTALLED + "\n"
    script = tmp_path / "etc/init.d/bpbroker"
    environment = {
        **_environment(tmp_path),
        "BPBROKER_PIDFILE": str(tmp_path / "pid"),
        "BPBROKER_LOGFILE": str(tmp_path / "log"),
    }

    def run(word: str) -> int:
        return subprocess.run([script, word], env=environment, capture_output=True, timeout=60, check=False).returncode

    try:
        assert [run("status"), run("stop"), run("start"), run("status"), run("start")] == [3, 0, 0, 0, 0]
        end = time.monotonic() + PATIENCE
        while "brokerkit ready" not in (tmp_path / "log").read_text():
            assert time.monotonic() < end
            time.sleep(0.05)
        pid = int((tmp_path / "pid").read_text())
        assert [run("stop"), run("status"), run("odd")] == [0, 3, 2]
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    finally:
        run("stop")


# -- start ------------------------------------------------------------------------------------------------------------


def _client(world: World, *words: str) -> Done:
    return world.client(*words, name="bpbroker")


def _execute(world: World, method: str, data: str = "x") -> Done:
    return _client(world, "execute", "--method", method, "--data", data)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Give a registry that runs with extensions that are given one second."""
    place = tmp_path_factory.mktemp("service")
    library = place / "base/lib"
    library.mkdir(parents=True)
    (library / "odd.py").write_text(EXTENSION)
    shutil.copy(CONTRIB / "echo.py", library)
    api = {"extension_time": 1.0}
    (place / "bpbroker.json").write_text(json.dumps({"api": api, "odd": {"colour": "red"}, "echo": {}, "json": {}}))
    environment = {"BPBROKER_HOME": str(place / "base"), "SOME_SECRET": "hush"}
    with mock.patch.dict(os.environ, environment), registry(place) as found:
        _client(found, "ping", "--data", "x")
        yield found
        found.program.process.terminate()
        found.program.output += found.program.process.communicate(timeout=PATIENCE)[0]
        assert found.program.process.returncode == 0
        assert "ValueError: hush" in found.program.output  # what goes wrong in extensions is in the log
        found.program.stop = lambda: None  # type: ignore[method-assign]


def test_echo(world: World) -> None:
    """An extension gets the parameters; the server's command takes the client's commands."""
    assert _execute(world, "echo.Test", "a b&c") == Done(0, '{"data": "a b&c"}\n', "")


def test_what_a_child_inherits(world: World) -> None:
    """No secret, no socket and no file of the broker's."""
    names, numbers = json.loads(_execute(world, "odd.Env").stdout)
    assert "SOME_SECRET" not in names
    assert "BPBROKER_HOME" not in names
    assert numbers[:5] == [0, 1, 2, 3, 4]
    assert len(numbers) == 6  # the last one is the directory that was listed


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("odd.Raise", "500: The extension failed"),
        ("odd.Exit", "500: The extension failed"),
        ("odd.Die", "500: The extension failed"),
        ("odd.Much", "500: The extension failed"),
        ("odd.Sleep", "504: The extension took too long"),
        ("odd.Fork", "504: The extension took too long"),
        ("odd.Refuse", "418: teaX-Other: x"),
        ("odd.None", "401: Unauthorized method"),
        ("odd._Private", "401: Unauthorized method"),
        ("odd.json", "401: Unauthorized method"),
        ("json.dumps", "401: Unauthorized method"),
        ("none.Such", "401: Unauthorized package"),
        ("api.StringIO", "401: Unauthorized package"),
    ],
)
def test_what_fails(world: World, method: str, status: str) -> None:
    """Whatever an extension does, the caller gets an answer that tells nothing of it, and the next call works."""
    assert _execute(world, method) == Done(1, "", f"Fatal error: Response Error {status}\n")
    assert _execute(world, "odd.Pid").returncode == 0


def test_one_child(world: World) -> None:
    """Calls are done by one process, as long as nothing goes wrong in it."""
    assert len({_execute(world, "odd.Pid").stdout for _ in range(3)}) == 1


def test_what_was_started_is_killed(world: World) -> None:
    """What an extension has started is killed with it."""
    group = int(_execute(world, "odd.Pid").stdout)
    _execute(world, "odd.Fork")
    end = time.monotonic() + PATIENCE
    while _lives(group):
        assert time.monotonic() < end
        time.sleep(0.02)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_writing_to_the_registry(world: World) -> None:
    """An extension writes to the registry by the module ``bpbroker``, and what it writes is there for all."""
    assert [json.loads(_execute(world, "odd.Count").stdout) for _ in range(2)] == [
        [1, {"colour": "red"}],
        [2, {"colour": "red"}],
    ]
    assert json.loads(_client(world, "service", "get", "--name", "count").stdout)["n"] == 2


def test_configure_while_it_runs(world: World) -> None:
    """While the service runs its file is not changed, and a backup is not put back."""
    for words in (("configure",), ("restore",)):
        done = brokerkit(world.place, "bpbroker", "-c", "bpbroker.json", *words, stdin="{}")
        assert (done.returncode, "the service runs on" in done.stderr) == (1, True)


def test_twice(world: World) -> None:
    """A second one on the same data ends with one line."""
    done = _run(world.place, command("bpbroker", "-c", "bpbroker.json", "start", "--port", "0"))
    assert done.returncode == 1
    assert f"{world.data}: the broker 'bpbroker' (process " in done.stderr.splitlines()[-1]


def test_it_lasts(tmp_path: Path, home: Path) -> None:
    """Entries are there after the end by SIGINT, and in the file; the global file is under the one that is named."""
    (home / "etc").mkdir(parents=True)
    (home / "etc/bpbroker.json").write_text('{"services": {"_access_key": "hush"}}')
    with registry(tmp_path) as world:
        assert world.replace("a", "b").stderr.endswith("Fatal error: Incorrect access key\n")
        assert world.client("-a", "hush", "service", "replace", "--name", "a", "--data", "b").stdout == "b\n"
        world.program.process.send_signal(signal.SIGINT)
        world.program.process.wait(PATIENCE)
    assert json.loads(world.config.read_text())["services"]["a"]["_str"] == "b"
    with registry(tmp_path) as world:
        assert world.client("-a", "hush", "service", "get", "--name", "a").stdout == "b\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "bpbroker.json:1: is no JSON"),
        ('{"api": {"listen_port": 70000}}', "api.listen_port: found 70000"),
        ('{"api": {"ssl_cert": "none.crt", "ssl_key": "none.key"}}', "none."),
    ],
)
def test_what_cannot_start(tmp_path: Path, home: Path, content: str, said: str) -> None:
    """A configuration that cannot be used ends it with one line and exit code 1."""
    (tmp_path / "bpbroker.json").write_text(content)
    done = _run(tmp_path, command("bpbroker", "-c", "bpbroker.json", "start"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("Fatal error: ")
    assert said in done.stderr
    assert not home.exists()


# -- restore ----------------------------------------------------------------------------------------------------------


def test_restore(tmp_path: Path, home: Path) -> None:
    """A copy of the file is put back, and what is there then is what it says."""
    with registry(tmp_path) as world:
        world.replace("a", "old")
    shutil.copy(tmp_path / "bpbroker.json", tmp_path / "copy.json")
    with registry(tmp_path) as world:
        world.replace("a", "new")
        world.replace("b", "new")
    done = bpbroker(tmp_path, "-c", "bpbroker.json", "restore", "copy.json")
    assert done == Done(0, "copy.json is restored\n", "")
    with registry(tmp_path) as world:
        assert [world.get(name).stdout for name in "ab"] == ["old\n", ""]
    assert not home.exists()


def test_nothing_to_restore(tmp_path: Path, home: Path) -> None:
    """Without a backup it says where they are looked for."""
    assert bpbroker(tmp_path, "-c", "bpbroker.json", "restore", "--list").stdout == ""
    done = bpbroker(tmp_path, "-c", "bpbroker.json", "restore")
    assert (done.returncode, "there is no backup in" in done.stderr) == (1, True)
    assert "--config FILE names the bpbroker.json" in done.stderr
    assert not home.exists()


def test_a_damaged_registry_without_a_backup(tmp_path: Path, home: Path) -> None:
    """The file has the entries, and the damaged registry is put aside, so that the next start takes them over."""
    with registry(tmp_path) as world:
        world.replace("a", "kept")
        data = world.data
    sound = bpbroker(tmp_path, "-c", "bpbroker.json", "restore")
    assert (sound.returncode, "the registry is sound: nothing was changed" in sound.stderr) == (1, True)
    (data / "registry.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 8000)
    done = bpbroker(tmp_path, "-c", "bpbroker.json", "restore")
    assert done == Done(0, f"{tmp_path / 'bpbroker.json'} is restored\n", "")
    assert len(list(data.glob("registry.sqlite.damaged.*"))) == 1
    with registry(tmp_path) as world:
        assert world.get("a").stdout == "kept\n"
        listed = world.client("-f", "json", "watch", "-n", "1").stdout
    assert json.loads(listed)["revision"] > 1_000_000, "no revision that was given before comes again"
    assert not home.exists()


def test_a_copy_of_the_file_beside_a_damaged_registry(tmp_path: Path, home: Path) -> None:
    """It is put back in the same way, whatever backups there are."""
    with registry(tmp_path) as world:
        world.replace("a", "kept")
        data = world.data
    shutil.copy(tmp_path / "bpbroker.json", tmp_path / "copy.json")
    (data / "registry.sqlite").write_bytes(b"nonsense")
    assert bpbroker(tmp_path, "-c", "bpbroker.json", "restore", "copy.json").returncode == 0
    with registry(tmp_path) as world:
        assert world.get("a").stdout == "kept\n"
    assert not home.exists()
