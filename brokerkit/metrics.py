"""Metrics: plain integers that the broker keeps anyway, read when somebody asks.

The page is made in the reactor, by a collector that walks the listeners; nothing is counted twice and nothing is
counted for Prometheus' sake on the message path.  Label values are fixed words, except the names of users, which are
bounded: beyond ``USERS`` of them the rest are summed up as ``other``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Site

from brokerkit.endpoints import explain_bind_failure, where_bound
from brokerkit.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric
    from twisted.internet.interfaces import IListeningPort
    from twisted.python.failure import Failure
    from twisted.web.iweb import IRequest

    from brokerkit.broker import Broker
    from brokerkit.listener import Listener

log = Logger()

USERS = 100  # names of users that get a label value of their own
IDLE = 30.0  # seconds after which a silent HTTP connection is closed


class Numbers:
    """A collector that reads the broker's counts."""

    def __init__(self, broker: Broker) -> None:
        """Read that broker."""
        self._broker = broker

    def collect(self) -> Iterator[Metric]:
        """Give every metric of the broker."""
        yield from self._listeners()
        yield from self._heart()
        yield self._users()
        yield self._sources()

    def _listeners(self) -> Iterator[Metric]:
        counts: list[tuple[str, str, Callable[[Listener], int]]] = [
            ("connections_accepted", "Connections accepted.", lambda x: x.counts.accepted),
            ("logins", "Logins that were accepted.", lambda x: x.counts.logins),
            ("logins_refused", "Logins that were refused.", lambda x: x.counts.logins_refused),
            ("received_messages", "Messages published.", lambda x: x.counts.messages_in),
            ("received_bytes", "Bytes read.", lambda x: x.counts.bytes_in),
            ("sent_bytes", "Bytes written.", lambda x: x.bytes_out),
            ("paced", "Times a publisher was made to wait for slow readers.", lambda x: x.counts.paced),
        ]
        for name, text, read in counts:
            yield self._by_protocol(CounterMetricFamily(f"brokerkit_{name}", text, labels=["protocol"]), read)
        gauges: list[tuple[str, str, Callable[[Listener], int]]] = [
            ("connections", "Open connections.", lambda x: len(x.sessions)),
            ("pending_bytes", "Bytes that wait for readers.", lambda x: sum(s.outbox.pending for s in x.sessions)),
        ]
        for name, text, read in gauges:
            yield self._by_protocol(GaugeMetricFamily(f"brokerkit_{name}", text, labels=["protocol"]), read)
        yield self._by_word("errors", "What peers did wrong.", "kind", lambda x: x.counts.errors)
        yield self._by_word("slow_readers", "Readers given up.", "reason", lambda x: x.counts.slow_readers)

    def _by_protocol(self, family: Metric, read: Callable[[Listener], int]) -> Metric:
        sums: Counter[str] = Counter()
        for listener in self._broker.listeners:
            sums[listener.protocol] += read(listener)
        for protocol, value in sums.items():
            family.add_metric([protocol], value)  # type: ignore[attr-defined]
        return family

    def _by_word(self, name: str, text: str, label: str, read: Callable[[Listener], Counter[str]]) -> Metric:
        sums: Counter[tuple[str, str]] = Counter()
        for listener in self._broker.listeners:
            for word, value in read(listener).items():
                sums[listener.protocol, word] += value
        family = CounterMetricFamily(f"brokerkit_{name}", text, labels=["protocol", label])
        for labels, value in sums.items():
            family.add_metric(list(labels), value)
        return family

    def _heart(self) -> Iterator[Metric]:
        routers = list(self._broker.realm.routers.values())
        subscriptions = sum(r.subscriptions for r in routers)
        unspellable = sum(r.unspellable for r in routers)
        yield GaugeMetricFamily("brokerkit_subscriptions", "Subscriptions.", subscriptions)
        yield _counter(
            "brokerkit_unspellable_messages",
            "Deliveries left out: the receiving protocol cannot say them.",
            unspellable,
        )

    def _users(self) -> Metric:
        names: Counter[str] = Counter()
        for listener in self._broker.listeners:
            for session in listener.sessions:
                if session.client is not None:
                    names[session.client.user.name.decode(errors="replace")] += 1
        family = GaugeMetricFamily("brokerkit_user_connections", "Open connections of a user.", labels=["user"])
        common = names.most_common(USERS)
        for name, count in common:
            family.add_metric([name], count)
        if len(names) > USERS:
            family.add_metric(["other"], names.total() - sum(count for _, count in common))
        return family

    def _sources(self) -> Metric:
        text = "Times a changed source of users could not be taken."
        family = CounterMetricFamily("brokerkit_users_reload_failures", text, labels=["source"])
        for checker in self._broker.checkers:
            failures = getattr(checker, "failures", None)
            if failures is not None:
                family.add_metric([getattr(checker, "source", "")], failures)
        return family


def _counter(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


class Page(Resource):
    """One page whose bytes are made when it is asked for."""

    isLeaf = True

    def __init__(self, content_type: str, make: Callable[[], bytes]) -> None:
        """Show what ``make`` gives."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._content_type = content_type
        self._make = make

    def render_GET(self, request: IRequest) -> bytes:
        """Give the page."""
        request.setHeader(b"content-type", self._content_type.encode())
        return self._make()


def pages(broker: Broker) -> Resource:
    """Give the tree of pages: ``/metrics`` and ``/healthz``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Numbers(broker))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    root = Resource()
    root.putChild(b"metrics", Page(CONTENT_TYPE_LATEST, lambda: generate_latest(registry)))
    root.putChild(b"healthz", Page("application/json; charset=utf-8", lambda: b"{}"))
    return root


class Exporter(Service):
    """The HTTP server of the metrics."""

    def __init__(self, broker: Broker, host: str, port: int) -> None:
        """Listen there when started."""
        self._broker = broker
        self._host = host
        self._number = port
        self.port: IListeningPort | None = None

    @property
    def address(self) -> str:
        """Where it listens; empty while it does not."""
        return where_bound(self.port) if self.port is not None else ""

    def privilegedStartService(self) -> None:
        """Open the port; raise ``OperatorError`` if that fails."""
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        if self.port is None:
            self._open()

    def startService(self) -> None:
        """Open the port, if it is not open yet."""
        super().startService()  # type: ignore[no-untyped-call]
        if self.port is None:
            self._open()

    def _open(self) -> None:
        site = Site(pages(self._broker), timeout=IDLE, reactor=self._broker.reactor)
        site.noisy = False
        failures: list[Failure] = []
        endpoint = TCP4ServerEndpoint(self._broker.reactor, self._number, interface=self._host)
        endpoint.listen(site).addCallbacks(self._opened, failures.append)
        if failures:
            raise OperatorError(explain_bind_failure(failures[0].value, f"{self._host}:{self._number}"))

    def _opened(self, port: IListeningPort) -> None:
        self.port = port
        log.info("metrics listening on {address}", address=self.address)

    def stopService(self) -> Deferred[None]:
        """Close the port."""
        super().stopService()  # type: ignore[no-untyped-call]
        port, self.port = self.port, None
        return Deferred.fromCoroutine(_close(port))


async def _close(port: IListeningPort | None) -> None:
    if port is not None:
        await maybeDeferred(port.stopListening)
