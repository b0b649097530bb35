"""From a login to a client."""

from __future__ import annotations

import pytest
from twisted.cred.error import UnauthorizedLogin
from zope.interface import Interface

from brokerkit.client import Client, User
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
    realm = Realm(turn := Turn())
    user, outbox = User(b"ann", "test"), object()
    _, client, _ = realm.requestAvatar(user, Mind(outbox, Origin.LEAF), IClient)  # type: ignore[arg-type]
    assert (client.user, client.turn, client.outbox, client.origin) == (user, turn, outbox, Origin.LEAF)


def test_logging_out_is_leaving() -> None:
    """The portal's logout ends the client's subscriptions."""
    realm = Realm(Turn())
    _, client, logout = realm.requestAvatar(User(b"ann", "test", ALL), Mind(), IClient)
    client.subscribe(b"a", lambda _: None)
    logout()
    assert client.router.subscriptions == 0


def test_tenants_are_apart() -> None:
    """Users of one tenant hear each other, and nobody else."""
    realm = Realm(Turn())
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
        Realm(Turn()).requestAvatar(avatar, Mind(), IClient)


def test_other_interfaces_are_not_offered() -> None:
    """A portal that asks for something else is wired wrongly."""
    with pytest.raises(NotImplementedError):
        Realm(Turn()).requestAvatar(User(b"ann", "test"), Mind(), Interface)
