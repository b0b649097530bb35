"""The metrics of kept topics over HTTP and of consumer groups: plain numbers, read when somebody asks.

Groups have names that users choose, so only some of them have a value of their own: those that are furthest behind.
"""

from __future__ import annotations

from collections import Counter
from heapq import nlargest
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from brokerkit.notation import shown
from brokerkit.tenant import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.metrics_core import Metric

    from brokerkit.log.groups import Groups

GROUPS = 100  # that get a value of their own
PLACES = 20_000  # partitions of groups that are looked at for one page: some ten milliseconds


def http_numbers(listening: Iterable[Any]) -> Iterator[Metric]:
    """Give what listeners count that serve kept topics: those who follow, those who wait, and what was refused."""
    kept = [one for one in listening if hasattr(one, "followers")]
    followers: Counter[tuple[str, str]] = Counter()
    for one in kept:
        for kind, number in one.followers.items():
            followers[one.protocol, kind] += number
    family = GaugeMetricFamily("brokerkit_followers", "Streams that go on: by their kind.", labels=["protocol", "kind"])
    for labels, number in followers.items():
        family.add_metric(list(labels), number)
    yield family
    waiting = GaugeMetricFamily("brokerkit_long_polls", "Requests that wait for records.", labels=["protocol"])
    yield _summed(waiting, ((one.protocol, one.waiting) for one in kept))
    for name, text, attribute in (
        ("followers_cut", "Streams that were cut off: nothing of them was read.", "followers_cut"),
        ("quota_refused", "Requests that were more than their user may ask for.", "quota_refused"),
    ):
        counter = CounterMetricFamily(f"brokerkit_{name}", text, labels=["protocol"])
        yield _summed(counter, ((one.protocol, getattr(one, attribute)) for one in kept))


def group_numbers(groups: Groups | None) -> Iterator[Metric]:
    """Give how many consumer groups there are, and how far they are behind."""
    found = [] if groups is None else list(groups.all())
    yield GaugeMetricFamily("brokerkit_groups", "Consumer groups.", len(found))
    members = 0 if groups is None else groups.members
    yield GaugeMetricFamily("brokerkit_group_members", "Members of consumer groups.", members)
    waiting = 0 if groups is None else groups.waiting
    yield GaugeMetricFamily("brokerkit_group_long_polls", "Polls of members that wait for records.", waiting)
    family = GaugeMetricFamily(
        "brokerkit_group_lag", "Records that a group has not committed.", labels=["tenant", "group"]
    )
    for labels, lag in _lags(groups, found):
        family.add_metric(list(labels), lag)
    yield family


def _lags(groups: Any, found: list[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], int]]:  # noqa: ANN401  Groups, if there are some
    """Give the lag of the groups that are furthest behind, and of all others together."""
    lags: dict[tuple[str, str], int] = {}
    left = PLACES
    for tenant, name in found:
        left -= len(groups.commits(name, tenant))
        if left < 0:
            break
        lags[tenant, name] = groups.lag(name, tenant)
    listed = dict(nlargest(GROUPS, lags.items(), key=lambda item: item[1]))
    rest = sum(lags.values()) - sum(listed.values())
    values: Counter[tuple[str, str]] = Counter()
    for (tenant, name), lag in listed.items():
        values[shown(tenant.encode()) or UNNAMED, shown(name.encode())] += lag
    if len(lags) > GROUPS:
        values["other", "other"] += rest  # a group may be called that; two values would spoil the whole page
    yield from values.items()


def _summed(family: Any, values: Iterable[tuple[str, int]]) -> Metric:  # noqa: ANN401  counters and gauges share no type
    sums: Counter[str] = Counter()
    for label, value in values:
        sums[label] += value
    for label, value in sums.items():
        family.add_metric([label], value)
    found: Metric = family
    return found
