"""Logging in with an nkey: what is accepted and what is not, here and by a nats-server beside it."""

from __future__ import annotations

import json
import re
import socket
from base64 import b32encode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from binascii import crc_hqx
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from brokerkit.checkers.memory import MemoryUsers
from brokerkit.testing import MemoryBroker
from tests.servers.nats import SECONDS, NatsServer, find

from .words import REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PONG = b"PONG\r\n"
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"a seed that is no secret at all.")
STRANGER = Ed25519PrivateKey.from_private_bytes(b"another seed that is no secret..")


def public(private: Ed25519PrivateKey) -> str:
    """Spell the public key of a user."""
    body = b"\xa0" + private.public_key().public_bytes_raw()
    return b32encode(body + crc_hqx(body, 0).to_bytes(2, "little")).decode()


KEY = public(PRIVATE)


def raw(signature: bytes) -> str:
    """Spell a signature as clients do."""
    return urlsafe_b64encode(signature).decode().rstrip("=")


class Case(NamedTuple):
    """A login: what CONNECT says when the server has offered a nonce, and whether that is accepted."""

    id: str
    accepted: bool
    says: Callable[[bytes], dict[str, Any]]


def signed(nonce: bytes, private: Ed25519PrivateKey = PRIVATE) -> bytes:
    """Sign a nonce."""
    return private.sign(nonce)


CASES = [
    Case("as clients say it", True, lambda n: {"nkey": KEY, "sig": raw(signed(n))}),
    Case("plain base64", True, lambda n: {"nkey": KEY, "sig": b64encode(signed(n)).decode()}),
    Case("plain without padding", False, lambda n: {"nkey": KEY, "sig": b64encode(signed(n)).decode().rstrip("=")}),
    Case("safe with padding", False, lambda n: {"nkey": KEY, "sig": urlsafe_b64encode(signed(n)).decode()}),
    Case("no signature", False, lambda _: {"nkey": KEY}),
    Case("an empty signature", False, lambda _: {"nkey": KEY, "sig": ""}),
    Case("no base64", False, lambda _: {"nkey": KEY, "sig": "!" * 86}),
    Case("a byte too few", False, lambda n: {"nkey": KEY, "sig": raw(signed(n)[:-1])}),
    Case("a byte too many", False, lambda n: {"nkey": KEY, "sig": raw(signed(n) + b"\0")}),
    Case("another nonce", False, lambda n: {"nkey": KEY, "sig": raw(signed(n[::-1] + b"x"))}),
    Case("the bytes of the nonce", False, lambda n: {"nkey": KEY, "sig": raw(signed(urlsafe_b64decode(n + b"=")))}),
    Case("nothing", False, lambda _: {"nkey": KEY, "sig": raw(signed(b""))}),
    Case("signed by another", False, lambda n: {"nkey": KEY, "sig": raw(signed(n, STRANGER))}),
    Case("a stranger", False, lambda n: {"nkey": public(STRANGER), "sig": raw(signed(n, STRANGER))}),
    Case("small letters", False, lambda n: {"nkey": KEY.lower(), "sig": raw(signed(n))}),
    Case("a blank", False, lambda n: {"nkey": KEY + " ", "sig": raw(signed(n))}),
    Case("a seed", False, lambda n: {"nkey": "S" + KEY, "sig": raw(signed(n))}),
    Case("beside a wrong password", True, lambda n: {"nkey": KEY, "sig": raw(signed(n)), "user": "bob", "pass": "x"}),
    Case("wrong beside a password", False, lambda _: {"nkey": KEY, "sig": "x", "user": "bob", "pass": "other"}),
    Case("unknown beside a password", False, lambda _: {"nkey": "U", "sig": "x", "user": "bob", "pass": "other"}),
    Case("the key as a name", False, lambda n: {"user": KEY, "pass": raw(signed(n))}),
    Case("a signature alone", False, lambda n: {"sig": raw(signed(n))}),
    Case("a password alone", True, lambda _: {"user": "bob", "pass": "other"}),
]


def connect(nonce: bytes, case: Case) -> bytes | None:
    """Give what to send, ``None`` if the case does not show with this nonce: not every signature has odd letters."""
    options = {"verbose": False, "pedantic": False, **case.says(nonce)}
    if case.id in {"plain without padding", "safe with padding"} and not set("-_+/") & set(options["sig"]):
        return None
    return b"CONNECT %b\r\nPING\r\n" % json.dumps(options).encode()


def nonce_in(said: bytes) -> bytes:
    """Take the nonce out of INFO: 15 letters."""
    found = re.search(rb'"nonce":"([\w-]{15})"', said)
    assert found is not None
    return found[1]


def broker() -> MemoryBroker:
    """Give a broker with ann, who has a key, and bob, who has a password."""
    keys = MemoryUsers({"key holder": ""}, public_keys={"key holder": (KEY,)})
    return MemoryBroker(users={"bob": "other"}, sources=[keys])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_login(case: Case) -> None:
    """Whoever has signed the nonce of this connection with a known key is let in; all others are refused."""
    memory = broker()
    said = None
    while said is None:
        peer = memory.connect("nats")
        said = connect(nonce_in(peer.take()), case)
    peer.send(said)
    memory.advance(0)
    assert peer.take() == (PONG if case.accepted else REFUSED)
    assert peer.closed != case.accepted
    assert memory.broker.listener("nats").counts.logins_refused == (not case.accepted)


@pytest.mark.skipif(not find(), reason="no nats-server")
def test_beside_nats_server(tmp_path: Path) -> None:
    """A nats-server accepts the same ones, and refuses the same ones."""
    program = find()
    assert program is not None
    configuration = tmp_path / "nats.conf"
    users = f"{{ nkey: {KEY} }}, {{ user: bob, password: other }}"
    configuration.write_text(f'host: "127.0.0.1", port: -1, authorization {{ users: [ {users} ] }}')
    with NatsServer(program, configuration) as server:
        heard = {case.id: _ask(server.port, case) for case in CASES}
    assert heard == {case.id: (PONG if case.accepted else REFUSED) for case in CASES}


def _ask(port: int, case: Case) -> bytes:
    while True:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
            stream = connection.makefile("rb")
            said = connect(nonce_in(stream.readline()), case)
            if said is not None:
                connection.sendall(said)
                return stream.readline()


def test_a_nonce_for_each_connection() -> None:
    """What was signed for one connection says nothing on another."""
    memory = broker()
    first, second = memory.connect("nats"), memory.connect("nats")
    nonces = [nonce_in(first.take()), nonce_in(second.take())]
    assert nonces[0] != nonces[1]
    said = connect(nonces[0], CASES[0])
    assert said is not None
    second.send(said)
    assert second.take() == REFUSED
    first.send(said)
    assert first.take() == PONG


def test_no_nonce_where_nobody_has_a_key() -> None:
    """Without a source that knows keys there is none in INFO, and what is said of keys is not looked at."""
    memory = MemoryBroker(users={"bob": "other"})
    peer = memory.connect("nats")
    assert b"nonce" not in peer.take()
    peer.send(b'CONNECT {"verbose":false,"nkey":"%b","sig":"x","user":"bob","pass":"other"}\r\nPING\r\n' % KEY.encode())
    assert peer.take() == PONG


def test_again() -> None:
    """A second CONNECT on the same connection is looked at like the first."""
    memory = broker()
    peer = memory.connect("nats")
    nonce = nonce_in(peer.take())
    right, wrong = connect(nonce, CASES[0]), connect(nonce, CASES[4])
    assert right is not None
    assert wrong is not None
    peer.send(right, right)
    assert peer.take() == PONG + PONG
    peer.send(wrong.replace(b"}", b',"sig":""}'))
    assert peer.take() == REFUSED


def test_guesses_are_slowed_down() -> None:
    """Wrong signatures for one key count for that key: after some the key is not looked at for a while, others are."""
    memory = broker()
    wrong = Case("", False, lambda _: {"nkey": KEY, "sig": "x"})
    answers = []
    for _ in range(20):
        peer = memory.connect("nats")
        said = connect(nonce_in(peer.take()), wrong)
        assert said is not None
        peer.send(said)
        answers.append(peer.take())
    assert answers[0] == REFUSED
    assert answers[-1] == b""
    peer = memory.connect("nats")
    peer.send(b'CONNECT {"verbose":false,"user":"bob","pass":"other"}\r\nPING\r\n')
    assert peer.take().endswith(PONG)
