"""Rights to names of the registry, as they are written down, changed by commands and explained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from brokerkit.checkers.entry import read
from brokerkit.errors import ConfigError
from brokerkit.registry.access import READ, WRITE
from brokerkit.registry.naming import topic
from tests.cli.commands import brokerkit

if TYPE_CHECKING:
    from pathlib import Path

BROKER = """
data_dir = "data"

[[listen]]
protocol = "bpbroker"

[[listen]]
protocol = "nats"

[[users]]
name = "ann"
token = "ann's key"
subscribe = [">"]
publish = [">"]
registry_read = ["web-*", "a.b"]
registry_read_deny = ["web-secret"]
registry_write = ["web-1"]

[[users]]
name = "bob"
secret = "bob's secret"
subscribe = ["registry.>"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Give the directory with a configuration."""
    file = tmp_path / "broker.toml"
    file.write_text(BROKER)
    file.chmod(0o600)
    return tmp_path


def explain(config: Path, *words: str) -> dict[str, Any]:
    """Give what is explained."""
    done = brokerkit(config, "acl", "explain", *words, "--config", "broker.toml", "--json")
    assert done.returncode in {0, 1}, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


# -- as they are written down -----------------------------------------------------------------------------------------


def test_rights_are_read() -> None:
    """Names, beginnings of names and denials, each for reading and for writing."""
    fields = {"name": "ann", "token": "t", "registry_read": ["web-*"], "registry_write": ["*"]}
    grants = read({**fields, "registry_write_deny": ["web-*"]}, "f").known("s").user.grants
    assert [grants.permits(READ, topic(name)) for name in ("web-1", "db", "a.b")] == [True, False, False]
    assert [grants.permits(WRITE, topic(name)) for name in ("web-1", "db", "a.b")] == [False, True, True]


def test_nobody_has_any_by_default() -> None:
    """Patterns for topics, even all of them, are no right to the registry."""
    grants = read({"name": "ann", "token": "t", "publish": [">"], "subscribe": [">"]}, "f").known("s").user.grants
    assert not grants.permits(READ, topic("a"))
    assert not grants.permits(WRITE, topic("a"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("web", r"registry_read: found a string, expected a list of strings"),
        ([1], r"registry_read\[0\]: found a number, expected a string"),
        ([""], r"registry_read\[0\]: found '', expected a name such as web-1"),
        (["a*b"], r"registry_read\[0\]: found 'a\*b', expected a name such as web-1"),
        (["ok", "**"], r"registry_read\[1\]: found '\*\*'"),
    ],
)
def test_what_is_no_right(value: object, text: str) -> None:
    """It is refused with the place and what was expected."""
    with pytest.raises(ConfigError, match=text):
        read({"name": "ann", "token": "t", "registry_read": value}, "f")


def test_where_a_rule_stands() -> None:
    """A rule that has decided is found again in its list."""
    entry = read({"name": "ann", "token": "t", "registry_read": ["a", "web-*"]}, "f", place="f:1")
    rule = entry.known("s").user.grants.access(READ).ruling(topic("web-1"))[1]
    assert entry.where(READ, rule) == "f:1.registry_read[1]"


# -- by commands ------------------------------------------------------------------------------------------------------


def test_rights_are_changed_by_commands(tmp_path: Path) -> None:
    """Given with a new user, added, denied and taken away again."""
    users = ("--users", str(tmp_path / "users.sqlite"), "--json")
    assert brokerkit(tmp_path, "user", "add", "ann", "--token", "--registry-read", "web-*", *users).returncode == 0
    assert brokerkit(tmp_path, "user", "allow", "ann", "registry.write", "web-1", "web-2", *users).returncode == 0
    assert brokerkit(tmp_path, "user", "allow", "ann", "registry.write", "web-2", "--undo", *users).returncode == 0
    assert brokerkit(tmp_path, "user", "deny", "ann", "registry.read", "web-9", *users).returncode == 0
    said = json.loads(brokerkit(tmp_path, "user", "show", "ann", *users).stdout)
    assert said["registry_read"] == ["web-*"]
    assert said["registry_write"] == ["web-1"]
    assert said["registry_read_deny"] == ["web-9"]


def test_a_denial_in_the_way_is_said(tmp_path: Path) -> None:
    """Who allows what is denied is told, with the command that ends it."""
    users = ("--users", str(tmp_path / "users.sqlite"))
    brokerkit(tmp_path, "user", "add", "ann", "--token", *users)
    brokerkit(tmp_path, "user", "deny", "ann", "registry.read", "web-*", *users)
    done = brokerkit(tmp_path, "user", "allow", "ann", "registry.read", "web-1", *users)
    assert "brokerkit user deny ann registry.read 'web-*' --undo" in done.stderr


# -- explained --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "verdict", "place"),
    [
        (("ann", "registry.read", "web-1"), "ALLOW", "registry_read[0]"),
        (("ann", "registry.read", "a.b"), "ALLOW", "registry_read[1]"),
        (("ann", "registry.read", "web-secret"), "DENY", "registry_read_deny[0]"),
        (("ann", "registry.read", "db"), "DENY", ""),
        (("ann", "registry.write", "web-1"), "ALLOW", "registry_write[0]"),
        (("ann", "registry.write", "web-2"), "DENY", ""),
        (("ann", "subscribe", "registry.web-1"), "ALLOW", "registry_read[0]"),
        (("ann", "subscribe", "bpbroker:a.b"), "ALLOW", "registry_read[1]"),
        (("ann", "subscribe", "registry.web-secret"), "DENY", "registry_read_deny[0]"),
        (("ann", "subscribe", "registry.db"), "DENY", ""),
        (("ann", "subscribe", "other.db"), "ALLOW", "subscribe[0]"),
        (("ann", "publish", "registry.web-1"), "DENY", ""),
        (("ann", "publish", "registry-get.db"), "ALLOW", "publish[0]"),
        (("bob", "subscribe", "registry.db"), "ALLOW", "subscribe[0]"),
        (("bob", "registry.read", "db"), "DENY", ""),
    ],
)
def test_explained(config: Path, words: tuple[str, ...], verdict: str, place: str) -> None:
    """The verdict is what the broker does, and the rule that decided is named with its place."""
    said = explain(config, *words)
    assert said["verdict"] == verdict, said
    assert said["where"].endswith(place)
    assert bool(said["rule"]) is bool(place)


def test_what_would_allow_it(config: Path, tmp_path: Path) -> None:
    """The remedy is an entry of the list of names, or a command that adds it."""
    [said] = explain(config, "ann", "registry.write", "a.b c")["to_allow"]
    assert said.startswith("add \"a.b c\" to 'registry_write'")
    [said] = explain(config, "ann", "subscribe", "registry.db")["to_allow"]
    assert said.startswith("add \"db\" to 'registry_read'")
    assert explain(config, "ann", "publish", "registry.db")["to_allow"] == []
    users = str(tmp_path / "users.sqlite")
    brokerkit(tmp_path, "user", "add", "carl", "--token", "--users", users)
    done = brokerkit(tmp_path, "acl", "explain", "carl", "registry.read", "a.b", "--auth", f"users:{users}")
    assert f"brokerkit user allow carl registry.read a.b --users {users}" in done.stdout
    done = brokerkit(tmp_path, "acl", "explain", "dora", "registry.write", "a.b", "--auth", f"users:{users}")
    assert f"brokerkit user add dora --registry-write a.b --users {users}" in done.stdout


def test_auth_check_shows_them(config: Path) -> None:
    """As names, not as topics, and without the key."""
    done = brokerkit(config, "auth", "check", "--config", "broker.toml", "--user", "ann")
    assert "web-*, a.b" in done.stdout
    assert "web-secret" in done.stdout
    assert "ann's key" not in done.stdout
