"""What a question asks for: the query of a URL, or the JSON of a request in the system account.

Both are read into the same records.  Numbers and words that cannot be meant are refused in nats-server's words where
they are short, so that a program sees what it is used to.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAGE = 1024  # entries where no limit is given, and the most in one message
OPEN, CLOSED, ANY = "open", "closed", "any"
_STATES = {"open": OPEN, "closed": CLOSED, "any": ANY, "all": ANY}
_NUMBERED = (OPEN, CLOSED, ANY)  # as requests have them
_TRUE, _FALSE = {"1", "t", "true"}, {"0", "f", "false"}
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
SORTS = (
    *("cid", "start", "subs", "pending", "msgs_to", "msgs_from", "bytes_to", "bytes_from"),
    *("last", "idle", "uptime", "stop", "reason", "rtt"),
)


class NotAsked(ValueError):
    """A question cannot be read; the text says why."""


class NotMeant(NotAsked):
    """A question can be read, but not be meant."""


@attrs.frozen
class Connections:
    """What ``/connz`` is asked for."""

    sort: str = "cid"
    auth: bool = False
    subscriptions: bool = False
    detail: bool = False
    offset: int = 0
    limit: int = PAGE
    cid: int = 0
    state: str = OPEN
    user: str = ""
    account: str = ""
    filter_subject: str = ""

    def checked(self) -> Connections:
        """Give this, in bounds; raise ``NotMeant`` for what makes no sense."""
        if self.sort not in SORTS:
            raise NotMeant(f"invalid sorting option: {self.sort[:64]}")
        if self.sort in ("stop", "reason") and self.state != CLOSED:
            raise NotMeant(f"sort by {self.sort} only valid on closed connections")
        limit = 1 if self.cid else self.limit if self.limit > 0 else PAGE
        return attrs.evolve(self, offset=max(self.offset, 0), limit=limit)


@attrs.frozen
class Subscribed:
    """What ``/subsz`` is asked for."""

    subscriptions: bool = False
    offset: int = 0
    limit: int = PAGE
    test: str = ""
    account: str = ""

    def checked(self) -> Subscribed:
        """Give this, in bounds."""
        return attrs.evolve(self, offset=max(self.offset, 0), limit=self.limit if self.limit > 0 else PAGE)


@attrs.frozen
class Accounts:
    """What ``/accountz`` is asked for."""

    account: str = ""


@attrs.frozen
class Statistics:
    """What ``/accstatz`` is asked for."""

    accounts: tuple[str, ...] = ()
    unused: bool = False


@attrs.frozen
class Whom:
    """Which servers a request is meant for; texts that are empty mean all."""

    server_name: str = ""
    host: str = ""
    cluster: str = ""
    domain: str = ""
    tags: tuple[str, ...] = ()
    exact_match: bool = False

    def includes(self, name: str, host: str) -> bool:
        """Say whether a server of that name and host is meant; it has no cluster, no domain and no tags."""
        if self.domain or self.tags:
            return False
        pairs = ((self.server_name, name), (self.host, host), (self.cluster, ""))
        return all(not asked or (asked == ours if self.exact_match else asked in ours) for asked, ours in pairs)


Record = TypeVar("Record", Connections, Subscribed, Accounts, Statistics, Whom)


def whole(key: str, said: str) -> int:
    """Read a whole number out of a query."""
    if not _WHOLE.fullmatch(said):
        raise NotAsked(f"Error decoding int for '{key}': {said[:64]!r} is no number")
    return int(said)


def truth(key: str, said: str) -> bool:
    """Read yes or no out of a query, as Go does."""
    if said.lower() in _TRUE:
        return True
    if said.lower() in _FALSE:
        return False
    raise NotAsked(f"Error decoding boolean for '{key}': {said[:64]!r} is neither true nor false")


def _state(_: str, said: str) -> str:
    if said.lower() not in _STATES:
        raise NotAsked(f"Error decoding state for {said[:64]}")
    return _STATES[said.lower()]


def connections(query: Mapping[str, str]) -> Connections:
    """Read the query of ``/connz``; raise ``NotAsked``."""
    read: dict[str, Callable[[str, str], Any]] = {
        **dict.fromkeys(("auth", "subs"), truth),
        **dict.fromkeys(("offset", "limit", "cid"), whole),
        **dict.fromkeys(("sort", "user", "acc", "filter_subject"), lambda _, said: said),
        "state": _state,
    }
    names = {"subs": "subscriptions", "acc": "account"}
    detail = query.get("subs", "").lower() == "detail"
    query = {key: said for key, said in query.items() if not (detail and key == "subs")}
    said = {names.get(key, key): read[key](key, value) for key, value in query.items() if key in read and value}
    return Connections(**said, detail=detail).checked()


def subscribed(query: Mapping[str, str]) -> Subscribed:
    """Read the query of ``/subsz``; raise ``NotAsked``."""
    said = {key: value for key, value in query.items() if value}
    return Subscribed(
        truth("subs", said.get("subs", "0")),
        whole("offset", said.get("offset", "0")),
        whole("limit", said.get("limit", "0")),
        said.get("test", ""),
        said.get("acc", ""),
    ).checked()


_JSON = {
    Connections: {
        "subscriptions_detail": "detail",
        "acc": "account",
        **{field.name: field.name for field in attrs.fields(Connections) if field.name not in ("detail", "account")},
    },
    Subscribed: {field.name: field.name for field in attrs.fields(Subscribed)},
    Accounts: {"account": "account"},
    Statistics: {"accounts": "accounts", "include_unused": "unused"},
    Whom: {field.name: field.name for field in attrs.fields(Whom)},
}


def object_in(payload: bytes) -> dict[str, Any]:
    """Read the JSON of a request, where nothing is an empty object; raise ``NotAsked``."""
    if not payload.strip():
        return {}
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        raise NotAsked("the request is no JSON") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise NotAsked("the request is no JSON object")
    return found


def record(kind: type[Record], said: Mapping[str, Any]) -> Record:
    """Read what concerns one record out of a request; raise ``NotAsked`` for a value of the wrong type."""
    names = _JSON[kind]
    fields = {field.name: field.default for field in attrs.fields(kind)}
    found: dict[str, Any] = {}
    for key, value in said.items():
        name = names.get(key)
        if name is None or value is None or (key == "sort" and value == ""):
            continue
        if name == "state" and type(value) is int and 0 <= value < len(_NUMBERED):
            value = _NUMBERED[value]  # noqa: PLW2901
        if isinstance(fields[name], tuple) and isinstance(value, list) and all(isinstance(x, str) for x in value):
            value = tuple(value)  # noqa: PLW2901
        if type(value) is not type(fields[name]):
            raise NotAsked(f"{key} is a {type(value).__name__}, which cannot be meant")
        found[name] = value
    if found.get("state", OPEN) not in _STATES:
        raise NotAsked("state is none of 0, 1 and 2")
    return kind(**found)
