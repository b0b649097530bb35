"""The metrics of the log and of the way into it: plain numbers that are kept anyway, read when somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric

    from brokerkit.keeping.service import Keeping

    Read = Callable[[Keeping], float]

MISSED = ("overflow", "size", "topics", "failed")

_COUNTERS: tuple[tuple[str, str, Read], ...] = (
    ("taken_messages", "Messages of the protocols that were handed to the log.", lambda x: x.intake.kept),
    ("taken_bytes", "Their bytes, about.", lambda x: x.intake.kept_bytes),
    ("records", "Records that were written to the log, those of requests too.", lambda x: x.log.writing.records),
    ("written_bytes", "Their bytes.", lambda x: x.log.writing.bytes),
    ("commits", "Times that records were put on disk, together.", lambda x: x.log.writing.commits),
    ("commit_seconds", "Seconds that this took.", lambda x: x.log.writing.seconds),
    ("lost_records", "Records that were taken, and then could not be written.", lambda x: x.log.writing.lost),
    ("failures", "Requests that could not be written.", lambda x: x.log.writing.failed),
    ("duplicates", "Requests that had been done before.", lambda x: x.log.duplicates),
    ("gaps", "Records that say how many messages are missing.", lambda x: x.intake.gaps),
    ("paced", "Times that publishers were made to wait for the log.", lambda x: x.intake.paced),
)
_GAUGES: tuple[tuple[str, str, Read], ...] = (
    ("pending_bytes", "Bytes that wait for the disk.", lambda x: x.intake.pending),
    ("topics", "Topics that are kept.", lambda x: x.topics),
    ("partitions", "Their partitions.", lambda x: x.partitions),
    ("size_bytes", "Bytes of all records that are kept.", lambda x: x.size),
    (
        "oldest_timestamp_seconds",
        "When the oldest record was kept, as far as retention has looked.",
        lambda x: x.log.tidying.oldest / 1000,
    ),
    ("writable", "Whether the last commit was done.", lambda x: int(x.log.writing.is_writable)),
)


def numbers(keeping: Keeping | None) -> Iterator[Metric]:
    """Give the metrics; all are nought where nothing is kept."""
    for name, text, read in _COUNTERS:
        yield CounterMetricFamily(f"brokerkit_log_{name}", text, value=0 if keeping is None else read(keeping))
    missed = CounterMetricFamily("brokerkit_log_missed_messages", "Messages that are not kept.", labels=["reason"])
    for reason in MISSED:
        missed.add_metric([reason], 0 if keeping is None else keeping.intake.missed[reason])
    yield missed
    for name, text, read in _GAUGES:
        yield GaugeMetricFamily(f"brokerkit_log_{name}", text, 0 if keeping is None else read(keeping))
