"""nkeys: the spelling of a user's key, the spellings of a signature, and what is signed."""

from __future__ import annotations

from base64 import b32encode, b64encode, urlsafe_b64encode
from binascii import crc_hqx

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from brokerkit import nkeys
from brokerkit.checkers.known import Known, Users, fits
from brokerkit.client import User
from brokerkit.credentials import NkeySignature

SEED = bytes(range(32))
PRIVATE = Ed25519PrivateKey.from_private_bytes(SEED)


def spell(point: bytes, kind: int = 20 << 3) -> str:
    """Write a key as nk does."""
    body = bytes([kind]) + point
    return b32encode(body + crc_hqx(body, 0).to_bytes(2, "little")).decode()


KEY = spell(PRIVATE.public_key().public_bytes_raw())


@pytest.mark.parametrize("key", ["UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4", KEY])
def test_a_users_key(key: str) -> None:
    """A key that nats-server's documentation shows, and one that is made here, are keys of users."""
    assert nkeys.is_user_key(key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "U",
        KEY[:-1],
        KEY + "A",
        KEY.lower(),
        KEY[:-1] + ("A" if KEY[-1] != "A" else "B"),
        KEY[:20] + ("A" if KEY[20] != "A" else "B") + KEY[21:],
        KEY[:-2] + "==",
        " " + KEY[1:],
        KEY[:-1] + "\n",
        KEY[:-1] + "é",
        KEY[:-1] + "\udc80",
        spell(bytes(32), 0),  # of an account
        spell(bytes(32), 13 << 3),  # of a server
        spell(bytes(32), 18 << 3),  # a seed
    ],
)
def test_no_users_key(text: str) -> None:
    """Another length, letter, checksum or kind is no key of a user."""
    assert not nkeys.is_user_key(text)
    assert not NkeySignature(text, b"nonce", bytes(64)).is_signed()


@given(st.one_of(st.text(), st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=56, max_size=56)))
def test_any_text(text: str) -> None:
    """Whatever a peer calls a key or a signature is answered, and fits nothing."""
    assert not nkeys.is_signed(text, b"nonce", nkeys.read_signature(text))


@given(st.binary(min_size=32, max_size=32))
def test_any_point(point: bytes) -> None:
    """Any 32 bytes can be a key, also those that are no point of the curve: then nothing is signed with it."""
    key = spell(point)
    assert nkeys.is_user_key(key)
    assert not nkeys.is_signed(key, b"nonce", b"\1" * 64)


@given(st.binary(max_size=80))
def test_spellings_of_a_signature(signature: bytes) -> None:
    """URL-safe base64 without padding and plain base64 with it are read; URL-safe with padding is not."""
    plain, safe = b64encode(signature).decode(), urlsafe_b64encode(signature).decode()
    assert nkeys.read_signature(plain) == signature
    assert nkeys.read_signature(safe.rstrip("=")) == signature
    if "=" in safe and safe != plain:
        assert nkeys.read_signature(safe) == b""
    if plain.rstrip("=") != plain and plain.rstrip("=") != safe.rstrip("="):
        assert nkeys.read_signature(plain.rstrip("=")) == b""


@pytest.mark.parametrize("text", ["=", "====", "A", "é", "\udc80", "-_+/", "AA==AA", "A A A", "AAAA\nAAAA"])
def test_no_signature(text: str) -> None:
    """What is neither is no signature at all."""
    assert nkeys.read_signature(text) == b""


def test_what_is_signed() -> None:
    """The signature fits the key and the nonce that it was made with, and no others."""
    signature = PRIVATE.sign(b"nonce")
    assert nkeys.is_signed(KEY, b"nonce", signature)
    assert not nkeys.is_signed(KEY, b"other", signature)
    assert not nkeys.is_signed(KEY, b"nonce", signature[:-1])
    assert not nkeys.is_signed(KEY, b"nonce", signature + b"\0")
    assert not nkeys.is_signed(KEY, b"nonce", b"")
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    assert not nkeys.is_signed(spell(other), b"nonce", signature)


def test_nonces() -> None:
    """A nonce is 15 letters of base64, as nats-server's, and another one each time."""
    made = {nkeys.nonce() for _ in range(100)}
    assert len(made) == 100
    assert {len(one) for one in made} == {15}
    assert all(len(nkeys.read_signature(one.decode())) == nkeys.NONCE for one in made)


ANN = Known(User(b"ann", "test"), public_keys=(KEY,))
BOB = Known(User(b"bob", "test"), public_keys=(spell(bytes(32)),))


def test_the_user_is_found_by_the_key() -> None:
    """A key leads to its user, whether the signature is right or not, and only the right one fits."""
    users = Users([ANN, BOB])
    right = NkeySignature(KEY, b"nonce", PRIVATE.sign(b"nonce"))
    wrong = NkeySignature(KEY, b"nonce", PRIVATE.sign(b"another"))
    assert users.find(right) is ANN
    assert users.find(wrong) is ANN
    assert fits(ANN, right)
    assert not fits(ANN, wrong)
    assert not fits(BOB, right)
    assert users.find(NkeySignature("", b"nonce", b"")) is None


def test_failures_are_counted_by_key() -> None:
    """Whoever counts failures by name gets the key, or nothing where it is none and could be any length."""
    assert NkeySignature(KEY, b"", b"").username == KEY.encode()
    assert NkeySignature("U" * 4000, b"", b"").username == b""


def test_nothing_is_shown_that_proves_anything() -> None:
    """A log line with credentials in it shows the key, which is public, alone."""
    assert repr(NkeySignature(KEY, b"nonce", b"signature")) == f"NkeySignature(public_key={KEY!r})"


def test_another_key_is_another_proof() -> None:
    """Whoever logged in with a key that was taken away, or a certificate, has not proved what is asked now."""
    user = User(b"ann", "test")
    proofs = {
        Known(user, public_keys=keys, certificates=names).proven().proof
        for keys in [(), (KEY,), (KEY, "U2")]
        for names in [(), ("a",), ("b",), ("a", "b"), ("a', 'b",)]
    }
    assert len(proofs) == 15
