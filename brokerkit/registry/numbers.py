"""The registry's metrics: plain integers that it keeps anyway, read when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric

    from brokerkit.registry.service import Registry

    Read = Callable[[Registry], int]

_COUNTERS: tuple[tuple[str, str, Read], ...] = (
    ("writes", "Writes that were done.", lambda x: x.writes),
    ("commits", "Times that writes were put on disk, together.", lambda x: x.commits),
    ("conflicts", "Writes whose condition did not hold.", lambda x: x.conflicts),
    ("failures", "Writes not done: disk full or failing, bounds reached, too many waiting.", lambda x: x.failed),
    ("expired", "Entries whose time or connection has ended.", lambda x: x.expired),
    ("backups", "Backups made by themselves.", lambda x: x.backups),
    ("backup_failures", "Backups that could not be made.", lambda x: x.backup_failures),
    ("slow_watchers", "Watchers cut off because they did not read.", lambda x: x.slow_watchers),
)
_GAUGES: tuple[tuple[str, str, Read], ...] = (
    ("entries", "Entries.", len),
    ("bytes", "Bytes of all names and data.", lambda x: x.size),
    ("revision", "The revision of the last change.", lambda x: x.revision),
    ("writes_waiting", "Writes that wait for those before them.", lambda x: x.waiting),
    ("writable", "Whether the last commit was done.", lambda x: int(x.is_writable)),
    ("checks", "Health checks.", lambda x: 0 if x.health is None else len(x.health)),
    ("checks_failing", "Health checks that do not pass.", lambda x: 0 if x.health is None else x.health.failing),
)


def numbers(registry: Registry | None) -> Iterator[Metric]:
    """Give the metrics of a registry; all are nought where there is none."""
    for name, text, read in _COUNTERS:
        value = 0 if registry is None else read(registry)
        yield CounterMetricFamily(f"brokerkit_registry_{name}", text, value=value)
    for name, text, read in _GAUGES:
        yield GaugeMetricFamily(f"brokerkit_registry_{name}", text, 0 if registry is None else read(registry))
