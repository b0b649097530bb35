"""What the metrics page says."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.web.test.requesthelper import DummyRequest

from brokerkit import metrics
from brokerkit.testing import MemoryBroker


def _page(memory: MemoryBroker, name: bytes = b"metrics") -> tuple[Any, bytes]:
    request = DummyRequest([name])
    resource = metrics.pages(memory.broker).getChildWithDefault(name, request)
    return request, resource.render(request)


def _values(memory: MemoryBroker) -> dict[tuple[str, tuple[str, ...]], float]:
    _, text = _page(memory)
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_numbers() -> None:
    """Connections, logins, messages, bytes, subscriptions and errors are counted for each protocol."""
    memory = MemoryBroker()
    ann, bob = memory.client("nats", "ann"), memory.client("hpfeeds", "bob")
    bob.subscribe(b"a")
    ann.publish(b"a", b"12345")
    memory.connect("nats").send(b"NONSENSE\r\n")
    values = _values(memory)
    assert values["brokerkit_connections", ("hpfeeds",)] == 1
    assert values["brokerkit_connections_accepted_total", ("nats",)] == 2
    assert values["brokerkit_logins_total", ("nats",)] == 1
    assert values["brokerkit_received_messages_total", ("nats",)] == 1
    assert values["brokerkit_received_bytes_total", ("nats",)] > 5
    assert values["brokerkit_sent_bytes_total", ("hpfeeds",)] > 5
    assert values["brokerkit_subscriptions", ()] == 1
    assert values["brokerkit_errors_total", ("login", "nats")] == 1
    assert values["brokerkit_user_connections", ("bob",)] == 1


def test_bytes_of_the_gone() -> None:
    """What was written to a connection counts also when it is gone."""
    memory = MemoryBroker()
    before = _values(memory)["brokerkit_sent_bytes_total", ("nats",)]
    memory.client("nats").peer.hang_up()
    assert _values(memory)["brokerkit_sent_bytes_total", ("nats",)] > before


def test_what_cannot_be_said() -> None:
    """A delivery that the receiving protocol cannot spell is counted."""
    memory = MemoryBroker()
    memory.client("nats").subscribe(b">")
    memory.client("hpfeeds").publish(b"a b", b"")
    assert _values(memory)["brokerkit_unspellable_messages_total", ()] == 1


def test_names_are_bounded() -> None:
    """However many names there are, the page has so many and one for the rest."""
    memory = MemoryBroker(auth=("anonymous",), users={})
    for i in range(metrics.USERS + 50):
        memory.connect("nats").send(b'CONNECT {"user":"u%d","verbose":false}\r\n' % i)
    users = [key for key in _values(memory) if key[0] == "brokerkit_user_connections"]
    assert len(users) == metrics.USERS + 1
    assert _values(memory)["brokerkit_user_connections", ("other",)] == 50


def test_slow_readers() -> None:
    """A reader that was given up is counted with the reason."""
    memory = MemoryBroker(settings={"nats": {"outbox_limit": 100_000, "outbox_deadline": 1.0}})
    ann, bob = memory.client("nats", "ann"), memory.client("nats", "bob")
    bob.subscribe(b"a")
    bob.peer.stop_reading()
    for _ in range(8):
        ann.publish(b"a", b"x" * 16_000)
    memory.advance(2)
    assert _values(memory)["brokerkit_slow_readers_total", ("nats", "deadline")] == 1


def test_health() -> None:
    """The health page is an empty JSON object."""
    request, body = _page(MemoryBroker(), b"healthz")
    assert body == b"{}"
    assert request.responseHeaders.getRawHeaders(b"content-type") == [b"application/json; charset=utf-8"]
