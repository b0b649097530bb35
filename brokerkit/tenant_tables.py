"""The ``[[tenant]]`` tables of a configuration, and what can be wrong with them.

Everything is checked before anything is opened: an import of what does not exist, is not exported or is kept for
others is a mistake of the operator, and is said so.  (A tenant that comes while the broker runs is another matter: what
it imports may still be on its way.)
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit import topics
from brokerkit.errors import ConfigError, Words
from brokerkit.mapping import BadMapping, placed, transforms
from brokerkit.tenant import (
    ALL_OF_IT,
    KINDS,
    RESPONSES,
    SERVICE,
    SINGLETON,
    STREAM,
    UNNAMED,
    Destination,
    Export,
    Import,
    Mapping,
    Tenant,
    allowed,
    exported,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TENANT = ("name", "exports", "imports", "mappings", "max_connections", "max_subscriptions", "max_payload")
_LIMITS = ("max_connections", "max_subscriptions", "max_payload")
_EXPORT = (*KINDS, "tenants", "response")
_IMPORT = (*KINDS, "from", "prefix", "to")
_DESTINATION = ("to", "weight")


def read_tenants(tables: object, where: str) -> tuple[Tenant, ...]:
    """Give the tenants that the ``[[tenant]]`` tables of a file say; raise ``ConfigError`` at what is wrong first."""
    if not isinstance(tables, list | tuple):
        raise ConfigError(where, "tenant", _kind(tables), "tables that are headed [[tenant]]")
    tenants = tuple(_tenant(_Table(one, where, f"tenant[{i}]")) for i, one in enumerate(tables))
    _refuse_twice(tenants, where)
    check_imports(tenants, where)
    return tenants


def check_imports(tenants: Sequence[Tenant], where: str) -> None:
    """Raise ``ConfigError`` for an import that nobody exports to that tenant."""
    named = {tenant.name: tenant for tenant in tenants}
    for i, tenant in enumerate(tenants):
        for j, one in enumerate(tenant.imports):
            key = f"tenant[{i}].imports[{j}]"
            source = named.get(one.source)
            if source is None:
                hint = _suggestion(one.source, named)
                raise ConfigError(where, f"{key}.from", one.source, "the name of a tenant in this file", hint)
            if exported(source, one) is None:
                expected = f"what {one.source!r} exports: {_listed(source, one.kind)}"
                raise ConfigError(where, f"{key}.{one.kind}", one.pattern.decode(errors="replace"), expected)
            if allowed(source, one, tenant.name) is None:
                expected = f"what {one.source!r} exports to {tenant.name!r}"
                raise ConfigError(where, f"{key}.{one.kind}", one.pattern.decode(errors="replace"), expected)


def _listed(source: Tenant, kind: str) -> str:
    names = [one.pattern.decode(errors="replace") for one in source.exports if one.kind == kind]
    return ", ".join(names) or f"no {kind} at all"


def _refuse_twice(tenants: Sequence[Tenant], where: str) -> None:
    seen: dict[str, int] = {}
    for i, tenant in enumerate(tenants):
        other = seen.setdefault(tenant.name, i)
        if other != i:
            raise ConfigError(where, f"tenant[{i}].name", tenant.name, f"another than that of tenant[{other}]")


def _tenant(table: _Table) -> Tenant:
    table.check(_TENANT)
    if "name" not in table.fields:
        raise table.refuse("name", Words("nothing"), "the name of a tenant")
    name = table.text("name")
    if name == UNNAMED:
        raise table.refuse("name", name, "an empty name for the tenant of all users who are given none")
    return Tenant(
        name,
        tuple(_export(one) for one in table.tables("exports")),
        tuple(_import(one) for one in table.tables("imports")),
        _mappings(table),
        *(table.number(key) for key in _LIMITS),
    )


def _export(table: _Table) -> Export:
    kind, pattern = _what(table, _EXPORT)
    response = table.text("response", SINGLETON)
    if response not in RESPONSES or (kind == STREAM and "response" in table.fields):
        expected = f"one of {', '.join(RESPONSES)}" if kind == SERVICE else "no response: a stream has none"
        raise table.refuse("response", response, expected)
    return Export(kind, pattern, table.texts("tenants"), response)


def _import(table: _Table) -> Import:
    kind, pattern = _what(table, _IMPORT)
    if "from" not in table.fields:
        raise table.refuse("from", Words("nothing"), "the name of the tenant that exports it")
    prefix, to = table.text("prefix").encode(), table.text("to").encode()
    if prefix and (kind == SERVICE or to):
        found = Words("a prefix beside a to" if to else "a prefix of a service")
        raise table.refuse("prefix", found, "to alone" if kind == SERVICE else "one of the two")
    if prefix and (topics.has_empty_token(prefix) or topics.has_wildcard(prefix)):
        raise table.refuse("prefix", prefix.decode(), "a topic: no empty token, no wildcard")
    one = Import(kind, table.text("from"), pattern, prefix, to)
    try:
        placed(one)
    except BadMapping as error:
        raise table.refuse("to", to.decode(), str(error)) from None
    return one


def _what(table: _Table, keys: tuple[str, ...]) -> tuple[str, bytes]:
    """Give the kind and the pattern of an export or import."""
    table.check(keys)
    kinds = [kind for kind in KINDS if kind in table.fields]
    if len(kinds) != 1:
        raise ConfigError(table.where, table.key, Words(" and ".join(kinds) or "neither"), "a stream or a service")
    pattern = table.text(kinds[0]).encode()
    if not topics.is_pattern(pattern):
        raise table.refuse(kinds[0], pattern.decode(), "a pattern such as a.b, a.* or a.>")
    return kinds[0], pattern


def _mappings(table: _Table) -> tuple[Mapping, ...]:
    found = table.fields.get("mappings", {})
    if not isinstance(found, dict):
        raise table.refuse("mappings", _kind(found), "a table of patterns")
    return tuple(_mapping(table, pattern, to) for pattern, to in found.items())


def _mapping(table: _Table, pattern: str, to: object) -> Mapping:
    key = f"mappings.{pattern!r}"
    listed = to if isinstance(to, list) else [to]
    destinations = []
    for i, one in enumerate(listed):
        at = f"{key}[{i}]" if isinstance(to, list) else key
        inner = _Table({"to": one} if isinstance(one, str) else one, table.where, f"{table.key}.{at}")
        inner.check(_DESTINATION)
        destinations.append(Destination(inner.text("to").encode(), inner.number("weight", ALL_OF_IT)))
    mapping = Mapping(pattern.encode(), tuple(destinations))
    try:
        transforms(mapping)
    except BadMapping as error:
        raise table.refuse(key, Words(error.found), str(error)) from None
    return mapping


_KINDS = {bool: "true or false", dict: "a table", float: "a number", int: "a number", list: "a list", str: "a string"}


def _kind(value: object) -> Words:
    return Words(_KINDS.get(type(value), f"a value of type {type(value).__name__}"))


def _suggestion(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]}?" if near else ""


@attrs.frozen
class _Table:
    """A table of the file, with what leads to it."""

    fields: Any
    where: str
    key: str

    def check(self, known: tuple[str, ...]) -> None:
        """Raise ``ConfigError`` if this is no table, or has a key that nobody knows."""
        if not isinstance(self.fields, dict):
            raise ConfigError(self.where, self.key, _kind(self.fields), f"a table with {', '.join(known)}")
        for key in self.fields:
            if key not in known:
                expected = f"one of {', '.join(known)}"
                raise self.refuse(key, Words("an unknown key"), expected, _suggestion(key, known))

    def refuse(self, key: str, found: object, expected: str, hint: str = "") -> ConfigError:
        """Give the error for the value of a key."""
        return ConfigError(self.where, f"{self.key}.{key}", found, expected, hint)

    def text(self, key: str, usual: str = "") -> str:
        """Give a string; ``usual`` where there is none."""
        value = self.fields.get(key, usual)
        if not isinstance(value, str):
            raise self.refuse(key, _kind(value), "a string")
        if not value.isprintable():
            raise self.refuse(key, value, "text without control characters")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Give a list of strings."""
        value = self.fields.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.refuse(key, _kind(value), "a list of strings")
        if not value and key in self.fields:
            raise self.refuse(key, value, "at least one; without this key it is for all")
        return tuple(value)

    def number(self, key: str, usual: int = 0) -> int:
        """Give a whole number."""
        value = self.fields.get(key, usual)
        if type(value) is not int or not 0 <= value < 2**63:
            raise self.refuse(key, value if type(value) is int else _kind(value), "a whole number, not negative")
        return value

    def tables(self, key: str) -> list[_Table]:
        """Give the tables of a list."""
        value = self.fields.get(key, [])
        if not isinstance(value, list):
            raise self.refuse(key, _kind(value), "a list of tables")
        return [_Table(one, self.where, f"{self.key}.{key}[{i}]") for i, one in enumerate(value)]
