"""One of brokerkit's own users, as it is written down: in a ``[[users]]`` table, or as a record of the store.

Both are read here, by one set of rules.  Nothing is coerced and nothing is ignored; what is wrong is a ``ConfigError``
that names the key, and the kind of a value in place of the value wherever that might be a secret that has slipped.
"""

from __future__ import annotations

from datetime import date, datetime
from difflib import get_close_matches
from sys import float_info
from typing import TYPE_CHECKING, Any

import attrs

from brokerkit.allowance import Allowance
from brokerkit.checkers.known import Known, is_name
from brokerkit.checkers.registry_rights import EXPECTED, is_rule
from brokerkit.client import User
from brokerkit.errors import ConfigError, Words
from brokerkit.grants import PUBLISH, SUBSCRIBE, Access, Grants, Responses, Rule, patterns
from brokerkit.hashing import is_hash
from brokerkit.topics import is_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROOFS = ("secret", "password_hash", "token", "token_hash", "nkey", "certificate")  # what a login can be proved by
ADMIN = ("create_topic", "alter_topic", "delete_topic")
OF_GROUPS = ("commit_group", "reset_group")
RIGHTS = ("publish", "publish_deny", "subscribe", "subscribe_deny", "allow_responses")
ITS_OWN = ("token", "nkey", "certificate")  # by these a user is found, so no two users have one in common
SECRETS = ("secret", "password_hash", "token", "token_hash")
MAX_TEXT = 4096  # bytes of one value
DEFAULT_RIGHTS = "default_permissions"
MOMENT = "a moment with its zone, such as 2027-01-31T12:00:00Z"


def _private() -> Any:  # noqa: ANN401  a field
    return attrs.field(default="", repr=False)


@attrs.frozen
class Entry:
    """What is written down of one user; an empty text, an empty list or 0 stands for nothing.

    ``publish`` to ``subscribe_deny`` are patterns; in those of subscriptions a queue may stand behind a blank.
    ``topic_admin`` are patterns of kept topics that the user may create, alter and delete, ``group_admin`` of consumer
    groups that it may use and move, whoever's they are.
    ``registry_read`` to ``registry_write_deny`` are names of the registry, where ``web-*`` stands for all that begin so
    (see ``brokerkit.registry.access``).  The limits are those of ``Allowance``, ``valid_until`` is an ISO moment,
    ``protocols`` are those that the user may come by.  ``place`` says where the entry stands, for people, and
    ``rights_place`` where its rights do, if elsewhere.
    """

    name: str
    secret: str = _private()
    password_hash: str = _private()
    token: str = _private()
    token_hash: str = _private()
    nkey: str = ""
    certificate: str = ""
    owner: str = ""
    tenant: str = ""
    publish: tuple[str, ...] = ()
    publish_deny: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    subscribe_deny: tuple[str, ...] = ()
    topic_admin: tuple[str, ...] = ()
    group_admin: tuple[str, ...] = ()
    registry_read: tuple[str, ...] = ()
    registry_read_deny: tuple[str, ...] = ()
    registry_write: tuple[str, ...] = ()
    registry_write_deny: tuple[str, ...] = ()
    allow_responses: Responses | None = None
    protocols: tuple[str, ...] = ()
    connections: int = 0
    subscriptions: int = 0
    payload: int = 0
    rate: float = 0.0
    valid_until: str = ""
    place: str = attrs.field(default="", eq=False)
    rights_place: str = attrs.field(default="", eq=False)

    def known(self, source: str) -> Known:
        """Give what a source of that name knows of this user."""
        user = User(
            self.name.encode(),
            source,
            Grants(
                {
                    PUBLISH: Access(*map(_plain_rules, (self.publish, self.publish_deny))),
                    SUBSCRIBE: Access(*map(_rules, (self.subscribe, self.subscribe_deny))),
                    **{action: Access(_plain_rules(self.topic_admin)) for action in ADMIN if self.topic_admin},
                    **{action: Access(_plain_rules(self.group_admin)) for action in OF_GROUPS if self.group_admin},
                    **self._registry(),
                },
                responses=self.allow_responses,
            ),
            owner=self.owner,
            tenant=self.tenant,
            allowance=Allowance(self.connections, self.subscriptions, self.payload, self.rate),
            valid_until=_seconds(self.valid_until),
            protocols=self.protocols,
        )
        return Known(
            user,
            self.secret.encode(),
            self.token.encode(),
            self.password_hash,
            (self.nkey,) if self.nkey else (),
            (self.certificate,) if self.certificate else (),
            self.token_hash,
        )

    def _registry(self) -> dict[str, Access]:
        """Give the rights to the registry, of those who have any."""
        read, write = (self.registry_read, self.registry_read_deny), (self.registry_write, self.registry_write_deny)
        if not any((*read, *write)):
            return {}  # most have none, and no use for what is imported here
        from brokerkit.registry.access import READ, WRITE, rules

        said = {READ: read, WRITE: write}
        return {action: Access(rules(allow), rules(deny)) for action, (allow, deny) in said.items() if allow or deny}

    @property
    def holds_secrets(self) -> bool:
        """Whether it is not for everybody's eyes."""
        return any(getattr(self, key) for key in SECRETS)

    def fields(self, *, secrets: bool = True) -> dict[str, Any]:
        """Give what ``read`` takes, without what stands for nothing; without ``secrets``, true in place of each."""
        said: dict[str, Any] = {}
        for key in KEYS:
            value = getattr(self, key)
            if isinstance(value, Responses):
                said[key] = {"max": value.most, "expires": value.seconds}
            elif value:
                said[key] = list(value) if isinstance(value, tuple) else value
                if key in SECRETS and not secrets:
                    said[key] = True
        return said

    def where(self, action: str, rule: Rule | None) -> str:
        """Say where a rule of this user stands, or the user if no rule is given."""
        read: Callable[[tuple[str, ...]], tuple[Rule, ...]] = _plain_rules if action == PUBLISH else _rules
        word = action.replace(".", "_")
        if word != action:
            from brokerkit.registry.access import rules

            read = rules
        for key in (f"{word}_deny", word):
            listed = read(getattr(self, key, ()))
            if rule in listed:
                return f"{self.rights_place or self.place}.{key}[{listed.index(rule)}]"
        return self.place


KEYS = tuple(field.name for field in attrs.fields(Entry) if field.name not in {"place", "rights_place"})


def read_rule(text: str) -> Rule:
    """Give the rule of an entry in a list: a pattern, or a pattern and a queue with a blank between."""
    name, _, queue = text.encode().partition(b" ")
    return Rule(name, queue=queue)


def _rules(listed: tuple[str, ...]) -> tuple[Rule, ...]:
    return tuple(map(read_rule, listed))


def _plain_rules(listed: tuple[str, ...]) -> tuple[Rule, ...]:
    return patterns(name.encode() for name in listed)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


# -- reading ------------------------------------------------------------------------------------------------------


def read(fields: object, where: str, key: str = "", place: str = "") -> Entry:
    """Give the user that a table says; raise ``ConfigError`` at the first thing that is wrong.

    ``where`` names the file and ``key`` leads to the table in it; both begin the message.
    """
    return _Table(fields, where, key).entry(place or f"{where}: {key}")


_KINDS = {bool: "true or false", dict: "a table", float: "a number", int: "a number", list: "a list", str: "a string"}


def _kind(value: object) -> Words:
    return Words(_KINDS.get(type(value), f"a value of type {type(value).__name__}"))


@attrs.frozen
class _Table:
    """The keys of one user, as they were found."""

    fields: Any
    where: str
    key: str

    def entry(self, place: str) -> Entry:
        """Give the user."""
        self._check_keys(KEYS, "a table of one user")
        if "name" not in self.fields:
            raise self._refuse("name", Words("nothing"), "the name of a user")
        entry = Entry(**{key: _READERS[key](self, key) for key in self.fields}, place=place)
        if not any(getattr(entry, key) for key in PROOFS):
            raise self._refuse("secret", Words("nothing"), f"one of {', '.join(PROOFS)}")
        if entry.secret and entry.password_hash:
            raise self._refuse("password_hash", Words("one beside a secret"), "one of the two")
        if entry.token and entry.token_hash:
            raise self._refuse("token_hash", Words("one beside a token"), "one of the two")
        return entry

    def rights(self) -> dict[str, Any]:
        """Give what a table of nothing but rights says."""
        self._check_keys(RIGHTS, "a table of rights")
        return {key: _READERS[key](self, key) for key in self.fields}

    def _check_keys(self, known: tuple[str, ...], what: str) -> None:
        if not isinstance(self.fields, dict):
            raise ConfigError(self.where, self.key, _kind(self.fields), what)
        for key in self.fields:
            if key not in known:
                near = get_close_matches(str(key), known, 1)
                expected = f"one of {', '.join(known)}"
                raise self._refuse(key, Words("an unknown key"), expected, f"did you mean {near[0]}?" if near else "")

    def _refuse(self, key: str, found: object, expected: str, hint: str = "") -> ConfigError:
        return ConfigError(self.where, f"{self.key}.{key}".removeprefix("."), found, expected, hint)

    def _string(self, key: str, value: object) -> str:
        if not isinstance(value, str):
            raise self._refuse(key, _kind(value), "a string")
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise self._refuse(key, Words("half of a surrogate pair"), "Unicode text") from None
        if size > MAX_TEXT:
            raise self._refuse(key, Words(f"{size} bytes"), f"at most {MAX_TEXT}")
        return value

    def text(self, key: str) -> str:
        """Read something that is shown to people, so no line break and the like."""
        value = self._string(key, self.fields[key])
        if not value.isprintable():
            raise self._refuse(key, value, "text without control characters")
        return value

    def name(self, key: str) -> str:
        """Read the name."""
        value = self.text(key)
        if not value:
            raise self._refuse(key, value, "a name that is not empty")
        if not is_name(value.encode()):
            raise self._refuse(key, Words(f"a name of {len(value.encode())} bytes"), "at most 255")
        return value

    def secret(self, key: str) -> str:
        """Read what nobody is to see."""
        return self._string(key, self.fields[key])

    def password_hash(self, key: str) -> str:
        """Read a hash."""
        value = self.secret(key)
        if value and not is_hash(value):
            raise self._refuse(
                key, Words("something else"), "an argon2 hash ($argon2id$...) or a bcrypt hash ($2b$...)"
            )
        return value

    def nkey(self, key: str) -> str:
        """Read a public key; a seed in its place is a secret, so nothing of it is shown."""
        from brokerkit.nkeys import is_user_key  # loads a library that most have no use for

        value = self._string(key, self.fields[key])
        if value and not is_user_key(value):
            raise self._refuse(key, Words("something else"), "the public nkey of a user: U and 55 letters and digits")
        return value

    def patterns(self, key: str) -> tuple[str, ...]:
        """Read a list of patterns."""
        value = self.fields[key]
        if not isinstance(value, list):
            raise self._refuse(key, _kind(value), "a list of strings")
        return tuple(self._pattern(f"{key}[{i}]", one) for i, one in enumerate(value))

    def _pattern(self, key: str, value: object) -> str:
        name = self._string(key, value)
        if not is_pattern(name.encode()):
            raise self._refuse(key, name, "a pattern such as a.b, a.* or a.>")
        return name

    def names(self, key: str) -> tuple[str, ...]:
        """Read a list of names of the registry, and beginnings of names."""
        value = self.fields[key]
        if not isinstance(value, list):
            raise self._refuse(key, _kind(value), "a list of strings")
        return tuple(self._registry_name(f"{key}[{i}]", one) for i, one in enumerate(value))

    def _registry_name(self, key: str, value: object) -> str:
        name = self._string(key, value)
        if not is_rule(name):
            raise self._refuse(key, name, EXPECTED)
        return name

    def queue_patterns(self, key: str) -> tuple[str, ...]:
        """Read a list of patterns, each perhaps with a queue behind it."""
        value = self.fields[key]
        if not isinstance(value, list):
            raise self._refuse(key, _kind(value), "a list of strings")
        return tuple(self._queue_pattern(f"{key}[{i}]", one) for i, one in enumerate(value))

    def _queue_pattern(self, key: str, value: object) -> str:
        words = self._string(key, value).split()
        if len(words) not in {1, 2}:
            raise self._refuse(key, value, "a pattern such as a.>, or a pattern and a queue such as 'a.> workers'")
        self._pattern(key, words[0])
        return " ".join(words)

    def responses(self, key: str) -> Responses | None:
        """Read the right to answer: true, or a table of how often and how long."""
        value = self.fields[key]
        if isinstance(value, bool):
            return Responses() if value else None
        if not isinstance(value, dict):
            raise self._refuse(key, _kind(value), "true, or a table such as { max = 1, expires = 120 }")
        table = _Table(value, self.where, f"{self.key}.{key}".removeprefix("."))
        table._check_keys(("max", "expires"), "a table")
        usual = Responses()
        most = table.number("max") if "max" in value else usual.most
        return Responses(most, table.seconds("expires") if "expires" in value else usual.seconds)

    def words(self, key: str) -> tuple[str, ...]:
        """Read a list of words."""
        value = self.fields[key]
        if not isinstance(value, list):
            raise self._refuse(key, _kind(value), "a list of strings")
        return tuple(_Table({key: one}, self.where, self.key).text(key) for one in value)

    def number(self, key: str) -> int:
        """Read a limit."""
        value = self.fields[key]
        if type(value) is not int or not 0 <= value < 2**63:
            raise self._refuse(key, value if type(value) is int else _kind(value), "a whole number, not negative")
        return value

    def rate(self, key: str) -> float:
        """Read messages in a second."""
        return self._amount(key, "a number of messages in a second, not negative")

    def seconds(self, key: str) -> float:
        """Read seconds."""
        return self._amount(key, "a number of seconds, not negative")

    def _amount(self, key: str, expected: str) -> float:
        value = self.fields[key]
        if type(value) not in {int, float} or not 0 <= value <= float_info.max:
            shown = value if type(value) in {int, float} else _kind(value)
            raise self._refuse(key, shown, expected)
        return float(value)

    def moment(self, key: str) -> str:
        """Read a moment: text, or what TOML has for it."""
        value = self.fields[key]
        text = value.isoformat() if isinstance(value, date) else self.text(key)
        if not text:
            return ""
        try:
            if datetime.fromisoformat(text).tzinfo is None:
                raise self._refuse(key, text, MOMENT, "without a zone it is not known which moment that is")
            if _seconds(text) <= 0:  # 0 would stand for ever
                raise self._refuse(key, text, "a moment after 1970")
        except (ValueError, OverflowError):
            raise self._refuse(key, text, MOMENT) from None
        return text


_READERS: Mapping[str, Callable[[_Table, str], Any]] = {
    "name": _Table.name,
    "secret": _Table.secret,
    "password_hash": _Table.password_hash,
    "token": _Table.secret,
    "token_hash": _Table.password_hash,
    "nkey": _Table.nkey,
    "certificate": _Table.text,
    "owner": _Table.text,
    "tenant": _Table.text,
    "publish": _Table.patterns,
    "publish_deny": _Table.patterns,
    "subscribe": _Table.queue_patterns,
    "subscribe_deny": _Table.queue_patterns,
    "topic_admin": _Table.patterns,
    "group_admin": _Table.patterns,
    "registry_read": _Table.names,
    "registry_read_deny": _Table.names,
    "registry_write": _Table.names,
    "registry_write_deny": _Table.names,
    "allow_responses": _Table.responses,
    "protocols": _Table.words,
    "connections": _Table.number,
    "subscriptions": _Table.number,
    "payload": _Table.number,
    "rate": _Table.rate,
    "valid_until": _Table.moment,
}


def read_all(tables: object, where: str, lines: Sequence[int] = (), default: object = None) -> tuple[Entry, ...]:
    """Give the users of the ``[[users]]`` tables of a file, whose headers stand in these lines if that is known.

    ``default`` is the table of the rights of all who have none of their own.  Raises ``ConfigError``, also where two
    users have one name, or one token, nkey or certificate.
    """
    if not isinstance(tables, list | tuple):
        raise ConfigError(where, "users", _kind(tables), "tables that are headed [[users]]")
    at = [f"{where}:{line}" for line in lines] if len(lines) == len(tables) else [where] * len(tables)
    entries = tuple(read(one, where, f"users[{i}]", f"{at[i]}: users[{i}]") for i, one in enumerate(tables))
    if default is not None:
        rights = _Table(default, where, DEFAULT_RIGHTS).rights()
        place = f"{where}: {DEFAULT_RIGHTS}"
        entries = tuple(
            one if said.keys() & set(RIGHTS) else attrs.evolve(one, **rights, rights_place=place)
            for one, said in zip(entries, tables, strict=True)
        )
    _refuse_shared(entries, where)
    return entries


def _refuse_shared(entries: tuple[Entry, ...], where: str) -> None:
    for key in ("name", *ITS_OWN):
        seen: dict[str, int] = {}
        for i, entry in enumerate(entries):
            value = getattr(entry, key)
            other = seen.setdefault(value, i)
            if value and other != i:
                found = value if key == "name" else Words("the same")
                raise ConfigError(where, f"users[{i}].{key}", found, f"another than that of users[{other}]")
    hashed = [i for i, entry in enumerate(entries) if entry.token_hash]
    if len(hashed) > 1:  # each would have to be tried for each token
        raise ConfigError(where, f"users[{hashed[1]}].token_hash", Words("a second one"), "one in all, or plain tokens")
    named = {entry.name: i for i, entry in enumerate(entries)}
    for i, entry in enumerate(entries):
        other = named.get(entry.certificate, i)
        if other != i:  # who shows it would be either of two
            raise ConfigError(where, f"users[{i}].certificate", entry.certificate, f"no name of users[{other}]")
