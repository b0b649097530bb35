"""The modern API in memory: a broker with users and topics, and connections to its listener."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, Any

from twisted.internet.testing import MemoryReactorClock

from brokerkit.grants import EVERYTHING, Access, Grants, Rule
from brokerkit.log.words import Record, Topic, TopicSettings, Write
from brokerkit.plugin import protocols
from brokerkit.protocols.kafka_rest.service import KafkaRest
from brokerkit.testing import MemoryBroker
from tests.checkers.at_once import AtOnce
from tests.talk import Line, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from twisted.internet.defer import Deferred

READER = Grants({"subscribe": EVERYTHING})
WRITER = Grants({"publish": EVERYTHING})
ONLY_A = Grants({"subscribe": Access((Rule(b"a"),)), "publish": Access((Rule(b"a"),))})
BUT_SECRETS = Grants({"subscribe": Access((Rule(b"x.>"),), (Rule(b"x.secret.>"),))})
KEEPER = Grants({"subscribe": EVERYTHING, "commit_group": EVERYTHING, "reset_group": EVERYTHING})
GRANTS = {
    "reader": READER,
    "other": READER,
    "writer": WRITER,
    "only-a": ONLY_A,
    "but-secrets": BUT_SECRETS,
    "keeper": KEEPER,
}
USERS = dict.fromkeys(("ann", "bob", *GRANTS), "x")
NOW = 1_800_000_000.0
LINES = "application/x-ndjson"


class World:
    """A broker with the topics ``a`` (one partition) and ``p`` (three)."""

    def __init__(self, keep: Iterable[Any] = (), **settings: Any) -> None:
        """Start it."""
        reactor = MemoryReactorClock()
        reactor.rightNow = NOW
        found = protocols()
        plugins = {name: found[name] for name in ("hpfeeds", "nats", "kafka")}
        self.memory = MemoryBroker(
            plugins=plugins, users=USERS, grants=GRANTS, settings={"kafka": settings}, reactor=reactor, keep=tuple(keep)
        )
        self.broker = self.memory.broker
        self.service = next(one for one in self.broker.services if isinstance(one, KafkaRest))
        self.api: Any = self.service.api
        self.api.here.packing = AtOnce()
        self.log = self.service.log
        self.groups = self.broker.groups
        self.make("a")
        self.make("p", 3)

    def make(self, name: str, partitions: int = 1, **settings: Any) -> None:
        """Make a topic."""
        done(self.log.create(Topic("", name.encode(), partitions=partitions, settings=TopicSettings(**settings))))

    def put(self, *values: bytes | None, topic: str = "a", partition: int = 0, **more: Any) -> None:
        """Put records into a topic, past all protocols."""
        done(self.log.append([Write("", topic.encode(), partition, Record(value, **more)) for value in values]))

    def line(self, address: str = "192.0.2.1") -> Line:
        """Connect."""
        return Line(self.service.site, address)

    def ask(self, method: str, target: str, body: object = None, user: str = "ann", **headers: str) -> Reply:
        """Ask on a connection of its own; a body that is not bytes goes as JSON."""
        return self.begin(method, target, body, user, **headers).reply(with_body=method != "HEAD")

    def begin(self, method: str, target: str, body: object = None, user: str = "ann", **headers: str) -> Line:
        """Begin to ask, without waiting for an answer."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            given.setdefault("content-type", "application/json")
        return self.line().begin(method, target, body, {**shown(user), **given})

    def get(self, target: str, user: str = "ann", **headers: str) -> Reply:
        """Ask for something."""
        return self.ask("GET", target, None, user, **headers)

    def post(self, target: str, body: object = b"", user: str = "ann", **headers: str) -> Reply:
        """Send something."""
        return self.ask("POST", target, body, user, **headers)

    def values(self, target: str, user: str = "ann") -> list[Any]:
        """Give the values of the records of a page."""
        return [record["value"] for record in self.get(target, user).json["records"]]

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.memory.advance(seconds)


def shown(user: str) -> dict[str, str]:
    """Give the header that shows a user; none for an empty name."""
    return {"Authorization": "Basic " + b64encode(f"{user}:x".encode()).decode()} if user else {}


def done(deferred: Deferred[Any]) -> Any:
    """Give the result of what is done already."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert found, "it is not done"
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


def chunks(line: Line) -> bytes:
    """Take what has come of a stream, without its head and the sizes of its chunks."""
    rest, text = line.peer.take(), b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        text += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return text


def events(line: Line) -> list[dict[str, Any]]:
    """Take the events of a stream that have come, with their data as JSON; comments are left out."""
    found = []
    for block in chunks(line).decode().split("\n\n"):
        fields = dict(one.split(": ", 1) for one in block.split("\n") if ": " in one and not one.startswith(":"))
        if "data" in fields:
            found.append({**fields, "data": json.loads(fields["data"])})
    return found


def headed(fields: Mapping[str, str]) -> dict[str, str]:
    """Give headers with names as they are written."""
    return {name.replace("_", "-"): value for name, value in fields.items()}
