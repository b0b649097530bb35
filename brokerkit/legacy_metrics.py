"""The metrics of hpfeeds-broker, by its names and labels, so that boards and alerts made for it go on working.

They are made of the broker's counts when somebody asks.  The names of counters end in ``_total``, as they do for
whoever installs the original today (``modern``); its container image has them without (``legacy``).

What differs from the original: a name that nobody has logged in by is no label but empty, a publish under another ident
is counted for the one that is logged in, and there are as many labels as the tally has rows, and one more, ``other``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, UntypedMetricFamily
from prometheus_client.utils import floatToGoString

from brokerkit.metric_styles import BOTH, LEGACY, MODERN
from brokerkit.tally import BUCKETS, FIRST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from brokerkit.broker import Broker
    from brokerkit.listener import Listener
    from brokerkit.tally import Account, Said, Tally

    Values = Iterable[tuple[Sequence[str], float]]

PROTOCOL = "hpfeeds"
BROKER = "hpfeeds_broker_"
CONNECTION = f"{BROKER}connection_"
BUFFER = f"{CONNECTION}send_buffer_"
NOBODY = "None"  # what the original calls a connection that was lost before its login
BOUNDS = [*(floatToGoString(FIRST << i) for i in range(BUCKETS)), "+Inf"]  # type: ignore[no-untyped-call]

_COUNTERS: tuple[tuple[str, str, Callable[[Account], int]], ...] = (
    (f"{CONNECTION}ready", "Logins.", lambda x: x.ready),
    (f"{CONNECTION}receive_buffer_fill", "Bytes received after the login.", lambda x: x.received),
    (f"{BUFFER}fill", "Bytes of payload queued for a subscriber.", lambda x: x.queued),
    (f"{BUFFER}drain", "Bytes written after the login.", lambda x: x.sent),
    (f"{BUFFER}deadline_start", "Times that hardly any room was left for a reader.", lambda x: x.filled),
    (f"{BUFFER}deadline_recover", "Times that such a reader has caught up.", lambda x: x.recovered),
)


class OriginalNumbers:
    """A collector that gives the original's metrics; ``style`` is one of ``STYLES`` but ``off``."""

    def __init__(self, broker: Broker, tally: Tally, style: str) -> None:
        """Read that broker and its tally."""
        self._broker = broker
        self._tally = tally
        self._with_total = style in {MODERN, BOTH}
        self._without = style in {LEGACY, BOTH}

    def collect(self) -> Iterator[Metric]:
        """Give every metric; nothing at all where nobody listens for hpfeeds."""
        listeners = [one for one in self._broker.listeners if one.protocol == PROTOCOL]
        if not listeners:
            return
        self._tally.settle()
        yield from self._connections(listeners)
        yield from self._now()
        for name, text, read in _COUNTERS:
            yield from self._accounts(name, text, read)
        yield from self._errors()
        yield from self._lost()
        yield from self._channels()

    def _connections(self, listeners: list[Listener]) -> Iterator[Metric]:
        there = sum(len(one.sessions) for one in listeners)
        made = sum(one.counts.accepted for one in listeners)
        yield GaugeMetricFamily(f"{BROKER}client_connections", "Open connections.", there)
        yield from self._counter(f"{CONNECTION}made", "Connections accepted.", (), [((), made)])

    def _now(self) -> Iterator[Metric]:
        """Give what is true of the connections at this moment."""
        owners: Counter[tuple[str, str]] = Counter()
        unsent: Counter[tuple[str, ...]] = Counter()
        unread: Counter[tuple[str, ...]] = Counter()
        for account in self._tally.accounts.values():
            owners[shown(account.name), account.owner] += 0
        for teller in self._tally.tellers:
            if teller.ready:
                label = shown(teller.account.name)
                sending, parsing = teller.waiting
                owners[label, teller.account.owner] += 1
                unsent[label,] += sending
                unread[label,] += parsing
        name = "hpfeeds_client_authenticated_connections"
        yield _gauge(name, "Connections that are logged in.", ("ident", "owner"), owners.items())
        yield _gauge(f"{BUFFER}size", "Bytes that wait to be written.", ("ident",), unsent.items())
        name = f"{CONNECTION}receive_buffer_size"
        yield _gauge(name, "Bytes that wait to be parsed.", ("ident",), unread.items())

    def _accounts(self, name: str, text: str, read: Callable[[Account], int]) -> Iterator[Metric]:
        sums: Counter[tuple[str, ...]] = Counter()
        for account in self._tally.accounts.values():
            sums[shown(account.name),] += read(account)
        yield from self._counter(name, text, ("ident",), sums.items())

    def _errors(self) -> Iterator[Metric]:
        sums: Counter[tuple[str, ...]] = Counter()
        for account in (self._tally.nobody, *self._tally.accounts.values()):
            for category, count in account.errors.items():
                sums[shown(account.name), category] += count
        yield from self._counter(f"{CONNECTION}error", "What clients did wrong.", ("ident", "category"), sums.items())

    def _lost(self) -> Iterator[Metric]:
        sums: Counter[tuple[str, ...]] = Counter({(NOBODY,): self._tally.nobody.lost})
        for account in self._tally.accounts.values():
            sums[shown(account.name),] += account.lost
        lost = ((labels, count) for labels, count in sums.items() if count)
        yield from self._counter(f"{CONNECTION}lost", "Connections that have ended.", ("ident",), lost)

    def _channels(self) -> Iterator[Metric]:
        labels = ("ident", "chan")
        messages: Counter[tuple[str, ...]] = Counter()
        subscribed: Counter[tuple[str, ...]] = Counter()
        sizes: dict[tuple[str, str], list[Said]] = {}
        for said in self._tally.said.values():
            pair = shown(said.name), shown(said.channel)
            if said.messages:
                messages[pair] += said.messages
                sizes.setdefault(pair, []).append(said)
            if said.subscribed:
                subscribed[pair] += 0
        for teller in self._tally.tellers:
            for channel in teller.topics:
                row = self._tally.pair(teller.name, channel)
                subscribed[shown(row.name), shown(row.channel)] += 1
        yield _gauge(f"{BROKER}subscriptions", "Subscriptions.", labels, subscribed.items())
        yield from self._counter(f"{BROKER}receive_publish_count", "Messages published.", labels, messages.items())
        histogram = HistogramMetricFamily(f"{BROKER}receive_publish_size", "Bytes of payload.", labels=labels)
        for pair, same in sizes.items():
            histogram.add_metric(pair, _buckets(same), sum(said.octets for said in same))
        yield histogram

    def _counter(self, name: str, text: str, labels: tuple[str, ...], values: Values) -> Iterator[Metric]:
        values = list(values)
        if self._with_total:
            family = CounterMetricFamily(name, text, labels=labels)
            for words, value in values:
                family.add_metric(words, value)
            yield family
        if self._without:
            yield _gauge(name, text, labels, values, UntypedMetricFamily)


def shown(name: bytes) -> str:
    """Give a name as it stands in a label: text that can be printed."""
    text = name.decode(errors="replace")
    return text if text.isprintable() else "".join(x if x.isprintable() else "\N{REPLACEMENT CHARACTER}" for x in text)


def _gauge(
    name: str,
    text: str,
    labels: tuple[str, ...],
    values: Values,
    kind: type[GaugeMetricFamily | UntypedMetricFamily] = GaugeMetricFamily,
) -> Metric:
    family = kind(name, text, labels=labels)
    for words, value in values:
        family.add_metric(words, value)
    return family


def _buckets(same: list[Said]) -> list[tuple[str, float]]:
    """Give the buckets as Prometheus has them: each with all that is below it."""
    below = 0
    buckets = []
    for i, bound in enumerate(BOUNDS):
        below += sum(said.buckets[i] for said in same)
        buckets.append((bound, float(below)))
    return buckets
