"""What the metrics page says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families
from twisted.web.test.requesthelper import DummyRequest

from brokerkit import metrics
from brokerkit.checkers.anonymous import Anyone
from brokerkit.grants import Grants
from brokerkit.testing import MemoryBroker
from brokerkit.throttle import PAIR

if TYPE_CHECKING:
    from pathlib import Path


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
    for _ in range(2):  # a name that is often there has a value of its own, were it not that word
        memory.connect("nats").send(b'CONNECT {"user":"other","verbose":false}\r\n')
    page = metrics.pages(memory.broker).children[b"metrics"].render_GET(DummyRequest([b"metrics"]))
    assert page.count(b'brokerkit_user_connections{user="other"}') == 1


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
    """The health page says that every listener is up and every source of users answers."""
    request, body = _page(MemoryBroker(), b"healthz")
    said = json.loads(body)
    assert said["ok"] is True
    assert {one["protocol"]: one["up"] for one in said["listeners"]} == {
        "hpfeeds": True,
        "nats": True,
        "nats-websocket": True,
    }
    assert said["users"] == [{"source": "memory", "up": True}]
    assert request.responseCode == 200
    assert request.responseHeaders.getRawHeaders(b"content-type") == [b"application/json; charset=utf-8"]


def test_alive() -> None:
    """Whether it runs at all is another question than whether it is well: a restart mends no database."""
    memory = MemoryBroker()
    memory.source.up = False
    memory.connect("nats").send(b'CONNECT {"user":"ann","pass":"x"}\r\n')
    request, body = _page(memory, b"livez")
    assert (request.responseCode, body) == (None, b"{}\n")


def test_no_health() -> None:
    """A source that did not answer, or a listener that is closed, is named, and the answer is 503 until it is well."""
    memory = MemoryBroker()
    memory.source.up = False
    memory.connect("nats").send(b'CONNECT {"user":"ann","pass":"x"}\r\n')
    request, body = _page(memory, b"healthz")
    assert (request.responseCode, json.loads(body)["users"]) == (503, [{"source": "memory", "up": False}])
    memory.source.up = True
    memory.advance(10)
    memory.client("nats")
    assert _page(memory, b"healthz")[0].responseCode == 200
    memory.broker.listener("nats").stopService()
    request, body = _page(memory, b"healthz")
    up = {one["protocol"]: one["up"] for one in json.loads(body)["listeners"]}
    assert (request.responseCode, up) == (503, {"hpfeeds": True, "nats": False, "nats-websocket": True})


def test_logins_and_hashes() -> None:
    """What was throttled, refused for want of room, revoked and changed is counted."""
    memory = MemoryBroker()
    for _ in range(PAIR + 3):
        memory.connect("nats").send(b'CONNECT {"user":"ann","pass":"wrong"}\r\n')
    ann, bob = memory.client("hpfeeds", "bob"), memory.client("nats", "bob")
    assert ann is not bob
    memory.source.put("bob", memory.users["bob"], Grants())
    memory.advance(2)
    memory.source.remove("bob")
    memory.advance(2)
    values = _values(memory)
    assert values["brokerkit_logins_throttled_total", ()] == 3
    assert values["brokerkit_logins_too_busy_total", ()] == values["brokerkit_logins_in_flight", ()] == 0
    assert values["brokerkit_connections_changed_total", ()] == values["brokerkit_connections_ended_total", ()] == 2
    assert values["brokerkit_throttle_entries", ()] == 3
    for name in ("hash_checks_total", "hash_checks_refused_total", "hash_checks_waiting"):
        assert values[f"brokerkit_{name}", ()] == 0


def test_sources(tmp_path: Path) -> None:
    """Each source of users says whether it answers, and how often it did not; a file, also whether it is broken."""
    users = tmp_path / "users.json"
    users.write_text("{}")
    memory = MemoryBroker(auth=(f"json:{users}",))
    memory.source.up = False
    memory.connect("nats").send(b'CONNECT {"user":"ann","pass":"x"}\r\n')
    users.write_text("{")
    for _ in range(5):
        memory.advance(1)
    values = _values(memory)
    assert (values["brokerkit_users_up", ("memory",)], values["brokerkit_users_failures_total", ("memory",)]) == (0, 1)
    file = (f"json:{users}",)
    assert (values["brokerkit_users_up", file], values["brokerkit_users_failures_total", file]) == (1, 0)
    assert (values["brokerkit_users_broken", file], values["brokerkit_users_reload_failures_total", file]) == (1, 1)
    users.write_text("{ }")
    memory.source.up = True
    for _ in range(10):
        memory.advance(1)
    memory.client("nats")
    values = _values(memory)
    assert (values["brokerkit_users_up", ("memory",)], values["brokerkit_users_broken", file]) == (1, 0)
    assert values["brokerkit_users_reloads_total", file] == 1


def test_two_sources_of_one_name() -> None:
    """Their numbers are summed up: a page with two values of one name would be no page."""
    memory = MemoryBroker(sources=(Anyone(), Anyone()))
    _, text = _page(memory)
    assert text.count(b'brokerkit_users_up{source="anonymous"}') == 1


def test_tenants() -> None:
    """Each tenant has its numbers; of very many, the smallest are one."""
    memory = MemoryBroker()
    memory.client("nats")
    client = memory.broker.client(tenant="a")
    client.subscribe(b"x", lambda _: None)
    for _ in range(3):
        client.publish(b"x", b"")
    numbers = _numbers(memory)
    assert numbers["brokerkit_tenant_clients", "$G"] == 1
    assert numbers["brokerkit_tenant_subscriptions", "a"] == 1
    assert numbers["brokerkit_tenant_messages_total", "a"] == 3
    for i in range(150):
        memory.broker.client(tenant=f"t{i}").publish(b"x", b"")
    numbers = _numbers(memory)
    assert numbers["brokerkit_tenant_subscriptions", "a"] == 1
    counted = [value for (name, _), value in numbers.items() if name == "brokerkit_tenant_messages_total"]
    assert sum(counted) == 153
    assert len(counted) == 101


def _numbers(memory: MemoryBroker) -> dict[tuple[str, str], float]:
    """Give the numbers of tenants by name and label."""
    return {(name, labels[0]): value for (name, labels), value in _values(memory).items() if "_tenant_" in name}
