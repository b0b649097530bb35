"""nats-server's command line: how flags are read, and how they stand on top of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from brokerkit.cli.nats_flags import LENIENT, Misused, put_on, read
from brokerkit.errors import OperatorError
from brokerkit.protocols.nats.conf.parse import parse
from brokerkit.protocols.nats.conf.reader import read_value
from brokerkit.protocols.nats.conf.server import Server
from tests.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path


def server(*words: str, file: str = "") -> Server:
    """Give what a command line says, over a file."""
    below = read_value(parse(file, "a.conf", {}), "a.conf") if file else Server()
    return put_on(read(words), below)


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nothing said by the environment."""
    monkeypatch.delenv(LENIENT, raising=False)


@pytest.mark.parametrize(
    "words",
    [
        ["-p", "4333"], ["--p", "4333"], ["-p=4333"], ["--port=4333"], ["-port", "4333"], ["-p", "0x10ed"],
        ["-p", "1", "-p", "4333"], ["--port=4333", "--"],
    ],
)  # fmt: skip
def test_one_dash_or_two(words: list[str]) -> None:
    """Every spelling of a flag is taken, the last one wins, and numbers are Go's."""
    assert server(*words).port == 4333


def test_every_flag_has_its_place() -> None:
    """What nats-server's flags say arrives."""
    words = ["-a", "127.0.0.1", "-p", "-1", "-n", "me", "-P", "a.pid", "-m", "1", "-ms", "2", "-l", "a.log"]
    words += ["--client_advertise", "b:3", "--ports_file_dir", "d", "-T=false", "--logtime_utc", "-D"]
    found = server(*words)
    assert (found.host, found.port, found.name, found.pid_file) == ("127.0.0.1", -1, "me", "a.pid")
    assert (found.http_port, found.https_port, found.client_advertise) == (1, 2, "b:3")
    assert (found.ports_file_dir, found.log_file, found.logtime, found.logtime_utc) == ("d", "a.log", False, True)
    assert (found.debug, found.trace) == (True, False)
    for word in ("-DV", "-DVV"):
        assert (server(word).debug, server(word).trace) == (True, True)
    assert server("-V").trace
    assert server("-VV").trace


def test_flags_are_stronger_than_the_file() -> None:
    """What is said in both is the flag's; the rest is the file's."""
    found = server("-p", "1", "-D=false", file="port: 2\ndebug: true\nhost: 127.0.0.1")
    assert (found.port, found.debug, found.host) == (1, False, "127.0.0.1")


def test_a_user_of_the_command_line() -> None:
    """It takes the place of those in the file; a name goes before a token."""
    file = "authorization { users: [{user: a, password: b}], timeout: 7 }"
    found = server("--user", "me", "--pass=x", file=file).authorization
    assert (found.user, found.password, found.users, found.timeout) == ("me", "x", [], 7.0)
    assert server("--auth", "t", file=file).authorization.token == "t"
    with pytest.raises(OperatorError, match="exclude the users of accounts"):
        server("--auth", "t", file="accounts { A { users: [{user: a, password: b}] } }")


def test_tls(tmp_path: Path) -> None:
    """The flags make what the block of a file makes, and say what is missing."""
    Authority(tmp_path).issue("broker", "broker")
    pair = ["--tlscert", str(tmp_path / "broker.crt"), "--tlskey", str(tmp_path / "broker.key")]
    ca = ["--tlscacert", str(tmp_path / "authority.crt")]
    found = server("--tls", *pair).tls
    assert found is not None
    assert (found.cert_file, found.verify) == (pair[1], False)
    verified = server("--tlsverify", *pair, *ca).tls
    assert verified is not None
    assert (verified.verify, verified.ca_file) == (True, ca[1])
    for words, text in (
        (["--tls"], "give --tlscert and --tlskey"),
        (["--tlsverify", *pair], "needs --tlscacert"),
        (["--tls", "--tlscert", "/nonexistent", "--tlskey", "/nonexistent"], "/nonexistent: cannot be read"),
    ):
        with pytest.raises(OperatorError, match=text):
            server(*words)


def test_what_stands_for_something_else() -> None:
    """Flags of what is not here are taken, each with a warning; harmless ones without."""
    words = ["-js", "-sd", "x", "--cluster", "nats://a:1", "--cluster_name", "c", "--cluster_listen", "d"]
    words += ["--routes", "e,f", "--log_size_limit", "5"]
    found = server(*words, "-p", "1")
    assert found.port == 1
    assert [text.partition(":")[0] for text in found.warnings] == [
        "-js", "-sd", "-cluster", "-cluster_name", "-cluster_listen", "-routes",
    ]  # fmt: skip
    assert server("-js=true").warnings


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--foo"], "flag provided but not defined: -foo"),
        (["--prot", "1"], "did you mean -port?"),
        (["-p"], "flag needs an argument: -p"),
        (["-p", "abc"], "invalid value 'abc' for flag -p"),
        (["-D=maybe"], "invalid value 'maybe' for flag -D"),
    ],
)
def test_misuse(words: list[str], text: str) -> None:
    """A flag that is none, or lacks its value, is said so."""
    with pytest.raises(Misused) as caught:
        read(words)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["serve"], 'unrecognized command: "serve"'),
        (["-D", "false"], 'unrecognized command: "false"'),
        (["-p", "70000"], "invalid port"),
        (["-m", "70000"], "invalid port"),
        (["-n", "a b"], "cannot contain spaces"),
    ],
)
def test_what_cannot_be(words: list[str], text: str) -> None:
    """What is no command, and values that cannot be, end the start."""
    with pytest.raises(OperatorError, match=text):
        put_on(read(words), Server())


def test_commands_of_old() -> None:
    """``version`` and ``help`` are commands, too."""
    assert read(["version"]).version
    assert read(["help"]).help
    assert read(["-h=false"]).help is False


@pytest.mark.parametrize(("value", "lenient"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_lenient_by_the_environment(monkeypatch: pytest.MonkeyPatch, value: str, *, lenient: bool) -> None:
    """A variable says it for whoever cannot change the command line."""
    monkeypatch.setenv(LENIENT, value)
    assert read([]).lenient is lenient


def test_no_secret_is_shown() -> None:
    """Neither a password nor a token stands in a representation."""
    assert "hidden" not in repr(read(["--user", "me", "--pass", "hidden", "--auth", "hidden"]))
