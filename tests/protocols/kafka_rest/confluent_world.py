"""A broker in memory with a listener of kept topics, and requests to it as clients of Confluent's API make them."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from twisted.internet.testing import MemoryReactorClock

from brokerkit.grants import EVERYTHING, PUBLISH, SUBSCRIBE, Access, Grants, Rule
from brokerkit.plugin import protocols
from brokerkit.protocols.kafka_rest.confluent_instances import Instances
from brokerkit.testing.memory import MemoryBroker
from tests.checkers.at_once import AtOnce
from tests.talk import Line

if TYPE_CHECKING:
    from brokerkit.web import Site
    from tests.talk import Reply

BINARY, JSON, PLAIN = (f"application/vnd.kafka{kind}.v2+json" for kind in (".binary", ".json", ""))
LOGS = Access((Rule(b"logs.>"),))
GRANTS = {
    "reader": Grants({SUBSCRIBE: EVERYTHING}),
    "writer": Grants({PUBLISH: EVERYTHING}),
    "logs": Grants({SUBSCRIBE: LOGS, PUBLISH: LOGS}),
    "nobody": Grants(),
}
USERS = dict.fromkeys(("ann", "bob", *GRANTS), "secret")
KEEP = {"topics": ["logs.>", "wide"], "partitions": 1}


class World:
    """All of it; ``ann`` and ``bob`` may do everything."""

    def __init__(self, keep: tuple[dict[str, Any], ...] = (KEEP,), **settings: Any) -> None:
        """Begin with a log that is empty."""
        reactor = MemoryReactorClock()
        reactor.rightNow = 1_800_000_000.0
        found = protocols()
        plugins = {name: found[name] for name in ("hpfeeds", "nats", "kafka")}
        self.memory = MemoryBroker(
            users=USERS, grants=GRANTS, plugins=plugins, reactor=reactor, keep=keep, settings={"kafka": settings}
        )
        self.broker = self.memory.broker
        self.lines: dict[str, Line] = {}
        self.service.api.here.packing = AtOnce()

    @property
    def site(self) -> Site:
        """Give what is listened with."""
        return self.service.site

    @property
    def service(self) -> Any:
        """Give the listener."""
        return next(one for one in self.broker.services if getattr(one, "protocol", "") == "kafka")

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.memory.advance(seconds)

    def line(self) -> Line:
        """Connect."""
        return Line(self.site)

    def begin(self, method: str, target: str, body: object = None, user: str = "ann", **headers: str) -> Line:
        """Ask on a connection of its own, and wait for no answer."""
        shown = {"Authorization": f"Basic {b64encode(f'{user}:secret'.encode()).decode()}"} if user else {}
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        usual = {"Content-Type": PLAIN} if body is not None else {}
        line = self.line().begin(method, target, body, {**usual, **shown, **more})
        self.advance(0.01)
        return line

    def ask(self, method: str, target: str, body: object = None, user: str = "ann", **headers: str) -> Reply:
        """Ask, and give the answer, which has to be there."""
        line = self.begin(method, target, body, user, **headers)
        reply = line.reply()
        line.hang_up()
        return reply

    def produce(self, topic: str, *values: object, user: str = "ann", **record: Any) -> Reply:
        """Produce records of JSON."""
        records = [{"value": value, **record} for value in values]
        return self.ask("POST", f"/topics/{topic}", {"records": records}, user, Content_Type=JSON)

    def consumer(self, group: str = "g", name: str = "c", user: str = "ann", **settings: Any) -> Consumer:
        """Make a consumer instance that reads JSON from the beginning."""
        body = {"name": name, "format": "json", "auto.offset.reset": "earliest", **settings}
        reply = self.ask("POST", f"/consumers/{group}", body, user)
        assert reply.status == 200, reply
        return Consumer(self, f"/consumers/{group}/instances/{name}", user)

    def restart(self) -> None:
        """Forget all that is not in the log."""
        for one in list(self.broker.services):
            if isinstance(one, Instances) or one is self.broker._groups:
                one.stopService()
                one.startService()


class Consumer:
    """One consumer instance, as its user sees it."""

    def __init__(self, world: World, path: str, user: str) -> None:
        """Be at that path."""
        self.world = world
        self.path = path
        self.user = user

    def ask(self, method: str, what: str = "", body: object = None, **headers: str) -> Reply:
        """Ask something of it."""
        return self.world.ask(method, self.path + what, body, self.user, **headers)

    def subscribe(self, *topics: str) -> Reply:
        """Subscribe to topics."""
        return self.ask("POST", "/subscription", {"topics": list(topics)})

    def read(self, wait: int = 0) -> list[Any]:
        """Give the next records."""
        reply = self.ask("GET", f"/records?timeout={wait}", Accept=JSON)
        assert reply.status == 200, reply
        found: list[Any] = reply.json
        return found

    def values(self) -> list[Any]:
        """Give the values of the next records."""
        return [record["value"] for record in self.read()]


def code(reply: Reply) -> tuple[int, int]:
    """Give the status and the error code of an answer, which has to have a message."""
    assert reply.json["message"]
    return reply.status, reply.json["error_code"]
