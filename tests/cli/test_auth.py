"""``brokerkit auth check``, as a command: what it prints, and what it exits with."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from brokerkit.cli.sources import without_secrets
from tests.cli.commands import brokerkit
from tests.cli.test_acl import place

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["place"]


def test_all_is_well(place: Path) -> None:
    """Each source is named, with the number of its users; a user's record comes without its secrets."""
    done = brokerkit(place, "auth", "check", "--config", "broker.toml", "--user", "bob")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"OK  json:{place}/users.json  1 user",
        f"  user:        bob, {place}/users.json:2",
        "  in hpfeeds:  secret",
        "  in nats:     user and password",
        "  in kafka:    user and password",
        "  publish:     honeypot.dionaea (literal)",
        "  subscribe:   nothing",
    ]


def test_some_are_not(place: Path) -> None:
    """One that cannot be used is said in one line, and the others are tried all the same; no password is repeated."""
    sources = ("env", "missing.json", "anonymous", "sqlit://me:hush@here")
    flags = [word for source in sources for word in ("--auth", source)]
    done = brokerkit(place, "auth", "check", *flags, "--json", HPFEEDS_BOB_SECRET="hush", HPFEEDS_BOB_PUBLISH="a.>")
    assert done.returncode == 1
    assert "hush" not in done.stdout + done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert [report["source"] for report in reports] == ["env", "missing.json", "anonymous", "sqlit://***@here"]
    assert [report["users"] for report in reports] == [1, None, None, None]
    assert [len(report["problems"]) for report in reports] == [0, 1, 0, 1]


def test_nobody_knows_the_user(place: Path) -> None:
    """It is said, and exit code 1."""
    done = brokerkit(place, "auth", "check", "--auth", "users.json", "--user", "eve")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "no source knows 'eve'")


def test_warnings_are_shown(place: Path) -> None:
    """What the broker would say in its log is said here: a row of a table that makes no sense, and whose it is."""
    import sqlite3

    assert brokerkit(place, "auth", "check", "--auth", "sqlite:u.db").returncode == 0
    with closing(sqlite3.connect(place / "u.db")) as database, database:
        rows = [("bob", "hush", "[]", "{"), ("ann", "hush", "[]", "[]"), ("ann", "other", "[]", "[]")]
        database.executemany("INSERT INTO authkeys (ident, secret, pubchans, subchans) VALUES (?, ?, ?, ?)", rows)
    done = brokerkit(place, "auth", "check", "--auth", "sqlite:u.db", "--user", "bob")
    assert done.returncode == 1
    assert "problem:     the user cannot log in" in done.stdout
    assert "subchans" in done.stdout
    done = brokerkit(place, "auth", "check", "--auth", "sqlite:u.db", "--user", "ann")
    assert done.returncode == 0
    assert "warning:" in done.stdout
    assert "stands twice" in done.stdout
    assert "hush" not in done.stdout + done.stderr


def test_a_wrong_command_line(place: Path) -> None:
    """A configuration that cannot be read is exit code 2."""
    done = brokerkit(place, "auth", "check", "-c", "missing.toml")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_nobody_can_say_that_a_user_is_unknown(place: Path) -> None:
    """Where a source has a problem, it is not said that no source knows the user."""
    done = brokerkit(place, "auth", "check", "--auth", "missing.json", "--auth", "users.json", "--user", "eve")
    assert done.returncode == 1
    assert "no source knows" not in done.stdout


def test_a_source_that_is_named_twice(place: Path) -> None:
    """It is a problem here, since a broker does not start with it."""
    done = brokerkit(place, "auth", "check", "--auth", "users.json", "--auth", "json:users.json")
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["OK", "PROBLEM", "problem:"]
    assert "named twice" in done.stdout


def test_a_user_whose_time_has_passed(place: Path) -> None:
    """It is said that the moment has passed, and long labels keep a blank before their value."""
    text = """[[users]]
name = "old"
secret = "hush"
publish_deny = ["a"]
subscribe_deny = ["b"]
valid_until = 2020-01-31T12:00:00Z
"""
    (place / "old.toml").write_text(text)
    done = brokerkit(place, "auth", "check", "--config", "old.toml", "--user", "old")
    assert "  valid until: 2020-01-31T12:00:00+00:00 (has passed)" in done.stdout
    assert "  not subscribe: b" in done.stdout


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("json:a//b.json", "json:a//b.json"),
        ("database+postgresql://ann:hu@sh@host/db", "database+postgresql://***@host/db"),
        ("database+postgresql://host/db?user=ann&password=hush", "database+postgresql://host/db?***"),
        ("mongodb://ann:hu\nsh@host/db?tlsCertificateKeyFilePassword=hush", "mongodb://***@host/db?***"),
    ],
)
def test_secrets_in_a_source_are_not_shown(text: str, shown: str) -> None:
    """A password can stand before the host and among the options; neither is printed."""
    assert without_secrets(text) == shown
