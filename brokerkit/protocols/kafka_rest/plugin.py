"""What twistd finds of this protocol; everything heavy is imported when a listener is made."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.plugin import IPlugin
from zope.interface import implementer

from brokerkit.checkers.kastlex_actions import KNOWN
from brokerkit.interfaces import INotation, IProtocolPlugin
from brokerkit.topics import beneath, has_wildcard, under

DEFAULT = "tcp:port=8092:interface=127.0.0.1"


@implementer(IPlugin, IProtocolPlugin, INotation)
class KafkaRestPlugin:
    """Kept topics by offset over plain HTTP; TLS with a ``tls:`` endpoint."""

    name = "kafka"
    description = "Kafka-style REST (KastleX, Confluent v2, /v1 and a page)"
    default: str | None = DEFAULT
    actions: ClassVar[dict[str, str]] = KNOWN

    def settings(self) -> Any:  # noqa: ANN401  the settings class
        """Give the settings class."""
        from brokerkit.protocols.kafka_rest.settings import Settings

        return Settings

    def service(self, broker: Any, listen: Any) -> Any:  # noqa: ANN401  a Broker, a Listen, an IService
        """Give the listener."""
        from brokerkit.protocols.kafka_rest.service import KafkaRest

        return KafkaRest(broker, listen)

    def caller(self, name: str, secret: str) -> None:
        """Nobody keeps a connection by this protocol: ``brokerkit produce`` and ``consume`` ask by HTTP."""

    def notation(self, name: bytes, prefix: bytes) -> tuple[bytes, bool]:
        """Give the topic of TOPIC or TOPIC/PARTITION; rights are about topics, so the partition does not matter."""
        topic, slash, partition = name.partition(b"/")
        if not topic or (slash and not partition.isdigit()):
            raise ValueError("expected TOPIC or TOPIC/PARTITION, as in logs/0")
        return under(prefix, topic), True

    def spelling(self, topic: bytes, prefix: bytes, literal: bool) -> bytes | None:
        """Give the topic's name; there is none for a pattern, and none with other letters than Kafka has."""
        name = beneath(prefix, topic)
        literal = literal or not has_wildcard(topic)
        legal = literal and name is not None and name.replace(b".", b"").replace(b"-", b"").replace(b"_", b"").isalnum()
        return name if legal else None
