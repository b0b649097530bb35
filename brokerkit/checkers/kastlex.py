"""Users of KastleX, from its passwd.yml and permissions.yml, both read again when one of them changes.

Its actions are actions of the one model of grants.  So that the same user works in every protocol, ``produce`` grants
publishing and ``fetch`` grants subscribing, to those very names.  KastleX's pseudo user ``anonymous`` is whoever asks
over HTTP without credentials, and nobody else: in a protocol with a login, that name is no user of this source.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import Logger

from brokerkit.checkers.kastlex_actions import ACTIONS, KNOWN, WITHOUT_NAME
from brokerkit.checkers.known import BY_NAME, Known, Users, is_name
from brokerkit.checkers.watched import Watched
from brokerkit.checkers.yaml_entries import Value, Words, entries
from brokerkit.client import User
from brokerkit.errors import ConfigError
from brokerkit.grants import EVERYTHING, NOTHING, PUBLISH, SUBSCRIBE, Access, Grants, literal
from brokerkit.hashing import is_hash
from brokerkit.interfaces import IAnonymousRequest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from brokerkit.grants import Rule

log = Logger()

ANONYMOUS = b"anonymous"
ALSO = {"produce": PUBLISH, "fetch": SUBSCRIBE}
MEANT = {action: ours for ours, action in ALSO.items()}  # publish → produce, subscribe → fetch

MOST_COMPLAINTS = 1000  # about one state of the files
USER = ""  # in place of an action: the line where a user stands


class KastlexUsers(Watched):
    """Knows the users of a passwd.yml and, with their rights, of a permissions.yml."""

    credentialInterfaces = (*BY_NAME, IAnonymousRequest)

    def __init__(self, passwd: str, permissions: str, clock: IReactorTime) -> None:
        """Read the files, the second one if its path is not empty; raise ``ConfigError`` if they cannot be used."""
        self._said: set[str] = set()
        super().__init__([passwd, permissions] if permissions else [passwd], clock)
        self.source = f"kastlex:{self.paths[0]}"

    def parse(self, contents: list[bytes]) -> Generator[None, None, _Union]:
        """Make one set of users of both files, in steps."""
        union = _Union(f"kastlex:{self.paths[0]}")
        for name, line, values in entries(contents[0], self.paths[0]):
            union.add_password(name, _Spot(self.paths[0], line), values)
            yield
        for path, content in zip(self.paths[1:], contents[1:], strict=True):
            for name, line, values in entries(content, path):
                union.add_rights(name, _Spot(path, line), values)
                yield
        return union

    def take(self, users: _Union) -> None:
        """Put these users in the place of those that were known, and say once what is odd about each."""
        self._users = users.table()
        self._anonymous = users.anonymous()
        self._lines = users.lines
        for text in users.complaints:
            if text not in self._said:
                log.warn("{text}", text=text)
        self._said = set(users.complaints)

    def find(self, credentials: Any) -> Known | None:  # noqa: ANN401  any that it takes
        """Give the user whom the credentials name."""
        return self._anonymous if IAnonymousRequest.providedBy(credentials) else self._users.find(credentials)

    def decide(self, known: Known | None, credentials: Any) -> User | Deferred[User]:  # noqa: ANN401  any that it takes
        """Give the user; a request without credentials has nothing to prove."""
        if known is not None and IAnonymousRequest.providedBy(credentials):
            return known.proven()
        return super().decide(known, credentials)

    def users(self, names: Iterable[bytes]) -> dict[bytes, Known]:
        """Give those of the names that are known, ``anonymous`` too."""
        names = list(names)
        found = super().users(names)
        if self._anonymous is not None and ANONYMOUS in names:
            found[ANONYMOUS] = self._anonymous
        return found

    def names(self) -> list[bytes]:
        """Give all names."""
        return sorted([*super().names(), *([ANONYMOUS] if self._anonymous is not None else [])])

    def where(self, name: bytes, action: str, rule: Rule | None) -> str:
        """Give file and line."""
        lines = self._lines.get(name, {})
        line = lines.get(USER)
        if rule is not None:
            line = lines.get(MEANT.get(action, action), line)
        return self.source if line is None else str(line.items.get(rule.name, line.spot) if rule else line.spot)


@attrs.frozen
class _Spot:
    """A line of a file."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@attrs.frozen
class _Line:
    """Where a user or an action stands, and each item of its list, if it is one."""

    spot: _Spot
    items: Mapping[bytes, _Spot] = attrs.field(factory=dict)


class _Union:
    """The users of both files while they are being read.

    A list that many share by an alias is read once: else a short file could cost any amount of time and memory.
    """

    def __init__(self, source: str) -> None:
        self.complaints: list[str] = []
        self.lines: dict[bytes, dict[str, _Line]] = {}
        self._source = source
        self._hashes: dict[bytes, str] = {}
        self._grants: dict[bytes, Grants] = {}
        self._shared: dict[tuple[bytes, ...], Access] = {}
        self._lists: dict[int, tuple[list[Value], Access, dict[bytes, _Spot]]] = {}  # by identity; the list keeps it

    def table(self) -> Users:
        """Give all users but ``anonymous``."""
        return Users(self._known(name) for name in self.lines if name != ANONYMOUS)

    def anonymous(self) -> Known | None:
        """Give the pseudo user, if it has rights."""
        return self._known(ANONYMOUS) if ANONYMOUS in self._grants else None

    def _known(self, name: bytes) -> Known:
        user = User(name, self._source, self._grants.get(name, Grants()))
        return Known(user, password_hash=self._hashes.get(name, ""))

    def add_password(self, name: str, spot: _Spot, values: dict[str, Value]) -> None:
        """Take what passwd.yml says of a user; one whose hash is odd is known, and cannot log in."""
        key = _name(name, spot)
        self.lines.setdefault(key, {}).setdefault(USER, _Line(spot))
        value = values.get("password_hash", Value(None, spot.line))
        at = f"{_Spot(spot.path, value.line)}"
        hashed = "" if value.content is None else value.content
        if not isinstance(hashed, str):
            raise ConfigError(at, f"{name!r}: password_hash", value.kind, "a string")
        if key == ANONYMOUS:
            self._complain(at, f"{name!r}", Words("a password"), "none: it is whoever shows no credentials over HTTP")
        elif not is_hash(hashed):
            found = Words("something else" if hashed else "nothing")
            expected = "a bcrypt hash ($2b$, 60 characters); this user cannot log in"
            self._complain(at, f"{name!r}: password_hash", found, expected)
        else:
            self._hashes[key] = hashed

    def add_rights(self, name: str, spot: _Spot, values: dict[str, Value]) -> None:
        """Take what permissions.yml says of a user."""
        key = _name(name, spot)
        lines = self.lines.setdefault(key, {})
        lines.setdefault(USER, _Line(spot))
        actions: dict[str, Access] = {}
        for action, value in values.items():
            at = _Spot(spot.path, value.line)
            if action not in KNOWN:
                self._unknown_action(at, name, action)
                continue
            named = action not in WITHOUT_NAME
            actions[action], items = self._access(at, f"{name!r}: {action}", value, named=named)
            lines[action] = _Line(at, items)
        actions.update({ours: actions[action] for action, ours in ALSO.items() if action in actions})
        self._grants[key] = Grants(actions)

    def _access(self, at: _Spot, key: str, value: Value, *, named: bool) -> tuple[Access, dict[bytes, _Spot]]:
        """Give what is allowed, and the line of each item if it is a list."""
        content = value.content
        if content is None or (content is False and not named):
            return NOTHING, {}
        if content == ("all" if named else True):
            return EVERYTHING, {}
        if not named:
            raise ConfigError(str(at), key, _shown(value), "true or false")
        if not isinstance(content, list):
            raise ConfigError(str(at), key, _shown(value), "all, or a list of names")
        if id(content) not in self._lists:
            self._lists[id(content)] = (content, *self._listed(at, key, content))
        _, access, items = self._lists[id(content)]
        return access, items

    def _listed(self, at: _Spot, key: str, content: list[Value]) -> tuple[Access, dict[bytes, _Spot]]:
        spots = [_Spot(at.path, item.line) for item in content]
        names = tuple(self._item(spots[i], f"{key}[{i}]", item) for i, item in enumerate(content))
        return self._shared.setdefault(names, Access(literal(names))), dict(zip(names, spots, strict=True))

    def _item(self, at: _Spot, key: str, value: Value) -> bytes:
        if not isinstance(value.content, str):
            raise ConfigError(str(at), key, value.kind, "a string", "quotes make one of it")
        return _encode(value.content, at, key)

    def _unknown_action(self, at: _Spot, name: str, action: str) -> None:
        # For a few: looking for the nearest word takes long, and aliases can make very many unknown actions.
        nearest = get_close_matches(action, KNOWN, n=1) if len(self.complaints) < MOST_COMPLAINTS else []
        hint = f"did you mean {nearest[0]}?" if nearest else ""
        self._complain(str(at), f"{name!r}: {action}", Words("an unknown action"), f"one of {', '.join(ACTIONS)}", hint)

    def _complain(self, where: str, key: str, found: object, expected: str, hint: str = "") -> None:
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(str(ConfigError(where, key, found, expected, hint)))
        elif len(self.complaints) == MOST_COMPLAINTS:
            self.complaints.append(f"{self._source}: there is more that is odd than what has been said")


def _name(name: str, spot: _Spot) -> bytes:
    encoded = _encode(name, spot, repr(name))
    if not encoded or not is_name(encoded):
        raise ConfigError(str(spot), repr(name), Words(f"a name of {len(encoded)} bytes"), "1 to 255")
    return encoded


def _encode(text: str, at: _Spot, key: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ConfigError(str(at), key, Words("half of a surrogate pair"), "Unicode text") from None


def _shown(value: Value) -> str:
    """Give a value that cannot be a secret, or its kind."""
    return value.content if isinstance(value.content, str) else value.kind
