"""``operator``, ``resolver`` and ``trusted_keys``: logins by JWT, and who vouches for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.protocols.nats.conf.fields import (
    aliases,
    expect,
    ignored,
    pairs,
    read,
    text,
    texts,
)
from brokerkit.protocols.nats.conf.tree import Pair, Wrong

if TYPE_CHECKING:
    from brokerkit.protocols.nats.conf.fields import Notes
    from brokerkit.protocols.nats.conf.server import Operator, Server

_MEMORY = frozenset({"memory", "mem"})
_KINDS = frozenset({"full", "cache", "cached", "memory", "mem"})


def operators(server: Server, pair: Pair, _: Notes) -> None:
    """Take the JWTs of operators, or the names of files with them."""
    server.operator.place = pair.place
    server.operator.tokens = texts(pair.value)


def trusted_keys(server: Server, pair: Pair, _: Notes) -> None:
    """Read the public keys of operators."""
    from brokerkit.nkeys import OPERATOR, is_key  # loads a library that most have no use for

    found = texts(pair.value)
    for one in found:
        if not is_key(one, OPERATOR):
            raise Wrong(pair.value.place, "the public nkey of an operator is expected: O and 55 letters and digits")
    server.operator.place = server.operator.place or pair.place
    server.operator.keys = found


def resolver(server: Server, pair: Pair, notes: Notes) -> None:
    """Read where the JWTs of accounts are."""
    operator = server.operator
    if isinstance(expect(pair.value, str, dict), str):
        if pair.value.data.lower() not in _MEMORY:
            raise Wrong(pair.value.place, "memory, or a map with type and dir, is expected; a URL is not supported")
        operator.memory = True
        return
    read(pair.value, _RESOLVER, operator, notes)


def _type(operator: Operator, pair: Pair, _: Notes) -> None:
    found = text(pair.value).lower()
    if found not in _KINDS:
        raise Wrong(pair.value.place, "full, cache or memory is expected")
    operator.memory = found in _MEMORY


def _directory(operator: Operator, pair: Pair, _: Notes) -> None:
    operator.directory = text(pair.value)


# Where the files are written by the server itself, these say how; here others write them.
_RESOLVER = aliases(
    {
        "type": _type,
        ("dir", "directory", "path"): _directory,
        ("allow_delete", "hard_delete", "interval", "limit", "ttl", "timeout"): ignored,
    }
)


def preload(server: Server, pair: Pair, _: Notes) -> None:
    """Read the JWTs of accounts that stand in the file."""
    server.operator.preload = {one.key: text(one.value) for one in pairs(pair.value).values()}


def pinned(server: Server, pair: Pair, _: Notes) -> None:
    """Read the accounts that alone may come; the keys are checked where they are used."""
    server.operator.pinned = texts(pair.value)
