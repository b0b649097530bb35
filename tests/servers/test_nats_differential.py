"""The transcripts, said to a real nats-server and to brokerkit over TCP: whether the world is still as they say.

With RECORD=1 in the environment the answers of nats-server are written into the transcripts instead.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.protocols.nats.conversation import WAYS, OverTCP, converse
from tests.protocols.nats.record import record
from tests.protocols.nats.transcript import DIRECTORY, Heard, Script, read_all
from tests.servers.nats import Brokerkit, NatsServer, find
from tests.servers.programs import NO_SERVER, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

THEMES = read_all()
SERVERS = sorted({script.server for theme in THEMES.values() for script in theme})


@pytest.fixture(scope="module")
def nats_servers() -> Iterator[dict[str, int]]:
    """Give the port of a nats-server for each configuration."""
    program = find()
    if program is None:
        missing(NO_SERVER)
    assert program is not None
    with ExitStack() as stack:
        yield {name: stack.enter_context(NatsServer(program, DIRECTORY / f"{name}.conf")).port for name in SERVERS}


@pytest.fixture(scope="module")
def brokers() -> Iterator[dict[str, int]]:
    """Give the port of a brokerkit for each configuration."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Brokerkit(DIRECTORY / f"{name}.toml")).port for name in SERVERS}


def check(script: Script, port: int, way: str, expected: dict[str, Heard]) -> None:
    """Carry a script out, and compare."""
    heard = converse(script, lambda: OverTCP(port, info=script.info), way, expected)
    assert heard == {who: expected.get(who, Heard()) for who in heard}, str(script)


if "RECORD" in os.environ:

    def test_record(nats_servers: dict[str, int]) -> None:
        """What nats-server says is written down."""
        for theme in THEMES:
            record(DIRECTORY / f"{theme}.txt", nats_servers)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("theme", THEMES)
def test_nats_server(nats_servers: dict[str, int], theme: str, way: str) -> None:
    """A nats-server answers as it was recorded, whatever pieces the questions come in."""
    for script in THEMES[theme]:
        if way == "whole" or not script.pieces:
            check(script, nats_servers[script.server], way, script.heard)


@pytest.mark.parametrize("theme", THEMES)
def test_brokerkit(brokers: dict[str, int], theme: str) -> None:
    """The same answers come from brokerkit over TCP, but for the differences that are explained."""
    for script in THEMES[theme]:
        check(script, brokers[script.server], "whole", script.expected)
