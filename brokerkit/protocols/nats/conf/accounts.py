"""Accounts: users with a space of subjects of their own, what they share, and what they may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.mapping import BadMapping, placed, transforms
from brokerkit.protocols.nats.conf.fields import (
    aliases,
    elements,
    expect,
    ignored,
    limit,
    pairs,
    read,
    sets,
    text,
    unknown,
)
from brokerkit.protocols.nats.conf.rights import people, permissions
from brokerkit.protocols.nats.conf.server import PER_CENT, Account
from brokerkit.protocols.nats.conf.tree import Pair, Value, Wrong
from brokerkit.tenant import CHUNKED, SERVICE, SINGLETON, STREAM, STREAMED, Destination, Export, Import, Mapping
from brokerkit.topics import is_pattern

if TYPE_CHECKING:
    from brokerkit.protocols.nats.conf.fields import Notes
    from brokerkit.protocols.nats.conf.server import Server
    from brokerkit.protocols.nats.conf.tree import Place

DEFAULT = "$G"

_RESPONSES = {"single": SINGLETON, "singleton": SINGLETON, "stream": STREAMED, "chunk": CHUNKED, "chunked": CHUNKED}
_OFF = ("disabled", "disable", "off", "false")


def accounts(server: Server, pair: Pair, notes: Notes) -> None:
    """Read all accounts: a map, or a list of names."""
    if isinstance(pair.value.data, str):
        server.accounts = {pair.value.data: Account(pair.value.place, pair.value.data)}
        return
    if isinstance(expect(pair.value, str, list, dict), list):
        server.accounts = {text(one): Account(one.place, text(one)) for one in pair.value.data}
        return
    for one in pair.value.data.values():
        if one.used and not isinstance(one.value.data, dict):  # a variable for the accounts
            continue
        try:
            server.accounts[one.key] = _account(one, notes)
        except Wrong as error:
            notes.wrong(error)


def _account(pair: Pair, notes: Notes) -> Account:
    if pair.key == DEFAULT:
        raise Wrong(pair.place, f'"{DEFAULT}" is the default account, and always there')
    account = Account(pair.place, pair.key)
    read(Value(pairs(pair.value), pair.value.place), _ACCOUNT, account, notes)
    return account


# -- what an account says -----------------------------------------------------------------------------------------


def _users(account: Account, pair: Pair, notes: Notes) -> None:
    account.users = people(pair.value, account.name, notes)


def _jetstream(_: Account, pair: Pair, notes: Notes) -> None:
    data = pair.value.data
    if data is not False and not (isinstance(data, str) and data.lower() in _OFF):
        notes.warn(pair.place, '"jetstream": brokerkit has no JetStream; ignored')


def _limits(account: Account, pair: Pair, notes: Notes) -> None:
    read(pair.value, _LIMITS, account, notes)


def _traced(_: Account, pair: Pair, notes: Notes) -> None:
    notes.warn(pair.place, f'"{pair.key}": messages are not traced; ignored')


def _exports(account: Account, pair: Pair, notes: Notes) -> None:
    for one in elements(pair.value):
        try:
            account.exports.append((one.place, _export(one, notes)))
        except Wrong as error:
            notes.wrong(error)


def _imports(account: Account, pair: Pair, notes: Notes) -> None:
    for one in elements(pair.value):
        try:
            account.imports.append((one.place, _import(one)))
        except Wrong as error:
            notes.wrong(error)


def _account_mappings(account: Account, pair: Pair, notes: Notes) -> None:
    account.mappings = read_mappings(pair.value, notes)


_LIMITS = aliases(
    {
        ("max_connections", "max_conn"): sets("max_connections", limit),
        ("max_subscriptions", "max_subs"): sets("max_subscriptions", limit),
        ("max_payload", "max_pay"): sets("max_payload", limit),
        ("max_leafnodes", "max_leafs"): ignored,
    }
)

_ACCOUNT = aliases(
    {
        "users": _users,
        "exports": _exports,
        "imports": _imports,
        ("mappings", "maps"): _account_mappings,
        "limits": _limits,
        ("default_permissions", "default_permission"): sets("default_permissions", permissions),
        "jetstream": _jetstream,
        "nkey": ignored,  # the account's identity, of use only where its users have tokens
        ("msg_trace", "trace_dest"): _traced,
    }
)


# -- exports and imports ------------------------------------------------------------------------------------------

_EXPORT_KEYS = ("stream", "service", "accounts", "response", "response_type", "threshold", "latency")
_EXPORT_IGNORED = ("threshold", "response_threshold", "response_max_time", "response_time", "allow_trace")
_IMPORT_KEYS = ("stream", "service", "prefix", "to", "share")
_IMPORT_IGNORED = ("share", "allow_trace")


def _export(value: Value, notes: Notes) -> Export:
    kind, pattern = _kind(value), b""
    tenants: tuple[str, ...] = ()
    response, said = SINGLETON, None
    for pair in pairs(value).values():
        key = pair.key.lower()
        if key in {STREAM, SERVICE}:
            pattern = _pattern(pair.value)
        elif key == "accounts":
            tenants = tuple(text(one) for one in elements(pair.value))
        elif key in {"response", "response_type"}:
            response, said = _response(pair.value), pair
        elif key in {"latency", "account_token_position"}:
            _unsupported_export(pair, notes)
        elif key not in _EXPORT_IGNORED and not pair.used:
            raise unknown(pair, _EXPORT_KEYS)
    if said is not None and kind == STREAM:
        raise Wrong(said.place, "a stream has no responses, only a service has")
    return Export(kind, pattern, tenants, response)


def _unsupported_export(pair: Pair, notes: Notes) -> None:
    """Warn of what only measures; refuse what says who may import."""
    if pair.key.lower() == "latency":
        notes.warn(pair.place, '"latency": response times are not measured; ignored')
    else:  # ignoring this one would let everybody have it
        raise Wrong(pair.place, '"account_token_position" is not supported')


def _response(value: Value) -> str:
    found = _RESPONSES.get(text(value).lower())
    if found is None:
        raise Wrong(value.place, "expected one of singleton, stream, chunked")
    return found


def _kind(value: Value) -> str:
    """Say what an export or import is of."""
    kinds = [key.lower() for key in pairs(value) if key.lower() in {STREAM, SERVICE}]
    if len(kinds) != 1:
        raise Wrong(value.place, "expected one stream or one service")
    return kinds[0]


def _pattern(value: Value) -> bytes:
    found = text(value).encode()
    if not is_pattern(found):
        raise Wrong(value.place, "a subject such as a.b, a.* or a.> is expected")
    return found


def _import(value: Value) -> Import:
    kind, source, pattern, prefix, to = _kind(value), "", b"", b"", b""
    for pair in pairs(value).values():
        key = pair.key.lower()
        if key in {STREAM, SERVICE}:
            source, pattern = _source(pair)
        elif key == "prefix":
            prefix = b"" if kind == SERVICE else _pattern(pair.value)
        elif key == "to":
            to = text(pair.value).encode()
        elif key not in _IMPORT_IGNORED and not pair.used:
            raise unknown(pair, _IMPORT_KEYS)
    if prefix and to:
        raise Wrong(value.place, 'a stream that is imported has a "prefix" or a "to", not both')
    one = Import(kind, source, pattern, prefix, to)
    try:
        placed(one)
    except BadMapping as error:
        raise Wrong(value.place, f'"to": {error}') from None
    return one


def _source(pair: Pair) -> tuple[str, bytes]:
    account, pattern = "", b""
    for one in pairs(pair.value).values():
        key = one.key.lower()
        if key in {"account", "acc"}:
            account = text(one.value)
        elif key == "subject":
            pattern = _pattern(one.value)
        elif not one.used:
            raise unknown(one, ("account", "subject"))
    if not account or not pattern:
        raise Wrong(pair.place, "an account and a subject are expected")
    return account, pattern


# -- mappings -----------------------------------------------------------------------------------------------------


def mappings(server: Server, pair: Pair, notes: Notes) -> None:
    """Read the mappings of the default account."""
    server.mappings = read_mappings(pair.value, notes)


def read_mappings(value: Value, notes: Notes) -> list[Mapping]:
    """Read a map from subjects to destinations."""
    found = []
    for pair in pairs(value).values():
        try:
            mapping = Mapping(pair.key.encode(), _destinations(pair.value, notes))
            if not is_pattern(mapping.pattern):
                raise Wrong(pair.place, "a subject such as a.b, a.* or a.> is expected")
            _try(mapping, pair.place)
            found.append(mapping)
        except Wrong as error:
            notes.wrong(error)
    return found


def _try(mapping: Mapping, place: Place) -> None:
    try:
        transforms(mapping)
    except BadMapping as error:
        raise Wrong(place, str(error)) from None


def _destinations(value: Value, notes: Notes) -> tuple[Destination, ...]:
    if isinstance(expect(value, str, list, dict), str):
        return (Destination(value.data.encode()),)
    listed = value.data if isinstance(value.data, list) else [value]
    return tuple(one for each in listed if (one := _destination(each, notes)) is not None)


def _destination(value: Value, notes: Notes) -> Destination | None:
    to, weight = "", PER_CENT
    for pair in pairs(value).values():
        key = pair.key.lower()
        if key in {"dest", "destination"}:
            to = text(pair.value)
        elif key == "weight":
            weight = _weight(pair.value)
        elif key == "cluster":
            notes.unsupported(pair.place, "mappings of a cluster are not supported")
            return None
        elif not pair.used:
            raise unknown(pair, ("destination", "weight"))
    if not to:
        raise Wrong(value.place, "a destination is expected")
    return Destination(to.encode(), weight)


def _weight(value: Value) -> int:
    found = expect(value, int, str)
    digits = found.removesuffix("%") if isinstance(found, str) else str(found)
    if not (digits.isascii() and digits.isdigit() and int(digits) <= PER_CENT):
        raise Wrong(value.place, "a weight from 0 to 100 is expected, with % behind it or not")
    return int(digits)


def share(server: Server, notes: Notes) -> None:
    """Check that what accounts import is exported, and to them."""
    for account in server.accounts.values():
        for place, export in account.exports:
            for tenant in export.accounts:
                if tenant not in server.accounts:
                    notes.wrong(Wrong(place, f'the account "{tenant}" is not defined'))
        for place, one in account.imports:
            _check_import(server, account, place, one, notes)


def _check_import(server: Server, account: Account, place: Place, one: Import, notes: Notes) -> None:
    from brokerkit.tenant import Tenant, allowed

    source = server.accounts.get(one.source)
    if source is None:
        notes.wrong(Wrong(place, f'the account "{one.source}" is not defined'))
        return
    exports = tuple(export for _, export in source.exports)
    if allowed(Tenant(source.name, exports), one, account.name) is None:
        what = f'the {one.kind} "{one.pattern.decode()}" of "{one.source}"'
        notes.wrong(Wrong(place, f'{what} is not exported to "{account.name}"'))
