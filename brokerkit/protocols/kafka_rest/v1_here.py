"""What all routes of the modern API have in common: who asks, what may be done, and which topic is meant.

Rights are asked before it is looked whether there is such a topic: who may not read it does not learn that it exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brokerkit.checkers.threads import Threads
from brokerkit.errors import OperatorError, TooBusy
from brokerkit.grants import PUBLISH, SUBSCRIBE
from brokerkit.protocols.kafka_rest import v1_bodies as bodies
from brokerkit.protocols.kafka_rest.unpacking import body_of, is_long, unpack_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from brokerkit.client import Client
    from brokerkit.log.words import Topic
    from brokerkit.protocols.kafka_rest.service import KafkaRest
    from brokerkit.web import Answer, Asked


class Here:
    """One listener, as its modern API sees it."""

    def __init__(self, service: KafkaRest) -> None:
        """Be a part of that listener."""
        self.service = service
        self.log = service.log
        self.groups = service.broker.groups
        self.keeping = service.keeping
        self.who = service.who
        self.settings = service.settings
        self.clock: Any = service.broker.reactor
        self.packing = Threads(self.clock, 1)  # for bodies that are packed, both ways

    async def client(self, asked: Asked) -> Client:
        """Give the client of a request, and have a large body unpacked that is packed.

        Raises ``Problem`` 401, 429, 503, and what ``body`` does.
        """
        client = self.who.known(asked) or await self.who.client(asked)
        if is_long(asked):
            await unpack_ahead(asked, self.settings.max_body_bytes, self.packing)
        return client

    def ready(self, asked: Asked) -> Client | None:
        """Give the client of a request for which nothing has to be waited for; else ``None``: ask ``client``."""
        return None if is_long(asked) else self.who.known(asked)

    def body(self, asked: Asked) -> bytes:
        """Give the body of a request, unpacked; raise ``Problem`` 400, 413 or 415."""
        return body_of(asked, self.settings.max_body_bytes)

    def name(self, asked: Asked) -> bytes:
        """Give the topic of the broker that the path names."""
        return self.service.topic(asked.values["topic"])

    def shown(self, topic: bytes) -> str:
        """Give the name of a topic here; for one that no request can name, the nearest thing to it."""
        return self.service.shown(topic) or topic.decode(errors="backslashreplace")

    async def topic(self, asked: Asked, action: str = SUBSCRIBE) -> tuple[Topic, Client]:
        """Give the topic that the path names, and who asks; raise ``Problem`` 403, ``UnknownTopic``."""
        client = await self.client(asked)
        name = self.name(asked)
        self.who.need(client, action, name)
        return self.log.topic(name, tenant=client.user.tenant), client

    async def group(self, asked: Asked, action: str) -> tuple[str, Client]:
        """Give the name of the group that the path names, and who asks; raise ``Problem`` 403."""
        client = await self.client(asked)
        name = asked.values["group"]
        self.need_group(client, action, name)
        return name, client

    def need_group(self, client: Client, action: str, name: str) -> None:
        """See that something may be done with a group; raise ``Problem`` 403."""
        self.who.need_group(client, action, name, self.groups.owner(name, client.user.tenant))

    def there(self, client: Client, name: bytes) -> Topic | None:
        """Give a topic of the client's, ``None`` if there is none."""
        tenant = client.user.tenant
        return self.log.topic(name, tenant=tenant) if self.log.keeps(name, tenant) else None

    def readable(self, client: Client, names: Iterable[bytes]) -> None:
        """See that all those topics may be read; raise ``Problem`` 403."""
        for name in names:
            self.who.need(client, SUBSCRIBE, name)

    def reads(self, client: Client) -> Callable[[bytes], bool]:
        """Give what says which topics a client may read, now and later."""
        return lambda topic: self.who.may(client, SUBSCRIBE, topic)

    def writable(self, client: Client, name: bytes) -> None:
        """See that a topic may be published to; raise ``Problem`` 403."""
        self.who.need(client, PUBLISH, name)

    async def packed(self, asked: Asked, answer: Answer) -> Answer:
        """Give an answer packed as the asker takes it; a large one is packed by a thread."""
        if len(answer.body) < bodies.LARGE or not asked.header("accept-encoding"):
            return bodies.packed(asked, answer)
        try:
            return await self.packing.call(lambda: bodies.packed(asked, answer))
        except (TooBusy, OperatorError):  # more wait for it than may: it goes as it is
            return answer
