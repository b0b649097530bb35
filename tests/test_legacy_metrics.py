"""The metrics of hpfeeds-broker: names, labels and values, and when they are there."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.testing import MemoryReactorClock

from brokerkit.app import make_broker
from brokerkit.config import structure
from brokerkit.errors import ConfigError
from brokerkit.legacy_metrics import OriginalNumbers, shown
from brokerkit.plugin import protocols
from brokerkit.protocols.hpfeeds import wire
from brokerkit.tally import Tally
from brokerkit.testing import MemoryBroker

COUNTERS = {
    "hpfeeds_broker_connection_made",
    "hpfeeds_broker_connection_ready",
    "hpfeeds_broker_connection_error",
    "hpfeeds_broker_connection_lost",
    "hpfeeds_broker_connection_receive_buffer_fill",
    "hpfeeds_broker_connection_send_buffer_fill",
    "hpfeeds_broker_connection_send_buffer_drain",
    "hpfeeds_broker_connection_send_buffer_deadline_start",
    "hpfeeds_broker_connection_send_buffer_deadline_recover",
    "hpfeeds_broker_receive_publish_count",
}
OTHERS = {
    "hpfeeds_broker_client_connections",
    "hpfeeds_broker_connection_send_buffer_size",
    "hpfeeds_broker_connection_receive_buffer_size",
    "hpfeeds_broker_subscriptions",
    "hpfeeds_broker_receive_publish_size_bucket",
    "hpfeeds_broker_receive_publish_size_count",
    "hpfeeds_broker_receive_publish_size_sum",
    "hpfeeds_client_authenticated_connections",
}
LABELS = ("ident", "owner", "category", "chan", "le")


def counted() -> MemoryBroker:
    """Give a broker in which something of each kind has happened."""
    memory = MemoryBroker()
    memory.broker.tally = Tally()
    ann, bob = memory.client("hpfeeds", "ann"), memory.client("hpfeeds", "bob")
    bob.subscribe(b"a")
    ann.publish(b"a", b"hello world!")
    ann.publish(b"a", b"x" * 3000)
    memory.connect("hpfeeds").send(wire.spell(wire.Subscribe(b"eve", b"a")))
    memory.connect("hpfeeds").hang_up()
    bob.peer.send(wire.spell(wire.Publish(b"bob", b"b", b"halves"))[:7])
    return memory


def text_of(memory: MemoryBroker, style: str = "modern") -> str:
    """Give the page."""
    registry = CollectorRegistry(auto_describe=False)
    assert memory.broker.tally is not None
    registry.register(OriginalNumbers(memory.broker, memory.broker.tally, style))
    return generate_latest(registry).decode()


def samples(memory: MemoryBroker, style: str = "modern") -> dict[tuple[Any, ...], float]:
    """Give the values by name and labels."""
    return {
        (sample.name, *(sample.labels[label] for label in LABELS if label in sample.labels)): sample.value
        for family in text_string_to_metric_families(text_of(memory, style))
        for sample in family.samples
    }


def test_values() -> None:
    """Each metric says what it says in the original."""
    memory = counted()
    found = samples(memory)
    expected = {
        ("client_connections",): 2,
        ("connection_made_total",): 4,
        ("connection_ready_total", "ann"): 1,
        ("connection_error_total", "", "invalid-first-message"): 1,
        ("connection_lost_total", "None"): 2,
        ("connection_send_buffer_size", "bob"): 0,
        ("connection_receive_buffer_size", "bob"): 7,
        ("connection_send_buffer_fill_total", "bob"): 3012,
        ("connection_send_buffer_drain_total", "bob"): 3012 + 2 * 11,
        ("connection_receive_buffer_fill_total", "ann"): 3012 + 2 * 11,
        ("subscriptions", "bob", "a"): 1,
        ("receive_publish_count_total", "ann", "a"): 2,
        ("receive_publish_size_bucket", "ann", "a", "1024.0"): 1,
        ("receive_publish_size_bucket", "ann", "a", "2048.0"): 1,
        ("receive_publish_size_bucket", "ann", "a", "4096.0"): 2,
        ("receive_publish_size_bucket", "ann", "a", "+Inf"): 2,
        ("receive_publish_size_sum", "ann", "a"): 3012,
        ("receive_publish_size_count", "ann", "a"): 2,
    }
    for (name, *labels), value in expected.items():
        assert found[f"hpfeeds_broker_{name}", *labels] == value, name
    assert found["hpfeeds_client_authenticated_connections", "bob", ""] == 1


@pytest.mark.parametrize(
    ("style", "counters"),
    [
        ("modern", {f"{name}_total" for name in COUNTERS}),
        ("legacy", COUNTERS),
        ("both", {*COUNTERS, *(f"{name}_total" for name in COUNTERS)}),
    ],
)
def test_names(style: str, counters: set[str]) -> None:
    """Counters end in ``_total`` as they do today, or do not as they did, or there are both, with the same values."""
    found = samples(counted(), style)
    assert {name for name, *_ in found} == counters | OTHERS
    if style == "both":
        for name, *labels in found:
            if name in COUNTERS:
                assert found[f"{name}_total", *labels] == found[name, *labels]


def test_only_with_hpfeeds() -> None:
    """Where nobody listens for hpfeeds there are none of them."""
    memory = MemoryBroker(plugins={"nats": protocols()["nats"]})
    memory.broker.tally = Tally()
    assert not text_of(memory).strip()


def test_labels_are_printable() -> None:
    """A name that could break a line or a terminal is shown without what does it."""
    assert shown(b"a\nb\x1b\xff") == "a\N{REPLACEMENT CHARACTER}b" + 2 * "\N{REPLACEMENT CHARACTER}"
    assert shown("été".encode()) == "été"


def test_two_names_that_look_alike() -> None:
    """They are summed up: a page with one series twice is no page."""
    memory = MemoryBroker()
    memory.broker.tally = Tally()
    ann = memory.client("hpfeeds", "ann")
    for channel in (b"a\n", b"a\r"):
        ann.subscribe(channel)
        ann.publish(channel, b"1")
    lines = [line for line in text_of(memory).splitlines() if not line.startswith("#")]
    keys = [line.rpartition(" ")[0] for line in lines]
    assert len(keys) == len(set(keys))
    shape = "a\N{REPLACEMENT CHARACTER}"
    assert samples(memory)["hpfeeds_broker_receive_publish_count_total", "ann", shape] == 2
    assert samples(memory)["hpfeeds_broker_subscriptions", "ann", shape] == 2


def test_a_topic_prefix_is_not_shown() -> None:
    """A channel is called what its clients call it."""
    memory = MemoryBroker(settings={"hpfeeds": {"topic_prefix": "honeypot"}})
    memory.broker.tally = Tally()
    ann = memory.client("hpfeeds", "ann")
    ann.subscribe(b"ssh")
    ann.publish(b"ssh", b"12")
    found = samples(memory)
    assert found["hpfeeds_broker_receive_publish_size_sum", "ann", "ssh"] == 2
    assert found["hpfeeds_broker_connection_send_buffer_fill_total", "ann"] == 2
    assert found["hpfeeds_broker_subscriptions", "ann", "ssh"] == 1


@pytest.mark.parametrize(
    ("keys", "counts"),
    [({"exporter": ":0"}, True), ({"exporter": ":0", "hpfeeds_metrics": "off"}, False), ({}, False)],
)
def test_the_key(keys: dict[str, str], counts: bool) -> None:
    """Names are counted where they are exported, and nowhere else."""
    listen = [{"protocol": "hpfeeds", "endpoint": "tcp:port=5000"}]
    config = structure({**keys, "listen": listen, "auth": ["anonymous"]}, protocols(), "test")
    broker = make_broker(config, MemoryReactorClock())
    assert (broker.tally is not None) is counts


def test_a_wrong_key() -> None:
    """A style that there is none of ends the start."""
    with pytest.raises(ConfigError) as caught:
        structure({"hpfeeds_metrics": "new"}, protocols(), "b.toml")
    assert str(caught.value) == "b.toml: hpfeeds_metrics: found 'new', expected one of modern, legacy, both, off"
