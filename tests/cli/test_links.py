"""``brokerkit links``: which files it makes, that they run, and what it does not touch."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from brokerkit.cli import main
from tests.test_program import PATIENCE, _environment

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

links = import_module("brokerkit.cli.links")  # in the package itself the name is the command's
NAMES = list(links.COMMANDS)
HELP = "Run an hpfeeds broker"


def brokerkit(*words: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["links", *words])


def run(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run what was made."""
    line = [str(path), *words]
    return subprocess.run(
        line,
        cwd=path.parent,
        env=_environment(path.parent),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_commands_are_made(tmp_path: Path) -> None:
    """Each name becomes a program that runs with this installation, and nothing else is left there."""
    done = brokerkit(str(tmp_path))
    assert done.exit_code == 0, done.output
    assert done.output.split() == [str(tmp_path / name) for name in NAMES]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    answer = run(tmp_path / "hpfeeds-broker", "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.startswith("Usage: hpfeeds-broker ")
    assert HELP in answer.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_its_command(name: str) -> None:
    """What the table says is there."""
    module, _, function = links.COMMANDS[name].partition(":")
    assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize("odd", ["with a blank", 'quo"te', "dollar$HOME", "back\\slash", "o'clock", "x" * 200])
def test_any_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str) -> None:
    """An interpreter whose path no first line can hold is started by way of the shell."""
    place = tmp_path / odd
    place.mkdir()
    # A script, since a link of another name would find another installation.
    interpreter = place / "python of mine"
    interpreter.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    path = links.make(tmp_path)[0]
    assert HELP in run(path, "--help").stdout


def test_again(tmp_path: Path) -> None:
    """What is its own is made anew."""
    links.make(tmp_path)
    path = tmp_path / "hpfeeds-broker"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + "# of an older version\n", encoding="utf-8")
    assert brokerkit(str(tmp_path)).exit_code == 0
    assert path.read_text(encoding="utf-8") == text


def test_what_is_anothers_is_not_touched(tmp_path: Path) -> None:
    """A program of somebody else's stays, with exit code 1 and a line that says so; --force replaces it."""
    path = tmp_path / "hpfeeds-broker"
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    done = brokerkit(str(tmp_path))
    assert (done.exit_code, path.read_text(encoding="utf-8")) == (1, "#!/bin/sh\n")
    assert "--force replaces it" in done.output
    assert brokerkit(str(tmp_path), "--force").exit_code == 0
    assert HELP in run(path, "--help").stdout


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """A symbolic link is somebody else's; --force replaces the link, and what it leads to stays."""
    other = tmp_path / "other"
    other.write_text(links.MARK, encoding="utf-8")
    place = tmp_path / "bin"
    place.mkdir()
    (place / "hpfeeds-broker").symlink_to(other)
    assert brokerkit(str(place)).exit_code == 1
    assert brokerkit(str(place), "--force").exit_code == 0
    assert not (place / "hpfeeds-broker").is_symlink()
    assert other.read_text(encoding="utf-8") == links.MARK


def test_no_directory(tmp_path: Path) -> None:
    """A directory that is not there is not made, and one at a command's place is left alone, with --force too."""
    assert brokerkit(str(tmp_path / "none")).exit_code == 1
    assert not list(tmp_path.iterdir())
    (tmp_path / "hpfeeds-broker").mkdir()
    assert brokerkit(str(tmp_path), "--force").exit_code == 1
    assert (tmp_path / "hpfeeds-broker").is_dir()
