"""From a login to a client."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.task import Clock
from zope.interface import Interface

from brokerkit.allowance import Allowance
from brokerkit.client import Client, User
from brokerkit.errors import Expired, TooManyConnections
from brokerkit.grants import ALL
from brokerkit.interfaces import IClient
from brokerkit.realm import Mind, Realm
from brokerkit.run import Origin
from brokerkit.turn import Turn


def _login(realm: Realm, tenant: str = "", mind: Mind | None = None) -> Client:
    interface, client, _ = realm.requestAvatar(User(b"ann", "test", ALL, tenant=tenant), mind or Mind(), IClient)
    assert interface is IClient
    return client


def test_a_user_becomes_a_client() -> None:
    """The client acts for the user, in the realm's turn, as the kind of party that the mind says."""
    realm = Realm(turn := Turn(), Clock())
    user, outbox = User(b"ann", "test"), object()
    _, client, _ = realm.requestAvatar(user, Mind(outbox, Origin.LEAF), IClient)  # type: ignore[arg-type]
    assert (client.user, client.turn, client.outbox, client.origin) == (user, turn, outbox, Origin.LEAF)


def test_logging_out_is_leaving() -> None:
    """The portal's logout ends the client's subscriptions."""
    realm = Realm(Turn(), Clock())
    _, client, logout = realm.requestAvatar(User(b"ann", "test", ALL), Mind(), IClient)
    client.subscribe(b"a", lambda _: None)
    logout()
    assert client.router.subscriptions == 0


def test_tenants_are_apart() -> None:
    """Users of one tenant hear each other, and nobody else."""
    realm = Realm(Turn(), Clock())
    heard: list[str] = []
    for tenant in ("red", "red", "blue"):
        _login(realm, tenant).subscribe(b">", lambda _, tenant=tenant: heard.append(tenant))  # type: ignore[misc]
    _login(realm, "red").publish(b"a", b"")
    assert heard == ["red", "red"]
    assert realm.router("red") is realm.router("red") is not realm.router("blue")


@pytest.mark.parametrize("avatar", [b"", "ann", (), None])
def test_who_is_no_user_gets_in_nowhere(avatar: object) -> None:
    """A source of users that gives anything else, as Twisted's own do for anonymous, lets nobody in."""
    with pytest.raises(UnauthorizedLogin):
        Realm(Turn(), Clock()).requestAvatar(avatar, Mind(), IClient)


def test_other_interfaces_are_not_offered() -> None:
    """A portal that asks for something else is wired wrongly."""
    with pytest.raises(NotImplementedError):
        Realm(Turn(), Clock()).requestAvatar(User(b"ann", "test"), Mind(), Interface)


def _user(**more: Any) -> User:
    return User(b"ann", "test", ALL, **more)


def _in(realm: Realm, user: User, mind: Mind | None = None) -> Client:
    return realm.requestAvatar(user, mind or Mind(), IClient)[1]


def test_who_is_there() -> None:
    """The realm knows its clients by source and name, until they leave, once; then nothing is left of them."""
    realm = Realm(Turn(), Clock())
    one, two = _in(realm, _user()), _in(realm, _user())
    other = _in(realm, User(b"ann", "other"))
    assert realm.clients == {("test", b"ann"): {one: None, two: None}, ("other", b"ann"): {other: None}}
    one.leave()
    one.leave()
    assert (realm.has(one), realm.has(two)) == (False, True)
    two.become(_user(owner="another"))
    two.leave()
    other.leave()
    assert realm.clients == {}


def test_so_many_connections() -> None:
    """One more than the user may have is refused until one has gone; the user of another source is another."""
    realm = Realm(Turn(), Clock())
    user = _user(allowance=Allowance(connections=2))
    first, _ = _in(realm, user), _in(realm, user)
    with pytest.raises(TooManyConnections):
        _in(realm, user)
    _in(realm, User(b"ann", "other", allowance=Allowance(connections=1)))
    first.leave()
    _in(realm, user)


def test_the_same_connection_is_one() -> None:
    """A connection that logs in again does not stand in its own way."""
    realm = Realm(Turn(), Clock())
    user, mind = _user(allowance=Allowance(connections=1)), Mind(object())  # type: ignore[arg-type]
    former = _in(realm, user, mind)
    client = _in(realm, user, mind)
    former.leave()
    assert list(realm.clients["test", b"ann"]) == [client]
    with pytest.raises(TooManyConnections):
        _in(realm, user, Mind(object()))  # type: ignore[arg-type]


def test_until() -> None:
    """A user gets in until its term is over, and not at that moment."""
    clock = Clock()
    realm = Realm(Turn(), clock)
    user = _user(valid_until=10.0)
    clock.advance(9.9)
    _in(realm, user)
    clock.advance(0.1)
    with pytest.raises(Expired):
        _in(realm, user)
