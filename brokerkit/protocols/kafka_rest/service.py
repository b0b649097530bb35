"""One listener for kept topics: four APIs and a page on one port, each told apart by its path.

Each part gives its routes as ``routes(service)``; this is the table that they stand in, and what they share: who asks,
the log, and how topics are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from brokerkit.endpoints import said, server_endpoint
from brokerkit.entrance import read_networks
from brokerkit.protocols.kafka_rest import confluent, kastlex, page, shapes, v1
from brokerkit.protocols.kafka_rest.arrivals import Arrivals
from brokerkit.protocols.kafka_rest.cors import Cors
from brokerkit.protocols.kafka_rest.finishing import finishing
from brokerkit.protocols.kafka_rest.ledger import TopicLedger
from brokerkit.protocols.kafka_rest.quotas import Quotas
from brokerkit.protocols.kafka_rest.settings import Settings
from brokerkit.protocols.kafka_rest.token_requests import TokenRequests
from brokerkit.protocols.kafka_rest.tokens import Tokens, key_of
from brokerkit.protocols.kafka_rest.who import Who
from brokerkit.tls import clients
from brokerkit.topics import beneath, under
from brokerkit.web import Bounds, HttpListener, Problem, Site

if TYPE_CHECKING:
    from collections import Counter

    from brokerkit.broker import Broker
    from brokerkit.config import Listen
    from brokerkit.keeping import Keeping
    from brokerkit.log import Log
    from brokerkit.log.groups import Groups
    from brokerkit.web import Answer

log = Logger()


class KafkaRest(MultiService):
    """Listens as a ``Listen`` says; a child of the broker, as is the log."""

    def __init__(self, broker: Broker, listen: Listen) -> None:
        """Put it together; nothing is opened before the service starts.  Raises ``OperatorError``."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.broker = broker
        self.listen = listen
        self.protocol = listen.protocol
        self.prefix = listen.topic_prefix.encode()
        self.settings: Settings = listen.settings if listen.settings is not None else Settings()
        self.log: Log = broker.log
        self.keeping: Keeping = broker.keeping
        self.groups: Groups = broker.groups
        self.arrivals = Arrivals(self.log, broker.reactor)
        self.tokens = self._tokens()
        self.quotas = Quotas(broker.reactor, self.settings.requests_per_second, self.settings.bytes_per_second)
        self.cors = Cors(self.settings.cors, listen.protocol)
        self.who = Who(broker, listen, self.tokens, self.quotas)
        self.api = v1.api(self)
        self.reading = confluent.reading(self)
        self.site = Site(
            [*kastlex.routes(self), *self.api.routes, *confluent.routes(self, self.reading), *page.routes(self)],
            broker.reactor,
            protocol=listen.protocol,
            bounds=Bounds(
                body_bytes=self.settings.max_body_bytes,
                connections=self.settings.max_connections,
                connections_each=self.settings.max_connections_per_address,
            ),
            networks=read_networks(said(listen.endpoint, self.protocol).networks or listen.networks, self.protocol),
            shape=shape,
            finish=finishing(self.cors, self.quotas),
        )
        endpoint = server_endpoint(listen.endpoint, broker.reactor, self.protocol, clients(listen), broker.renewal)
        self.http = HttpListener(self.site, endpoint, listen.endpoint)
        self.http.setServiceParent(self)
        broker.requests.setdefault("token", TokenRequests(self).answer)

    def _tokens(self) -> Tokens:
        """Give what makes tokens, with a ledger where they are to be stored."""
        settings = self.settings
        key = key_of(settings.jwk_file, self.broker.directory, self.protocol)
        if not settings.jwk_file and self.broker.directory is None:
            log.warn("{protocol}: without a data directory, tokens end with this process", protocol=self.protocol)
        ledger = None
        if settings.token_storage:
            ledger = TopicLedger(self.log, self.topic(settings.token_storage_topic), self.broker.reactor)
            ledger.setServiceParent(self)  # type: ignore[no-untyped-call]
        return Tokens(key, self.broker.reactor, settings.token_ttl_seconds, ledger)

    # -- what the parts share -----------------------------------------------------------------------------------------

    def topic(self, name: str) -> bytes:
        """Give the broker's topic of a name in a request."""
        return under(self.prefix, name.encode())

    def shown(self, topic: bytes) -> str | None:
        """Give the name of a topic here; ``None`` for one that no request can name."""
        name = beneath(self.prefix, topic)
        try:
            return name.decode() if name else None
        except UnicodeDecodeError:
            return None

    @property
    def address(self) -> str:
        """Where it listens, as ``host:port``; empty while it does not."""
        return self.http.address

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.listen.endpoint.partition(":")[0] in {"tls", "ssl"}

    @property
    def answers(self) -> Counter[int]:
        """The number of answers by HTTP, by status; the metrics read it."""
        return self.site.served

    @property
    def login_counts(self) -> dict[str, int]:
        """The numbers of ``logins`` and ``logins_refused``; the metrics read it, and all below."""
        return self.who.counts

    @property
    def followers(self) -> dict[str, int]:
        """The numbers of streams that go on, by their kind."""
        return self.api.followers

    @property
    def followers_cut(self) -> int:
        """The number of streams that were cut off since nothing of them was read."""
        return self.api.cut

    @property
    def waiting(self) -> int:
        """The number of requests that wait for records, beside those of consumer groups."""
        return len(self.arrivals) + self.api.waiting.asleep + self.reading.asleep

    @property
    def quota_refused(self) -> int:
        """The number of requests that were more than their user may ask for."""
        return self.quotas.refused

    def stopService(self) -> Deferred[None]:
        """Stop listening, then forget everybody."""
        return Deferred.fromCoroutine(self._stop(maybeDeferred(super().stopService)))

    async def _stop(self, stopped: Deferred[Any]) -> None:
        try:
            await stopped
        finally:
            self.who.stop()


SENTENCES = {
    400: "this is no well-formed request of HTTP/1.1: look at its first line, Content-Length and Transfer-Encoding",
    404: "there is nothing by that path: /v1/docs lists what there is",
    405: "the path is there, and not for that method: Allow says for which",
    414: "the path and the query are too long",
    431: "the headers are too long",
}


def shape(problem: Problem, path: bytes) -> Answer:
    """Give a problem as the API says it that a path belongs to, whether there is a route for it or not."""
    if type(problem) is Problem and not (problem.detail or problem.more):
        detail = SENTENCES.get(problem.status, "")
        problem = Problem(problem.status, problem.title, detail, headers=problem.headers)
    if shapes.is_kastlex(path):
        return shapes.refused(problem)
    if confluent.is_confluent(path):
        return confluent.refused(problem)
    return problem.answer()
