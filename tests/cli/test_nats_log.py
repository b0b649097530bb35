"""The log in nats-server's form."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from twisted.logger import Logger, LogLevel

from brokerkit.cli.nats_log import ServerLog
from brokerkit.errors import OperatorError
from brokerkit.protocols.nats.conf.server import Server

if TYPE_CHECKING:
    from pathlib import Path

LINE = re.compile(r"\[\d+\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} \[(\w{3})\] (.*)")


def logger(log: ServerLog, namespace: str = "brokerkit.test") -> Logger:
    """Give a logger that writes there."""
    return Logger(namespace, observer=log)


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Each event is a line with process id, time and level; what is for debugging only where that is wanted."""
    server = Server()
    log = logger(ServerLog(server))
    log.info("one {word}", word="{x}")
    log.warn("two")
    log.error("three")
    log.critical("four")
    log.debug("five")
    server.debug = True
    log.debug("six")
    said = capsys.readouterr().err.splitlines()
    found = [LINE.fullmatch(line) for line in said]
    assert [one and one.groups() for one in found] == [
        ("INF", "one {x}"), ("WRN", "two"), ("ERR", "three"), ("FTL", "four"), ("DBG", "six"),
    ]  # fmt: skip
    assert said[0].startswith(f"[{os.getpid()}] ")


def test_without_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    """``logtime`` can be switched off."""
    logger(ServerLog(Server(logtime=False))).info("one")
    assert capsys.readouterr().err == f"[{os.getpid()}] [INF] one\n"


def test_failures_have_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """A bug is told whole."""
    log = logger(ServerLog(Server()))
    try:
        raise RuntimeError("of the test")
    except RuntimeError:
        log.failure("it broke", level=LogLevel.error)
    said = capsys.readouterr().err
    assert "[ERR] it broke\n" in said
    assert "RuntimeError: of the test" in said


def test_others(capsys: pytest.CaptureFixture[str]) -> None:
    """What Twisted says of its own doings is left out; its warnings are not."""
    log = ServerLog(Server())
    logger(log, "twisted.internet").info("starting")
    logger(log, "twisted.internet").warn("hear this")
    logger(log, "brokerkit.listener").info("{protocol} listening on {address}", protocol="nats", address="a")
    assert [line.rpartition("] ")[2] for line in capsys.readouterr().err.splitlines()] == ["hear this"]


def test_a_file_that_is_moved_away(tmp_path: Path) -> None:
    """It is written on where it is until it is opened anew."""
    path = tmp_path / "a.log"
    log = ServerLog(Server(log_file=str(path)))
    log.write("INF", "one")
    path.rename(tmp_path / "b.log")
    log.write("INF", "two")
    log.reopen()
    log.write("INF", "three")
    assert (tmp_path / "b.log").read_text(encoding="utf-8").count("\n") == 2
    assert path.read_text(encoding="utf-8").endswith("three\n")


def test_another_file(tmp_path: Path) -> None:
    """A reload may name another file; one that cannot be opened changes nothing."""
    log = ServerLog(Server(log_file=str(tmp_path / "a.log")))
    with pytest.raises(OperatorError, match="error opening log file"):
        log.become(Server(log_file=str(tmp_path / "no" / "b.log")))
    log.write("INF", "one")
    log.become(Server(log_file=str(tmp_path / "c.log")))
    log.write("INF", "two")
    assert "one" in (tmp_path / "a.log").read_text(encoding="utf-8")
    assert "two" in (tmp_path / "c.log").read_text(encoding="utf-8")
    with pytest.raises(OperatorError, match="error opening log file"):
        ServerLog(Server(log_file=str(tmp_path)))
