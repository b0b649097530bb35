"""Credentials: the challenge of hpfeeds, and tokens."""

from __future__ import annotations

from hashlib import sha1

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.cred.credentials import IUsernameHashedPassword
from zope.interface.verify import verifyObject

from brokerkit.credentials import ChallengeResponse, Token
from brokerkit.interfaces import IToken

NONCE = bytes.fromhex("0102a0ff")
DIGEST = bytes.fromhex("2ecf166d1a8caf7caa125794c2e88f24b0986ac4")  # of the secret "secret"


@pytest.mark.parametrize("secret", [b"secret", "secret"])
def test_right_secret(secret: bytes | str) -> None:
    """The known digest of nonce and secret is accepted, the secret given as bytes or as text."""
    assert ChallengeResponse(b"test", NONCE, DIGEST).checkPassword(secret)


def test_secret_that_is_not_ascii() -> None:
    """A secret counts as its UTF-8."""
    digest = sha1(NONCE + b"\xc3\xa4", usedforsecurity=False).digest()
    assert ChallengeResponse(b"test", NONCE, digest).checkPassword("ä")


@pytest.mark.parametrize("digest", [b"", DIGEST[:-1], DIGEST + b"\0", bytes(20), DIGEST.hex().encode()])
def test_wrong_digest(digest: bytes) -> None:
    """A digest of another length is as wrong as another digest."""
    assert not ChallengeResponse(b"test", NONCE, digest).checkPassword(b"secret")


@given(st.binary(), st.binary(), st.binary())
def test_only_its_own_secret(nonce: bytes, secret: bytes, other: bytes) -> None:
    """A response fits the secret that it was made with, and no other."""
    response = ChallengeResponse(b"test", nonce, sha1(nonce + secret, usedforsecurity=False).digest())
    assert response.checkPassword(secret)
    assert response.checkPassword(other) == (other == secret)


def test_interfaces() -> None:
    """Both are credentials as twisted.cred knows them."""
    assert verifyObject(IUsernameHashedPassword, ChallengeResponse(b"test", NONCE, DIGEST))
    assert verifyObject(IToken, Token(b"t"))


def test_nothing_secret_is_shown() -> None:
    """A log line with credentials in it gives nothing away."""
    assert repr(ChallengeResponse(b"test", NONCE, DIGEST)) == "ChallengeResponse(username=b'test')"
    assert repr(Token(b"hush")) == "Token()"
