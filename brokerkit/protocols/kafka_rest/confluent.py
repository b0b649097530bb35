"""The second dialect: Confluent's REST API v2, with what clients of v1 still ask for, put together from its parts.

Its paths are told apart from the others' by how they begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from brokerkit.protocols.kafka_rest.confluent_consumers import Consumers
from brokerkit.protocols.kafka_rest.confluent_errors import shown
from brokerkit.protocols.kafka_rest.confluent_instances import instances
from brokerkit.protocols.kafka_rest.confluent_reading import Reading
from brokerkit.protocols.kafka_rest.confluent_topics import Topics

if TYPE_CHECKING:
    from brokerkit.protocols.kafka_rest.service import KafkaRest
    from brokerkit.web import Answer, Problem, Route

HERE = ("topics", "consumers", "brokers")


def reading(service: KafkaRest) -> Reading:
    """Give what reads for consumer instances."""
    found = Reading(service.log, service.broker.groups, instances(service.broker), service.broker.reactor)
    found.names = service.shown
    return found


def routes(service: KafkaRest, reading: Reading) -> tuple[Route, ...]:
    """Give the routes."""
    return (*Topics(service).routes(), *Consumers(service, instances(service.broker), reading).routes())


def is_confluent(path: bytes) -> bool:
    """Say whether a path is one of Confluent's, whether there is a route for it or not."""
    return path.split(b"/", 2)[1:2] in ([name.encode()] for name in HERE)


def refused(problem: Problem) -> Answer:
    """Give a problem in Confluent's words."""
    return shown(problem)
