"""How it is written down that somebody else decides: ``callout:ISSUER?users=NAME,...&account=TENANT``."""

from __future__ import annotations

from urllib.parse import parse_qsl

from brokerkit import nkeys
from brokerkit.checkers.callout import Callout
from brokerkit.errors import ConfigError

WHERE = "configuration"
OPTIONS = ("users", "account")


def read(argument: str, usage: str) -> Callout:
    """Give the source; raise ``ConfigError`` for what cannot be meant."""
    issuer, _, query = argument.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for key in options:
        if key not in OPTIONS:
            raise ConfigError(WHERE, "auth", f"callout:...?{key}=", f"one of {', '.join(OPTIONS)} behind the ?")
    users = tuple(filter(None, options.get("users", "").split(",")))
    if not users:
        raise ConfigError(WHERE, "auth", f"callout:{argument}", usage, "those who answer have to get in themselves")
    if not nkeys.is_key(issuer, nkeys.ACCOUNT):
        raise ConfigError(WHERE, "auth", issuer, "the public nkey that answers are signed with: A and 55 more")
    return Callout(issuer, users, options.get("account", ""))
