"""Metrics: plain integers that the broker keeps anyway, read when somebody asks.

The page is made in the reactor, by a collector that walks the listeners; nothing is counted twice and nothing is
counted for Prometheus' sake on the message path.  Label values are fixed words, except the names of users, which are
bounded: beyond ``USERS`` of them the rest are summed up as ``other``.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.logger import Logger
from twisted.web.http import OK, SERVICE_UNAVAILABLE
from twisted.web.resource import Resource
from twisted.web.server import Site

from brokerkit.keeping.numbers import numbers as log_numbers
from brokerkit.legacy_metrics import OriginalNumbers
from brokerkit.listening import Listening
from brokerkit.metric_styles import MODERN
from brokerkit.metrics_kept import group_numbers, http_numbers
from brokerkit.notation import shown
from brokerkit.registry.numbers import numbers
from brokerkit.tenant import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric
    from twisted.internet.interfaces import IListeningPort
    from twisted.web.iweb import IRequest

    from brokerkit.broker import Broker
    from brokerkit.listener import Listener
    from brokerkit.router import Router

log = Logger()

USERS = 100  # names of users that get a label value of their own
TENANTS = 100  # tenants that get a label value of their own
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
        yield from self._tenants()
        yield self._users()
        yield from self._logins()
        yield from self._sources()
        yield from self._certificates()
        yield from self._other_listeners()
        yield from numbers(self._broker.registry if self._broker.has_registry else None)
        yield from log_numbers(self._broker.keeping if self._broker.has_log else None)
        groups = self._broker.groups if self._broker.has_groups else None
        yield from group_numbers(groups if groups is not None and groups.running else None)
        yield from http_numbers(self._broker.listening)

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
            family = CounterMetricFamily(f"brokerkit_{name}", text, labels=["protocol"])
            yield self._by_protocol(family, read, "accepted" if name == "connections_accepted" else "", name)
        gauges: list[tuple[str, str, Callable[[Listener], int]]] = [
            ("connections", "Open connections.", lambda x: len(x.sessions)),
            ("pending_bytes", "Bytes that wait for readers.", lambda x: sum(s.outbox.pending for s in x.sessions)),
        ]
        for name, text, read in gauges:
            gauge = GaugeMetricFamily(f"brokerkit_{name}", text, labels=["protocol"])
            yield self._by_protocol(gauge, read, "connections" if name == "connections" else "")
        yield self._by_word("errors", "What peers did wrong.", "kind", lambda x: x.counts.errors)
        yield self._by_word("connections_refused", "Connections not let in.", "reason", lambda x: x.entrance.refused)
        yield self._by_word("slow_readers", "Readers given up.", "reason", lambda x: x.counts.slow_readers)

    def _by_protocol(self, family: Metric, read: Callable[[Listener], int], of_site: str, name: str = "") -> Metric:
        """Sum up what ``read`` gives of each listener, and of each of HTTP the attribute ``of_site`` or its length.

        Those of HTTP where users log in count that by ``name``.
        """
        sums: Counter[str] = Counter()
        for listener in self._broker.listeners:
            sums[listener.protocol] += read(listener)
        for protocol, site in self._sites() if of_site else ():
            value = getattr(site, of_site)
            sums[protocol] += value if isinstance(value, int) else len(value)
        for one in self._broker.listening:
            if name in getattr(one, "login_counts", ()):
                sums[one.protocol] += one.login_counts[name]
        for protocol, value in sums.items():
            family.add_metric([protocol], value)  # type: ignore[attr-defined]
        return family

    def _sites(self) -> Iterator[tuple[str, Any]]:
        """Give the protocol and the site of each listener that speaks HTTP and keeps count of it."""
        for one in self._broker.listening:
            if hasattr(one, "site"):
                yield one.protocol, one.site

    def _by_word(self, name: str, text: str, label: str, read: Callable[[Listener], Counter[str]]) -> Metric:
        sums: Counter[tuple[str, str]] = Counter()
        for listener in self._broker.listeners:
            for word, value in read(listener).items():
                sums[listener.protocol, word] += value
        for protocol, site in self._sites() if name == "connections_refused" else ():
            for word, value in site.entrance.refused.items():
                sums[protocol, word] += value
        family = CounterMetricFamily(f"brokerkit_{name}", text, labels=["protocol", label])
        for labels, value in sums.items():
            family.add_metric(list(labels), value)
        return family

    def _other_listeners(self) -> Iterator[Metric]:
        """Give what those count that are no stream: answers of HTTP, and datagrams by what became of them."""
        for name, text, label, attribute in (
            ("http_answers", "Answers by HTTP.", "status", "answers"),
            ("datagrams", "Datagrams.", "result", "datagrams"),
            ("extension_calls", "Calls of extensions, by what became of them.", "result", "extension_calls"),
            ("extension_processes", "Processes of extensions.", "event", "extension_processes"),
            ("file_writes", "Times that a file which is kept as a view was written.", "result", "file_writes"),
        ):
            family = CounterMetricFamily(f"brokerkit_{name}", text, labels=["protocol", label])
            sums: Counter[tuple[str, str]] = Counter()
            for listener in self._broker.listening:
                for word, value in getattr(listener, attribute, {}).items():
                    sums[listener.protocol, str(word)] += value
            for labels, value in sums.items():
                family.add_metric(list(labels), value)
            yield family

    def _heart(self) -> Iterator[Metric]:
        routers = list(self._broker.realm.routers.values())
        subscriptions = sum(r.subscriptions - r.serving for r in routers)
        unspellable = sum(r.unspellable for r in routers)
        yield GaugeMetricFamily("brokerkit_subscriptions", "Subscriptions.", subscriptions)
        yield _counter(
            "brokerkit_unspellable_messages",
            "Deliveries left out: the receiving protocol cannot say them.",
            unspellable,
        )

    def _tenants(self) -> Iterator[Metric]:
        """Give what each tenant has and does; beyond ``TENANTS`` of them the smallest are summed up as ``other``."""
        realm = self._broker.realm
        routers = sorted(realm.routers.items(), key=lambda item: -item[1].subscriptions)
        labels = {name: (name or UNNAMED) if i < TENANTS else "other" for i, (name, _) in enumerate(routers)}
        counts: list[tuple[type[GaugeMetricFamily | CounterMetricFamily], str, str, Callable[[str, Router], int]]] = [
            (GaugeMetricFamily, "clients", "Clients that are logged in.", lambda name, _: realm.population[name]),
            (
                GaugeMetricFamily,
                "subscriptions",
                "Subscriptions, imports included.",
                lambda _, r: r.subscriptions - r.serving,
            ),
            (CounterMetricFamily, "messages", "Messages published.", lambda _, r: r.messages),
        ]
        for kind, word, text, read in counts:
            sums: Counter[str] = Counter()
            for name, router in routers:
                sums[labels[name]] += read(name, router)
            family = kind(f"brokerkit_tenant_{word}", text, labels=["tenant"])
            for name, value in sums.items():
                family.add_metric([name], value)
            yield family
        exchange = self._broker.tenants.exchange
        yield GaugeMetricFamily(
            "brokerkit_requests_open", "Requests of other tenants without an answer.", len(exchange)
        )
        yield _counter(
            "brokerkit_requests_dropped", "Such requests that later ones took the place of.", exchange.dropped
        )

    def _users(self) -> Metric:
        names: Counter[str] = Counter()
        for listener in self._broker.listeners:
            for session in listener.sessions:
                if session.client is not None:
                    names[shown(session.client.user.name)] += 1
        family = GaugeMetricFamily("brokerkit_user_connections", "Open connections of a user.", labels=["user"])
        listed = dict(names.most_common(USERS))
        if len(names) > USERS:  # somebody may be called that; two values of one label would spoil the whole page
            listed["other"] = listed.get("other", 0) + names.total() - sum(listed.values())
        for name, count in listed.items():
            family.add_metric([name], count)
        return family

    def _logins(self) -> Iterator[Metric]:
        broker = self._broker
        for name, text, value in (
            ("logins_throttled", "Logins that were not tried, after too many failures.", broker.throttle.refused),
            ("logins_too_busy", "Logins that there was no room to decide.", broker.logins.too_busy),
            ("hash_checks", "Passwords held against a hash.", broker.hashing.checks),
            ("hash_checks_refused", "Passwords that too many others waited before.", broker.hashing.refused),
            ("connections_ended", "Connections closed: user revoked, expired or kicked.", broker.revocation.ended),
            ("connections_changed", "Connections whose user got other rights.", broker.revocation.changed),
        ):
            yield _counter(f"brokerkit_{name}", text, value)
        for name, text, value in (
            ("logins_in_flight", "Logins that are being decided.", broker.logins.in_flight),
            ("hash_checks_waiting", "Passwords that wait to be held against a hash.", broker.hashing.waiting),
            ("throttle_entries", "What is remembered of failed and accepted logins.", len(broker.throttle)),
        ):
            yield GaugeMetricFamily(f"brokerkit_{name}", text, value)

    def _sources(self) -> Iterator[Metric]:
        """Give what is known of each source of users; of two with one name, the sum, and the worse of their states."""
        asked = self._broker.users.asked
        up: dict[str, bool] = {}
        for one in asked:
            up[one.name] = up.get(one.name, True) and one.up
        yield _gauges("brokerkit_users_up", "Whether a source of users answered last time.", up)
        yield _counters(
            "brokerkit_users_failures",
            "Questions that a source of users did not answer.",
            ((one.name, one.failures) for one in asked),
        )
        watched = [(one.name, one.checker) for one in asked if hasattr(one.checker, "reloads")]
        yield _counters(
            "brokerkit_users_reloads",
            "Changes of a source of users that were taken.",
            ((name, checker.reloads) for name, checker in watched),
        )
        yield _counters(
            "brokerkit_users_reload_failures",
            "Times a changed source of users could not be taken.",
            ((name, checker.failures) for name, checker in watched),
        )
        broken: dict[str, bool] = {}
        for name, checker in watched:
            broken[name] = broken.get(name, False) or checker.broken
        yield _gauges("brokerkit_users_broken", "Whether the users are older than their source.", broken)

    def _certificates(self) -> Iterator[Metric]:
        """Give what is known of the files of TLS; of two uses of one file, the sum, and the worse of their states."""
        renewal = self._broker.renewal
        yield _counters(
            "brokerkit_tls_reloads",
            "Changed certificates that were taken.",
            ((one.name, one.reloads) for one in renewal.kept),
            "file",
        )
        yield _counters(
            "brokerkit_tls_reload_failures",
            "Times that changed certificates could not be taken.",
            ((one.name, one.failures) for one in renewal.kept),
            "file",
        )
        broken: dict[str, bool] = {}
        for one in renewal.kept:
            broken[one.name] = broken.get(one.name, False) or one.broken
        yield _gauges("brokerkit_tls_broken", "Whether what is in use is older than its file.", broken, "file")
        text = "Days until a certificate expires; below 0 if it has."
        yield _gauges("brokerkit_tls_certificate_days", text, renewal.days(), "file")


def _counter(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _counters(name: str, text: str, values: Iterable[tuple[str, int]], label: str = "source") -> CounterMetricFamily:
    sums: Counter[str] = Counter()
    for source, value in values:
        sums[source] += value
    family = CounterMetricFamily(name, text, labels=[label])
    for source, value in sums.items():
        family.add_metric([source], value)
    return family


def _gauges(name: str, text: str, values: Mapping[str, float], label: str = "source") -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for source, value in values.items():
        family.add_metric([source], value)
    return family


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


class Health(Resource):
    """Whether the broker can do its work: 200 if all is well, 503 if not.

    Every listener has to be up, every source of users to answer, and the log, if there is one, to take what is written.
    """

    isLeaf = True

    def __init__(self, broker: Broker) -> None:
        """Look at that broker."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._broker = broker

    def render_GET(self, request: IRequest) -> bytes:
        """Give JSON; of a source no more than its name and whether it answered the last question."""
        listeners = [
            {"protocol": x.protocol, "address": x.address, "up": bool(x.address)} for x in self._broker.listening
        ]
        users = [{"source": x.name, "up": x.up} for x in self._broker.users.asked]
        writable = not self._broker.has_log or self._broker.log.writing.is_writable
        well = writable and all(one["up"] for one in (*listeners, *users))
        request.setResponseCode(OK if well else SERVICE_UNAVAILABLE)
        request.setHeader(b"content-type", b"application/json; charset=utf-8")
        said: dict[str, object] = {"ok": well, "listeners": listeners, "users": users}
        if self._broker.has_log:
            said["log"] = {"writable": writable}
        return json.dumps(said, indent=2).encode() + b"\n"


def pages(broker: Broker, hpfeeds_metrics: str = MODERN) -> Resource:
    """Give the tree of pages: ``/metrics``, ``/healthz`` and ``/livez``, which is there for as long as the broker runs.

    ``hpfeeds_metrics`` says how those of hpfeeds-broker are called; they are there if the broker has a tally.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Numbers(broker))
    if broker.tally is not None:
        registry.register(OriginalNumbers(broker, broker.tally, hpfeeds_metrics))
    GCCollector(registry=registry)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    root = Resource()
    root.putChild(b"metrics", Page(CONTENT_TYPE_LATEST, lambda: generate_latest(registry)))
    root.putChild(b"healthz", Health(broker))
    root.putChild(b"livez", Page("application/json; charset=utf-8", lambda: b"{}\n"))
    return root


class Exporter(Listening):
    """The HTTP server of the metrics."""

    def __init__(self, broker: Broker, host: str, port: int, hpfeeds_metrics: str = MODERN) -> None:
        """Listen there when started; ``hpfeeds_metrics`` is as for ``pages``."""
        self._broker = broker
        self._hpfeeds_metrics = hpfeeds_metrics
        self._host = host
        self._number = port

    def begin(self) -> tuple[Any, str]:
        """Begin to serve the pages."""
        site = Site(pages(self._broker, self._hpfeeds_metrics), timeout=IDLE, reactor=self._broker.reactor)
        site.noisy = False
        endpoint = TCP4ServerEndpoint(self._broker.reactor, self._number, interface=self._host)
        return endpoint.listen(site), f"{self._host}:{self._number}"

    def opened_port(self, port: IListeningPort) -> None:  # noqa: ARG002
        """Say where the pages are."""
        log.info("metrics listening on {address}", address=self.address)

    def stopService(self) -> Deferred[None]:
        """Close the port."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self.shut())
