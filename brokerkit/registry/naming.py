"""A name of the registry as one token of a topic, and back.

Letters, digits and a few signs stay as they are; every other byte of the name's UTF-8 is written ``=XX``.  So a dot, a
space, ``*`` and ``>`` within a name part no tokens and stand for nothing else.
"""

from __future__ import annotations

import re

from brokerkit import topics

PREFIX = b"registry"

_ODD = re.compile(rb"[^A-Za-z0-9/:@+~_-]")
_TOKEN = re.compile(rb"(?:[A-Za-z0-9/:@+~_-]|=[0-9A-F]{2})+", re.ASCII)
_CODE = re.compile(rb"=([0-9A-F]{2})")


def token(name: str) -> bytes:
    """Give the token of a name; every name has one of its own."""
    return _ODD.sub(lambda found: b"=%02X" % found[0][0], name.encode(errors="surrogatepass"))


def name_of(text: bytes) -> str:
    """Give the name of a token; raise ``ValueError`` if it is none's."""
    if not _TOKEN.fullmatch(text):
        raise ValueError("no token of a name")
    name = _CODE.sub(lambda found: bytes((int(found[1], 16),)), text).decode()
    if token(name) != text:
        raise ValueError("no token of a name")
    return name


def topic(name: str, prefix: bytes = PREFIX) -> bytes:
    """Give the topic of a name."""
    return topics.under(prefix, token(name))
