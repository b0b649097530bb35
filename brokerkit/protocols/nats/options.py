"""What a CONNECT says.

Keys that are missing keep the values that a connection has before it says anything: verbose, pedantic and echo are on.
Unknown keys are ignored, a value of the wrong type ends the connection without a word, as nats-server does.
"""

from __future__ import annotations

import json
import re
from typing import Any

import attrs

from brokerkit.errors import LoginFailed, ProtocolViolation


@attrs.frozen
class Options:
    """The options of one connection."""

    verbose: bool = True
    pedantic: bool = True
    echo: bool = True
    headers: bool = False
    no_responders: bool = False
    protocol: int = 0
    tls_required: bool = False
    name: str = ""
    lang: str = ""
    version: str = ""
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    auth_token: str = attrs.field(default="", repr=False)
    jwt: str = attrs.field(default="", repr=False)
    nkey: str = ""
    sig: str = attrs.field(default="", repr=False)
    account: str = ""
    new_account: bool = False


LARGEST = 63  # bits of a number in Go

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_FIELDS = {"pass" if field.name == "password" else field.name: field for field in attrs.fields(Options)}


def parse(text: bytes, before: Options = Options()) -> Options:
    """Read the JSON of a CONNECT; what it does not say stays as it was ``before``.

    Raises ``ProtocolViolation`` for what is not JSON or has a value of the wrong type (no answer), and ``LoginFailed``
    for the choice of an account, which clients no longer have.
    """
    options = attrs.evolve(before, **_known(read_object(text)))
    if options.account or options.new_account:
        raise LoginFailed("Authorization Violation")
    return options


def refusal(options: Options) -> ProtocolViolation | None:
    """Give the error that answers options which cannot be; it is said to those only who have logged in."""
    if options.protocol not in (0, 1):
        return ProtocolViolation("invalid client protocol")
    if options.no_responders and not options.headers:
        return ProtocolViolation("no responders requires headers support")
    return None


def read_object(text: bytes) -> dict[str, Any]:
    """Read a JSON object as Go's decoder does: null is an empty one, bytes that are not UTF-8 are replaced."""
    try:
        data = json.loads(text.decode(errors="replace"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ProtocolViolation(None) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ProtocolViolation(None)
    return data


def _refuse(constant: str) -> None:
    """Refuse NaN and the infinities, which only Python takes for JSON."""
    raise ValueError(constant)


def _known(data: dict[str, Any]) -> dict[str, Any]:
    """Give the keys that we know; like Go's decoder, take them in any case and null as not said."""
    found = {}
    for key, value in data.items():
        field = _FIELDS.get(key.lower())
        if field is None or value is None:
            continue
        if type(value) is not type(field.default) or (type(value) is int and value.bit_length() > LARGEST):
            raise ProtocolViolation(None)
        found[field.name] = _LONE_SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value
    return found
