"""Kept topics and groups belong to a tenant, and a listener may be for one tenant alone."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from brokerkit.app import make_broker
from brokerkit.config import structure
from brokerkit.plugin import protocols
from tests.talk import Line

if TYPE_CHECKING:
    from tests.talk import Reply

TENANTS = {"ann": "red", "bob": "blue"}
PATHS = ("/v1/topics/t/records", "/api/v1/messages/t/0/0", "/topics/t", "/v1/groups/g", "/v1/topics/t")


class World:
    """A listener, and a topic with a record that is the tenant ``red``'s."""

    def __init__(self, **listen: Any) -> None:
        """Start it, and have ann write the record and join a group."""
        rights = {"secret": "x", "publish": [">"], "subscribe": [">"]}
        users = [{"name": name, "tenant": tenant, **rights} for name, tenant in TENANTS.items()]
        table = {"protocol": "kafka", "endpoint": "tcp:port=0", **listen}
        keep = [{"topics": ["t"], "tenant": "red"}]
        config = structure({"listen": [table], "users": users, "keep": keep}, protocols(), "test")
        self.broker = make_broker(config, MemoryReactorClock())
        self.broker.startService()
        [self.service] = [one for one in self.broker.listening if one.protocol == "kafka"]

    def ask(self, user: str, method: str, target: str, body: object = None) -> Reply:
        """Ask as that user, on a connection of its own."""
        shown = {"Authorization": "Basic " + b64encode(f"{user}:x".encode()).decode()}
        if body is not None:
            shown["content-type"] = "application/json"
        return Line(self.service.site).begin(method, target, body, shown).reply()


@pytest.fixture
def world() -> World:
    """Give a listener for users of all tenants."""
    world = World()
    assert world.ask("ann", "POST", "/v1/topics/t/records", {"records": [{"value": "red's"}]}).status == 200
    assert world.ask("ann", "POST", "/v1/groups/g/members", {"topics": ["t"]}).status in {200, 201}
    return world


@pytest.mark.parametrize("path", PATHS)
def test_another_tenant_sees_nothing(world: World, path: str) -> None:
    """What is one tenant's is not there for another, in any of the APIs."""
    assert world.ask("ann", "GET", path).status == 200
    assert world.ask("bob", "GET", path).status == 404


def test_another_tenant_writes_nothing(world: World) -> None:
    """Who publishes to the same name elsewhere does not write into it."""
    assert world.ask("bob", "POST", "/v1/topics/t/records", {"records": [{"value": "blue's"}]}).status == 404
    assert [one["value"] for one in world.ask("ann", "GET", "/v1/topics/t/records").json["records"]] == ["red's"]


def test_a_listener_of_one_tenant() -> None:
    """Users of another are refused there."""
    world = World(tenant="red")
    assert world.ask("ann", "GET", "/v1/topics").status == 200
    assert world.ask("bob", "GET", "/v1/topics").status == 401
