"""Telling systemd that the service is ready, with a socket in the place of systemd's."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from brokerkit.readiness import READY, say_ready
from tests.test_program import PATIENCE, command, running

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_it_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """To the socket that is named, whether it has a path or not; the name is not passed on to other programs."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path if kind == "path" else f"\0{path}")
        systemd.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", path if kind == "path" else f"@{path}")
        say_ready()
        assert systemd.recv(100) == READY
    assert "NOTIFY_SOCKET" not in os.environ


@pytest.mark.parametrize("name", ["", "relative", "/nothing/is/here", "@nobody-listens"])
def test_nobody_who_wants_to_know(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Where there is none, or it cannot be told, nothing happens."""
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    assert say_ready() is None  # type: ignore[func-returns-value]


def test_the_service_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`bpbroker start` tells systemd when its ports are open."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        line = command("bpbroker", "-c", str(tmp_path / "b.json"), "start", "--port", "0", "--ip", "127.0.0.1")
        with running(tmp_path, line):
            assert systemd.recv(100) == READY
