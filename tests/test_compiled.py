"""Which twin is in use, and that nothing about a compiled module can keep a broker from starting."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import brokerkit
from brokerkit import compiled
from brokerkit.cli import main
from brokerkit.fields import Leads, Places, Receiver
from brokerkit.pile import Pile
from brokerkit.stamp import SOURCES, stamp

STAMP = stamp(Path(brokerkit.__file__).parent)
FITTING = f"EDITION = {compiled.EDITION}\nSTAMP = '{STAMP}'\n"


@pytest.fixture(autouse=True)
def problems(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Give the list of what was wrong, empty at first; compiled modules are wanted."""
    found: list[str] = []
    monkeypatch.setattr(compiled, "problems", found)
    monkeypatch.delenv(compiled.SWITCH, raising=False)
    return found


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the file of a module that can be imported as ``made_for_this_test``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "made_for_this_test", raising=False)
    return tmp_path / "made_for_this_test.py"


def test_a_module_that_fits(module: Path, problems: list[str]) -> None:
    """What was built for this edition is in use, and nothing is said about it."""
    module.write_text(FITTING, encoding="utf-8")
    assert compiled.load("made_for_this_test").EDITION == compiled.EDITION
    assert problems == []


def test_a_missing_module(problems: list[str]) -> None:
    """Where there is no such module the pure code does its work, and why is known."""
    assert compiled.load("brokerkit._nothing_of_this_name") is None
    assert problems == ["brokerkit._nothing_of_this_name has not been built"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("raise ImportError('undefined symbol: _Py_Gone')", "cannot be loaded: undefined symbol: _Py_Gone"),
        ("import nothing_of_this_name", "cannot be loaded: No module named 'nothing_of_this_name'"),
        ("raise ValueError('Places size changed')", "cannot be loaded: Places size changed"),
        ("EDITION = 0", f"was built for edition 0 of the pure code, not {compiled.EDITION}: build it anew"),
        ("", f"was built for edition 0 of the pure code, not {compiled.EDITION}: build it anew"),
        (f"EDITION = {compiled.EDITION}", "was built from other sources than these: build it anew"),
        (f"EDITION = {compiled.EDITION}\nSTAMP = 'another'", "was built from other sources than these: build it anew"),
    ],
)
def test_a_module_that_does_not_fit(module: Path, problems: list[str], text: str, problem: str) -> None:
    """A module that is broken, or of another version, is left out, and why is known."""
    module.write_text(text + "\n", encoding="utf-8")
    assert compiled.load("made_for_this_test") is None
    assert problems == [f"made_for_this_test {problem}"]


@pytest.mark.parametrize("value", ["1", "yes"])
def test_the_switch(module: Path, problems: list[str], monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Who asks for pure Python gets it, and that is no problem."""
    module.write_text(FITTING, encoding="utf-8")
    monkeypatch.setenv(compiled.SWITCH, value)
    assert compiled.load("made_for_this_test") is None
    assert problems == []


def test_twins_are_of_one_kind() -> None:
    """Either all twins are in use or none is: they reach into each other."""
    modules = {kind.__module__ for kind in (Leads, Places, Receiver, Pile)}
    assert modules == ({"brokerkit.fields", "brokerkit.pile"} if compiled.heart is None else {"brokerkit._heart"})


def test_without_sources_they_have_to_fit_each_other(
    module: Path, problems: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the sources are not installed, a scanner of another stamp than the heart's is left out all the same."""
    monkeypatch.setattr(compiled, "_here", str)
    module.write_text(FITTING, encoding="utf-8")
    assert compiled.load("made_for_this_test", STAMP) is not None
    assert compiled.load("made_for_this_test", "another") is None
    assert problems == ["made_for_this_test was built from other sources than these: build it anew"]


def test_the_stamp_is_of_all_sources(tmp_path: Path) -> None:
    """Whatever changes in what modules are built from, and in the twins of what is in them, changes the stamp."""
    package = Path(brokerkit.__file__).parent
    for name in SOURCES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(package / name, tmp_path / name)
    seen = {stamp(tmp_path)}
    assert seen == {STAMP}
    for name in SOURCES:
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write("#\n")
        seen.add(stamp(tmp_path))
    assert len(seen) == 1 + len(SOURCES)
    (tmp_path / SOURCES[0]).unlink()
    assert not stamp(tmp_path)


def test_a_scanner_needs_the_heart(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scanner fills what only the compiled heart has: without that one it is left out."""
    module.write_text(FITTING, encoding="utf-8")
    monkeypatch.setattr(compiled, "heart", None)
    assert compiled.load_scanner("made_for_this_test") is None


@pytest.mark.parametrize(("heart", "words"), [(None, "pure Python"), (compiled, "compiled")])
def test_the_version_says_which(monkeypatch: pytest.MonkeyPatch, heart: object, words: str) -> None:
    """``brokerkit --version`` says what is in use."""
    monkeypatch.setattr(compiled, "heart", heart)
    said = CliRunner().invoke(main, ["--version"])
    assert said.exit_code == 0
    assert said.output.startswith("brokerkit, version ")
    assert said.output.endswith(f"({words})\n")


# -- real modules, in a copy of the package, each in a process of its own ---------------------------------------------

ASK = """
from brokerkit import compiled
from brokerkit.protocols.hpfeeds import wire
print(compiled.variant(), wire.scanner is not None)
print(*compiled.problems, sep="\\n")
feeder = wire.Wire()
feeder.own(b"me")
feeder.feed(wire.frame(wire.PUBLISH, wire.short(b"me"), wire.short(b"a"), b"payload") * 3)
print([bytes(m.payload) for m in feeder.scan()])
"""
HEARD = "[b'payload', b'payload', b'payload']"
HEART, SCANNER = "brokerkit._heart", "brokerkit.protocols.hpfeeds._scanner"
needs_modules = pytest.mark.skipif(compiled.heart is None, reason="nothing is compiled here")


class Copy:
    """A copy of the package, whose modules a test spoils."""

    def __init__(self, where: Path) -> None:
        """Copy it, without the tests' own coverage or caches."""
        self.where = where
        shutil.copytree(
            Path(brokerkit.__file__).parent, where / "brokerkit", ignore=shutil.ignore_patterns("__pycache__")
        )

    def file(self, name: str) -> Path:
        """Give the file of a compiled module."""
        [path] = self.where.glob(f"{name.replace('.', '/')}.*.so")
        return path

    def ask(self) -> tuple[str, list[str], str]:
        """Start it: what is in use, what is wrong, and what a wire finds in three frames."""
        env = {**os.environ, "PYTHONPATH": str(self.where)}
        env.pop(compiled.SWITCH, None)
        done = subprocess.run(
            [sys.executable, "-c", ASK], cwd=self.where, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (done.returncode, done.stderr)
        first, *problems, heard = done.stdout.splitlines()
        return first, [problem for problem in problems if problem], heard


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Give a copy of the package."""
    return Copy(tmp_path)


@needs_modules
def test_a_copy_works(copy: Copy) -> None:
    """What the tests below spoil was in use before."""
    assert copy.ask() == ("compiled True", [], HEARD)


@needs_modules
@pytest.mark.parametrize("name", [HEART, SCANNER])
@pytest.mark.parametrize("how", ["garbage", "empty", "cut short", "missing", "stale", "no file"])
def test_a_module_that_is_spoilt(copy: Copy, name: str, how: str) -> None:
    """Whatever is wrong with a module, a broker starts without it, says so, and does the same."""
    path = copy.file(name)
    data = path.read_bytes()
    path.unlink()
    if how == "no file":
        path.mkdir()
    elif how != "missing":
        spoilt = {
            "garbage": os.urandom(len(data)),
            "empty": b"",
            "cut short": data[:50_000],  # a full disk: the system kills whoever maps this and reads on
            "stale": data.replace(STAMP.encode(), STAMP[::-1].encode()),
        }
        path.write_bytes(spoilt[how])
    used, problems, heard = copy.ask()
    assert used == ("pure Python False" if name == HEART else "compiled False")
    assert len(problems) == 1
    assert name in problems[0]
    assert heard == HEARD


@needs_modules
def test_a_scanner_of_another_layout(copy: Copy) -> None:
    """A scanner that was really built to another layout of the heart's memory is left out: it would write anywhere."""
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        pytest.skip("there is no compiler here")
    root = Path(brokerkit.__file__).parents[1]
    shutil.copy(root / "setup.py", copy.where)
    (copy.where / "setup.cfg").write_text(
        "[metadata]\nname = copy\n[options]\npackages = brokerkit\n", encoding="utf-8"
    )
    heart, scanner = copy.file(HEART).read_bytes(), copy.file(SCANNER)
    shared = copy.where / "brokerkit" / "_heart.pxd"
    words = shared.read_text(encoding="utf-8")
    former, latter = "    cdef int* at\n", "    cdef int count, batches, busy\n"
    assert words.count(former) == words.count(latter) == 1
    shared.write_text(
        words.replace(former, "").replace(latter, former + latter), encoding="utf-8"
    )  # the other way round
    build = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(build, cwd=copy.where, env={**os.environ, "CFLAGS": "-O0"}, check=True, capture_output=True)
    other = scanner.read_bytes()
    assert copy.ask() == ("compiled True", [], HEARD)  # all three were built: they fit
    shared.write_text(words, encoding="utf-8")
    copy.file(HEART).write_bytes(heart)
    used, problems, heard = copy.ask()
    assert scanner.read_bytes() == other
    assert (used, heard) == ("compiled False", HEARD)
    assert problems == [f"{SCANNER} was built from other sources than these: build it anew"]
    for source in SOURCES[:4]:  # nor where there are no sources to compare with
        (copy.where / "brokerkit" / source).unlink()
    assert copy.ask() == (used, problems, heard)
