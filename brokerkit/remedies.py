"""What somebody has to do so that a user may do something: a command, or a change in a source that only people change.

Each kind of source is known here by the first word of its name.  A source that keeps literal names only is not told to
take a pattern, and one that keeps patterns only is not told to take what a pattern would make more of.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import attrs

from brokerkit import topics
from brokerkit.actions import REGISTRY
from brokerkit.grants import NOTHING, PUBLISH, SUBSCRIBE, Access, Rule
from brokerkit.notation import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from brokerkit.notation import Name


ONLY_PATTERNS = ("users", "listed", "anonymous")  # kinds of sources that have no literal names
LISTED = "users in "  # what the source of [[users]] tables begins with


@attrs.frozen
class Wish:
    """Who wants to do what, what the user may do so far, and the source that would have to allow it."""

    user: bytes
    action: str
    name: Name
    source: str
    prefix: bytes = b""
    access: Access = NOTHING

    @property
    def kind(self) -> str:
        """The first word of the source."""
        return "listed" if self.source.startswith(LISTED) else self.source.partition(":")[0].partition("+")[0]

    @property
    def place(self) -> str:
        """What stands behind that word."""
        return self.source.removeprefix(LISTED) if self.kind == "listed" else self.source.partition(":")[2]

    @property
    def entry(self) -> bytes | None:
        """What would have to be written down in the source; ``None`` if it lies outside of its prefix."""
        return topics.beneath(self.prefix, self.name.topic)

    @property
    def as_pattern(self) -> bytes:
        """The narrowest pattern that allows it."""
        return self.name.topic if topics.is_pattern(self.name.topic) else topics.REST

    @property
    def is_of_registry(self) -> bool:
        """Whether it is about an entry of the registry."""
        return self.action in REGISTRY

    @property
    def key(self) -> str:
        """What the list of rules for this is called, where brokerkit itself keeps users."""
        return self.action.replace(".", "_")

    @property
    def written(self) -> bytes:
        """The rule that allows it, as such a list has it."""
        return self.said(Rule(self.name.topic, literal=self.name.literal)) if self.is_of_registry else self.as_pattern

    def said(self, rule: Rule) -> bytes:
        """Give a rule as such a list has it: names of the registry stand there as they are."""
        if not self.is_of_registry:
            return rule.name
        from brokerkit.registry.access import written

        return (written(rule) or "*").encode()

    def listed(self, *, literal: bool) -> list[str]:
        """Give what the user's list of this kind would be then."""
        before = (topics.beneath(self.prefix, rule.name) for rule in self.access.allow if rule.literal is literal)
        return [shown(entry) for entry in [*before, self.entry] if entry is not None]


def remedies(wish: Wish) -> tuple[str, ...]:
    """Give what to do, one step after the other; nothing if the source cannot allow it at all."""
    if wish.entry is None and not wish.is_of_registry:
        return (f"nothing in {wish.source} can allow it: all names there lie under {shown(wish.prefix)}",)
    literal = wish.name.literal or not topics.has_wildcard(wish.name.topic)
    steps = [_undo(wish, rule) for rule in wish.access.deny if rule.denies(wish.name.topic, literal=literal)]
    if not any(rule.allows(wish.name.topic, literal=literal) for rule in wish.access.allow):
        steps.append(_step(wish))
    return tuple(steps)


def _step(wish: Wish) -> str:
    if wish.is_of_registry and wish.kind not in {"users", "listed"}:
        return _registry(wish)
    return _KINDS.get(wish.kind, _by_hand)(wish)


def _registry(wish: Wish) -> str:
    """Give what to write down, where rights to entries of the registry can be written down."""
    if wish.kind == "anonymous":
        return f"add {_quoted(wish.written)} to what the source anonymous has for {wish.action}"
    names = [*(wish.said(rule) for rule in wish.access.allow), wish.written]
    if wish.kind == "env" and not any(b"," in name for name in names):
        variable = f"HPFEEDS_{shown(wish.user).upper()}_{wish.key.upper()}"
        return f"export {variable}={shlex.quote(','.join(map(shown, names)))}   # and start the broker again"
    if wish.kind == "json":
        return f"add {_quoted(wish.written)} to {wish.key!r} of {_quoted(wish.user)} in {wish.place}"
    if wish.kind == "mongodb":
        change = f'{{"$addToSet": {{"{wish.key}": {_quoted(wish.written)}}}}}'
        return f'db.auth_key.updateOne({{"identifier": {_quoted(wish.user)}}}, {change})'
    if wish.kind in _TABLES:
        table, key = _TABLES[wish.kind]
        listed = _sql_text(json.dumps([shown(name) for name in names], ensure_ascii=False))
        return f"UPDATE {table} SET {wish.key} = {listed} WHERE {key} = {_sql_text(shown(wish.user))};"  # noqa: S608
    return f"{wish.source} keeps no such right to the registry; keep the user in [[users]] or with brokerkit user"


_TABLES = {"database": ("auth_keys", "identifier"), "sqlite": ("authkeys", "ident")}


def warning(name: Name, source: str, action: str = "") -> str:
    """Give what is to be known of a remedy that allows more than was asked for; empty if it does not.

    A literal name that looks like a pattern, or is none, is within patterns only that others are within, too.
    """
    wish = Wish(b"", action, name, source)
    if wish.is_of_registry or not name.literal:
        return ""
    if wish.kind not in ONLY_PATTERNS or not topics.has_wildcard(wish.as_pattern):
        return ""
    wide = "everything" if wish.as_pattern == topics.REST else f"all that {shown(wish.as_pattern)!r} matches"
    return f"{source} has patterns only: what allows this literal name there allows {wide}"


def newcomer(user: bytes, action: str, name: Name, source: str) -> str:
    """Give what makes a user known to a source, with that right."""
    wish = Wish(user, action, name, source)
    if wish.kind == "users" and (action in {PUBLISH, SUBSCRIBE} or wish.is_of_registry):
        option = wish.key.replace("_", "-")
        return f"brokerkit user add {_word(user)} --{option} {_word(wish.written)}{_store(wish)}"
    return f"add a user {shown(user)!r} to {source}, who may {action} {wish.name.shown!r}"


def _undo(wish: Wish, rule: Rule) -> str:
    if wish.kind == "users":
        return f"brokerkit user deny {_word(wish.user)} {wish.action} {_word(wish.said(rule))} --undo{_store(wish)}"
    return f"take the denial {shown(rule.name)!r} of {wish.action} from {shown(wish.user)!r} in {wish.source}"


def _own(wish: Wish) -> str:
    return f"brokerkit user allow {_word(wish.user)} {wish.action} {_word(wish.written)}{_store(wish)}"


def _listed(wish: Wish) -> str:
    return f"add {_quoted(wish.written)} to {wish.key!r} of the user {_quoted(wish.user)} in {wish.place}"


def _json(wish: Wish) -> str:
    lists = ("pubchans", "publish") if wish.action == PUBLISH else ("subchans", "subscribe")
    key = lists[0] if wish.name.literal else lists[1]
    return f"add {_quoted(wish.entry)} to {key!r} of {_quoted(wish.user)} in {wish.place}"


def _env(wish: Wish) -> str:
    endings = ("PUBCHANS", "PUBLISH") if wish.action == PUBLISH else ("SUBCHANS", "SUBSCRIBE")
    literal = wish.name.literal
    if b"," in wish.name.topic:
        return "a name with a comma cannot stand in the environment; use another source"
    names = ",".join(wish.listed(literal=literal))
    variable = f"HPFEEDS_{shown(wish.user).upper()}_{endings[not literal]}"
    return f"export {variable}={shlex.quote(names)}   # and start the broker again"


def _sql(table: str, key: str, columns: tuple[str, str]) -> Callable[[Wish], str]:
    def statement(wish: Wish) -> str:
        if not wish.name.literal:
            return _only_literal(wish)
        column = columns[wish.action != PUBLISH]
        names = json.dumps(wish.listed(literal=True), ensure_ascii=False)
        return f"UPDATE {table} SET {column} = {_sql_text(names)} WHERE {key} = {_sql_text(shown(wish.user))};"  # noqa: S608  for people

    return statement


def _mongodb(wish: Wish) -> str:
    if not wish.name.literal:
        return _only_literal(wish)
    key, change = _quoted(wish.user), f'{{"$addToSet": {{"{wish.action}": {_quoted(wish.entry)}}}}}'
    return f'db.auth_key.updateOne({{"identifier": {key}}}, {change})'


def _kastlex(wish: Wish) -> str:
    if not wish.name.literal:
        return _only_literal(wish)
    action = {PUBLISH: "produce", SUBSCRIBE: "fetch"}.get(wish.action, wish.action)
    return f"add {_quoted(wish.entry)} to {action!r} of {_quoted(wish.user)} in the permissions file of {wish.source}"


def _jwt(wish: Wish) -> str:
    return f"give the user a JWT in which {shown(wish.as_pattern)!r} is among what it may {wish.action}"


def _anonymous(wish: Wish) -> str:
    return f"add {shown(wish.as_pattern)!r} to the patterns that the source anonymous has for {wish.action}"


def _by_hand(wish: Wish) -> str:
    return f"allow {shown(wish.user)!r} to {wish.action} {wish.name.shown!r} in {wish.source}"


def _only_literal(wish: Wish) -> str:
    return f"{wish.source} has literal names only, which no pattern is within; keep the user in another source"


_KINDS: dict[str, Callable[[Wish], str]] = {
    "anonymous": _anonymous,
    "database": _sql("auth_keys", "identifier", ("publish", "subscribe")),
    "env": _env,
    "json": _json,
    "jwt": _jwt,
    "kastlex": _kastlex,
    "listed": _listed,
    "mongodb": _mongodb,
    "sqlite": _sql("authkeys", "ident", ("pubchans", "subchans")),
    "users": _own,
}


def _store(wish: Wish) -> str:
    return f" --users {shlex.quote(wish.place)}" if wish.place else ""


def _word(name: bytes) -> str:
    return shlex.quote(shown(name))


def _quoted(name: bytes | None) -> str:
    return json.dumps(shown(name or b""), ensure_ascii=False)


def _sql_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
