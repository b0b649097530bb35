"""The modern API in memory: a registry, users with grants, and connections to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from brokerkit.client import Client, User
from brokerkit.grants import EVERYTHING, Access, Grants, Rule
from brokerkit.protocols.bpbroker.v1 import Api
from brokerkit.registry import Limits, Registry
from brokerkit.registry.access import READ, WRITE
from brokerkit.registry.health import Health
from brokerkit.router import Router
from brokerkit.turn import Turn
from brokerkit.web import Bounds, Problem, Site
from tests.talk import Line, Time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brokerkit.web import Asked

ALL = Grants({READ: EVERYTHING, WRITE: EVERYTHING})
READER = Grants({READ: EVERYTHING})
ONLY_A = Grants({READ: Access((Rule(b"registry.a"),)), WRITE: Access((Rule(b"registry.a"),))})
USERS = {"": ALL, "ann": ALL, "reader": READER, "only-a": ONLY_A, "nobody": Grants()}


class World:
    """All of it; ``here`` are the clients of requests that go on."""

    def __init__(self, **limits: Any) -> None:
        """Begin with an empty registry."""
        self.clock = Time()
        self.registry = Registry(None, self.clock, Limits(**limits))
        self.health = Health(self.registry, self.clock)
        self.here: dict[Client, None] = {}
        self.api = Api(self.registry, self._admit, self.clock)
        self.site = Site(self.api.routes(), self.clock, bounds=Bounds(body_bytes=100_000))
        self._router, self._turn = Router(), Turn()

    async def _admit(self, asked: Asked) -> Client:
        name = asked.header("x-access-key")
        if name not in USERS:
            raise Problem(401, "Incorrect access key")
        client = Client(User((name or "anyone").encode(), "test", USERS[name]), self._router, self._turn)
        self.here[client] = None
        client.left = self.here.pop
        return client

    def line(self) -> Line:
        """Connect."""
        return Line(self.site)

    def ask(self, method: str, target: str, body: object = None, key: str = "", **headers: str) -> Any:  # a Reply
        """Ask on a connection of its own, and see that nothing of it is left."""
        line, before = self.line(), set(self.here)
        reply = line.ask(method, target, body, {**{k.replace("_", "-"): v for k, v in headers.items()}, **shown(key)})
        line.hang_up()
        assert self.here.keys() <= before
        return reply

    def put(self, name: str, data: Mapping[str, Any], **headers: str) -> Any:  # a Reply
        """Put an entry."""
        return self.ask("PUT", f"/v1/kv/{name}", dict(data), **headers)


def shown(key: str) -> dict[str, str]:
    """Give the headers that show a key."""
    return {"X-Access-Key": key} if key else {}


def events(line: Line) -> list[dict[str, Any]]:
    """Take the events of a stream that have come, with their data as JSON; comments are left out."""
    text = b""
    rest = line.peer.take()
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        text += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    found = []
    for block in text.decode().split("\n\n"):
        fields = dict(one.split(": ", 1) for one in block.split("\n") if ": " in one and not one.startswith(":"))
        if "data" in fields:
            found.append({**fields, "data": json.loads(fields["data"])})
        elif "id" in fields:
            found.append(fields)
    return found
