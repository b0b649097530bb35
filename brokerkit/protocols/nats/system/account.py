"""The broker's own party in the system account, and a little of it in every other one.

There is one for each broker that has NATS.  In the tenant ``$SYS`` it answers requests about the server and tells of
events; in each tenant it answers who asks about itself.  It is a client like others, but for its origin: what may be
asked is decided by who can reach the tenant.

Nothing is told where nobody listens.  Whether somebody does is known by counting interest that is not the broker's own,
so that a broker without operators looking pays for one comparison at each login and end.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from brokerkit.client import Client, User
from brokerkit.errors import ClientError
from brokerkit.grants import ALL
from brokerkit.protocols.nats.monitor.view import View
from brokerkit.protocols.nats.system.events import Events
from brokerkit.protocols.nats.system.requests import Requests
from brokerkit.protocols.nats.wire import OddRun
from brokerkit.run import Message, Origin
from brokerkit.tenant import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from brokerkit.broker import Broker
    from brokerkit.interest import Interest
    from brokerkit.run import Batch

log = Logger()

EVERY = 10.0  # seconds between two reports, while somebody listens
NAME = b"system"


def attend(broker: Broker) -> SystemAccount:
    """Give the one of that broker, made when it is asked for first."""
    for service in broker.services:
        if isinstance(service, SystemAccount):
            return service
    made = SystemAccount(broker)
    made.setServiceParent(broker)  # type: ignore[no-untyped-call]
    return made


class SystemAccount(Service):
    """Answers and tells."""

    def __init__(self, broker: Broker) -> None:
        """Begin to remember connections, and to listen in every tenant that is or will be."""
        self.broker = broker
        self.view = View(broker)
        self.events = Events(self.view, self)
        self.requests = Requests(self.view, self.say, self.events.connections)
        self._clients: dict[str, Client] = {}
        self._others = 0  # interest in the system account that is not ours
        self._report = LoopingCall(self.events.report)
        self._report.clock = broker.reactor
        broker.census.watchers.append(self.events)
        broker.realm.told.append(self._listen_in)
        for tenant in list(broker.realm.routers):
            self._listen_in(tenant)
        self._own = {s.pattern for s in self._client_of_the_system().subscriptions}
        broker.realm.router(SYSTEM).watch(self._interest)

    def _client_of_the_system(self) -> Client:
        self.broker.realm.router(SYSTEM)  # which may be new: then we are told, and listen in it
        return self._clients[SYSTEM]

    def startService(self) -> None:
        """Begin to report, if anybody listens."""
        super().startService()  # type: ignore[no-untyped-call]
        self._report_or_not()

    def stopService(self) -> Deferred[None] | None:
        """Report no more."""
        if self._report.running:
            self._report.stop()
        return super().stopService()  # type: ignore[no-untyped-call,no-any-return]

    # -- listening --------------------------------------------------------------------------------------------------

    def _listen_in(self, tenant: str) -> None:
        """Answer in a tenant."""
        user = User(NAME, "program", ALL, tenant=tenant)
        router = self.broker.realm.routers[tenant]
        self._clients[tenant] = client = Client(user, router, self.broker.turn, origin=Origin.SERVICE)
        asked = self.requests
        ours = tenant == SYSTEM
        for pattern, answer in (asked.of_the_system if ours else asked.of_everybody).items():
            client.subscribe(pattern, partial(_each, partial(asked.answer, answer, tenant)))
        for pattern, pieces in (asked.lists_of_the_system if ours else asked.lists_of_everybody).items():
            client.subscribe(pattern, partial(_each, partial(asked.answer_list, pieces, tenant)))
        if ours:
            for pattern in asked.identities:
                client.subscribe(pattern, partial(_each, partial(asked.identify, tenant)))

    def _interest(self, interest: Interest, appears: bool) -> None:
        """Count the interest of others, and report while there is any."""
        if not self._is_ours(interest):
            self._others += 1 if appears else -1
            self._report_or_not()

    def _is_ours(self, interest: Interest) -> bool:
        return interest.origin is Origin.SERVICE and interest.pattern in self._own

    def _report_or_not(self) -> None:
        wanted = self._others > 0 and bool(self.running)
        if wanted and not self._report.running:
            self._report.start(EVERY, now=False).addErrback(lambda why: log.failure("no more reports", why))
        elif not wanted and self._report.running:
            self._report.stop()

    @property
    def anybody(self) -> bool:
        """Whether anybody but ourselves listens in the system account."""
        return self._others > 0

    def is_heard(self, topic: bytes) -> bool:
        """Say whether somebody else listens for a topic of the system account."""
        if not self._others:
            return False
        ours = self._clients[SYSTEM]
        return any(s.owner is not ours for s in self.broker.realm.routers[SYSTEM].match(topic))

    # -- speaking ---------------------------------------------------------------------------------------------------

    def say(self, tenant: str, topic: bytes, payload: bytes) -> None:
        """Publish in a tenant."""
        try:
            self._clients[tenant].send(OddRun([Message(topic, payload)]))
        except ClientError as error:
            log.warn("{topic!r} cannot be told: {why}", topic=topic, why=error)


def _each(answer: Callable[[Message, Client | None], None], batch: Batch) -> None:
    """Answer every request of a batch."""
    sender = batch.run.sender
    for message in batch:
        answer(message, sender if isinstance(sender, Client) else None)
