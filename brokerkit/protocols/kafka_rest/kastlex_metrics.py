"""KastleX's metrics: the offsets of topics, and those that consumer groups have committed.

Those of the tenant without a name, which is the only one where there are none; a scrape shows no credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.web import Answer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from brokerkit.protocols.kafka_rest.kastlex_groups import Grouping
    from brokerkit.protocols.kafka_rest.service import KafkaRest
    from brokerkit.web import Asked

TYPE = "text/plain; version=0.0.4; charset=utf-8"
GROUP = "kafka_consumer_group_offset"
TOPIC = "kafka_topic_offset"


class Metrics:
    """GET of the metrics."""

    def __init__(self, service: KafkaRest, grouping: Grouping) -> None:
        """Say them of that listener's log."""
        self._service = service
        self._grouping = grouping

    async def metrics(self, asked: Asked) -> Answer:
        """Give both metrics; to anybody, unless the settings want a login."""
        service = self._service
        if service.settings.metrics_login:
            service.who.need(await service.who.client(asked), "list_groups")
        tenant = service.listen.tenant or ""
        lines = [f"# TYPE {GROUP} gauge", *self._groups(tenant), f"# TYPE {TOPIC} gauge", *self._topics(tenant)]
        return Answer(200, "\n".join([*lines, ""]).encode(), {"content-type": TYPE})

    def _groups(self, tenant: str) -> Iterator[str]:
        service = self._service
        for group in self._grouping.names(tenant):
            for (topic, partition), commit in sorted(service.groups.commits(group, tenant).items()):
                name = service.shown(topic)
                if name is not None:
                    labels = (("consumer_group", group), ("topic", name), ("partition", str(partition)))
                    yield f"{GROUP}{_labels(labels)} {commit.offset}"

    def _topics(self, tenant: str) -> Iterator[str]:
        service = self._service
        for topic, kept in sorted(service.log.topics(tenant).items()):
            name = service.shown(topic)
            if name is not None:
                for partition in range(kept.partitions):
                    labels = (("topic", name), ("partition", str(partition)))
                    yield f"{TOPIC}{_labels(labels)} {service.log.span(topic, partition, tenant).next}"


def _labels(labels: Iterable[tuple[str, str]]) -> str:
    return "{" + ", ".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
