"""The brokers of the scenarios that ``brokerkit bench`` does not have: the registry, kept topics, and NATS over TLS."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import brokerkit
from brokerkit.bench import cast
from brokerkit.bench.contestants import BIN, contestants, nats_server, ours_for, which
from brokerkit.bench.servers import Broker

if TYPE_CHECKING:
    from bench.certificate import Certificate

EVERYTHING = "anonymous:publish=>:subscribe=>"
LISTEN = '[[listen]]\nprotocol = "{}"\nendpoint = "tcp:port=0:interface=127.0.0.1"\n'


def brokers(protocol: str, users: str = "", *, pure: bool = False) -> list[Broker]:
    """Return brokerkit and its peer for a protocol, installed or not; *users* is another source than usual."""
    if protocol == "bpbroker":
        registry = ours_for("bpbroker", "anonymous", "tls:port=0:interface=127.0.0.1", "--data-dir", "data")
        return [registry, _empty_handler()]
    if protocol == "kafka":
        return [_keeping("brokerkit", protocol, ["kafka"], ["log.>"]), _empty_handler("--plain", protocol)]
    if protocol == "kept":
        return [keeping_nats("kept"), _keeping("not kept", "nats", ["nats"], [])]
    if protocol == "stream":
        return [keeping_nats("brokerkit"), _jet_stream()]
    return contestants(protocol, users=users, pure=pure)


def secure_brokers(certificate: Certificate) -> list[Broker]:
    """Return brokerkit and nats-server with TLS that begins after INFO."""
    files = f"cert={certificate.certificate}:key={certificate.key}"
    peer = nats_server()
    flags = ("--tls", "--tlscert", str(certificate.certificate), "--tlskey", str(certificate.key))
    return [
        ours_for("nats", "anonymous", f"tls:port=0:interface=127.0.0.1:{files}"),
        replace(peer, arguments=(*peer.arguments, *flags)),
    ]


def keeping_nats(name: str) -> Broker:
    """Return brokerkit that keeps the topics of the scenarios, but not what the generator's readers are told by."""
    return _keeping(name, "nats", ["nats", "kafka"], [topic.decode() for topic in cast.TOPICS])


def _jet_stream() -> Broker:
    """Return nats-server with JetStream; it has no stream yet."""
    text = "host: 127.0.0.1\nport: -1\njetstream { store_dir: data }\n"
    return replace(nats_server(), arguments=("-c", "broker.toml"), configuration=text)


def _keeping(name: str, protocol: str, listeners: list[str], topics: list[str]) -> Broker:
    """Return brokerkit with these listeners; the first one's port is the server's.  The topics are kept, if any."""
    listen = "".join(LISTEN.format(one) for one in listeners)
    keep = f'[[keep]]\nstream = "bench"\ntopics = {json.dumps(topics)}\n' if topics else ""
    return Broker(
        name,
        protocol,
        which(BIN / "twistd", "twistd"),
        ("-n", "--pidfile=", "brokerkit", "--config", "broker.toml"),
        announces=rf"{protocol} listening on \S+:(\d+).*brokerkit ready",
        version=brokerkit.__version__,
        configuration=f'data_dir = "data"\nauth = ["{EVERYTHING}"]\n{keep}{listen}',
    )


def _empty_handler(flag: str = "--secure", protocol: str = "bpbroker") -> Broker:
    return Broker(
        "empty handler",
        protocol,
        Path(sys.executable),
        ("-m", "bench.empty_handler", flag),
        announces=r"empty listening on \S+:(\d+)",
        version=f"of Twisted {version('twisted')}",
    )
