"""``nats-server --signal``: who is told what."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from brokerkit.cli import nats_signal
from brokerkit.cli.nats_signal import is_server, send
from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Give what is sent; nothing is."""
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: found.append((pid, number)))
    return found


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("ldm", signal.SIGUSR2), ("stop", signal.SIGKILL), ("quit", signal.SIGINT), ("term", signal.SIGTERM),
        ("reopen", signal.SIGUSR1), ("reload", signal.SIGHUP),
    ],
)  # fmt: skip
def test_words(sent: list[tuple[int, int]], tmp_path: Path, word: str, number: int) -> None:
    """Each word is nats-server's signal, to a process id, to that in a file, or to the only server that runs."""
    (tmp_path / "a.pid").write_text("77\n", encoding="ascii")
    send(f"{word}=5")
    send(f"{word}={tmp_path / 'a.pid'}")
    send(word, lambda: [9])
    assert sent == [(5, number), (77, number), (9, number)]


@pytest.mark.parametrize(
    ("text", "running", "words"),
    [
        ("foo=1", [], 'unknown signal "foo"'),
        ("stop", [], "no nats-server processes running"),
        ("stop", [5, 6], "multiple nats-server processes running:\n5\n6"),
        ("stop=/nonexistent", [], "invalid pid: /nonexistent"),
        ("stop=0", [], "invalid pid: 0"),
        ("stop=-1", [], "invalid pid: -1"),
        ("stop=", [], "invalid pid"),
        ("stop=99999999999", [], "invalid pid"),
    ],
)
def test_nobody_is_told(sent: list[tuple[int, int]], text: str, running: list[int], words: str) -> None:
    """What names nobody, or too many, sends nothing: above all not to a whole group of processes."""
    with pytest.raises(OperatorError) as caught:
        send(text, lambda: running)
    assert words in str(caught.value)
    assert sent == []


def test_a_process_that_is_gone() -> None:
    """The system's answer is passed on."""
    with pytest.raises(OperatorError, match="No such process"):
        send(f"reload={2**22 + 1}")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("nats-server -p -1", True),
        ("/usr/bin/nats-server", True),
        ("/usr/bin/python3 /usr/local/bin/nats-server -c a", True),
        ("python3.11 -m brokerkit nats-server -p 1", True),
        ("/v/bin/python /v/bin/brokerkit nats-server", True),
        ("nats-server --signal reload", False),
        ("nats-server -sl=ldm", False),
        ("vi nats-server", False),
        ("python3 -m brokerkit run", False),
        ("tail -f /var/log/nats-server", False),
        ("", False),
    ],
)
def test_what_is_a_server(line: str, *, found: bool) -> None:
    """A server is known by its own name, by an interpreter's, or as brokerkit's; who only names it is none."""
    assert is_server(line.split(" ")) is found


def test_this_process_is_none() -> None:
    """Whoever asks is not among those that run."""
    assert os.getpid() not in nats_signal.servers()
