"""``brokerkit user``: users are added, shown and changed, and no secret is where it should not be."""

from __future__ import annotations

import errno
import json
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import argon2
import pytest
from click.testing import CliRunner, Result

from brokerkit import control
from brokerkit.checkers.entry import Entry
from brokerkit.cli import main
from brokerkit.cli.proofs import ways
from brokerkit.hashing import check
from brokerkit.place import demo_secret, prepare, say_running
from brokerkit.stores.users import UserStore

if TYPE_CHECKING:
    from collections.abc import Callable

NKEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
BCRYPT = "$2b$12$" + "a" * 53


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash at the least cost; what it is otherwise is the affair of ``tests/test_hashing.py``."""
    monkeypatch.setattr(argon2, "PasswordHasher", partial(argon2.PasswordHasher, 1, 8, 1))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Give a data directory that is not there yet."""
    return tmp_path / "data"


@pytest.fixture
def run(data: Path) -> Callable[..., Result]:
    """Give what runs ``brokerkit user``."""

    def run(*words: str, read: str | bytes | None = None, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["user", *words, "--data-dir", str(data)], input=read)
        assert result.exit_code == code, result.output
        assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit)
        if code:
            assert result.stderr
            assert "Traceback" not in result.stderr
        return result

    return run


def stored(data: Path, name: str) -> Entry:
    """Give a user from the store."""
    with UserStore.open(data / "users.sqlite") as store:
        return store.get(name)


def test_add_with_everything(run: Callable[..., Result], data: Path) -> None:
    """Every flag ends in the store."""
    run(
        *("add", "ann", "--stdin", "--publish", "a.>", "--publish", "b", "--subscribe", "c", "--deny-publish", "a.b"),
        *("--deny-subscribe", "d", "--nkey", NKEY, "--certificate", "ann.example", "--owner", "Ann", "--tenant", "red"),
        *("--connections", "1", "--subscriptions", "2", "--payload", "3", "--rate", "4.5"),
        *("--valid-until", "2027-01-31T12:00:00Z"),
        read="hush\n",
    )
    assert stored(data, "ann") == Entry(
        "ann",
        secret="hush",
        nkey=NKEY,
        certificate="ann.example",
        owner="Ann",
        tenant="red",
        publish=("a.>", "b"),
        publish_deny=("a.b",),
        subscribe=("c",),
        subscribe_deny=("d",),
        connections=1,
        subscriptions=2,
        payload=3,
        rate=4.5,
        valid_until="2027-01-31T12:00:00Z",
    )


def test_add_makes_the_store_for_its_owner_alone(run: Callable[..., Result], data: Path) -> None:
    """The first user makes the directory and the store, readable by nobody else."""
    run("add", "ann", "--generate")
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "users.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_prompt(run: Callable[..., Result], data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal the secret is asked for twice, and not shown."""
    monkeypatch.setattr("brokerkit.cli.secret._at_terminal", lambda: True)
    result = run("add", "ann", read="hush\nhush\n")
    assert "Secret of ann" in result.stderr
    assert "hush" not in result.output
    assert stored(data, "ann").secret == "hush"
    run("add", "bob", read="hush\nother\n", code=1)
    assert "bob" not in run("list").stdout


def test_no_terminal(run: Callable[..., Result]) -> None:
    """Without a terminal it is said how else to give the secret."""
    assert "--stdin or --generate" in run("add", "ann", code=2).stderr


@pytest.mark.parametrize("read", [b"", b"\n", b"two\nlines\n", b"x" * 5000, b"\xff"])
def test_what_is_no_secret(run: Callable[..., Result], read: bytes) -> None:
    """Standard input has to be one line of UTF-8 that is not empty."""
    result = run("add", "x", "--stdin", read=read, code=2)
    assert "standard input" in result.stderr
    assert "x" * 50 not in result.output


def test_generate_is_for_scripts(run: Callable[..., Result], data: Path) -> None:
    """What is made stands alone on standard output, everything else on stderr."""
    result = run("add", "ann", "--generate")
    assert result.stdout.strip() == stored(data, "ann").secret
    assert len(result.stdout.strip()) >= 24
    said = json.loads(run("add", "bob", "--generate", "--token", "--json").stdout)
    bob = stored(data, "bob")
    assert (said["secret"], said["token"]) == (bob.secret, bob.token)
    assert bob.secret != bob.token


def test_hashes(run: Callable[..., Result], data: Path) -> None:
    """With --hash only a hash is kept, which later secrets replace by hashes; a hash made elsewhere can be given."""
    run("add", "ann", "--stdin", "--hash", read="hush")
    ann = stored(data, "ann")
    assert ann.secret == ""
    assert ann.password_hash.startswith("$argon2id$")
    assert check(ann.password_hash, b"hush")
    run("passwd", "ann", "--stdin", read="other")
    ann = stored(data, "ann")
    assert (ann.secret, check(ann.password_hash, b"other")) == ("", True)
    run("passwd", "ann", "--stdin", "--recoverable", read="third")
    ann = stored(data, "ann")
    assert (ann.secret, ann.password_hash) == ("third", "")
    run("passwd", "ann", "--stdin", "--is-hash", read=BCRYPT)
    assert stored(data, "ann").password_hash == BCRYPT
    assert "found something else" in run("add", "bob", "--stdin", "--is-hash", read="hush", code=2).stderr


def test_passwd_keeps_the_rest(run: Callable[..., Result], data: Path) -> None:
    """A new secret or token changes nothing else."""
    run("add", "ann", "--stdin", "--publish", "a", "--owner", "Ann", read="hush")
    run("passwd", "ann", "--stdin", read="other")
    assert stored(data, "ann") == Entry("ann", secret="other", publish=("a",), owner="Ann")
    token = run("passwd", "ann", "--token", "--generate").stdout.strip()
    assert stored(data, "ann") == Entry("ann", secret="other", token=token, publish=("a",), owner="Ann")


@pytest.mark.parametrize(
    "words",
    [
        ("add", "ann", "--stdin", "--generate"),
        ("add", "ann", "--generate", "--hash", "--is-hash"),
        ("add", "ann", "--generate", "--publish", "a..b"),
        ("add", "ann", "--generate", "--valid-until", "tomorrow"),
        ("add", "ann", "--generate", "--connections", "-1"),
        ("add", "ann", "--nkey", "UFOO"),
        ("add", "a\nb", "--generate"),
        ("allow", "bob", "publish", "a..b"),
        ("allow", "bob", "consume", "a"),
        ("allow", "bob", "publish"),
        ("passwd", "bob", "--token", "--hash", "--generate"),
    ],
)
def test_wrong_command_lines(run: Callable[..., Result], data: Path, words: tuple[str, ...]) -> None:
    """What cannot be meant ends with exit code 2, and changes nothing."""
    run("add", "bob", "--generate")
    before = stored(data, "bob")
    run(*words, code=2)
    assert stored(data, "bob") == before
    assert [json.loads(line)["name"] for line in run("list", "--json").stdout.splitlines()] == ["bob"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "eve"), "there is no user 'eve'; `brokerkit user list` shows who there is"),
        (("remove", "eve"), "there is no user 'eve'"),
        (("passwd", "eve", "--generate"), "there is no user 'eve'"),
        (("allow", "eve", "publish", "a"), "there is no user 'eve'"),
        (("deny", "bob", "publish", "a", "--undo"), "publish_deny has no rule 'a'; it has: b"),
        (("add", "bob", "--generate"), "there is a user bob already"),
        (("add", "eve", "--certificate", "bob.example"), "the user bob has the same certificate"),
    ],
)
def test_refusals(run: Callable[..., Result], words: tuple[str, ...], said: str) -> None:
    """What cannot be done is one line that says what to do, and exit code 1."""
    run("add", "bob", "--certificate", "bob.example", "--deny-publish", "b")
    result = run(*words, code=1)
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_no_store(run: Callable[..., Result], data: Path) -> None:
    """Where there is no store, nothing but ``add`` makes one."""
    assert "`brokerkit user add` makes it" in run("list", code=1).stderr
    assert not data.exists()


def test_a_store_that_cannot_be_used(run: Callable[..., Result], data: Path) -> None:
    """Whatever is wrong with the file is one line with its name."""
    data.mkdir()
    (data / "users.sqlite").write_text("no database, but longer than sixteen bytes" * 20)
    for words in (("list",), ("add", "ann", "--generate")):
        result = run(*words, code=1)
        assert result.stderr == f"brokerkit: {data / 'users.sqlite'}: is no SQLite database\n"


def test_a_locked_store(run: Callable[..., Result], data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that another program is writing to is one line; nothing is lost."""
    run("add", "ann", "--generate")
    other = sqlite3.connect(data / "users.sqlite", isolation_level=None)
    other.execute("begin immediate")
    monkeypatch.setattr(UserStore.open.__func__, "__kwdefaults__", {"make": False, "first": (), "patience": 0.01})
    assert "another program has locked it; try again" in run("remove", "ann", code=1).stderr
    other.close()
    assert stored(data, "ann").name == "ann"


def test_show_says_how_the_user_logs_in(run: Callable[..., Result]) -> None:
    """For each protocol it is said by what, or why not; secrets only on demand."""
    run("add", "ann", "--stdin", "--nkey", NKEY, read="hush")
    run("add", "bob", "--stdin", "--hash", read="hush")
    shown = run("show", "ann").stdout
    assert "hush" not in shown
    assert "logs in by hpfeeds  secret" in shown
    assert "user and password, nkey" in shown
    assert "hush" in run("show", "ann", "--secret").stdout
    assert "its challenge needs a secret that can be read back" in run("show", "bob").stdout
    said = json.loads(run("show", "bob", "--json").stdout)
    assert said["logs_in_by"] == {
        "hpfeeds": [],
        "nats": ["user and password"],
        "kafka": ["user and password"],
    }
    assert said["password_hash"] is True
    assert json.loads(run("show", "ann", "--json", "--secret").stdout)["secret"] == "hush"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"secret": "x"}, {"hpfeeds": ["secret"], "nats": ["user and password"], "kafka": ["user and password"]}),
        ({"password_hash": BCRYPT}, {"hpfeeds": [], "nats": ["user and password"], "kafka": ["user and password"]}),
        ({"token": "x"}, {"hpfeeds": [], "nats": ["token"], "kafka": ["token"]}),
        ({"nkey": NKEY}, {"hpfeeds": [], "nats": ["nkey"], "kafka": []}),
        ({"certificate": "x"}, {"hpfeeds": ["client certificate"], "nats": ["client certificate"], "kafka": []}),
    ],
)
def test_ways(fields: dict[str, Any], expected: dict[str, list[str]]) -> None:
    """Each proof opens the protocols that can carry it."""
    assert ways(Entry("ann", **fields).known("")) == expected


def test_list(run: Callable[..., Result]) -> None:
    """All users are listed, without secrets, with denials marked; what looks like markup is shown as it is."""
    run("add", "ann", "--stdin", "--publish", "a", "--deny-publish", "a.b", "--owner", "[red]Ann[/red]", read="hush")
    run("add", "bob", "--stdin", "--tenant", "blue", read="shh")
    shown = run("list").stdout
    assert "a, !a.b" in shown
    assert "[red]Ann[/red]" in shown
    assert "blue" in shown
    assert "hush" not in shown
    lines = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert [line["name"] for line in lines] == ["ann", "bob"]
    assert all(line["secret"] is True for line in lines)


def test_allow_and_deny(run: Callable[..., Result], data: Path) -> None:
    """Rules are added once each, in order, and taken away again."""
    run("add", "ann", "--generate", "--publish", "a")
    run("allow", "ann", "publish", "b", "a", "c.>")
    run("allow", "ann", "subscribe", ">")
    run("deny", "ann", "subscribe", "x.*")
    said = json.loads(run("deny", "ann", "publish", "c.d", "--json").stdout)
    assert said["publish_deny"] == ["c.d"]
    ann = stored(data, "ann")
    assert (ann.publish, ann.publish_deny) == (("a", "b", "c.>"), ("c.d",))
    assert (ann.subscribe, ann.subscribe_deny) == ((">",), ("x.*",))
    run("allow", "ann", "publish", "a", "c.>", "--undo")
    run("deny", "ann", "publish", "c.d", "--undo")
    ann = stored(data, "ann")
    assert (ann.publish, ann.publish_deny) == (("b",), ())


def test_what_stays_denied_is_said(run: Callable[..., Result]) -> None:
    """To allow what a denial covers changes nothing, so the command that would is shown."""
    run("add", "ann", "--generate", "--deny-publish", "a.*")
    said = run("allow", "ann", "publish", "a.b").stderr
    assert "brokerkit user deny ann publish 'a.*' --undo" in said
    assert "--undo" not in run("allow", "ann", "publish", "b").stderr


def test_remove(run: Callable[..., Result]) -> None:
    """Who is removed is gone."""
    run("add", "ann", "--generate")
    run("remove", "ann")
    assert run("list", "--json").stdout == ""


def test_another_store(run: Callable[..., Result], tmp_path: Path) -> None:
    """--users names a store that is not in the data directory."""
    other = tmp_path / "other.sqlite"
    run("add", "ann", "--generate", "--users", str(other))
    assert other.exists()
    assert "ann" in run("list", "--users", str(other)).stdout
    run("list", code=1)


def test_the_broker_is_told(run: Callable[..., Result], data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each change, and after nothing else, a running broker is asked to look at its users."""
    told: list[tuple[Path, Any]] = []

    def tell(directory: Path, request: Any) -> dict[str, Any]:
        told.append((directory, request))
        return {}

    monkeypatch.setattr(control, "tell", tell)
    changes = [
        ("add", "ann", "--generate"),
        ("passwd", "ann", "--generate"),
        ("allow", "ann", "publish", "a"),
        ("deny", "ann", "publish", "b"),
        ("remove", "ann"),
    ]
    for words in changes:
        run(*words)
        run("list")
    assert told == [(data, {"do": "look"})] * len(changes)


@pytest.mark.parametrize(("sources", "said"), [(["json:/x"], True), (["users:{}"], False), (None, False)])
def test_a_broker_with_other_users(
    run: Callable[..., Result], data: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str] | None, *, said: bool
) -> None:
    """Where a broker runs that does not read this store, that is said; the change is made all the same."""
    answer = {} if sources is None else {"sources": [one.format(data / "users.sqlite") for one in sources]}
    monkeypatch.setattr(control, "tell", lambda *_: answer)
    added = run("add", "ann", "--generate")
    assert ("has no users from" in added.stderr and "--auth users" in added.stderr) is said
    assert "ann" in run("list").stdout


def test_kick(run: Callable[..., Result], data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker closes the connections and says how many; without a broker the exit code is 3."""
    assert "no broker runs on" in run("kick", "ann", code=3).stderr

    def tell(directory: Path, request: Any) -> dict[str, Any]:
        assert (directory, request) == (data, {"do": "kick", "name": "ann"})
        return {"kicked": 2}

    monkeypatch.setattr(control, "tell", tell)
    assert "2 connections" in run("kick", "ann").stderr
    assert json.loads(run("kick", "ann", "--json").stdout) == {"name": "ann", "kicked": 2}


def test_the_first_start(data: Path) -> None:
    """The store is made with the demo user, once; it is not made again after it was removed."""
    assert prepare(data) == ("users",)
    secret = demo_secret(data)
    assert len(secret) >= 24
    assert stored(data, "demo") == Entry("demo", secret=secret, publish=(">",), subscribe=(">",))
    assert prepare(data) == ("users",)
    assert demo_secret(data) == secret
    with UserStore.open(data / "users.sqlite") as store:
        store.remove("demo")
    prepare(data)
    assert demo_secret(data) == ""


def test_users_of_an_earlier_version(data: Path) -> None:
    """A users.json in the data directory is known after the store; its demo user stays what it was."""
    data.mkdir()
    users = {"demo": {"owner": "", "secret": "hush", "publish": [">"], "subscribe": [">"]}}
    (data / "users.json").write_text(json.dumps(users))
    assert prepare(data) == ("users", f"json:{data / 'users.json'}")
    assert demo_secret(data) == "hush"
    with UserStore.open(data / "users.sqlite") as store:
        assert store.names() == []


def test_where_the_demo_secret_is(data: Path) -> None:
    """What is printed at the start names the store's command, or the file of an earlier version, never the secret."""
    from brokerkit.cli.table import _whose_secret

    data.mkdir()
    users = {"demo": {"owner": "", "secret": "hush", "publish": [">"], "subscribe": [">"]}}
    (data / "users.json").write_text(json.dumps(users))
    prepare(data)
    assert str(data / "users.json") in _whose_secret(data)
    (data / "users.json").unlink()
    (data / "users.sqlite").unlink()
    prepare(data)
    assert "user show demo --secret" in _whose_secret(data)
    assert demo_secret(data) not in _whose_secret(data)


def test_show_says_that_a_time_has_passed(run: Callable[..., Result]) -> None:
    """A user who is no longer let in looks like one."""
    run("add", "ann", "--generate", "--valid-until", "2020-01-01T00:00:00Z")
    run("add", "bob", "--generate", "--valid-until", "2999-01-01T00:00:00Z")
    assert "2020-01-01T00:00:00Z (has passed)" in run("show", "ann").stdout
    assert "passed" not in run("show", "bob").stdout
    assert json.loads(run("show", "ann", "--json").stdout)["valid_until"] == "2020-01-01T00:00:00Z"


def test_a_full_disk_leaves_no_draft(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be put in its place leaves nothing behind."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    data.mkdir()
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        say_running(data, {})
    assert list(data.iterdir()) == []


def test_help_is_light() -> None:
    """To show the help, no database and no cryptography is loaded."""
    program = (
        "import sys\nfrom brokerkit.cli import main\n"
        "try: main(['user', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit(bool({'sqlite3', 'cryptography', 'argon2'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kick" in done.stdout
