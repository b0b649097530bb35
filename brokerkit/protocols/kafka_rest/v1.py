"""The modern API, all of it: topics, records, following, groups, and the document that describes the whole listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.application.service import Service

from brokerkit.protocols.kafka_rest.v1_about import About
from brokerkit.protocols.kafka_rest.v1_fetch import Fetching
from brokerkit.protocols.kafka_rest.v1_follow import Following
from brokerkit.protocols.kafka_rest.v1_groups import GroupRoutes
from brokerkit.protocols.kafka_rest.v1_here import Here
from brokerkit.protocols.kafka_rest.v1_produce import Producing
from brokerkit.protocols.kafka_rest.v1_sockets import Sockets
from brokerkit.protocols.kafka_rest.v1_topics import TopicRoutes
from brokerkit.protocols.kafka_rest.v1_waiting import Waiting

if TYPE_CHECKING:
    from brokerkit.protocols.kafka_rest.service import KafkaRest
    from brokerkit.web import Route


class Api(Service):
    """The parts of one listener; ``following`` and ``sockets`` are those who are connected for long."""

    def __init__(self, service: KafkaRest) -> None:
        """Put them together."""
        self.here = Here(service)
        self.waiting = Waiting(self.here)
        self.groups = GroupRoutes(self.here)
        self.following = Following(self.here, self.waiting)
        self.sockets = Sockets(self.here, self.groups, self.waiting)
        self.routes: tuple[Route, ...] = (
            *TopicRoutes(self.here).routes(),
            *Producing(self.here, self.groups).routes(),
            *Fetching(self.here, self.waiting).routes(),
            *self.following.routes(),
            *self.sockets.routes(),
            *self.groups.routes(),
            *About(self.here).routes(),
        )

    @property
    def followers(self) -> dict[str, int]:
        """The numbers of those who are connected for long, by kind."""
        return {**self.following.kinds(), "websocket": len(self.sockets)}

    @property
    def cut(self) -> int:
        """The number of those who were cut off since they took nothing."""
        return self.following.cut + self.sockets.cut

    def startService(self) -> None:
        """Take work."""
        super().startService()  # type: ignore[no-untyped-call]
        self.waiting.start()
        self.following.start()
        self.here.packing.start()

    def stopService(self) -> None:
        """End what goes on."""
        super().stopService()  # type: ignore[no-untyped-call]
        self.following.stop()
        self.sockets.stop()
        self.waiting.stop()
        self.here.packing.stop()


def api(service: KafkaRest) -> Api:
    """Give the API of a listener, started and stopped with it."""
    found = Api(service)
    found.setName("v1")  # type: ignore[no-untyped-call]
    found.setServiceParent(service)  # type: ignore[no-untyped-call]
    return found
