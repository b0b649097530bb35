"""``brokerkit hpfeeds``: what it prints, what it writes, whom it trusts and what it exits with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from brokerkit.cli import conversation, main, sinks
from brokerkit.cli.hpfeeds import Ears, Listening
from brokerkit.cli.talk import Server
from brokerkit.errors import BrokerError, LoginFailed, OperatorError, ProtocolViolation
from brokerkit.protocols.hpfeeds import wire
from tests.certificates import Authority
from tests.clients.conftest import Broker

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 30  # seconds
EVERY_BYTE = bytes(range(256))
INFO = wire.spell(wire.Info(b"broker", b"1234"))
CONFIGURATION = """
auth = "json:users.json"

[[listen]]
protocol = "nats"
endpoint = "tcp:port=0:interface=127.0.0.1"

[[listen]]
protocol = "hpfeeds"
endpoint = "tls:port=0:interface=127.0.0.1:key=server.key:cert=server.crt"
"""


class TLSBroker(Broker):
    """A broker with TLS for hpfeeds."""

    def __init__(self, home: Path) -> None:
        """Make the certificates and the configuration."""
        super().__init__(home, flags=())
        names = [x509.DNSName("broker.example"), x509.IPAddress(ip_address("127.0.0.1"))]
        Authority(home).issue("server", "server", names)
        (home / "broker.toml").write_text(CONFIGURATION)

    def _listeners(self) -> list[str]:
        return ["--config", "broker.toml"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Run a broker without TLS."""
    running = Broker(tmp_path_factory.mktemp("plain"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Run a broker with TLS."""
    running = TLSBroker(tmp_path_factory.mktemp("secure"))
    running.start()
    yield running
    running.stop()


def words(broker: Broker, action: str, *arguments: str) -> list[str]:
    """Spell a call of the command as the sensor."""
    port = str(broker.ports["hpfeeds"])
    return [sys.executable, "-m", "brokerkit", "hpfeeds", action, "-p", port, "-i", "sensor", *arguments]


def environment(**more: str) -> Mapping[str, str]:
    """Give the environment of a call, with the right secret in it."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "HPFEEDS_SECRET": "secret", **more}


def run(call: list[str], data: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run a call to its end."""
    return subprocess.run(call, input=data, capture_output=True, env=environment(**more), timeout=PATIENCE, check=False)


class Subscriber:
    """A ``brokerkit hpfeeds subscribe`` that listens already."""

    def __init__(self, broker: Broker, *arguments: str) -> None:
        """Start it, and wait until it says that it listens."""
        call = words(broker, "subscribe", "--timeout", "20", *arguments)
        # A shell that runs the tests in the background has its children ignore SIGINT.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        finally:
            signal.signal(signal.SIGINT, before)
        self._killer = threading.Timer(PATIENCE, self.process.kill)
        self._killer.start()
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert b"listening to" in line, line

    def end(self) -> tuple[bytes, bytes, int]:
        """Wait for its end; give what it printed, what it complained of and its exit code."""
        out, err = self.process.communicate(timeout=PATIENCE)
        self._killer.cancel()
        return out, err, self.process.returncode


# -- both commands, against a broker ------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_there_and_back(plain: Broker, secure: Broker, tls: bool) -> None:
    """What is published by the one is printed by the other, plain and by TLS, whatever its bytes are."""
    broker = secure if tls else plain
    flags = ("--ca", str(broker.home / "authority.crt")) if tls else ()
    listening = Subscriber(broker, *flags, "-c", "chan.one", "-c", "chan.two", "-n", "2", "--format", "json")
    done = run(words(broker, "publish", *flags, "-c", "chan.one"), EVERY_BYTE)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"chan.one: 256 bytes\n")
    assert run(words(broker, "publish", *flags, "-c", "chan.two", "two", "words")).returncode == 0
    out, err, code = listening.end()
    assert (code, err) == (0, b"")
    first, second = map(json.loads, out.splitlines())
    assert first.pop("payload_base64")
    assert first == {"channel": "chan.one", "ident": "sensor"}
    assert second == {"channel": "chan.two", "ident": "sensor", "payload": "two words"}


def test_files(plain: Broker, tmp_path: Path) -> None:
    """Each message goes into a file of its own, byte by byte; the payload can come from a file too."""
    source = tmp_path / "source"
    source.write_bytes(EVERY_BYTE * 1000)
    listening = Subscriber(plain, "-c", "chan.one", "-n", "2", "--output-dir", str(tmp_path / "out"))
    for action in (["publish", "--file"], ["sendfile"]):  # the second is the original's word
        assert run(words(plain, action[0], "-c", "chan.one", *action[1:], str(source))).returncode == 0
    assert listening.end() == (b"", b"", 0)
    written = list((tmp_path / "out").iterdir())
    assert [path.read_bytes() for path in written] == [EVERY_BYTE * 1000] * 2
    assert all(path.name.startswith("chan.one.") for path in written)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["publish", "-c", "denied", "x"], b"Authkey not allowed to pub here. ident=sensor, chan=denied"),
        (["subscribe", "-c", "denied"], b"Authkey not allowed to sub here. ident=sensor, chan=denied"),
        (["publish", "-c", "plain", "-s", "wrong", "x"], b"Authentication failed for sensor"),
        (["subscribe", "-c", "plain", "-s", "wrong", "--reconnect"], b"Authentication failed for sensor"),
    ],
)
def test_refused(plain: Broker, arguments: list[str], reason: bytes) -> None:
    """What the broker refuses is printed, and the exit code is 1; nobody tries again with a wrong secret."""
    done = run(words(plain, *arguments))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.endswith(b"the broker refused: " + reason + b"\n")


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--tls"], b"certificate verify failed"),
        (["--ca", "authority.crt", "--tls-name", "other.example"], b"its certificate is not for that name"),
    ],
)
def test_not_trusted(secure: Broker, flags: list[str], why: bytes) -> None:
    """A broker without the right certificate does not get the login, and the exit code is 3."""
    done = run(words(secure, "publish", "-c", "chan.one", *_in(secure, flags), "x"))
    assert done.returncode == 3
    assert why in done.stderr


@pytest.mark.parametrize("flags", [["--ca", "authority.crt", "--tls-name", "broker.example"], ["--insecure"]])
def test_trusted(secure: Broker, flags: list[str]) -> None:
    """Another name can be expected, or none at all, which is warned of."""
    done = run(words(secure, "publish", "-c", "chan.one", *_in(secure, flags), "x"))
    assert done.returncode == 0
    assert (b"warning: --insecure" in done.stderr) is (flags == ["--insecure"])


def _in(broker: Broker, flags: list[str]) -> list[str]:
    return [str(broker.home / flag) if flag.endswith(".crt") else flag for flag in flags]


def test_tls_to_a_plain_port(plain: Broker) -> None:
    """TLS where there is none is said, with exit code 3."""
    done = run(words(plain, "publish", "-c", "chan.one", "--tls", "x"))
    assert done.returncode == 3
    assert b"is there no TLS on that port?" in done.stderr


def test_pub_and_sub_over_tls(secure: Broker) -> None:
    """The commands for every protocol have the same flags of TLS."""
    server = f"hpfeeds://sensor:secret@127.0.0.1:{secure.ports['hpfeeds']}"
    call = [sys.executable, "-m", "brokerkit", "pub", "--server", server, "chan.one", "x"]
    assert run([*call, "--ca", str(secure.home / "authority.crt")]).returncode == 0
    assert run([*call, "--tls"]).returncode == 3


@pytest.mark.parametrize(("flags", "code"), [([], 0), (["-n", "1"], 130)])
def test_interrupted(plain: Broker, flags: list[str], code: int) -> None:
    """A Ctrl-C ends it without a traceback: well, unless it was told how much to wait for."""
    listening = Subscriber(plain, "-c", "chan.one", *flags)
    listening.process.send_signal(signal.SIGINT)
    assert listening.end() == (b"", b"", code)


def test_the_reader_of_the_output_goes(plain: Broker) -> None:
    """A pipe that nobody reads any more ends it without a word."""
    listening = Subscriber(plain, "-c", "chan.one")
    assert listening.process.stdout is not None
    listening.process.stdout.close()
    assert run(words(plain, "publish", "-c", "chan.one", "x")).returncode == 0
    assert listening.process.wait(PATIENCE) == 0
    assert listening.process.stderr is not None
    assert listening.process.stderr.read() == b""
    listening._killer.cancel()


def test_nobody_there() -> None:
    """Where nobody listens the exit code is 3."""
    call = [sys.executable, "-m", "brokerkit", "hpfeeds", "publish", "-p", "1", "-i", "x", "-c", "x", "x"]
    assert run(call).returncode == 3


# -- the command line ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["publish", "x"], "there is no secret"),
        (["publish", "--stdin"], "standard input is the payload already"),
        (["publish", "-s", "x", "--stdin", "x"], "give one of them"),
        (["publish", "-s", "x", "--key", "KEY", "x"], "give --cert beside it"),
        (["publish", "-s", "x", "--ca", "KEY", "--insecure", "x"], "--insecure looks at no certificate"),
        (["publish", "-s", "x", "--file", "KEY", "x"], "not both"),
        (["publish", "-s", "x", "x" * 1_048_575], "at most 1048581 bytes"),
        (["publish", "-s", "x", "-i", "x" * 256, "x"], "at most 255 bytes"),
        (["publish", "-s", "x", "--secret-file", "KEY", "x"], "give one of them"),
        (["publish", "--secret-file", "KEY", "x"], "expected the secret in"),
        (["subscribe", "-s", "x", "--append"], "give --output-dir beside it"),
        (["subscribe", "-s", "x", "--base64"], "give --format json beside it"),
        (["subscribe", "-s", "x", "--output-dir", "KEY/below"], "--output-dir"),
    ],
)
def test_wrong_command_lines(tmp_path: Path, arguments: list[str], why: str) -> None:
    """What cannot be meant is exit code 2, before anything is connected."""
    (tmp_path / "KEY").write_text("two\nlines\n")
    given_ = [word.replace("KEY", str(tmp_path / "KEY")) for word in arguments]
    done = CliRunner().invoke(
        main, ["hpfeeds", given_[0], "-i", "x", "-c", "x", *given_[1:]], env={"HPFEEDS_SECRET": ""}
    )
    assert done.exit_code == 2, done.output
    assert why in done.output


def test_secrets_of_files_and_standard_input(plain: Broker, tmp_path: Path) -> None:
    """The secret may be in a file or on standard input."""
    (tmp_path / "secret").write_text("secret\n")
    call = words(plain, "publish", "-c", "chan.one", "x")
    assert run([*call, "--secret-file", str(tmp_path / "secret")], HPFEEDS_SECRET="wrong").returncode == 0
    assert run([*call, "--stdin"], b"secret\n", HPFEEDS_SECRET="wrong").returncode == 0


# -- what a hostile broker can do ---------------------------------------------------------------------------------


def heard(*frames: wire.Frame) -> Ears:
    """Give a caller that asked for ``a`` and got these frames."""
    ears = Ears("sensor", "secret")
    ears.receive(INFO)
    ears.subscribe(b"a")
    ears.receive(b"".join(map(wire.spell, frames)))
    return ears


def test_messages_before_an_error_count() -> None:
    """What came before an ERROR in the same bytes is there."""
    message = wire.Publish(b"x", b"a", b"1")
    ears = heard()
    with pytest.raises(LoginFailed, match="why"):
        ears.receive(wire.spell(message) + wire.spell(wire.Error(b"why")))
    assert list(ears.came) == [message]


@pytest.mark.parametrize(
    "frame", [wire.Publish(b"x", b"../b", b""), wire.Info(b"again", b"1234"), wire.Subscribe(b"x", b"a")]
)
def test_nonsense_of_brokers(frame: wire.Frame) -> None:
    """A broker that sends what nobody asked for is left."""
    with pytest.raises(ProtocolViolation, match=r"the broker sent"):
        heard(frame)


def test_messages_before_the_login() -> None:
    """A broker cannot fill the memory of a client that has not even logged in."""
    with pytest.raises(ProtocolViolation):
        Ears("sensor", "secret").receive(wire.spell(wire.Publish(b"x", b"a", b"")))


@given(st.binary(max_size=64))
def test_any_bytes(data: bytes) -> None:
    """Whatever a broker says is understood, waited for or refused; never anything else."""
    ears = heard()
    with suppress(BrokerError):
        ears.receive(data)


# -- what is written ----------------------------------------------------------------------------------------------


@given(st.binary(max_size=255))
def test_file_names(channel: bytes) -> None:
    """A channel gives a plain name of a file, and never one of a hidden file or of another directory."""
    name = sinks.file_name(channel)
    assert name.isascii()
    assert name.isprintable()
    assert not name.startswith(".")
    assert "/" not in name
    assert 0 < len(name) < 200


@given(st.lists(st.binary(max_size=255), unique=True, max_size=50))
def test_file_names_differ(channels: list[bytes]) -> None:
    """No two channels share a file."""
    assert len(set(map(sinks.file_name, channels))) == len(channels)


@given(st.binary(max_size=255), st.binary(max_size=255), st.binary())
def test_lines(channel: bytes, ident: bytes, payload: bytes) -> None:
    """A message is one line that cannot do anything to a terminal, and one line of JSON."""
    message = wire.Publish(ident, channel, payload)
    text = sinks.as_text(message).decode()
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    line = sinks.as_json(message)
    assert line.count(b"\n") == 1
    assert len(json.loads(line)) == 3


def test_appended(tmp_path: Path) -> None:
    """With one file for each channel, messages stand behind each other."""
    sink = sinks.Appended(str(tmp_path / "new" / "dir"), "json", sinks.as_json)
    for payload in (b"1", b"2"):
        sink.take(wire.Publish(b"x", b"../up", payload))
    (file,) = (tmp_path / "new" / "dir").iterdir()
    assert file.name == "%2E.%2Fup.jsonl"
    assert [json.loads(line)["payload"] for line in file.read_text().splitlines()] == ["1", "2"]


def test_no_links(tmp_path: Path) -> None:
    """A link in the directory is not followed."""
    (tmp_path / "a.bin").symlink_to(tmp_path / "elsewhere")
    sink = sinks.Appended(str(tmp_path), "raw", sinks.as_it_is)
    with pytest.raises(OperatorError, match=r"a\.bin"):
        sink.take(wire.Publish(b"x", b"a", b""))
    assert not (tmp_path / "elsewhere").exists()


# -- connecting again ---------------------------------------------------------------------------------------------


class Endings:
    """Conversations that end one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: BrokerError | None) -> None:
        """End with these."""
        self.errors = list(errors)
        self.clock = Clock()
        monkeypatch.setattr(conversation, "talk", self._talk)
        listening = Listening(Server("hpfeeds", "x", 1, "x", "x"), [b"a"], None, sinks.Output(sinks.as_text))
        self.outcome: list[object] = []
        conversation.Deferred.fromCoroutine(listening.for_ever(self.clock)).addBoth(self.outcome.append)

    async def _talk(self, *_: object) -> None:
        error = self.errors.pop(0)
        if error is not None:
            raise error


def test_connecting_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It connects again after longer and longer pauses, for losses and for what passes."""
    busy = conversation.Refused("Too many connections")
    endings = Endings(monkeypatch, conversation.HungUp("x"), conversation.Unreachable("x"), busy, None)
    for left, pause in ((3, 0.9), (2, 0.1), (2, 1.9), (1, 0.1), (1, 3.9), (0, 0.1)):
        endings.clock.advance(pause)
        assert len(endings.errors) == left
    assert endings.outcome == [None]


@pytest.mark.parametrize("error", [conversation.Refused("Authentication failed for x"), conversation.Untrusted("x")])
def test_not_connecting_again(monkeypatch: pytest.MonkeyPatch, error: BrokerError) -> None:
    """What will not pass by itself ends it."""
    endings = Endings(monkeypatch, error)
    (failure,) = endings.outcome
    assert getattr(failure, "value", None) is error
