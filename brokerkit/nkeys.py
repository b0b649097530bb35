"""The public keys of NATS (``U...`` of a user): how they are spelled, and whether something was signed with one.

A key is spelled in one way only: a byte that says what it is of, 32 bytes of Ed25519 and two of checksum are 56 letters
of base32 without a rest.  So two texts that differ are two keys, and a key can be looked up by its text.
"""

from __future__ import annotations

from base64 import b32decode, b32encode, b64decode, urlsafe_b64encode
from binascii import crc_hqx
from contextlib import suppress
from secrets import token_bytes

USER = "U"
SERVER, OPERATOR, ACCOUNT = "N", "O", "A"
_FIRST = {SERVER: 13 << 3, OPERATOR: 14 << 3, ACCOUNT: 0, USER: 20 << 3}  # the first byte, which makes the first letter
LETTERS = 56
NONCE = 11  # bytes, as nats-server takes
SIGNATURE = 64  # bytes
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


def is_user_key(text: str) -> bool:
    """Say whether ``text`` is the public key of a user: ``U`` and 55 more letters whose checksum is right."""
    return is_key(text, USER)


def is_key(text: str, kinds: str) -> bool:
    """Say whether ``text`` is the public key of somebody of one of the kinds, each given by its letter."""
    return text[:1] in kinds and _point(text) is not None


def spell(kind: str, point: bytes) -> str:
    """Give the text of the public key with these 32 bytes."""
    body = bytes([_FIRST[kind]]) + point
    return b32encode(body + crc_hqx(body, 0).to_bytes(2, "little")).decode()


def nonce() -> bytes:
    """Give something to sign: 15 letters that nobody has seen before."""
    return urlsafe_b64encode(token_bytes(NONCE)).rstrip(b"=")


def read_signature(text: str) -> bytes:
    """Give the bytes of a signature: in URL-safe base64 without padding, or in the plain one with it.

    What is neither gives no bytes, and so fits no key.
    """
    try:
        spelled = text.encode("ascii")
        if len(spelled) % 4 == 0 and b"-" not in spelled and b"_" not in spelled:
            return b64decode(spelled, validate=True)
        if b"=" in spelled or b"+" in spelled or b"/" in spelled:
            return b""
        return b64decode(spelled.translate(_URL_SAFE) + b"=" * (-len(spelled) % 4), validate=True)
    except ValueError:
        return b""


def is_signed(public_key: str, signed: bytes, signature: bytes) -> bool:
    """Say whether ``signature`` is what the holder of the key, of any kind, makes of ``signed``; never raises."""
    # Imported here: it is slow to load, and few have nkeys.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    point = _point(public_key)
    if point is None or len(signature) != SIGNATURE:
        return False
    with suppress(InvalidSignature, ValueError):
        Ed25519PublicKey.from_public_bytes(point).verify(signature, signed)
        return True
    return False


def _point(text: str) -> bytes | None:
    """Give the 32 bytes of a key, or ``None``."""
    if len(text) != LETTERS:
        return None
    try:
        data = b32decode(text.encode("ascii"))
    except ValueError:  # not ASCII, or not base32
        return None
    body, checksum = data[:-2], data[-2:]
    if body[0] != _FIRST.get(text[0]) or crc_hqx(body, 0).to_bytes(2, "little") != checksum:
        return None
    return body[1:]
