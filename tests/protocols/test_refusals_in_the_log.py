"""What the log says of a login that did not come about, or was ended: more than the peer is told."""

from __future__ import annotations

import json
from hashlib import sha1
from typing import TYPE_CHECKING

import pytest
from twisted.logger import capturedLogs, formatEvent

from brokerkit import logins
from brokerkit.session import PAUSE
from brokerkit.testing import MemoryBroker
from brokerkit.throttle import PAIR

if TYPE_CHECKING:
    from brokerkit.testing import Peer

USERS = {"ann": "secret"}


def nats(memory: MemoryBroker, secret: str, name: str = "ann") -> Peer:
    """Log in by NATS."""
    peer = memory.connect("nats")
    peer.take()
    peer.send(b"CONNECT " + json.dumps({"user": name, "pass": secret, "verbose": False}).encode() + b"\r\n")
    return peer


def hpfeeds(memory: MemoryBroker, secret: str) -> Peer:
    """Log in by hpfeeds."""
    peer = memory.connect("hpfeeds")
    body = b"\3ann" + sha1(peer.take()[-4:] + secret.encode()).digest()  # noqa: S324  the protocol's own
    peer.send((5 + len(body)).to_bytes(4, "big") + b"\2" + body)
    return peer


def said(logs: list[object]) -> list[str]:
    """Give the lines, without the peer's address."""
    return [formatEvent(event).partition(": ")[2] for event in logs]  # type: ignore[arg-type]


@pytest.mark.parametrize("log_in", [nats, hpfeeds])
def test_an_outage_and_a_throttle_are_two_things(log_in: object) -> None:
    """Peers hear the same of both; the log says which one it was."""
    memory = MemoryBroker(users=USERS)
    memory.source.up = False
    with capturedLogs() as logs:
        log_in(memory, "secret")  # type: ignore[operator]
    assert said(logs)[-1] == "login: users cannot be looked up now"
    memory.source.up = True
    memory.advance(10.0)
    for _ in range(PAIR):
        log_in(memory, "wrong")  # type: ignore[operator]
    with capturedLogs() as logs:
        log_in(memory, "secret")  # type: ignore[operator]
        memory.advance(PAUSE)
    assert said(logs) == ["login: not tried, since too many have failed from there lately"]


def test_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login for which there is no room is said to be that."""
    monkeypatch.setattr(logins, "IN_FLIGHT", 0)
    memory = MemoryBroker(users=USERS)
    with capturedLogs() as logs:
        nats(memory, "secret")
    assert said(logs) == ["login: not tried, since too many are being decided already"]


def test_who_it_was() -> None:
    """NATS answers without a name; the log has the one that was given, harmless to a terminal, and no secret."""
    memory = MemoryBroker(users=USERS)
    with capturedLogs() as logs:
        peer = nats(memory, "hush", "a\x1b[2J\nb")
    assert peer.take() == b"-ERR 'Authorization Violation'\r\n"
    assert said(logs) == ["login: Authorization Violation for a\\x1b[2J\\nb"]


def test_a_credential_without_a_name() -> None:
    """A token names nobody, and is not repeated."""
    memory = MemoryBroker(users=USERS)
    peer = memory.connect("nats")
    with capturedLogs() as logs:
        peer.send(b'CONNECT {"auth_token": "hush", "verbose": false}\r\n')
    assert said(logs) == ["login: Authorization Violation"]


@pytest.mark.parametrize("log_in", [nats, hpfeeds])
def test_kicked(log_in: object) -> None:
    """A kick, of which NATS says nothing to the client, has its line with the user's name."""
    memory = MemoryBroker(users=USERS)
    peer = log_in(memory, "secret")  # type: ignore[operator]
    peer.take()
    with capturedLogs() as logs:
        memory.broker.revocation.kick(b"ann")
    assert said(logs) == ["login: ann is sent away: kicked"]
