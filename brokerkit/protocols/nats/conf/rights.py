"""Users and what they may do: ``authorization``, ``permissions`` and the users of accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from brokerkit.permissions import Lists, grants, responses
from brokerkit.protocols.nats.conf.fields import (
    aliases,
    elements,
    expect,
    pairs,
    period,
    read,
    refused,
    sets,
    text,
    texts,
    unknown,
    whole,
)
from brokerkit.protocols.nats.conf.server import Authorization, Callout, Permissions, Person
from brokerkit.protocols.nats.conf.tree import Pair, Value, Wrong

if TYPE_CHECKING:
    from brokerkit.grants import Responses
    from brokerkit.protocols.nats.conf.fields import Notes
    from brokerkit.protocols.nats.conf.server import Server

_PUBLISH = ("publish", "pub", "import")
_SUBSCRIBE = ("subscribe", "sub", "export")
_RESPONSES = ("allow_responses", "publish_allow_responses")
_MOST = ("max", "max_msgs", "max_messages", "max_responses")
_SECONDS = ("expires", "expiration", "ttl")

# How a connection comes, in nats-server's words: the protocol that it is here.  What is not served lets nobody in.
_WAYS = {
    "STANDARD": "nats",
    "WEBSOCKET": "nats-websocket",
    "LEAFNODE": "nats-leafnode",
    "LEAFNODE_WS": "nats-leafnode-websocket",
    "MQTT": "mqtt",
    "MQTT_WS": "mqtt-websocket",
    "IN_PROCESS": "program",
}


# -- permissions --------------------------------------------------------------------------------------------------


def permissions(value: Value) -> Permissions:
    """Read what a user may do."""
    publish, subscribe, answers = Lists(), Lists(), None
    for pair in pairs(value).values():
        key = pair.key.lower()
        if key in _PUBLISH:
            publish = _lists(pair.value, queues=False)
        elif key in _SUBSCRIBE:
            subscribe = _lists(pair.value, queues=True)
        elif key in _RESPONSES:
            answers = _answers(pair.value)
        elif not pair.used:
            raise unknown(pair, (*_PUBLISH, *_SUBSCRIBE, *_RESPONSES))
    return Permissions(publish, subscribe, answers)


def _lists(value: Value, *, queues: bool) -> Lists:
    """Read a subject, a list of them, or a map of those that are allowed and those that are not."""
    if not isinstance(value.data, dict):
        expect(value, str, list, dict)
        return Lists(_subjects(value, queues=queues) or None)
    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    for pair in value.data.values():
        if pair.key.lower() == "allow":
            allow = _subjects(pair.value, queues=queues) or None
        elif pair.key.lower() == "deny":
            deny = _subjects(pair.value, queues=queues)
        elif not pair.used:
            raise unknown(pair, ("allow", "deny"))
    return Lists(allow, deny)


def _subjects(value: Value, *, queues: bool) -> tuple[str, ...]:
    found = texts(value)
    try:
        grants(subscribe=Lists(found)) if queues else grants(publish=Lists(found))
    except ValueError as error:
        raise Wrong(value.place, f'subject "{error}" is not a valid subject') from None
    return found


def _answers(value: Value) -> Responses | None:
    if isinstance(value.data, bool):
        return responses(0, 0.0) if value.data else None
    most, seconds = 0, 0.0
    for pair in expect(value, bool, dict).values():
        key = pair.key.lower()
        if key in _MOST:
            most = whole(pair.value)
        elif key in _SECONDS:
            seconds = _expiry(pair.value)
        elif not pair.used:
            raise unknown(pair, (*_MOST, *_SECONDS))
    return responses(most, seconds)


def _expiry(value: Value) -> float:
    return -1.0 if text(value).startswith("-") else period(value)


# -- users --------------------------------------------------------------------------------------------------------


def people(value: Value, account: str, notes: Notes) -> list[Person]:
    """Read a list of users."""
    found = []
    for one in elements(value):
        person = Person(one.place, account=account)
        before = len(notes.errors)
        try:
            read(one, _PERSON, person, notes)
            _check(person)
        except Wrong as error:
            notes.wrong(error)
        if len(notes.errors) == before:
            found.append(person)
    return found


def _check(person: Person) -> None:
    if person.nkey and (person.name or person.password):
        raise Wrong(person.place, "a user with an nkey takes no name and no password")
    if not (person.nkey or person.name):
        raise Wrong(person.place, "a user needs a name or an nkey")


def _nkey(person: Person, pair: Pair, _: Notes) -> None:
    from brokerkit.nkeys import is_user_key  # loads a library that most have no use for

    if not is_user_key(text(pair.value)):
        raise Wrong(pair.value.place, "the public nkey of a user is expected: U and 55 letters and digits")
    person.nkey = pair.value.data


def _ways(person: Person, pair: Pair, _: Notes) -> None:
    found = texts(pair.value)
    for one in found:
        if one.upper() not in _WAYS:
            raise Wrong(pair.value.place, f"{one!r} is no connection type, expected one of {', '.join(_WAYS)}")
    person.protocols = tuple(_WAYS[one.upper()] for one in found)


_PERSON = aliases(
    {
        ("user", "username"): sets("name", text),
        ("password", "pass"): sets("password", text),
        "nkey": _nkey,
        ("permissions", "permission", "authorization"): sets("permissions", permissions),
        ("allowed_connection_types", "connection_types", "clients"): _ways,
        "proxy_required": refused("logins by a trusted proxy only are not supported"),
    }
)


# -- authorization ------------------------------------------------------------------------------------------------


def authorization(server: Server, pair: Pair, notes: Notes) -> None:
    """Read who may log in."""
    found = server.authorization = Authorization(pair.place)
    read(pair.value, _AUTHORIZATION, found, notes)
    single = found.user or found.password
    if single and found.token:
        notes.wrong(Wrong(pair.place, "a user with a password and a token exclude each other"))
    if found.users and (single or found.token):
        notes.wrong(Wrong(pair.place, "a list of users excludes a single user and a token beside it"))


def _users(found: Authorization, pair: Pair, notes: Notes) -> None:
    found.users = people(pair.value, "", notes)


def _callout(found: Authorization, pair: Pair, notes: Notes) -> None:
    callout = found.callout = Callout(pair.place)
    read(pair.value, _CALLOUT, callout, notes)
    for key, value in (("issuer", callout.issuer), ("auth_users", callout.auth_users)):
        if not value:
            notes.wrong(Wrong(pair.place, f'"{key}" is missing'))


def _issuer(callout: Callout, pair: Pair, _: Notes) -> None:
    from brokerkit.nkeys import ACCOUNT, is_key  # loads a library that most have no use for

    if not is_key(text(pair.value), ACCOUNT):
        raise Wrong(pair.value.place, "the public nkey of an account is expected: A and 55 letters and digits")
    callout.issuer = pair.value.data


_AUTHORIZATION = aliases(
    {
        ("user", "username"): sets("user", text),
        ("password", "pass"): sets("password", text),
        "token": sets("token", text),
        "timeout": sets("timeout", period),
        "users": _users,
        ("permissions", "permission", "authorization"): sets("permissions", permissions),
        ("default_permissions", "default_permission"): sets("default_permissions", permissions),
        ("auth_callout", "auth_hook"): _callout,
        "proxy_required": refused("logins by a trusted proxy only are not supported"),
    }
)

_CALLOUT = aliases(
    {
        "issuer": _issuer,
        ("account", "acc"): sets("account", text),
        ("auth_users", "users"): sets("auth_users", texts),
        ("xkey", "key"): refused("requests are not sealed here"),
        "allowed_accounts": refused("a list of accounts for the callout is not supported"),
    }
)


def with_defaults(person: Person, default: Permissions | None) -> Person:
    """Give a user with the permissions of those who have none of their own."""
    return person if person.permissions is not None else attrs.evolve(person, permissions=default)
