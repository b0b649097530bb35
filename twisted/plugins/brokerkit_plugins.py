"""What twistd finds of brokerkit: the service, the protocols, the sources of users.

Every ``twistd --help`` on the machine loads this file, so it imports nothing heavy: what the names stand for is
imported when it is used.
"""

from twisted.application.service import ServiceMaker

from brokerkit.checkers.plugins import anonymous, callout, database, env, json, jwt, kastlex, mongodb, sqlite, users
from brokerkit.plugin import StreamProtocol
from brokerkit.protocols.bpbroker.plugin import BpbrokerPlugin
from brokerkit.protocols.kafka_rest.plugin import KafkaRestPlugin
from brokerkit.protocols.nats.monitor.plugin import NatsMonitor

__all__ = [
    "anonymous",
    "bpbroker",
    "brokerkit",
    "callout",
    "database",
    "env",
    "hpfeeds",
    "json",
    "jwt",
    "kafka",
    "kastlex",
    "mongodb",
    "nats",
    "nats_monitor",
    "nats_websocket",
    "sqlite",
    "users",
]

brokerkit = ServiceMaker("brokerkit", "brokerkit.app", "A message broker for several protocols.", "brokerkit")

hpfeeds = StreamProtocol(
    "hpfeeds",
    "brokerkit.protocols.hpfeeds.session.HpfeedsSession",
    description="hpfeeds, the wire protocol of honeypots",
    default="tcp:port=10000:interface=127.0.0.1",
    caller="brokerkit.protocols.hpfeeds.caller.HpfeedsCaller",
    notation="brokerkit.protocols.hpfeeds.notation",
)

nats = StreamProtocol(
    "nats",
    "brokerkit.protocols.nats.session.NatsSession",
    description="NATS, the core client protocol",
    default="tcp:port=4222:interface=127.0.0.1",
    caller="brokerkit.protocols.nats.caller.NatsCaller",
    notation="brokerkit.protocols.nats.notation",
)

bpbroker = BpbrokerPlugin()
nats_websocket = StreamProtocol(
    "nats-websocket",
    "brokerkit.protocols.nats.websocket.NatsWebSocketSession",
    description="NATS in WebSocket",
    caller="brokerkit.protocols.nats.websocket_caller.NatsWebSocketCaller",
    notation="brokerkit.protocols.nats.notation",
    like="nats",
)

nats_monitor = NatsMonitor()
kafka = KafkaRestPlugin()
