"""``brokerkit hpfeeds-broker``: the original's options and examples, and what is answered when they are wrong."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import ssl
import sys
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner
from cryptography import x509

from tests.certificates import Authority
from tests.exchange import heard, heard_of
from tests.test_program import PATIENCE, _run, running

if TYPE_CHECKING:
    from tests.test_program import Running

command = import_module("brokerkit.cli.hpfeeds_broker")  # in the package itself the name is the command's
LOOPBACK = "127.0.0.1"
ALL_OF_IT = b"\x00hello\xff"
USER = ("me", "ident", "secret", '["chan1"]', '["chan1"]')
INSERT = "INSERT INTO authkeys (owner, ident, secret, pubchans, subchans) VALUES (?, ?, ?, ?, ?)"
# The example of the original's documentation has this slip, too.
TRAILING_COMMA = """\
{
  "sensor": {
    "owner": "me",
    "secret": "long and strong",
    "subchans": ["chan1"],
    "pubchans": [],
  }
}
"""


def broker(*arguments: str) -> list[str]:
    """Give the command line."""
    return [sys.executable, "-m", "brokerkit", "hpfeeds-broker", *arguments]


def addresses(program: Running) -> list[tuple[str, int]]:
    """Give where it listens for hpfeeds, in the order of the endpoints."""
    found = re.findall(r"hpfeeds listening on (\S+):(\d+)", program.output)
    return [(LOOPBACK if host == "0.0.0.0" else host.strip("[]"), int(port)) for host, port in found]  # noqa: S104


def insert(file: Path) -> None:
    """Add a user in the way of the original's documentation."""
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(INSERT, USER)


@pytest.fixture
def flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Give what says which flags of twistd a command line becomes, or its exit code and the line that says why."""
    monkeypatch.chdir(tmp_path)
    for name in ("BROKERKIT_EXPORTER", "BROKERKIT_HPFEEDS_METRICS"):
        monkeypatch.delenv(name, raising=False)
    became: list[list[str]] = []
    monkeypatch.setattr(command, "_twistd", lambda flags, *, debug: became.append([*flags, *["debug"] * debug]))

    def ask(*arguments: str) -> Any:
        became.clear()
        done = CliRunner().invoke(command.hpfeeds_broker, arguments)
        return became[0] if became else (done.exit_code, done.output.rstrip("\n"))

    return ask


ENV = ["--name=hpfeeds", "--auth=env"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["--name=hpfeeds", "--auth=sqlite", "--hpfeeds=tcp:port=20000:interface=0.0.0.0"]),
        (["--auth", "env", "--bind=10.0.0.1:10000"], [*ENV, "--hpfeeds=tcp:port=10000:interface=10.0.0.1"]),
        (["--auth", "env", "--bind=:10000"], [*ENV, "--hpfeeds=tcp:port=10000:interface=0.0.0.0"]),
        (["--auth", "env", "--bind=[::1]:10000"], [*ENV, r"--hpfeeds=tcp:port=10000:interface=\:\:1"]),
        (["--auth", "env", "-e", "tcp:port=1"], [*ENV, "--hpfeeds=tcp:port=1"]),
        (
            ["--auth=env", "-e", "tcp:port=1", "--endpoint=tcp:port=2:interface=127.0.0.1", "--bind=127.0.0.1:3"],
            [
                *ENV,
                "--hpfeeds=tcp:port=3:interface=127.0.0.1",
                "--hpfeeds=tcp:port=1",
                "--hpfeeds=tcp:port=2:interface=127.0.0.1",
            ],
        ),
        (
            ["--auth=env", "--auth", "sqlite", "--name=hive", "-etcp:port=1", "--exporter=0.0.0.0:9431", "--debug"],
            [
                "--name=hive",
                "--auth=env",
                "--auth=sqlite",
                "--hpfeeds=tcp:port=1",
                "--exporter=0.0.0.0:9431",
                "--hpfeeds-metrics=modern",
                "debug",
            ],
        ),
        (
            ["--auth=env", "--exporter=:9431", "-etcp:port=1"],
            [*ENV, "--hpfeeds=tcp:port=1", "--exporter=0.0.0.0:9431", "--hpfeeds-metrics=modern"],
        ),
        (["--auth=env", "-etcp:port=1:mode=push"], [*ENV, "--hpfeeds=tcp:port=1:mode=push"]),
        (["--auth=env", "-etcp:port=1:device=lan0"], [*ENV, "--hpfeeds=tcp:port=1:device=lan0"]),
        (["--auth=env", "--exporter=", "-etcp:port=1"], [*ENV, "--hpfeeds=tcp:port=1"]),
    ],
)
def test_options(flags: Any, arguments: list[str], expected: list[str]) -> None:
    """Every option has the original's meaning, and the original's default."""
    assert flags(*arguments) == expected


def test_bind_by_tls(flags: Any, tmp_path: Path) -> None:
    """--tlscert and --tlskey make TLS of --bind, or of its default, and of nothing else; paths may have colons."""
    Authority(tmp_path).issue("broker", "broker")
    (tmp_path / "broker.key").rename(tmp_path / "a:b.key")
    pair = ["--tlscert=broker.crt", "--tlskey=a:b.key", "--auth=env"]
    default = r"--hpfeeds=tls:port=20000:interface=0.0.0.0:key=a\:b.key:cert=broker.crt"
    assert flags(*pair) == [*ENV, default]
    assert flags(*pair, "--bind=:20000", "-etcp:port=1") == [*ENV, default, "--hpfeeds=tcp:port=1"]


def test_exporter_of_the_image(flags: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable turns the metrics on where nothing is said, and the option is stronger."""
    monkeypatch.setenv("BROKERKIT_EXPORTER", "0.0.0.0:9431")
    monkeypatch.setenv("BROKERKIT_HPFEEDS_METRICS", "both")
    assert flags("--auth=env")[-2:] == ["--exporter=0.0.0.0:9431", "--hpfeeds-metrics=both"]
    said = flags("--auth=env", "--exporter=127.0.0.1:1", "--metrics=legacy")
    assert said[-2:] == ["--exporter=127.0.0.1:1", "--hpfeeds-metrics=legacy"]
    assert not any(flag.startswith("--exporter") for flag in flags("--auth=env", "--exporter="))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--tlscert=a"], 2, "must have --tlskey AND --tlscert"),
        (["--tlskey=a"], 2, "must have --tlskey AND --tlscert"),
        (["--tlskey=a", "--tlscert=b", "-etcp:port=1"], 2, "for --bind"),
        (["--bind=localhost"], 2, "bind: found 'localhost', expected HOST:PORT"),
        (["--bind=:70000"], 2, "a port from 0 to 65535"),
        (["--bind=::1:10000"], 2, "in brackets"),
        (["--exporter=9431"], 2, "for example 127.0.0.1:9431"),
        (["--exporter=here:there"], 2, "exporter: found 'here:there'"),
        (["-e", "tcp:interface=127.0.0.1"], 2, "with port="),
        (["-e", "tcp:port=1:prot=2"], 2, "prot"),
        (["-e", "tls:port=1:key=none:cert=none"], 1, "none"),
        (["--auth=none.json"], 1, "none.json"),
        (["--metrics=old"], 2, "'old' is not one of"),
        (["--nonsense"], 2, "--nonsense"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_mistakes(flags: Any, arguments: list[str], code: int, words: str) -> None:
    """What is wrong with the command line is said, and exit code 2; what it names and is not there is exit code 1."""
    found, output = flags(*arguments)
    assert (found, words in output) == (code, True), output


@pytest.mark.parametrize("text", ["sqlit", "users.db", "/var/lib/users.db", "mongo", "Env", ""])
def test_b10_an_unknown_source_is_refused(flags: Any, tmp_path: Path, text: str) -> None:
    """What names no source of users is never taken for an SQLite file."""
    code, output = flags(f"--auth={text}", "-etcp:port=0")
    assert code == 2, output
    assert not list(tmp_path.iterdir())


def test_b11_an_unknown_class_of_endpoint_is_refused(flags: Any) -> None:
    """Nothing that is meant to be TLS is served as plain text."""
    code, output = flags("--auth=env", "-e", "tsl:port=1:key=a:cert=b")
    assert (code, "a type of endpoint" in output) == (2, True)


@pytest.mark.parametrize(
    "source",
    [
        "mongodb://127.0.0.1:27017/hpfeeds",
        "mongodb://admin:admin@127.0.0.1:27017/hpfeeds",
        "database+postgresql://localhost/example",
        "database+mysql://username:password@127.0.0.1/example",
        "database+sqlite:///auth_keys.db",
    ],
)
def test_examples_of_databases(flags: Any, source: str) -> None:
    """The sources of users of the original's examples are taken as they are."""
    arguments = ["-e", "tcp:port=20000", "--exporter=0.0.0.0:9431", f"--auth={source}"]
    assert flags(*arguments) == [
        "--name=hpfeeds",
        f"--auth={source}",
        "--hpfeeds=tcp:port=20000",
        "--exporter=0.0.0.0:9431",
        "--hpfeeds-metrics=modern",
    ]


def test_example_in_the_foreground(tmp_path: Path) -> None:
    """A port and a name: sqlite.db is made in the working directory, and whoever is put into it can log in at once."""
    with running(tmp_path, broker("-e", "tcp:port=0", "--name", "mybroker")) as program:
        insert(tmp_path / "sqlite.db")
        (address,) = addresses(program)
        with socket.create_connection(address, timeout=PATIENCE) as peer:
            assert b"\x08mybroker" in peer.recv(100)
        assert heard(address, "ident", "secret", "chan1") == ("ident", "chan1", ALL_OF_IT)


def test_b4_no_metrics_unless_asked(tmp_path: Path) -> None:
    """Without --exporter nothing listens but the endpoints."""
    with running(tmp_path, broker("--bind=127.0.0.1:0", "--auth=env")) as program:
        assert "metrics" not in program.output
        ports = _listening(program.process.pid)
        assert ports == {port for _, port in addresses(program)}


def _listening(pid: int) -> set[int]:
    """Give the TCP ports on which a process listens."""
    held = {
        link.readlink().name
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.is_symlink() and link.readlink().name.startswith("socket:")
    }
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            _, local, _, state, *_ = fields = line.split()
            if state == "0A" and f"socket:[{fields[9]}]" in held:
                found.add(int(local.rpartition(":")[2], 16))
    return found


def test_example_of_a_json_file(tmp_path: Path) -> None:
    """A file of users by its path alone, with the exporter, which then answers."""
    user = {"owner": "me", "secret": "secret", "subchans": ["chan1"], "pubchans": ["chan1"]}
    file = tmp_path / "users.json"
    file.write_text(json.dumps({"ident": user}), encoding="utf-8")
    arguments = ("-e", "tcp:port=0", "--exporter=127.0.0.1:0", f"--auth={file}")
    with running(tmp_path, broker(*arguments)) as program:
        (address,) = addresses(program)
        assert heard(address, "ident", "secret", "chan1") == ("ident", "chan1", ALL_OF_IT)
        host, port = program.addresses["metrics"]
        with urlopen(f"http://{host}:{port}/metrics", timeout=PATIENCE) as page:
            assert page.status == 200


def test_example_of_a_json_file_with_its_comma(tmp_path: Path) -> None:
    """The comma that the original's example has too many ends the start, and the line is named."""
    (tmp_path / "users.json").write_text(TRAILING_COMMA, encoding="utf-8")
    done = _run(tmp_path, broker("-e", "tcp:port=0", "--auth=users.json"))
    assert done.returncode == 1
    assert "users.json: line 6, column 19: found something else, expected JSON (a comma" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "strong" not in done.stderr


def insert_into_auth_keys(file: Path) -> None:
    """Make the table of the original's SQL store, with a user."""
    columns = "id INTEGER PRIMARY KEY, identifier VARCHAR(36), secret VARCHAR(36), publish JSON, subscribe JSON"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute(f"CREATE TABLE auth_keys ({columns})")
        database.execute("INSERT INTO auth_keys (identifier, secret, publish, subscribe) VALUES (?, ?, ?, ?)", USER[1:])


def test_b12_several_sources(tmp_path: Path) -> None:
    """Users of each source log in, whatever the order: a database hides nobody who stands behind it."""
    pytest.importorskip("sqlalchemy")
    insert_into_auth_keys(tmp_path / "auth_keys.db")
    environ = ["env", "HPFEEDS_TEST_SECRET=test", "HPFEEDS_TEST_SUBCHANS=spam", "HPFEEDS_TEST_PUBCHANS=spam"]
    sources = ["--auth=database+sqlite:///auth_keys.db", "--auth=env"]
    with running(tmp_path, [*environ, *broker("-e", "tcp:port=0", *sources)]) as program:
        (address,) = addresses(program)
        assert heard(address, "ident", "secret", "chan1") == ("ident", "chan1", ALL_OF_IT)
        assert heard(address, "test", "test", "spam") == ("test", "spam", ALL_OF_IT)


def test_example_of_the_environment(tmp_path: Path) -> None:
    """Two variables are a user who listens to what another publishes."""
    words = ["env", "HPFEEDS_JAMES_SECRET=secret", "HPFEEDS_JAMES_SUBCHANS=test-chan"]
    other = ["HPFEEDS_SENSOR_SECRET=secret", "HPFEEDS_SENSOR_PUBCHANS=test-chan"]
    with running(tmp_path, [*words, *other, *broker("-e", "tcp:port=0", "--auth=env")]) as program:
        address = addresses(program)[0]
        assert heard_of(address, "james", "secret", "test-chan", "sensor") == ("sensor", "test-chan", ALL_OF_IT)


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """Put broker.key and broker.crt where the broker runs, and give what a client needs."""
    authority = Authority(tmp_path)
    authority.issue("broker", "", [x509.DNSName("localhost")])
    context = ssl.create_default_context(cafile=authority.path)
    context.check_hostname = False  # the tests connect by address
    return context


def test_b5_examples_of_tls_and_of_several_endpoints(tmp_path: Path, tls: ssl.SSLContext) -> None:
    """TLS on one endpoint and plain text on another at once, on every Python that brokerkit runs on."""
    environ = ["env", "HPFEEDS_TEST_SECRET=test", "HPFEEDS_TEST_SUBCHANS=spam", "HPFEEDS_TEST_PUBCHANS=spam"]
    endpoints = ["--endpoint=tls:port=0:key=broker.key:cert=broker.crt", "--endpoint=tcp:port=0:interface=127.0.0.1"]
    with running(tmp_path, [*environ, *broker(*endpoints, "--auth=sqlite", "--auth=env")]) as program:
        insert(tmp_path / "sqlite.db")
        encrypted, plain = addresses(program)
        assert heard(encrypted, "ident", "secret", "chan1", tls) == ("ident", "chan1", ALL_OF_IT)
        assert heard(plain, "test", "test", "spam") == ("test", "spam", ALL_OF_IT)


def test_b7_a_port_in_use(tmp_path: Path) -> None:
    """A start that fails ends the process with exit code 1 and one line that says why."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        done = _run(tmp_path, broker(f"--bind=127.0.0.1:{port}", "--auth=env"))
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_b6_b8_stopping_with_a_client(tmp_path: Path) -> None:
    """SIGTERM ends it at once and without a traceback, with clients connected."""
    with running(tmp_path, broker("--bind=127.0.0.1:0", "--auth=env")) as program:
        (address,) = addresses(program)
        with socket.create_connection(address, timeout=PATIENCE) as peer:
            assert peer.recv(100)
            program.stop()


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_the_log_goes_to_stderr(tmp_path: Path, debug: list[str]) -> None:
    """As in the original, nothing is printed to stdout; --debug changes only how much is said."""
    script = "import sys; sys.stdout.close(); sys.stdout = None; from brokerkit.cli import main; main()"
    line = [sys.executable, "-c", script, "hpfeeds-broker", "--bind=127.0.0.1:0", "--auth=env", *debug]
    with running(tmp_path, line) as program:
        assert addresses(program)
