"""How a source of users is named."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.task import Clock
from twisted.plugin import IPlugin
from zope.interface.verify import verifyObject

from brokerkit.checkers import plugins
from brokerkit.checkers.anonymous import Anyone
from brokerkit.checkers.env import EnvUsers
from brokerkit.checkers.json_file import JsonUsers
from brokerkit.errors import ConfigError, OperatorError
from brokerkit.interfaces import ICheckerPlugin

if TYPE_CHECKING:
    from pathlib import Path

OURS = [plugins.json, plugins.env, plugins.anonymous]


def find(text: str) -> Any:
    """Find one of ours."""
    return plugins.find(text, OURS, Clock())


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Give a file of one user."""
    file = tmp_path / "users.json"
    file.write_text('{"ann": {"secret": "hush", "publish": ["a"]}}')
    return str(file)


@pytest.mark.parametrize("plugin", OURS)
def test_interfaces(plugin: Any) -> None:
    """They are plugins as twisted finds them."""
    assert verifyObject(IPlugin, plugin)
    assert verifyObject(ICheckerPlugin, plugin)


@pytest.mark.parametrize(("text", "kind"), [("env", EnvUsers), ("anonymous", Anyone), ("env:", EnvUsers)])
def test_kinds(text: str, kind: type) -> None:
    """A word names its source."""
    assert isinstance(find(text), kind)


@pytest.mark.parametrize("spelling", ["json:{}", "{}", "json:{}:prefix=a.b", "{}:prefix=a.b"])
def test_files(spelling: str, path: str) -> None:
    """A path that ends in .json may stand alone, as for hpfeeds-broker, and a prefix behind it."""
    checker = find(spelling.format(path))
    assert isinstance(checker, JsonUsers)
    assert checker.path == path
    assert checker.prefix == (b"a.b" if "prefix" in spelling else b"")


@pytest.mark.parametrize(
    "text", ["env:x", "anonymous:x", "json", "json:", "json:/nowhere/users.json", "/nowhere/users.json", ".json"]
)
def test_unusable_arguments(text: str) -> None:
    """An argument that is too much, missing or wrong is an error of the configuration."""
    with pytest.raises(ConfigError):
        find(text)


@pytest.mark.parametrize("prefix", ["a..b", ".", "a.*", ">"])
def test_bad_prefix(prefix: str, path: str) -> None:
    """A prefix is a topic: no wildcard, no empty token."""
    with pytest.raises(ConfigError, match="prefix"):
        find(f"json:{path}:prefix={prefix}")


@pytest.mark.parametrize("text", ["", "sqlite", "sqlite.db", "/var/users.db", ":env", "JSON:x", "envx"])
def test_unknown(text: str) -> None:
    """What names no source is an error that lists those that there are; nothing is taken in its place."""
    with pytest.raises(ConfigError, match=r"one of anonymous\[:publish=PATTERN.*\], env, json:PATH\[:prefix=TOPIC\]"):
        find(text)


@pytest.mark.parametrize(
    ("text", "meant"), [("evn", "env"), ("ENV", "env"), ("anonymus", "anonymous"), ("jsn:x", "json:")]
)
def test_suggestion(text: str, meant: str) -> None:
    """A slip gets the nearest kind as a hint."""
    with pytest.raises(ConfigError, match=f"did you mean {meant}"):
        find(text)


@pytest.mark.parametrize("text", ["database+mysql://ann:hush@host/db", "mongodb://ann:hush@host/db.json"])
def test_password_in_url(text: str) -> None:
    """A URL that is not understood is not repeated: there may be a password in it."""
    with pytest.raises(ConfigError) as error:
        find(text)
    assert "hush" not in str(error.value)


def test_where() -> None:
    """The message begins with the place that the caller names."""
    with pytest.raises(ConfigError, match=r"^broker\.toml: auth: found 'x'"):
        plugins.find("x", OURS, Clock(), "broker.toml")


def test_two_of_one_kind() -> None:
    """Two plugins of one kind are an error, not a race."""
    with pytest.raises(OperatorError, match="two plugins"):
        plugins.find("env", [plugins.env, plugins.SourcePlugin("env", "env", "", "")], Clock())


def test_help() -> None:
    """The help has each source with its usage, and no newline at the end."""
    text = plugins.describe(OURS)
    assert all(plugin.usage in text and plugin.description in " ".join(text.split()) for plugin in OURS)
    assert max(map(len, text.splitlines())) < 80
    assert not text.endswith("\n")


def test_light() -> None:
    """The plugins load nothing of the broker's heart: every twistd --help on the machine loads them."""
    program = "import sys, brokerkit.checkers.plugins; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, timeout=60
    ).stdout.decode()
    heavy = {"brokerkit.client", "brokerkit.grants", "brokerkit.checkers.known", "attrs", "twisted.internet.reactor"}
    assert not heavy & set(loaded.split())
