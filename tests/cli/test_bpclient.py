"""``brokerkit bpclient`` with a registry: the original's output to the byte, its exit codes, and what is beside."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from brokerkit.cli import bpclient_trust
from brokerkit.cli.bpclient_discover import _different
from brokerkit.cli.bpclient_errors import Fatal
from brokerkit.cli.bpclient_talk import Talk, read_address
from brokerkit.cli.bpclient_trust import Known, Trust, read_fingerprints
from brokerkit.protocols.bpbroker import places
from brokerkit.protocols.bpbroker.asking import Found
from tests import test_program
from tests.certificates import Authority
from tests.cli.commands import Done, brokerkit
from tests.cli.registry_world import Original, World, registry
from tests.test_program import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITTEN = ("last_write_ip", "last_write_ts")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Give a registry that runs, with an open section and one with a key."""
    place = tmp_path_factory.mktemp("registry")
    (place / "bpbroker.json").write_text('{"locked": {"_access_key": "hush"}, "echo": {}}')
    with mock.patch.dict(os.environ, BPBROKER_HOME=str(place / "none")), registry(place) as found:
        found.client("ping", "--data", "x")  # the first time its certificate is shown
        yield found


@contextmanager
def later(seconds: float, *doing: object) -> Iterator[None]:
    """Call something after a while, in a thread."""
    call, *words = doing
    timer = threading.Timer(seconds, call, words)  # type: ignore[arg-type]
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join(PATIENCE)


def _said(text: str) -> Done:
    return Done(0, text + "\n", "")


def _fatal(text: str) -> Done:
    return Done(1, "", f"Fatal error: {text}\n")


# -- the original's commands ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "shown"),
    [("foo", "foo"), ('{"a": 1}', '{"a": 1}'), ("", ""), ("5", "5"), ("[1, 2]", "[1, 2]"), ("ä", "ä")],
)
def test_ping(world: World, data: str, shown: str) -> None:
    """The broker gives back what it got: text as it is, JSON in one line."""
    assert world.client("ping", "--data", data) == _said(shown)


def test_text(world: World) -> None:
    """Plain text comes back as it was, from every command."""
    assert world.client("service", "register", "--name", "text", "--data", "a b\tc") == _said("a b\tc")
    assert world.client("service", "replace", "--name", "text", "--data", "d&e=f;g") == _said("d&e=f;g")
    assert world.client("service", "update", "--name", "text", "--data", "+%20") == _said("+%20")
    assert world.get("text") == _said("+%20")


def test_objects(world: World) -> None:
    """An object comes back in one line, with what the broker adds."""
    for command, data, members in (
        ("register", {"a": 1}, {"a": 1}),
        ("update", {"b": [2]}, {"a": 1, "b": [2]}),
        ("replace", {"c": {"d": None}}, {"c": {"d": None}}),
    ):
        done = world.client("service", command, "--name", "object", "--data", json.dumps(data))
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
        found = json.loads(done.stdout)
        assert found.pop("last_write_ip") == "127.0.0.1"
        assert abs(found.pop("last_write_ts") - time.time()) < PATIENCE
        assert found == members


def test_what_cannot_be(world: World) -> None:
    """What is there already, and what is not there, are errors in the original's words."""
    world.replace("foo", "x")
    done = world.client("service", "register", "--name", "foo", "--data", "y")
    assert done == _fatal("Entry 'foo' already exists")
    assert world.get("nope") == _fatal("Entry 'nope' not found")
    assert world.client("--strict-exit", "service", "get", "--name", "nope").returncode == 3


def test_delete(world: World) -> None:
    """Deleting says nothing, whether there was something or not."""
    world.replace("away", "x")
    for _ in range(2):
        assert world.client("service", "delete", "--name", "away") == Done(0, "", "")
    assert world.get("away").returncode == 1


def test_reserved_members(world: World) -> None:
    """What the broker refuses is told in its words."""
    done = world.replace("reserved", '{"last_write_ip": 1}')
    assert done == _fatal("Used reserved data name last_write_ip")


def test_long_values(world: World) -> None:
    """A long value is written and read back."""
    text = "x" * 60_000
    assert world.replace("long", text) == _said(text)


@pytest.mark.parametrize("name", ["a/b", "ä ö", "a.b>*", "x" * 200, "'", "?&=;#%"])
def test_names(world: World, name: str) -> None:
    """Any name can be used, with the modern commands, too."""
    assert world.replace(name, "v") == _said("v")
    assert world.get(name) == _said("v")
    assert world.client("list", name) == _said(name)
    assert world.client("wait-for", "--timeout", "5", "--", name) == _said("v")


def test_execute(world: World) -> None:
    """What the broker refuses is told with its status and its words; a method without a package is none."""
    refused = world.client("execute", "--method", "none.Such", "--data", "x")
    assert refused == _fatal("Response Error 401: Unauthorized package")
    assert world.client("execute", "--method", "nodot", "--data", "x") == _fatal("--method nodot: expected PKG.METHOD")
    refused = world.client("--strict-exit", "execute", "--method", "locked.M", "--data", "x")
    assert (refused.returncode, refused.stderr) == (4, "Fatal error: Response Error 401: Incorrect access key\n")


def test_discover(world: World) -> None:
    """The address of a broker that has the entry, and nothing else; without one an error."""
    world.replace("master", "x")
    where = ("--to", "127.0.0.1", "--port", world.port)
    assert world.client("discover", "--name", "master", *where) == _said("127.0.0.1")
    assert world.client("discover", "--name", "master", "--unique", "--seconds", "0.3", *where) == _said("127.0.0.1")
    assert world.client("discover", "--name", "none", "--seconds", "0.3", *where) == _fatal("No results")
    shown = world.client("-f", "csv", "--cols", "host", "port", "discover", "--name", "master", *where)
    assert shown == _said(f"host,port\n127.0.0.1,{world.port}")


def test_several_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --unique, several different brokers are an error; one that answers from all our addresses is one."""
    mine = [(1, ip_interface("127.0.0.1/8")), (2, ip_interface("198.51.100.1/24"))]
    monkeypatch.setattr(places, "interfaces", lambda: mine)
    hosts = [Found(host, 1) for host in ("127.0.0.1", "198.51.100.1", "198.51.100.2", "198.51.100.3")]
    assert [one.host for one in _different(hosts)] == ["198.51.100.1", "198.51.100.2", "198.51.100.3"]
    assert len(_different([Found("198.51.100.2", 1, "a" * 64, "me"), Found("198.51.100.3", 1, "a" * 64, "me")])) == 1


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("service", "get"),
        ("nothing",),
        ("-f", "xml", "ping"),
        ("service", "register", "--name", "x"),
        ("--ca", "/dev/null", "--insecure", "ping"),
        ("--fingerprint", "abc", "ping"),
        ("wait-for",),
        ("lock", "name"),
        ("watch", "a", "--prefix", "b"),
    ],
)
def test_usage(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A command line that cannot be meant is answered with the usage, and exit code 2."""
    done = brokerkit(tmp_path, "bpclient", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: ")


def test_no_broker(tmp_path: Path) -> None:
    """Without an address, with an odd one, and with one where nobody is, there is one line and exit code 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    for words, text in (
        ((), "there is no broker: give -b HOST:PORT, or set BPBROKER"),
        (("-b", address), f"{address}: Connection refused"),
        (("-b", "host:x"), "-b host:x: expected HOST:PORT"),
        (("-b", "::1:5"), "-b ::1:5: an IPv6 address stands in brackets, as in [::1]:20443"),
    ):
        assert brokerkit(tmp_path, "bpclient", *words, "ping", "--data", "x") == _fatal(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [("h", ("h", 443)), ("h:1", ("h", 1)), ("[::1]", ("::1", 443)), ("[fe80::1%eth0]:20443", ("fe80::1%eth0", 20443))],
)
def test_addresses(text: str, found: tuple[str, int]) -> None:
    """Without a port it is 443, as it was."""
    assert read_address(text) == found


@pytest.mark.parametrize("text", ["", ":1", "h:", "h:0", "h:65536", "h:1_0", "h:²", "h:99999999999999999999"])
def test_odd_addresses(text: str) -> None:
    """What is no address is refused."""
    with pytest.raises(Fatal, match="expected HOST:PORT"):
        read_address(text)


# -- formats ----------------------------------------------------------------------------------------------------------


def test_json(world: World) -> None:
    """JSON is JSON."""
    world.replace("format", "bar")
    assert world.client("-f", "json", "service", "get", "--name", "format") == _said('{"data": "bar"}')
    raw = json.loads(world.client("-f", "json", "service", "get", "--name", "format", "--raw").stdout)
    assert (raw["success"], raw["message"], raw["data"]["_str"]) == (True, "Success", "bar")


def test_csv(world: World) -> None:
    """CSV is CSV, whatever the values are."""
    world.replace("csv", '{"a": "x,\\"y\\"\\nz", "b": [1]}')
    table = world.client("-f", "csv", "--cols", "a", "b", "none", "service", "get", "--name", "csv").stdout
    assert list(csv.reader(io.StringIO(table))) == [["a", "b", "none"], ['x,"y"\nz', "[1]", ""]]
    bare = world.client("-f", "csv-noheader", "--cols", "b", "-f", "csv-noheader", "service", "get", "--name", "csv")
    assert bare == _said("[1]")


def test_columns(world: World) -> None:
    """As text, columns stand in one line with tabs between them; a column may be called like a command."""
    world.replace("columns", '{"service": 1, "b": "two"}')
    assert world.client("--cols", "service", "b", "service", "get", "--name", "columns") == _said("1\ttwo")
    assert world.client("--cols", "b", "--strict-exit", "service", "get", "--name", "columns") == _said("two")


def test_raw(world: World) -> None:
    """Raw text is the record with all that is in it."""
    world.replace("raw", "x")
    found = json.loads(world.client("service", "get", "--name", "raw", "--raw").stdout)
    assert sorted(found) == ["_str", *WRITTEN]
    assert world.client("ping", "--data", "x", "--raw") == _said('{"_str": "x"}')


# -- the access key ---------------------------------------------------------------------------------------------------


def test_where_the_key_comes_from(world: World, tmp_path: Path) -> None:
    """The key comes from the command line, a file or the environment; what is closer wins."""
    (tmp_path / "key").write_text("hush\n")
    call = ("execute", "--method", "locked.M", "--data", "x")
    wanted = _fatal("Response Error 401: Unauthorized method")  # the key is good, and there is no such module
    assert world.client("-a", "hush", *call, BPBROKER_ACCESS_KEY="wrong") == wanted
    assert world.client("--access-key-file", str(tmp_path / "key"), *call, BPBROKER_ACCESS_KEY="wrong") == wanted
    assert world.client(*call, BPBROKER_ACCESS_KEY="hush") == wanted
    assert world.client("-a", "wrong", *call, BPBROKER_ACCESS_KEY="hush") != wanted


@pytest.mark.parametrize("key", ["hush\nhush", "hushä", " hush", "hush" * 2000, "hush\x00"])
def test_odd_keys(world: World, key: str) -> None:
    """A key that cannot be one is refused before anything is sent, and not shown."""
    done = world.client("-a", key, "ping", "--data", "x")
    assert done.returncode == 1
    assert done.stderr.startswith("Fatal error: --access-key: expected")
    assert "hush" not in done.stderr


@pytest.mark.parametrize("content", ["", "a\nb\n", "\n"])
def test_odd_key_files(world: World, tmp_path: Path, content: str) -> None:
    """A file of a key has one line."""
    (tmp_path / "key").write_text(content)
    done = world.client("--access-key-file", str(tmp_path / "key"), "ping", "--data", "x")
    assert (done.returncode, "expected one line" in done.stderr) == (1, True)


# -- trust ------------------------------------------------------------------------------------------------------------


def test_first_and_later(world: World, tmp_path: Path) -> None:
    """The first time the key is written down, and told of; then it has to be the same."""
    known = tmp_path / "brokers"
    call = ("--known-brokers", str(known), "ping", "--data", "x")
    first = world.client(*call)
    assert (first.stdout, "for the first time" in first.stderr) == ("x\n", True)
    assert known.stat().st_mode & 0o777 == 0o600
    assert world.client(*call) == _said("x")
    known.write_text(f"{world.address} {'0' * 64}\n")
    refused = world.client(*call)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"{world.address} has another key than before" in refused.stderr
    subprocess.run(["sh", "-c", refused.stderr.rpartition(": ")[2]], check=True)
    assert known.read_text() == ""
    assert world.client(*call).stdout == "x\n"


def test_the_key_that_the_broker_says_is_the_one_that_is_written_down(world: World, tmp_path: Path) -> None:
    """Who compares the two knows whom they trust, also after the certificate was renewed."""
    known = tmp_path / "brokers"
    first = world.client("--known-brokers", str(known), "ping", "--data", "x")
    _, key = re.findall(r"SHA-256 ([0-9A-F:]{95})", world.program.output)
    digest = key.replace(":", "").lower()
    assert known.read_text() == f"{world.address} {digest}\n"
    assert f"of its key {digest}" in first.stderr
    assert world.client("--fingerprint", key, "ping", "--data", "x", HOME=str(tmp_path)) == _said("x")


def test_odd_lines(tmp_path: Path) -> None:
    """A line that says no key ends it, with its number; other lines are not looked at."""
    (tmp_path / "known").write_text(f"# mine\nother:1 x\nhost:1 {'a' * 64}\nodd:1 abc\n")
    assert Known(tmp_path / "known").key("HOST", 1) == "a" * 64
    assert Known(tmp_path / "known").key("host", 2) is None
    with pytest.raises(Fatal, match="known:4: expected"):
        Known(tmp_path / "known").key("odd", 1)


def test_what_cannot_be_written_down(world: World, tmp_path: Path) -> None:
    """Where the key cannot be written down, nobody is trusted."""
    (tmp_path / "file").touch()
    done = world.client("--known-brokers", str(tmp_path / "file" / "known"), "ping", "--data", "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert "file/known: " in done.stderr


def test_fingerprint(world: World, tmp_path: Path) -> None:
    """The fingerprint that the broker logs is good in any spelling, as is that of its key, and no other."""
    shown = world.program.output.partition("SHA-256 ")[2].split()[0]
    (line,) = (world.place / "home/.config/brokerkit/known_brokers").read_text().splitlines()
    for text in (shown, shown.replace(":", "").lower(), f"sha256:{shown}", line.split()[1], f"{'0' * 64},{shown}"):
        assert world.client("--fingerprint", text, "ping", "--data", "x", HOME=str(tmp_path)) == _said("x")
    refused = world.client("--fingerprint", "0" * 64, "ping", "--data", "x")
    assert (refused.returncode, "not the expected one" in refused.stderr) == (1, True)
    assert not (tmp_path / ".config").exists()
    assert read_fingerprints(f"SHA-256={shown}") == [shown.replace(":", "").lower()]


def test_authority(world: World, tmp_path: Path) -> None:
    """A certificate that is trusted as an authority is enough; with another one nobody is trusted."""
    assert world.client("--ca", str(world.data / "bpbroker.crt"), "ping", "--data", "x") == _said("x")
    refused = world.client("--ca", Authority(tmp_path).path, "ping", "--data", "x")
    assert refused.returncode == 1
    assert "the certificate is not accepted" in refused.stderr


def test_insecure(world: World) -> None:
    """Without any look at the certificate it works, but is said."""
    done = world.client("--insecure", "ping", "--data", "x")
    assert (done.returncode, done.stdout) == (0, "x\n")
    assert "whoever answers is taken for the broker" in done.stderr


def test_the_published_key(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that shows the key that the original has everywhere is refused, even by its fingerprint."""
    host, port = read_address(world.address)
    trust = Trust(known=tmp_path / "known")
    trust.connect(host, port, PATIENCE).close()
    monkeypatch.setattr(bpclient_trust, "PUBLISHED", str(Known(trust.known).key(host, port)))
    for one in (trust, Trust(fingerprint=bpclient_trust.PUBLISHED)):
        with pytest.raises(Fatal, match="private key is public"):
            one.connect(host, port, PATIENCE)


# -- a broker of the original -----------------------------------------------------------------------------------------


@pytest.fixture
def original(tmp_path: Path) -> Iterator[Original]:
    """Give a broker of the original, with the key ``hush``."""
    Authority(tmp_path).issue("original")
    found = Original(tmp_path / "original", "hush")
    record = {"_str": "bar", "last_write_ip": "127.0.0.1", "last_write_ts": 1}
    found.replies["/services/Get/"] = ("200 OK", json.dumps({"success": True, "message": "Success", "data": record}))
    yield found
    found.close()


def test_the_original(tmp_path: Path, original: Original) -> None:
    """It is understood, though it hangs up without a word, and gets the key in its own way, but not in the address."""
    words = ("bpclient", "-b", original.address, "-a", "hush", "--insecure")
    done = brokerkit(tmp_path, *words, "service", "get", "--name", "foo bar")
    assert (done.returncode, done.stdout) == (0, "bar\n")
    first, second = original.heard
    assert first[2] == {"name": "foo bar"}
    assert second[0] == "/services/Get/"
    assert second[2] == {"access_key": "hush", "name": "foo bar"}


def test_errors_of_the_original(tmp_path: Path, original: Original) -> None:
    """Its errors, which are HTML, are told by what its status line says; what it cannot do is told, too."""
    words = ("bpclient", "-b", original.address, "--insecure")
    refused = brokerkit(tmp_path, *words, "service", "get", "--name", "foo")
    assert refused.stderr.endswith("Fatal error: Incorrect access key\n")
    for command in (("list",), ("watch",), ("lock", "x", "true")):
        done = brokerkit(tmp_path, *words, "-a", "hush", *command)
        assert done.returncode == 1
        assert done.stderr.endswith("the broker is an original one, which cannot do this\n")


def test_waiting_for_the_original(tmp_path: Path, original: Original) -> None:
    """Waiting works with it, by asking again."""
    words = ("bpclient", "-b", original.address, "-a", "hush", "--insecure", "wait-for", "foo", "--timeout", "5")
    assert brokerkit(tmp_path, *words).stdout == "bar\n"


def test_what_is_no_broker(tmp_path: Path, original: Original) -> None:
    """An answer that cannot be understood is one line."""
    original.replies["/services/Get/"] = ("200 OK", "[]")
    words = ("bpclient", "-b", original.address, "-a", "hush", "--insecure", "service", "get", "--name", "foo")
    assert brokerkit(tmp_path, *words).stderr.endswith("Fatal error: the answer is no JSON object\n")


def test_who_says_nothing(tmp_path: Path) -> None:
    """Somebody who takes the connection and says nothing does not hold us up for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        done = brokerkit(tmp_path, "bpclient", "-b", address, "--timeout", "0.2", "--insecure", "ping", "--data", "x")
    assert done.returncode == 1
    assert done.stderr.endswith(f"{address}: no answer within 0.2 seconds\n")


# -- list, watch, wait-for --------------------------------------------------------------------------------------------


def test_list(world: World) -> None:
    """Names come in order, page by page, with columns if they are wanted."""
    for number in range(3):
        world.replace(f"list-{number}", f'{{"n": {number}}}')
    with mock.patch("brokerkit.cli.bpclient_watch.PAGE", 2):
        assert world.client("list", "list-") == _said("list-0\nlist-1\nlist-2")
        table = world.client("-f", "csv", "list", "list-").stdout
    assert next(csv.reader(io.StringIO(table))) == ["name", "data"]
    assert table.count("name") == 1
    assert table.count("\n") == 4
    lines = world.client("-f", "json", "list", "list-1").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [{"name": "list-1", "data": {"n": 1}}]
    assert world.client("list", "none-") == Done(0, "", "")


def test_watch(world: World) -> None:
    """What is there comes first, then each change, with deletions."""
    world.replace("watch-a", "1")

    def change() -> None:
        talk = Talk(*read_address(world.address), Trust(insecure=True), "")
        talk.method("services", "Replace", name="watch-b", data='{"x": 2}')
        talk.method("services", "Delete", name="watch-a")
        talk.close()

    with later(0.3, change):
        done = world.client("watch", "--prefix", "watch-", "-n", "3")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[1:] for row in rows] == [
        ["put", "watch-a", "1"],
        ["put", "watch-b", '{"x": 2}'],
        ["delete", "watch-a", ""],
    ]
    revision = rows[0][0]
    again = world.client("-f", "json", "watch", "--prefix", "watch-", "--since", revision, "-n", "2")
    assert [json.loads(line)["operation"] for line in again.stdout.splitlines()] == ["put", "delete"]


def test_wait_for(world: World) -> None:
    """It comes back as soon as the entry is there, and not later than the time that is given."""
    with later(0.3, _write, world, "awaited"):
        done = world.client("wait-for", "awaited", "--timeout", str(PATIENCE))
    assert done == _said("v")
    assert world.client("wait-for", "--name", "awaited") == _said("v")
    assert world.client("wait-for", "awaited", "--quiet") == Done(0, "", "")
    began = time.monotonic()
    assert world.client("wait-for", "never", "--timeout", "0.3") == _fatal("Entry 'never' not found within 0.3 seconds")
    assert time.monotonic() - began < PATIENCE


def _write(world: World, name: str) -> None:
    talk = Talk(*read_address(world.address), Trust(insecure=True), "")
    talk.method("services", "Replace", name=name, data="v")
    talk.close()


# -- lock -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("program", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + signal.SIGTERM)])
def test_lock(world: World, program: str, code: int) -> None:
    """The command runs with the lock, its exit code is passed on, and the lock is free again."""
    assert world.client("lock", "one", "--", "sh", "-c", program).returncode == code
    assert world.client("list", "lock/one") == Done(0, "", "")


def test_the_token(world: World, tmp_path: Path) -> None:
    """The command finds a number in its environment that grows from holder to holder."""
    write = f'echo "$BPBROKER_LOCK_TOKEN" >> {tmp_path / "tokens"}'
    for _ in range(2):
        world.client("lock", "token", "--", "sh", "-c", write)
    first, second = map(int, (tmp_path / "tokens").read_text().split())
    assert first < second


def test_options_of_the_command(world: World, tmp_path: Path) -> None:
    """What stands behind the name, or behind two hyphens, is the command's, options and all."""
    write = f"echo $0 >> {tmp_path / 'said'}"
    for words in (("--ttl", "5", "nine", "sh", "-c"), ("nine", "--ttl", "5", "--", "sh", "-c")):
        assert world.client("lock", *words, write, "--ttl").returncode == 0
    assert (tmp_path / "said").read_text().split() == ["--ttl", "--ttl"]


def test_no_command(world: World) -> None:
    """A command that is not there is an error as in a shell, and the lock is given back."""
    done = world.client("lock", "two", "/none/such")
    assert (done.returncode, "/none/such: No such file" in done.stderr) == (127, True)
    assert world.client("list", "lock/two") == Done(0, "", "")


def test_held_by_another(world: World, tmp_path: Path) -> None:
    """Who does not get the lock in time is told who has it, and the command does not run."""
    talk = Talk(*read_address(world.address), Trust(insecure=True), "")
    talk.modern("PUT", ("lock", "three"), {"ttl": 60}, body=b'{"host": "elsewhere"}')
    done = world.client("lock", "--timeout", "0.2", "three", "touch", str(tmp_path / "ran"))
    assert done == _fatal('the lock three is held by another: {"host": "elsewhere"}')
    assert not (tmp_path / "ran").exists()
    talk.close()


def test_waiting_for_the_lock(world: World, tmp_path: Path) -> None:
    """Who waits gets the lock when its lease ends."""
    talk = Talk(*read_address(world.address), Trust(insecure=True), "")
    talk.modern("PUT", ("lock", "four"), {"ttl": 0.5})
    talk.close()
    assert world.client("lock", "four", "touch", str(tmp_path / "ran")).returncode == 0
    assert (tmp_path / "ran").exists()


SLEEPER = "trap 'echo stopped >> {file}; exit 5' TERM; echo begun >> {file}; while :; do sleep 0.05; done"


def _when_begun(file: Path, call: object, *words: object) -> threading.Thread:
    """Call something when the command has begun, in a thread."""

    def wait() -> None:
        end = time.monotonic() + PATIENCE
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.02)
        call(*words)  # type: ignore[operator]

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def _delete(world: World, name: str) -> None:
    talk = Talk(*read_address(world.address), Trust(insecure=True), "")
    talk.modern("DELETE", ("kv", name))
    talk.close()


def test_a_lock_that_is_lost(world: World, tmp_path: Path) -> None:
    """When the lock is taken away the command is stopped, and the exit code is 1."""
    file = tmp_path / "said"
    thread = _when_begun(file, _delete, world, "lock/five")
    done = world.client("lock", "--ttl", "2", "five", "sh", "-c", SLEEPER.format(file=file))
    thread.join(PATIENCE)
    assert (done.returncode, "the lock is lost" in done.stderr) == (1, True)
    assert file.read_text().split() == ["begun", "stopped"]


def test_a_broker_that_hangs(world: World, tmp_path: Path) -> None:
    """When the broker does not answer, the command is stopped before the lease could end."""
    file = tmp_path / "said"
    process = world.program.process
    began = time.monotonic()
    thread = _when_begun(file, process.send_signal, signal.SIGSTOP)
    try:
        done = world.client("lock", "--ttl", "2", "--grace", "0.2", "six", "sh", "-c", SLEEPER.format(file=file))
    finally:
        process.send_signal(signal.SIGCONT)
    thread.join(PATIENCE)
    assert (done.returncode, "could not be renewed in time" in done.stderr) == (1, True)
    assert file.read_text().split() == ["begun", "stopped"]
    assert time.monotonic() - began < PATIENCE


def test_a_signal(world: World, tmp_path: Path) -> None:
    """A signal that ends us goes to the command, and its exit code is ours."""
    file = tmp_path / "said"
    before = signal.getsignal(signal.SIGTERM)
    thread = _when_begun(file, os.kill, os.getpid(), signal.SIGTERM)
    done = world.client("lock", "seven", "sh", "-c", SLEEPER.format(file=file))
    thread.join(PATIENCE)
    assert done.returncode == 5
    assert file.read_text().split() == ["begun", "stopped"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_lock_is_renewed(world: World) -> None:
    """A command that takes longer than a lease keeps the lock."""
    program = [sys.executable, "-c", "import time; time.sleep(2.5)"]
    assert world.client("lock", "--ttl", "2", "eight", "--", *program).returncode == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child that its parent is dead")
def test_a_wrapper_that_is_killed(world: World, tmp_path: Path) -> None:
    """By SIGKILL, too: the command ends with it, and does not go on without the lock."""
    file = tmp_path / "pid"
    line = test_program.command("bpclient", "-b", world.address, "--insecure", "lock", "nine", "--", "sh", "-c")
    with subprocess.Popen([*line, f"echo $$ > {file}.new; mv {file}.new {file}; exec sleep {PATIENCE}"]) as wrapper:
        _when_begun(file, wrapper.kill).join(PATIENCE)
    number = int(file.read_text())
    end = time.monotonic() + PATIENCE / 2
    while _runs(number) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _runs(number)


def _runs(number: int) -> bool:
    """Say whether that process does anything; one that is dead may still be in the table."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False
