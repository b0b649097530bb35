"""``brokerkit acl explain``, as a command: what it prints, and what it exits with."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import brokerkit

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 30  # seconds
USERS = """\
{
  "bob": {
    "secret": "not for your eyes",
    "owner": "",
    "pubchans": ["dionaea"],
    "subchans": []
  }
}
"""
BROKER = """\
auth = ["json:users.json:prefix=honeypot"]

[[listen]]
protocol = "hpfeeds"
topic_prefix = "honeypot"

[[listen]]
protocol = "nats"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Give a directory with a file of users and a configuration that uses it."""
    (tmp_path / "users.json").write_text(USERS)
    (tmp_path / "broker.toml").write_text(BROKER)
    return tmp_path


def test_allowed(place: Path) -> None:
    """ALLOW comes with the rule, the line where it stands, and the topic in every protocol's words."""
    done = brokerkit(place, "acl", "explain", "bob", "publish", "hpfeeds:dionaea", "--config", "broker.toml")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ALLOW  bob: publish honeypot.dionaea",
        "  because:     the literal name 'honeypot.dionaea' allows it",
        f"  where:       {place}/users.json:5",
        f"  source:      json:{place}/users.json",
        "  in hpfeeds:  dionaea",
        "  in kafka:    honeypot.dionaea",
        "  in nats:     honeypot.dionaea",
    ]


def test_where_the_mode_forbids_it(place: Path) -> None:
    """A listener at which nobody may do it is named, whichever way its mode is written."""
    listen = '\n[[listen]]\nprotocol = "hpfeeds"\ntopic_prefix = "honeypot"\n'
    modes = f'{listen}endpoint = "tcp:1:mode=push"\n{listen}endpoint = "tcp:2"\nmode = "pull"\n'
    (place / "broker.toml").write_text(BROKER + modes)
    done = brokerkit(place, "acl", "explain", "bob", "publish", "hpfeeds:dionaea", "--config", "broker.toml")
    assert (done.returncode, done.stderr) == (0, "")
    notes = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if line.startswith("  note:")]
    assert notes == ["nobody may do it at listen[3], hpfeeds tcp:2: its mode is pull"]
    done = brokerkit(place, "acl", "explain", "bob", "subscribe", "hpfeeds:dionaea", "--config", "broker.toml")
    assert "listen[2], hpfeeds tcp:1:mode=push: its mode is push" in done.stdout


def test_denied(place: Path) -> None:
    """DENY comes with what would allow it, and another exit code; all of it as JSON if that is wanted."""
    words = ("acl", "explain", "bob", "subscribe", "nats:honeypot.>", "-c", "broker.toml")
    done = brokerkit(place, *words)
    assert (done.returncode, done.stderr) == (1, "")
    step = f'add ">" to \'subscribe\' of "bob" in {place}/users.json'
    assert done.stdout.splitlines()[-1] == f"  to allow it: {step}"
    done = brokerkit(place, *words, "--json")
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["verdict"], answer["rule"], answer["to_allow"]) == (1, "DENY", None, [step])
    assert answer["where"] == f"{place}/users.json:2"


def test_the_command_allows_it(place: Path) -> None:
    """For brokerkit's own users, what would allow it is a command that can be copied."""
    place.joinpath("home").mkdir()
    data = ("--data-dir", "data dir")
    assert brokerkit(place, "user", "add", "eve", "--generate", *data).returncode == 0
    done = brokerkit(place, "acl", "explain", "eve", "publish", "a.*", *data, "--json")
    (command,) = json.loads(done.stdout)["to_allow"]
    assert done.returncode == 1
    assert brokerkit(place, *shlex.split(command)[1:]).returncode == 0
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    asked = subprocess.run(  # as people do it, with a process of its own
        [sys.executable, "-m", "brokerkit", "acl", "explain", "eve", "publish", "a.*", *data],
        cwd=place,
        env={**os.environ, "PYTHONPATH": path, "HOME": str(place / "home")},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert f"{place}/data dir/users.sqlite: eve" in asked.stdout


def test_flags_in_place_of_a_file(place: Path) -> None:
    """Sources can be named as for the broker; they are asked in their order."""
    sources = ("--auth", "env", "--auth", "users.json")
    done = brokerkit(place, "acl", "explain", "bob", "publish", "dionaea", *sources)
    assert done.returncode == 0
    assert "note:        env does not know the user" in done.stdout
    environment = {"HPFEEDS_BOB_SECRET": "x"}
    done = brokerkit(place, "acl", "explain", "bob", "publish", "dionaea", *sources, **environment)
    assert done.returncode == 1
    assert f"json:{place}/users.json has a user of this name too, who is shadowed" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bob", "pubish", "x", "--auth", "env"), "did you mean publish?"),
        (("bob", "publish", "nats:a b", "--auth", "env"), "nats:a b: a subject of NATS has no blank"),
        (("bob", "publish", "x", "-c", "missing.toml"), "missing.toml: cannot be read"),
        (("bob", "publish"), "Missing argument 'NAME'"),
    ],
)
def test_a_wrong_command_line(place: Path, words: tuple[str, ...], said: str) -> None:
    """It is exit code 2, and says what was expected."""
    done = brokerkit(place, "acl", "explain", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_source_that_cannot_be_used(place: Path) -> None:
    """It is exit code 3: nothing is known, which is no denial."""
    done = brokerkit(place, "acl", "explain", "bob", "publish", "x", "--auth", "missing.json")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "missing.json" in done.stderr
