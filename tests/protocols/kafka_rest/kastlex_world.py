"""KastleX's API in memory, with the users of its own documentation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bcrypt import gensalt, hashpw
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from brokerkit.checkers.kastlex import KastlexUsers
from brokerkit.checkers.source import check_here
from brokerkit.log.words import Record, Topic, TopicSettings, Write
from brokerkit.plugin import protocols
from brokerkit.protocols.kafka_rest.service import KafkaRest
from brokerkit.testing import MemoryBroker
from tests.talk import Line, Reply

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path

PERMISSIONS = """\
anonymous:
  list_topics: true
  show_topic: all
  list_brokers: true
  show_broker: all
  show_offsets: all
  fetch: all
  list_urps: true
  show_urps: all
  list_groups: true
  show_group: all
user1:
  produce:
    - kastlex
admin:
  reload: true
  revoke: true
  produce: all
  fetch: all
"""
BINARY = {"Accept": "application/binary"}


class World:
    """A broker with a topic ``kastlex``, and somebody who asks it; ``now`` are seconds since 1970."""

    def __init__(self, directory: Path, permissions: str = PERMISSIONS, **settings: Any) -> None:
        """Start it."""
        self.directory = directory
        self.passwd, self.permissions = directory / "passwd.yml", directory / "permissions.yml"
        self.passwd.write_text(hashes())
        self.permissions.write_text(permissions)
        reactor = MemoryReactorClock()
        reactor.rightNow = 1_800_000_000.0
        self.users = KastlexUsers(str(self.passwd), str(self.permissions), reactor)
        found = protocols()
        plugins = {name: found[name] for name in ("hpfeeds", "nats", "kafka")}
        keep = settings.pop("keep", ())
        self.memory = MemoryBroker(
            plugins=plugins, settings={"kafka": settings}, sources=[self.users], reactor=reactor, keep=keep
        )
        self.broker = self.memory.broker
        self.users.check_hash = self.broker.users._check_hash = check_here  # without threads
        self.service = next(one for one in self.broker.services if isinstance(one, KafkaRest))
        self.log = self.service.log
        self.line = Line(self.service.site)
        self.make("kastlex")

    def make(self, name: str, partitions: int = 1, **settings: Any) -> None:
        """Make a topic."""
        done(self.log.create(Topic("", name.encode(), partitions=partitions, settings=TopicSettings(**settings))))

    def put(self, *values: bytes | None, topic: str = "kastlex", partition: int = 0, **more: Any) -> None:
        """Put records into a topic, past all protocols."""
        writes = [Write("", topic.encode(), partition, Record(value, **more)) for value in values]
        done(self.log.append(writes))

    def commit(self, group: str, place: tuple[bytes, int], offset: int) -> Deferred[Any]:
        """Commit an offset for a group without members."""
        return Deferred.fromCoroutine(self.service.groups.commit(group, {place: offset}))

    def reread(self) -> None:
        """Have changed files taken, as the broker does within a second."""
        self.broker.look_again()
        self.settle()

    def settle(self) -> None:
        """Let time pass until files have been read, which is done in slices."""
        for _ in range(20):
            self.advance(0.1)

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str) -> Reply:
        """Ask on a connection that stays."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.line.ask(method, target, body, given)

    def get(self, target: str, **headers: str) -> Reply:
        """Ask for something."""
        return self.ask("GET", target, **headers)

    def post(self, target: str, body: bytes = b"", **headers: str) -> Reply:
        """Send something."""
        return self.ask("POST", target, body, **headers)

    def login(self, name: str = "admin") -> dict[str, str]:
        """Log in by name and password; gives the header to show from then on."""
        reply = self.post("/login", f"username={name}&password={name}".encode())
        assert reply.status == 200, reply
        return {"Authorization": f"Bearer {reply.json['token']}"}

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.memory.advance(seconds)


def done(deferred: Deferred[Any]) -> Any:
    """Give the result of what is done already."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert found, "it is not done"
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


def finished(work: Coroutine[Any, Any, Any]) -> Any:
    """Give the result of a coroutine that need not wait."""
    return done(Deferred.fromCoroutine(work))


def hashes(names: Mapping[str, str] | None = None) -> str:
    """Give a passwd.yml; each password is the name unless it is given."""
    given = {"user1": "user1", "admin": "admin"} if names is None else names
    lines = []
    for name, password in given.items():
        hashed = hashpw(password.encode(), gensalt(4)).decode()
        lines.append(f"{name}:\n  password_hash: {json.dumps(hashed)}\n")
    return "".join(lines)
