"""brokerkit answers odd inputs as the table says, whatever pieces they come in."""

from __future__ import annotations

import pytest

from brokerkit.testing import MemoryBroker

from .odd_inputs import GRANTS, OPEN, USERS, USERS_ONLY, Row

PIECE = 16384


def check(memory: MemoryBroker, row: Row, chunks: list[bytes]) -> None:
    """Say it in these chunks, and compare what comes with the table."""
    peer = memory.connect("nats")
    assert peer.take().startswith(b"INFO {")
    peer.send(*chunks)
    if not row.closed:
        peer.send(b"PING\r\n")
    assert peer.take() == row.answer + (b"" if row.closed else b"PONG\r\n")
    memory.advance()
    assert peer.closed == row.closed
    peer.hang_up()


def pieces(row: Row) -> list[list[bytes]]:
    """Give ways to cut what is said: whole, byte by byte (large pieces for large ones), and by operations."""
    data = row.before + row.said
    step = 1 if len(data) < PIECE else PIECE
    return [[data], [data[i : i + step] for i in range(0, len(data), step)], [row.before, row.said]]


@pytest.mark.parametrize("group", OPEN)
def test_without_users(group: str) -> None:
    """A broker that lets everybody in."""
    memory = MemoryBroker(auth=("anonymous",))
    for row in OPEN[group]:
        for chunks in pieces(row):
            check(memory, row, chunks)


@pytest.mark.parametrize("group", USERS_ONLY)
def test_with_users(group: str) -> None:
    """A broker that wants a login, and grants some more than others."""
    memory = MemoryBroker(users=USERS, grants=GRANTS)
    for row in USERS_ONLY[group]:
        for chunks in pieces(row):
            check(memory, row, chunks)
