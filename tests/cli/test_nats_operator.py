"""nats-server's file with an operator, or with a callout: who is let in, and what is wrong with such a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from brokerkit.errors import OperatorError
from tests.tokens import Key, account, operator, raw, user

from .test_nats_reload import Running

if TYPE_CHECKING:
    from pathlib import Path

    from brokerkit.testing.memory import Peer

OPERATOR, STRANGER = Key("O", "operator"), Key("O", "stranger")
SYSTEM, ACCOUNT, OTHER = Key("A", "system"), Key("A", "account"), Key("A", "other")
ANN = Key("U", "ann")
TRUSTED = operator(OPERATOR, system_account=SYSTEM.public)
PRELOADED = {SYSTEM.public: account(OPERATOR, SYSTEM), ACCOUNT.public: account(OPERATOR, ACCOUNT)}


def preload(tokens: dict[str, str] = PRELOADED) -> str:
    """Give the lines of accounts in a file."""
    return (
        "resolver: MEMORY\nresolver_preload {\n" + "".join(f"{key}: {text}\n" for key, text in tokens.items()) + "}\n"
    )


def login(broker: Running, token: str) -> Peer:
    """Show a token; give the peer, with the answer still to be taken."""
    peer = broker.connect("nats")
    nonce = json.loads(peer.take().removeprefix(b"INFO "))["nonce"].encode()
    said = {"verbose": False, "pedantic": False, "jwt": token, "sig": raw(ANN.sign(nonce))}
    peer.send(b"CONNECT %b\r\nPING\r\n" % json.dumps(said).encode())
    broker.advance(0.1)
    return peer


def lets_in(broker: Running, token: str) -> bool:
    """Say whether a token is good."""
    return b"PONG" in login(broker, token).take()


@pytest.mark.parametrize("way", ["text", "file", "key"])
def test_an_operator(tmp_path: Path, way: str) -> None:
    """An operator is trusted by its JWT, in the file or beside it, or by its key alone; nobody else's accounts are."""
    path = tmp_path / "operator.jwt"
    path.write_text(
        f"-----BEGIN NATS OPERATOR JWT-----\n{TRUSTED}\n------END NATS OPERATOR JWT------\n", encoding="ascii"
    )
    said = {"text": f"operator: {TRUSTED}", "file": f"operator: {path}", "key": f"trusted_keys: [{OPERATOR.public} ]"}
    broker = Running(tmp_path / "a.conf", f"{said[way]}\n{preload()}")
    assert lets_in(broker, user(ACCOUNT, ANN))
    assert not lets_in(broker, user(OTHER, ANN))


def test_a_directory(tmp_path: Path) -> None:
    """Accounts may lie in a directory, and come while the server runs."""
    (tmp_path / "jwt").mkdir()
    text = f"operator: {TRUSTED}\nresolver {{ type: full, dir: '{tmp_path}/jwt' }}"
    broker = Running(tmp_path / "a.conf", text)
    assert not lets_in(broker, user(ACCOUNT, ANN))
    (tmp_path / "jwt" / f"{ACCOUNT.public}.jwt").write_text(PRELOADED[ACCOUNT.public], encoding="ascii")
    broker.advance(1.1)
    assert lets_in(broker, user(ACCOUNT, ANN))


def test_pinned_accounts(tmp_path: Path) -> None:
    """Only they may come, if there are any."""
    text = f"operator: {TRUSTED}\n{preload()}resolver_pinned_accounts: [%s ]"
    assert lets_in(Running(tmp_path / "a.conf", text % ACCOUNT.public), user(ACCOUNT, ANN))
    assert not lets_in(Running(tmp_path / "b.conf", text % OTHER.public), user(ACCOUNT, ANN))


def test_nobody_comes_in_without(tmp_path: Path) -> None:
    """With an operator, nobody is anybody."""
    broker = Running(tmp_path / "a.conf", f"operator: {TRUSTED}\n{preload()}")
    peer = broker.connect("nats")
    assert b'"auth_required":true' in peer.take()
    peer.send(b"CONNECT {}\r\nPING\r\n")
    broker.advance(0.1)
    assert b"Authorization Violation" in peer.take()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("operator: nope.jwt\nresolver: MEMORY", "nope.jwt"),
        ("operator: eyJxxx\nresolver: MEMORY", "a.conf:1:1: the JWT of an operator is expected"),
        (f"operator: {TRUSTED}", "an operator needs a resolver"),
        (f"operator: {TRUSTED}\nresolver {{ type: full, dir: /nonexistent }}", "/nonexistent: is no directory"),
        (f"operator: {TRUSTED}\nauthorization {{ user: a }}\n{preload()}", "there are no users"),
        (f"operator: {TRUSTED}\n{preload({ACCOUNT.public: PRELOADED[SYSTEM.public]})}", "the JWT of another account"),
        (f"operator: {TRUSTED}\n{preload({ACCOUNT.public: 'x'})}", "a JWT"),
        (f"operator: {TRUSTED}\nsystem_account: SYS\n{preload()}", "the public nkey of an account"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, text: str, words: str) -> None:
    """It ends the start, with a line that says what is wrong."""
    with pytest.raises(OperatorError) as caught:
        Running(tmp_path / "a.conf", text)
    assert words in str(caught.value)
    assert TRUSTED not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("issuer: X, auth_users: [a]", "public nkey of an account"),
        (f"issuer: {ACCOUNT.public}", '"auth_users" is missing'),
        ("auth_users: [a]", '"issuer" is missing'),
        (f"issuer: {ACCOUNT.public}, auth_users: [b]", '"b" of auth_users is no user'),
        (f"issuer: {ACCOUNT.public}, auth_users: [a], account: B", 'the account "B" is not defined'),
        (f"issuer: {ACCOUNT.public}, auth_users: [a], xkey: X", "requests are not sealed"),
        (f"issuer: {ACCOUNT.public}, auth_users: [a], allowed_accounts: [A]", "not supported"),
    ],
)
def test_what_cannot_be_a_callout(tmp_path: Path, keys: str, words: str) -> None:
    """A callout that could not work, or would let in more than is meant, is refused."""
    with pytest.raises(OperatorError, match=words):
        Running(
            tmp_path / "a.conf", f"authorization {{ users: [{{user: a, password: b}}], auth_callout {{ {keys} }} }}"
        )


def test_a_callout(tmp_path: Path) -> None:
    """Those who answer it log in as users; whoever else comes is asked about, so nobody comes in by being unknown."""
    callout = f"auth_callout {{ issuer: {ACCOUNT.public}, auth_users: [a] }}"
    broker = Running(tmp_path / "a.conf", f"authorization {{ users: [{{user: a, password: b}}], {callout} }}")
    service = broker.nats("a", "b")
    service.send(b"SUB $SYS.REQ.USER.AUTH 1\r\n")
    peer = broker.connect("nats")
    assert b'"auth_required":true' in peer.take()
    peer.send(b'CONNECT {"user":"zoe","pass":"z"}\r\nPING\r\n')
    broker.advance(0.1)
    assert b"MSG $SYS.REQ.USER.AUTH 1" in service.take()
    assert peer.take() == b""
    broker.advance(2.5)
    assert b"PONG" not in peer.take()
