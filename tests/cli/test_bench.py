"""``brokerkit bench``: brokers on this machine, and one that is running already."""

from __future__ import annotations

import json
import socket
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from brokerkit.bench import contestants, plan
from brokerkit.bench.servers import hall
from brokerkit.bench.workloads import Workload, workloads
from brokerkit.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

module = import_module("brokerkit.cli.bench")


def brokerkit(*words: str, **more: Any) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["bench", *words], **more)


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure little, and not for long; nats-server is for others."""

    def few(protocol: str, **wanted: bool) -> list[Workload]:
        return workloads(protocol, **wanted)[:1] + workloads(protocol, kind="loop", **wanted)[:1]

    monkeypatch.setattr(plan, "workloads", few)
    monkeypatch.setattr(contestants, "which", lambda *names: _found(names))
    monkeypatch.setattr(module, "allow_files", lambda _: None, raising=False)


def _found(names: tuple[object, ...]) -> Path | None:
    return contestants.BIN / "twistd" if "twistd" in names else None


def test_here(tmp_path: Path) -> None:
    """It starts brokerkit, says what is not installed, measures, prints a table and writes reports."""
    done = brokerkit("--protocol", "nats", "--quick", "-o", str(tmp_path / "a.json"), "-o", str(tmp_path / "a.html"))
    assert done.exit_code == 0, done.output
    assert "nats-server is not installed" in done.output
    assert "1 → 1, 128 B, one topic: deliveries [msg/s]" in done.output
    assert "round trips" in done.output
    rows = json.loads((tmp_path / "a.json").read_text())["sections"][0]["rows"]
    assert rows[0]["values"]["brokerkit"][0] > 0
    assert "<svg" in (tmp_path / "a.html").read_text()


@pytest.fixture(scope="module")
def port() -> Any:
    """Give the port of a broker that is running already."""
    [ours] = [broker for broker in contestants.contestants("nats") if broker.name == "brokerkit"]
    with hall([ours]) as servers:
        assert not servers[0].absent
        yield servers[0].port


def test_a_running_broker(port: int) -> None:
    """It says what it is going to do, does it if told so, and keeps the login out of what it prints."""
    done = brokerkit("--server", f"nats://ann:s3cret@127.0.0.1:{port}", "--yes", "--rounds", "1")
    assert done.exit_code == 0, done.output
    assert f"This publishes to nats://127.0.0.1:{port}, beneath 'brokerkit-bench', as fast as" in done.output
    assert "deliveries" in done.output
    assert "s3cret" not in done.output


def test_nobody_is_surprised(port: int) -> None:
    """Where nobody can be asked, nothing is done."""
    done = brokerkit("--server", f"nats://127.0.0.1:{port}")
    assert done.exit_code == 2
    assert "give --yes" in done.output
    assert "Throughput" not in done.output


def test_no_broker() -> None:
    """One that is not there is said to be so, by the exit code too."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
    done = brokerkit("--server", f"nats://127.0.0.1:{port}", "--yes")
    assert done.exit_code == 3
    assert "cannot be reached" in done.output


def test_a_broker_that_refuses(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login or a right that is missing is said before anything is measured."""
    monkeypatch.setattr(plan, "try_out", _refuse)
    done = brokerkit("--server", f"nats://127.0.0.1:{port}", "--yes")
    assert done.exit_code == 1
    assert f"nats://127.0.0.1:{port}: login refused" in done.output


def _refuse(_: object) -> None:
    from brokerkit.bench.speech import BenchError

    raise BenchError("login refused")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-o", "report.pdf"], 2, "expected a name that ends in"),
        (["--insecure"], 2, "the flags of TLS are for --server"),
        (["--server", "bpbroker://127.0.0.1:1"], 2, "bpbroker cannot be measured: expected one of: nats, hpfeeds"),
        (["--protocol", "mqtt"], 2, "Invalid value"),
    ],
)
def test_wrong_command_lines(words: list[str], code: int, said: str) -> None:
    """What cannot be meant is said at once."""
    done = brokerkit(*words)
    assert done.exit_code == code
    assert said in done.output


def test_the_command_line_is_shown_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report may be published."""
    monkeypatch.setattr(sys, "argv", ["brokerkit", "bench", "--server", "nats://ann:s3cret@host", "--yes"])
    assert module._without_secrets(sys.argv[1:]) == ["bench", "--server", "nats://host", "--yes"]
