"""The API of the original in memory: a broker, its registry, users, and connections to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from twisted.internet.defer import Deferred, fail, succeed

from brokerkit.broker import Broker
from brokerkit.checkers.anonymous import Anyone
from brokerkit.protocols.bpbroker.call import NoPlace, Outcome, TooLong, UnknownMethod
from brokerkit.protocols.bpbroker.document import parse
from brokerkit.protocols.bpbroker.door import Door
from brokerkit.protocols.bpbroker.keys import AccessKeys
from brokerkit.protocols.bpbroker.legacy import Legacy
from brokerkit.web import Bounds, Site
from tests.talk import Line, Reply, Time

if TYPE_CHECKING:
    from brokerkit.protocols.bpbroker.call import Call

NOW = 1_800_000_000


class Ran:
    """Extensions of a test: ``echo`` is named in the configuration."""

    def __init__(self) -> None:
        """Begin with no calls."""
        self.calls: list[Call] = []
        self.results: dict[str, Any] = {
            "Test": Outcome(data=b'{"a": 1}'),
            "Teapot": Outcome(418, "short\r\nand: stout"),
            "Odd": Outcome(99, ""),
            "Slow": TooLong(),
            "Full": NoPlace(),
            "Broken": ValueError("secret"),
        }

    def has(self, package: str) -> bool:
        """Know one module, and such as nobody may call."""
        return package in {"echo", "api", "worker", "_global", "_config"}

    def call(self, call: Call) -> Deferred[Outcome]:
        """Give what the test has said."""
        self.calls.append(call)
        result = self.results.get(call.method, UnknownMethod())
        return fail(result) if isinstance(result, Exception) else succeed(result)


class World:
    """All of it: an open broker, or one with the access keys of a ``bpbroker.json``."""

    def __init__(self, document: bytes = b"", sources: Any = (), **options: Any) -> None:
        """Begin with an empty registry."""
        self.clock = Time(NOW)
        keys = [AccessKeys("bpbroker.json", parse(document, "bpbroker.json"), opens=True)] if document else []
        self.broker = Broker(self.clock, [*sources, *keys] or [Anyone()])
        self.registry = self.broker.registry
        self.ran = Ran()
        self.door = Door(self.broker, query_keys=options.get("query_keys", True))
        self.legacy = Legacy(self.registry, self.door, self.ran, **options)
        self.site = Site([], self.clock, otherwise=self.legacy.answer, bounds=Bounds(body_bytes=200_000))

    def line(self, address: str = "192.0.2.1") -> Line:
        """Connect."""
        return Line(self.site, address)

    def ask(self, target: str, method: str = "POST", body: bytes | None = None, **headers: str) -> Reply:
        """Ask on a connection of its own."""
        line = self.line()
        reply = line.ask(method, target, body, {key.replace("_", "-"): value for key, value in headers.items()})
        line.hang_up()
        return reply

    def call(self, package: str, method: str, **parameters: str) -> Reply:
        """Ask as the original's client does: everything in the query of a POST."""
        return self.ask(f"/{package}/{method}/?{urlencode({'access_key': '', **parameters})}")
